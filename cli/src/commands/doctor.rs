//! `claviger doctor`: finds out what is wrong, and says how to mend it. Works without a daemon, and starts none.

use clap::Args;
use claviger_client::manager::doctor::{self, Calendar};
use claviger_protocol::ipc::{Finding, Level};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::progress::Progress;
use crate::text::{self, clean};

/// `claviger doctor`
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

/// Carries `claviger doctor` out.
pub(crate) fn run(_: Arguments, out: &mut Output) -> Result<Exit, Failure> {
    let progress = Progress::start("Looking around", out.is_json());
    let findings = doctor::look_around(&Calendar { date: text::date, moment: text::date_and_time });
    drop(progress);
    let worst = findings.iter().map(|f| f.level).max().unwrap_or(Level::Ok);
    out.json(&json!({ "healthy": worst < Level::Error, "findings": findings }));
    for finding in &findings {
        show(finding, out);
    }
    out.line("");
    Ok(match worst {
        Level::Error => {
            out.line("Something does not work: see what to do above.");
            Exit::Unwell
        }
        Level::Warning => {
            out.line("It works, but look at the warnings.");
            Exit::Done
        }
        Level::Ok => {
            out.line("Everything is as it should be.");
            Exit::Done
        }
    })
}

fn show(finding: &Finding, out: &mut Output) {
    let (look, word) = match finding.level {
        Level::Ok => (Look::Good, "     ok"),
        Level::Warning => (Look::Warning, "warning"),
        Level::Error => (Look::Bad, "problem"),
    };
    let word = out.look(look, word);
    out.line(format!(
        "{word}  {}: {}",
        clean(&finding.name).replace('_', " "),
        text::sentence(&finding.message)
    ));
    for line in finding.advice.iter().flat_map(|advice| advice.lines()) {
        out.line(format!("         {}", text::one_line(line, 600)));
    }
}
