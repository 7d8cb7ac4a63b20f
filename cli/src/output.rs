//! What a command prints: sentences for people, or exactly one JSON document on standard output with `--json`.
//!
//! With `--json` errors go to standard output too, as `{"error":{"code","message","advice",…}}`, and standard error
//! stays silent: a program reads one stream. A reader who closes the pipe early changes no exit code: what was
//! done is done.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::json;
use terminal_size::{Height, Width, terminal_size_of};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::text;

/// Standard output and error, in the form that was asked for.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
    colour_errors: bool,
    failed: Option<io::Error>,
}

/// How a piece of text looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A heading or the thing itself.
    Strong,
    /// Beside the point.
    Faint,
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// Wrong.
    Bad,
}

impl Look {
    const ALL: [Self; 5] = [Self::Strong, Self::Faint, Self::Good, Self::Warning, Self::Bad];

    const fn sequence(self) -> &'static str {
        match self {
            Self::Strong => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

const PLAIN: &str = "\x1b[0m";

impl Output {
    /// Colours only on terminals, and not where `NO_COLOR` or `TERM=dumb` ask for none.
    #[must_use]
    pub(crate) fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            && std::env::var_os("TERM").is_some_and(|v| v != "dumb");
        Self {
            json,
            colour: wanted && io::stdout().is_terminal(),
            colour_errors: wanted && io::stderr().is_terminal(),
            failed: None,
        }
    }

    /// Whether a program reads along.
    #[must_use]
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether standard output has colours.
    #[must_use]
    pub(crate) fn is_coloured(&self) -> bool {
        self.colour
    }

    /// Columns of the terminal that standard output is; none where it is something else.
    #[must_use]
    pub(crate) fn columns(&self) -> Option<usize> {
        let (Width(columns), _) = terminal_size_of(io::stdout())?;
        Some(usize::from(columns)).filter(|columns| *columns > 0)
    }

    /// `text` with a look, where standard output has colours.
    #[must_use]
    pub(crate) fn look(&self, look: Look, text: &str) -> String {
        if self.colour { format!("{}{text}{PLAIN}", look.sequence()) } else { text.to_owned() }
    }

    /// A line for people; nothing with `--json`.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        if !self.json {
            let line = harmless(line.as_ref(), self.colour);
            self.write(format!("{line}\n").as_bytes());
        }
    }

    /// A sentence or more for people, broken between words on a terminal.
    pub(crate) fn sentence(&mut self, sentence: impl AsRef<str>) {
        let wrapped = text::wrap(sentence.as_ref(), width(terminal_size_of(io::stdout())));
        self.line(wrapped);
    }

    /// Lines `name  value`, values aligned. Empty values are left out.
    pub(crate) fn fields(&mut self, fields: &[(&str, String)]) {
        let wide = fields.iter().filter(|f| !f.1.is_empty()).map(|f| f.0.chars().count()).max().unwrap_or(0);
        for (name, value) in fields.iter().filter(|f| !f.1.is_empty()) {
            let pad = " ".repeat(wide - name.chars().count());
            let name = self.look(Look::Faint, name);
            self.line(format!("  {name}{pad}  {value}"));
        }
    }

    /// Rows under a heading.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        for (at, line) in text::table(head, rows).iter().enumerate() {
            let line = if at == 0 { self.look(Look::Faint, line) } else { line.clone() };
            self.line(line);
        }
    }

    /// The JSON document; nothing without `--json`.
    pub(crate) fn json(&mut self, document: &impl Serialize) {
        if self.json {
            match serde_json::to_string_pretty(document) {
                Ok(text) => self.write(format!("{}\n", escaped(&text)).as_bytes()),
                Err(error) => self.failed = Some(io::Error::other(error)),
            }
        }
    }

    /// Raw text, whatever was asked for: completions, man pages.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.write(bytes);
    }

    /// A remark for people on standard error; nothing with `--json`.
    pub(crate) fn remark(&self, remark: impl AsRef<str>) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{}", harmless(remark.as_ref(), false));
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            let mut out = io::stdout().lock();
            self.failed = out.write_all(bytes).and_then(|()| out.flush()).err();
        }
    }

    /// Whether everything was printed. A closed pipe counts as printed.
    ///
    /// # Errors
    /// When standard output cannot be written, a full disk for example.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        match self.failed.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::storage(
                "The command was carried out, but its result could not be written",
                &error,
            )),
            _ => Ok(()),
        }
    }

    /// Says why the command was not done, and gives the exit code.
    pub(crate) fn failure(&mut self, failure: &Failure) -> Exit {
        if self.json {
            self.json(&json!({ "error": failure.to_json() }));
            return failure.exit;
        }
        let (bad, strong, plain) = if self.colour_errors {
            (Look::Bad.sequence(), Look::Strong.sequence(), PLAIN)
        } else {
            ("", "", "")
        };
        let width = width(terminal_size_of(io::stderr()));
        let message = text::wrap(&format!("Error: {}", text::sentence(&failure.message)), width);
        let mut text = format!("{bad}Error:{plain}{}\n", message.trim_start_matches("Error:"));
        for cause in &failure.causes {
            let _ = writeln!(text, "  because: {}", text::one_line(cause, 600));
        }
        let mut lines = failure.advice.iter().flat_map(|advice| advice.lines()).peekable();
        while let Some(line) = lines.next() {
            let line = text::one_line(line, 2_000);
            if let Some(command) = line.strip_prefix("    ") {
                let _ = writeln!(text, "    {strong}{command}{plain}");
                continue;
            }
            let mut line = text::sentence(&line);
            if lines.peek().is_some_and(|next| next.starts_with("    ")) && line.ends_with('.') {
                line.pop();
                line.push(':');
            }
            let _ = writeln!(text, "{}", text::wrap(&line, width));
        }
        // Where even standard error is closed, the exit code still tells.
        let _ = io::stderr().write_all(harmless(text.trim_end_matches('\n'), self.colour_errors).as_bytes());
        let _ = io::stderr().write_all(b"\n");
        failure.exit
    }
}

/// How wide text may be on a terminal; unbounded elsewhere.
fn width(size: Option<(Width, Height)>) -> Option<usize> {
    let (Width(columns), _) = size?;
    Some(usize::from(columns).clamp(40, 100)).filter(|_| columns > 0)
}

/// The last gate before a terminal: no control passes but line ends and, with colours, our own looks.
fn harmless(text: &str, colour: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let ours =
            Look::ALL.iter().map(|l| l.sequence()).chain([PLAIN]).find(|s| colour && rest.starts_with(s));
        if let Some(sequence) = ours {
            out.push_str(sequence);
            rest = &rest[sequence.len()..];
            continue;
        }
        out.push(if c != '\n' && text::is_hostile(c) { '\u{fffd}' } else { c });
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// JSON text with everything that a terminal obeys written as an escape; it means the same.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0u16; 2];
    for c in json.chars() {
        if c != '\n' && text::is_hostile(c) {
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_colours_pass() {
        assert_eq!(harmless("\x1b[31mx\x1b[0m", false), "\u{fffd}[31mx\u{fffd}[0m");
        assert_eq!(harmless("\x1b[31mx\x1b[0m\x1b[2J", true), "\x1b[31mx\x1b[0m\u{fffd}[2J");
    }

    #[test]
    fn json_means_the_same_after_escaping() {
        let value = json!({"name": "a\u{9b}31m\u{202e}\u{e0001}\u{7f}\u{1b}"});
        let text = escaped(&serde_json::to_string(&value).unwrap());
        assert!(text.is_ascii(), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
