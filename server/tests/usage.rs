//! Usage statistics over a real socket: from the first plan to published figures, and everything that must not get in.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod support;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::documents::*;
use claviger_protocol::http::ProblemCode;
use claviger_protocol::keys::SigningKey;
use claviger_protocol::telemetry::voprf::{Blinder, Pending, TokenClient as _};
use claviger_protocol::telemetry::*;
use claviger_server::admin_keys::{self, Grant};
use claviger_server::telemetry::{releases, releases_path};
use ring::rand::SystemRandom;
use serde_json::json;
use support::*;

impl TestServer {
    async fn plans(&self) -> Vec<Plan> {
        let reply = exchange(self.address, "GET", PLAN_PATH, &[], b"").await;
        assert_eq!(reply.status, 200);
        assert!(reply.head.contains("cache-control: public"), "{}", reply.head);
        let body: PlanBody = serde_json::from_slice(&reply.body).unwrap();
        body.plans.iter().map(|text| Plan::verify(text, &self.keyset).unwrap()).collect()
    }

    async fn tokens(&self, request: &str) -> Reply {
        self.post(TOKENS_PATH, request).await
    }

    async fn report(&self, body: &[u8]) -> Reply {
        exchange(self.address, "POST", REPORT_PATH, &[], body).await
    }

    /// Fetches a batch for a machine and finishes it, checking the proof against the plan.
    async fn batch(&self, machine: &Machine, week: Week) -> Vec<Token> {
        let (request, pending) = ask(machine, week, 0);
        let reply = self.tokens(&request).await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        let body: TokensBody = serde_json::from_slice(&reply.body).unwrap();
        let plans = self.plans().await;
        let key = plans.iter().find_map(|plan| plan.key(week)).unwrap();
        Blinder.finish(&pending, &body.elements, &body.proof, key).unwrap()
    }

    /// Sets the clock to a day of a week.
    fn go_to(&self, week: Week, day: i64) {
        use claviger_protocol::clock::Clock as _;
        self.clock.advance(week.start().plus(day * DAY).0 - self.clock.now().0);
    }

    /// A server whose plan of 2027-Q1 lists the synth with version 1.0: fifty machines took part. The clock stands in
    /// 2027-W01. Gives machines that hold an activation.
    async fn with_statistics() -> (Self, Vec<Machine>) {
        let server = Self::new().await;
        let license = server.license(60).await;
        let synth = "com.example.synth".parse().unwrap();
        let released = ["1.0".parse().unwrap(), "1.1".parse().unwrap()];
        releases::add(&releases_path(&server.data), &synth, &released).unwrap();
        server.go_to(week("2026-W50"), 2);
        let mut machines = Vec::new();
        for n in 0..50 {
            let machine = Machine::new(&format!("studio {n}"));
            server.activate(&machine, &license).await.unwrap();
            let reply = server.tokens(&ask(&machine, week("2026-W50"), 0).0).await;
            assert_eq!(reply.status, 200);
            machines.push(machine);
        }
        server.go_to(week("2026-W52"), 0);
        server.telemetry.tidy().await.unwrap();
        server.go_to(week("2027-W01"), 1);
        server.telemetry.tidy().await.unwrap();
        (server, machines)
    }
}

fn week(text: &str) -> Week {
    text.parse().unwrap()
}

fn ask(machine: &Machine, week: Week, slot: u8) -> (String, Vec<Pending>) {
    let pending = Blinder.blind(BATCH, &SystemRandom::new()).unwrap();
    let request = TokenRequest {
        v: TOKEN_REQUEST_VERSION,
        aud: "com.example".parse().unwrap(),
        iat: Timestamp(NOW),
        week,
        slot,
        elements: pending.iter().map(Pending::blinded).collect(),
    };
    (sign(&request, &machine.key, KeyInHeader::Carried), pending)
}

fn usage(week: Week, version: &str, token: Token) -> UsageReport {
    UsageReport {
        schema: REPORT_SCHEMA,
        week,
        product_id: "com.example.synth".parse().unwrap(),
        product_version: version.parse().unwrap(),
        daw: "reaper".parse().unwrap(),
        uses: Uses::From2To4,
        token,
    }
}

fn code(reply: &Reply) -> (u16, ProblemCode) {
    let problem = reply.problem();
    assert_eq!(problem.status, reply.status);
    (reply.status, problem.code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_first_plan_to_published_figures() {
    let (server, machines) = TestServer::with_statistics().await;
    let plans = server.plans().await;
    let first: Vec<Week> = plans.iter().map(|plan| plan.weeks[0].week).collect();
    assert_eq!(first, [week("2026-W49"), week("2027-W01"), week("2027-W14")], "the next one a quarter ahead");
    assert!(plans[0].titles.is_empty(), "nobody took part yet");
    assert_eq!(plans[1].titles.len(), 1);
    assert_eq!(plans[1].titles[0].versions.len(), 2);

    // Tokens: the same request again gets the same elements, another batch none, a stranger none.
    let w1 = week("2027-W01");
    let (request, pending) = ask(&machines[0], w1, 0);
    let one: TokensBody = serde_json::from_slice(&server.tokens(&request).await.body).unwrap();
    let two: TokensBody = serde_json::from_slice(&server.tokens(&request).await.body).unwrap();
    assert_eq!(one.elements, two.elements);
    let key = plans[1].key(w1).unwrap();
    let mut tokens = Blinder.finish(&pending, &two.elements, &two.proof, key).unwrap();
    assert_eq!(code(&server.tokens(&ask(&machines[0], w1, 0).0).await), (409, ProblemCode::BatchTaken));
    let stranger = Machine::new("nobody");
    assert_eq!(code(&server.tokens(&ask(&stranger, w1, 0).0).await), (403, ProblemCode::NoActivation));
    for wrong in ["2026-W48", "2027-W02", "2027-W40"] {
        let refused = server.tokens(&ask(&machines[1], week(wrong), 0).0).await;
        assert_eq!(code(&refused), (422, ProblemCode::WrongWeek), "{wrong}");
    }
    let other_key = &plans[1].weeks[1].key;
    assert!(Blinder.finish(&pending, &two.elements, &two.proof, other_key).is_err());
    tokens.extend(server.batch(&machines[1], w1).await);

    // Reports: not before the week is over, then once each.
    let report = usage(w1, "1.0", tokens.pop().unwrap()).to_body();
    assert_eq!(code(&server.report(report.as_bytes()).await), (422, ProblemCode::WrongWeek));
    server.go_to(week("2027-W02"), 3);
    let reply = server.report(report.as_bytes()).await;
    assert_eq!((reply.status, reply.body.len()), (204, 0), "{}", reply.head);
    assert_eq!(server.report(report.as_bytes()).await.status, 204, "a retry");
    let spent: UsageReport = serde_json::from_str(report.trim()).unwrap();
    let other = usage(w1, "1.1", spent.token).to_body();
    assert_eq!(code(&server.report(other.as_bytes()).await), (409, ProblemCode::TokenSpent));
    for _ in 0..24 {
        let report = usage(w1, "1.0", tokens.pop().unwrap()).to_body();
        assert_eq!(server.report(report.as_bytes()).await.status, 204);
    }
    // Nineteen of version 1.1 are too few to be named.
    for _ in 0..19 {
        let report = usage(w1, "1.1", tokens.pop().unwrap()).to_body();
        assert_eq!(server.report(report.as_bytes()).await.status, 204);
    }

    // Nothing is shown before the close, to anyone.
    let rng = SystemRandom::new();
    let (_, key) = admin_keys::add(&server.data, "me", &[Grant::Read], Timestamp(NOW), &rng).unwrap();
    let bearer = format!("Bearer {}", *key);
    let figures = async || {
        let headers = [("authorization", bearer.as_str())];
        exchange(server.address, "GET", "/v1/admin/telemetry.json", &headers, b"").await.json()
    };
    server.telemetry.tidy().await.unwrap();
    assert_eq!(figures().await["cells"], json!([]));
    server.go_to(week("2027-W04"), 6);
    server.telemetry.tidy().await.unwrap();
    assert_eq!(figures().await["cells"], json!([]), "the last day");
    server.go_to(week("2027-W05"), 0);
    let late = usage(w1, "1.0", tokens.pop().unwrap()).to_body();
    assert_eq!(code(&server.report(late.as_bytes()).await), (422, ProblemCode::WrongWeek));
    server.telemetry.tidy().await.unwrap();
    let shown = figures().await;
    let cells = json!([{
        "week": "2027-W01", "product_id": "com.example.synth", "product_version": "1.0", "daw": "reaper",
        "uses": "2-4", "reports": 25,
    }]);
    assert_eq!(shown["cells"], cells);
    assert_eq!(
        shown["titles"],
        json!([{ "product_id": "com.example.synth", "reports": [0, 0, 0, 0, 0, 25] }])
    );

    // The key is gone with its week: nobody can make or check a token of it any more.
    assert!(!server.data.telemetry().join("keys/2027-W01.key").exists());
    assert!(server.data.telemetry().join("keys/2027-W02.key").exists());
    assert_eq!(code(&server.tokens(&request).await), (422, ProblemCode::WrongWeek));

    // A new process shows the same, and the plans are the same bytes.
    let plans = server.telemetry.current().body().to_vec();
    let (folder, clock) = server.stop().await;
    let server = TestServer::serve(folder, clock).await;
    assert_eq!(server.telemetry.current().body(), plans);
    let published = server.telemetry.counters().published(None, None, None).await.unwrap();
    assert_eq!(published.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_report_is_refused_counted_and_repeated_to_nobody() {
    let log = Log::catch();
    let (server, machines) = TestServer::with_statistics().await;
    let w1 = week("2027-W01");
    let mut tokens = server.batch(&machines[0], w1).await;
    server.go_to(week("2027-W02"), 3);
    let good = usage(w1, "1.0", tokens.pop().unwrap());
    let canary = "CANARY-5f2d";
    let compact = serde_json::to_string(&good).unwrap();
    let padded = |text: String| format!("{text:<512}").into_bytes();
    // Each differs from a good report in the one thing that it is named after.
    let with = |from: &str, to: &str| {
        assert_eq!(compact.matches(from).count(), 1, "{from}");
        padded(compact.replace(from, to))
    };
    let token = String::from(good.token);
    assert!(UsageReport::from_body(&padded(compact.clone())).is_ok());
    let unreadable: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("short", compact.clone().into_bytes()),
        ("one byte short", good.to_body().as_bytes()[..511].to_vec()),
        ("spaces", vec![b' '; 512]),
        ("binary", vec![0xff; 512]),
        ("an unknown field", with("\"schema\"", "\"user\":\"CANARY-5f2d\",\"schema\"")),
        ("a repeated field", with("\"uses\"", "\"uses\":\"1\",\"uses\"")),
        ("a missing field", with("\"daw\":\"reaper\",", "")),
        ("an oversized version", with("\"1.0\"", &format!("\"{}\"", canary.repeat(4)))),
        ("a free text as version", with("\"1.0\"", "\"CANARY-5f2d my song\"")),
        ("a free text as DAW", with("reaper", canary)),
        ("a number of uses", with("\"2-4\"", "3")),
        ("another bucket", with("2-4", "3")),
        ("a day", with("2027-W01", "2027-01-06")),
        ("another schema", with("\"schema\":1", "\"schema\":2")),
        ("no token", with(&token, "")),
        ("another padding", {
            let mut bytes = good.to_body().into_bytes();
            bytes[511] = b'\n';
            bytes
        }),
        ("a space inside", with("\"uses\":", "\"uses\": ")),
        (
            "another order",
            with("{\"schema\":1,\"week\":\"2027-W01\",", "{\"week\":\"2027-W01\",\"schema\":1,"),
        ),
        ("two reports", padded(format!("[{compact}]"))),
    ];
    for (what, body) in &unreadable {
        let reply = server.report(body).await;
        assert_eq!(code(&reply), (400, ProblemCode::BadRequest), "{what}");
        assert!(!String::from_utf8_lossy(&reply.body).contains(canary), "{what}");
    }
    let long = [good.to_body().as_bytes(), b" "].concat();
    assert_eq!(code(&server.report(&long).await), (413, ProblemCode::TooLarge));

    let outside = |edit: &dyn Fn(&mut UsageReport)| {
        let mut report = good.clone();
        edit(&mut report);
        report.to_body()
    };
    for (what, body, expected) in [
        (
            "a title outside the plan",
            outside(&|r| r.product_id = "com.example.organ".parse().unwrap()),
            ProblemCode::NotEligible,
        ),
        (
            "a version outside the plan",
            outside(&|r| r.product_version = "CANARY-5f2d".parse().unwrap()),
            ProblemCode::NotEligible,
        ),
        ("this week", outside(&|r| r.week = week("2027-W02")), ProblemCode::WrongWeek),
        ("a week to come", outside(&|r| r.week = week("2027-W09")), ProblemCode::WrongWeek),
        ("a week before the first plan", outside(&|r| r.week = week("2026-W48")), ProblemCode::WrongWeek),
        ("a week long ago", outside(&|r| r.week = week("2020-W01")), ProblemCode::WrongWeek),
        ("another week's key", outside(&|r| r.week = week("2026-W53")), ProblemCode::NotEligible),
    ] {
        assert_eq!(code(&server.report(body.as_bytes()).await), (422, expected), "{what}");
    }
    let forged = [Token([0; 96]), Token([7; 96]), {
        let mut flipped = good.token;
        flipped.0[95] ^= 1;
        flipped
    }];
    for token in forged {
        let reply = server.report(usage(w1, "1.0", token).to_body().as_bytes()).await;
        assert_eq!(code(&reply), (403, ProblemCode::TokenRefused));
    }
    // A token of a week whose key lives, in a report about another one.
    server.go_to(week("2027-W03"), 1);
    let next = server.batch(&machines[1], week("2027-W02")).await;
    let reply = server.report(usage(w1, "1.0", next[0]).to_body().as_bytes()).await;
    assert_eq!(code(&reply), (403, ProblemCode::TokenRefused));

    // None of it spent the token or counted.
    assert_eq!(server.report(good.to_body().as_bytes()).await.status, 204);
    let metrics = server.metrics.render();
    for line in [
        "claviger_telemetry_total{what=\"report\",outcome=\"counted\"} 1",
        "claviger_telemetry_total{what=\"report\",outcome=\"token_refused\"} 4",
        "claviger_telemetry_total{what=\"report\",outcome=\"not_eligible\"} 3",
        "claviger_telemetry_total{what=\"report\",outcome=\"wrong_week\"} 4",
        "claviger_telemetry_total{what=\"report\",outcome=\"duplicate_name\"} 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}\nis missing in\n{metrics}");
    }
    assert!(!metrics.contains(canary));

    // Token requests of the same kind.
    let (request, _) = ask(&machines[2], week("2027-W03"), 0);
    let other = Machine { key: SigningKey::from_seed(&[3; 32]), facts: machines[2].facts.clone() };
    for (what, body) in [
        ("an unknown field", json!({ "request": request, "user": canary }).to_string()),
        ("no request", "{}".to_owned()),
        ("not signed", json!({ "request": canary }).to_string()),
        ("changed", json!({ "request": request.replace('A', "B") }).to_string()),
        ("too long", json!({ "request": canary.repeat(2000) }).to_string()),
    ] {
        let reply = exchange(server.address, "POST", TOKENS_PATH, &[], body.as_bytes()).await;
        assert!((400..500).contains(&reply.status), "{what}: {}", reply.status);
        assert!(!String::from_utf8_lossy(&reply.body).contains(canary), "{what}");
    }
    let unknown_key = server.tokens(&ask(&other, week("2027-W03"), 0).0).await;
    assert_eq!(code(&unknown_key), (403, ProblemCode::NoActivation));
    let mut bad = TokenRequest {
        v: TOKEN_REQUEST_VERSION,
        aud: "com.example".parse().unwrap(),
        iat: Timestamp(NOW),
        week: week("2027-W03"),
        slot: 0,
        elements: vec![Element([0; 32]); BATCH],
    };
    let identity = sign(&bad, &machines[2].key, KeyInHeader::Carried);
    assert_eq!(code(&server.tokens(&identity).await), (400, ProblemCode::BadRequest));
    bad.elements.pop();
    let fewer = sign(&bad, &machines[2].key, KeyInHeader::Carried);
    assert_eq!(code(&server.tokens(&fewer).await).1, ProblemCode::BadDocument);
    assert_eq!(server.tokens(&request).await.status, 200, "none of them took the machine's turn");

    // Logs and files: no report, no token, no address.
    let (folder, _) = server.stop().await;
    let log = log.text();
    for needle in [canary, token.as_str(), "com.example.synth", "127.0.0.1"] {
        assert!(!log.contains(needle), "the log has {needle}");
    }
    let data = folder.path().join("data");
    let logged = all_bytes(&data.join("security-log"));
    assert!(contains(&logged, b"127.0.0.1"), "activations are logged: the search finds what is there");
    for needle in ["telemetry", "report", "tokens", canary] {
        assert!(!contains(&logged, needle.as_bytes()), "the security log has {needle}");
    }
    let kept = all_bytes(&data.join("telemetry"));
    assert!(contains(&kept, b"com.example.synth"), "the counters' names are there");
    let machine = &machines[0].facts.machine_id;
    for (what, needle) in [
        ("a canary", canary.as_bytes()),
        ("an address", b"127.0.0.1"),
        ("a token", token.as_bytes()),
        ("a token's bytes", good.token.input()),
        ("a device's name", b"studio"),
        ("a machine's id as text", machine.to_string().as_bytes()),
    ] {
        assert!(!contains(&kept, needle), "the collector's files have {what}");
    }
    // That an installation takes part is known, and stands in one file alone.
    for entry in std::fs::read_dir(data.join("telemetry")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let expected = path.file_name().unwrap() == "issued.db";
            assert_eq!(contains(&std::fs::read(&path).unwrap(), &machine.0), expected, "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_wants_a_key_and_brings_a_strict_policy() {
    let server = TestServer::new().await;
    let rng = SystemRandom::new();
    let add =
        |name: &str, grant| admin_keys::add(&server.data, name, &[grant], Timestamp(NOW), &rng).unwrap().1;
    let (read, issue) = (add("read", Grant::Read), add("issue", Grant::Issue));
    let get = async |path: &str, authorization: &str| {
        let headers = [("authorization", authorization)];
        exchange(server.address, "GET", path, &headers, b"").await
    };
    let page = "/v1/admin/telemetry";
    for wrong in ["", "Bearer x", "Basic eDp5", "Basic ???", "Digest x"] {
        let reply = get(page, wrong).await;
        assert_eq!(code(&reply), (401, ProblemCode::Unauthorized), "{wrong}");
        assert!(reply.head.contains("www-authenticate: basic"), "{}", reply.head);
    }
    assert_eq!(code(&get(page, &format!("Bearer {}", *issue)).await), (403, ProblemCode::Forbidden));
    let basic = data_encoding::BASE64.encode(format!("anyone:{}", *read).as_bytes());
    for authorization in [format!("Bearer {}", *read), format!("Basic {basic}")] {
        let reply = get(page, &authorization).await;
        assert_eq!(reply.status, 200);
        assert!(reply.head.contains("content-security-policy: default-src 'none'"), "{}", reply.head);
        assert!(reply.head.contains("cache-control: no-store"), "{}", reply.head);
        let html = String::from_utf8(reply.body).unwrap();
        assert!(html.contains("No week is closed yet") && !html.contains("<script"), "{html}");
    }
    let bearer = format!("Bearer {}", *read);
    let csv = get("/v1/admin/telemetry.csv?from=2026-W01&to=2026-W53", &bearer).await;
    assert_eq!(csv.body, b"week,product_id,product_version,daw,uses,reports\n");
    for bad in ["?from=yesterday", "?from=2026-W54", "?unknown=1"] {
        let reply = get(&format!("/v1/admin/telemetry.json{bad}"), &bearer).await;
        assert_eq!(code(&reply), (400, ProblemCode::BadRequest), "{bad}");
    }
    assert_eq!(code(&get(NOTICE_PATH, "").await), (404, ProblemCode::NotFound), "this vendor asks nobody");
    let reply = exchange(server.address, "GET", REPORT_PATH, &[], b"").await;
    assert_eq!(code(&reply), (405, ProblemCode::MethodNotAllowed));
}

/// Everything that is logged in this process, for as long as it lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn catch() -> Self {
        let log = Self::default();
        let writer = log.clone();
        // The other tests of this file log into it too, which does no harm.
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn all_bytes(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(all_bytes(&path));
        } else {
            all.extend(std::fs::read(path).unwrap());
        }
    }
    all
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
