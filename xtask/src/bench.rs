//! `cargo xtask bench`: builds for release, runs the bench programs, prints each figure beside its floor and its goal.
//!
//! A bench program is `tests/src/bin/bench_*.rs`. It prints one JSON object a line:
//! `{"what":"…","figure":1.2,"unit":"ns","floor":1.0,"floor_what":"…","ratio":1.2,"goal":"…","met":true,"baseline":"…"}`.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::shell::{self, Failure, Result};

pub(crate) fn run(args: &[String]) -> Result<()> {
    let json = args.iter().any(|a| a == "--json");
    let filter = args.iter().find(|a| !a.starts_with('-'));
    if let Some(unknown) = args.iter().find(|a| a.starts_with('-') && *a != "--json") {
        return Err(Failure::new(format!("`bench` does not know {unknown}; see cargo xtask --help")));
    }
    let names = programs(filter.map(String::as_str))?;
    if names.is_empty() {
        return Err(Failure::new("no bench program has that in its name"));
    }

    let mut build = shell::cargo();
    build.args([
        "build",
        "--release",
        "-p",
        "claviger-server",
        "-p",
        "claviger-daemon",
        "-p",
        "claviger-cli",
    ]);
    build.args(["-p", "claviger-tests", "--features", "claviger-tests/bench", "--bins"]);
    let target = shell::target_dir()?;
    quietly(&mut build, json)?;
    let mut plugin = shell::cargo();
    plugin.args(["build", "--release", "-p", "claviger-example-clap"]);
    quietly(&mut plugin, json)?;
    if names.iter().any(|name| name == "bench_window") {
        // Ten minutes: only for those who want its figures.
        quietly(shell::cargo().args(["build", "--release", "-p", "claviger-desktop"]), json)?;
    }
    crate::dist::build_capi(json)?;

    let mut rows = Vec::new();
    let mut broken = Vec::new();
    for name in &names {
        eprintln!("running {name} …");
        let mut program = Command::new(target.join("release").join(name));
        program
            .current_dir(shell::root())
            .env("CLAVIGER_TEST_PROGRAMS", target.join("release"))
            .env("CLAVIGER_CAPI", crate::dist::capi_folder()?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child =
            program.spawn().map_err(|e| Failure::new(format!("{name} cannot be started: {e}")))?;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                let line = line?;
                match serde_json::from_str::<Value>(&line) {
                    Ok(row) if row.is_object() => {
                        if json {
                            println!("{row}");
                        }
                        rows.push(row);
                    }
                    _ => eprintln!("  {line}"),
                }
            }
        }
        let status = child.wait()?;
        if !status.success() {
            broken.push(format!("{name} ended with {status}"));
        }
    }
    if !json {
        table(&rows);
    }
    let missed = rows.iter().filter(|row| row["met"] == Value::Bool(false)).count();
    if !broken.is_empty() {
        return Err(Failure::new(broken.join("; ")));
    }
    if !json {
        println!("\n{} figures, {missed} short of their goal", rows.len());
    }
    Ok(())
}

/// In `--json` mode nothing but JSON reaches standard output.
fn quietly(command: &mut Command, json: bool) -> Result<()> {
    if !json {
        return shell::run(command);
    }
    let status = command.stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(Failure::new("the build failed")) }
}

fn programs(filter: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(shell::root().join("tests/src/bin"))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if name.starts_with("bench_") && filter.is_none_or(|f| name.contains(f)) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn table(rows: &[Value]) {
    let head = ["what", "figure", "floor", "ratio", "goal", "met", "others"];
    let mut cells: Vec<[String; 7]> = vec![head.map(str::to_owned)];
    for row in rows {
        let unit = text(&row["unit"]);
        let floor = match (number(&row["floor"]), text(&row["floor_what"])) {
            (n, _) if n.is_empty() => String::new(),
            (n, what) if what.is_empty() => n,
            (n, what) => format!("{n} ({what})"),
        };
        let met = match &row["met"] {
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "NO".to_owned(),
            _ => "-".to_owned(),
        };
        cells.push([
            text(&row["what"]),
            format!("{} {unit}", number(&row["figure"])).trim().to_owned(),
            floor,
            number(&row["ratio"]),
            text(&row["goal"]),
            met,
            text(&row["baseline"]),
        ]);
    }
    let widths: Vec<usize> =
        (0..7).map(|column| cells.iter().map(|c| c[column].chars().count()).max().unwrap_or(0)).collect();
    println!();
    for (index, row) in cells.iter().enumerate() {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        println!("{}", line.join("  ").trim_end());
        if index == 0 {
            println!("{}", widths.iter().map(|w| "-".repeat(*w)).collect::<Vec<_>>().join("  "));
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A figure with as many digits as it deserves.
fn number(value: &Value) -> String {
    let Some(figure) = value.as_f64() else { return String::new() };
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 0.1 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn figures_keep_the_digits_that_matter() {
        let shown: Vec<String> =
            [0.0, 5231.4, 12.34, 1.234, 0.01234].iter().map(|n| number(&serde_json::json!(n))).collect();
        assert_eq!(shown, ["0", "5231", "12.3", "1.23", "0.0123"]);
    }
}
