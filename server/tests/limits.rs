//! What strangers, broken clients and administrators get told, over a real socket.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod support;

use claviger_protocol::documents::*;
use claviger_protocol::http::{Problem, ProblemCode};
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::UnlockCode;
use claviger_server::admin_keys::{self, Grant};
use ring::rand::SystemRandom;
use serde_json::json;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_failed_proofs_are_limited() {
    let server = TestServer::new().await;
    let license = server.license(3).await;
    let wrong = (license.0.clone(), UnlockCode::random(&SystemRandom::new()).unwrap());
    let unknown = (Serial::foreign("NOSUCHSERIAL").unwrap(), license.1.clone());
    let machine = Machine::new("studio");
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(server.activate(&machine, &wrong).await.unwrap_err());
    }
    assert_eq!(seen[0].code, ProblemCode::ProofRefused);
    assert_eq!(seen[11].code, ProblemCode::RateLimited);
    assert!(seen.iter().all(|p| p.seats.is_none()));
    // An unknown serial number and a wrong code look alike.
    let other = server.activate(&machine, &unknown).await.unwrap_err();
    assert_eq!(other, seen[0]);
    let reply = server.post("/v1/activate", &machine.activate(&wrong, None, vec![], nonce())).await;
    assert_eq!(reply.status, 429);
    assert!(reply.head.contains("retry-after: "));
    // The owner is let in all the same.
    server.activate(&machine, &license).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_get_problems_with_codes() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let machine = Machine::new("studio");
    let get = |path: &'static str| exchange(server.address, "GET", path, &[], b"");
    let post =
        |body: Vec<u8>| async move { exchange(server.address, "POST", "/v1/activate", &[], &body).await };
    let check = |reply: &Reply, status: u16, code: ProblemCode| {
        assert_eq!((reply.status, reply.problem().code, reply.problem().status), (status, code, status));
        assert!(reply.head.contains("content-type: application/problem+json"), "{}", reply.head);
    };
    check(&get("/nothing").await, 404, ProblemCode::NotFound);
    let wrong_method = get("/v1/activate").await;
    check(&wrong_method, 405, ProblemCode::MethodNotAllowed);
    assert!(wrong_method.problem().detail.unwrap().contains("/v1/openapi.json"));
    check(&post(br#" ["a.b.c"]"#.to_vec()).await, 400, ProblemCode::BadRequest);
    for body in
        ["", "{", "[]", r#"{"request":1}"#, r#"{"request":"x","more":1}"#, r#"{"request":"x","request":"x"}"#]
    {
        check(&post(body.as_bytes().to_vec()).await, 400, ProblemCode::BadRequest);
    }
    check(&post(vec![b' '; 1_100_000]).await, 413, ProblemCode::TooLarge);
    // Whoever announces too much is told before it is sent.
    let announced = b"POST /v1/activate HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000000\r\n\r\n{";
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(announced).await.unwrap();
    let mut said = [0; 12];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 413");
    let with = |request: &str| json!({ "request": request }).to_string().into_bytes();
    let reply = post(with("a.b.c")).await;
    check(&reply, 422, ProblemCode::BadDocument);
    assert_eq!(reply.problem().document.as_deref(), Some("not_compact"));
    // A request for something else than the path.
    let order = Order::Deactivate { machine_id: machine.facts.machine_id };
    check(&post(with(&machine.request(order, vec![], nonce()))).await, 400, ProblemCode::BadRequest);
    // Another vendor's, an expired one, a changed one.
    let change = |vendor: &str, exp: Option<i64>| {
        let order = Order::Activate {
            serial: license.0.clone(),
            proof: claviger_protocol::unlock::UnlockProof::sign(
                &machine.key,
                &"com.example".parse().unwrap(),
                &license.0,
                machine.facts.machine_id,
                machine.key.id(),
                nonce(),
            ),
            machine: machine.facts.clone(),
            replace: None,
        };
        let request = Request {
            v: REQUEST_VERSION,
            aud: vendor.parse().unwrap(),
            nonce: nonce(),
            iat: claviger_protocol::clock::Timestamp(NOW),
            exp: exp.map(claviger_protocol::clock::Timestamp),
            keyset: 1,
            receipts: vec![],
            order,
        };
        sign(&request, &machine.key, KeyInHeader::Carried)
    };
    check(&post(with(&change("com.other", None))).await, 422, ProblemCode::WrongVendor);
    check(&post(with(&change("com.example", Some(NOW - 1)))).await, 422, ProblemCode::RequestExpired);
    let mut text = machine.activate(&license, None, vec![], nonce());
    let at = text.find('.').unwrap() + 40;
    let letter = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    text.replace_range(at..=at, letter);
    check(&post(with(&text)).await, 422, ProblemCode::BadDocument);
    assert_eq!(server.seats_used(&license.0).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anyone_may_read_keyset_manifest_health_and_openapi() {
    let server = TestServer::new().await;
    let get = |path: &'static str| exchange(server.address, "GET", path, &[], b"");
    let keyset = get("/v1/keyset").await.json();
    assert_eq!(
        Keyset::verify(keyset["keyset"].as_str().unwrap(), &server.profile.anchor(1)).unwrap(),
        server.keyset
    );
    let manifest = get("/v1/manifest").await.json();
    let manifest = Manifest::verify(manifest["manifest"].as_str().unwrap(), &server.keyset).unwrap();
    assert_eq!((manifest.number, manifest.products[0].id.as_str()), (1, "com.example.synth"));
    assert_eq!(get("/v1/health").await.json()["status"], "ok");
    assert_eq!(get("/v1/openapi.json").await.json()["openapi"].as_str().unwrap().get(..3), Some("3.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_do_what_their_keys_allow() {
    let server = TestServer::new().await;
    let key = |name: &str, grant| {
        let rng = SystemRandom::new();
        admin_keys::add(&server.data, name, &[grant], claviger_protocol::clock::Timestamp(NOW), &rng).unwrap()
    };
    let (all, read) = (key("all", Grant::All), key("read", Grant::Read));
    let call = |method: &'static str, path: String, key: String, body: serde_json::Value| {
        let address = server.address;
        async move {
            let bearer = format!("Bearer {key}");
            let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
            exchange(address, method, &path, &[("authorization", &bearer)], &body).await
        }
    };
    let (all, read) = (all.1.to_string(), read.1.to_string());
    let nobody = exchange(server.address, "GET", "/v1/admin/licenses", &[], b"").await;
    assert_eq!((nobody.status, nobody.problem().code), (401, ProblemCode::Unauthorized));
    assert!(nobody.head.contains("www-authenticate: bearer"), "{}", nobody.head);
    let wrong = call("GET", "/v1/admin/licenses".into(), "clvadm_wrong".into(), json!(null)).await;
    assert_eq!(wrong.status, 401);
    let order = json!({ "product": "synth", "kind": "perpetual", "seats": 2, "order_id": "A-1" });
    let refused = call("POST", "/v1/admin/licenses".into(), read.clone(), order.clone()).await;
    assert_eq!((refused.status, refused.problem().code), (403, ProblemCode::Forbidden));
    let issued = call("POST", "/v1/admin/licenses".into(), all.clone(), order.clone()).await;
    assert_eq!(issued.status, 201, "{}", String::from_utf8_lossy(&issued.body));
    let serial = issued.json()["licenses"][0]["serial"].as_str().unwrap().to_owned();
    let code = issued.json()["licenses"][0]["unlock_code"].as_str().unwrap().to_owned();
    let again = call("POST", "/v1/admin/licenses".into(), all.clone(), order).await.json();
    assert_eq!((&again["issued_before"], &again["licenses"][0]["serial"]), (&json!(true), &json!(serial)));
    let other = json!({ "product": "synth", "kind": "perpetual", "seats": 9, "order_id": "A-1" });
    assert_eq!(call("POST", "/v1/admin/licenses".into(), all.clone(), other).await.status, 409);
    let strange = json!({ "product": "synth", "kind": "perpetual", "colour": "red" });
    assert_eq!(call("POST", "/v1/admin/licenses".into(), all.clone(), strange).await.status, 400);

    let parsed = Serial::parse(&serial, &server.profile.prefix).unwrap();
    let license = (parsed.clone(), UnlockCode::parse(&code, &parsed).unwrap());
    let machine = Machine::new("studio");
    let certificate = server.activate(&machine, &license).await.unwrap();
    let shown = call("GET", format!("/v1/admin/licenses/{serial}"), read.clone(), json!(null)).await.json();
    assert_eq!(shown["seats_used"], 1);
    assert_eq!(shown["activations"][0]["device_name"], "studio");
    let path = format!("/v1/admin/activations/{}/release", certificate.jti);
    assert_eq!(call("POST", path.clone(), all.clone(), json!(null)).await.json()["released"], 1);
    assert_eq!(call("POST", path, all.clone(), json!(null)).await.status, 404);
    let suspended =
        call("POST", format!("/v1/admin/licenses/{serial}/suspend"), all.clone(), json!(null)).await;
    assert_eq!(suspended.json()["state"], "suspended");
    call("POST", format!("/v1/admin/licenses/{serial}/resume"), all.clone(), json!(null)).await;
    let moved = call("POST", format!("/v1/admin/licenses/{serial}/transfer"), all.clone(), json!(null)).await;
    assert_ne!(moved.json()["unlock_code"].as_str().unwrap(), code);

    let elsewhere = json!({ "id": "org.else.synth", "name": "S" });
    let refused = call("POST", "/v1/admin/products".into(), all.clone(), elsewhere).await;
    assert_eq!(refused.status, 400);
    assert!(refused.problem().detail.unwrap().contains("com.example.synth"));
    let detail = call("POST", "/v1/admin/products".into(), read.clone(), json!(null)).await.problem().detail;
    assert!(detail.unwrap().contains("“all”"));

    let terms = json!({ "product": "synth" });
    let rows = json!([{ "serial": "SHOP-0001" }, { "serial": "shop 0001" }, { "serial": "x" }, { "serial": serial }]);
    let import = json!({ "terms": terms, "rows": rows });
    let bad = call("POST", "/v1/admin/licenses/import".into(), all.clone(), import).await;
    let lines: Vec<u64> =
        bad.json()["errors"].as_array().unwrap().iter().map(|e| e["line"].as_u64().unwrap()).collect();
    assert_eq!((bad.status, lines), (422, vec![2, 3, 4]));
    let import = json!({ "terms": terms, "rows": [{ "serial": "SHOP-0001" }] });
    assert_eq!(
        call("POST", "/v1/admin/licenses/import".into(), all.clone(), import).await.json()["imported"],
        1
    );
    let list = call("GET", "/v1/admin/licenses?limit=1".into(), read.clone(), json!(null)).await.json();
    assert_eq!(list["licenses"].as_array().unwrap().len(), 1);
    let next = list["next"].as_i64().unwrap();
    let list =
        call("GET", format!("/v1/admin/licenses?after={next}"), read.clone(), json!(null)).await.json();
    assert_eq!(list["licenses"][0]["serial"], "SHOP0001");
    for limit in ["x", "0", "1001", "-1", "4294967296"] {
        let path = format!("/v1/admin/licenses?limit={limit}");
        assert_eq!(call("GET", path, read.clone(), json!(null)).await.status, 400, "{limit}");
    }
    assert_eq!(call("GET", "/v1/admin/activations?limit=0".into(), read, json!(null)).await.status, 400);

    let garbled = call("POST", "/v1/admin/licenses/%FF/suspend".into(), all.clone(), json!(null)).await;
    assert_eq!((garbled.status, garbled.problem().code), (400, ProblemCode::BadRequest));
    assert!(garbled.head.contains("application/problem+json"), "{}", garbled.head);
    // Lists of values are no objects, at whatever depth; and no answer tells how our structures are called.
    let rows = json!([{ "serial": "SHOP-0002" }]);
    for (path, body) in [
        ("licenses", json!([])),
        ("licenses", json!(["synth"])),
        ("products", json!(["com.example.fx", "Fx", []])),
        ("licenses/import", json!({ "terms": [], "rows": rows })),
        ("licenses/import", json!({ "terms": terms, "rows": [["SHOP-0002", null, null]] })),
    ] {
        let refused = call("POST", format!("/v1/admin/{path}"), all.clone(), body).await;
        assert_eq!(refused.status, 400, "{path}");
        let detail = refused.problem().detail.unwrap();
        assert!(!detail.contains("struct"), "{detail}");
    }
    let control = json!({ "id": "com.example.fx", "name": "F\u{0}x" });
    let detail = call("POST", "/v1/admin/products".into(), all, control).await.problem().detail.unwrap();
    assert!(detail.contains("control characters"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_in_no_table() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    server.activate(&Machine::new("studio"), &license).await.unwrap();
    let data = server.data.clone();
    let (_folder, _clock) = server.stop().await;
    let database = std::fs::read(data.database()).unwrap();
    assert!(!database.windows(9).any(|w| w == b"127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_many_requests_and_half_ones_do_no_harm() {
    let server = TestServer::new().await;
    let mut half = Vec::new();
    for _ in 0..50 {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"POST /v1/activate HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n").await.unwrap();
        half.push(stream);
    }
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
    }
    drop(stream);
    drop(half);
    let reply = exchange(server.address, "GET", "/v1/none", &[], b"").await;
    let problem: Problem = reply.problem();
    assert_eq!(problem.kind, "urn:claviger:problem:not_found");
}
