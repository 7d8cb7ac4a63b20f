//! A clock that the test holds and the programs follow: they are built with fault points, which read from a file by how
//! much they are ahead of the system's clock. A moved clock rings the daemon's alarm and the server's.

use std::path::{Path, PathBuf};

use claviger_protocol::clock::{Clock, SystemClock, Timestamp};

/// The clock.
#[derive(Clone, Debug)]
pub struct HeldClock {
    file: PathBuf,
}

impl HeldClock {
    /// A clock that says `at`, kept in `folder`.
    #[must_use]
    pub fn at(folder: &Path, at: Timestamp) -> Self {
        let clock = Self { file: folder.join("clock") };
        clock.go_to(at);
        clock
    }

    /// Sets it; from then on it goes as clocks do. Never behind the system's: alarms of the real programs would ring for
    /// ever.
    pub fn go_to(&self, at: Timestamp) {
        let ahead = at.0 - SystemClock.now().0;
        assert!(ahead >= 0, "{at} is in the past");
        // In one step: a program reads the old number or the new one.
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, ahead.to_string()).unwrap();
        std::fs::rename(&fresh, &self.file).unwrap();
    }

    /// What a program has to be told.
    #[must_use]
    pub fn env(&self) -> (String, String) {
        ("CLAVIGER_TEST_CLOCK".to_owned(), self.file.display().to_string())
    }
}

impl Clock for HeldClock {
    fn now(&self) -> Timestamp {
        let ahead: i64 = std::fs::read_to_string(&self.file).unwrap().parse().unwrap();
        SystemClock.now().plus(ahead)
    }
}
