//! `cargo xtask test`: every suite, what it needs, and what ran.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cross::{self, Use};
use crate::outcome::{self, Outcome};
use crate::shell::{self, Failure, Result};
use crate::{sanitize, tools, wine};

/// What an end-to-end test file needs of the machine it runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Rust and a C compiler.
    Nothing,
    /// Linux with namespaces: machines with another machine id, disks of their own.
    Namespaces,
    /// Root: other users.
    Root,
    /// Python with the `varlink` package.
    Python,
    /// Chromium and its driver.
    Browser,
    /// Plug-in hosts, C++ and CMake.
    Hosts,
    /// An X server without a monitor, and the desktop's accessibility bus.
    Screen,
    /// Windows programs and Wine to run them.
    Wine,
    /// The C library built with sanitizers.
    Sanitizers,
}

/// How much of a file runs a second time, with Windows programs under Wine, where every process takes ten times as long.
#[derive(Clone, Copy)]
enum Part {
    /// All of it.
    All,
    /// The tests whose name contains this; all of it with --slow.
    Only(&'static str),
    /// All but the tests whose name contains this, which Wine cannot show.
    Except(&'static str, &'static str),
    /// All of it with --slow, else nothing.
    Slow,
}

/// Files that run a second time, with Windows programs under Wine.
const UNDER_WINE: &[(&str, Part)] = &[
    ("journey", Part::All),
    ("windows", Part::All),
    ("hostile_documents", Part::All),
    ("hostile_peers", Part::Except("ten_thousand", "Wine's one server would be what is tried")),
    ("kill9", Part::Only("at_random_moments")),
    ("disk", Part::Only("damage")),
    ("computers", Part::Slow),
    ("consent", Part::Only("a_person_decides")),
    ("offline", Part::Slow),
    ("seats", Part::Slow),
    ("replace_machine", Part::Slow),
    ("same_machine", Part::Slow),
    ("restore", Part::Slow),
    ("sent_log", Part::Slow),
];

/// Every file in `tests/tests`. A file that is not listed here is an error, so that none is forgotten.
const END_TO_END: &[(&str, Needs)] = &[
    ("canary", Needs::Namespaces),
    ("computers", Needs::Namespaces),
    ("consent", Needs::Nothing),
    ("disk", Needs::Root),
    ("forged_profile", Needs::Nothing),
    ("fuzz_replay", Needs::Nothing),
    ("hostile_documents", Needs::Nothing),
    ("hostile_peers", Needs::Nothing),
    ("journey", Needs::Nothing),
    ("kill9", Needs::Nothing),
    ("namespaces", Needs::Namespaces),
    ("offline", Needs::Root),
    ("network", Needs::Nothing),
    ("operations_page", Needs::Namespaces),
    ("other_users", Needs::Root),
    ("plugin_ardour", Needs::Hosts),
    ("plugin_clap", Needs::Hosts),
    ("plugin_jalv", Needs::Hosts),
    ("plugin_safety", Needs::Root),
    ("plugin_sdk", Needs::Hosts),
    ("portal", Needs::Browser),
    ("race", Needs::Nothing),
    ("replace_machine", Needs::Namespaces),
    ("restore", Needs::Nothing),
    ("same_machine", Needs::Namespaces),
    ("sanitizers", Needs::Sanitizers),
    ("seats", Needs::Namespaces),
    ("sent_log", Needs::Nothing),
    ("stolen_key", Needs::Nothing),
    ("system_mode", Needs::Root),
    ("tls", Needs::Nothing),
    ("usage_kill", Needs::Nothing),
    ("usage_silence", Needs::Root),
    ("usage_week", Needs::Root),
    ("varlink_python", Needs::Python),
    ("window", Needs::Screen),
    ("window_hostile", Needs::Screen),
    ("window_manners", Needs::Screen),
    ("window_pictures", Needs::Screen),
    ("windows", Needs::Wine),
];

/// The demo must be through in this time, once it is built.
const DEMO_LIMIT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Options {
    core: bool,
    slow: bool,
    install: bool,
    filter: Option<String>,
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options::default();
    for arg in args {
        match arg.as_str() {
            "--core" => options.core = true,
            "--slow" => options.slow = true,
            "--install" => options.install = true,
            other if other.starts_with('-') => {
                return Err(Failure::new(format!("`test` does not know {other}; see cargo xtask --help")));
            }
            other => options.filter = Some(other.to_owned()),
        }
    }
    Ok(options)
}

/// One line of the closing list.
struct Line {
    suite: String,
    outcome: std::result::Result<Outcome, String>,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = options(args)?;
    let files = listed_files()?;
    let found = tools::ensure(!options.core, options.install || shell::is_root())?;
    let begun = Instant::now();
    let mut lines = Vec::new();
    // A suite that builds everything its own way needs nothing of what follows.
    if options.filter.as_deref().is_some_and(|filter| filter.starts_with("sanitizers")) {
        sanitized(&options, &mut lines)?;
        return close(&lines, options.slow, begun.elapsed());
    }

    let mut units = shell::cargo();
    units.args(["test", "--workspace", "--exclude", "claviger-tests", "--no-fail-fast"]);
    if options.core {
        // Building the window takes longer than all the rest.
        units.args(["--exclude", "claviger-desktop"]);
    }
    units.args(&options.filter);
    hermetic(&mut units);
    if options.slow {
        units.env("CLAVIGER_TEST_SLOW", "1");
    }
    lines.push(Line {
        suite: "each package by itself".to_owned(),
        outcome: Ok(outcome::cargo_test(&mut units)?),
    });

    let programs = match build_programs(options.core) {
        Ok(folder) => Some(folder),
        Err(failure) => {
            let outcome = Outcome { failed: 1, failures: vec![failure.to_string()], ..Outcome::default() };
            lines.push(Line { suite: "building the programs".to_owned(), outcome: Ok(outcome) });
            None
        }
    };
    if let Some(programs) = &programs {
        end_to_end(&files, &options, programs, found.python.as_deref(), &mut lines)?;
        if options.filter.as_deref().is_none_or(|filter| "demo".contains(filter)) {
            lines.push(Line { suite: "demo".to_owned(), outcome: Ok(demo()?) });
        }
    }
    if let Some(programs) = &programs {
        under_wine(&options, programs, &mut lines)?;
    }
    sanitized(&options, &mut lines)?;
    close(&lines, options.slow, begun.elapsed())
}

/// Why something did not run.
const SLOW: &str = "only with --slow";

/// The same tests with Windows programs.
fn under_wine(options: &Options, native: &Path, lines: &mut Vec<Line>) -> Result<()> {
    let name = |file: &str| format!("Windows under Wine: {file}");
    let wanted =
        |(file, _): &&(&str, Part)| options.filter.as_deref().is_none_or(|filter| file.contains(filter));
    let files: Vec<&(&str, Part)> = UNDER_WINE.iter().filter(wanted).collect();
    if files.is_empty() {
        return Ok(());
    }
    let reason = if options.core {
        Some("not part of --core".to_owned())
    } else if !shell::is_root() {
        Some("needs root: sudo -E cargo xtask test".to_owned())
    } else {
        cross::ensure(Use::Run, true).err().map(|missing| missing.to_string())
    };
    if let Some(reason) = reason {
        lines.push(Line { suite: name("everything"), outcome: Err(reason) });
        return Ok(());
    }
    let begun = Instant::now();
    let computer = match wine::start() {
        Ok(computer) => computer,
        Err(failure) => {
            let outcome = Outcome { failed: 1, failures: vec![failure.to_string()], ..Outcome::default() };
            lines.push(Line { suite: name("building the programs"), outcome: Ok(outcome) });
            return Ok(());
        }
    };
    let built = Outcome { took: begun.elapsed(), ..Outcome::default() };
    lines.push(Line { suite: name("building the programs"), outcome: Ok(built) });
    for (file, part) in files {
        let mut tests = shell::cargo();
        tests.args(["test", "-q", "-p", "claviger-tests", "--no-fail-fast", "--test", file]);
        let rest = format!("{}, the rest", name(file));
        // Most of the time goes by with waiting for Wine to start something.
        let mut more = vec!["--", "--format", "pretty", "--test-threads", "4"];
        match part {
            Part::Except(these, why) => {
                more.extend(["--skip", these]);
                lines.push(Line { suite: rest, outcome: Err((*why).to_owned()) });
            }
            _ if options.slow => {}
            Part::All => {}
            Part::Only(these) => {
                tests.arg(these);
                lines.push(Line { suite: rest, outcome: Err(SLOW.to_owned()) });
            }
            Part::Slow => {
                lines.push(Line { suite: name(file), outcome: Err(SLOW.to_owned()) });
                continue;
            }
        }
        tests.args(more);
        hermetic(&mut tests);
        computer.tell(&mut tests, native);
        if options.slow {
            tests.env("CLAVIGER_TEST_SLOW", "1");
        }
        lines.push(Line { suite: name(file), outcome: Ok(outcome::cargo_test(&mut tests)?) });
    }
    Ok(())
}

/// The client library and its C interface with a sanitizer in every line of them.
fn sanitized(options: &Options, lines: &mut Vec<Line>) -> Result<()> {
    for sanitizer in sanitize::ALL {
        let suite = format!("sanitizers: {}", sanitizer.name());
        if options.filter.as_deref().is_some_and(|filter| !suite.contains(filter)) {
            continue;
        }
        let reason = if options.core {
            Some("not part of --core".to_owned())
        } else if !options.slow {
            // The standard library and all dependencies are built anew for each.
            Some("only with --slow".to_owned())
        } else {
            sanitize::ensure(options.install || shell::is_root()).err().map(|missing| missing.to_string())
        };
        if let Some(reason) = reason {
            lines.push(Line { suite, outcome: Err(reason) });
            continue;
        }
        let outcome = sanitize::unit_tests(sanitizer)?;
        lines.push(Line { suite: format!("{suite}, the client library"), outcome: Ok(outcome) });
        let outcome = match sanitize::archive(sanitizer) {
            Ok(archive) => {
                let mut tests = shell::cargo();
                tests.args(["test", "-q", "-p", "claviger-tests", "--test", "sanitizers"]);
                tests.args(["--", "--format", "pretty"]);
                hermetic(&mut tests);
                tests.env("CLAVIGER_TEST_SANITIZER", sanitizer.name());
                tests.env("CLAVIGER_TEST_ARCHIVE", archive);
                sanitizer.environment(&mut tests);
                outcome::cargo_test(&mut tests)?
            }
            Err(failure) => Outcome { failed: 1, failures: vec![failure.to_string()], ..Outcome::default() },
        };
        lines.push(Line { suite: format!("{suite}, the C interface"), outcome: Ok(outcome) });
    }
    Ok(())
}

/// The names in the table, after comparing them with the folder.
fn listed_files() -> Result<Vec<(&'static str, Needs)>> {
    for entry in std::fs::read_dir(shell::root().join("tests/tests"))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|e| e == "rs")
            && !END_TO_END.iter().any(|(listed, _)| *listed == name)
        {
            return Err(Failure::new(format!(
                "tests/tests/{name}.rs is missing in the table of xtask/src/test.rs"
            )));
        }
    }
    Ok(END_TO_END.to_vec())
}

/// Nothing of the person's own settings reaches a test.
fn hermetic(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_lowercase();
        let ours = text.starts_with("claviger_");
        if ours || text.starts_with("xdg_") || matches!(text.as_str(), "do_not_track" | "ssl_cert_file") {
            command.env_remove(&name);
        }
    }
    command.env("RUST_BACKTRACE", "0");
}

/// Builds the three programs with fault points, and the window unless only the core is wanted, and puts them where no later
/// build overwrites them.
fn build_programs(core: bool) -> Result<PathBuf> {
    let mut build = shell::cargo();
    build.args(["build", "-p", "claviger-server", "-p", "claviger-daemon", "-p", "claviger-cli"]);
    build.args(["--features", "claviger-server/fault-points,claviger-daemon/fault-points"]);
    shell::run(&mut build)?;
    let mut names = vec!["claviger-server", "clavigerd", "claviger"];
    if !core {
        // By itself: it is outside the default members, and what it needs of other packages shall not change theirs.
        shell::run(shell::cargo().args(["build", "-p", "claviger-desktop"]))?;
        names.push("claviger-desktop");
    }
    let target = shell::target_dir()?;
    let folder = target.join("test-programs");
    std::fs::create_dir_all(&folder)?;
    for name in names {
        let copy = folder.join(name);
        let _absent = std::fs::remove_file(&copy);
        std::fs::copy(target.join("debug").join(name), &copy)?;
    }
    Ok(folder)
}

fn end_to_end(
    files: &[(&'static str, Needs)],
    options: &Options,
    programs: &Path,
    python: Option<&Path>,
    lines: &mut Vec<Line>,
) -> Result<()> {
    let mut run: Vec<&str> = Vec::new();
    for (name, needs) in files {
        let reason = match needs {
            // Below.
            Needs::Wine | Needs::Sanitizers => continue,
            Needs::Nothing => None,
            Needs::Root if !shell::is_root() => Some("needs root: sudo -E cargo xtask test"),
            _ if options.core => Some("not part of --core"),
            Needs::Namespaces
            | Needs::Root
            | Needs::Python
            | Needs::Browser
            | Needs::Hosts
            | Needs::Screen => None,
        };
        match reason {
            Some(reason) => {
                lines.push(Line { suite: format!("end to end: {name}"), outcome: Err(reason.to_owned()) });
            }
            None => run.push(name),
        }
    }
    for name in run {
        let mut tests = shell::cargo();
        tests.args(["test", "-q", "-p", "claviger-tests", "--no-fail-fast", "--test", name]);
        // The name of a file means all that is in it.
        tests.args(options.filter.iter().filter(|filter| !name.contains(filter.as_str())));
        tests.args(["--", "--format", "pretty"]);
        hermetic(&mut tests);
        tests.env("CLAVIGER_TEST_PROGRAMS", programs);
        if options.slow {
            tests.env("CLAVIGER_TEST_SLOW", "1");
        }
        if let Some(python) = python {
            tests.env("CLAVIGER_TEST_PYTHON", python);
        }
        let outcome = outcome::cargo_test(&mut tests)?;
        lines.push(Line { suite: format!("end to end: {name}"), outcome: Ok(outcome) });
    }
    Ok(())
}

/// The demo as a newcomer runs it, against its time limit; building is not counted.
fn demo() -> Result<Outcome> {
    let mut build = shell::cargo();
    build.args(["build", "-p", "claviger-server", "-p", "claviger-daemon", "-p", "claviger-cli"]);
    shell::run(&mut build)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("demo").current_dir(shell::root());
    hermetic(&mut command);
    let begun = Instant::now();
    let done = shell::run(&mut command);
    let took = begun.elapsed();
    let mut outcome = Outcome { took, ..Outcome::default() };
    match done {
        Ok(()) if took <= DEMO_LIMIT => outcome.passed = 1,
        Ok(()) => {
            outcome.failed = 1;
            outcome.failures.push(format!("the demo took {:.1} s", took.as_secs_f64()));
        }
        Err(failure) => {
            outcome.failed = 1;
            outcome.failures.push(failure.to_string());
        }
    }
    Ok(outcome)
}

/// Says what ran and what did not; the last line is the count.
fn close(lines: &[Line], slow: bool, took: Duration) -> Result<()> {
    shell::heading("\nWhat ran");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for line in lines {
        match &line.outcome {
            Ok(outcome) => {
                let seconds = outcome.took.as_secs_f64();
                let state = if outcome.failed > 0 { "FAILED" } else { "ok" };
                println!(
                    "  {state:6} {:32} {:4} tests {seconds:7.1} s",
                    line.suite,
                    outcome.passed + outcome.failed
                );
                passed += outcome.passed;
                failed += outcome.failed;
                skipped += outcome.skipped;
                for failure in &outcome.failures {
                    println!("           {failure}");
                }
            }
            Err(_) => skipped += 1,
        }
    }
    let left_out: Vec<&Line> = lines.iter().filter(|line| line.outcome.is_err()).collect();
    if !left_out.is_empty() || !slow {
        shell::heading("What did not run");
        for line in left_out {
            if let Err(reason) = &line.outcome {
                println!("  {:32} {reason}", line.suite);
            }
        }
        if !slow {
            println!("  1,000 kill -9 cycles (50 ran)     only with --slow");
            println!("  most screens at twice their size  only with --slow");
        }
    }
    println!("\n{:.0} s in all", took.as_secs_f64());
    let tail = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    println!("{passed} passed, {failed} failed{tail}");
    if failed > 0 { Err(Failure::quiet()) } else { Ok(()) }
}
