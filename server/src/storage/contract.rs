//! What every store must do, whatever database is behind it. SQLite runs these tests below; PostgreSQL will run the
//! same ones.

use std::sync::Arc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{Cpu, EndReason, LicenseKind, MachineFacts, OsInfo};
use claviger_protocol::ids::{ActivationId, DeviceName, MachineId, Nonce};
use claviger_protocol::keys::{PublicKey, Sha256, SigningKey};
use claviger_protocol::serial::Serial;

use super::admin::{
    ActivationFilter, Issued, LicenseChange, LicenseFilter, NewLicense, NewOrder, Product, Terms,
};
use super::{Store, StoreError};
use crate::engine::model::{Activation, Ended, Event, LicenseState, Replacement};
use crate::engine::{
    Activate, AnswerClaims, Answered, Claimed, Command, Context, Decision, MOST_EVENTS, Order, Refusal,
    Touched, decide,
};

const NOW: Timestamp = Timestamp(1_795_435_200);

/// A store, and what must live as long as it does.
type Made = (Arc<dyn Store>, Box<dyn std::any::Any>);

async fn sqlite() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claviger.db");
    super::sqlite::SqliteStore::create(&path, &"com.example".parse().unwrap()).await.unwrap();
    (Arc::new(super::sqlite::SqliteStore::open(&path).await.unwrap()), Box::new(folder))
}

/// One test a line, for each database.
macro_rules! contract {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $name() {
                let (store, _alive) = super::sqlite().await;
                super::$name(store.as_ref()).await;
            })*
        }
    };
}

contract! {
    products_and_bundles
    issuing_is_all_or_nothing_and_idempotent_by_order
    a_batch_is_read_back_as_it_was_written
    a_failed_batch_changes_nothing
    requests_in_one_batch_see_each_other
    changes_reach_activations
    lists_and_filters
    unlock_keys_come_in_the_order_of_their_serials
    what_a_device_key_made_is_found_again
    the_past_is_the_present_owner_s_and_bounded
}

fn serial(n: u32) -> Serial {
    Serial::foreign(&format!("SERIAL{n:06}")).unwrap()
}

fn key(n: u8) -> PublicKey {
    SigningKey::from_seed(&[n; 32]).public()
}

fn terms(product: &str) -> Terms {
    Terms {
        product: product.parse().unwrap(),
        kind: LicenseKind::Perpetual,
        seats: 1,
        updates_until: Some("2027-01-31".parse().unwrap()),
        paid_through: None,
        grace_days: 14,
        trial_days: None,
        entitlements: vec!["pro \"quoted\"".into()],
        replacement_budget: 6,
    }
}

fn new_license(n: u32) -> NewLicense {
    NewLicense { serial: serial(n), unlock_key: key(1), terms: terms("com.example.synth"), order_id: None }
}

async fn product(store: &dyn Store, id: &str, contains: &[&str]) -> Result<(), StoreError> {
    let contains = contains.iter().map(|c| c.parse().unwrap()).collect();
    store.add_product(Product { id: id.parse().unwrap(), name: id.to_uppercase(), contains }, NOW).await
}

async fn with_licenses(store: &dyn Store, count: u32) {
    product(store, "com.example.synth", &[]).await.unwrap();
    store.issue(None, (0..count).map(new_license).collect(), NOW).await.unwrap();
}

/// What people and machines call themselves.
const STRANGE: &str = "a\"\\ä😀'b; --";

fn machine(n: u8) -> MachineFacts {
    MachineFacts {
        device_name: DeviceName::lossy(&format!("{STRANGE} {n}")),
        os: OsInfo { family: "linux".into(), version: "Debian 12".into(), arch: "x86_64".into() },
        cpu: Cpu { model: STRANGE.into(), logical_cores: 8 },
        ram_gib: 32,
        machine_id: MachineId([n; 16]),
    }
}

fn activate(n: u8, license: u32) -> Command {
    Command {
        device: key(n).id(),
        nonce: Nonce([n; 16]),
        hash: Sha256::of(&[n]),
        machine_id: MachineId([n; 16]),
        wants_keyset: false,
        kid: key(99).id(),
        receipts: vec![],
        reissue: vec![],
        order: Order::Activate(Box::new(Activate {
            serial: serial(license),
            proved_by: key(1),
            machine: machine(n),
            replace: None,
            fresh_id: ActivationId([n; 16]),
        })),
    }
}

async fn run(store: &dyn Store, commands: Vec<Command>) -> Vec<Decision> {
    let mut touched = Touched::default();
    commands.iter().for_each(|c| touched.add(c, NOW));
    let (told, decisions) = tokio::sync::oneshot::channel();
    let vendor = "com.example".parse().unwrap();
    let work = move |world: &mut crate::engine::World| {
        let context = Context { vendor: &vendor, now: NOW };
        let all: Vec<_> = commands.iter().map(|c| decide(world, c, &context)).collect();
        assert!(told.send(all).is_ok());
    };
    store.batch(touched, Box::new(work)).await.unwrap();
    decisions.await.unwrap()
}

async fn products_and_bundles(store: &dyn Store) {
    product(store, "com.example.synth", &[]).await.unwrap();
    product(store, "com.example.organ", &[]).await.unwrap();
    product(store, "com.example.all", &["com.example.synth", "com.example.organ"]).await.unwrap();
    let again = product(store, "com.example.synth", &[]).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
    let nested = product(store, "com.example.more", &["com.example.all"]).await;
    assert!(matches!(nested, Err(StoreError::Invalid(_))));
    let unknown = product(store, "com.example.more", &["com.example.flute"]).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
    let all = store.products().await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].contains.len(), 2);
    assert_eq!(all[0].contains[0].as_str(), "com.example.synth");
    assert_eq!(store.meta().await.unwrap().catalogue, 3);
}

async fn issuing_is_all_or_nothing_and_idempotent_by_order(store: &dyn Store) {
    with_licenses(store, 3).await;
    let clash = store.issue(None, vec![new_license(7), new_license(2)], NOW).await;
    assert!(matches!(clash, Err(StoreError::Conflict(_))));
    assert!(store.license(serial(7)).await.unwrap().is_none());
    let strange = NewLicense { terms: terms("com.example.flute"), ..new_license(8) };
    assert!(matches!(store.issue(None, vec![strange], NOW).await, Err(StoreError::NotFound(_))));

    let order = |text: &str| Some(NewOrder { id: "A-1".into(), content: Sha256::of(text.as_bytes()) });
    let licenses = |from: u32| {
        (from..from + 2).map(|n| NewLicense { order_id: Some("A-1".into()), ..new_license(n) }).collect()
    };
    assert_eq!(store.issue(order("x"), licenses(10), NOW).await.unwrap(), Issued::Now);
    let before = store.issue(order("x"), licenses(20), NOW).await.unwrap();
    assert_eq!(before, Issued::Before(vec![serial(10), serial(11)]));
    let other = store.issue(order("y"), licenses(20), NOW).await;
    assert!(matches!(other, Err(StoreError::Conflict(_))));
    assert_eq!(
        store.existing(vec![serial(20), serial(11), serial(1)]).await.unwrap(),
        [serial(11), serial(1)]
    );
}

/// What the answers that are kept made.
const MADE: [Option<ActivationId>; 3] = [None, Some(ActivationId([1; 16])), Some(ActivationId([2; 16]))];

fn nonce_of(activation: Option<ActivationId>) -> Nonce {
    Nonce(activation.map_or([0; 16], |id| id.0))
}

fn answer_of(activation: Option<ActivationId>) -> Answered {
    let claims = AnswerClaims {
        kid: key(99).id(),
        iat: NOW,
        epoch: 3,
        keyset: false,
        outcome: Claimed::Freed { machine_id: MachineId([1; 16]), device_name: DeviceName::lossy(STRANGE) },
        receipts: vec![],
        reissued: vec![],
    };
    Answered { hash: Sha256::of(STRANGE.as_bytes()), claims, activation, ended: false, new: true }
}

async fn a_batch_is_read_back_as_it_was_written(store: &dyn Store) {
    with_licenses(store, 1).await;
    let touched = || {
        let mut touched = Touched { replacements_since: Some(Timestamp(0)), ..Touched::default() };
        touched.serials.insert(serial(0));
        touched.activations.insert(ActivationId([2; 16]));
        touched.machines.insert(MachineId([1; 16]));
        for activation in MADE {
            touched.requests.insert((key(5).id(), nonce_of(activation)));
        }
        touched
    };
    store
        .batch(
            touched(),
            Box::new(|world| {
                let license = world.license_of(&serial(0)).unwrap();
                assert_eq!(world.entry(license).unwrap().license.entitlements, ["pro \"quoted\""]);
                for n in 1..=2 {
                    let ended =
                        Ended { at: NOW, reason: EndReason::Replaced, by: Some(DeviceName::lossy(STRANGE)) };
                    world.add_activation(Activation {
                        id: ActivationId([n; 16]),
                        license,
                        machine: machine(n),
                        rev: u32::from(n),
                        terms: i64::MIN,
                        created: NOW,
                        last_seen: NOW,
                        adopted: n == 1,
                        ended: (n == 2).then_some(ended),
                    });
                }
                world.see_device(MachineId([1; 16]), &key(5).id(), NOW);
                world.set_replacement(Replacement {
                    license,
                    activation: ActivationId([2; 16]),
                    at: NOW,
                    receipted: true,
                });
                let event = Event { license, activation: None, at: NOW, what: "adopted", detail: None };
                world.note(event);
                let detail = Some(STRANGE.to_owned());
                let activation = Some(ActivationId([1; 16]));
                world.note(Event { license, activation, at: NOW, what: "renamed", detail });
                for activation in MADE {
                    world.keep_answer(key(5).id(), nonce_of(activation), answer_of(activation));
                }
            }),
        )
        .await
        .unwrap();
    store
        .batch(
            touched(),
            Box::new(|world| {
                let license = world.license_of(&serial(0)).unwrap();
                let entry = world.entry(license).unwrap();
                assert!(matches!(entry.replacements[..], [Replacement { receipted: true, at: NOW, .. }]));
                assert_eq!(entry.live().count(), 1);
                let (live, over) =
                    (&entry.activations[&ActivationId([1; 16])], &entry.activations[&ActivationId([2; 16])]);
                assert_eq!(
                    (live.rev, live.terms, live.adopted, &live.machine),
                    (1, i64::MIN, true, &machine(1))
                );
                assert_eq!(over.ended.as_ref().unwrap().by.as_ref().unwrap().as_str(), STRANGE);
                assert!(world.knows_device(MachineId([1; 16]), &key(5).id()));
                for activation in MADE {
                    let found = world.answered(&key(5).id(), nonce_of(activation)).unwrap();
                    let kept = answer_of(activation);
                    assert_eq!(
                        (&found.hash, &found.claims, found.activation),
                        (&kept.hash, &kept.claims, activation)
                    );
                    assert_eq!(found.ended, activation == Some(ActivationId([2; 16])));
                }
            }),
        )
        .await
        .unwrap();
    let history = store.history(serial(0)).await.unwrap();
    assert!(history.iter().any(|h| h.what == "adopted" && h.activation.is_none() && h.detail.is_none()));
    let renamed = history.iter().find(|h| h.what == "renamed").unwrap();
    assert_eq!((renamed.activation, renamed.detail.as_deref()), (Some(ActivationId([1; 16])), Some(STRANGE)));
}

async fn a_failed_batch_changes_nothing(store: &dyn Store) {
    with_licenses(store, 1).await;
    let mut touched = Touched::default();
    touched.serials.insert(serial(0));
    // The second activation names a license that does not exist: the database refuses it, and with it the first.
    let failed = store
        .batch(
            touched,
            Box::new(|world| {
                let mut ghost = world.entry(world.license_of(&serial(0)).unwrap()).unwrap().license.clone();
                let real = ghost.id;
                ghost.id = crate::engine::model::LicenseId(4711);
                ghost.serial = serial(4711);
                world.put_license(ghost);
                for (n, license) in [(1, real), (2, crate::engine::model::LicenseId(4711))] {
                    world.add_activation(Activation {
                        id: ActivationId([n; 16]),
                        license,
                        machine: machine(n),
                        rev: 1,
                        terms: 0,
                        created: NOW,
                        last_seen: NOW,
                        adopted: false,
                        ended: None,
                    });
                }
            }),
        )
        .await;
    assert!(failed.is_err());
    assert_eq!(store.license(serial(0)).await.unwrap().unwrap().seats_used, 0);
    assert!(matches!(run(store, vec![activate(1, 0)]).await[0], Decision::Answer(_)));
}

async fn requests_in_one_batch_see_each_other(store: &dyn Store) {
    with_licenses(store, 1).await;
    let decisions = run(store, vec![activate(1, 0), activate(2, 0), activate(1, 0)]).await;
    let [Decision::Answer(first), Decision::Refused(second), Decision::Answer(again)] = &decisions[..] else {
        panic!("{decisions:?}");
    };
    assert!(matches!(second, Refusal::SeatsTaken { total: 1, .. }));
    assert_eq!(first, again);
    // And the next batch sees them all; a refusal left nothing behind.
    let decisions = run(store, vec![activate(1, 0), activate(2, 0)]).await;
    assert!(matches!(&decisions[0], Decision::Answer(claims) if claims == first));
    assert!(matches!(decisions[1], Decision::Refused(Refusal::SeatsTaken { .. })));
}

async fn changes_reach_activations(store: &dyn Store) {
    with_licenses(store, 2).await;
    run(store, vec![activate(1, 0), activate(2, 1)]).await;
    assert_eq!(store.release(vec![ActivationId([1; 16]), ActivationId([9; 16])], NOW).await.unwrap(), 1);
    assert_eq!(store.release(vec![ActivationId([1; 16])], NOW).await.unwrap(), 0);
    assert_eq!(store.change_license(serial(1), LicenseChange::Transfer(key(3)), NOW).await.unwrap(), 1);
    let revoke = LicenseChange::State(LicenseState::Revoked);
    store.change_license(serial(1), revoke, NOW).await.unwrap();
    let back = store.change_license(serial(1), LicenseChange::State(LicenseState::Active), NOW).await;
    assert!(matches!(back, Err(StoreError::Conflict(_))));
    let none = store.change_license(serial(77), LicenseChange::Transfer(key(3)), NOW).await;
    assert!(matches!(none, Err(StoreError::NotFound(_))));
    let license = store.license(serial(1)).await.unwrap().unwrap();
    assert_eq!((license.license.unlock_key, license.seats_used), (key(3), 0));
    let history: Vec<String> = store.history(serial(1)).await.unwrap().into_iter().map(|h| h.what).collect();
    assert_eq!(history, ["issued", "activated", "transferred", "transferred", "revoked"]);
}

async fn lists_and_filters(store: &dyn Store) {
    with_licenses(store, 5).await;
    run(store, vec![activate(1, 0), activate(2, 3)]).await;
    store.change_license(serial(3), LicenseChange::State(LicenseState::Suspended), NOW).await.unwrap();
    let all = store.licenses(LicenseFilter { limit: 3, ..LicenseFilter::default() }).await.unwrap();
    assert_eq!(all.iter().map(|l| l.seats_used).collect::<Vec<_>>(), [1, 0, 0]);
    let after = all.last().unwrap().license.id.0;
    let rest = store.licenses(LicenseFilter { after, limit: 10, ..LicenseFilter::default() }).await.unwrap();
    assert_eq!(rest.len(), 2);
    let filter =
        LicenseFilter { state: Some(LicenseState::Suspended), limit: 10, ..LicenseFilter::default() };
    assert_eq!(store.licenses(filter).await.unwrap()[0].license.serial, serial(3));
    let filter =
        ActivationFilter { machine: Some(MachineId([2; 16])), limit: 10, ..ActivationFilter::default() };
    assert_eq!(store.activations(filter).await.unwrap()[0].serial, serial(3));
}

async fn unlock_keys_come_in_the_order_of_their_serials(store: &dyn Store) {
    with_licenses(store, 2).await;
    let found = store.unlock_keys(&[serial(9), serial(1), serial(0), serial(1)]).await.unwrap();
    assert_eq!(found, [None, Some(key(1)), Some(key(1)), Some(key(1))]);
}

async fn what_a_device_key_made_is_found_again(store: &dyn Store) {
    with_licenses(store, 3).await;
    let mut second = activate(1, 1);
    second.nonce = Nonce([9; 16]);
    if let Order::Activate(order) = &mut second.order {
        order.fresh_id = ActivationId([9; 16]);
    }
    run(store, vec![activate(1, 0), second, activate(2, 2)]).await;
    let mut found = store.made_by(key(1).id(), 10).await.unwrap();
    found.sort_unstable();
    assert_eq!(found, [ActivationId([1; 16]), ActivationId([9; 16])]);
    assert_eq!(store.made_by(key(1).id(), 1).await.unwrap().len(), 1);
    assert_eq!(store.made_by(key(3).id(), 10).await.unwrap(), []);
}

async fn the_past_is_the_present_owner_s_and_bounded(store: &dyn Store) {
    with_licenses(store, 2).await;
    let most = i64::try_from(MOST_EVENTS).unwrap();
    let over = |n: i64, created: i64, ended: i64| {
        let mut id = [0u8; 16];
        id[8..].copy_from_slice(&n.to_be_bytes());
        (ActivationId(id), Timestamp(created), Timestamp(ended))
    };
    // One before the transfer, many after it, one that lasts, and another license's.
    store.change_license(serial(0), LicenseChange::Transfer(key(1)), NOW).await.unwrap();
    let mut rows = vec![(0, over(1, NOW.0 - 10, NOW.0 - 5)), (1, over(2, NOW.0, NOW.0 + 1))];
    rows.extend((0..most + 5).map(|n| (0, over(100 + n, NOW.0 + 1, NOW.0 + 10 + n))));
    let mut touched = Touched::default();
    touched.serials.extend([serial(0), serial(1)]);
    store
        .batch(
            touched,
            Box::new(move |world| {
                for (which, (id, created, ended)) in rows {
                    let license = world.license_of(&serial(which)).unwrap();
                    world.add_activation(Activation {
                        id,
                        license,
                        machine: machine(9),
                        rev: 2,
                        terms: 0,
                        created,
                        last_seen: ended,
                        adopted: false,
                        ended: Some(Ended { at: ended, reason: EndReason::GivenUp, by: None }),
                    });
                }
            }),
        )
        .await
        .unwrap();
    run(store, vec![activate(1, 0)]).await;
    let mut touched = Touched::default();
    touched.activations.insert(ActivationId([1; 16]));
    touched.histories.insert(ActivationId([1; 16]));
    store
        .batch(
            touched,
            Box::new(move |world| {
                let entry = world.entry(world.license_of(&serial(0)).unwrap()).unwrap();
                let mut ends: Vec<i64> = entry.past.iter().map(|a| a.ended.as_ref().unwrap().at.0).collect();
                ends.sort_unstable();
                let expected: Vec<i64> = (5..most + 5).map(|n| NOW.0 + 10 + n).collect();
                assert_eq!(ends, expected, "the latest, and none of before the transfer");
                assert_eq!(entry.live().count(), 1);
                assert_eq!(entry.activations.len(), 1, "the past takes no seat");
            }),
        )
        .await
        .unwrap();
}
