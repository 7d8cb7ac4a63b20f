//! Asking for the unlock code: never shown, never in an argument or a file, wiped from memory.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use zeroize::Zeroizing;

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
    // Not through the standard library's buffer, which nobody wipes.
    let input = io::stdin();
    read_line(&mut || read_byte(&input))
}

/// One byte; none at the end.
fn read_byte(input: impl AsFd) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match rustix::io::read(&input, &mut byte) {
            Ok(1) => return Ok(Some(byte[0])),
            Ok(_) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asks on the terminal without echo. Restores the terminal whatever happens, Ctrl-C included.
///
/// # Errors
/// [`SecretError`].
pub(crate) fn ask(question: &str) -> Result<Zeroizing<String>, SecretError> {
    let mut terminal =
        File::options().read(true).write(true).open("/dev/tty").map_err(|_| SecretError::NoTerminal)?;
    let before = termios::tcgetattr(&terminal).map_err(io::Error::from)?;
    let mut quiet = before.clone();
    // Signals are off as well: Ctrl-C is read as a byte, so that nobody is left with a terminal that shows nothing.
    quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
    quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
    let _restore = Restore { terminal: terminal.try_clone()?, before };
    termios::tcsetattr(&terminal, OptionalActions::Flush, &quiet).map_err(io::Error::from)?;
    terminal.write_all(question.as_bytes())?;
    let answer = read_line(&mut || read_byte(&terminal));
    terminal.write_all(b"\n")?;
    answer
}

struct Restore {
    terminal: File,
    before: Termios,
}

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

fn read_line(next: &mut dyn FnMut() -> io::Result<Option<u8>>) -> Result<Zeroizing<String>, SecretError> {
    // A crash from here on leaves no image of this process on the disk.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
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
