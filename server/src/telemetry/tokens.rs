//! Gives an installation its weekly batch of blind tokens. Here the installation is known, and must be one with an
//! activation; what it gets cannot be recognised when it is spent.

use claviger_protocol::documents::DocumentError;
use claviger_protocol::keys::Sha256;
use claviger_protocol::telemetry::voprf::{TokenError, TokenIssuer as _};
use claviger_protocol::telemetry::{TokenRequest, TokensBody, Week, closes};

use super::Telemetry;
use super::store::{Installation, Issuance, UsageStoreError};
use crate::storage::StoreError;

/// Why no tokens are given.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefusal {
    /// Not a request.
    #[error("the request is not acceptable")]
    Document(#[from] DocumentError),
    /// The week has not begun, is closed, or has no plan.
    #[error("no tokens are given for this week")]
    WrongWeek,
    /// The device key's machine holds no activation.
    #[error("the device key holds no activation")]
    NoActivation,
    /// The installation has had other tokens of this week.
    #[error("the installation has had its tokens of this week")]
    BatchTaken,
    /// An element of the batch is none.
    #[error("the batch cannot be evaluated")]
    Batch(#[source] TokenError),
    /// The database of licenses failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The collector's store failed.
    #[error(transparent)]
    Usage(#[from] UsageStoreError),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl TokenRefusal {
    /// A word for the metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Document(error) => error.code(),
            Self::WrongWeek => "wrong_week",
            Self::NoActivation => "no_activation",
            Self::BatchTaken => "batch_taken",
            Self::Batch(_) => "bad_batch",
            Self::Store(_) | Self::Usage(_) | Self::Stopping => "store_failed",
        }
    }
}

impl Telemetry {
    /// Answers a signed token request. The same request gets the same tokens again.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub async fn tokens(self: &std::sync::Arc<Self>, request: &str) -> Result<TokensBody, TokenRefusal> {
        let given = self.give(request).await;
        let word = given.as_ref().map_or_else(TokenRefusal::word, |_| "given");
        self.parts.metrics.telemetry("tokens", word);
        given
    }

    async fn give(self: &std::sync::Arc<Self>, request: &str) -> Result<TokensBody, TokenRefusal> {
        let vendor = self.parts.issuer.get().vendor().clone();
        let (request, key) = TokenRequest::verify(request, &vendor)?;
        let now = self.parts.clock.now();
        let (week, current) = (request.week, self.current());
        if now < week.start() || closes(week) <= now || current.week(week).is_none() {
            return Err(TokenRefusal::WrongWeek);
        }
        let device = key.id();
        let machine = self.parts.store.active_machine(&device).await?.ok_or(TokenRefusal::NoActivation)?;
        let installation = Installation { machine, device, slot: request.slot };
        // Evaluated before it is noted: a batch with a bad element takes nobody's turn.
        let (body, batch) = self.evaluate(current, week, request).await?;
        match self.issued.issue(week, &installation, batch).await? {
            Issuance::Answer => Ok(body),
            Issuance::HadItsBatch => Err(TokenRefusal::BatchTaken),
        }
    }

    async fn evaluate(
        self: &std::sync::Arc<Self>,
        current: std::sync::Arc<super::Current>,
        week: Week,
        request: TokenRequest,
    ) -> Result<(TokensBody, Sha256), TokenRefusal> {
        let permit = self.evaluating.acquire().await.map_err(|_| TokenRefusal::Stopping)?;
        let rng = std::sync::Arc::clone(&self.parts.rng);
        let work = tokio::task::spawn_blocking(move || {
            let (_, issuer) = current.week(week).ok_or(TokenRefusal::WrongWeek)?;
            let (elements, proof) =
                issuer.evaluate(&request.elements, rng.as_ref()).map_err(TokenRefusal::Batch)?;
            let raw: Vec<u8> = request.elements.iter().flat_map(|element| element.0).collect();
            Ok((TokensBody { elements, proof }, Sha256::of(&raw)))
        });
        let done = work.await.map_err(|_| TokenRefusal::Stopping)?;
        drop(permit);
        done
    }
}
