//! The counters: each report once, weeks closed for good, nothing else on the disk.

use super::*;

fn week() -> Week {
    "2026-W49".parse().unwrap()
}

fn spending(token: u8, report: u8, version: &str, daw: &str) -> Spending {
    Spending {
        week: week(),
        token: [token; 16],
        report: [report; 8],
        cell: Cell {
            title: "com.example.synth".into(),
            version: version.into(),
            daw: daw.into(),
            bucket: "1".into(),
        },
    }
}

async fn store() -> (tempfile::TempDir, CounterStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = CounterStore::open(dir.path()).await.unwrap();
    (dir, store)
}

/// The counts of open weeks, which nothing but a test reads.
async fn counting(store: &CounterStore) -> i64 {
    let mut slot = store.inner.lock().await;
    let inner = Inner::get(&mut slot, &store.folder).await.unwrap();
    let row = sqlx::query("SELECT coalesce(sum(reports), 0) FROM counting")
        .fetch_one(&mut inner.connection)
        .await
        .unwrap();
    row.try_get(0).unwrap()
}

#[tokio::test]
async fn a_token_counts_once_its_report_may_be_repeated_and_no_other_is_taken() {
    let (_dir, store) = store().await;
    let one = spending(1, 1, "1.0", "reaper");
    assert_eq!(store.take(vec![one.clone()]).await.unwrap(), [Taken::Counted]);
    assert_eq!(store.take(vec![one.clone()]).await.unwrap(), [Taken::Before]);
    assert_eq!(store.take(vec![spending(1, 2, "2.0", "reaper")]).await.unwrap(), [Taken::Reused]);
    // All of it within one batch, too.
    let batch = vec![
        spending(2, 2, "1.0", "reaper"),
        spending(2, 2, "1.0", "reaper"),
        spending(2, 3, "2.0", "reaper"),
        one,
        spending(3, 3, "1.0", "cubase"),
    ];
    let taken = store.take(batch).await.unwrap();
    assert_eq!(taken, [Taken::Counted, Taken::Before, Taken::Reused, Taken::Before, Taken::Counted]);
    assert_eq!(counting(&store).await, 3);
    assert!(store.take(vec![]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_token_is_spent_after_the_store_was_opened_anew_and_weeks_do_not_mix() {
    let (dir, store) = store().await;
    let one = spending(1, 1, "1.0", "reaper");
    let next = Spending { week: week().plus(1), ..one.clone() };
    let both = store.take(vec![one.clone(), next.clone(), one.clone()]).await.unwrap();
    assert_eq!(both, [Taken::Counted, Taken::Counted, Taken::Before], "each week has keys of its own");
    store.close().await.unwrap();
    let store = CounterStore::open(dir.path()).await.unwrap();
    assert_eq!(store.take(vec![next, one]).await.unwrap(), [Taken::Before, Taken::Before]);
    assert_eq!(store.open_weeks().await.unwrap(), BTreeSet::from([week(), week().plus(1)]));
}

#[tokio::test]
async fn nothing_is_published_before_the_close_and_nothing_taken_after_it() {
    let (dir, store) = store().await;
    let reports: Vec<Spending> = (0..60u8)
        .map(|n| match n {
            0..25 => spending(n, n, "1.0", "reaper"),
            25..44 => spending(n, n, "1.1", "reaper"),
            _ => spending(n, n, "1.2", "reaper"),
        })
        .collect();
    assert!(store.take(reports).await.unwrap().iter().all(|t| *t == Taken::Counted));
    assert!(store.published(None, None, None).await.unwrap().is_empty());
    assert!(store.closed_weeks().await.unwrap().is_empty());
    assert_eq!(store.reached(week()).await.unwrap(), Reached::default());

    assert_eq!(store.close_week(week()).await.unwrap(), 2);
    assert_eq!(store.close_week(week()).await.unwrap(), 0, "doing it again changes nothing");
    let published = store.published(None, None, None).await.unwrap();
    let cells: Vec<_> =
        published.iter().map(|p| (p.product_version.as_str(), p.uses.as_str(), p.reports)).collect();
    assert_eq!(cells, [("1.0", "1", 25), ("other", "other", 35)]);
    assert_eq!(store.closed_weeks().await.unwrap(), BTreeSet::from([week()]));
    assert_eq!(counting(&store).await, 0, "the counts behind them are gone");
    let reached = store.reached(week()).await.unwrap();
    assert_eq!(reached.versions, BTreeSet::from([("com.example.synth".to_owned(), "1.0".to_owned())]));
    assert_eq!(reached.daws, BTreeSet::from(["reaper".to_owned()]));

    assert!(!spent_path(dir.path(), week()).exists(), "spent tokens go with the week");
    let late = store.take(vec![spending(99, 1, "1.0", "reaper")]).await.unwrap();
    assert_eq!(late, [Taken::Closed]);
    assert_eq!(store.close_week(week()).await.unwrap(), 0);
    assert!(!spent_path(dir.path(), week()).exists());

    let other = store.published(Some(week().plus(1)), None, None).await.unwrap();
    assert!(other.is_empty());
    assert_eq!(store.published(None, Some(week()), Some("com.example.synth")).await.unwrap().len(), 2);
    assert!(store.published(None, None, Some("com.example.organ")).await.unwrap().is_empty());
}

/// A crash between the two files must neither lose a confirmed report nor count one twice: whatever part of the batch is
/// on the disk, all of it is.
#[tokio::test]
async fn counters_and_spent_tokens_change_together() {
    let (dir, store) = store().await;
    store.take(vec![spending(1, 1, "1.0", "reaper")]).await.unwrap();
    {
        let mut slot = store.inner.lock().await;
        let inner = Inner::get(&mut slot, &store.folder).await.unwrap();
        for schema in ["main", "spent_week"] {
            let mode: String = sqlx::query(AssertSqlSafe(format!("PRAGMA {schema}.journal_mode")))
                .fetch_one(&mut inner.connection)
                .await
                .unwrap()
                .try_get(0)
                .unwrap();
            assert_eq!(mode, "delete", "in WAL mode attached files do not commit as one");
        }
        // A report whose counter cannot be written leaves its token unspent.
        sqlx::raw_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON counting BEGIN SELECT raise(ABORT, 'no space'); END",
        )
        .execute(&mut inner.connection)
        .await
        .unwrap();
    }
    let two = spending(2, 2, "1.0", "reaper");
    assert!(store.take(vec![two.clone()]).await.is_err());
    store.close().await.unwrap();
    let store = CounterStore::open(dir.path()).await.unwrap();
    {
        let mut slot = store.inner.lock().await;
        let inner = Inner::get(&mut slot, &store.folder).await.unwrap();
        sqlx::raw_sql("DROP TRIGGER full").execute(&mut inner.connection).await.unwrap();
    }
    assert_eq!(counting(&store).await, 1);
    assert_eq!(store.take(vec![two]).await.unwrap(), [Taken::Counted]);
}

#[tokio::test]
async fn the_tables_have_no_column_for_a_person_a_machine_or_a_moment() {
    let (_dir, store) = store().await;
    store.take(vec![spending(1, 1, "1.0", "reaper")]).await.unwrap();
    let mut slot = store.inner.lock().await;
    let inner = Inner::get(&mut slot, &store.folder).await.unwrap();
    let rows = sqlx::query(
        "SELECT t.schema || '.' || t.name || ': ' || group_concat(c.name, ' ') FROM pragma_table_list t, \
         pragma_table_info(t.name, t.schema) c WHERE t.schema <> 'temp' AND t.name NOT LIKE 'sqlite%' \
         GROUP BY t.schema, t.name ORDER BY 1",
    )
    .fetch_all(&mut inner.connection)
    .await
    .unwrap();
    let tables: Vec<String> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
    assert_eq!(
        tables,
        [
            "main.closed: week",
            "main.counting: week title version daw bucket reports",
            "main.names: id name",
            "main.published: week title version daw bucket reports",
            "main.reached: week title name daw",
            "spent_week.spent: token report",
        ]
    );
}

#[tokio::test]
async fn one_batch_a_week_and_installation_and_eight_a_machine() {
    use claviger_protocol::ids::MachineId;
    use claviger_protocol::keys::{Sha256, SigningKey};

    use super::super::{Installation, Issuance, IssuedStore};

    let dir = tempfile::tempdir().unwrap();
    let issued = IssuedStore::open(dir.path()).await.unwrap();
    let device = |n: u8| SigningKey::from_seed(&[n; 32]).public().id();
    let installation = |device, slot| Installation { machine: MachineId([7; 16]), device, slot };
    let batch = |n: u8| Sha256::of(&[n]);
    let first = installation(device(1), 0);
    assert_eq!(issued.issue(week(), &first, batch(1)).await.unwrap(), Issuance::Answer);
    assert_eq!(issued.issue(week(), &first, batch(1)).await.unwrap(), Issuance::Answer);
    assert_eq!(issued.issue(week(), &first, batch(2)).await.unwrap(), Issuance::HadItsBatch);
    assert_eq!(issued.issue(week().plus(1), &first, batch(2)).await.unwrap(), Issuance::Answer);
    for slot in 1..8 {
        let person = installation(device(1 + slot % 2), slot);
        assert_eq!(issued.issue(week(), &person, batch(10 + slot)).await.unwrap(), Issuance::Answer);
    }
    let ninth = installation(device(3), 0);
    assert_eq!(issued.issue(week(), &ninth, batch(30)).await.unwrap(), Issuance::HadItsBatch);
    assert_eq!(issued.issue(week(), &first, batch(1)).await.unwrap(), Issuance::Answer, "still repeated");
    assert_eq!(issued.machines_since(week()).await.unwrap(), [MachineId([7; 16])]);
    issued.forget_before(week().plus(1)).await.unwrap();
    assert_eq!(issued.machines_since(week()).await.unwrap().len(), 1);
    issued.forget_before(week().plus(2)).await.unwrap();
    assert!(issued.machines_since(week()).await.unwrap().is_empty());
}
