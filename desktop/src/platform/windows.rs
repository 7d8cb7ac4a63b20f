//! Windows: a profile folder is the user's own. Later starts do not find the first yet: each opens a window of its own.

use std::fs::OpenOptions;
use std::io;

use super::{MAX_MESSAGE, no_home, socket};

/// A file that nobody else can read: what lies below a user's profile is.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Where later starts knock: nowhere yet.
#[derive(Debug)]
pub(crate) struct Door;

impl Door {
    /// # Errors
    /// Always.
    pub(crate) fn open() -> io::Result<Self> {
        let _unused = (MAX_MESSAGE, socket().ok_or_else(no_home)?);
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn answer(self, _: impl FnMut(String)) {}
}

pub(crate) fn knock(_: &str) -> bool {
    false
}
