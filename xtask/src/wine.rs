//! Windows programs under Wine: built here, put beside each other, and a Windows computer of Wine's to run them on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cross::{self, WINDOWS, WINE, WINE_SERVER};
use crate::shell::{self, Failure, Result};

/// What Rust's standard library wants and Wine 8 lacks; for tests only.
const RANDOM: &str = "tests/wine/processprng.c";
/// Programs that only tests have.
const TOOLS: [&str; 3] = ["hold", "relay", "squat"];

/// A Windows computer with our programs. Its server runs until the value is dropped.
pub(crate) struct Computer {
    /// The programs, `claviger.dll` and its import library.
    pub(crate) programs: PathBuf,
    /// Its registry and its drive.
    pub(crate) prefix: PathBuf,
}

/// Builds everything with fault points and starts the computer.
pub(crate) fn start() -> Result<Computer> {
    let programs = build()?;
    let computer = Computer { programs, prefix: shell::target_dir()?.join("wine-prefix") };
    if !computer.prefix.join("system.reg").is_file() {
        let mut boot = Command::new(WINE);
        boot.args(["wineboot", "-i"]).stdout(Stdio::null()).stderr(Stdio::null());
        shell::run(computer.environment(&mut boot))?;
        // The registry is on the disk only when the server has ended.
        shell::run(computer.environment(Command::new(WINE_SERVER).arg("-w")))?;
    }
    // Otherwise each program that runs alone would boot the computer anew.
    shell::run(computer.environment(Command::new(WINE_SERVER).arg("-p")))?;
    Ok(computer)
}

impl Computer {
    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("WINEPREFIX", &self.prefix)
            .env("WINESERVER", WINE_SERVER)
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
    }

    /// What the harness of the tests goes by.
    pub(crate) fn tell(&self, tests: &mut Command, native: &Path) {
        tests.env("CLAVIGER_TEST_PLATFORM", "wine");
        tests.env("CLAVIGER_TEST_PROGRAMS", &self.programs);
        tests.env("CLAVIGER_TEST_WINE_PREFIX", &self.prefix);
        tests.env("CLAVIGER_TEST_NATIVE_PROGRAMS", native);
    }
}

impl Drop for Computer {
    fn drop(&mut self) {
        let mut end = Command::new(WINE_SERVER);
        end.arg("-k").stdout(Stdio::null()).stderr(Stdio::null());
        // Already gone is as good.
        let _ = self.environment(&mut end).status();
    }
}

fn build() -> Result<PathBuf> {
    let mut build = cross::cargo(WINDOWS, "build")?;
    // Without what it takes to name functions in a panic's message: a fifth of the standard library's build.
    build.arg("-Zbuild-std-features=panic-unwind");
    build.args([
        "--profile",
        "cross",
        "-p",
        "claviger-server",
        "-p",
        "claviger-daemon",
        "-p",
        "claviger-cli",
    ]);
    build.args(["-p", "claviger-capi"]);
    build.args(["--features", "claviger-server/fault-points,claviger-daemon/fault-points"]);
    shell::run(&mut build)?;
    let built = cross::target_dir()?.join(WINDOWS).join("cross");
    let folder = shell::target_dir()?.join("wine-programs");
    std::fs::create_dir_all(&folder)?;
    for name in ["claviger-server.exe", "clavigerd.exe", "claviger.exe", "claviger.dll", "libclaviger.dll.a"]
    {
        let copy = folder.join(name);
        let _absent = std::fs::remove_file(&copy);
        std::fs::copy(built.join(name), &copy)
            .map_err(|e| Failure::new(format!("{}: {e}", built.join(name).display())))?;
    }
    std::fs::copy(built.join("libclaviger.a"), folder.join("libclaviger.a"))?;
    let mut random = Command::new("x86_64-w64-mingw32-gcc");
    random.args(["-shared", "-O1", "-o"]).arg(folder.join("bcryptprimitives.dll"));
    shell::run(random.arg(shell::root().join(RANDOM)).arg("-ladvapi32"))?;
    for name in TOOLS {
        let mut tool = Command::new("x86_64-w64-mingw32-gcc");
        tool.args(["-Wall", "-Wextra", "-Werror", "-O1", "-o"]).arg(folder.join(format!("{name}.exe")));
        tool.arg(shell::root().join(format!("tests/wine/{name}.c")));
        shell::run(tool.arg("-ladvapi32"))?;
    }
    Ok(folder)
}
