//! `cargo xtask dist`: everything that a package or an installer takes along, in `dist/`.
//!
//! The C library has a target folder and settings of its own: it must unwind (a panic must not end the host), be small,
//! and share no build with programs that enable other features of the same crates.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::shell::{self, Failure, Result};

const PROGRAMS: &[&str] = &["claviger", "clavigerd", "claviger-server"];

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
    if let Some(unknown) = args.first() {
        return Err(Failure::new(format!("`dist` does not know {unknown}; see cargo xtask --help")));
    }
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
    let capi = capi_folder()?;
    for name in ["libclaviger.so", "libclaviger.a"] {
        copy(&capi.join(name), &dist.join("lib").join(name))?;
    }
    let source = shell::root().join("client-lib/capi");
    copy(&source.join("include/claviger.h"), &dist.join("include/claviger.h"))?;
    pkg_config(&source, &dist)?;
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

/// The `.pc` files, with the folder and the version filled in.
fn pkg_config(source: &Path, dist: &Path) -> Result<()> {
    let folder = dist.join("lib/pkgconfig");
    std::fs::create_dir_all(&folder)?;
    for name in ["claviger.pc", "claviger-static.pc"] {
        let template = source.join(format!("{name}.in"));
        let text = std::fs::read_to_string(&template)
            .map_err(|e| Failure::new(format!("{}: {e}", template.display())))?;
        let text = text
            .replace("@PREFIX@", &dist.display().to_string())
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"));
        let file = folder.join(name);
        std::fs::write(&file, text)?;
        println!("  {}", file.strip_prefix(shell::root()).unwrap_or(&file).display());
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
