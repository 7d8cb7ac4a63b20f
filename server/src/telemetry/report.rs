//! What the vendor sees: closed weeks, summed up by title, version and DAW. Everything here is a sum of published cells.

use std::collections::{BTreeMap, BTreeSet};

use claviger_protocol::daw::Daw;
use claviger_protocol::telemetry::{Uses, Week};
use serde::Serialize;

use super::fold::OTHER;
use super::store::Published;

/// Which weeks and titles to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// From this week on.
    pub from: Option<Week>,
    /// Up to this week.
    pub to: Option<Week>,
    /// This title's id only.
    pub title: Option<String>,
}

/// The statistics of some weeks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The closed weeks, also those of which nothing could be published.
    pub weeks: Vec<Week>,
    /// Installations that reported a title, by week.
    pub titles: Vec<TitleWeeks>,
    /// Reports by title and version, over all these weeks.
    pub versions: Vec<Share>,
    /// Reports by DAW, over all these weeks.
    pub daws: Vec<Share>,
    /// Reports by bucket of uses, over all these weeks.
    pub uses: Vec<Share>,
    /// The published cells themselves.
    pub cells: Vec<Published>,
}

/// A title through the weeks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TitleWeeks {
    /// The title's id.
    pub product_id: String,
    /// How many installations reported it, one figure a week of [`Report::weeks`].
    pub reports: Vec<u64>,
}

/// One name and its reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// For versions: of which title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
    /// The version, DAW or bucket; `other` for what was folded.
    pub name: String,
    /// Reports.
    pub reports: u64,
}

impl Report {
    /// Sums up `cells` over the closed weeks that `filter` wants.
    #[must_use]
    pub fn of(cells: Vec<Published>, closed: &BTreeSet<Week>, filter: &Filter) -> Self {
        let wanted = |week: &&Week| {
            filter.from.is_none_or(|from| **week >= from) && filter.to.is_none_or(|to| **week <= to)
        };
        let weeks: Vec<Week> = closed.iter().filter(wanted).copied().collect();
        let mut titles: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let (mut versions, mut daws, mut uses) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for cell in &cells {
            let row = titles.entry(&cell.product_id).or_insert_with(|| vec![0; weeks.len()]);
            if let Ok(at) = weeks.binary_search(&cell.week) {
                row[at] += cell.reports;
            }
            *versions.entry((cell.product_id.as_str(), cell.product_version.as_str())).or_default() +=
                cell.reports;
            *daws.entry(cell.daw.as_str()).or_default() += cell.reports;
            *uses.entry(cell.uses.as_str()).or_default() += cell.reports;
        }
        let share = |product_id: Option<&str>, name: &str, reports: u64| Share {
            product_id: product_id.map(str::to_owned),
            name: name.to_owned(),
            reports,
        };
        let mut versions: Vec<Share> =
            versions.into_iter().map(|((title, name), n)| share(Some(title), name, n)).collect();
        versions.sort_by(|a, b| {
            (&a.product_id, a.name == OTHER, std::cmp::Reverse(a.reports)).cmp(&(
                &b.product_id,
                b.name == OTHER,
                std::cmp::Reverse(b.reports),
            ))
        });
        let mut daws: Vec<Share> = daws.into_iter().map(|(name, n)| share(None, name, n)).collect();
        daws.sort_by_key(|s| (s.name == OTHER, std::cmp::Reverse(s.reports), s.name.clone()));
        let mut uses: Vec<Share> = uses.into_iter().map(|(name, n)| share(None, name, n)).collect();
        uses.sort_by_key(|s| Uses::ALL.iter().position(|u| u.as_str() == s.name).unwrap_or(Uses::ALL.len()));
        let titles = titles
            .into_iter()
            .map(|(title, reports)| TitleWeeks { product_id: title.to_owned(), reports })
            .collect();
        Self { weeks, titles, versions, daws, uses, cells }
    }

    /// The cells as CSV (RFC 4180), with a head.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // Written by hand: without a cell there would be no head.
        let head = ["week", "product_id", "product_version", "daw", "uses", "reports"];
        let mut done = writer.write_record(head);
        for cell in &self.cells {
            done = done.and_then(|()| {
                writer.write_record([
                    &cell.week.to_string(),
                    &cell.product_id,
                    &cell.product_version,
                    &cell.daw,
                    &cell.uses,
                    &cell.reports.to_string(),
                ])
            });
        }
        // Writing to memory does not fail.
        let bytes = done.ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    }

    /// Tables for a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        if self.weeks.is_empty() {
            return "No week is closed yet: figures appear three weeks after a week has ended.\n".to_owned();
        }
        let mut out = String::new();
        let weeks: Vec<String> = self.weeks.iter().map(Week::to_string).collect();
        let mut rows = vec![std::iter::once("Title".to_owned()).chain(weeks).collect::<Vec<_>>()];
        for title in &self.titles {
            let figures = title.reports.iter().map(u64::to_string);
            rows.push(std::iter::once(title.product_id.clone()).chain(figures).collect());
        }
        section(&mut out, "Installations that used a title, by week", &rows);
        let mut rows = vec![["Title", "Version", "Reports"].map(str::to_owned).to_vec()];
        for share in &self.versions {
            let title = share.product_id.clone().unwrap_or_default();
            rows.push(vec![title, share.name.clone(), share.reports.to_string()]);
        }
        section(&mut out, "Versions", &rows);
        let mut rows = vec![["DAW", "Reports"].map(str::to_owned).to_vec()];
        rows.extend(self.daws.iter().map(|s| vec![daw_title(&s.name).to_owned(), s.reports.to_string()]));
        section(&mut out, "DAWs", &rows);
        let mut rows = vec![["Uses a week", "Reports"].map(str::to_owned).to_vec()];
        rows.extend(self.uses.iter().map(|s| vec![s.name.clone(), s.reports.to_string()]));
        section(&mut out, "How often a title is used", &rows);
        out.push_str("“other” holds everything that fewer than 20 installations reported.\n");
        out
    }
}

/// A DAW's name for people.
#[must_use]
pub fn daw_title(id: &str) -> &str {
    match id.parse::<Daw>() {
        Ok(Daw::Other) | Err(_) => OTHER,
        Ok(daw) => daw.title(),
    }
}

fn section(out: &mut String, title: &str, rows: &[Vec<String>]) {
    out.push_str(title);
    out.push('\n');
    if rows.len() == 1 {
        out.push_str("  nothing that enough installations reported\n\n");
        return;
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (at, row) in rows.iter().enumerate() {
        let mut line = String::from(" ");
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            // Figures stand at the right.
            let figure = at > 0 && cell.bytes().all(|b| b.is_ascii_digit()) && column > 0;
            let (before, after) = if figure { (pad.as_str(), "") } else { ("", pad.as_str()) };
            line.push_str(&format!(" {before}{cell}{after} "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn cell(week: &str, title: &str, version: &str, daw: &str, reports: u64) -> Published {
        Published {
            week: week.parse().unwrap(),
            product_id: title.into(),
            product_version: version.into(),
            daw: daw.into(),
            uses: "1".into(),
            reports,
        }
    }

    fn sample() -> Report {
        let cells = vec![
            cell("2026-W49", "com.example.synth", "1.0", "reaper", 30),
            cell("2026-W49", "com.example.synth", "other", "cubase", 20),
            cell("2026-W51", "com.example.synth", "1.0", "reaper", 25),
            cell("2026-W51", "com.example.synth", "2.0", "other", 60),
            cell("2026-W51", "com.example.\"organ\"", "1.0", "reaper", 22),
        ];
        let closed = ["2026-W48", "2026-W49", "2026-W50", "2026-W51"].map(|w| w.parse().unwrap());
        let from = Filter { from: Some("2026-W49".parse().unwrap()), ..Filter::default() };
        Report::of(cells, &BTreeSet::from(closed), &from)
    }

    #[test]
    fn sums_are_those_of_the_cells_and_empty_weeks_stay_visible() {
        let report = sample();
        assert_eq!(report.weeks.len(), 3);
        assert_eq!(report.titles[1].product_id, "com.example.synth");
        assert_eq!(report.titles[1].reports, [50, 0, 85]);
        let versions: Vec<_> = report.versions.iter().map(|s| (s.name.as_str(), s.reports)).collect();
        assert_eq!(versions, [("1.0", 22), ("2.0", 60), ("1.0", 55), ("other", 20)]);
        let daws: Vec<_> = report.daws.iter().map(|s| (s.name.as_str(), s.reports)).collect();
        assert_eq!(daws, [("reaper", 77), ("cubase", 20), ("other", 60)]);
    }

    #[test]
    fn csv_quotes_and_tables_line_up() {
        let report = sample();
        let csv = report.csv();
        assert_eq!(csv.lines().count(), 6);
        assert!(csv.starts_with("week,product_id,product_version,daw,uses,reports\n"));
        assert!(csv.contains("2026-W51,\"com.example.\"\"organ\"\"\",1.0,reaper,1,22\n"), "{csv}");
        let table = report.table();
        assert!(table.contains("com.example.synth"), "{table}");
        assert!(table.lines().any(|l| l.trim_start().starts_with("REAPER") && l.ends_with("77")), "{table}");
        let empty = Report::of(vec![], &BTreeSet::new(), &Filter::default());
        assert!(empty.table().contains("No week is closed yet"));
        assert_eq!(empty.csv().lines().count(), 1);
    }
}
