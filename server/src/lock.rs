//! One `serve` for a data folder: two would each believe that they alone write, and undo each other's group commits.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use crate::config::DataDir;

/// The data folder is this process's to serve, until the value is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct ServeLock {
    _file: File,
}

/// Why a data folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process serves it.
    #[error("another claviger-server{} serves {} already", process.map(|p| format!(" (process {p})")).unwrap_or_default(), folder.display())]
    Taken {
        /// The data folder.
        folder: PathBuf,
        /// The other process, where it can be told.
        process: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("could not lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ServeLock {
    /// Takes the lock, at once or not at all.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(data: &DataDir) -> Result<Self, LockError> {
        let path = data.serve_lock();
        let io = |source| LockError::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(false).read(true).write(true).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {
                // For whoever is refused; that it is there or not decides nothing.
                let told = file
                    .set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| writeln!(file, "{}", std::process::id()));
                if let Err(error) = told {
                    tracing::debug!(%error, "the process id was not written into the lock file");
                }
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.take(32).read_to_string(&mut text);
                Err(LockError::Taken { folder: data.path().to_owned(), process: text.trim().parse().ok() })
            }
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path());
        let held = ServeLock::take(&data).unwrap();
        let LockError::Taken { process, .. } = ServeLock::take(&data).unwrap_err() else { panic!() };
        assert_eq!(process, crate::platform::LOCKED_FILES_ARE_READABLE.then(std::process::id));
        drop(held);
        ServeLock::take(&data).unwrap();
    }
}
