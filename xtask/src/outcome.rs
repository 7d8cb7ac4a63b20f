//! Counting what `cargo test` reports: how many passed and failed, suite by suite.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::shell::{self, Failure, Result};

/// What became of one suite.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// `#[ignore]`d tests, if somebody writes one: counted so that none is skipped in silence.
    pub(crate) skipped: u64,
    pub(crate) failures: Vec<String>,
    pub(crate) took: Duration,
}

/// Runs a `cargo test`, showing its output, and counts. A build that fails counts as one failure.
pub(crate) fn cargo_test(command: &mut Command) -> Result<Outcome> {
    shell::heading(&format!("$ {}", shell::typed(command)));
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Failure::new(format!("cargo cannot be started: {e}")))?;
    let mut outcome = Outcome::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            outcome.read_line(&line);
        }
    }
    let status = child.wait()?;
    if !status.success() && outcome.failed == 0 {
        outcome.failed = 1;
        outcome.failures.push(format!("`{}` ended with {status}", shell::typed(command)));
    }
    outcome.took = begun.elapsed();
    Ok(outcome)
}

impl Outcome {
    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …` and `test some::name ... FAILED`.
    fn read_line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            for part in counts.split([';', '.']) {
                let mut words = part.split_whitespace();
                let (Some(number), Some(what)) =
                    (words.next().and_then(|n| n.parse::<u64>().ok()), words.next())
                else {
                    continue;
                };
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.skipped += number,
                    _ => {}
                }
            }
        } else if let Some(name) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn counts_are_read_from_cargo_s_own_lines() {
        let mut outcome = Outcome::default();
        for line in [
            "running 4 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.25s",
        ] {
            outcome.read_line(line);
        }
        assert_eq!((outcome.passed, outcome.failed, outcome.skipped), (42, 1, 1));
        assert_eq!(outcome.failures, ["a::c"]);
    }
}
