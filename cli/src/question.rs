//! Questions before what cannot be undone.

use std::io::{self, IsTerminal as _, Write as _};

use crate::output::Output;

/// Asks "Go on? [y/N]" after `what`, a sentence or more. `None` where nobody can be asked: no terminal, or `--json`.
pub(crate) fn go_on(what: &str, out: &Output) -> Option<bool> {
    if out.is_json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    // A terminal that cannot be written is noticed when it is read.
    let _ = write!(io::stderr(), "{what}\nGo on? [y/N] ");
    let mut answer = String::new();
    // Nothing read is no.
    let _ = io::stdin().read_line(&mut answer);
    Some(answer.trim().to_lowercase().starts_with('y'))
}
