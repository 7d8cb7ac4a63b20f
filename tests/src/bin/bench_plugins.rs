//! Measures what a plug-in scan feels: 60 plug-ins with a library copy each open 500 products, from the vendor to the status,
//! in one process; their system calls and threads; for how long a host's main thread is in a plug-in where things go wrong; and
//! how much a plug-in grows by the library. Each copy is a file of its own, as in a folder of plug-ins. JSON lines on standard
//! output.
#![expect(
    unsafe_code,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "calls a C ABI and prints figures"
)]

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use claviger_tests::bench::{Row, median};
use claviger_tests::tilt;
use ring::signature::{ED25519, UnparsedPublicKey};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const COPIES: usize = 60;
const PRODUCTS: usize = 500;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["child", home] => child(Path::new(home)),
        [] => measure(),
        _ => Err("usage: bench_plugins".into()),
    }
}

fn product(number: usize) -> String {
    format!("com.example.product-{number:05}")
}

#[repr(C)]
struct Handle([u8; 0]);
type OpenVendor = unsafe extern "C" fn(*const c_char, usize, *mut *mut Handle) -> u32;
type OpenLicense = unsafe extern "C" fn(*const Handle, *const c_char, *const c_char, *mut *mut Handle) -> u32;
type Status = unsafe extern "C" fn(*const Handle) -> u32;

/// One copy of the library.
struct Copy {
    open_vendor: OpenVendor,
    open_license: OpenLicense,
    status: Status,
    _library: libloading::Library,
}

impl Copy {
    fn load(path: &Path) -> Outcome<Self> {
        // SAFETY: it is our own library; its functions have the types of claviger.h, and it stays loaded with them.
        unsafe {
            let library = libloading::Library::new(path)?;
            Ok(Self {
                open_vendor: *library.get(b"clv_vendor_open")?,
                open_license: *library.get(b"clv_license_open")?,
                status: *library.get(b"clv_license_status")?,
                _library: library,
            })
        }
    }

    /// Opens these products; how many of them are licensed.
    fn open(&self, profile: &str, products: &[CString]) -> usize {
        let mut vendor = std::ptr::null_mut();
        // SAFETY: pointer and length belong together; `vendor` is a place for a pointer.
        unsafe { (self.open_vendor)(profile.as_ptr().cast(), profile.len(), &raw mut vendor) };
        let licensed = products.iter().filter(|product| {
            let mut license = std::ptr::null_mut();
            // SAFETY: the vendor is open, the product is a C string; the license is open (or null, which is answered).
            unsafe {
                (self.open_license)(vendor, product.as_ptr(), c"2026-11-22".as_ptr(), &raw mut license);
                (self.status)(license) == 1
            }
        });
        licensed.count()
    }
}

/// Microseconds of opening everything, and of as many readings and verifications as it cannot do without.
fn child(home: &Path) -> Outcome<()> {
    let profile = std::fs::read_to_string(home.join("profile"))?;
    let copies = (0..COPIES).map(|n| Copy::load(&copy(home, n))).collect::<Outcome<Vec<_>>>()?;
    let names = (0..PRODUCTS).map(|n| CString::new(product(n))).collect::<Result<Vec<_>, _>>()?;
    let shares: Vec<&[CString]> = names.chunks(PRODUCTS.div_ceil(COPIES)).collect();
    // Marks for whoever reads the trace.
    let _mark = rustix::process::getppid();
    let begun = Instant::now();
    let licensed: usize = copies.iter().zip(&shares).map(|(copy, share)| copy.open(&profile, share)).sum();
    let all = begun.elapsed().as_secs_f64() * 1e6;
    let _mark = rustix::process::getppid();
    if licensed != PRODUCTS {
        return Err(format!("{licensed} of {PRODUCTS} products are licensed").into());
    }
    let key = std::fs::read(home.join("issuing"))?;
    verify(&std::fs::read_to_string(certificate(home, 0))?, &key)?;
    let begun = Instant::now();
    for number in 0..PRODUCTS {
        verify(&std::fs::read_to_string(certificate(home, number))?, &key)?;
    }
    // One more a copy, which knows no keyset yet.
    for number in 0..shares.len() {
        verify(&std::fs::read_to_string(certificate(home, number))?, &key)?;
    }
    println!("{all} {}", begun.elapsed().as_secs_f64() * 1e6);
    Ok(())
}

fn copy(home: &Path, number: usize) -> PathBuf {
    home.join(format!("plug-in-{number:02}.so"))
}

fn certificate(home: &Path, number: usize) -> PathBuf {
    let folder = home.join("certs/com.example/products").join(product(number));
    folder.join(tilt::certificate_name())
}

fn verify(text: &str, key: &[u8]) -> Outcome<()> {
    let at = text.rfind('.').ok_or("no signature")?;
    let signature = data_encoding::BASE64URL_NOPAD.decode(&text.as_bytes()[at + 1..])?;
    UnparsedPublicKey::new(&ED25519, key)
        .verify(&text.as_bytes()[..at], &signature)
        .map_err(|_| "a floor's signature does not match".into())
}

fn run_child(home: &Path, wrapper: &[&str]) -> Outcome<Vec<f64>> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(wrapper.first().map_or(program.as_os_str(), |word| word.as_ref()));
    if let Some((_, rest)) = wrapper.split_first() {
        command.args(rest).arg(&program);
    }
    let out = command.arg("child").arg(home).env("CLAVIGER_HOME", home).output()?;
    if !out.status.success() {
        return Err(format!("a child failed: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    Ok(String::from_utf8(out.stdout)?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// The release build of the C library: `cargo xtask bench` says where.
fn library() -> Outcome<PathBuf> {
    let folder =
        std::env::var_os("CLAVIGER_CAPI").ok_or("CLAVIGER_CAPI is not set: run cargo xtask bench")?;
    Ok(folder.into())
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn measure() -> Outcome<()> {
    let built = library()?;
    let home = tempfile::tempdir()?;
    let home = home.path();
    std::fs::write(home.join("profile"), tilt::profile())?;
    std::fs::write(home.join("issuing"), tilt::issuing_key())?;
    for number in 0..PRODUCTS {
        let file = certificate(home, number);
        std::fs::create_dir_all(file.parent().ok_or("no folder")?)?;
        std::fs::write(file, tilt::certificate(&product(number)))?;
    }
    for number in 0..COPIES {
        std::fs::copy(built.join("libclaviger.so"), copy(home, number))?;
    }

    let samples = (0..9).map(|_| run_child(home, &[])).collect::<Outcome<Vec<_>>>()?;
    let (all, floor) = (median(samples.iter().map(|s| s[0])), median(samples.iter().map(|s| s[1])));
    Row {
        what: "500 products opened by 60 plug-ins with a library copy each",
        figure: all,
        unit: "µs",
        floor,
        floor_what: "as many raw ring verifications + file reads, one more a copy for its keyset",
        goal: "≤ 1.25 × floor",
        met: all <= 1.25 * floor,
        baseline: "JUCE: 500 × 1,503 µs (applyKeyFile), first look-up starts 6 processes; licensecc: 500 × 25 to 45 µs",
    }
    .print();

    let log = home.join("trace");
    let log_name = log.to_str().ok_or("the path is not UTF-8")?;
    if run_child(home, &["strace", "-f", "-qq", "-o", log_name]).is_ok() {
        let text = std::fs::read_to_string(&log)?;
        let marked = text.lines().skip_while(|line| !line.contains("getppid")).skip(1);
        let calls: Vec<&str> = marked.take_while(|line| !line.contains("getppid")).collect();
        let threads = calls.iter().filter(|line| line.contains("clone")).count();
        let each = calls.len() as f64 / PRODUCTS as f64;
        Row {
            what: "system calls a product, all of a copy's set-up included",
            figure: each,
            unit: "calls",
            floor: 0.0,
            floor_what: "",
            goal: "≤ 12",
            met: each <= 12.0,
            baseline: "",
        }
        .print();
        Row {
            what: "threads started by it",
            figure: threads as f64,
            unit: "threads",
            floor: 0.0,
            floor_what: "",
            goal: "0",
            met: threads == 0,
            baseline: "",
        }
        .print();
    } else {
        eprintln!("strace is missing or not allowed here: system calls were not counted");
    }

    in_every_surrounding()?;

    let grown = growth(home, &built)?;
    Row {
        what: "a plug-in grows by the library, stripped",
        figure: grown as f64 / 1e6,
        unit: "MB",
        floor: 0.0,
        floor_what: "",
        goal: "≤ 1",
        met: grown <= 1_000_000,
        baseline: "",
    }
    .print();
    Ok(())
}

/// The longest stay of our CLAP host's main thread in the plug-in, over every surrounding that the tests have.
fn in_every_surrounding() -> Outcome<()> {
    const TIMES: usize = 5;
    if !rustix::process::geteuid().is_root() {
        eprintln!("surroundings of a host were not measured: they need root");
        return Ok(());
    }
    let here = std::env::current_exe()?;
    let [host, plugin] = ["clap_host", "libtilt.so"].map(|name| here.with_file_name(name));
    let host = host.to_str().ok_or("the path is not UTF-8")?;
    let mut worst = (0.0, "");
    for scene in claviger_tests::scenes::scenes() {
        let stays = (0..TIMES).map(|_| claviger_tests::scenes::clap_host_in(&scene, host, &plugin));
        let longest = stays.fold(0.0, f64::max);
        eprintln!("  {:32} {longest:7.3} ms", scene.name);
        if longest > worst.0 {
            worst = (longest, scene.name);
        }
    }
    Row {
        what: "longest stay of a host's main thread in the plug-in, any surrounding",
        figure: worst.0,
        unit: "ms",
        floor: 0.0,
        floor_what: worst.1,
        goal: "≤ 5",
        met: worst.0 <= 5.0,
        baseline: "",
    }
    .print();
    Ok(())
}

/// Bytes of a plug-in that uses all of the archive, less those of one that uses nothing.
fn growth(home: &Path, built: &Path) -> Outcome<u64> {
    let source = home.join("plug-in.c");
    let uses = "void *plug_in(void) { static void *const all[] = { clv_vendor_open, clv_license_open, clv_license_status,\n\
                clv_license_text, clv_license_activate, clv_license_deactivate, clv_license_watch, clv_watch_close,\n\
                clv_license_close, clv_vendor_close, clv_license_begin_use, clv_license_end_use,\n\
                clv_license_describe_use }; return (void *)all; }\n";
    let size = |name: &str, body: &str| -> Outcome<u64> {
        std::fs::write(&source, format!("#define CLV_STATIC\n#include <claviger.h>\n{body}"))?;
        let file = home.join(name);
        let include = format!("-I{}", tilt::source().join("client-lib/capi/include").display());
        let done = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-s", "-w", "-fvisibility=default", &include, "-o"])
            .arg(&file)
            .arg(&source)
            .arg(built.join("libclaviger.a"))
            .args(["-Wl,--exclude-libs,libclaviger.a", "-Wl,--gc-sections", "-lpthread", "-ldl", "-lm"])
            .status()?;
        if !done.success() {
            return Err("the C compiler failed".into());
        }
        Ok(std::fs::metadata(file)?.len())
    };
    Ok(size("with.so", uses)?.saturating_sub(size("without.so", "void *plug_in(void) { return 0; }\n")?))
}
