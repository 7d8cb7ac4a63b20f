//! What leaves this computer, and what the person has decided about it.

use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::{Consent, ConsentState, NoticeShown, PlannedSend, SentEntry};

use super::{Controller, Pending, problem};
use crate::desk::Trouble;
use crate::files;
use crate::tasks::{self, News, Task};
use crate::view::{Act, Change, PrivacyView};
use crate::{dates, text, ui};

/// Most requests of the log that are listed.
const MOST_SENT: usize = 200;
/// Most bytes of a body that are shown.
const MOST_BODY: usize = 64 * 1024;

/// The screen “Privacy”.
#[derive(Default)]
pub(super) struct Privacy {
    loaded: Option<Box<tasks::Privacy>>,
    /// The notice that is being shown: whose, and the challenge that a decision echoes.
    asked: Option<(VendorId, String)>,
    reading: bool,
    deciding: bool,
    busy: Vec<VendorId>,
    exporting: bool,
    exported: String,
    problem: ui::Problem,
    suggested: bool,
}

impl Controller {
    pub(super) fn act_on_privacy(&mut self, act: Act) {
        match act {
            Act::Read(vendor) if !self.privacy.reading => {
                self.privacy.reading = true;
                self.privacy.problem = ui::Problem::default();
                self.show_privacy();
                self.hands.begin(Task::ShowNotice { vendor, language: self.language().tag() });
            }
            Act::CloseNotice => {
                self.privacy.asked = None;
                self.privacy.problem = ui::Problem::default();
                self.view.show(Change::Notice(None));
                self.show_privacy();
                self.hands.begin(Task::LoadPrivacy);
            }
            Act::Agree => self.decide(true),
            Act::Refuse => self.decide(false),
            Act::Withdraw(vendor) => {
                let name = self.face(&vendor, "").name.to_string();
                self.ask(Pending::Withdraw(vendor), "withdraw", &name);
            }
            Act::ClearLog => self.ask(Pending::ClearLog, "clear-log", ""),
            Act::Export(typed) if !self.privacy.exporting => {
                self.privacy.exporting = true;
                self.privacy.exported.clear();
                self.show_privacy();
                self.hands.begin(Task::Export(files::typed(&typed)));
            }
            _ => {}
        }
    }

    fn decide(&mut self, agree: bool) {
        if self.privacy.deciding {
            return;
        }
        let Some((vendor, challenge)) = self.privacy.asked.clone() else { return };
        self.privacy.deciding = true;
        self.show_privacy();
        self.hands.begin(Task::Decide { vendor, challenge, agree });
    }

    pub(super) fn withdraw(&mut self, vendor: VendorId) {
        self.privacy.busy.push(vendor.clone());
        self.show_privacy();
        self.hands.begin(Task::Withdraw(vendor));
    }

    pub(super) fn hear_of_privacy(&mut self, news: News) {
        match news {
            News::Privacy(Ok(loaded)) => {
                self.privacy.loaded = Some(loaded);
                self.show_privacy();
            }
            News::Notice(vendor, Ok(reply)) => {
                self.privacy.reading = false;
                self.privacy.asked = Some((vendor, reply.challenge));
                self.show_privacy();
                self.view.show(Change::Notice(Some(self.notice(&reply.notice))));
            }
            News::Decided { agree, answer: Ok(consent) } => {
                self.privacy.deciding = false;
                self.privacy.asked = None;
                self.view.show(Change::Notice(None));
                self.decided(*consent);
                self.say(if agree { "agreed" } else { "refused" }, "");
            }
            News::Withdrawn(Ok(consent)) => {
                self.privacy.busy.retain(|busy| *busy != consent.vendor);
                self.decided(*consent);
                self.say("withdrawn", "");
            }
            News::Cleared(Ok(_)) => {
                self.say("cleared", "");
                self.hands.begin(Task::LoadPrivacy);
            }
            News::Exported(path, Ok(())) => {
                self.privacy.exporting = false;
                self.privacy.problem = ui::Problem::default();
                self.privacy.exported = text::line(&path.display().to_string(), 400);
                self.show_privacy();
            }
            News::Privacy(Err(trouble))
            | News::Notice(_, Err(trouble))
            | News::Decided { answer: Err(trouble), .. }
            | News::Withdrawn(Err(trouble))
            | News::Cleared(Err(trouble))
            | News::Exported(_, Err(trouble)) => self.privacy_problem(&trouble),
            _ => {}
        }
    }

    fn privacy_problem(&mut self, trouble: &Trouble) {
        let privacy = &mut self.privacy;
        (privacy.reading, privacy.deciding, privacy.exporting) = (false, false, false);
        privacy.busy.clear();
        privacy.problem = problem(trouble);
        self.show_privacy();
    }

    fn decided(&mut self, consent: Consent) {
        if let Some(loaded) = &mut self.privacy.loaded {
            loaded.consents.retain(|known| known.vendor != consent.vendor);
            loaded.consents.push(consent);
            loaded.consents.sort_by(|a, b| a.vendor.cmp(&b.vendor));
        }
        self.privacy.problem = ui::Problem::default();
        self.show_privacy();
        self.hands.begin(Task::LoadPrivacy);
    }

    pub(super) fn show_privacy(&mut self) {
        let export_to = (!self.privacy.suggested)
            .then(|| files::suggested(&["claviger-privacy"], "json").display().to_string());
        self.privacy.suggested = true;
        let privacy = &self.privacy;
        let loaded = privacy.loaded.as_deref();
        let sent = loaded.map(|l| l.sent.iter().rev().take(MOST_SENT).map(|s| self.sent(s)).collect());
        let counted = |counted: &claviger_protocol::ipc::Counted| ui::Counted {
            week: text::line(&counted.week, 20).into(),
            title: text::line(counted.product.as_str(), 120).into(),
            version: text::line(&counted.version, 40).into(),
            daw: text::line(&counted.daw, 40).into(),
            uses: i32::try_from(counted.uses).unwrap_or(i32::MAX),
        };
        self.view.show(Change::Privacy(PrivacyView {
            consents: loaded
                .map(|l| l.consents.iter().take(200).map(|c| self.consent(c)).collect())
                .unwrap_or_default(),
            machines: self.machine_rows(),
            planned: loaded
                .map(|l| l.preview.planned.iter().take(MOST_SENT).map(|p| self.planned(p)).collect())
                .unwrap_or_default(),
            counted: loaded
                .map(|l| l.preview.counted.iter().take(MOST_SENT).map(counted).collect())
                .unwrap_or_default(),
            sent: sent.unwrap_or_default(),
            busy: privacy.exporting,
            reading: privacy.reading,
            notice_busy: privacy.deciding,
            problem: privacy.problem.clone(),
            exported: privacy.exported.clone(),
            export_to,
        }));
    }

    fn consent(&self, consent: &Consent) -> ui::Consent {
        let face = self.face(&consent.vendor, &consent.vendor_name);
        let day = |moment: Option<claviger_protocol::clock::Timestamp>| {
            moment.map(|moment| dates::day(moment, self.language())).unwrap_or_default()
        };
        let state = match consent.state {
            ConsentState::Requested => "requested",
            ConsentState::Given => "given",
            ConsentState::Refused => "refused",
            ConsentState::Withdrawn => "withdrawn",
            ConsentState::Expired => "expired",
            ConsentState::Superseded => "superseded",
            ConsentState::None => "none",
        };
        ui::Consent {
            id: consent.vendor.as_str().into(),
            vendor: face.name,
            letters: face.letters,
            tone: face.tone,
            picture: face.picture,
            state: state.into(),
            since: day(consent.since).into(),
            until: day(consent.expires).into(),
            counting: consent.counting,
            veto: text::line(consent.veto.as_deref().unwrap_or_default(), 60).into(),
            busy: self.privacy.busy.contains(&consent.vendor),
        }
    }

    fn notice(&self, notice: &NoticeShown) -> ui::Notice {
        let short = |text: &str| text::breakable(&text::line(text, 600)).into();
        let list = |items: &[String]| text::breakable(&text::line(&items.join(", "), 2_000)).into();
        ui::Notice {
            vendor: text::name(&notice.vendor_name, notice.vendor.as_str()).into(),
            id: short(&notice.id),
            title: short(&notice.title),
            text: text::lines(&notice.text, 64 * 1024).into(),
            language: short(&notice.language),
            version: i32::try_from(notice.version).unwrap_or(i32::MAX),
            purpose: short(&notice.purpose),
            fields: slint::ModelRc::new(slint::VecModel::from(
                notice
                    .fields
                    .iter()
                    .take(50)
                    .map(|field| text::line(field, 60).into())
                    .collect::<Vec<slint::SharedString>>(),
            )),
            controller: short(&notice.controller),
            address: short(&notice.address),
            contact: short(&notice.contact),
            officer: short(notice.protection_officer.as_deref().unwrap_or_default()),
            authority: short(&notice.authority),
            authority_url: short(&notice.authority_url),
            policy: short(&format!("{} ({})", notice.policy_url, notice.policy_version)),
            recipients: list(&notice.recipients),
            days: i32::try_from(notice.retention_days).unwrap_or(i32::MAX),
            jurisdiction: short(&notice.jurisdiction),
            effective: dates::calendar(notice.effective, self.language()).into(),
        }
    }

    fn sent(&self, sent: &SentEntry) -> ui::Sent {
        ui::Sent {
            when: dates::moment(sent.at, self.language()).into(),
            vendor: self.face(&sent.vendor, "").name,
            purpose: text::line(&sent.purpose, 60).into(),
            basis: text::line(&sent.basis, 60).into(),
            method: text::line(&sent.method, 12).into(),
            url: text::line(&sent.url, 400).into(),
            body: body(sent.body.as_deref()).into(),
            outcome: text::line(sent.outcome.as_deref().unwrap_or_default(), 200).into(),
            planned: false,
        }
    }

    fn planned(&self, planned: &PlannedSend) -> ui::Sent {
        ui::Sent {
            when: dates::moment(planned.due, self.language()).into(),
            vendor: self.face(&planned.vendor, "").name,
            purpose: text::line(&planned.purpose, 60).into(),
            method: text::line(&planned.method, 12).into(),
            url: text::line(&planned.url, 400).into(),
            body: body(planned.body.as_deref()).into(),
            planned: true,
            ..ui::Sent::default()
        }
    }
}

/// A body as it is, except that nobody wants to see a hundred spaces.
fn body(body: Option<&str>) -> String {
    let whole = body.unwrap_or_default();
    let kept = whole.trim_end_matches(' ');
    let spaces = whole.len() - kept.len();
    let mut shown = text::lines(kept, MOST_BODY);
    if spaces > 0 {
        shown.push_str(&format!("\n+ {spaces} × U+0020 = {} bytes", whole.len()));
    }
    shown
}
