//! The shared library in a host: compiled against from C, loaded and unloaded 200 times, given nonsense.
#![cfg(target_os = "linux")]
#![expect(unsafe_code, clippy::unwrap_used, reason = "a test that calls a C ABI: a panic is how it fails")]

use std::ffi::c_char;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder in which cargo puts libclaviger.so. Cargo builds no shared library for a test, so this asks for it.
fn library_folder() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let build = || {
        let test = std::env::current_exe().unwrap();
        let target = test.ancestors().nth(3).unwrap().to_owned();
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "claviger-capi", "--target-dir"])
            .arg(&target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success());
        target.join("debug")
    };
    BUILT.get_or_init(build).clone()
}

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// The profile of a vendor that nobody knows.
fn profile() -> String {
    use claviger_client::protocol::{clock::Timestamp, documents as d, keys::SigningKey};
    let root = SigningKey::from_seed(&[1; 32]);
    let iss: claviger_client::protocol::ids::VendorId = "com.example".parse().unwrap();
    let keyset = d::Keyset { iss: iss.clone(), number: 1, iat: Timestamp(1), keys: vec![] };
    let profile = d::VendorProfile {
        iss,
        iat: Timestamp(1),
        name: "Example".to_owned(),
        prefix: "EX".parse().unwrap(),
        server: "https://example.com".to_owned(),
        roots: d::RootKeys { active: root.public(), spare: SigningKey::from_seed(&[3; 32]).public() },
        keyset: d::sign(&keyset, &root, d::KeyInHeader::Named),
        policy: None,
        contact: d::Contact::default(),
        accent: None,
        logo: None,
    };
    d::sign(&profile, &root, d::KeyInHeader::Named)
}

/// Opens a product, may ask for an activation (which starts a thread; no daemon is there) and closes it all at once.
#[test]
fn two_hundred_loads_leave_nothing() {
    type Version = unsafe extern "C" fn() -> u32;
    type OpenVendor = unsafe extern "C" fn(*const u8, usize, *mut *mut u8) -> u32;
    type Open = unsafe extern "C" fn(*const u8, *const c_char, *const c_char, *mut *mut u8) -> u32;
    type Status = unsafe extern "C" fn(*const u8) -> u32;
    type Close = unsafe extern "C" fn(*mut u8);
    type Activate =
        unsafe extern "C" fn(*const u8, *const c_char, *const c_char, *const u8, *const u8) -> u32;

    let path = library_folder().join("libclaviger.so");
    if std::env::var_os("CLAVIGER_HOME").is_none() {
        // In a process of its own, which cannot reach this computer's daemon, and has no other test's threads.
        let home = tempfile::tempdir().unwrap();
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "two_hundred_loads_leave_nothing"])
            .env("CLAVIGER_HOME", home.path())
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        return;
    }
    let profile = profile();
    let round = |activates: bool, closes: bool| {
        // SAFETY: our own library, and functions of the types in claviger.h.
        unsafe {
            let library = libloading::Library::new(&path).unwrap();
            assert_eq!((library.get::<Version>(b"clv_abi_version").unwrap())(), 1);
            let open_vendor = library.get::<OpenVendor>(b"clv_vendor_open").unwrap();
            let mut vendor = std::ptr::null_mut();
            assert_eq!(open_vendor(b"rubbish".as_ptr(), 7, &raw mut vendor), 60);
            assert_eq!(open_vendor(std::ptr::null(), 7, &raw mut vendor), 60);
            assert_eq!(open_vendor(b"x".as_ptr(), 1, std::ptr::null_mut()), 60);
            assert_eq!(open_vendor(profile.as_ptr(), profile.len(), &raw mut vendor), 0);
            let open = library.get::<Open>(b"clv_license_open").unwrap();
            let mut license = std::ptr::null_mut();
            assert_eq!(open(vendor, c"com.example.x".as_ptr(), c"soon".as_ptr(), &raw mut license), 60);
            assert_eq!(open(vendor, c"com.example.x".as_ptr(), std::ptr::null(), &raw mut license), 0);
            let status = library.get::<Status>(b"clv_license_status").unwrap();
            assert_eq!((status(license), status(std::ptr::null())), (20, 60));
            let activate = library.get::<Activate>(b"clv_license_activate").unwrap();
            let nobody = std::ptr::null();
            if activates {
                assert_eq!(activate(license, c"EX-1".as_ptr(), c"code".as_ptr(), nobody, nobody), 0);
            }
            let close = library.get::<Close>(b"clv_license_close").unwrap();
            close(std::ptr::null_mut());
            if closes {
                (library.get::<Close>(b"clv_vendor_close").unwrap())(vendor);
                close(license);
            }
        }
    };
    round(false, true);
    let before = (count("/proc/self/fd"), count("/proc/self/task"));
    for _ in 0..200 {
        round(false, true);
    }
    assert_eq!((count("/proc/self/fd"), count("/proc/self/task")), before);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.contains("libclaviger"), "it is still mapped");
    // With threads: one that does not get to run within five milliseconds pins the code, so it may stay mapped.
    for _ in 0..200 {
        round(true, true);
    }
    // A plug-in that forgot to close before it is unloaded: its code does not go from under a thread of ours.
    for _ in 0..50 {
        round(true, false);
    }
    let begun = std::time::Instant::now();
    while (count("/proc/self/fd"), count("/proc/self/task")) != before {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "threads or files are left");
        std::thread::yield_now();
    }
}

#[test]
fn exports_nothing_but_clv() {
    let out = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(library_folder().join("libclaviger.so"))
        .output();
    let text = String::from_utf8(out.unwrap().stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(names.contains(&"clv_license_status"));
    assert!(names.iter().all(|name| name.starts_with("clv_")), "{names:?}");
}

#[test]
fn c_example_compiles_and_answers() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (dir, libraries) = (tempfile::tempdir().unwrap(), library_folder());
    std::os::unix::fs::symlink(libraries.join("libclaviger.so"), dir.path().join("libclaviger.so.0"))
        .unwrap();
    let program = dir.path().join("check");
    let built = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-o"])
        .arg(&program)
        .arg(source.join("examples/check.c"))
        .arg(format!("-I{}", source.join("include").display()))
        .arg(format!("-L{}", libraries.display()))
        .arg("-lclaviger")
        .status()
        .unwrap();
    assert!(built.success());
    let out = Command::new(&program)
        .args(["/etc/hostname", "com.example.synth"])
        .env("LD_LIBRARY_PATH", dir.path())
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("not a vendor profile"));
}
