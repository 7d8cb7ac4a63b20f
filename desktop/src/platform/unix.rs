//! Unix systems: a socket in a folder that only this user can enter.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{MAX_MESSAGE, no_home, peer, socket};

/// How long the other start may take for a line.
const PATIENCE: Duration = Duration::from_secs(2);

/// A file that nobody else can read.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Where later starts knock.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Opens it.
    ///
    /// # Errors
    /// When there is no safe place for it, or another window holds it.
    pub(crate) fn open() -> io::Result<Self> {
        Self::at(&socket().ok_or_else(no_home)?)
    }

    fn at(path: &Path) -> io::Result<Self> {
        let folder = path.parent().ok_or_else(no_home)?;
        if fs::symlink_metadata(folder).is_err() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        safe(folder)?;
        match UnixListener::bind(path) {
            Ok(listener) => Ok(Self { listener, path: path.to_owned() }),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                if UnixStream::connect(path).is_ok() {
                    return Err(error);
                }
                // What a window that was killed left behind.
                fs::remove_file(path)?;
                Ok(Self { listener: UnixListener::bind(path)?, path: path.to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for knocks for ever; `each` gets the line that a later start of this user left.
    pub(crate) fn answer(self, mut each: impl FnMut(String)) {
        for stream in self.listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            if !peer::is_us(&stream) || stream.set_read_timeout(Some(PATIENCE)).is_err() {
                continue;
            }
            let mut line = String::new();
            if BufReader::new((&stream).take(MAX_MESSAGE)).read_line(&mut line).is_ok()
                && line.ends_with('\n')
            {
                let _gone = stream.write_all(b"ok\n");
                each(line.trim_end().to_owned());
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

/// Leaves a line with the window that runs already; false where none does.
pub(crate) fn knock(line: &str) -> bool {
    socket().is_some_and(|path| knock_at(&path, line))
}

fn knock_at(path: &Path, line: &str) -> bool {
    let Some(folder) = path.parent() else { return false };
    if safe(folder).is_err() {
        return false;
    }
    let said = || -> io::Result<bool> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        if !peer::is_us(&stream) {
            return Ok(false);
        }
        stream.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream.take(16)).read_line(&mut answer)?;
        Ok(answer == "ok\n")
    };
    said().unwrap_or(false)
}

/// A folder that belongs to this user, and that nobody else may enter.
fn safe(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    let ours = found.uid() == rustix::process::getuid().as_raw();
    if found.is_dir() && ours && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::PermissionDenied, format!("{} is open to others", folder.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_second_start_hands_its_line_to_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/window.sock");
        assert!(!knock_at(&path, "early"));
        let door = Door::at(&path).unwrap();
        assert_eq!(Door::at(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || door.answer(move |line| sender.send(line).unwrap()));
        assert!(knock_at(&path, r#"{"link":"claviger:activate?serial=A"}"#));
        assert_eq!(lines.recv().unwrap(), r#"{"link":"claviger:activate?serial=A"}"#);
        assert!(!knock_at(&path, &"x".repeat(10_000)), "a line that is too long is not taken");
        assert!(knock_at(&path, "{}"), "and does no harm");
        assert_eq!(lines.recv().unwrap(), "{}");
    }

    #[test]
    fn what_a_killed_window_left_behind_does_not_lock_the_next_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/window.sock");
        drop(Door::at(&path).unwrap());
        // The socket's file outlives a listener that nobody closed in order.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(Door::at(&path).is_ok());
    }

    #[test]
    fn a_folder_that_others_can_enter_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Door::at(&open.join("window.sock")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}
