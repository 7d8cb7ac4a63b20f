//! What is found when looking around, to read and to copy for support.

use claviger_protocol::ipc::{Finding, Level};

use super::Controller;
use crate::view::Change;
use crate::{text, ui};

impl Controller {
    pub(super) fn found(&mut self, findings: Vec<Finding>) {
        self.looking = false;
        let row = |finding: Finding| ui::Finding {
            name: text::line(&finding.name.replace('_', " "), 40).into(),
            level: match finding.level {
                Level::Ok => ui::Level::Good,
                Level::Warning => ui::Level::Warn,
                Level::Error => ui::Level::Bad,
            },
            message: text::sentence(&finding.message).into(),
            advice: text::breakable(&text::line(finding.advice.as_deref().unwrap_or_default(), 600)).into(),
        };
        self.findings = findings.into_iter().take(200).map(row).collect();
        let mut lines = vec![format!("Claviger {}", env!("CARGO_PKG_VERSION"))];
        for finding in &self.findings {
            let word = match finding.level {
                ui::Level::Good => "ok",
                ui::Level::Warn => "warning",
                _ => "problem",
            };
            lines.push(
                format!("{word}: {}: {} {}", finding.name, finding.message, finding.advice)
                    .trim_end()
                    .to_owned(),
            );
        }
        self.findings_text = lines.join("\n");
        self.show_findings();
    }

    pub(super) fn show_findings(&self) {
        self.view.show(Change::Findings {
            findings: self.findings.clone(),
            healthy: self.findings.iter().all(|finding| finding.level == ui::Level::Good),
            asked: !self.findings.is_empty(),
            busy: self.looking,
        });
    }
}
