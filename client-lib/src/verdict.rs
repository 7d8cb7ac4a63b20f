//! Files in, status out. No I/O here: every rule about what licenses and what does not can be read in one place.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_protocol::clock::{Date, Timestamp};
use claviger_protocol::documents::{ActivationCertificate, DocumentError, EndReason, Keyset, LicenseKind};
use claviger_protocol::ids::{ActivationId, MachineId, ProductId};
use claviger_protocol::layout::{ClockFile, EndedNote};
use claviger_protocol::status::Status;

use crate::platform::ReadError;
use crate::store::{Candidate, Scope};

/// What is known about a product, and why.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) status: Status,
    /// A stable word that tells causes of the same status apart.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) explanation: String,
    /// The certificate that the status is about, where one could be believed.
    pub(crate) certificate: Option<Arc<ActivationCertificate>>,
    /// Where it was found.
    pub(crate) scope: Option<Scope>,
    /// The moment that a subscription or trial was measured against.
    pub(crate) measured_at: Option<Timestamp>,
}

impl Verdict {
    /// A verdict that its status alone explains.
    pub(crate) fn plain(status: Status) -> Self {
        Self::because(status, status.code(), status.sentence().to_owned())
    }

    pub(crate) fn because(status: Status, code: &'static str, explanation: String) -> Self {
        Self { status, code, explanation, certificate: None, scope: None, measured_at: None }
    }

    fn with(mut self, certificate: Arc<ActivationCertificate>, scope: Scope) -> Self {
        self.certificate = Some(certificate);
        self.scope = Some(scope);
        self
    }

    /// Which of two verdicts a person would rather hear: a license, the better license, the cause nearest to a cure.
    pub(crate) fn better(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(&self) -> impl Ord + use<> {
        let status = match self.status {
            Status::Licensed => 100,
            Status::LicensedClockSetBack => 99,
            Status::Sunset => 98,
            Status::Pending => 97,
            Status::ClockSetBack => 40,
            Status::UpdatesEnded => 39,
            Status::Expired => 38,
            Status::KeyCompromised => 37,
            Status::NoMachineId => 36,
            Status::Suspended => 35,
            Status::Replaced => 34,
            Status::Revoked => 33,
            Status::Released => 32,
            Status::Transferred => 31,
            Status::Damaged => 30,
            Status::Untrusted => 29,
            Status::OtherMachine => 28,
            Status::GivenUp => 20,
            Status::StateUnreachable => 10,
            Status::NotActivated => u32::from(self.certificate.is_some() || self.code != "not_activated"),
            _ => 0,
        };
        let worth = self.certificate.as_ref().map(|c| {
            (
                c.kind == LicenseKind::Perpetual,
                c.exp.map_or(i64::MAX, |exp| exp.0),
                c.updates_until.map_or(i64::MAX, |date| date.start().0),
                c.entitlements.len(),
                c.rev,
            )
        });
        (status, worth)
    }
}

/// What certificates are compared with.
pub(crate) struct Question<'a> {
    pub(crate) product: &'a ProductId,
    pub(crate) released: Option<Date>,
    pub(crate) machine: Option<MachineId>,
    pub(crate) keyset: &'a Keyset,
    /// Activations that have a receipt in any store.
    pub(crate) given_up: &'a BTreeMap<ActivationId, Timestamp>,
}

/// What one certificate file says. `now` and `note` are asked for subscriptions and trials only: a perpetual license
/// never looks at a clock.
pub(crate) fn of_certificate(
    question: &Question<'_>,
    candidate: &Candidate,
    scope: Scope,
    now: impl FnOnce() -> (Timestamp, ClockFile),
) -> Verdict {
    let text = match &candidate.text {
        Ok(text) => text,
        Err(error) => return unreadable(*error),
    };
    let certificate = match ActivationCertificate::verify(text, question.keyset) {
        Ok(certificate) => Arc::new(certificate),
        Err(error) => return refused(&error),
    };
    if question.given_up.contains_key(&certificate.jti) {
        return Verdict::plain(Status::GivenUp);
    }
    if certificate.jti != candidate.name {
        return Verdict::because(
            Status::Untrusted,
            "wrong_name",
            "The activation file bears the name of another activation: activate again.".to_owned(),
        );
    }
    if !certificate.opens(question.product) {
        return Verdict::because(
            Status::NotActivated,
            "wrong_product",
            format!("The activation file found here opens {}, not this product.", certificate.product),
        )
        .with(certificate, scope);
    }
    match question.machine {
        None => return Verdict::plain(Status::NoMachineId).with(certificate, scope),
        Some(machine) if machine != certificate.machine => {
            return Verdict::plain(Status::OtherMachine).with(certificate, scope);
        }
        Some(_) => {}
    }
    if let (Some(released), Some(until)) = (question.released, certificate.updates_until)
        && released > until
    {
        return Verdict::because(
            Status::UpdatesEnded,
            "updates_ended",
            format!(
                "This release of {released} is newer than your license covers (updates until {until}): install an \
                 older release or extend your update plan."
            ),
        )
        .with(certificate, scope);
    }
    let Some(exp) = certificate.exp else {
        return Verdict::plain(Status::Licensed).with(certificate, scope);
    };
    let (now, note) = now();
    let (status, measured_at) = by_time(exp, now, note);
    let mut verdict = Verdict::plain(status).with(certificate, scope);
    verdict.measured_at = Some(measured_at);
    verdict
}

/// Whether something that lasts until `exp` is over, and the moment it was measured against.
fn by_time(exp: Timestamp, now: Timestamp, clock: ClockFile) -> (Status, Timestamp) {
    let judged = clock.judge(now);
    let status = match (judged.moment <= exp, judged.in_grace) {
        (true, true) => Status::LicensedClockSetBack,
        (true, false) => Status::Licensed,
        (false, false) if judged.set_back && now <= exp => Status::ClockSetBack,
        (false, _) => Status::Expired,
    };
    (status, judged.moment)
}

/// What a note about an ended activation says.
pub(crate) fn of_ended(note: &EndedNote) -> Verdict {
    let status = match note.reason {
        EndReason::GivenUp => Status::GivenUp,
        EndReason::Replaced => Status::Replaced,
        EndReason::Transferred => Status::Transferred,
        EndReason::Suspended => Status::Suspended,
        EndReason::Revoked => Status::Revoked,
        EndReason::Released | EndReason::Unknown | EndReason::Other => Status::Released,
    };
    match (&note.by, status) {
        (Some(by), Status::Replaced) => Verdict::because(
            status,
            status.code(),
            format!("“{by}” has taken over this activation: activate again to move it back."),
        ),
        _ => Verdict::plain(status),
    }
}

fn unreadable(error: ReadError) -> Verdict {
    match error {
        // Listed, then gone: the daemon has just given it up or replaced it.
        ReadError::Missing => Verdict::plain(Status::NotActivated),
        ReadError::Unreachable(_) => Verdict::plain(Status::StateUnreachable),
        ReadError::NotAFile => Verdict::because(
            Status::Damaged,
            "not_a_file",
            "Something that is not an activation file stands in its place: activate again.".to_owned(),
        ),
        ReadError::TooLarge => Verdict::because(
            Status::Damaged,
            "too_large",
            "The activation file is far too large to be one: activate again.".to_owned(),
        ),
    }
}

fn refused(error: &DocumentError) -> Verdict {
    let status = match error.code() {
        "too_large" | "not_compact" | "bad_json" | "bad_signature" => Status::Damaged,
        "compromised_key" => Status::KeyCompromised,
        _ => Status::Untrusted,
    };
    let particulars = error.to_string();
    let sentence = format!("{} ({})", status.sentence(), particulars.trim_end_matches('.'));
    Verdict::because(status, error.code(), sentence)
}
