//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use claviger_protocol::clock::{Clock, DAY};
use claviger_protocol::ids::ActivationId;
use claviger_protocol::keys::PublicKey;
use claviger_protocol::serial::Serial;
use ring::rand::SecureRandom;

use super::exchange::Peer;
use super::issuer::IssuerCell;
use super::limit::FailedProofs;
use super::portal::Counter;
use crate::admin_keys::AdminKeys;
use crate::engine::{Lookup, Writer};
use crate::keys::Issuer;
use crate::metrics::Metrics;
use crate::security_log::{Entry, SecurityLog};
use crate::storage::Store;

/// Answers to refreshes and receipts are kept this long for repeated requests: twice as long as an offline request is
/// good. Answers that made an activation are kept for ever.
const ANSWERS_KEPT: i64 = 60 * DAY;
/// How often old answers are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(3_600);

/// What a server is made of.
pub struct AppParts {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random number generator.
    pub rng: Arc<dyn SecureRandom + Send + Sync>,
    /// The issuing keys.
    pub issuer: IssuerCell,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Where addresses go.
    pub security_log: SecurityLog,
    /// Who may use the admin interface.
    pub admin_keys: Arc<AdminKeys>,
}

/// The state of a running server.
pub struct App {
    pub(super) parts: AppParts,
    pub(super) writer: Writer,
    pub(super) lookup: Lookup,
    pub(super) failed_proofs: FailedProofs,
    /// Verified against when a serial number is unknown, so that both failures take the same time.
    pub(super) nobody: PublicKey,
    pub(super) counter: Counter,
}

impl App {
    /// Starts the writer and the look-up on the current runtime. The second value ends when the writer has.
    ///
    /// # Errors
    /// When the system's random number generator fails.
    pub fn start(
        parts: AppParts,
    ) -> Result<(Arc<Self>, tokio::task::JoinHandle<()>), ring::error::Unspecified> {
        let vendor = parts.issuer.get().vendor().clone();
        let (writer, done) = Writer::start(
            Arc::clone(&parts.store),
            vendor,
            Arc::clone(&parts.clock),
            Arc::clone(&parts.metrics),
        );
        let lookup = Lookup::start(Arc::clone(&parts.store));
        let nobody = claviger_protocol::keys::SigningKey::generate(parts.rng.as_ref())?.public();
        Ok((
            Arc::new(Self {
                parts,
                writer,
                lookup,
                failed_proofs: FailedProofs::default(),
                nobody,
                counter: Counter::default(),
            }),
            done,
        ))
    }

    /// The issuing keys as they are now.
    pub(crate) fn issuer(&self) -> Arc<Issuer> {
        self.parts.issuer.get()
    }

    /// Forgets what need not be kept, now and then, for as long as it is polled.
    pub async fn keep_house(&self) {
        tokio::select! {
            () = self.forget_answers() => {}
            never = self.parts.store.keep_tidy() => match never {},
        }
    }

    async fn forget_answers(&self) {
        loop {
            let before = self.parts.clock.now().plus(-ANSWERS_KEPT);
            match self.parts.store.forget_answers(before).await {
                Ok(0) => tokio::time::sleep(HOUSEKEEPING).await,
                // More may be left; whoever waits for the database goes first.
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "old answers were not forgotten"
                    );
                    tokio::time::sleep(HOUSEKEEPING).await;
                }
            }
        }
    }

    /// Notes where something came from: the only use that is made of an address.
    pub(super) fn log(
        &self,
        peer: Option<Peer>,
        what: &'static str,
        serial: Option<&Serial>,
        activation: Option<ActivationId>,
    ) {
        let Some(peer) = peer else { return };
        self.parts.security_log.record(Entry {
            at: self.parts.clock.now(),
            address: peer.address.ip(),
            what,
            serial: serial.map(|s| s.as_str().to_owned()),
            activation,
        });
    }
}
