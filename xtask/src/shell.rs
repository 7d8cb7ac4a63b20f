//! Running other programs from the workspace's root, and saying what is run.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a command of ours stopped.
#[derive(Debug)]
pub(crate) struct Failure(Option<String>);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Some(text.into()))
    }

    /// Everything has been said already.
    pub(crate) fn quiet() -> Self {
        Self(None)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("failed"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The cargo that started us.
pub(crate) fn cargo() -> Command {
    named_cargo(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Another cargo.
pub(crate) fn named_cargo(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // What `cargo run` tells xtask about itself must not reach the packages built next.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_BIN_NAME" {
            command.env_remove(&name);
        }
    }
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let text = output(&mut command)?;
    let metadata: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| Failure::new(format!("`cargo metadata` gave something unreadable: {e}")))?;
    let folder = metadata["target_directory"].as_str().unwrap_or("target");
    Ok(root().join(folder))
}

/// A command as a person would type it.
pub(crate) fn typed(command: &Command) -> String {
    let quote = |word: &std::ffi::OsStr| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains([' ', '"', '\'', '$', '*', ';', '&', '|', '<', '>']) {
            format!("'{}'", word.replace('\'', r"'\''"))
        } else {
            word.into_owned()
        }
    };
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name).chain(command.get_args()).map(quote).collect::<Vec<_>>().join(" ")
}

/// Runs a command with our own terminal; its failure is ours.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    heading(&format!("$ {}", typed(command)));
    let status =
        command.status().map_err(|e| Failure::new(format!("`{}` cannot be started: {e}", typed(command))))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` ended with {status}", typed(command))))
}

/// Runs a command and gives what it wrote to its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|e| Failure::new(format!("`{}` cannot be started: {e}", typed(command))))?;
    if !done.status.success() {
        return Err(Failure::new(format!("`{}` ended with {}", typed(command), done.status)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Whether a program of this name can be run.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Whether we are root; false where that cannot be told.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// A line that stands out on a terminal.
pub(crate) fn heading(text: &str) {
    if std::io::stdout().is_terminal() {
        println!("\x1b[1m{text}\x1b[0m");
    } else {
        println!("{text}");
    }
}
