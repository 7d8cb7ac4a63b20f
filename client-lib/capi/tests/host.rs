//! The shared library in a host: compiled against from C, loaded and unloaded 200 times, given nonsense.
#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "calls a C ABI")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder in which cargo has put libclaviger.so for this test run.
fn library_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().skip(1).find(|folder| folder.join("libclaviger.so").exists()).unwrap().to_owned()
}

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn two_hundred_loads_leave_nothing() {
    type Open = unsafe extern "C" fn(*const u8, usize, *mut *mut u8) -> u32;
    type Version = unsafe extern "C" fn() -> u32;
    let path = library_folder().join("libclaviger.so");
    let round = || {
        // SAFETY: our own library, and functions of the types in claviger.h.
        unsafe {
            let library = libloading::Library::new(&path).unwrap();
            let version: libloading::Symbol<'_, Version> = library.get(b"clv_abi_version").unwrap();
            assert_eq!(version(), 1);
            let open: libloading::Symbol<'_, Open> = library.get(b"clv_vendor_open").unwrap();
            let mut vendor = std::ptr::null_mut();
            assert_eq!(open(b"rubbish".as_ptr(), 7, &raw mut vendor), 60);
            assert_eq!(open(std::ptr::null(), 7, &raw mut vendor), 60);
            assert_eq!(open(b"x".as_ptr(), 1, std::ptr::null_mut()), 60);
        }
    };
    round();
    let before = (count("/proc/self/fd"), count("/proc/self/task"));
    for _ in 0..200 {
        round();
    }
    assert_eq!((count("/proc/self/fd"), count("/proc/self/task")), before);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.contains("libclaviger"), "it is still mapped");
}

#[test]
fn exports_nothing_but_clv() {
    let out = Command::new("nm").args(["-D", "--defined-only"]).arg(library_folder().join("libclaviger.so")).output();
    let text = String::from_utf8(out.unwrap().stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(names.contains(&"clv_license_status"));
    assert!(names.iter().all(|name| name.starts_with("clv_")), "{names:?}");
}

#[test]
fn c_example_compiles_and_answers() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (dir, libraries) = (tempfile::tempdir().unwrap(), library_folder());
    std::os::unix::fs::symlink(libraries.join("libclaviger.so"), dir.path().join("libclaviger.so.0")).unwrap();
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
