//! Where passphrases come from: a terminal that does not echo them, or a file for automation. Never the command line,
//! which every user of the machine can read.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Failure, FailureKind, Output};
use crate::keys::envelope::Passphrase;

/// The option that every command with a passphrase has.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct PassphraseSource {
    /// Read the passphrase from the first line of FILE (`-`: standard input) instead of asking for it.
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

impl PassphraseSource {
    /// A new passphrase: asked for twice.
    ///
    /// # Errors
    /// [`Failure`] when there is none, or the two differ.
    pub(super) fn choose(&self, what: &str, output: Output) -> Result<Passphrase, Failure> {
        let chosen = match &self.passphrase_file {
            Some(path) => read(path)?,
            None => {
                let first = ask(&format!("Choose a passphrase for {what}: "))?;
                if !first.same(&ask("Repeat it: ")?) {
                    return Err(Failure::new(
                        FailureKind::Denied,
                        "the two passphrases differ; nothing was changed",
                    ));
                }
                first
            }
        };
        if chosen.chars() < 12 {
            output.warn("warning: the passphrase is short; four or more random words would protect better");
        }
        Ok(chosen)
    }

    /// The passphrase of something that exists: asked for once.
    ///
    /// # Errors
    /// [`Failure`] when there is none.
    pub(super) fn get(&self, what: &str) -> Result<Passphrase, Failure> {
        match &self.passphrase_file {
            Some(path) => read(path),
            None => ask(&format!("Passphrase of {what}: ")),
        }
    }
}

fn read(path: &Path) -> Result<Passphrase, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(4096).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut bytes))
    };
    done.map_err(|e| {
        Failure::new(
            FailureKind::BadInput,
            format!("could not read the passphrase from {}: {e}", path.display()),
        )
    })?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::new(FailureKind::BadInput, "the passphrase file is not text"))?;
    let line = text.lines().next().unwrap_or_default();
    passphrase(Zeroizing::new(line.to_owned()))
}

fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            FailureKind::Usage,
            "a passphrase is needed, and there is no terminal to ask on",
        )
        .hint("give it with --passphrase-file FILE, or --passphrase-file - for standard input"));
    }
    let text = rpassword::prompt_password(prompt).map_err(|e| {
        Failure::new(FailureKind::Environment, format!("could not ask for the passphrase: {e}"))
    })?;
    passphrase(Zeroizing::new(text))
}

fn passphrase(text: Zeroizing<String>) -> Result<Passphrase, Failure> {
    Passphrase::new(text).map_err(|e| Failure::from_error(FailureKind::Denied, &e))
}
