//! Whose programs are under test: this computer's own, or Windows programs under Wine (`CLAVIGER_TEST_PLATFORM=wine`, set
//! by `cargo xtask test`). The same tests run with both; only this module and those that start processes know.
//!
//! Under Wine every computer has a prefix of its own, and with it a server of Wine's that holds what Windows' kernel would:
//! pipes, locks, processes. “This computer” uses the prefix that xtask has made; others get a copy of it, which shares the
//! files on disk but not the server.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;

/// Wine as Debian installs it.
const WINE: &str = "/usr/lib/wine/wine64";
const WINE_SERVER: &str = "/usr/lib/wine/wineserver64";

/// Whether Windows programs are under test.
#[must_use]
pub fn wine() -> bool {
    std::env::var_os("CLAVIGER_TEST_PLATFORM").is_some_and(|name| name == "wine")
}

/// How a program's file is called.
#[must_use]
pub fn file_name(program: &str) -> String {
    if wine() { format!("{program}.exe") } else { program.to_owned() }
}

/// A program of this computer's own, whatever is under test.
///
/// # Panics
/// When `cargo xtask test` has not said where they are.
#[must_use]
pub fn native(program: &str) -> PathBuf {
    let folder = std::env::var_os("CLAVIGER_TEST_NATIVE_PROGRAMS").expect("run `cargo xtask test`");
    PathBuf::from(folder).join(program)
}

/// A path as the programs under test want it in their environment. In arguments they find Unix paths as they are: under
/// Wine they lie below the root of the current drive.
#[must_use]
pub fn path(path: &Path) -> String {
    let path = path.display().to_string();
    if wine() { format!("Z:{}", path.replace('/', "\\")) } else { path }
}

/// A Windows computer of Wine's: its registry, its drive, its server.
#[derive(Debug)]
pub struct Prefix {
    folder: PathBuf,
    own: bool,
}

impl Prefix {
    /// The one of “this computer”.
    ///
    /// # Panics
    /// When `cargo xtask test` has made none.
    #[must_use]
    pub fn shared() -> Self {
        let folder = std::env::var_os("CLAVIGER_TEST_WINE_PREFIX").expect("run `cargo xtask test`");
        Self { folder: folder.into(), own: false }
    }

    /// Another one, which goes when it is dropped.
    #[must_use]
    pub fn copy() -> Self {
        let template = Self::shared();
        // Beside the template, for the sake of hard links. Only the registry is written in place.
        let folder = template.folder.with_file_name(format!("wine-prefix-{}", crate::random_hex(6)));
        let done = Command::new("cp").arg("-al").arg(&template.folder).arg(&folder).status().unwrap();
        assert!(done.success());
        for name in ["system.reg", "user.reg", "userdef.reg"] {
            let copy = folder.join(name);
            std::fs::remove_file(&copy).unwrap();
            let _bytes = std::fs::copy(template.folder.join(name), &copy).unwrap();
        }
        Self { folder, own: true }
    }

    /// Its drive C.
    #[must_use]
    pub fn drive(&self) -> PathBuf {
        self.folder.join("drive_c")
    }

    /// Switches it on and leaves it on: services run while no program of a user's does.
    pub fn keep_on(&self) {
        let done = self.prepare(Command::new(WINE_SERVER).arg("-p")).status().unwrap();
        assert!(done.success());
    }

    /// Switches it off: everything in it ends, and its registry is on the disk.
    pub fn switch_off(&self) {
        for act in ["-k", "-w"] {
            let mut server = Command::new(WINE_SERVER);
            server.arg(act).stdout(Stdio::null()).stderr(Stdio::null());
            // Off already is as good.
            let _status = self.prepare(&mut server).status().unwrap();
        }
    }

    /// Runs a command in it.
    pub fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("WINEPREFIX", &self.folder)
            .env("WINESERVER", WINE_SERVER)
            .env("WINEDEBUG", "-all,err+virtual")
            // Nothing asks to install what is not there.
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        if self.own {
            let mut server = Command::new(WINE_SERVER);
            server.arg("-k").stdout(Stdio::null()).stderr(Stdio::null());
            let _gone = self.prepare(&mut server).status();
            let _gone = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The words that start a program: itself, or Wine with it.
#[must_use]
pub fn words(program: &Path) -> Vec<String> {
    let program = program.display().to_string();
    if !wine() {
        return vec![program];
    }
    let fixed = if places_can_be_fixed() { &["setarch", "-R"][..] } else { &[] };
    fixed.iter().map(|word| (*word).to_owned()).chain([WINE.to_owned(), program]).collect()
}

/// Whether a program can be started with its memory at places that are not random. Wine wants the page at `0x7ffe0000`,
/// which Linux's random heap takes from one start in some thousands; Wine then ends with 1. Containers may forbid it.
fn places_can_be_fixed() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let mut probe = Command::new("setarch");
        probe.args(["-R", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    })
}

/// A command that starts a program on this computer, in an environment that holds nothing yet.
#[must_use]
pub fn command(program: &Path) -> Command {
    let words = words(program);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear();
    if wine() {
        Prefix::shared().prepare(&mut command).env("HOME", "/");
    }
    command
}

/// Whether a process ended by its own hand at a fault point, as if by `kill -9`. Windows knows no signals: there it is
/// exit code 9.
#[must_use]
pub fn killed_itself(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    if wine() { status.code() == Some(9) } else { status.signal() == Some(9) }
}
