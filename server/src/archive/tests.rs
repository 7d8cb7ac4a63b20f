//! Backup and restore with real files.

use super::*;
use crate::keys::test_support::{Place, place, words};
use claviger_protocol::clock::SystemClock;
use ring::rand::SystemRandom;

async fn server() -> Place {
    let place = place();
    let vendor = "com.example".parse().unwrap();
    crate::storage::create(&place.data, &vendor).await.unwrap();
    std::fs::create_dir(place.data.security_log()).unwrap();
    std::fs::write(place.data.security_log().join("2026-11-22.jsonl"), "203.0.113.77").unwrap();
    std::fs::copy(&place.root, place.data.path().join("root.clvroot")).unwrap();
    place
}

async fn backed_up(place: &Place, name: &str, passphrase: Option<&str>) -> (PathBuf, Summary) {
    let path = place.data.path().with_file_name(name);
    let passphrase = passphrase.map(words);
    let made =
        backup(&place.data, &path, passphrase.as_ref(), &SystemClock, &SystemRandom::new()).await.unwrap();
    (path, made)
}

fn fresh(place: &Place, name: &str) -> DataDir {
    DataDir::new(place.data.path().with_file_name(name))
}

#[tokio::test]
async fn a_restored_server_is_the_same_with_a_higher_epoch_each_time() {
    let place = server().await;
    let (path, made) = backed_up(&place, "one.clvbackup", None).await;
    let names: Vec<&str> = made.files.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"claviger.db") && names.contains(&"keyset.jws"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("security") || name.contains("root")), "{names:?}");
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(12).any(|part| part == b"203.0.113.77"));
    assert!(crate::platform::has_mode(&path, 0o600));
    let mut last = 1;
    for name in ["a", "b", "c"] {
        let data = fresh(&place, name);
        let restored = restore(&path, &data, None, &SystemClock).await.unwrap();
        assert!(restored.epoch > last, "{} after {last}", restored.epoch);
        last = restored.epoch;
        let meta = crate::storage::open(&data).await.unwrap().meta().await.unwrap();
        assert_eq!(meta.epoch, restored.epoch);
        let (old, new) = (Issuer::load(&place.data).unwrap(), Issuer::load(&data).unwrap());
        assert_eq!(old.signing_key().id(), new.signing_key().id());
        assert!(!data.path().join(".restoring").exists());
        assert!(matches!(restore(&path, &data, None, &SystemClock).await, Err(ArchiveError::NotEmpty(_))));
    }
    let again = backup(&place.data, &path, None, &SystemClock, &SystemRandom::new()).await;
    assert!(matches!(again, Err(ArchiveError::Exists(_))));
    assert!(!place.data.path().join(".backup").exists());
}

#[tokio::test]
async fn plans_keys_notices_and_counters_come_along_and_who_takes_part_does_not() {
    let place = server().await;
    let inside = |name: &str| place.data.path().join(name);
    for folder in ["telemetry/keys", "telemetry/plans", "notices"] {
        std::fs::create_dir_all(inside(folder)).unwrap();
    }
    drop(crate::telemetry::store::CounterStore::open(&place.data.telemetry()).await.unwrap());
    let kept = [
        "telemetry/keys/2026-W49.key",
        "telemetry/plans/2026-Q4.jws",
        "telemetry/releases.json",
        "notices/notice-1.jws",
        "notices/notice-2.withdrawn",
    ];
    let left = [
        "telemetry/issued.db",
        "telemetry/spent-2026-W49.db",
        "telemetry/keys/2026-W99.key",
        "telemetry/keys/notes.txt",
        "telemetry/plans/.2026-Q4.jws.7.new",
        "notices/notice-x.jws",
    ];
    for name in kept.iter().chain(&left) {
        std::fs::write(inside(name), name).unwrap();
    }
    let (path, made) = backed_up(&place, "statistics.clvbackup", None).await;
    let names: Vec<&str> = made.files.iter().map(|(name, _)| name.as_str()).collect();
    assert!(kept.iter().chain([&"telemetry/counters.db"]).all(|name| names.contains(name)), "{names:?}");
    assert!(!left.iter().any(|name| names.contains(name)), "{names:?}");
    let data = fresh(&place, "restored");
    restore(&path, &data, None, &SystemClock).await.unwrap();
    for name in kept {
        assert_eq!(std::fs::read_to_string(data.path().join(name)).unwrap(), name);
    }
    crate::telemetry::store::CounterStore::open(&data.telemetry()).await.unwrap();
}

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
}

#[tokio::test]
async fn a_wrong_clock_still_raises_the_epoch() {
    let place = server().await;
    let (path, _) = backed_up(&place, "one.clvbackup", None).await;
    let first = fresh(&place, "a");
    assert_eq!(restore(&path, &first, None, &Stopped).await.unwrap().epoch, 2);
}

#[tokio::test]
async fn a_sealed_backup_opens_with_its_passphrase_only() {
    let place = server().await;
    let (path, made) = backed_up(&place, "one.clvbackup", Some("pass")).await;
    assert!(made.sealed && header(&path).unwrap().sealed.is_some());
    let kid = Issuer::load(&place.data).unwrap().signing_key().id().to_string();
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(kid.len()).any(|part| part == kid.as_bytes()));
    let data = fresh(&place, "a");
    let wrong = restore(&path, &data, Some(&words("wrong")), &SystemClock).await;
    assert!(matches!(wrong, Err(ArchiveError::WrongPassphrase)));
    assert!(matches!(restore(&path, &data, None, &SystemClock).await, Err(ArchiveError::PassphraseNeeded)));
    assert!(!data.path().exists(), "nothing was made");
    restore(&path, &data, Some(&words("pass")), &SystemClock).await.unwrap();
}

#[tokio::test]
async fn a_damaged_backup_is_refused_whole() {
    let place = server().await;
    let (path, _) = backed_up(&place, "one.clvbackup", None).await;
    let good = std::fs::read(&path).unwrap();
    let data = fresh(&place, "a");
    for at in (0..good.len()).step_by(good.len() / 20) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&path, &bad).unwrap();
        assert!(restore(&path, &data, None, &SystemClock).await.is_err(), "byte {at}");
        std::fs::write(&path, &good[..at]).unwrap();
        assert!(restore(&path, &data, None, &SystemClock).await.is_err(), "cut at {at}");
    }
    assert!(!data.path().exists(), "nothing was made");
}

#[tokio::test]
async fn forged_names_lead_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let vendor = "com.example".parse().unwrap();
    let rng = SystemRandom::new();
    for name in ["../escaped", "/etc/passwd", "keys/../x.key", "root-active.clvroot", "claviger.db-wal", ""] {
        let mut writer = container::Writer::new(Vec::new(), &vendor, Timestamp(1), None, &rng).unwrap();
        writer.add(name, 1, &b"x"[..]).unwrap();
        let path = dir.path().join("forged");
        std::fs::write(&path, writer.finish().unwrap()).unwrap();
        assert!(matches!(inspect(&path, None), Err(ArchiveError::Stranger(_))), "{name}");
    }
}

#[tokio::test]
async fn an_interrupted_restore_can_be_repeated() {
    let place = server().await;
    let (path, _) = backed_up(&place, "one.clvbackup", None).await;
    let data = fresh(&place, "a");
    // As it is after a stop in the middle of moving files: the staging folder is there, the profile is not.
    std::fs::create_dir_all(data.path().join(".restoring/keys")).unwrap();
    std::fs::write(data.path().join(".restoring/vendor.clvprofile"), "x").unwrap();
    std::fs::write(data.database(), "half").unwrap();
    restore(&path, &data, None, &SystemClock).await.unwrap();
    assert!(Issuer::load(&data).is_ok());
}
