//! Files that someone has damaged, forged or put in the way: never licensed, never a panic, never a wait.

mod common;

use std::time::{Duration, Instant};

use claviger_client::protocol::documents::{KeyInHeader, sign};
use claviger_client::protocol::ids::ActivationId;
use claviger_client::protocol::keys::SigningKey;
use claviger_client::{OpenOptions, Status};
use common::{SYNTH, World};
use ring::hmac;

const NAME: &str = "07070707070707070707070707070707.cert";

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(n >> (18 - 6 * i) & 63) as usize]));
        }
    }
    out
}

/// A token with this header and payload, signed by the vendor's own key.
fn token(world: &World, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", base64(header.as_bytes()), base64(payload.as_bytes()));
    let signature = world.issuing.sign(signed.as_bytes());
    format!("{signed}.{}", base64(&signature))
}

#[test]
fn hostile_documents_have_codes_of_their_own() {
    let world = World::new();
    let kid = world.issuing.id().as_str().to_owned();
    let claims = serde_json::to_string(&world.certificate()).unwrap();
    let typ = "claviger-activation+jws";
    let header =
        |alg: &str, typ: &str, kid: &str| format!(r#"{{"alg":"{alg}","typ":"{typ}","kid":"{kid}"}}"#);
    let good = token(&world, &header("EdDSA", typ, &kid), &claims);
    world.place(SYNTH, NAME, &good);
    assert_eq!(world.says(), (Status::Licensed, "licensed"));

    let hs256 = {
        let signed =
            format!("{}.{}", base64(header("HS256", typ, &kid).as_bytes()), base64(claims.as_bytes()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &world.issuing.public().0);
        format!("{signed}.{}", base64(hmac::sign(&key, signed.as_bytes()).as_ref()))
    };
    let mut other_product = world.certificate();
    other_product.product = "com.example.other".parse().unwrap();
    other_product.opens = vec![];
    let mut other_vendor = world.certificate();
    other_vendor.iss = "org.evil".parse().unwrap();
    let stranger = SigningKey::from_seed(&[66; 32]);
    let mut never = world.certificate();
    never.exp = Some(claviger_client::protocol::clock::Timestamp(1));
    let cases: Vec<(&str, String, Status)> = vec![
        ("wrong_alg", token(&world, &header("none", typ, &kid), &claims), Status::Untrusted),
        (
            "wrong_alg",
            format!("{}.{}.", base64(header("none", typ, &kid).as_bytes()), base64(claims.as_bytes())),
            Status::Untrusted,
        ),
        ("wrong_alg", hs256, Status::Untrusted),
        ("wrong_alg", token(&world, &header("RS256", typ, &kid), &claims), Status::Untrusted),
        (
            "wrong_typ",
            token(&world, &header("EdDSA", "claviger-keyset+jws", &kid), &claims),
            Status::Untrusted,
        ),
        ("no_kid", token(&world, &header("EdDSA", typ, ""), &claims), Status::Untrusted),
        ("unknown_kid", sign(&world.certificate(), &stranger, KeyInHeader::Named), Status::Untrusted),
        ("unknown_kid", sign(&world.certificate(), &stranger, KeyInHeader::Carried), Status::Untrusted),
        ("unknown_kid", sign(&world.certificate(), &world.root, KeyInHeader::Named), Status::Untrusted),
        (
            "bad_signature",
            token(&world, &header("EdDSA", typ, &kid), &claims)
                .replace('.', "..")
                .replacen("..", ".", 1)
                .replacen("..", ".", 1)
                .chars()
                .rev()
                .skip(4)
                .collect::<String>()
                .chars()
                .rev()
                .collect::<String>()
                + "AAAA",
            Status::Damaged,
        ),
        (
            "unknown_crit",
            token(
                &world,
                &format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}","crit":["x"],"x":1}}"#),
                &claims,
            ),
            Status::Untrusted,
        ),
        (
            "duplicate_name",
            token(&world, &header("EdDSA", typ, &kid), &claims.replacen('{', r#"{"rev":9,"#, 1)),
            Status::Untrusted,
        ),
        ("wrong_vendor", world.signed(&other_vendor), Status::Untrusted),
        ("wrong_product", world.signed(&other_product), Status::NotActivated),
        ("bad_claim", world.signed(&never), Status::Untrusted),
        ("not_compact", format!("{good}.x"), Status::Damaged),
        ("too_large", "x".repeat(70_000), Status::Damaged),
        ("not_compact", String::new(), Status::Damaged),
    ];
    for (code, text, status) in cases {
        world.place(SYNTH, NAME, &text);
        assert_eq!(world.says(), (status, code), "{}", &text[..text.len().min(60)]);
    }
}

#[test]
fn no_flipped_bit_and_no_truncation_licenses() {
    let world = World::new();
    let good = world.signed(&world.certificate());
    let path = world.folder(SYNTH).join(NAME);
    // One library copy, whose keyset was verified, opened under as many dates as there are trials: each reads again.
    let vendor = world.fresh();
    let mut day = 0u32;
    let mut licensed = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        day += 1;
        let date = format!("{:04}-{:02}-{:02}", 1000 + day / 300, 1 + day / 25 % 12, 1 + day % 25);
        let options = OpenOptions::new().released(date.parse().unwrap());
        vendor.open(SYNTH, options).unwrap().status().is_licensed()
    };
    assert!(licensed(good.as_bytes()));
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1 << (at % 8);
        assert!(!licensed(&bytes), "bit {} of byte {at}", at % 8);
        assert!(!licensed(&good.as_bytes()[..at]), "cut to {at}");
    }
}

#[test]
fn a_damaged_keyset_trusts_no_stranger_and_takes_nothing_away() {
    let world = World::new();
    let stranger = SigningKey::from_seed(&[66; 32]);
    let status = claviger_client::protocol::documents::KeyStatus::Active;
    let keyset = world.keyset(6, &[(&stranger, status), (&world.issuing, status)]);
    world.install(&world.certificate());
    for at in (0..keyset.len()).step_by(3) {
        let mut bytes = keyset.clone().into_bytes();
        bytes[at] ^= 1 << (at % 7);
        world.vendor_file("keyset.jws", &bytes);
        assert_eq!(world.open().status(), Status::Licensed, "byte {at}");
        world.vendor_file("keyset.jws", &keyset.as_bytes()[..at]);
        assert_eq!(world.open().status(), Status::Licensed, "cut to {at}");
    }
    let forged = sign(&world.certificate(), &stranger, KeyInHeader::Named);
    world.place(SYNTH, NAME, forged);
    let mut bytes = keyset.into_bytes();
    let last = bytes.len() - 3;
    bytes[last] ^= 2;
    world.vendor_file("keyset.jws", bytes);
    assert_eq!(world.says(), (Status::Untrusted, "unknown_kid"));
}

#[test]
fn what_is_not_a_file_is_not_waited_for() {
    let world = World::new();
    let folder = world.folder(SYNTH);
    let begun = Instant::now();
    let path = folder.join(NAME);
    let put: [(&str, &dyn Fn()); 4] = [
        ("folder", &|| std::fs::create_dir(&path).unwrap()),
        ("pipe", &|| {
            let pipe = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &path, pipe, rustix::fs::Mode::from_raw_mode(0o644), 0)
                .unwrap();
        }),
        ("loop", &|| std::os::unix::fs::symlink(NAME, &path).unwrap()),
        ("endless", &|| std::os::unix::fs::symlink("/dev/zero", &path).unwrap()),
    ];
    for (what, make) in put {
        make();
        assert_eq!(world.says(), (Status::Damaged, "not_a_file"), "{what}");
        if path.symlink_metadata().unwrap().is_dir() {
            std::fs::remove_dir(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
    }
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(world.says(), (Status::Damaged, "too_large"));
    // A pipe in place of the keyset, too.
    std::fs::write(&path, world.signed(&world.certificate())).unwrap();
    let keyset = world.certs().join("com.example/keyset.jws");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &keyset,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    assert_eq!(world.open().status(), Status::Licensed);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_store_that_leads_nowhere_is_unreachable() {
    let world = World::new();
    world.folder(SYNTH);
    let products = world.certs().join("com.example/products");
    std::fs::remove_dir_all(&products).unwrap();
    std::os::unix::fs::symlink("products", &products).unwrap();
    assert_eq!(world.open().status(), Status::StateUnreachable);
    std::fs::remove_file(&products).unwrap();
    std::fs::write(&products, "").unwrap();
    assert_eq!(world.open().status(), Status::StateUnreachable);
}

#[test]
fn ten_thousand_entries_are_bounded() {
    let world = World::new();
    let folder = world.folder(SYNTH);
    for n in 0..10_000u32 {
        let mut id = [0xee; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let ending = ["cert", "receipt", "ended", "tmp"][n as usize % 4];
        std::fs::write(folder.join(format!("{}.{ending}", ActivationId(id))), "x").unwrap();
    }
    let begun = Instant::now();
    assert!(!world.open().status().is_licensed());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn nothing_starts_a_thread_or_keeps_a_file() {
    let world = World::new();
    world.install(&world.certificate());
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let mine = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .filter(|name| name.starts_with("nothing_starts"))
            .count()
    };
    let before = mine();
    let _ = count("fd");
    for _ in 0..50 {
        assert_eq!(world.open().status(), Status::Licensed);
    }
    // A thread inherits its starter's name; the other tests have theirs.
    assert_eq!(mine(), before);
}
