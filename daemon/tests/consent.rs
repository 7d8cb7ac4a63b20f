//! Consent in a whole engine, against a vendor's collector made by hand that keeps every byte it is sent.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

mod common;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use claviger_daemon::consent::Subject;
use claviger_protocol::clock::{DAY, Date, Timestamp};
use claviger_protocol::daw::Daw;
use claviger_protocol::http::{Problem, ProblemCode, RequestBody};
use claviger_protocol::ids::{ProductId, VendorId};
use claviger_protocol::ipc::{CallError, Consent, ConsentState, PlannedSend, SentEntry};
use claviger_protocol::jws::{KeyInHeader, sign};
use claviger_protocol::telemetry::voprf::{Issuer, TokenIssuer as _};
use claviger_protocol::telemetry::{
    Authority, BATCH, ConsentReceipt, ConsentRecord, Controller, Notice, NoticeBody, NoticeText, PURPOSE,
    Plan, PlanBody, PlanTitle, PlanWeek, PolicyReference, REPORT_FIELDS, REPORT_LEN, TokenRequest,
    TokensBody, UsageReport, Uses, Week,
};
use common::{
    Daemon, NOW, Server, Vendor, activate, at_once, files, http, listen, read_request, run, start, start_on,
};
use ring::rand::SystemRandom;

/// A vendor's server that activates, and collects.
struct Collector {
    server: Arc<Server>,
    notice: Mutex<Notice>,
    /// Another key for this week than the one that everyone gets.
    tagged: Mutex<Option<Week>>,
    /// Evaluates with another key than it published.
    cheats: AtomicBool,
    /// Does not answer at all any more.
    down: AtomicBool,
    /// Every request: its head as it came, path and body.
    seen: Mutex<Vec<(String, String, String)>>,
}

fn issuer(week: Week, secret: u8) -> Issuer {
    Issuer::from_seed(&[secret; 32], week.to_string().as_bytes()).unwrap()
}

impl Collector {
    fn new(vendor: Vendor) -> Arc<Self> {
        Arc::new(Self {
            server: Server::new(vendor),
            notice: Mutex::new(notice(1, "2026-01-01")),
            tagged: Mutex::default(),
            cheats: AtomicBool::new(false),
            down: AtomicBool::new(false),
            seen: Mutex::default(),
        })
    }

    fn listen(self: &Arc<Self>) -> String {
        let this = self.clone();
        listen(move |mut stream| {
            let mut recorder = Recorder { inner: &mut stream, head: Vec::new() };
            let Some((path, body)) = read_request(&mut recorder) else { return };
            let all = String::from_utf8(recorder.head).unwrap();
            let head = all.strip_suffix(body.as_str()).unwrap().to_owned();
            this.seen.lock().unwrap().push((head, path.clone(), body.clone()));
            if !this.down.load(Ordering::SeqCst) {
                let _ = stream.write_all(&this.respond(&path, &body));
            }
        })
    }

    fn sign<D: claviger_protocol::documents::Document>(&self, document: &D) -> String {
        sign(document, &self.server.key.lock().unwrap(), KeyInHeader::Named)
    }

    fn plan(&self) -> Plan {
        let first = Week::of(Timestamp(NOW));
        let tagged = *self.tagged.lock().unwrap();
        let key = |week| issuer(week, if tagged == Some(week) { 99 } else { 7 }).public();
        let title = |name: &str, versions: &[&str]| PlanTitle {
            product: name.parse().unwrap(),
            versions: versions.iter().map(|v| v.parse().unwrap()).collect(),
        };
        Plan {
            iss: self.server.vendor.id.clone(),
            iat: first.start().plus(-DAY),
            weeks: (0..14).map(|n| first.plus(n)).map(|week| PlanWeek { week, key: key(week) }).collect(),
            titles: vec![title("com.example.synth", &["2.4.1"]), title("com.example.fx", &[])],
            daws: vec![Daw::Reaper],
        }
    }

    fn respond(&self, path: &str, body: &str) -> Vec<u8> {
        let json = |text: String| http(200, "application/json", &text);
        match path {
            "/v1/telemetry/notice" => {
                let notice = self.sign(&*self.notice.lock().unwrap());
                json(serde_json::to_string(&NoticeBody { notice, next: None }).unwrap())
            }
            "/v1/telemetry/plan" => {
                json(serde_json::to_string(&PlanBody { plans: vec![self.sign(&self.plan())] }).unwrap())
            }
            "/v1/telemetry/tokens" => {
                let body: RequestBody = serde_json::from_str(body).unwrap();
                let (request, _) = TokenRequest::verify(&body.request, &self.server.vendor.id).unwrap();
                let secret = if self.cheats.load(Ordering::SeqCst) { 99 } else { 7 };
                let issuer = issuer(request.week, secret);
                let (elements, proof) = issuer.evaluate(&request.elements, &SystemRandom::new()).unwrap();
                json(serde_json::to_string(&TokensBody { elements, proof }).unwrap())
            }
            "/v1/telemetry/report" => {
                let report = UsageReport::from_body(body.as_bytes()).unwrap();
                assert!(report.is_eligible(&self.plan()), "{report:?}");
                if issuer(report.week, 7).verify(&report.token) {
                    return b"HTTP/1.1 204 X\r\nconnection: close\r\n\r\n".to_vec();
                }
                let problem = serde_json::to_string(&Problem::new(ProblemCode::TokenRefused)).unwrap();
                http(403, "application/problem+json", &problem)
            }
            _ => self.server.respond(path, body),
        }
    }

    fn telemetry(&self) -> Vec<(String, String)> {
        let seen = self.seen.lock().unwrap();
        let all = seen.iter().filter(|(_, path, _)| path.starts_with("/v1/telemetry"));
        all.map(|(_, path, body)| (path.clone(), body.clone())).collect()
    }

    fn reports(&self) -> Vec<UsageReport> {
        let bodies = self.telemetry().into_iter().filter(|(path, _)| path == "/v1/telemetry/report");
        bodies.map(|(_, body)| UsageReport::from_body(body.as_bytes()).unwrap()).collect()
    }
}

/// Keeps what is read through it.
struct Recorder<'a> {
    inner: &'a mut std::net::TcpStream,
    head: Vec<u8>,
}

impl std::io::Read for Recorder<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.head.extend_from_slice(&buf[..count]);
        Ok(count)
    }
}

fn notice(version: u32, policy: &str) -> Notice {
    let text = |title: &str, text: &str| NoticeText { title: title.to_owned(), text: text.to_owned() };
    Notice {
        iss: "com.example".parse().unwrap(),
        id: "usage-statistics".to_owned(),
        version,
        iat: Timestamp(NOW - 1000),
        effective: Date::new(2026, 1, 1).unwrap(),
        purpose: PURPOSE.to_owned(),
        fields: REPORT_FIELDS.map(str::to_owned).to_vec(),
        controller: Controller {
            name: "Example GmbH".to_owned(),
            address: "Street 1\nTown".to_owned(),
            contact: "privacy@example.com".to_owned(),
            protection_officer: None,
        },
        recipients: vec![],
        retention_days: 730,
        jurisdiction: "DE".to_owned(),
        authority: Authority { name: "BfDI".to_owned(), url: "https://authority.example".to_owned() },
        policy: PolicyReference { url: "https://example.com/privacy".to_owned(), version: policy.to_owned() },
        texts: BTreeMap::from([
            ("en".to_owned(), text("Usage statistics", "We count.\n\nWe learn that you take part.")),
            ("de".to_owned(), text("Nutzungsstatistik", "Wir zählen.")),
        ]),
    }
}

fn me() -> Subject {
    Subject::new("1000").unwrap()
}
fn vendor() -> VendorId {
    "com.example".parse().unwrap()
}
fn synth() -> ProductId {
    "com.example.synth".parse().unwrap()
}

/// A daemon with an activated bundle of synth and fx.
async fn activated(home: &Path, collector: &Arc<Collector>) -> Daemon {
    let daemon = start(home);
    let profile = collector.server.vendor.profile(&collector.listen());
    daemon.engine.add_vendor(&profile).unwrap();
    activate(&daemon, "ABC12345").await.unwrap();
    daemon
}

fn new() -> (tempfile::TempDir, Arc<Collector>) {
    (tempfile::tempdir().unwrap(), Collector::new(Vendor::new(3, "com.example", "EXA")))
}

async fn agree(daemon: &Daemon, who: &Subject) -> Consent {
    let shown = daemon.engine.show_notice(who, &vendor(), Some("de-AT")).await.unwrap();
    daemon.engine.grant(who, &vendor(), &shown.challenge).unwrap()
}

fn consent(daemon: &Daemon) -> Consent {
    daemon.engine.list_consents(&me(), Some(&vendor())).unwrap().remove(0)
}

fn use_synth(daemon: &Daemon, times: usize) {
    for _ in 0..times {
        daemon.engine.report_use(&me(), &synth(), "2.4.1", "reaper").unwrap();
    }
}

fn code(error: &CallError) -> &str {
    error.code()
}

/// Lets the simulated clock run, an hour at a time, the scheduler looking at what is due as its alarm would have it.
async fn days(daemon: &Daemon, count: i64) {
    hours(daemon, count * 24).await;
}

/// Awakes each hour, and when the daemon's own alarm would ring in between.
async fn hours(daemon: &Daemon, count: i64) {
    for _ in 0..count {
        let end = daemon.clock.0.load(Ordering::SeqCst) + 3_600;
        loop {
            let now = daemon.clock.0.load(Ordering::SeqCst);
            let alarm = daemon.engine.telemetry_next().map(|next| next.0).filter(|next| *next > now);
            daemon.clock.0.store(alarm.map_or(end, |next| next.min(end)), Ordering::SeqCst);
            daemon.engine.telemetry_turn().await;
            if daemon.clock.0.load(Ordering::SeqCst) == end {
                break;
            }
        }
    }
}

fn ledger_text(home: &Path) -> String {
    std::fs::read_to_string(home.join("state/consent/1000/com.example.json")).unwrap()
}

#[test]
fn a_week_is_counted_shown_sent_and_logged_as_the_same_bytes() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        let given = agree(&daemon, &me()).await;
        assert_eq!((given.state, given.counting, given.notice_version), (ConsentState::Given, true, Some(1)));
        use_synth(&daemon, 12);
        daemon.engine.report_use(&me(), &synth(), "9.9-never-released", "renoise").unwrap();
        daemon.engine.report_use(&me(), &synth(), "free text of a person", "/opt/My Secret DAW").unwrap();
        daemon.engine.report_use(&me(), &"com.example.fx".parse().unwrap(), "1.0", "reaper").unwrap();
        daemon.engine.report_use(&me(), &"com.example.other".parse().unwrap(), "1.0", "reaper").unwrap();
        assert!(
            !ledger_text(home.path()).contains("Secret") && !ledger_text(home.path()).contains("free text")
        );
        let week = Week::of(Timestamp(NOW));
        let mut shown: Vec<PlannedSend> = Vec::new();
        // 28 days: seven of silence, then plan, tokens and the reports of the first week.
        for day in 0..28 {
            for _ in 0..24 {
                let preview = daemon.engine.preview(&me(), None).unwrap();
                shown.extend(preview.planned.into_iter().filter(|p| p.body.is_some()));
                hours(&daemon, 1).await;
            }
            let sent = collector.telemetry();
            assert!(
                day >= 6 || sent.len() == 1,
                "only the notice that was asked for in the first week: {sent:?}"
            );
        }
        let reports = collector.reports();
        let of = |product: &str| {
            let found: Vec<_> = reports.iter().filter(|r| r.product_id.as_str() == product).collect();
            assert_eq!(found.len(), 1, "{product}: one report a title and week");
            assert_eq!(found[0].week, week);
            (found[0].product_version.to_string(), found[0].daw, found[0].uses)
        };
        assert_eq!(reports.len(), 2);
        assert_eq!(of("com.example.synth"), ("2.4.1".to_owned(), Daw::Reaper, Uses::From10To19));
        assert_eq!(of("com.example.fx"), ("other".to_owned(), Daw::Reaper, Uses::Once));

        // Preview, wire and log are the same bytes.
        let sent = collector.telemetry();
        let log = daemon.engine.list_sent(&me()).unwrap();
        let logged: Vec<&SentEntry> = log.iter().filter(|e| e.purpose.starts_with("telemetry")).collect();
        assert_eq!(logged.len(), sent.len());
        for ((path, body), entry) in sent.iter().zip(&logged) {
            assert!(entry.url.ends_with(path), "{path} {}", entry.url);
            assert_eq!(entry.body.as_deref().unwrap_or_default(), body);
            assert!(entry.outcome.as_ref().unwrap().starts_with("HTTP 20"), "{entry:?}");
            let basis = if entry.at == Timestamp(NOW) { "request" } else { "consent" };
            assert_eq!(entry.basis, basis, "{entry:?}");
            if !body.is_empty() {
                let previewed = shown.iter().any(|p| p.url == entry.url && p.body.as_ref() == Some(body));
                assert!(previewed, "never shown before it was sent: {path} {body}");
            }
            if path == "/v1/telemetry/report" {
                assert_eq!(body.len(), REPORT_LEN);
            }
        }
        let kinds = |path: &str| sent.iter().filter(|(p, _)| p.ends_with(path)).count();
        assert!((3..=5).contains(&kinds("plan")) && (3..=5).contains(&kinds("tokens")), "{sent:?}");
        assert!(log.iter().any(|e| e.purpose == "activate" && e.basis == "contract"));
    });
}

#[test]
fn what_leaves_says_as_little_as_http_can() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        use_synth(&daemon, 1);
        days(&daemon, 21).await;
        assert!(!collector.reports().is_empty());
        for (head, path, _) in &*collector.seen.lock().unwrap() {
            if !path.starts_with("/v1/telemetry") {
                continue;
            }
            let mut names: Vec<String> = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(':'))
                .map(|(name, _)| name.to_ascii_lowercase())
                .collect();
            names.sort();
            let expected: &[&str] = match path.rsplit('/').next().unwrap() {
                "tokens" | "report" => &["accept", "content-length", "content-type", "host"],
                _ => &["accept", "host"],
            };
            assert_eq!(names, expected, "{head}");
        }
    });
}

#[test]
fn thirty_days_after_a_refusal_nothing_has_left_and_no_usage_is_on_disk() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        let refused = daemon.engine.refuse(&me(), &vendor(), None).unwrap();
        assert_eq!((refused.state, refused.counting), (ConsentState::Refused, false));
        let files_before: Vec<String> = files(home.path()).into_iter().map(|(name, _)| name).collect();
        for _ in 0..30 {
            use_synth(&daemon, 3);
            days(&daemon, 1).await;
        }
        assert_eq!(collector.telemetry(), [], "refusing is silent");
        let after: Vec<String> = files(home.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(after, files_before, "no file has come into being");
        for (name, bytes) in files(home.path()) {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("\"uses\":") && !text.contains("\"cells\":"), "{name}");
        }
        assert_eq!(daemon.engine.preview(&me(), None).unwrap().planned, []);
        assert_eq!(daemon.engine.telemetry_next(), None, "nothing wakes the daemon");
    });
}

#[test]
fn activation_is_the_same_whatever_was_decided() {
    let lives: [fn(&Daemon, &str); 4] = [
        |_, _| {},
        |daemon, _| drop(daemon.engine.refuse(&me(), &vendor(), None).unwrap()),
        |daemon, challenge| drop(daemon.engine.grant(&me(), &vendor(), challenge).unwrap()),
        |daemon, challenge| {
            daemon.engine.grant(&me(), &vendor(), challenge).unwrap();
            daemon.engine.withdraw(&me(), &vendor()).unwrap();
        },
    ];
    let mut told = Vec::new();
    for decide in lives {
        run(async {
            let (home, collector) = new();
            let daemon = start(home.path());
            let profile = collector.server.vendor.profile(&collector.listen());
            daemon.engine.add_vendor(&profile).unwrap();
            let shown = daemon.engine.show_notice(&me(), &vendor(), None).await.unwrap();
            decide(&daemon, &shown.challenge);
            let license = activate(&daemon, "ABC12345").await.unwrap();
            daemon.engine.refresh(None).await.unwrap();
            daemon.engine.deactivate("com.example.bundle").await.unwrap();
            let requests = collector.server.requests.lock().unwrap();
            // All but what chance decides.
            let plain: Vec<serde_json::Value> = requests
                .iter()
                .map(|request| {
                    let mut value = serde_json::to_value(request).unwrap();
                    value["nonce"] = serde_json::Value::Null;
                    value["receipts"] = serde_json::json!(request.receipts.len());
                    value["order"]["proof"] = serde_json::Value::Null;
                    if let Some(held) = value["order"]["activations"].as_array_mut() {
                        held.iter_mut().for_each(|a| drop(a.as_object_mut().unwrap().remove("certificate")));
                    }
                    value
                })
                .collect();
            let heads: Vec<String> = collector
                .seen
                .lock()
                .unwrap()
                .iter()
                .filter(|(_, path, _)| !path.starts_with("/v1/telemetry"))
                .map(|(head, ..)| head.lines().filter(|l| !l.to_lowercase().starts_with("host")).collect())
                .collect();
            told.push((license.status, plain, heads));
        });
    }
    for other in &told[1..] {
        assert_eq!(*other, told[0]);
    }
}

#[test]
fn withdrawing_wipes_everything_at_once_and_for_good() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        use_synth(&daemon, 60);
        // Into the second week: tokens are there, the report waits.
        let mut waiting = false;
        for _ in 0..20 * 24 {
            hours(&daemon, 1).await;
            let planned = daemon.engine.preview(&me(), None).unwrap().planned;
            waiting = planned.iter().any(|p| p.purpose == "telemetry_report" && p.body.is_some());
            if waiting {
                break;
            }
        }
        assert!(waiting && ledger_text(home.path()).contains("\"queue\":"));
        let before = collector.telemetry().len();
        let withdrawn = daemon.engine.withdraw(&me(), &vendor()).unwrap();
        assert_eq!((withdrawn.state, withdrawn.counting), (ConsentState::Withdrawn, false));
        for word in ["gathered", "cells", "tokens", "queue", "pending", "uses"] {
            assert!(!ledger_text(home.path()).contains(&format!("\"{word}\":")), "{word} is left");
        }
        use_synth(&daemon, 5);
        days(&daemon, 30).await;
        assert_eq!(collector.telemetry().len(), before, "nothing is sent after a withdrawal");
        assert_eq!(daemon.engine.telemetry_next(), None);
        // The record tells all of it.
        let record: ConsentRecord = serde_json::from_str(&consent(&daemon).record.unwrap()).unwrap();
        let events: Vec<_> = record.events.iter().map(|e| format!("{:?}", e.event)).collect();
        assert_eq!(events, ["Requested", "Given", "Withdrawn"]);
        // A new grant begins anew.
        agree(&daemon, &me()).await;
        days(&daemon, 20).await;
        assert_eq!(collector.reports(), [], "what was counted before is gone");
    });
}

#[test]
fn a_grant_needs_the_question_that_was_just_asked() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        let engine = &daemon.engine;
        let ask = async || engine.show_notice(&me(), &vendor(), None).await;
        let refused = |who: &Subject, challenge: &str| {
            let error = engine.grant(who, &vendor(), challenge).unwrap_err();
            assert_eq!(code(&error), "not_asked", "{error:?}");
        };
        refused(&me(), "");
        refused(&me(), "00000000000000000000000000000000");
        let shown = ask().await.unwrap();
        assert_eq!(consent(&daemon).state, ConsentState::Requested);
        // Somebody else's question, and gone after the attempt.
        refused(&Subject::new("1001").unwrap(), &shown.challenge);
        refused(&me(), &shown.challenge);
        // An hour later.
        let shown = ask().await.unwrap();
        daemon.clock.0.fetch_add(3_600, Ordering::SeqCst);
        refused(&me(), &shown.challenge);
        // Another notice by then.
        let shown = ask().await.unwrap();
        *collector.notice.lock().unwrap() = notice(2, "2027-01-01");
        ask().await.unwrap();
        refused(&me(), &shown.challenge);
        assert!(!consent(&daemon).counting);
        // Twice.
        let shown = ask().await.unwrap();
        engine.grant(&me(), &vendor(), &shown.challenge).unwrap();
        refused(&me(), &shown.challenge);
        assert!(consent(&daemon).counting);
    });
}

#[test]
fn new_terms_and_thirteen_months_ask_again() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        use_synth(&daemon, 2);
        // A corrected word: nobody is asked again.
        let corrected = Notice { version: 2, ..notice(1, "2026-01-01") };
        *collector.notice.lock().unwrap() = corrected;
        days(&daemon, 10).await;
        assert_eq!(consent(&daemon).state, ConsentState::Given);
        // A new policy, learned with the weekly plan: all that waited is gone.
        *collector.notice.lock().unwrap() = notice(3, "2027-06-01");
        days(&daemon, 10).await;
        let after = consent(&daemon);
        assert_eq!((after.state, after.counting), (ConsentState::Superseded, false));
        assert!(!ledger_text(home.path()).contains("\"gathered\""));
        let sent = collector.telemetry().len();
        days(&daemon, 10).await;
        assert_eq!(collector.telemetry().len(), sent);
        // An older notice is not taken back.
        *collector.notice.lock().unwrap() = notice(1, "2026-01-01");
        let shown = daemon.engine.show_notice(&me(), &vendor(), None).await.unwrap();
        assert_eq!(shown.notice.version, 3);
        let given = daemon.engine.grant(&me(), &vendor(), &shown.challenge).unwrap();
        assert_eq!(given.state, ConsentState::Given);
        let since = given.since.unwrap();
        use_synth(&daemon, 2);
        *collector.notice.lock().unwrap() = notice(3, "2027-06-01");
        daemon.clock.0.store(since.0 + 396 * DAY, Ordering::SeqCst);
        let after = consent(&daemon);
        assert_eq!((after.state, after.counting), (ConsentState::Expired, false));
        assert!(!ledger_text(home.path()).contains("\"gathered\""), "expiry wipes what was gathered");
        assert_eq!(daemon.engine.telemetry_next(), None);
    });
}

#[test]
fn a_refusal_rests_and_a_changed_policy_may_ask_again() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        let shown = daemon.engine.show_notice(&me(), &vendor(), None).await.unwrap();
        daemon.engine.refuse(&me(), &vendor(), Some(&shown.challenge)).unwrap();
        // Reading the notice again does not open what was decided.
        daemon.engine.show_notice(&me(), &vendor(), None).await.unwrap();
        assert_eq!(consent(&daemon).state, ConsentState::Refused);
        daemon.clock.0.fetch_add(395 * DAY, Ordering::SeqCst);
        assert_eq!(consent(&daemon).state, ConsentState::Refused);
        daemon.clock.0.fetch_add(DAY, Ordering::SeqCst);
        assert_eq!(consent(&daemon).state, ConsentState::Expired);
    });
}

#[test]
fn policy_and_do_not_track_only_veto() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        use_synth(&daemon, 3);
        drop(daemon);
        std::fs::write(home.path().join("policy.toml"), "telemetry = false").unwrap();
        let daemon = start(home.path());
        let vetoed = consent(&daemon);
        assert_eq!(vetoed.state, ConsentState::Given, "what the person decided stays on record");
        assert_eq!((vetoed.counting, vetoed.veto.as_deref()), (false, Some("policy")));
        assert!(!ledger_text(home.path()).contains("\"gathered\""));
        let before = collector.telemetry().len();
        use_synth(&daemon, 3);
        days(&daemon, 30).await;
        let refused = daemon.engine.show_notice(&me(), &vendor(), None).await.unwrap_err();
        assert_eq!(code(&refused), "not_permitted");
        assert_eq!(collector.telemetry().len(), before, "not even the notice is fetched");
        assert_eq!(daemon.engine.telemetry_next(), None);
        drop(daemon);
        // A policy that allows is not a consent.
        std::fs::write(home.path().join("policy.toml"), "telemetry = true").unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("policy.toml"), "telemetry = true").unwrap();
        let daemon = activated(other.path(), &collector).await;
        assert_eq!((consent(&daemon).state, consent(&daemon).counting), (ConsentState::None, false));
    });
}

#[test]
fn each_person_decides_alone() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        let other = Subject::new("1001").unwrap();
        agree(&daemon, &me()).await;
        assert_eq!(daemon.engine.list_consents(&other, None).unwrap()[0].state, ConsentState::None);
        daemon.engine.report_use(&other, &synth(), "2.4.1", "reaper").unwrap();
        assert_eq!(daemon.engine.preview(&other, None).unwrap().counted, []);
        assert_eq!(daemon.engine.preview(&me(), None).unwrap().counted, []);
        agree(&daemon, &other).await;
        use_synth(&daemon, 1);
        days(&daemon, 9).await;
        // Their batches are told apart, and their logs are their own.
        let slots: Vec<u8> = collector
            .telemetry()
            .iter()
            .filter(|(path, _)| path.ends_with("tokens"))
            .map(|(_, body)| {
                let body: RequestBody = serde_json::from_str(body).unwrap();
                TokenRequest::verify(&body.request, &vendor()).unwrap().0.slot
            })
            .collect();
        assert!(slots.contains(&0) && slots.contains(&1), "{slots:?}");
        let log = |who: &Subject| daemon.engine.list_sent(who).unwrap();
        assert!(log(&me()).iter().filter_map(|e| e.body.as_ref()).all(|b| {
            !log(&other).iter().any(|o| o.purpose.starts_with("telemetry") && o.body.as_ref() == Some(b))
        }));
        daemon.engine.withdraw(&other, &vendor()).unwrap();
        assert!(consent(&daemon).counting);
    });
}

#[test]
fn a_key_for_one_person_and_a_false_proof_get_nothing() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        use_synth(&daemon, 4);
        days(&daemon, 8).await;
        // The plan is known. From now on another key for a known week: the plan is refused as a whole.
        *collector.tagged.lock().unwrap() = Some(Week::of(Timestamp(NOW)).plus(2));
        days(&daemon, 8).await;
        let pins = ledger_text(home.path());
        let right = issuer(Week::of(Timestamp(NOW)).plus(2), 7).public().to_string();
        let wrong = issuer(Week::of(Timestamp(NOW)).plus(2), 99).public().to_string();
        assert!(pins.contains(&right) && !pins.contains(&wrong));
        *collector.tagged.lock().unwrap() = None;
        // Tokens made with another key than the published one are not used.
        collector.cheats.store(true, Ordering::SeqCst);
        let before = collector.reports().len();
        days(&daemon, 7).await;
        use_synth(&daemon, 4);
        let cheated = Week::of(Timestamp(daemon.clock.0.load(Ordering::SeqCst)));
        days(&daemon, 21).await;
        let reports = collector.reports();
        assert!(reports[before..].iter().all(|r| r.week != cheated), "{reports:?}");
    });
}

#[test]
fn what_cannot_be_sent_is_dropped_after_three_weeks() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        use_synth(&daemon, 4);
        days(&daemon, 8).await;
        collector.down.store(true, Ordering::SeqCst);
        let week = Week::of(Timestamp(NOW));
        // Computers sleep: three days pass at a time.
        let until = claviger_protocol::telemetry::closes(week);
        while daemon.clock.0.load(Ordering::SeqCst) < until.0 {
            daemon.clock.0.fetch_add(3 * DAY, Ordering::SeqCst);
            daemon.engine.telemetry_turn().await;
        }
        collector.down.store(false, Ordering::SeqCst);
        let before = collector.reports().len();
        days(&daemon, 5).await;
        assert!(collector.reports()[before..].iter().all(|r| r.week != week), "too late to be sent");
        assert!(!ledger_text(home.path()).contains(&format!("\"{week}\":{{\"cells\"")));
    });
}

#[test]
fn receipts_and_records_hold_together_and_changed_ones_are_not_believed() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        let given = agree(&daemon, &me()).await;
        let (receipt, _) = ConsentReceipt::verify(given.receipt.as_ref().unwrap()).unwrap();
        let record: ConsentRecord = serde_json::from_str(given.record.as_ref().unwrap()).unwrap();
        assert_eq!((&receipt.record, receipt.jti), (&record, record.receipt_id));
        assert!(record.is_whole());
        assert_eq!(record.notice.as_ref().unwrap().language, "de");
        assert_eq!(record.controller.as_ref().unwrap().name, "Example GmbH");
        use_synth(&daemon, 1);
        drop(daemon);
        // Somebody turns a refusal, or the time of a grant, around in the file.
        let path = home.path().join("state/consent/1000/com.example.json");
        let text = ledger_text(home.path());
        let forged = text.replacen("\"requested\"", "\"refused\"", 1);
        assert_ne!(forged, text);
        std::fs::write(&path, forged).unwrap();
        let daemon = start(home.path());
        assert_eq!((consent(&daemon).state, consent(&daemon).counting), (ConsentState::None, false));
        assert!(path.with_file_name("com.example.json.damaged").exists());
        days(&daemon, 20).await;
        assert_eq!(collector.telemetry().len(), 1, "the notice alone");
    });
}

#[test]
fn a_clock_that_jumps_sends_nothing_early_and_keeps_nothing_long() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        use_synth(&daemon, 2);
        // Back by a year: time stands still for consent, nothing is sent.
        daemon.clock.0.fetch_sub(365 * DAY, Ordering::SeqCst);
        days(&daemon, 20).await;
        assert_eq!(collector.telemetry().len(), 1, "the notice alone");
        let record: ConsentRecord = serde_json::from_str(&consent(&daemon).record.unwrap()).unwrap();
        daemon.engine.withdraw(&me(), &vendor()).unwrap();
        let after: ConsentRecord = serde_json::from_str(&consent(&daemon).record.unwrap()).unwrap();
        assert!(after.events.last().unwrap().time >= record.events.last().unwrap().time);
        drop(daemon);
        // Started in 2099: a consent of today has long expired.
        let daemon = start_on(home.path(), common::OS_ID, 4_070_908_800);
        agree(&daemon, &me()).await;
        drop(daemon);
        let daemon = start(home.path());
        assert_eq!(consent(&daemon).state, ConsentState::Given, "the latest moment seen counts");
    });
}

#[test]
fn a_batch_has_the_same_size_for_everyone() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        // Nothing is used at all: tokens are fetched all the same, and nothing is reported.
        days(&daemon, 22).await;
        let batches: Vec<(Week, usize)> = collector
            .telemetry()
            .iter()
            .filter(|(path, _)| path.ends_with("tokens"))
            .map(|(_, body)| {
                let body: RequestBody = serde_json::from_str(body).unwrap();
                let request = TokenRequest::verify(&body.request, &vendor()).unwrap().0;
                (request.week, request.elements.len())
            })
            .collect();
        assert!(batches.len() >= 2 && batches.iter().all(|(_, count)| *count == BATCH), "{batches:?}");
        let mut weeks: Vec<Week> = batches.iter().map(|(week, _)| *week).collect();
        weeks.dedup();
        assert_eq!(weeks.len(), batches.len(), "one batch a week");
        assert_eq!(collector.reports(), []);
    });
}

#[test]
fn the_sent_log_is_the_person_s_to_clear() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        let all = daemon.engine.list_sent(&me()).unwrap().len();
        assert!(all >= 2);
        assert_eq!(daemon.engine.clear_sent(&me(), false).unwrap(), 1, "the notice");
        assert_eq!(daemon.engine.list_sent(&me()).unwrap().len(), all - 1);
        daemon.engine.clear_sent(&me(), true).unwrap();
        assert_eq!(daemon.engine.list_sent(&me()).unwrap(), []);
        assert_eq!(
            at_once(daemon.engine.list_licenses(None)).unwrap().licenses.len(),
            1,
            "licenses are untouched"
        );
    });
}

/// The spellings in which a text could hide.
fn spellings(text: &str) -> Vec<Vec<u8>> {
    use data_encoding::{BASE32, BASE64, BASE64URL, HEXLOWER, HEXUPPER};
    let bytes = text.as_bytes();
    let hash = claviger_protocol::keys::Sha256::of(bytes);
    let mut all = vec![
        bytes.to_vec(),
        text.to_lowercase().into_bytes(),
        HEXLOWER.encode(bytes).into_bytes(),
        HEXUPPER.encode(bytes).into_bytes(),
        BASE32.encode(bytes).trim_end_matches('=').as_bytes().to_vec(),
        text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        bytes.iter().rev().copied().collect(),
        bytes.iter().flat_map(|b| format!("%{b:02X}").into_bytes()).collect(),
        hash.0.to_vec(),
        HEXLOWER.encode(&hash.0).into_bytes(),
        hash.to_string().into_bytes(),
    ];
    // In base64 a text looks different at each of three offsets; the middle does not depend on its neighbours.
    for offset in 0..3 {
        let padded = [&b"\0\0\0"[..offset], bytes].concat();
        for encoded in [BASE64.encode(&padded), BASE64URL.encode(&padded)] {
            all.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
        }
    }
    all
}

/// Where a text stands, in any spelling: in what was sent, or in a file.
fn found(places: &[(String, Vec<u8>)], text: &str) -> Vec<String> {
    let needles = spellings(text);
    let holds = |bytes: &[u8]| {
        // Once as it is, once with the base64 of signed documents taken apart.
        let parts = bytes.split(|b| !b.is_ascii_alphanumeric() && !b"-_".contains(b));
        let decoded: Vec<Vec<u8>> = parts
            .filter(|part| part.len() > 16)
            .filter_map(|part| data_encoding::BASE64URL_NOPAD.decode(part).ok())
            .collect();
        let all: Vec<&[u8]> = decoded.iter().map(Vec::as_slice).chain([bytes]).collect();
        needles.iter().any(|n| all.iter().any(|hay| hay.windows(n.len()).any(|w| w == n.as_slice())))
    };
    places.iter().filter(|(_, bytes)| holds(bytes)).map(|(place, _)| place.clone()).collect()
}

#[test]
fn nothing_of_the_person_is_in_any_byte_sent_or_kept() {
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        use_synth(&daemon, 3);
        // What a plug-in in a strange host might say; and what no plug-in should.
        let canaries = [
            "/home/canary-person/DAWs/Canary Studio 9.exe",
            "canary-project-moonlight.als",
            "canary-version-of-somebody",
            "com.canary.othervendor",
        ];
        daemon.engine.report_use(&me(), &synth(), canaries[2], canaries[0]).unwrap();
        daemon.engine.report_use(&me(), &synth(), canaries[1], canaries[1]).unwrap();
        daemon.engine.report_use(&me(), &canaries[3].parse().unwrap(), "1.0", "reaper").unwrap();
        days(&daemon, 21).await;
        assert!(!collector.reports().is_empty());
        let mut places: Vec<(String, Vec<u8>)> = collector
            .seen
            .lock()
            .unwrap()
            .iter()
            .map(|(head, path, body)| (path.clone(), [head.as_bytes(), body.as_bytes()].concat()))
            .collect();
        places.extend(files(home.path()));
        for canary in canaries {
            assert_eq!(found(&places, canary), Vec::<String>::new(), "{canary}");
        }
        // Not the account either, by which the daemon tells people apart, in what was sent.
        let sent: Vec<_> =
            places.iter().filter(|(place, _)| place.starts_with("/v1/telemetry/report")).cloned().collect();
        let machine = daemon.engine.show_machine(None).unwrap()[0].machine_id.to_string();
        let device = {
            let tokens =
                collector.telemetry().into_iter().find(|(path, _)| path.ends_with("tokens")).unwrap().1;
            let body: RequestBody = serde_json::from_str(&tokens).unwrap();
            TokenRequest::verify(&body.request, &vendor()).unwrap().1.to_string()
        };
        let serial = "ABC12345";
        for secret in [machine.as_str(), device.as_str(), serial, common::OS_ID] {
            assert_eq!(found(&sent, secret), Vec::<String>::new(), "{secret} is in a report");
        }
        // A deliberate leak is found, however it is dressed up: without that, finding nothing would prove nothing.
        let leak = |text: String| vec![("leak".to_owned(), text.into_bytes())];
        let canary = canaries[1];
        let payload = data_encoding::BASE64URL_NOPAD.encode(format!(r#"{{"x":"{canary}"}}"#).as_bytes());
        for dressed in [
            canary.to_owned(),
            data_encoding::HEXLOWER.encode(canary.as_bytes()),
            format!("a.{payload}.b"),
            claviger_protocol::keys::Sha256::of(canary.as_bytes()).to_string(),
            canary.chars().rev().collect(),
        ] {
            assert_eq!(found(&leak(dressed.clone()), canary), ["leak"], "{dressed}");
        }
        assert!(!found(&places, &machine).is_empty(), "the search finds the machine id where it belongs");
    });
}

#[test]
fn what_is_wiped_is_overwritten_too() {
    use std::io::Read as _;
    run(async {
        let (home, collector) = new();
        let daemon = activated(home.path(), &collector).await;
        agree(&daemon, &me()).await;
        use_synth(&daemon, 7);
        // Held open, as a disk's blocks are: what this reads is what a search of the disk would find.
        let mut old = std::fs::File::open(home.path().join("state/consent/1000/com.example.json")).unwrap();
        daemon.engine.withdraw(&me(), &vendor()).unwrap();
        let mut left = Vec::new();
        old.read_to_end(&mut left).unwrap();
        assert!(!left.is_empty() && left.iter().all(|b| *b == 0), "{}", String::from_utf8_lossy(&left));
        assert!(ledger_text(home.path()).contains("\"withdrawn\""));
    });
}
