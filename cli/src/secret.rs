//! Asking for the unlock code: never shown, never in an argument or a file, wiped from memory.

use std::io;

use zeroize::Zeroizing;

use crate::platform::{self, Terminal};

/// A code has at most 64 letters; whoever pipes a file in by mistake is told so.
const MAX: usize = 1024;

/// Why there is no code.
#[derive(Debug)]
pub(crate) enum SecretError {
    /// Nobody sits there to be asked.
    NoTerminal,
    /// The person broke off.
    Cancelled,
    /// More than a code.
    TooLong,
    /// Not text.
    NotText,
    /// The terminal or the pipe failed.
    Io(io::Error),
}

impl From<io::Error> for SecretError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The first line of standard input.
///
/// # Errors
/// [`SecretError`].
pub(crate) fn from_stdin() -> Result<Zeroizing<String>, SecretError> {
    read_line(&mut platform::stdin_byte)
}

/// Asks on the terminal without echo. Restores the terminal whatever happens, Ctrl-C included.
///
/// # Errors
/// [`SecretError`].
pub(crate) fn ask(question: &str) -> Result<Zeroizing<String>, SecretError> {
    let mut terminal =
        Terminal::open().map_err(|error| error.map_or(SecretError::NoTerminal, SecretError::Io))?;
    terminal.write(question)?;
    let answer = read_line(&mut || terminal.byte());
    terminal.write("\n")?;
    answer
}

fn read_line(next: &mut dyn FnMut() -> io::Result<Option<u8>>) -> Result<Zeroizing<String>, SecretError> {
    platform::forbid_dumps();
    // Never grows, so no copy stays behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX));
    while let Some(byte) = next()? {
        match byte {
            b'\n' | b'\r' | 0x04 => break,
            0x03 | 0x1c => return Err(SecretError::Cancelled),
            0x08 | 0x7f => drop(line.pop()),
            0x15 => line.iter_mut().for_each(|b| *b = b' '), // Ctrl-U: blanks are skipped in a code
            _ if line.len() == MAX => return Err(SecretError::TooLong),
            _ => line.push(byte),
        }
    }
    match std::str::from_utf8(&line) {
        Ok(text) => {
            let mut out = Zeroizing::new(String::with_capacity(MAX));
            out.push_str(text.trim());
            Ok(out)
        }
        Err(_) => Err(SecretError::NotText),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Result<Zeroizing<String>, SecretError> {
        let mut keys = keys.iter().copied();
        read_line(&mut || Ok(keys.next()))
    }

    #[test]
    fn keys_that_people_press() {
        assert_eq!(*typed(b" abc-def\r\nrest").unwrap(), "abc-def");
        assert_eq!(*typed(b"abx\x7fc\n").unwrap(), "abc");
        assert_eq!(*typed(b"wrong\x15right").unwrap(), "right");
        assert_eq!(*typed(b"").unwrap(), "");
        assert!(matches!(typed(b"ab\x03"), Err(SecretError::Cancelled)));
        assert!(matches!(typed(&[b'a'; MAX + 1]), Err(SecretError::TooLong)));
        assert!(matches!(typed(b"\xff\xfe\n"), Err(SecretError::NotText)));
    }
}
