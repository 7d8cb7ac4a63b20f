//! A week of usage statistics in one run: the real daemon, the real collector, a person who reads the notice on a terminal
//! and says yes, a DAW that uses the title through the client library; all of it in a network namespace where every packet
//! is seen, on a computer full of values that exist nowhere else.
//!
//! What is shown beforehand is what is on the wire and what the log holds. None of the planted values leaves, in whatever
//! spelling; a deliberate leak of each is found. Afterwards the folders, logs and memory of daemon and server are searched.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::telemetry::{
    NOTICE_PATH, PLAN_PATH, REPORT_LEN, REPORT_PATH, TOKENS_PATH, UsageReport, closes,
};
use claviger_tests::canaries::{Search, spellings};
use claviger_tests::capture::{Capture, Request};
use claviger_tests::device::payload;
use claviger_tests::machine::files_below;
use claviger_tests::netwatch::NetWatch;
use claviger_tests::person::{Planted, agree_on_a_terminal, make_music};
use claviger_tests::statistics::{Course, Statistics, VERSION, post_report, wait_for};
use claviger_tests::tls::Authority;
use claviger_tests::world::{License, PRODUCT, Setting};
use claviger_tests::{memory, process, slow};
use serde_json::Value;

/// The server sees requests come from here: an address that stands nowhere else.
const ADDRESS: &str = "fd77:ca9a:51e5:beef:1dea:c0de:5eed:77";
const HOUR: i64 = 3_600;

/// Everything that a run left behind.
struct Week {
    watch: NetWatch,
    statistics: Statistics,
    planted: Planted,
    license: License,
    /// Every request that was shown before it was sent.
    shown: Vec<Value>,
    /// What was said on the terminal and elsewhere.
    said: String,
    _folder: tempfile::TempDir,
}

/// Lives through it.
fn live(tls: Option<Authority>) -> Week {
    // Whatever crashes may leave its image.
    let core = rustix::process::Resource::Core;
    let most = rustix::process::getrlimit(core).maximum;
    rustix::process::setrlimit(core, rustix::process::Rlimit { current: most, maximum: most }).unwrap();
    let folder = tempfile::Builder::new().prefix("cv").tempdir().unwrap();
    let watch = NetWatch::start(folder.path().join("packets"));
    watch.enter();
    let address = format!("ip -6 addr add {ADDRESS}/128 dev lo nodad");
    let _said = process::run(Command::new("sh").args(["-ec", &address]), "").ok();
    let statistics = Statistics::begin(Setting { tls, listen: Some("[::1]:0"), ..Setting::default() });
    let world = &statistics.world;
    world.proxy.set_source(ADDRESS.parse::<IpAddr>().unwrap());

    let planted = Planted::new(world, env!("CARGO_BIN_EXE_daw"));
    let Planted { machine, daw, canaries } = planted;
    let machine = {
        let mut machine = machine;
        machine.env.push(("CLAVIGER_LOG".to_owned(), "trace".to_owned()));
        world.ready(machine)
    };
    let planted = Planted { machine, daw, canaries };
    planted.add_other_vendor();
    let machine = &planted.machine;
    let _said = machine.claviger(&["machine", "rename", "Studio"]).ok();
    let license = world.issue(2);
    let activated = machine.activate(&license).ok();
    let log = world.data().join("security-log");
    wait_for("the address to be noted", || {
        let files = files_below(&log);
        files.iter().any(|f| std::fs::read_to_string(f).unwrap().contains(ADDRESS)).then_some(())
    });
    let screen = agree_on_a_terminal(machine);

    // The ten days until the title is listed: what is used meanwhile is counted, and never named.
    let mut course = Course::of(machine, world.clock());
    course.go_to(statistics.first.start().plus(DAY));
    for version in [VERSION, VERSION, "of my own making"] {
        make_music(machine, world, &planted.daw, version);
    }
    course.go_to(statistics.first.end().plus(HOUR));
    let shown_reports = |course: &mut Course<'_>| {
        course.planned();
        course
            .shown
            .iter()
            .filter(|plan| plan["purpose"] == "telemetry_report" && !plan["body"].is_null())
            .count()
    };
    assert_eq!(shown_reports(&mut course), 1, "{:?}", course.shown);
    course.go_to(statistics.first.plus(1).end().plus(HOUR));
    let shown = course.shown.clone();
    let log = machine.claviger(&["privacy", "log"]).ok().text();
    let said = [screen, activated.text(), log].concat();
    Week { watch, statistics, planted, license, shown, said, _folder: folder }
}

impl Week {
    /// What this person's log holds about statistics.
    fn log(&self) -> Vec<Value> {
        Course::of(&self.planted.machine, self.statistics.clock()).sent()
    }
}

#[test]
fn what_is_shown_is_what_is_sent_and_logged_and_nothing_else_leaves() {
    let mut week = live(None);
    let capture = week.watch.capture();
    let wire: Vec<Request> = capture
        .sent_to(week.statistics.world.proxy.address)
        .map(claviger_tests::capture::Stream::request)
        .collect();
    compare(&week, &wire);
    closed_list_of_heads(&wire);
    as_the_page_says(&wire);

    // No planted value is in any frame, nor in what the connections carried.
    let search = week.planted.search(&[]);
    assert_eq!(found_in(&search, &capture), BTreeSet::new(), "left this computer");
    hostile(&week);
    published(&week);
    left_behind(&week);
    leak_and_find(&week, &search);
    leaves_no_core(&mut week);
}

/// The same over TLS: on the wire nothing can be read, nothing is resumed, and what is inside is the same.
#[test]
fn over_tls_the_same_and_no_connection_leads_to_another() {
    if !slow() {
        return;
    }
    let week = live(Some(Authority::new()));
    let capture = week.watch.capture();
    let search = week.planted.search(&[]);
    assert_eq!(found_in(&search, &capture), BTreeSet::new(), "left this computer");
    let plain = week.statistics.world.proxy.plaintexts();
    let wire: Vec<Request> =
        plain.iter().filter(|bytes| !bytes.is_empty()).map(|bytes| Request::of(bytes)).collect();
    compare(&week, &wire);
    closed_list_of_heads(&wire);
    for bytes in &plain {
        assert_eq!(search.deeply(bytes), BTreeSet::new(), "inside TLS");
    }
    let hellos: Vec<Vec<u8>> =
        capture.sent_to(week.statistics.world.proxy.address).map(|stream| stream.bytes.clone()).collect();
    assert_eq!(hellos.len(), wire.len(), "a connection each");
    let mut sessions = BTreeSet::new();
    for hello in &hellos {
        let (session, extensions) = claviger_tests::tls::client_hello(hello);
        assert!(sessions.insert(session), "a session id was used twice");
        // pre_shared_key, session_ticket with a ticket, early_data, cookie.
        for (number, length) in extensions {
            assert!(
                !(number == 41 || number == 42 || number == 44 || number == 35 && length > 0),
                "{number}"
            );
        }
    }
    let names: BTreeSet<_> = plain.iter().filter_map(|bytes| String::from_utf8(bytes.clone()).ok()).collect();
    for hello in &hellos {
        assert!(
            names.iter().all(|text| text.is_empty() || !contains(hello, text.as_bytes())),
            "in the clear"
        );
    }
}

/// Preview, wire and log are the same bytes.
fn compare(week: &Week, wire: &[Request]) {
    let log = week.log();
    let count = |purpose: &str| log.iter().filter(|entry| entry["purpose"] == purpose).count();
    assert_eq!(count("telemetry_report"), 1, "{log:?}");
    assert!(count("telemetry_plan") >= 2 && count("telemetry_tokens") >= 2, "{log:?}");
    let statistics: Vec<&Request> =
        wire.iter().filter(|request| request.what().1.starts_with("/v1/telemetry/")).collect();
    // One request more: the notice that was asked for, to be read.
    assert_eq!(statistics.len(), log.len() + 1, "every request is in the log, and no other");
    for entry in &log {
        let path = entry["url"].as_str().unwrap();
        let body = entry["body"].as_str();
        let same = |request: &&&Request| {
            let (method, at) = request.what();
            entry["method"] == method && path.ends_with(at) && request.body == body.unwrap_or_default()
        };
        let sent = statistics.iter().filter(same).count();
        assert!(if body.is_some() { sent == 1 } else { sent >= 1 }, "logged and not sent so: {entry}");
        let shown = week.shown.iter().any(|plan| {
            plan["body"] == entry["body"]
                && plan["url"] == entry["url"]
                && plan["method"] == entry["method"]
                && plan["due"].as_i64().unwrap() <= entry["at"].as_i64().unwrap()
                && entry["at"].as_i64().unwrap() <= plan["due"].as_i64().unwrap() + 300
        });
        assert!(shown, "sent and not shown beforehand, bytes and moment: {entry}");
        let outcome = entry["outcome"].as_str().unwrap();
        assert!(outcome.starts_with("HTTP 20"), "{entry}");
    }
    let report = log.iter().find(|entry| entry["purpose"] == "telemetry_report").unwrap();
    let body = report["body"].as_str().unwrap();
    assert_eq!(body.len(), REPORT_LEN);
    let said = UsageReport::from_body(body.as_bytes()).unwrap();
    assert_eq!((said.week, said.product_id.as_str()), (week.statistics.first, PRODUCT));
    assert_eq!(
        (said.product_version.as_str(), said.daw.id(), said.uses.as_str()),
        (VERSION, "reaper", "2-4")
    );
    let at = Timestamp(report["at"].as_i64().unwrap());
    assert!(at >= said.week.end() && at < said.week.plus(1).end(), "sent in the week after: {at}");
}

/// What every request of statistics says about who sends it: nothing.
fn closed_list_of_heads(wire: &[Request]) {
    let mut paths = BTreeSet::new();
    for request in wire.iter().filter(|request| request.what().1.starts_with("/v1/telemetry/")) {
        let (method, path) = request.what();
        let headers: &[&str] = match method {
            "POST" => &["content-type", "accept", "host", "content-length"],
            _ => &["accept", "host"],
        };
        assert_eq!(request.headers(), headers, "{}", request.head);
        paths.insert(path.to_owned());
    }
    assert_eq!(paths, [NOTICE_PATH, PLAN_PATH, REPORT_PATH, TOKENS_PATH].map(str::to_owned).into());
}

/// What docs/privacy.md shows is what leaves: the same members and the same headers, in their order.
fn as_the_page_says(wire: &[Request]) {
    let page = include_str!("../../docs/privacy.md");
    let block = |heading: &str, nth: usize| {
        let below = page.split_once(heading).unwrap_or_else(|| panic!("no “{heading}”")).1;
        below.split("```").nth(2 * nth + 1).unwrap().trim_start_matches("json").trim().to_owned()
    };
    let of = |path: &str| wire.iter().find(|request| request.what().1 == path).unwrap();

    let (sent, shown) = (of(REPORT_PATH), block("### The bytes of a report", 0));
    let (head, body) = shown.split_once("\n\n").unwrap();
    let shown =
        Request { head: format!("{head}\r\n\r\n"), body: body.lines().map(str::trim_start).collect() };
    assert_eq!((shown.what(), shown.headers()), (sent.what(), sent.headers()));
    let report = UsageReport::from_body(format!("{:<512}", shown.body).as_bytes()).unwrap();
    assert_eq!(report.to_body().trim_end(), shown.body, "one spelling");

    let sent = of("/v1/activate");
    let content: Value = serde_json::from_str(&block("### The bytes\n", 0)).unwrap();
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(names(&content), names(&payload(body["request"].as_str().unwrap())));
    let around = block("### The bytes\n", 1);
    let (_, head) = around.split_once("\n\n").unwrap();
    let shown = Request { head: format!("{head}\r\n\r\n"), body: String::new() };
    assert_eq!((shown.what(), shown.headers()), (sent.what(), sent.headers()));
}

/// The names of all members, with those inside.
fn names(value: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        all.insert(name.clone());
        all.extend(names(value).into_iter().map(|inner| format!("{name}.{inner}")));
    }
    all
}

fn found_in(search: &Search, capture: &Capture) -> BTreeSet<(String, String)> {
    assert!(capture.frames.len() > 100 && capture.streams.len() > 20, "the network was watched");
    let mut found: BTreeSet<_> = capture.frames.iter().flat_map(|frame| search.plainly(frame)).collect();
    found.extend(capture.streams.iter().flat_map(|stream| search.deeply(&stream.bytes)));
    found
}

/// The negative control: each value leaks in each spelling, and inside each packing; and once the daemon itself is made to
/// tell one, in a field that takes what people type. All of it must be found, or the search proves nothing.
fn leak_and_find(week: &Week, search: &Search) {
    let before = week.watch.capture().streams.len();
    let sink = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = sink.local_addr().unwrap();
    let accepting = std::thread::spawn(move || {
        while let Ok((mut stream, _)) = sink.accept() {
            if std::io::copy(&mut stream, &mut std::io::sink()).unwrap() == 0 {
                return;
            }
        }
    });
    let mut expected = BTreeSet::new();
    for (name, value) in &week.planted.canaries {
        let mut all = Vec::new();
        for (how, bytes) in spellings(value) {
            expected.insert(((*name).to_owned(), how));
            all.extend(bytes);
            all.extend(b"\r\n. \0");
        }
        // Several packets, so that something lies across their border.
        let mut stream = std::net::TcpStream::connect(to).unwrap();
        for part in all.chunks(1_000) {
            std::io::Write::write_all(&mut stream, part).unwrap();
        }
    }
    let name = String::from_utf8(week.planted.canaries[0].1.clone()).unwrap();
    let pack = format!(
        "import base64, binascii, gzip, socket, urllib.parse, zlib\n\
         v = ('{{\"user\":\"' + '{name}' + '\",\"x\":1}}').encode()\n\
         for b in (gzip.compress(v), zlib.compress(v), base64.b64encode(zlib.compress(v)), \
         binascii.hexlify(gzip.compress(v)), base64.urlsafe_b64encode(base64.b64encode(v)), \
         urllib.parse.quote(base64.b64encode(v + b'???>>>')).encode()):\n\
         \x20 s = socket.create_connection(('127.0.0.1', {}))\n\
         \x20 s.sendall(b'GET /x HTTP/1.1\\r\\nCookie: ' + b + b'\\r\\n\\r\\n')\n\
         \x20 s.close()\n",
        to.port()
    );
    let _said = process::run(Command::new("python3").args(["-c", &pack]), "").ok();
    drop(std::net::TcpStream::connect(to).unwrap());
    accepting.join().unwrap();

    let capture = week.watch.capture();
    let leaks = &capture.streams[before..];
    let found: BTreeSet<_> = leaks.iter().flat_map(|stream| search.deeply(&stream.bytes)).collect();
    let missed: Vec<_> = expected.difference(&found).collect();
    assert!(missed.is_empty(), "leaked and not found: {missed:?}");
    for packing in [
        "inside gzip",
        "inside zlib",
        "inside zlib inside base64",
        "inside gzip inside hexadecimal",
        "inside base64 inside base64url",
        "inside base64 inside percent-encoding",
    ] {
        assert!(
            found.iter().any(|(what, how)| what == "user name" && how.ends_with(packing)),
            "{packing}: {found:?}"
        );
    }

    // A daemon that tells: the name that people see beside their seat is theirs to choose.
    let machine = &week.planted.machine;
    let _said = machine.claviger(&["machine", "rename", &name]).ok();
    let _said = machine.activate(&week.statistics.world.issue(1)).ok();
    let capture = week.watch.capture();
    let told = capture.sent_to(week.statistics.world.proxy.address).last().unwrap();
    let found = search.deeply(&told.bytes);
    assert!(found.contains(&("user name".to_owned(), "as it is inside base64url".to_owned())), "{found:?}");
    let _said = machine.claviger(&["machine", "rename", "Studio"]).ok();
}

/// What nobody may send: refused, counted, and repeated nowhere.
fn hostile(week: &Week) {
    let world = &week.statistics.world;
    let log = week.log();
    let report = log.iter().find(|entry| entry["purpose"] == "telemetry_report").unwrap();
    let good = report["body"].as_str().unwrap();
    let mut http = world.http();
    assert_eq!(post_report(&mut http, good), 204, "a repetition is no second report");
    let fits = |text: String| format!("{:<512}", text.trim_end());
    for (status, body) in [
        (409, fits(good.replace("2-4", "5-9"))),
        (400, fits(good.replace("\"uses\"", "\"user\":\"INTRUDER-5f2d\",\"uses\""))),
        (400, fits(good.replace(VERSION, "INTRUDER-5f2d of mine"))),
        (422, fits(good.replace(VERSION, "INTRUDER-5f2d"))),
        (400, fits(good.replace("reaper", "INTRUDER-5f2d"))),
        (400, "INTRUDER-5f2d".to_owned()),
        (413, "INTRUDER-5f2d".repeat(1_000)),
    ] {
        assert_eq!(post_report(&mut world.http(), &body), status, "{body}");
    }
}

/// Weeks later: the report was counted once, among those of the others.
fn published(week: &Week) {
    let statistics = &week.statistics;
    let others = statistics.others_fetch_tokens(statistics.first, 24);
    statistics.others_report(&others);
    assert_eq!(statistics.report()["cells"], serde_json::json!([]), "nothing before the close");
    statistics.clock().go_to(closes(statistics.first).plus(2 * HOUR));
    let cells = wait_for("the week to close", || {
        let cells = statistics.report()["cells"].clone();
        (cells != serde_json::json!([])).then_some(cells)
    });
    let cell = serde_json::json!({
        "week": statistics.first, "product_id": PRODUCT, "product_version": VERSION, "daw": "reaper", "uses": "2-4",
        "reports": 25,
    });
    assert_eq!(cells, serde_json::json!([cell]), "24 others and this one");
}

/// Folders, logs and memory of daemon and server.
fn left_behind(week: &Week) {
    let world = &week.statistics.world;
    let machine = &week.planted.machine;
    // Three weeks have passed since anything came from the address: it has lost its last bits.
    wait_for("the address to be cut", || security_log(week).contains("fd77:ca9a:51e5::").then_some(()));
    let running = machine.daemon.as_ref().unwrap();
    let daemon = Left::of(&machine.home, &running.output(), running.pid());
    let server = Left::of(&world.data(), &world.server_output(), world.server_pid());

    // The daemon knows the vendors of this computer, and where it keeps its own things. Of what else it could have seen,
    // nothing is on the disk, and nothing in memory but the system's id, from which it makes the vendor's.
    daemon.nothing_of(
        &week.planted.search(&["other vendor"]),
        &week.planted.search(&["other vendor", "home path", "machine's own id"]),
    );
    let all = week.planted.search(&[]);
    server.nothing_of(&all, &all);

    let bare = week.license.unlock_code.replace('-', "");
    let code = Search::new([("code", week.license.unlock_code.as_bytes()), ("bare code", bare.as_bytes())]);
    daemon.nothing_of(&code, &code);
    server.nothing_of(&code, &code);
    assert_eq!(code.deeply(week.said.as_bytes()), BTreeSet::new(), "was said");

    // As text: in bytes it may lie in memory that the network's code has freed, which is why a server leaves no dump.
    let address = Search::new([("address", ADDRESS.as_bytes())]);
    server.nothing_of(&address, &address);
    let IpAddr::V6(bytes) = ADDRESS.parse().unwrap() else { unreachable!("it is one of IPv6") };
    let octets = bytes.octets();
    let bytes = Search::new([("address in bytes", octets.as_slice())]);
    for (place, content) in &server.files {
        assert_eq!(bytes.plainly(content), BTreeSet::new(), "in {place}");
    }
    let intruder = Search::new([("what was refused", b"INTRUDER-5f2d".as_slice())]);
    for (place, bytes) in &server.files {
        assert_eq!(intruder.deeply(bytes), BTreeSet::new(), "in {place}");
    }

    // A search that finds nothing proves nothing: what is there on purpose is found in all four places.
    let known =
        Search::new([("serial", week.license.serial.as_bytes()), ("vendor", b"com.example".as_slice())]);
    for left in [&daemon, &server] {
        assert!(left.files.iter().any(|(_, bytes)| !known.deeply(bytes).is_empty()));
        assert!(left.memory.iter().any(|part| !known.plainly(&part.bytes).is_empty()));
    }
}

/// A crash of the server leaves no image of it, although whatever crashes may leave one here.
fn leaves_no_core(week: &mut Week) {
    use std::os::unix::process::ExitStatusExt as _;
    let mut server = week.statistics.world.take_server();
    let pid = rustix::process::Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::ABORT).unwrap();
    let ended = server.wait_end(process::PATIENCE);
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false), "{ended}");
}

fn security_log(week: &Week) -> String {
    let files = files_below(&week.statistics.world.data().join("security-log"));
    files.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect()
}

/// What a program leaves behind: files, its log, and its memory.
struct Left {
    files: Vec<(String, Vec<u8>)>,
    memory: Vec<memory::Part>,
}

impl Left {
    fn of(folder: &std::path::Path, log: &str, pid: u32) -> Self {
        let read = |file: &std::path::PathBuf| (file.display().to_string(), std::fs::read(file).unwrap());
        let mut files: Vec<_> = files_below(folder).iter().map(read).collect();
        files.push((format!("the log of {}", folder.display()), log.as_bytes().to_vec()));
        Self { files, memory: memory::of(pid) }
    }

    fn nothing_of(&self, in_files: &Search, in_memory: &Search) {
        let mut found: Vec<_> = Vec::new();
        for (place, bytes) in &self.files {
            found.extend(in_files.deeply(bytes).into_iter().map(|what| (place.clone(), what)));
        }
        for part in &self.memory {
            found.extend(
                in_memory
                    .plainly(&part.bytes)
                    .into_iter()
                    .map(|what| (format!("memory {}", part.name), what)),
            );
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}
