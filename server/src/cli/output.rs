//! How commands speak: sentences for people, JSON for programs, one exit code a kind of failure.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// Why standard output did not take what was said: the first failure of this process.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Where a command's words go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON or sentences.
    #[must_use]
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether JSON was asked for.
    #[must_use]
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// A sentence or a table row for people; silent under `--json`.
    pub fn say(self, text: impl fmt::Display) {
        if !self.json {
            note(writeln!(io::stdout(), "{text}"));
        }
    }

    /// A warning for people, on standard error; also under `--json`.
    pub fn warn(self, text: impl fmt::Display) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Bytes for whoever asked for them, such as a manual page.
    pub fn raw(self, bytes: &[u8]) {
        note(io::stdout().write_all(bytes));
    }

    /// The result for programs, one line; silent without `--json`.
    pub fn result(self, value: &impl Serialize) {
        if self.json {
            let text = serde_json::to_string(value).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"));
            note(writeln!(io::stdout(), "{text}"));
        }
    }

    /// Whether everything that was said arrived. A closed pipe (`| head`) counts: its reader has seen enough.
    ///
    /// # Errors
    /// When standard output could not be written, on a full disk for example.
    pub fn finish(self) -> Result<(), Failure> {
        note(io::stdout().flush());
        match LOST.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(error) => Err(Failure::new(
                FailureKind::Environment,
                format!("the command was carried out, but its result could not be written: {error}"),
            )
            .hint(
                "unlock codes and keys that it told are lost: `license transfer SERIAL` makes a new code, `admin-key \
                 remove` ends a key",
            )),
        }
    }

    /// Says why a command failed and gives its exit code. The chain of causes is printed here and nowhere else. With
    /// `--json` it goes to standard output, in the form that `claviger` gives it: a program reads one stream.
    #[must_use]
    pub fn failure(self, failure: &Failure) -> ExitCode {
        if self.json {
            let body = serde_json::json!({ "error": {
                "code": failure.kind.code(), "message": failure.to_string(), "advice": failure.hint,
            }});
            let _ = writeln!(io::stdout(), "{body}");
        } else {
            let _ = writeln!(io::stderr(), "error: {failure}");
            if let Some(hint) = &failure.hint {
                let _ = writeln!(io::stderr(), "hint: {hint}");
            }
        }
        ExitCode::from(failure.kind.exit_code())
    }
}

/// Remembers what went wrong with standard output first.
fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// A number and what is counted: `1 seat`, `3 seats`.
pub(super) fn counted(number: impl fmt::Display, one: &str) -> String {
    let number = number.to_string();
    let s = if number == "1" { "" } else { "s" };
    format!("{number} {one}{s}")
}

/// The kinds of failure that scripts tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The command line is wrong.
    Usage,
    /// What was named does not exist.
    NotFound,
    /// It exists already, or its state forbids it.
    Conflict,
    /// A file given by the caller is not acceptable.
    BadInput,
    /// A passphrase, key or permission is wrong or missing.
    Denied,
    /// Disk, database, network.
    Environment,
    /// A mistake of ours.
    Internal,
}

impl FailureKind {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::BadInput => 5,
            Self::Denied => 6,
            Self::Environment => 7,
        }
    }

    /// The word for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::BadInput => "bad_input",
            Self::Denied => "denied",
            Self::Environment => "environment",
        }
    }
}

/// Why a command failed: what happened, with its causes, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure in one sentence.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), hint: None }
    }

    /// A failure with the chain of its causes.
    #[must_use]
    pub fn from_error(kind: FailureKind, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some libraries repeat their cause in their own words.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self { kind, message, hint: None }
    }

    /// The same with a sentence on what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
