//! Building for other systems from Linux. rustup has no standard libraries for them offline, so Debian's own Rust is used,
//! which comes with the standard library's source and builds it for any target (`-Zbuild-std`).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Failure, Result};
use crate::tools;

/// The Windows that is cross-built and run under Wine.
pub(crate) const WINDOWS: &str = "x86_64-pc-windows-gnu";
/// The Macs that are type-checked.
pub(crate) const MACS: [&str; 2] = ["aarch64-apple-darwin", "x86_64-apple-darwin"];
/// The Windows of Microsoft's own tools, for which archives can be made without them.
pub(crate) const MSVC: [&str; 2] = ["x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc"];

/// Cargo and rustc as Debian installs them.
const CARGO: &str = "/usr/bin/cargo";
const RUSTC: &str = "/usr/bin/rustc";
const CLIPPY: &str = "/usr/bin/cargo-clippy";
/// Wine likewise.
pub(crate) const WINE: &str = "/usr/lib/wine/wine64";
pub(crate) const WINE_SERVER: &str = "/usr/lib/wine/wineserver64";

/// A file that has to be there, and the Debian package that has it.
pub(crate) type Wanted = (&'static str, &'static str);

const RUST: &[Wanted] = &[
    (RUSTC, "rustc-web"),
    (CARGO, "cargo-web"),
    ("/usr/lib/rustlib/src/rust/library/Cargo.lock", "rust-web-src"),
    ("/usr/lib/rustlib/x86_64-unknown-linux-gnu/lib", "libstd-rust-web-dev"),
];
const MINGW: &[Wanted] = &[("/usr/bin/x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64-win32")];
const WINE_ONLY: &[Wanted] = &[(WINE, "wine64")];
const LINTER: &[Wanted] = &[(CLIPPY, "rust-web-clippy")];

/// What is to be done with another system's code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Build for Windows.
    Build,
    /// Build for Windows and run.
    Run,
    /// Look at the code for all of them.
    Lint,
}

/// Makes sure that the tools are there. What is missing is installed when `install` says so, otherwise named.
pub(crate) fn ensure(what: Use, install: bool) -> Result<()> {
    let mut wanted: Vec<&'static Wanted> = RUST.iter().chain(MINGW).collect();
    match what {
        Use::Build => {}
        Use::Run => wanted.extend(WINE_ONLY),
        Use::Lint => wanted.extend(LINTER),
    }
    packages(wanted, install)
}

/// Makes sure of Debian's Rust with the standard library's source, and of these files beside it.
pub(crate) fn ensure_beside_rust(more: &'static [Wanted], install: bool) -> Result<()> {
    packages(RUST.iter().chain(more), install)
}

fn packages(wanted: impl IntoIterator<Item = &'static Wanted>, install: bool) -> Result<()> {
    let absent = wanted.into_iter().filter(|(file, _)| !Path::new(file).exists());
    let mut missing: Vec<&str> = absent.map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if install && shell::has("apt-get") {
        return tools::apt_install(&missing);
    }
    Err(Failure::new(format!(
        "these packages of Debian 12 are missing: sudo apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    )))
}

/// Where cross builds go: apart from the others, because another rustc makes them.
pub(crate) fn target_dir() -> Result<PathBuf> {
    Ok(shell::target_dir()?.join("cross"))
}

/// Cargo for another target, up to the subcommand: `cargo(WINDOWS, "build")?.args(…)`.
pub(crate) fn cargo(target: &str, subcommand: &str) -> Result<Command> {
    // Cargo itself would look for the linter in rustup's folder first.
    let mut command = shell::named_cargo(if subcommand == "clippy" { CLIPPY } else { CARGO });
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command.env("CARGO", CARGO);
    // The flag for the standard library is for nightly Rust alone, unless one insists.
    command.env("RUSTC", RUSTC).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", target_dir()?);
    command.args([subcommand, "-Zbuild-std=std,panic_unwind", "--target", target]);
    Ok(command)
}

/// Sets a C compiler for build scripts, for targets that Debian has none for: Zig's, from PyPI.
pub(crate) fn with_zig(command: &mut Command, target: &str, install: bool) -> Result<()> {
    let python = zig(install)?;
    let (machine, system) = target.split_once('-').unwrap_or((target, ""));
    let system = match system {
        "apple-darwin" => "macos",
        // Zig has no headers of Microsoft's. What C there is calls by the same convention and needs `memcpy` and `memset` alone.
        "pc-windows-msvc" => "windows-gnu",
        other => other,
    };
    let folder = target_dir()?.join("zig");
    std::fs::create_dir_all(&folder)?;
    let script = |name: &str, words: &str| -> Result<PathBuf> {
        let path = folder.join(format!("{name}-{target}"));
        // Zig names the system itself; what cc adds for Apple's and Microsoft's own compilers would contradict it.
        let text = format!(
            "#!/bin/sh\nfor word do\n  shift\n  case $word in --target=*|-arch|-mmacosx-version-min=*|arm64) ;; \
             *) set -- \"$@\" \"$word\" ;; esac\ndone\nexec {} -m ziglang {words} \"$@\"\n",
            python.display()
        );
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(path)
    };
    let name = target.replace('-', "_");
    command.env(format!("CC_{name}"), script("cc", &format!("cc -target {machine}-{system}"))?);
    // For Microsoft's systems it is called as their `lib` is.
    let archiver = if target.ends_with("msvc") { "lib" } else { "ar" };
    command.env(format!("AR_{name}"), script("ar", archiver)?);
    Ok(())
}

fn zig(install: bool) -> Result<PathBuf> {
    let venv = shell::target_dir()?.join("venv-zig");
    let python = venv.join("bin/python3");
    let works = || {
        Command::new(&python)
            .args(["-c", "import ziglang"])
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if works() {
        return Ok(python);
    }
    let how = format!("python3 -m venv {} && {} -m pip install ziglang", venv.display(), python.display());
    if !install {
        return Err(Failure::new(format!("a C compiler for Macs is missing: {how}")));
    }
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    shell::run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "ziglang"]))?;
    if works() {
        Ok(python)
    } else {
        Err(Failure::new(format!("`{how}` ran, but Python cannot import ziglang")))
    }
}
