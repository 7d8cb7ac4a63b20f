//! The page with the statistics: plain HTML and SVG, no script, one style sheet that the content-security policy names
//! by its hash.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use ring::digest;

use super::chart::{self, Bar, COLOURS, Series, escape};
use super::report::{Filter, Report, daw_title};

/// Most bars of one chart; the tables have all.
const MOST_BARS: usize = 24;

const STYLE: &str = include_str!("page.css");

/// The content-security policy that fits the page: nothing but its own style sheet and its own form.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = data_encoding::BASE64.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()).as_ref());
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});

/// The page. `vendor` is the vendor's name; `names` has titles' names by id.
#[must_use]
pub fn html(vendor: &str, report: &Report, filter: &Filter, names: &BTreeMap<String, String>) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>Usage statistics of {0}</title><style>{STYLE}</style>\
         </head><body><main><h1>Usage statistics of {0}</h1>\n",
        escape(vendor)
    );
    form(&mut out, report, filter, names);
    if report.weeks.is_empty() {
        out.push_str(
            "<p class=\"empty\">No week is closed yet. Figures appear three weeks after a week has ended, when enough \
             installations that take part have reported.</p>",
        );
    } else if report.cells.is_empty() {
        out.push_str(
            "<p class=\"empty\">In these weeks nothing was reported by twenty installations or more.</p>",
        );
    } else {
        charts(&mut out, report, names);
    }
    out.push_str(
        "<footer><p>Each figure counts installations that agreed to take part and used a title in that week. What fewer \
         than 20 of them reported stands under “other”, or is left out. Nothing here can be traced to a person, a \
         machine or an account.</p></footer></main></body></html>\n",
    );
    out
}

fn title_of(id: &str, names: &BTreeMap<String, String>) -> String {
    names.get(id).cloned().unwrap_or_else(|| id.to_owned())
}

fn form(out: &mut String, report: &Report, filter: &Filter, names: &BTreeMap<String, String>) {
    let week =
        |week: Option<claviger_protocol::telemetry::Week>| week.map(|w| w.to_string()).unwrap_or_default();
    let _ = write!(
        out,
        "<form method=\"get\"><label>From week <input name=\"from\" value=\"{}\" placeholder=\"2026-W48\" size=\"9\" \
         pattern=\"[0-9]{{4}}-W[0-9]{{2}}\"></label><label>to week <input name=\"to\" value=\"{}\" \
         placeholder=\"2026-W52\" size=\"9\" pattern=\"[0-9]{{4}}-W[0-9]{{2}}\"></label>\
         <label>Title <select name=\"title\"><option value=\"\">all</option>",
        week(filter.from),
        week(filter.to)
    );
    let mut ids: std::collections::BTreeSet<&str> = names.keys().map(String::as_str).collect();
    ids.extend(report.titles.iter().map(|t| t.product_id.as_str()));
    for id in ids {
        let chosen = if filter.title.as_deref() == Some(id) { " selected" } else { "" };
        let _ =
            write!(out, "<option value=\"{}\"{chosen}>{}</option>", escape(id), escape(&title_of(id, names)));
    }
    out.push_str("</select></label><button>Show</button></form>\n");
}

fn charts(out: &mut String, report: &Report, names: &BTreeMap<String, String>) {
    let marks: Vec<String> = report.weeks.iter().map(ToString::to_string).collect();
    let mut titles: Vec<Series> = report
        .titles
        .iter()
        .map(|t| Series { name: title_of(&t.product_id, names), values: t.reports.clone() })
        .collect();
    titles.sort_by_key(|s| std::cmp::Reverse(s.values.iter().sum::<u64>()));
    let heads: Vec<&str> = std::iter::once("Title").chain(marks.iter().map(String::as_str)).collect();
    let rows = titles.iter().map(|s| (vec![s.name.clone()], s.values.clone())).collect::<Vec<_>>();
    if titles.len() > COLOURS {
        let rest = titles.split_off(COLOURS - 1);
        let sum = |at: usize| rest.iter().map(|s| s.values[at]).sum();
        let name = format!("{} more titles together", rest.len());
        titles.push(Series { name, values: (0..marks.len()).map(sum).collect() });
    }
    let chart = chart::lines("Installations that used a title, by week", &marks, &titles);
    section(out, "Titles by week", "Installations that used a title.", &chart, &heads, &rows);

    let one_title = report.titles.len() == 1;
    let version = |s: &super::report::Share| {
        let title = title_of(s.product_id.as_deref().unwrap_or_default(), names);
        if one_title { s.name.clone() } else { format!("{title} {}", s.name) }
    };
    let mut all: Vec<Bar> =
        report.versions.iter().map(|s| Bar { name: version(s), value: s.reports }).collect();
    if !one_title {
        all.sort_by_key(|bar| std::cmp::Reverse(bar.value));
    }
    let rows: Vec<_> = report
        .versions
        .iter()
        .map(|s| {
            let title = title_of(s.product_id.as_deref().unwrap_or_default(), names);
            (vec![title, s.name.clone()], vec![s.reports])
        })
        .collect();
    let chart = chart::bars("Reports by version", &all[..all.len().min(MOST_BARS)]);
    let about = "Reports of all these weeks: one a title, installation and week.";
    section(out, "Versions", about, &chart, &["Title", "Version", "Reports"], &rows);

    let bars: Vec<Bar> =
        report.daws.iter().map(|s| Bar { name: daw_title(&s.name).to_owned(), value: s.reports }).collect();
    let rows: Vec<_> = bars.iter().map(|b| (vec![b.name.clone()], vec![b.value])).collect();
    let chart = chart::bars("Reports by DAW", &bars[..bars.len().min(MOST_BARS)]);
    section(out, "DAWs", about, &chart, &["DAW", "Reports"], &rows);

    let bars: Vec<Bar> = report.uses.iter().map(|s| Bar { name: s.name.clone(), value: s.reports }).collect();
    let rows: Vec<_> = bars.iter().map(|b| (vec![b.name.clone()], vec![b.value])).collect();
    let chart = chart::bars("Reports by uses a week", &bars);
    section(out, "How often a title is used in a week", about, &chart, &["Uses a week", "Reports"], &rows);
}

fn section(
    out: &mut String,
    title: &str,
    about: &str,
    chart: &str,
    heads: &[&str],
    rows: &[(Vec<String>, Vec<u64>)],
) {
    let _ = write!(
        out,
        "<section><h2>{}</h2><p>{}</p><figure>{chart}</figure>\
         <details><summary>The same as a table</summary><div class=\"wide\"><table><thead><tr>",
        escape(title),
        escape(about)
    );
    let named = rows.first().map_or(1, |(names, _)| names.len());
    for (at, head) in heads.iter().enumerate() {
        let class = if at >= named { " class=\"figure\"" } else { "" };
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escape(head));
    }
    out.push_str("</tr></thead><tbody>");
    for (names, figures) in rows {
        out.push_str("<tr>");
        for name in names {
            let _ = write!(out, "<td>{}</td>", escape(name));
        }
        for figure in figures {
            let _ = write!(out, "<td class=\"figure\">{figure}</td>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></details></section>\n");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::store::Published;
    use super::*;

    #[test]
    fn the_page_has_no_script_escapes_names_and_its_policy_fits() {
        let evil = "<img src=x onerror=alert(1)>";
        let cell = Published {
            week: "2026-W49".parse().unwrap(),
            product_id: "com.example.synth".into(),
            product_version: "1.0".into(),
            daw: "reaper".into(),
            uses: "2-4".into(),
            reports: 42,
        };
        let closed = BTreeSet::from(["2026-W49".parse().unwrap()]);
        let report = Report::of(vec![cell], &closed, &Filter::default());
        let names = BTreeMap::from([("com.example.synth".to_owned(), evil.to_owned())]);
        let page = html(evil, &report, &Filter::default(), &names);
        assert!(!page.contains("<img") && !page.contains("<script") && !page.contains(" style="), "{page}");
        assert!(page.contains("REAPER") && page.contains("42") && page.matches("<svg").count() == 4);
        let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let hash = data_encoding::BASE64.encode(digest::digest(&digest::SHA256, style.as_bytes()).as_ref());
        assert!(POLICY.contains(&format!("'sha256-{hash}'")) && POLICY.starts_with("default-src 'none'"));
    }

    #[test]
    fn an_empty_page_says_what_to_wait_for() {
        let report = Report::of(vec![], &BTreeSet::new(), &Filter::default());
        let page = html("Example", &report, &Filter::default(), &BTreeMap::new());
        assert!(page.contains("three weeks after") && !page.contains("<svg"));
    }

    #[test]
    fn many_titles_share_the_last_colour() {
        let cells: Vec<Published> = (0..12)
            .map(|n| Published {
                week: "2026-W49".parse().unwrap(),
                product_id: format!("com.example.t{n:02}"),
                product_version: "1.0".into(),
                daw: "reaper".into(),
                uses: "1".into(),
                reports: 100 + n,
            })
            .collect();
        let closed = BTreeSet::from(["2026-W49".parse().unwrap()]);
        let report = Report::of(cells, &closed, &Filter::default());
        let page = html("Example", &report, &Filter::default(), &BTreeMap::new());
        assert!(page.contains("5 more titles together") && page.matches("<polyline").count() == 8);
    }
}
