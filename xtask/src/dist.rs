//! `cargo xtask dist`: everything that a package or an installer takes along, in `dist/`.
//!
//! The C library has a target folder and settings of its own: it must unwind (a panic must not end the host), be small,
//! and share no build with programs that enable other features of the same crates.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cross::{self, MACS, MSVC, Use, WINDOWS};
use crate::shell::{self, Failure, Result};
use crate::universal;

const PROGRAMS: &[&str] = &["claviger", "clavigerd", "claviger-server"];
/// The manager window, which is built for this system only: Slint takes minutes.
const WINDOW: &str = "claviger-desktop";

/// Where the C library is built.
pub(crate) fn capi_folder() -> Result<PathBuf> {
    Ok(shell::target_dir()?.join("capi/capi"))
}

/// Builds the C library for release.
pub(crate) fn build_capi(quiet: bool) -> Result<()> {
    let mut build = shell::cargo();
    build.args(["build", "--profile", "capi", "-p", "claviger-capi", "--target-dir"]);
    build.arg(shell::target_dir()?.join("capi"));
    if quiet {
        let status = build.stdout(Stdio::null()).status()?;
        return if status.success() { Ok(()) } else { Err(Failure::new("the C library does not build")) };
    }
    shell::run(&mut build)
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut target = None;
    let mut install = false;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--install" => install = true,
            "--target" => target = words.next(),
            unknown => {
                return Err(Failure::new(format!("`dist` does not know {unknown}; see cargo xtask --help")));
            }
        }
    }
    match target.map(String::as_str) {
        None => here(),
        Some(WINDOWS) => for_windows(install),
        Some(other) => Err(Failure::new(format!("`dist` builds for {WINDOWS}, not for {other}"))),
    }
}

/// Programs, DLL, import library, archives and header for Windows, in a folder of their own.
fn for_windows(install: bool) -> Result<()> {
    cross::ensure(Use::Build, install)?;
    let mut build = cross::cargo(WINDOWS, "build")?;
    build.args(["--release", "-p", "claviger-cli", "-p", "claviger-daemon", "-p", "claviger-server"]);
    shell::run(&mut build)?;
    let mut library = cross::cargo(WINDOWS, "build")?;
    library.args(["--profile", "capi", "-p", "claviger-capi"]);
    shell::run(&mut library)?;
    let dist = shell::root().join("dist").join(WINDOWS);
    if dist.exists() {
        std::fs::remove_dir_all(&dist)?;
    }
    let built = cross::target_dir()?.join(WINDOWS);
    for name in PROGRAMS {
        let name = format!("{name}.exe");
        copy(&built.join("release").join(&name), &dist.join("bin").join(&name))?;
    }
    copy(&built.join("capi/claviger.dll"), &dist.join("bin/claviger.dll"))?;
    copy(&built.join("capi/libclaviger.dll.a"), &dist.join("lib/libclaviger.dll.a"))?;
    copy(&built.join("capi/libclaviger.a"), &dist.join("lib").join(WINDOWS).join("libclaviger.a"))?;
    let mut macs = Vec::new();
    for target in MSVC.into_iter().chain(MACS) {
        match archive(target, install) {
            Ok((built, _)) if MACS.contains(&target) => macs.push((target, std::fs::read(built)?)),
            Ok((built, name)) => copy(&built, &dist.join("lib").join(target).join(name))?,
            Err(failure) => println!("  no archive for {target}: {failure}"),
        }
    }
    if !macs.is_empty() {
        let both = dist.join("lib/apple-darwin/libclaviger.a");
        std::fs::create_dir_all(dist.join("lib/apple-darwin"))?;
        std::fs::write(&both, universal::join(&macs)?)?;
        println!("  {}", both.strip_prefix(shell::root()).unwrap_or(&both).display());
    }
    let source = shell::root().join("client-lib/capi");
    copy(&source.join("include/claviger.h"), &dist.join("include/claviger.h"))?;
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&shell::root().join(name), &dist.join(name))?;
    }
    println!("\nEverything is in {}", dist.display());
    Ok(())
}

/// The static library for a system that cannot be linked for here: an archive needs no linker.
fn archive(target: &str, install: bool) -> Result<(PathBuf, &'static str)> {
    let mut build = cross::cargo(target, "rustc")?;
    build.args(["--profile", "capi", "-p", "claviger-capi", "--crate-type", "staticlib"]);
    cross::with_zig(&mut build, target, install)?;
    shell::run(&mut build)?;
    let name = if target.contains("msvc") { "claviger.lib" } else { "libclaviger.a" };
    Ok((cross::target_dir()?.join(target).join("capi").join(name), name))
}

fn here() -> Result<()> {
    let mut build = shell::cargo();
    build.args([
        "build",
        "--release",
        "-p",
        "claviger-cli",
        "-p",
        "claviger-daemon",
        "-p",
        "claviger-server",
        "-p",
        WINDOW,
    ]);
    shell::run(&mut build)?;
    build_capi(false)?;

    let dist = shell::root().join("dist");
    if dist.exists() {
        std::fs::remove_dir_all(&dist)?;
    }
    let release = shell::target_dir()?.join("release");
    for name in PROGRAMS {
        copy(&release.join(name), &dist.join("bin").join(name))?;
    }
    copy(&release.join(WINDOW), &dist.join("bin").join(WINDOW))?;
    for (file, place) in [
        ("io.claviger.Claviger.desktop", "share/applications"),
        ("io.claviger.Claviger.svg", "share/icons/hicolor/scalable/apps"),
        ("io.claviger.Claviger.metainfo.xml", "share/metainfo"),
    ] {
        copy(&shell::root().join("packaging/desktop").join(file), &dist.join(place).join(file))?;
    }
    let fonts = shell::root().join("desktop/ui/fonts/OFL.txt");
    copy(&fonts, &dist.join("share/doc/claviger-desktop/OFL.txt"))?;
    install_sdk(&capi_folder()?, &dist)?;
    man_and_completions(&dist)?;
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&shell::root().join(name), &dist.join("share/doc/claviger").join(name))?;
    }
    println!("\nEverything is in {}", dist.display());
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::copy(from, to).map_err(|e| Failure::new(format!("{}: {e}", from.display())))?;
    println!("  {}", to.strip_prefix(shell::root()).unwrap_or(to).display());
    Ok(())
}

/// `cargo xtask sdk`: what a plug-in is built with.
pub(crate) fn sdk(args: &[String]) -> Result<()> {
    let dev = args.iter().any(|a| a == "--dev");
    let folders: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    if let Some(unknown) = args.iter().find(|a| a.starts_with('-') && *a != "--dev") {
        return Err(Failure::new(format!("`sdk` does not know {unknown}; see cargo xtask --help")));
    }
    let [folder] = folders[..] else {
        return Err(Failure::new("name one folder: cargo xtask sdk DIR"));
    };
    let folder = std::path::absolute(folder)?;
    if !dev {
        build_capi(false)?;
        return install_sdk(&capi_folder()?, &folder);
    }
    shell::run(shell::cargo().args(["build", "-p", "claviger-capi"]))?;
    install_sdk(&shell::target_dir()?.join("debug"), &folder)
}

/// The C library, its headers, and what CMake and pkg-config need to find them. All of it may be moved elsewhere
/// together: nothing in it names the folder.
fn install_sdk(built: &Path, prefix: &Path) -> Result<()> {
    let source = shell::root().join("client-lib/capi");
    copy(&built.join("libclaviger.a"), &prefix.join("lib/libclaviger.a"))?;
    copy(&built.join("libclaviger.so"), &prefix.join("lib/libclaviger.so.0"))?;
    let link = prefix.join("lib/libclaviger.so");
    let _absent = std::fs::remove_file(&link);
    std::os::unix::fs::symlink("libclaviger.so.0", &link)?;
    for name in ["claviger.h", "claviger.hpp"] {
        copy(&source.join("include").join(name), &prefix.join("include").join(name))?;
    }
    let cmake = prefix.join("lib/cmake/claviger");
    copy(&source.join("cmake/claviger-config.cmake"), &cmake.join("claviger-config.cmake"))?;
    for (from, to) in [
        ("claviger.pc.in", prefix.join("lib/pkgconfig/claviger.pc")),
        ("claviger-static.pc.in", prefix.join("lib/pkgconfig/claviger-static.pc")),
        ("cmake/claviger-config-version.cmake.in", cmake.join("claviger-config-version.cmake")),
    ] {
        copy(&source.join(from), &to)?;
        let text = std::fs::read_to_string(&to)?;
        std::fs::write(&to, text.replace("@VERSION@", env!("CARGO_PKG_VERSION")))?;
    }
    Ok(())
}

/// Asks the programs themselves.
fn man_and_completions(dist: &Path) -> Result<()> {
    let man = dist.join("share/man/man1");
    std::fs::create_dir_all(&man)?;
    for name in ["claviger", "claviger-server"] {
        let program = dist.join("bin").join(name);
        shell::run(Command::new(&program).arg("man").arg(&man))?;
        for (shell_name, file) in [
            ("bash", format!("share/bash-completion/completions/{name}")),
            ("zsh", format!("share/zsh/site-functions/_{name}")),
            ("fish", format!("share/fish/vendor_completions.d/{name}.fish")),
        ] {
            let text = shell::output(Command::new(&program).args(["completions", shell_name]))?;
            let path = dist.join(file);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&path, text)?;
        }
    }
    Ok(())
}
