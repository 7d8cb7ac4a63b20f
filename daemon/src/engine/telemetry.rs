//! Sending what a person has agreed to, each thing at its own moment. Without a consent there is no moment.

use std::rc::Rc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::DocumentError;
use claviger_protocol::http::{Problem, ProblemCode, RequestBody};
use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::CallError;
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::jws::{KeyInHeader, sign};
use claviger_protocol::telemetry::voprf::{Blinder, Pending, TokenClient as _};
use claviger_protocol::telemetry::{
    BATCH, NoticeBody, Plan, PlanBody, TOKEN_REQUEST_VERSION, TokenRequest, TokensBody, Week,
};
use serde::de::DeserializeOwned;

use super::{Engine, Vendor, no_key, no_random};
use crate::consent::{NotTaken, Store, Subject};
use crate::egress::{Envelope, Failure, Record, Reply, url_of};
use crate::fault;
use crate::telemetry::{Kind, Outgoing, SystemDice, Task, TaskFailure};

/// Most things that are sent in one go; what is left waits for its new moment.
const MAX_TURN: usize = 8;

impl Engine {
    /// Asks the vendor's server for its notice, because this person wants to read it.
    pub(super) async fn fetch_notice(&self, who: &Subject, vendor: &Rc<Vendor>) -> Result<(), CallError> {
        let log = self.desk.log(who);
        let server = &vendor.profile.server;
        let reply =
            self.egress.send_logged(&*self.clock, &log, vendor.id(), server, Envelope::Notice).await?;
        match reply {
            Reply::Plain(bytes) => {
                let body = read(&bytes).map_err(CallError::from)?;
                self.take_notice(vendor, &body).map_err(|e| match e {
                    NotTaken::File(e) => e.into(),
                    other => Failure::Untrusted { code: "bad_notice", message: other.to_string() }.into(),
                })
            }
            Reply::Refused(problem) if problem.code == ProblemCode::NotFound => Err(CallError::NotFound {
                message: format!(
                    "{} collects no usage statistics: there is nothing to decide.",
                    vendor.profile.name
                ),
                advice: None,
                choices: vec![],
            }),
            Reply::Refused(_) | Reply::Answer(_) | Reply::Keyset(_) => Err(Failure::NotAnAnswer.into()),
        }
    }

    fn take_notice(&self, vendor: &Rc<Vendor>, body: &NoticeBody) -> Result<(), NotTaken> {
        let keyset = vendor.keys.borrow().newest().clone();
        self.desk.take_notices(vendor.id(), &keyset, body)?;
        self.desk.settle_all(self.moment());
        Ok(())
    }

    /// When statistics are next to be looked at: never, while nobody has agreed.
    #[must_use]
    pub fn telemetry_next(&self) -> Option<Timestamp> {
        let people = self.desk.consenting();
        if !self.egress.is_open() || people.is_empty() {
            return None;
        }
        let now = self.moment();
        let of_one = |(who, vendor): &(Subject, VendorId)| {
            self.vendor(vendor).ok()?;
            self.desk.with_consent(who, vendor, now, |proof| (proof.next_deadline(), Store::No)).ok()??
        };
        people.iter().filter_map(of_one).min()
    }

    /// Does what is due.
    pub async fn telemetry_turn(self: &Rc<Self>) {
        let people = self.desk.consenting();
        if people.is_empty() {
            return;
        }
        self.desk.settle_all(self.moment());
        for (who, id) in people {
            let Ok(vendor) = self.vendor(&id) else { continue };
            for _ in 0..MAX_TURN {
                match self.telemetry_step(&who, &vendor).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(e) => {
                        tracing::warn!(code = e.code(), "statistics could not be prepared");
                        break;
                    }
                }
            }
        }
    }

    /// Does one thing; false when nothing is due.
    async fn telemetry_step(self: &Rc<Self>, who: &Subject, vendor: &Rc<Vendor>) -> Result<bool, CallError> {
        let now = self.moment();
        self.desk.with_consent(who, vendor.id(), now, |proof| {
            let changed = proof.advance(&mut SystemDice(&*self.rng));
            ((), Store::from(changed))
        })?;
        self.draw_batches(who, vendor)?;
        if self.closing.get() || !self.egress.is_open() {
            return Ok(false);
        }
        let task = self.desk.with_consent(who, vendor.id(), now, |proof| (proof.next_task(), Store::No))?;
        let Some(Some(Task::Send(outgoing))) = task else { return Ok(false) };
        let about_plan = *outgoing.kind() == Kind::Plan;
        self.send_telemetry(who, vendor, outgoing).await?;
        if about_plan {
            // Along with the plan: a changed notice must be known before anything more is sent.
            let asked = self
                .desk
                .with_consent(who, vendor.id(), self.moment(), |proof| (proof.ask_for_notice(), Store::No))?;
            if let Some(outgoing) = asked {
                self.send_telemetry(who, vendor, outgoing).await?;
            }
        }
        Ok(true)
    }

    /// Draws and signs the batches of tokens whose moment is known, so that their bytes can be seen beforehand.
    pub(super) fn draw_batches(&self, who: &Subject, vendor: &Rc<Vendor>) -> Result<(), CallError> {
        loop {
            let now = self.moment();
            let task =
                self.desk.with_consent(who, vendor.id(), now, |proof| (proof.next_task(), Store::No))?;
            let Some(Some(Task::Ask(week))) = task else { return Ok(()) };
            let slot = self.desk.ledger(who, vendor.id()).map_or(0, |ledger| ledger.slot());
            let (request, pending) = self.batch(vendor, week, slot)?;
            self.desk.with_consent(who, vendor.id(), now, |proof| {
                proof.asked(week, request, pending);
                ((), Store::Yes)
            })?;
            fault::point("telemetry-drawn");
        }
    }

    fn batch(&self, vendor: &Vendor, week: Week, slot: u8) -> Result<(String, Vec<Pending>), CallError> {
        let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
        let pending = Blinder.blind(BATCH, &*self.rng).map_err(|_| no_random())?;
        let request = TokenRequest {
            v: TOKEN_REQUEST_VERSION,
            aud: vendor.id().clone(),
            iat: self.now(),
            week,
            slot,
            elements: pending.iter().map(Pending::blinded).collect(),
        };
        let body = RequestBody { request: sign(&request, &key, KeyInHeader::Carried) };
        Ok((serde_json::to_string(&body).unwrap_or_default(), pending))
    }

    /// Sends one thing over a connection of its own. A withdrawal meanwhile cuts it off.
    async fn send_telemetry(
        self: &Rc<Self>,
        who: &Subject,
        vendor: &Rc<Vendor>,
        outgoing: Outgoing,
    ) -> Result<(), CallError> {
        let log = self.desk.log(who);
        let server = vendor.profile.server.clone();
        let (kind, url) = (outgoing.kind().clone(), url_of(&server, outgoing.path()));
        let mut changes = self.desk.changes();
        let sending =
            self.egress.send_logged(&*self.clock, &log, vendor.id(), &server, Envelope::Telemetry(outgoing));
        let mut sending = std::pin::pin!(sending);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut sending => break Some(result),
                _ = changes.changed() => {
                    if !self.desk.is_counting(who, vendor.id(), self.moment()) {
                        break None;
                    }
                }
            }
        };
        fault::point("telemetry-sent");
        let Some(result) = result else {
            let outcome = "cut off: consent was withdrawn meanwhile".to_owned();
            let record = Record::Answered { at: self.now(), vendor: vendor.id().clone(), url, outcome };
            log.append(self.now(), &record)?;
            return Ok(());
        };
        if let Err(failure) = &result {
            tracing::info!(code = failure.code(), "statistics will be tried again");
        }
        self.take_reply(who, vendor, &kind, result)?;
        fault::point("telemetry-stored");
        Ok(())
    }

    fn take_reply(
        &self,
        who: &Subject,
        vendor: &Rc<Vendor>,
        kind: &Kind,
        result: Result<Reply, Failure>,
    ) -> Result<(), CallError> {
        let bytes = match result {
            Ok(Reply::Plain(bytes)) => Ok(bytes),
            Ok(Reply::Refused(problem)) => Err(judge(&problem)),
            Ok(Reply::Answer(_) | Reply::Keyset(_)) | Err(_) => Err(TaskFailure::Later),
        };
        let taken = bytes.and_then(|bytes| self.take_in_plain(who, vendor, kind, &bytes));
        if let Err(failure) = taken {
            self.desk.with_consent(who, vendor.id(), self.moment(), |proof| {
                proof.failed(kind, failure, &mut SystemDice(&*self.rng));
                ((), Store::Yes)
            })?;
        }
        Ok(())
    }

    fn take_in_plain(
        &self,
        who: &Subject,
        vendor: &Rc<Vendor>,
        kind: &Kind,
        bytes: &[u8],
    ) -> Result<(), TaskFailure> {
        let mut dice = SystemDice(&*self.rng);
        let now = self.moment();
        // A disk that does not take it: what was asked for is asked for again.
        let stored = |r: Result<Option<Result<(), TaskFailure>>, _>| match r {
            Ok(result) => result.unwrap_or(Ok(())),
            Err::<_, crate::platform::FileError>(e) => {
                tracing::warn!(error = %e, cause = %e.source, "statistics could not be stored");
                Err(TaskFailure::Later)
            }
        };
        match kind {
            Kind::Notice => {
                let body: NoticeBody = read(bytes).map_err(|_| TaskFailure::Later)?;
                self.take_notice(vendor, &body).map_err(|e| {
                    tracing::warn!(error = %e, "a notice was not taken");
                    TaskFailure::Later
                })
            }
            Kind::Plan => {
                let body: PlanBody = read(bytes).map_err(|_| TaskFailure::Later)?;
                let keyset = vendor.keys.borrow().newest().clone();
                let plans: Result<Vec<Plan>, DocumentError> =
                    body.plans.iter().take(4).map(|text| Plan::verify(text, &keyset)).collect();
                let plans = plans.map_err(|e| {
                    tracing::warn!(code = e.code(), "a plan of statistics was not taken");
                    TaskFailure::Later
                })?;
                stored(self.desk.with_consent(who, vendor.id(), now, |proof| {
                    let taken = proof.take_plans(plans, &mut dice).map_err(|week| {
                        tracing::error!(%week, "the vendor's server gave a second key for a week: it is not used");
                        TaskFailure::Later
                    });
                    (taken, Store::Yes)
                }))
            }
            Kind::Tokens(week) => {
                let body: TokensBody = read(bytes).map_err(|_| TaskFailure::Later)?;
                stored(self.desk.with_consent(who, vendor.id(), now, |proof| {
                    let taken = proof.take_tokens(*week, &body, &Blinder, &mut dice).map_err(|e| {
                        tracing::error!(%week, error = %e, "tokens of the vendor's server are not used");
                        TaskFailure::Never
                    });
                    (taken, Store::Yes)
                }))
            }
            Kind::Report(week, product) => stored(self.desk.with_consent(who, vendor.id(), now, |proof| {
                proof.reported(*week, product);
                (Ok(()), Store::Yes)
            })),
        }
    }
}

/// Whether a refusal may change.
fn judge(problem: &Problem) -> TaskFailure {
    match problem.code {
        ProblemCode::Unavailable | ProblemCode::RateLimited | ProblemCode::Internal => TaskFailure::Later,
        _ => {
            tracing::info!(code = problem.code.code(), "the vendor's server does not take statistics");
            TaskFailure::Never
        }
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    from_slice_strict(bytes).map_err(|_| Failure::NotAnAnswer)
}
