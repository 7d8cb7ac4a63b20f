//! Counters, and the spent tokens beside them: `DATA/telemetry/counters.db` and one `spent-WEEK.db` a week.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use claviger_protocol::telemetry::Week;
use data_encoding::HEXLOWER;
use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, Sqlite, Transaction};
use tokio::sync::Mutex;

use super::super::fold::{self, Cell};
use super::{UsageStoreError, number, open, spent_path, week as week_of};

/// A token that was found genuine, and what it is spent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spending {
    /// The report's week, whose key the token was made with.
    pub week: Week,
    /// Which token: a cut hash.
    pub token: [u8; 16],
    /// The token together with its report: a cut hash.
    pub report: [u8; 8],
    /// What the report says.
    pub cell: Cell<String>,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was counted.
    Counted,
    /// This very report was counted before with this token.
    Before,
    /// The token was spent on another report.
    Reused,
    /// The week is closed.
    Closed,
}

/// A published cell: a week that is over, folded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The ISO week.
    pub week: Week,
    /// The title's id.
    pub product_id: String,
    /// Its version, or `other`.
    pub product_version: String,
    /// The DAW, or `other`.
    pub daw: String,
    /// How often the title was used in that week, as a bucket, or `other`.
    pub uses: String,
    /// How many installations reported it.
    pub reports: u64,
}

/// Which names enough installations reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Title and version.
    pub versions: BTreeSet<(String, String)>,
    /// DAWs.
    pub daws: BTreeSet<String>,
}

/// `DATA/telemetry/counters.db` and the spent tokens.
#[derive(Debug)]
pub struct CounterStore {
    folder: PathBuf,
    inner: Mutex<Option<Inner>>,
}

#[derive(Debug)]
struct Inner {
    connection: SqliteConnection,
    /// Names that the database has.
    names: HashMap<String, i64>,
    /// The week whose spent tokens are attached.
    attached: Option<Week>,
}

impl CounterStore {
    /// Opens it in the collector's folder.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn open(folder: &Path) -> Result<Self, UsageStoreError> {
        let inner = Inner::open(folder).await?;
        Ok(Self { folder: folder.to_owned(), inner: Mutex::new(Some(inner)) })
    }

    /// Counts what was not counted before, all of it or (on an error) nothing. One result a spending, in their order.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn take(&self, spendings: Vec<Spending>) -> Result<Vec<Taken>, UsageStoreError> {
        let mut by_week: BTreeMap<Week, Vec<usize>> = BTreeMap::new();
        for (at, spending) in spendings.iter().enumerate() {
            by_week.entry(spending.week).or_default().push(at);
        }
        let mut taken = vec![Taken::Closed; spendings.len()];
        let mut slot = self.inner.lock().await;
        // Taken out while it works: a connection that failed, or whose caller went away, is not used again.
        let mut inner = match slot.take() {
            Some(inner) => inner,
            None => Inner::open(&self.folder).await?,
        };
        for (week, places) in by_week {
            let of_week: Vec<&Spending> = places.iter().map(|at| &spendings[*at]).collect();
            inner.attach(&self.folder, week).await?;
            for (at, outcome) in places.iter().zip(inner.take_week(week, &of_week).await?) {
                taken[*at] = outcome;
            }
        }
        *slot = Some(inner);
        Ok(taken)
    }

    /// Closes `week`: folds its cells, publishes what is left and forgets the rest, then its spent tokens. Doing it again
    /// changes nothing. Gives how many cells were published.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn close_week(&self, week: Week) -> Result<usize, UsageStoreError> {
        let mut slot = self.inner.lock().await;
        let mut inner = match slot.take() {
            Some(inner) => inner,
            None => Inner::open(&self.folder).await?,
        };
        if inner.attached == Some(week) {
            inner.detach().await?;
        }
        let cells = inner.close_week(week).await?;
        *slot = Some(inner);
        let path = spent_path(&self.folder, week);
        crate::keys::durable::shred(&path).map_err(|source| UsageStoreError::Remove { path, source })?;
        Ok(cells)
    }

    /// The weeks that hold reports or spent tokens and are not closed.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn open_weeks(&self) -> Result<BTreeSet<Week>, UsageStoreError> {
        let mut weeks = BTreeSet::new();
        for entry in std::fs::read_dir(&self.folder)
            .map_err(|e| UsageStoreError::Database(sqlx::Error::Io(e)))?
            .flatten()
        {
            let name = entry.file_name();
            let text = name.to_str().and_then(|n| n.strip_prefix("spent-")?.strip_suffix(".db"));
            weeks.extend(text.and_then(|text| text.parse::<Week>().ok()));
        }
        let mut slot = self.inner.lock().await;
        let inner = Inner::get(&mut slot, &self.folder).await?;
        let rows = sqlx::query("SELECT DISTINCT week FROM counting").fetch_all(&mut inner.connection).await?;
        for row in rows {
            weeks.insert(week_of(row.try_get(0)?));
        }
        Ok(weeks)
    }

    /// What was published about the weeks `from` to `to`, both included, in the order of weeks and names; of one title
    /// only when `title` is given.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn published(
        &self,
        from: Option<Week>,
        to: Option<Week>,
        title: Option<&str>,
    ) -> Result<Vec<Published>, UsageStoreError> {
        let mut slot = self.inner.lock().await;
        let inner = Inner::get(&mut slot, &self.folder).await?;
        let rows = sqlx::query(
            "SELECT p.week, t.name, v.name, d.name, b.name, p.reports FROM published p \
             JOIN names t ON t.id = p.title JOIN names v ON v.id = p.version \
             JOIN names d ON d.id = p.daw JOIN names b ON b.id = p.bucket \
             WHERE p.week >= ?1 AND p.week <= ?2 AND (?3 IS NULL OR t.name = ?3) ORDER BY 1, 2, 3, 4, 5",
        )
        .bind(from.map_or(0, number))
        .bind(to.map_or(i64::MAX, number))
        .bind(title)
        .fetch_all(&mut inner.connection)
        .await?;
        rows.iter().map(published).collect()
    }

    /// The weeks that are closed, whether anything of them was published or not.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn closed_weeks(&self) -> Result<BTreeSet<Week>, UsageStoreError> {
        let mut slot = self.inner.lock().await;
        let inner = Inner::get(&mut slot, &self.folder).await?;
        let rows = sqlx::query("SELECT week FROM closed").fetch_all(&mut inner.connection).await?;
        rows.iter().map(|row| Ok(week_of(row.try_get(0)?))).collect()
    }

    /// The versions and DAWs that at least twenty installations reported in one of the closed weeks from `from` on.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn reached(&self, from: Week) -> Result<Reached, UsageStoreError> {
        let mut slot = self.inner.lock().await;
        let inner = Inner::get(&mut slot, &self.folder).await?;
        let rows = sqlx::query(
            "SELECT DISTINCT t.name, v.name, r.daw FROM reached r \
             JOIN names t ON t.id = r.title JOIN names v ON v.id = r.name WHERE r.week >= ?",
        )
        .bind(number(from))
        .fetch_all(&mut inner.connection)
        .await?;
        let mut reached = Reached::default();
        for row in rows {
            let (title, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            if row.try_get(2)? {
                reached.daws.insert(name);
            } else {
                reached.versions.insert((title, name));
            }
        }
        Ok(reached)
    }

    /// Closes the files.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn close(&self) -> Result<(), UsageStoreError> {
        if let Some(inner) = self.inner.lock().await.take() {
            inner.connection.close().await?;
        }
        Ok(())
    }
}

fn published(row: &SqliteRow) -> Result<Published, UsageStoreError> {
    Ok(Published {
        week: week_of(row.try_get(0)?),
        product_id: row.try_get(1)?,
        product_version: row.try_get(2)?,
        daw: row.try_get(3)?,
        uses: row.try_get(4)?,
        reports: u64::try_from(row.try_get::<i64, _>(5)?).map_err(|_| UsageStoreError::Corrupt)?,
    })
}

impl Inner {
    async fn open(folder: &Path) -> Result<Self, UsageStoreError> {
        let mut connection = open(&folder.join("counters.db"), include_str!("counters.sql")).await?;
        let rows = sqlx::query("SELECT name, id FROM names").fetch_all(&mut connection).await?;
        let names = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let names = names.collect::<Result<HashMap<String, i64>, sqlx::Error>>()?;
        Ok(Self { connection, names, attached: None })
    }

    async fn get<'a>(slot: &'a mut Option<Self>, folder: &Path) -> Result<&'a mut Self, UsageStoreError> {
        if slot.is_none() {
            *slot = Some(Self::open(folder).await?);
        }
        #[expect(clippy::expect_used, reason = "it was put there above")]
        Ok(slot.as_mut().expect("it is open"))
    }

    /// Attaches the spent tokens of `week`, whose file may be new.
    async fn attach(&mut self, folder: &Path, week: Week) -> Result<(), UsageStoreError> {
        if self.attached == Some(week) {
            return Ok(());
        }
        self.detach().await?;
        sqlx::query("ATTACH ? AS spent_week")
            .bind(spent_path(folder, week).to_string_lossy())
            .execute(&mut self.connection)
            .await?;
        self.attached = Some(week);
        sqlx::raw_sql(include_str!("spent.sql")).execute(&mut self.connection).await?;
        Ok(())
    }

    async fn detach(&mut self) -> Result<(), UsageStoreError> {
        if self.attached.take().is_some() {
            sqlx::query("DETACH spent_week").execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// In one transaction over both files.
    async fn take_week(
        &mut self,
        week: Week,
        spendings: &[&Spending],
    ) -> Result<Vec<Taken>, UsageStoreError> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        if is_closed(&mut transaction, week).await? {
            return Ok(vec![Taken::Closed; spendings.len()]);
        }
        let mut known = spent(&mut transaction, spendings).await?;
        let mut fresh: BTreeMap<[u8; 16], [u8; 8]> = BTreeMap::new();
        let mut counts: BTreeMap<&Cell<String>, i64> = BTreeMap::new();
        let taken = spendings
            .iter()
            .map(|spending| match known.get(&spending.token) {
                Some(report) if *report == spending.report => Taken::Before,
                Some(_) => Taken::Reused,
                None => {
                    known.insert(spending.token, spending.report);
                    fresh.insert(spending.token, spending.report);
                    *counts.entry(&spending.cell).or_default() += 1;
                    Taken::Counted
                }
            })
            .collect();
        if fresh.is_empty() {
            return Ok(taken);
        }
        let mut named = Vec::new();
        for text in counts.keys().flat_map(|c| [&c.title, &c.version, &c.daw, &c.bucket]) {
            if !self.names.contains_key(text) {
                let id = name(&mut transaction, text).await?;
                named.push(text.clone());
                self.names.insert(text.clone(), id);
            }
        }
        let written = write(&mut transaction, week, &fresh, &counts, &self.names).await;
        let done = match written {
            Ok(()) => transaction.commit().await.map_err(UsageStoreError::from),
            Err(error) => Err(error),
        };
        if done.is_err() {
            // They were made in the transaction that is gone.
            for name in &named {
                self.names.remove(name);
            }
        }
        done.map(|()| taken)
    }

    async fn close_week(&mut self, week: Week) -> Result<usize, UsageStoreError> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        if is_closed(&mut transaction, week).await? {
            return Ok(0);
        }
        let rows = sqlx::query("SELECT title, version, daw, bucket, reports FROM counting WHERE week = ?")
            .bind(number(week))
            .fetch_all(&mut *transaction)
            .await?;
        let mut cells = Vec::with_capacity(rows.len());
        for row in &rows {
            let cell = Cell {
                title: row.try_get::<i64, _>(0)?,
                version: row.try_get(1)?,
                daw: row.try_get(2)?,
                bucket: row.try_get(3)?,
            };
            let reports = u64::try_from(row.try_get::<i64, _>(4)?).map_err(|_| UsageStoreError::Corrupt)?;
            cells.push((cell, reports));
        }
        note_reached(&mut transaction, week, &cells).await?;
        let folded = fold::fold(cells, 0);
        for (cell, reports) in &folded {
            sqlx::query("INSERT INTO published VALUES (?, ?, ?, ?, ?, ?)")
                .bind(number(week))
                .bind(cell.title)
                .bind(cell.version)
                .bind(cell.daw)
                .bind(cell.bucket)
                .bind(i64::try_from(*reports).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await?;
        }
        for statement in ["DELETE FROM counting WHERE week = ?", "INSERT INTO closed VALUES (?)"] {
            sqlx::query(statement).bind(number(week)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(folded.len())
    }
}

/// Notes which versions and DAWs of a title reached the limit when everything else is summed up: that they did, not by
/// how much. The next plan may name them.
async fn note_reached(
    transaction: &mut Transaction<'_, Sqlite>,
    week: Week,
    cells: &[(Cell<i64>, u64)],
) -> Result<(), UsageStoreError> {
    let mut sums: BTreeMap<(i64, i64, bool), u64> = BTreeMap::new();
    for (cell, reports) in cells {
        for (name, daw) in [(cell.version, false), (cell.daw, true)] {
            *sums.entry((cell.title, name, daw)).or_default() += reports;
        }
    }
    for ((title, name, daw), reports) in sums {
        if reports >= fold::LEAST && name != 0 {
            sqlx::query("INSERT INTO reached VALUES (?, ?, ?, ?)")
                .bind(number(week))
                .bind(title)
                .bind(name)
                .bind(daw)
                .execute(&mut **transaction)
                .await?;
        }
    }
    Ok(())
}

async fn is_closed(transaction: &mut Transaction<'_, Sqlite>, week: Week) -> Result<bool, UsageStoreError> {
    let row = sqlx::query("SELECT 1 FROM closed WHERE week = ?").bind(number(week));
    Ok(row.fetch_optional(&mut **transaction).await?.is_some())
}

/// Which of these tokens were spent before, and on what.
async fn spent(
    transaction: &mut Transaction<'_, Sqlite>,
    spendings: &[&Spending],
) -> Result<HashMap<[u8; 16], [u8; 8]>, UsageStoreError> {
    let tokens = json(spendings.iter().map(|s| HEXLOWER.encode(&s.token)));
    let rows = sqlx::query(
        "SELECT s.token, s.report FROM json_each(?) j CROSS JOIN spent_week.spent s ON s.token = unhex(j.value)",
    )
    .bind(tokens)
    .fetch_all(&mut **transaction)
    .await?;
    let corrupt = |_| UsageStoreError::Corrupt;
    rows.iter()
        .map(|row| {
            let token = row.try_get::<&[u8], _>(0)?.try_into().map_err(corrupt)?;
            Ok((token, row.try_get::<&[u8], _>(1)?.try_into().map_err(corrupt)?))
        })
        .collect()
}

async fn name(transaction: &mut Transaction<'_, Sqlite>, text: &str) -> Result<i64, UsageStoreError> {
    let row = sqlx::query(
        "INSERT INTO names (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id",
    );
    Ok(row.bind(text).fetch_one(&mut **transaction).await?.try_get(0)?)
}

async fn write(
    transaction: &mut Transaction<'_, Sqlite>,
    week: Week,
    fresh: &BTreeMap<[u8; 16], [u8; 8]>,
    counts: &BTreeMap<&Cell<String>, i64>,
    names: &HashMap<String, i64>,
) -> Result<(), UsageStoreError> {
    // In the order of hashes, not of arrival.
    let tokens = json(fresh.iter().map(|(token, report)| {
        let mut text = HEXLOWER.encode(token);
        HEXLOWER.encode_append(report, &mut text);
        text
    }));
    sqlx::query(AssertSqlSafe(
        "INSERT INTO spent_week.spent SELECT unhex(substr(value, 1, 32)), unhex(substr(value, 33)) FROM json_each(?)",
    ))
    .bind(tokens)
    .execute(&mut **transaction)
    .await?;
    let id = |text: &String| names.get(text).copied().ok_or(UsageStoreError::Corrupt);
    for (cell, count) in counts {
        sqlx::query(
            "INSERT INTO counting VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT DO UPDATE SET reports = reports + excluded.reports",
        )
        .bind(number(week))
        .bind(id(&cell.title)?)
        .bind(id(&cell.version)?)
        .bind(id(&cell.daw)?)
        .bind(id(&cell.bucket)?)
        .bind(count)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// A JSON array of hexadecimal texts.
fn json(texts: impl Iterator<Item = String>) -> String {
    let mut json = String::from("[");
    for text in texts {
        json.push_str(if json.len() > 1 { ",\"" } else { "\"" });
        json.push_str(&text);
        json.push('"');
    }
    json.push(']');
    json
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
