//! Group commit: requests that queued while the last commit was syncing are decided and committed together.

use std::sync::Arc;

use claviger_protocol::clock::Clock;
use claviger_protocol::ids::VendorId;
use tokio::sync::{mpsc, oneshot};

use super::decide::{Context, decide};
use super::world::Touched;
use super::{Command, Decision};
use crate::fault;
use crate::metrics::Metrics;
use crate::storage::{Store, StoreError};

/// Requests that may wait for the writer; more are refused at once rather than kept waiting.
const QUEUE: usize = 4096;
/// Requests decided in one commit.
const BATCH: usize = 256;

/// The handle to the writer; cheap to clone. The writer ends when the last handle is dropped and its queue is empty.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
}

/// Why a request was not decided. Nothing of it was stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriterError {
    /// More is queued than the server can do soon.
    #[error("the server has more to do than it can at the moment")]
    Busy,
    /// The database refused.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The writer is gone: the server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

#[derive(Debug)]
struct Job {
    command: Command,
    reply: oneshot::Sender<Result<Decision, WriterError>>,
}

impl Writer {
    /// Starts the writer on the current runtime.
    #[must_use]
    pub fn start(
        store: Arc<dyn Store>,
        vendor: VendorId,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let task = tokio::spawn(run(store, vendor, clock, metrics, jobs));
        (Self { queue }, task)
    }

    /// Decides about a request and commits what follows from it.
    ///
    /// # Errors
    /// [`WriterError`]; then nothing was stored.
    pub async fn decide(&self, command: Command) -> Result<Decision, WriterError> {
        self.queue(command)?.wait().await
    }

    /// Puts a request into the queue, behind everything that was put there before. Dropping what comes back leaves it
    /// undecided, unless it is being decided already.
    ///
    /// # Errors
    /// [`WriterError`]; then nothing was stored.
    pub fn queue(&self, command: Command) -> Result<Decided, WriterError> {
        let (reply, decided) = oneshot::channel();
        self.queue.try_send(Job { command, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriterError::Busy,
            mpsc::error::TrySendError::Closed(_) => WriterError::Stopping,
        })?;
        Ok(Decided(decided))
    }
}

/// A decision to come.
#[derive(Debug)]
pub struct Decided(oneshot::Receiver<Result<Decision, WriterError>>);

impl Decided {
    /// Waits until it is committed.
    ///
    /// # Errors
    /// [`WriterError`]; then nothing was stored.
    pub async fn wait(self) -> Result<Decision, WriterError> {
        self.0.await.map_err(|_| WriterError::Stopping)?
    }
}

async fn run(
    store: Arc<dyn Store>,
    vendor: VendorId,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    mut jobs: mpsc::Receiver<Job>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while jobs.recv_many(&mut batch, BATCH).await > 0 {
        let size = batch.len();
        metrics.queued(jobs.len());
        // Who has hung up need not be decided about: it will ask again with the same nonce.
        let (commands, replies): (Vec<Command>, Vec<_>) =
            batch.drain(..).filter(|j| !j.reply.is_closed()).map(|j| (j.command, j.reply)).unzip();
        if commands.is_empty() {
            continue;
        }
        let started = std::time::Instant::now();
        let decided = commit(store.as_ref(), &vendor, clock.as_ref(), commands).await;
        metrics.commit(size, started.elapsed());
        match decided {
            Ok(decisions) => {
                for (reply, decision) in replies.into_iter().zip(decisions) {
                    let _ = reply.send(Ok(decision));
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, requests = size, "a commit failed");
                let error = Arc::new(error);
                for reply in replies {
                    let _ = reply.send(Err(WriterError::Store(Arc::clone(&error))));
                }
            }
        }
    }
}

async fn commit(
    store: &dyn Store,
    vendor: &VendorId,
    clock: &dyn Clock,
    commands: Vec<Command>,
) -> Result<Vec<Decision>, StoreError> {
    let now = clock.now();
    let mut touched = Touched::default();
    for command in &commands {
        touched.add(command, now);
    }
    let (told, decisions) = oneshot::channel();
    let vendor = vendor.clone();
    store
        .batch(
            touched,
            Box::new(move |world| {
                let context = Context { vendor: &vendor, now };
                let all: Vec<_> = commands.iter().map(|c| decide(world, c, &context)).collect();
                let _ = told.send(all);
            }),
        )
        .await?;
    fault::point("after-commit");
    decisions.await.map_err(|_| StoreError::Gone)
}
