//! Group look-up: unlock keys that were asked for while the last look-up ran are read with one statement.

use std::sync::Arc;

use claviger_protocol::keys::PublicKey;
use claviger_protocol::serial::Serial;
use tokio::sync::{mpsc, oneshot};

use super::WriterError;
use crate::storage::Store;

const QUEUE: usize = 4096;
const BATCH: usize = 256;

type Reply = oneshot::Sender<Result<Option<PublicKey>, WriterError>>;

/// The handle to the look-up task; cheap to clone.
#[derive(Clone, Debug)]
pub struct Lookup {
    queue: mpsc::Sender<(Serial, Reply)>,
}

impl Lookup {
    /// Starts it on the current runtime.
    #[must_use]
    pub fn start(store: Arc<dyn Store>) -> Self {
        let (queue, mut asked) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut batch: Vec<(Serial, Reply)> = Vec::with_capacity(BATCH);
            while asked.recv_many(&mut batch, BATCH).await > 0 {
                let (serials, replies): (Vec<Serial>, Vec<Reply>) = batch.drain(..).unzip();
                match store.unlock_keys(&serials).await {
                    Ok(keys) => {
                        for (reply, key) in replies.into_iter().zip(keys) {
                            let _ = reply.send(Ok(key));
                        }
                    }
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "a look-up failed");
                        let error = Arc::new(error);
                        for reply in replies {
                            let _ = reply.send(Err(WriterError::Store(Arc::clone(&error))));
                        }
                    }
                }
            }
        });
        Self { queue }
    }

    /// The unlock key of a serial number.
    ///
    /// # Errors
    /// [`WriterError`].
    pub async fn unlock_key(&self, serial: Serial) -> Result<Option<PublicKey>, WriterError> {
        let (reply, found) = oneshot::channel();
        self.queue.try_send((serial, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriterError::Busy,
            mpsc::error::TrySendError::Closed(_) => WriterError::Stopping,
        })?;
        found.await.map_err(|_| WriterError::Stopping)?
    }
}
