//! The issuing keys in use, read anew when their files change: `keys install` needs no restart.

use std::sync::{Arc, RwLock};

use crate::config::DataDir;
use crate::keys::{Issuer, KeysError};
use crate::platform;

/// What tells one state of the files from the next: they are replaced by renaming, so more than their time changes.
type Stamp = [platform::Stamp; 3];

/// The current [`Issuer`].
#[derive(Debug)]
pub struct IssuerCell {
    data: DataDir,
    current: RwLock<(Stamp, Arc<Issuer>)>,
}

impl IssuerCell {
    /// Reads the files.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn load(data: &DataDir) -> Result<Self, KeysError> {
        let stamp = stamp(data);
        let issuer = Arc::new(Issuer::load(data)?);
        Ok(Self { data: data.clone(), current: RwLock::new((stamp, issuer)) })
    }

    /// The keys as the files say now. Files that cannot be used leave the former ones in force; the log says so.
    #[must_use]
    pub fn get(&self) -> Arc<Issuer> {
        let now = stamp(&self.data);
        {
            let current = self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            if current.0 == now {
                return Arc::clone(&current.1);
            }
        }
        let mut current = self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if current.0 != now {
            match Issuer::load(&self.data) {
                Ok(issuer) => {
                    tracing::info!(keyset = issuer.keyset().number, "the issuing keys were read anew");
                    current.1 = Arc::new(issuer);
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the changed key files cannot be used; the former keys stay in force"
                    );
                }
            }
            current.0 = now;
        }
        Arc::clone(&current.1)
    }
}

fn stamp(data: &DataDir) -> Stamp {
    [data.keyset(), data.sunset(), data.keys()]
        .map(|path| std::fs::metadata(path).map_or([0; 3], |about| platform::stamp(&about)))
}
