//! The portal over a real socket, as a browser without JavaScript uses it.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod support;

use claviger_protocol::documents::*;
use claviger_protocol::ids::DeviceName;
use claviger_protocol::keys::Sha256;
use claviger_protocol::offline::armour::{write_collection, write_file};
use claviger_protocol::offline::packed::{answer_parts, request_fragment};
use claviger_protocol::offline::{self, BlockKind, FileKind, Refusal, TypedCode};
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::UnlockCode;
use ring::rand::SystemRandom;
use support::*;

const BOUNDARY: &str = "----ClavigerTestBoundary";

/// A field of a form: its name, a file's name, its content.
type Field<'a> = (&'a str, Option<&'a str>, &'a [u8]);

impl TestServer {
    async fn form(&self, fields: &[Field<'_>], headers: &[(&str, &str)]) -> Reply {
        let mut body = Vec::new();
        for (name, file, content) in fields {
            let file = file.map(|f| format!("; filename=\"{f}\"")).unwrap_or_default();
            let head =
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        raw(self, "POST", "/offline", &[&[("content-type", kind.as_str())], headers].concat(), &body).await
    }

    async fn upload(&self, name: &str, content: &str) -> Reply {
        self.form(&[("file", Some(name), content.as_bytes()), ("text", None, b"")], &[]).await
    }

    async fn fetch(&self, name: &str, content: &str) -> Reply {
        self.form(&[("file", Some(name), content.as_bytes()), ("want", None, b"file")], &[]).await
    }
}

/// The support's own exchange sends JSON.
async fn raw(server: &TestServer, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", server.address);
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(answer[..split].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_lowercase(), body: answer[split + 4..].to_vec() }
}

fn page(reply: &Reply) -> String {
    assert!(reply.head.contains("content-type: text/html; charset=utf-8"), "{}", reply.head);
    String::from_utf8(reply.body.clone()).unwrap()
}

/// A page's text, without its tags.
fn words(reply: &Reply) -> String {
    let html = page(reply);
    let html = html.split("<main").nth(1).unwrap();
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn typed(html: &str) -> String {
    let list = html.split("class=\"typed\"").nth(1).unwrap().split("</ol>").next().unwrap();
    list.split("<code>").skip(1).map(|g| g.split('<').next().unwrap()).collect::<Vec<_>>().join(" ")
}

impl Machine {
    /// A request as the command line writes it.
    fn offline(&self, license: &(Serial, UnlockCode), replace: Option<&str>) -> String {
        let mut request: Request = {
            let text = self.activate(license, replace, vec![], nonce());
            Request::verify(&text, &"com.example".parse().unwrap()).unwrap().0
        };
        request.exp = Some(request.iat.plus(offline::REQUEST_LIFETIME));
        sign(&request, &self.key, KeyInHeader::Carried)
    }

    fn file(&self, license: &(Serial, UnlockCode)) -> String {
        write_file(FileKind::Request, &[], &self.offline(license, None))
    }

    fn receipt_file(&self, certificate: &ActivationCertificate) -> String {
        let order = Order::Deactivate { machine_id: self.facts.machine_id };
        let request = self.request(order, vec![self.receipt(certificate)], nonce());
        write_file(FileKind::Receipt, &[], &request)
    }
}

fn answer_in(server: &TestServer, file: &[u8], request: &str, machine: &Machine) -> ActivationCertificate {
    let contents = offline::read(file).unwrap();
    let [block] = contents.blocks.as_slice() else { panic!("{contents:?}") };
    assert_eq!(block.kind, BlockKind::Response);
    let hash = Sha256::of(request.as_bytes());
    let answer = Answer::verify(&block.text, &server.keyset, &hash, machine.key.id()).unwrap();
    let Outcome::Activated { certificate } = answer.outcome else { panic!("{answer:?}") };
    ActivationCertificate::verify(&certificate, &server.keyset).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_becomes_a_file_a_typed_code_and_qr_codes() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let machine = Machine::new("Studio – left");
    let request = machine.offline(&license, None);
    let file = write_file(FileKind::Request, &[("Computer", "Studio")], &request);

    let shown = server.upload("studio.clvreq", &file).await;
    assert_eq!(shown.status, 200);
    let html = page(&shown);
    assert!(words(&shown).contains("Synth may be used on “ Studio – left ”"), "{html}");
    assert_eq!(server.seats_used(&license.0).await, 1);

    // The button on the page asks for the same answer as a file.
    let hidden = html.split("name=\"text\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let saved = server.form(&[("want", None, b"file"), ("text", None, hidden.as_bytes())], &[]).await;
    assert!(
        saved.head.contains("content-disposition: attachment; filename=\"studio-left.clvres\""),
        "{}",
        saved.head
    );
    let certificate = answer_in(&server, &saved.body, &request, &machine);
    assert_eq!(
        certificate.jti,
        claviger_protocol::ids::ActivationId::of_request(&Sha256::of(request.as_bytes()))
    );
    assert_eq!(
        server.fetch("again.clvreq", &file).await.body,
        saved.body,
        "the same request, the same answer"
    );
    assert_eq!(server.seats_used(&license.0).await, 1);

    // The typed code makes a certificate that readers believe, from the request that the machine kept.
    let groups = typed(&html);
    assert_eq!(groups.split(' ').count(), 32);
    let rebuilt = TypedCode::parse(&groups).unwrap().certificate(&request, &[], &server.keyset).unwrap();
    let rebuilt = ActivationCertificate::verify(&rebuilt, &server.keyset).unwrap();
    assert_eq!((rebuilt.jti, rebuilt.machine), (certificate.jti, machine.facts.machine_id));
    assert!(rebuilt.opens(&"com.example.synth".parse().unwrap()));

    // The QR codes are those of the answer.
    let answer = &offline::read(&saved.body).unwrap().blocks[0].text;
    assert_eq!(html.matches("<svg").count(), answer_parts(answer).unwrap().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_taken_as_mail_programs_leave_it_and_as_a_phone_brings_it() {
    let server = TestServer::new().await;
    let license = server.license(3).await;
    let machine = Machine::new("quoted");
    let quoted: String = machine.file(&license).lines().map(|l| format!("> {l}\r\n")).collect();
    assert_eq!(server.form(&[("text", None, quoted.as_bytes())], &[]).await.status, 200);
    let machine = Machine::new("phone");
    let request = machine.offline(&license, None);
    let fragment = request_fragment(&request).unwrap();
    let body = format!("want=file&text={fragment}");
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let saved = raw(&server, "POST", "/offline", &kind, body.as_bytes()).await;
    answer_in(&server, &saved.body, &request, &machine);
    assert_eq!(server.seats_used(&license.0).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_frees_the_seat_once() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let machine = Machine::new("studio");
    let request = machine.offline(&license, None);
    let saved = server.fetch("r.clvreq", &write_file(FileKind::Request, &[], &request)).await;
    let certificate = answer_in(&server, &saved.body, &request, &machine);

    // Signed by a key that never spoke for this machine.
    let forger = machine.with_new_key();
    let forged = server.upload("forged.clvreceipt", &forger.receipt_file(&certificate)).await;
    assert_eq!(forged.status, 422);
    assert!(words(&forged).contains("not from the computer that holds the seat"), "{}", words(&forged));
    assert_eq!(server.seats_used(&license.0).await, 1);

    let receipt = machine.receipt_file(&certificate);
    let shown = server.upload("r.clvreceipt", &receipt).await;
    assert!(words(&shown).contains("The seat is free The license can"), "{}", words(&shown));
    assert_eq!(server.seats_used(&license.0).await, 0);
    for _ in 0..2 {
        assert_eq!(server.upload("r.clvreceipt", &receipt).await.status, 200, "twice is harmless");
    }
    let second = server.upload("second.clvreceipt", &machine.receipt_file(&certificate)).await;
    assert!(words(&second).contains("The seat was free already"), "{}", words(&second));
    assert_eq!(server.seats_used(&license.0).await, 0);

    // The request that made the activation cannot bring it back.
    let again = server.upload("r.clvreq", &write_file(FileKind::Request, &[], &request)).await;
    assert_eq!(again.status, 409);
    assert!(words(&again).contains("its activation has ended since"), "{}", words(&again));
    assert_eq!(server.seats_used(&license.0).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_whatever_is_wrong_with_some_of_it() {
    let server = TestServer::new().await;
    let license = server.license(2).await;
    let wrong = (license.0.clone(), UnlockCode::random(&SystemRandom::new()).unwrap());
    let machines: Vec<Machine> = (1..=3).map(|n| Machine::new(&format!("lab-{n}"))).collect();
    let requests: Vec<String> = machines.iter().map(|m| m.offline(&license, None)).collect();
    let stranger = Machine::new("stranger").offline(&wrong, None);
    let mut blocks: Vec<(BlockKind, &str)> =
        requests.iter().map(|r| (BlockKind::Request, r.as_str())).collect();
    blocks.push((BlockKind::Request, &stranger));
    blocks.push((BlockKind::Request, &requests[0]));
    let mut batch = write_collection(FileKind::Batch, &[], blocks);
    // The second one is damaged on the way.
    let at = batch.find(&requests[1][512..570]).unwrap() + 20;
    let letter = if batch.as_bytes()[at] == b'A' { "B" } else { "A" };
    batch.replace_range(at..=at, letter);

    let shown = server.upload("lab.clvbatch", &batch).await;
    assert_eq!(shown.status, 200);
    let text = words(&shown);
    assert!(text.contains("2 of 4 answered"), "{text}");
    for part in ["“ lab-1 ”", "“ lab-3 ”", "“ stranger ”", "did not arrive whole", "unlock code is not right"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(server.seats_used(&license.0).await, 2);

    let html = page(&shown);
    let link = html.split("href=\"offline/bundle/").nth(1).unwrap().split('"').next().unwrap();
    let bundle = raw(&server, "GET", &format!("/offline/bundle/{link}"), &[], b"").await;
    assert!(bundle.head.contains("filename=\"lab.clvbundle\""), "{}", bundle.head);
    let contents = offline::read(&bundle.body).unwrap();
    assert!(contents.damaged.is_empty() && !contents.cut_off);
    assert_eq!(contents.of(BlockKind::Response).count(), 2);
    let refusals: Vec<Refusal> =
        contents.of(BlockKind::Refusal).map(|b| Refusal::from_text(&b.text).unwrap()).collect();
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].req, Sha256::of(stranger.as_bytes()));

    // Full now: the page tells who holds the seats, because the code was proved; the bundle does not.
    let four = Machine::new("lab-4").offline(&license, None);
    let five = Machine::new("lab-5").offline(&license, None);
    let more = [
        (BlockKind::Request, requests[0].as_str()),
        (BlockKind::Request, &four),
        (BlockKind::Request, &five),
    ];
    let more = write_collection(FileKind::Batch, &[], more);
    let text = words(&server.upload("more.clvbatch", &more).await);
    for part in ["1 of 3 answered", "Held by", "“ lab-1 ”", "“ lab-3 ”"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let bundle = server.fetch("more.clvbatch", &more).await.body;
    let contents = offline::read(&bundle).unwrap();
    let refusal = contents.of(BlockKind::Refusal).next().unwrap();
    let refusal = Refusal::from_text(&refusal.text).unwrap().detail.unwrap();
    assert!(!refusal.contains("lab-1") && refusal.contains("--replace-machine"), "{refusal}");
    assert_eq!(server.seats_used(&license.0).await, 2);

    let gone = raw(&server, "GET", "/offline/bundle/0123", &[], b"").await;
    assert_eq!(gone.status, 404);
    assert!(words(&gone).contains("no longer here"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_has_its_own_sentence_and_changes_nothing() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let machine = Machine::new("studio");
    let wrong = (license.0.clone(), UnlockCode::random(&SystemRandom::new()).unwrap());
    let good = machine.offline(&license, None);
    let change = |edit: &dyn Fn(&mut Request)| {
        let mut request = Request::verify(&good, &"com.example".parse().unwrap()).unwrap().0;
        edit(&mut request);
        write_file(FileKind::Request, &[], &sign(&request, &machine.key, KeyInHeader::Carried))
    };
    let mut edited = good.clone();
    let at = edited.find('.').unwrap() + 60;
    let letter = if edited.as_bytes()[at] == b'A' { "B" } else { "A" };
    edited.replace_range(at..=at, letter);
    let file = machine.file(&license);
    let mut damaged = file.clone();
    let at = damaged.find("eyJ").unwrap() + 70;
    let letter = if damaged.as_bytes()[at] == b'A' { "B" } else { "A" };
    damaged.replace_range(at..=at, letter);
    let answer = write_file(FileKind::Response, &[], "a.b.c");
    let cases: Vec<(&str, String, u16, &str)> = vec![
        ("nothing", "hello".into(), 422, "There is no request in it"),
        ("cut", file[..file.len() - 200].into(), 422, "It ends in the middle"),
        ("damaged", damaged, 422, "its checksum does not match"),
        ("edited", write_file(FileKind::Request, &[], &edited), 422, "is not"),
        ("answer", answer, 422, "This is an answer, not a request"),
        ("wrong code", machine.file(&wrong), 403, "The serial number or the unlock code is not right"),
        (
            "unknown serial",
            machine.file(&(Serial::foreign("NOSUCHSERIAL").unwrap(), license.1.clone())),
            403,
            "The serial number or the unlock code is not right",
        ),
        ("expired", change(&|r| r.exp = Some(r.iat.plus(-1))), 422, "The request is too old"),
        ("vendor", change(&|r| r.aud = "com.other".parse().unwrap()), 422, "meant for another vendor"),
        (
            "later version",
            file.replace("REQUEST V1", "REQUEST V2"),
            422,
            "made by a later version of Claviger",
        ),
    ];
    let mut seen = Vec::new();
    for (what, content, status, sentence) in cases {
        let reply = server.upload("x.clvreq", &content).await;
        let text = words(&reply);
        assert_eq!(reply.status, status, "{what}: {text}");
        assert!(text.contains(sentence), "{what}: {text}");
        seen.push(text);
    }
    assert_eq!(
        seen[5].replace(license.0.as_str(), ""),
        seen[6].replace("NOSUCHSERIAL", ""),
        "the two look alike"
    );
    seen.remove(6);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 9, "each has words of its own");
    assert_eq!(server.seats_used(&license.0).await, 0);
    let nothing = server.form(&[("file", Some(""), b""), ("text", None, b" ")], &[]).await;
    assert_eq!(nothing.status, 422);
    assert!(words(&nothing).contains("Nothing was handed in"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_licenses_and_shared_machine_ids_name_the_cure() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    server.activate(&Machine::new("old <b>computer</b>"), &license).await.unwrap();
    let reply = server.upload("x.clvreq", &Machine::new("new").file(&license)).await;
    let text = words(&reply);
    assert_eq!(reply.status, 409);
    for part in
        ["All seats of this license are in use", "old &lt;b&gt;computer&lt;/b&gt;", "--replace-machine NAME"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A request that names the lost computer takes its seat.
    let machine = Machine::new("new");
    let request = machine.offline(&license, Some("old <b>computer</b>"));
    let saved = server.fetch("x.clvreq", &write_file(FileKind::Request, &[], &request)).await;
    answer_in(&server, &saved.body, &request, &machine);
    let unknown = machine.offline(&license, Some("\u{202e}<i>nobody"));
    let reply = server.upload("x.clvreq", &write_file(FileKind::Request, &[], &unknown)).await;
    assert_eq!(reply.status, 200, "the machine holds its seat already");

    let many = server.license(1).await;
    let image = Machine::new("image");
    for _ in 0..8 {
        server.activate(&image.with_new_key(), &many).await.unwrap();
    }
    let reply = server.upload("x.clvreq", &image.with_new_key().file(&many)).await;
    let text = words(&reply);
    assert_eq!(reply.status, 409);
    for part in ["share this machine id", "claviger machine prepare-image"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_locked_down_and_say_nothing_that_others_wrote() {
    let server = TestServer::new().await;
    let license = server.license(5).await;
    for path in
        ["/offline", "/offline/portal.css", "/offline/portal.js", "/offline/icon.svg", "/offline/bundle/x"]
    {
        let reply = raw(&server, "GET", path, &[], b"").await;
        for header in [
            "content-security-policy: default-src 'none';",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-opener-policy: same-origin",
        ] {
            assert!(reply.head.contains(header), "{path} lacks {header}: {}", reply.head);
        }
        assert!(!reply.head.contains("set-cookie"));
    }
    let start = raw(&server, "GET", "/offline", &[], b"").await;
    assert!(start.head.contains("cache-control: no-store"), "{}", start.head);
    let html = page(&start);
    assert!(!html.contains("style=") && !html.contains("onclick") && !html.contains("<script>"), "{html}");
    let style = raw(&server, "GET", "/offline/portal.css", &[], b"").await;
    let tag = style.head.lines().find_map(|l| l.strip_prefix("etag: ")).unwrap().to_owned();
    // The head was made lower case for comparing; the tag is base64url.
    assert!(tag.starts_with('"'));
    let moved = raw(&server, "GET", "/offline/", &[], b"").await;
    assert_eq!(moved.status, 308);

    let hostile = ["<script>alert(1)</script>", "\" onmouseover=\"x", "שלום עולם", "&lt;", &"W".repeat(64)];
    for name in hostile {
        let mut machine = Machine::new(name);
        machine.facts.device_name = DeviceName::lossy(name);
        let reply = server.upload("<img src=x onerror=x>.clvreq", &machine.file(&license)).await;
        let html = page(&reply);
        assert_eq!(reply.status, 200);
        assert!(
            !html.contains("<script>alert") && !html.contains("<img") && !html.contains("\" onmouse"),
            "{html}"
        );
        let escaped =
            name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        assert!(html.contains(&format!("“<bdi>{escaped}</bdi>”")), "{html}");
    }
    // Also where a file of that name is damaged.
    let reply = server
        .form(&[("file", Some("<img src=x onerror=x>.clvreq"), b"x"), ("file", Some("b.clvreq"), b"y")], &[])
        .await;
    assert!(page(&reply).contains("&lt;img src=x onerror=x&gt;.clvreq"), "{}", page(&reply));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_of_other_sites_large_ones_and_broken_ones_are_refused() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let file = Machine::new("x").file(&license);
    let field: Field<'_> = ("file", Some("x.clvreq"), file.as_bytes());
    for headers in [[("sec-fetch-site", "cross-site")], [("origin", "https://evil.example")]] {
        let reply = server.form(&[field], &headers).await;
        assert_eq!(reply.status, 403, "{headers:?}");
        assert!(words(&reply).contains("came from another site"));
    }
    assert_eq!(server.seats_used(&license.0).await, 0);
    let large = raw(
        &server,
        "POST",
        "/offline",
        &[("content-type", "multipart/form-data; boundary=x"), ("expect", "100-continue")],
        &vec![b'x'; 33 * 1024 * 1024],
    )
    .await;
    assert_eq!(large.status, 413);
    for (kind, body) in
        [("application/json", "{}"), ("multipart/form-data; boundary=x", "--x\r\nhello"), ("", "x")]
    {
        let reply = raw(&server, "POST", "/offline", &[("content-type", kind)], body.as_bytes()).await;
        assert_eq!(reply.status, 400, "{kind}");
    }
    let own = [("sec-fetch-site", "same-origin"), ("origin", "null")];
    assert_eq!(server.form(&[field], &own).await.status, 200);
    assert_eq!(server.seats_used(&license.0).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_failed_proofs_are_limited_here_too() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let wrong = (license.0.clone(), UnlockCode::random(&SystemRandom::new()).unwrap());
    let machine = Machine::new("studio");
    let mut last = None;
    for _ in 0..11 {
        last = Some(server.upload("x.clvreq", &machine.file(&wrong)).await);
    }
    let last = last.unwrap();
    assert_eq!(last.status, 429);
    assert!(last.head.contains("retry-after: "));
    assert!(words(&last).contains("Too many wrong codes"));
    assert_eq!(
        server.upload("x.clvreq", &machine.file(&license)).await.status,
        200,
        "a right code is never limited"
    );
}
