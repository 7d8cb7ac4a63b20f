//! What a person can ask about consent: shown, given, refused, withdrawn; what is counted, planned and was sent.

use std::rc::Rc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::daw::Daw;
use claviger_protocol::ids::{Nonce, ProductId, VendorId};
use claviger_protocol::ipc::{
    CallError, Consent, ConsentState, Counted, NoticeShown, PlannedSend, PreviewReply, SentEntry,
    ShowNoticeReply,
};
use claviger_protocol::jws::{KeyInHeader, sign};
use claviger_protocol::telemetry::{ConsentReceipt, NoticeReference, ProductVersion};

use super::{Engine, Vendor, no_key, no_random};
use crate::consent::{Denied, Known, Ledger, Seen, Store, Subject, Veto};
use crate::platform::FileError;
use crate::policy;
use crate::store::products_of;
use crate::telemetry::SystemDice;

/// Uses beyond this are not written: the highest bucket is reached.
const ENOUGH: u64 = 50;

impl Engine {
    /// The moment that consents are dated and judged by: the later of the clock and the latest moment seen.
    pub(super) fn moment(&self) -> Timestamp {
        let seen = self.store.clock().map_or(self.now(), |clock| clock.high_water);
        self.now().max(seen)
    }

    /// What this person has decided about the vendors known here. Nothing is sent.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn list_consents(&self, who: &Subject, vendor: Option<&VendorId>) -> Result<Vec<Consent>, CallError> {
        self.select(vendor)?.iter().map(|vendor| self.view_consent(who, vendor)).collect()
    }

    fn view_consent(&self, who: &Subject, vendor: &Vendor) -> Result<Consent, CallError> {
        let now = self.moment();
        self.desk.settle_all(now);
        let ledger = self.desk.ledger(who, vendor.id());
        let record = ledger.as_ref().map(Ledger::record).filter(|record| !record.events.is_empty());
        let receipt = record.map(|record| self.receipt(vendor, record)).transpose()?;
        Ok(Consent {
            vendor: vendor.id().clone(),
            vendor_name: vendor.profile.name.clone(),
            state: ledger.as_ref().map_or(ConsentState::None, Ledger::state),
            since: ledger.as_ref().and_then(Ledger::since),
            expires: ledger.as_ref().and_then(Ledger::expires),
            counting: self.desk.is_counting(who, vendor.id(), now),
            veto: self.desk.veto().map(|veto| veto.code().to_owned()),
            notice_version: record.and_then(|r| r.notice.as_ref()).map(|n| n.version),
            record: record.map(|r| serde_json::to_string(r).unwrap_or_default()),
            receipt,
        })
    }

    fn receipt(
        &self,
        vendor: &Vendor,
        record: &claviger_protocol::telemetry::ConsentRecord,
    ) -> Result<String, CallError> {
        let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
        let receipt = ConsentReceipt { jti: record.receipt_id, iat: self.moment(), record: record.clone() };
        Ok(sign(&receipt, &key, KeyInHeader::Carried))
    }

    /// Shows the vendor's notice and opens the question. The newest notice is asked for; without a network, the known
    /// one is shown.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn show_notice(
        self: &Rc<Self>,
        who: &Subject,
        vendor: &VendorId,
        language: Option<&str>,
    ) -> Result<ShowNoticeReply, CallError> {
        self.refuse_when_closing()?;
        self.observe_clock();
        let vendor = self.vendor(vendor)?;
        if let Some(veto) = self.desk.veto() {
            return Err(vetoed(veto));
        }
        if let Err(e) = self.fetch_notice(who, &vendor).await
            && !self.desk.knows_notice(vendor.id())
        {
            return Err(e);
        }
        let now = self.moment();
        let known = self.desk.notice(vendor.id(), now).ok_or_else(|| CallError::NotFound {
            message: format!(
                "{} has announced usage statistics, but they do not begin yet.",
                vendor.profile.name
            ),
            advice: None,
            choices: vec![],
        })?;
        let (language, text) = known.notice.text(language.unwrap_or("en"));
        let seen = Seen {
            reference: NoticeReference::new(&known.notice, known.sha256, language),
            shown: text.hash(),
        };
        self.desk.settle_all(now);
        let resting = self.desk.ledger(who, vendor.id()).map(|l| l.state());
        if !matches!(resting, Some(ConsentState::Given | ConsentState::Refused | ConsentState::Withdrawn)) {
            self.desk.change(
                who,
                vendor.id(),
                || self.new_ledger(vendor.id()),
                |ledger| {
                    ledger.request(now, &known.notice, &seen);
                    Ok::<(), CallError>(())
                },
            )?;
        }
        let shown = notice_shown(&vendor, &known, language);
        let name = Nonce::random(&*self.rng).map_err(|_| no_random())?;
        let challenge = self.desk.ask(who, vendor.id(), now, seen, name);
        Ok(ShowNoticeReply { notice: shown, challenge })
    }

    fn new_ledger(&self, vendor: &VendorId) -> Result<Ledger, CallError> {
        let random = || Nonce::random(&*self.rng).map_err(|_| no_random());
        Ok(Ledger::new(vendor.clone(), random()?, random()?, random()?))
    }

    /// The person says yes to what was just shown.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn grant(&self, who: &Subject, vendor: &VendorId, challenge: &str) -> Result<Consent, CallError> {
        self.observe_clock();
        let vendor = self.vendor(vendor)?;
        let now = self.moment();
        let asked = self.desk.answer(who, vendor.id(), now, challenge).ok_or_else(not_asked)?;
        let known = self.desk.notice(vendor.id(), now).ok_or_else(not_asked)?;
        let veto = self.desk.veto();
        let slot = self.desk.free_slot(who, vendor.id()).ok_or_else(|| CallError::InvalidInput {
            code: "too_many_people".to_owned(),
            message: "Eight people of this computer take part in this vendor's statistics already."
                .to_owned(),
            advice: None,
        })?;
        self.desk.change(
            who,
            vendor.id(),
            || self.new_ledger(vendor.id()),
            |ledger| {
                let in_force = crate::consent::InForce { notice: &known.notice, sha256: known.sha256 };
                ledger.grant(now, in_force, &asked.seen, veto).map_err(|e| match e {
                    Denied::Vetoed(veto) => vetoed(veto),
                    Denied::OtherNotice => not_asked(),
                })?;
                ledger.set_slot(slot);
                Ok(())
            },
        )?;
        tracing::info!(vendor = %vendor.id(), "consent was given");
        self.poke.notify_one();
        self.view_consent(who, &vendor)
    }

    /// The person says no, having seen the notice or not.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn refuse(
        &self,
        who: &Subject,
        vendor: &VendorId,
        challenge: Option<&str>,
    ) -> Result<Consent, CallError> {
        self.observe_clock();
        let vendor = self.vendor(vendor)?;
        let now = self.moment();
        let asked = challenge.and_then(|name| self.desk.answer(who, vendor.id(), now, name));
        let known = self.desk.notice(vendor.id(), now);
        let given = self.desk.ledger(who, vendor.id()).is_some_and(|l| l.state() == ConsentState::Given);
        if given {
            return self.withdraw(who, vendor.id());
        }
        self.desk.change(
            who,
            vendor.id(),
            || self.new_ledger(vendor.id()),
            |ledger| {
                let seen = asked.as_ref().map(|question| &question.seen);
                ledger.refuse(now, known.as_ref().map(|k| &k.notice).zip(seen));
                Ok::<(), CallError>(())
            },
        )?;
        self.poke.notify_one();
        self.view_consent(who, &vendor)
    }

    /// The person takes a consent back.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn withdraw(&self, who: &Subject, vendor: &VendorId) -> Result<Consent, CallError> {
        self.observe_clock();
        let vendor = self.vendor(vendor)?;
        self.desk.withdraw(who, vendor.id(), self.moment())?;
        tracing::info!(vendor = %vendor.id(), "consent was withdrawn");
        self.poke.notify_one();
        self.view_consent(who, &vendor)
    }

    /// A title was used once. Counted where the person agreed and the title is activated here; otherwise nothing happens.
    ///
    /// # Errors
    /// [`CallError`] when it cannot be stored.
    pub fn report_use(
        &self,
        who: &Subject,
        product: &ProductId,
        version: &str,
        daw: &str,
    ) -> Result<(), CallError> {
        let agreed = self.desk.agreed(who);
        if agreed.is_empty() {
            return Ok(());
        }
        let now = self.moment();
        for id in agreed {
            let Ok(vendor) = self.vendor(&id) else { continue };
            if !self.is_open(&vendor, product)? {
                continue;
            }
            // What is not a version or a DAW of the catalogue has no name of its own here.
            let version = version.parse().unwrap_or_else(|_| ProductVersion::other());
            let daw = daw.parse().unwrap_or(Daw::Other);
            let counted = self.desk.with_consent(who, &id, now, |proof| {
                let before = proof.counted(product);
                proof.count(product, version, daw);
                ((), Store::from(before < ENOUGH))
            })?;
            if counted.is_some() {
                self.poke.notify_one();
            }
            return Ok(());
        }
        Ok(())
    }

    /// Whether an activation here opens this title.
    fn is_open(&self, vendor: &Vendor, product: &ProductId) -> Result<bool, FileError> {
        for id in self.store.opening(vendor.id(), product)? {
            let held = self.held_one(vendor, id)?.held;
            if held.iter().any(|h| products_of(&h.certificate).contains(product)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What will be sent, byte for byte, and what is counted.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn preview(&self, who: &Subject, vendor: Option<&VendorId>) -> Result<PreviewReply, CallError> {
        let (mut planned, mut counted) = (Vec::new(), Vec::new());
        let now = self.moment();
        for vendor in self.select(vendor)? {
            self.prepare(who, &vendor, now)?;
            let Some(ledger) = self.desk.ledger(who, vendor.id()) else { continue };
            let Some(gathered) = ledger.peek() else { continue };
            planned.extend(gathered.planned().into_iter().map(|plan| PlannedSend {
                vendor: vendor.id().clone(),
                purpose: plan.kind.purpose().to_owned(),
                due: plan.due,
                until: plan.until,
                week: plan.week.map(|week| week.to_string()),
                method: if plan.has_body { "POST" } else { "GET" }.to_owned(),
                url: crate::egress::url_of(&vendor.profile.server, plan.kind.path()),
                body: plan.body,
            }));
            counted.extend(gathered.counted().map(|(week, cell)| Counted {
                vendor: vendor.id().clone(),
                week: week.to_string(),
                product: cell.product.clone(),
                version: cell.version.to_string(),
                daw: cell.daw.to_string(),
                uses: cell.uses,
            }));
        }
        planned.sort_by_key(|p| p.due);
        Ok(PreviewReply { planned, counted })
    }

    /// Draws what can be drawn, so that it can be shown.
    fn prepare(&self, who: &Subject, vendor: &Rc<Vendor>, now: Timestamp) -> Result<(), CallError> {
        self.desk.with_consent(who, vendor.id(), now, |proof| {
            let changed = proof.advance(&mut SystemDice(&*self.rng));
            ((), Store::from(changed))
        })?;
        self.draw_batches(who, vendor)
    }

    /// The log of what was sent: this computer's activations, and what this person agreed to.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn list_sent(&self, who: &Subject) -> Result<Vec<SentEntry>, CallError> {
        let mut all = self.egress.log().entries()?;
        all.extend(self.desk.log(who).entries()?);
        all.sort_by_key(|entry| entry.at);
        Ok(all)
    }

    /// Clears that log; this computer's part only for those who may.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn clear_sent(&self, who: &Subject, computer_too: bool) -> Result<u64, CallError> {
        let mut removed = self.desk.log(who).clear()?;
        if computer_too {
            removed += self.egress.log().clear()?;
        }
        Ok(removed)
    }
}

fn notice_shown(vendor: &Vendor, known: &Known, language: &str) -> NoticeShown {
    let notice = &known.notice;
    let (language, text) = notice.text(language);
    NoticeShown {
        vendor: vendor.id().clone(),
        vendor_name: vendor.profile.name.clone(),
        id: notice.id.clone(),
        version: notice.version,
        sha256: known.sha256.into(),
        language: language.to_owned(),
        title: text.title.clone(),
        text: text.text.clone(),
        purpose: notice.purpose.clone(),
        fields: notice.fields.clone(),
        controller: notice.controller.name.clone(),
        address: notice.controller.address.clone(),
        contact: notice.controller.contact.clone(),
        protection_officer: notice.controller.protection_officer.clone(),
        authority: notice.authority.name.clone(),
        authority_url: notice.authority.url.clone(),
        policy_url: notice.policy.url.clone(),
        policy_version: notice.policy.version.clone(),
        effective: notice.effective,
        recipients: notice.recipients.clone(),
        retention_days: notice.retention_days,
        jurisdiction: notice.jurisdiction.clone(),
    }
}

fn not_asked() -> CallError {
    CallError::InvalidInput {
        code: "not_asked".to_owned(),
        message: "This answer belongs to no question that was just asked.".to_owned(),
        advice: Some(
            "Run `claviger consent grant` again: it shows the vendor's notice, then asks.".to_owned(),
        ),
    }
}

fn vetoed(veto: Veto) -> CallError {
    let (message, advice) = match veto {
        Veto::Policy => (
            "The administrator's policy has switched usage statistics off on this computer.",
            format!("Nothing is counted or sent. {}", policy::advice()),
        ),
        Veto::DoNotTrack => (
            "DO_NOT_TRACK is set for the daemon: usage statistics are off.",
            "Nothing is counted or sent. To take part, unset DO_NOT_TRACK and start the daemon again."
                .to_owned(),
        ),
    };
    CallError::NotPermitted { message: message.to_owned(), advice: Some(advice) }
}
