//! The policy's `bundle`: offline answers that are imported at every start, for computers that are reset to an image
//! each night and forget their licenses with it.

use std::path::Path;
use std::rc::Rc;

use claviger_protocol::offline::{AnswerFor, BlockKind, MAX_FILE_LEN, Refusal, read};

use super::Engine;
use crate::platform;

impl Engine {
    /// Imports this computer's own answers out of the policy's bundle, if it names one. What cannot be used is logged;
    /// the daemon starts all the same.
    pub async fn import_policy_bundle(self: &Rc<Self>) {
        let Some(path) = self.policy.bundle.clone() else { return };
        let file = path.display().to_string();
        let trouble = self.import_bundle(&path, &file).await.err();
        if let Some(trouble) = &trouble {
            tracing::error!(file, "the policy's bundle {trouble}");
        }
        *self.bundle_trouble.borrow_mut() = trouble;
        platform::trim_memory();
    }

    /// An error is the rest of a sentence about the bundle, without its stop.
    async fn import_bundle(self: &Rc<Self>, path: &Path, file: &str) -> Result<(), String> {
        let bytes = match platform::read_bounded(path, MAX_FILE_LEN) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err("is missing".to_owned()),
            Err(e) => return Err(format!("cannot be read: {}", e.source)),
        };
        let contents = read(&bytes).map_err(|e| format!("cannot be used: {e}"))?;
        drop(bytes);
        let mut refused = None;
        if contents.cut_off || !contents.damaged.is_empty() {
            tracing::warn!(
                file,
                damaged = contents.damaged.len(),
                cut_off = contents.cut_off,
                "the policy's bundle is not whole"
            );
        }
        let answers: Vec<String> = contents
            .of(BlockKind::Response)
            .filter(|block| AnswerFor::read(&block.text).is_ok_and(|whose| self.is_for_us(&whose)))
            .map(|block| block.text.clone())
            .collect();
        for block in contents.of(BlockKind::Refusal) {
            let refusal = Refusal::from_text(&block.text);
            let ours = |r: &Refusal| {
                self.known_vendors()
                    .iter()
                    .any(|v| self.machine.id_for(v.id()).is_ok_and(|id| id == r.machine_id))
            };
            if let Some(refusal) = refusal.filter(ours) {
                tracing::warn!(
                    file,
                    code = refusal.code.code(),
                    "the vendor refused this computer's request"
                );
                refused = Some(refusal.code);
            }
        }
        let taken = self.import_offline_answers(&answers).await;
        for item in taken.iter().filter(|item| item.code.is_some()) {
            let code = item.code.as_deref().unwrap_or_default();
            tracing::warn!(file, code, "an answer in the policy's bundle was not taken");
        }
        let activated = taken.iter().filter(|item| item.changed).count();
        tracing::info!(file, ours = answers.len(), activated, "the policy's bundle was imported");
        // What was given up here on purpose is no trouble.
        let ended = |code: &str| matches!(code, "already_given_up" | "already_ended");
        let failed = taken
            .iter()
            .filter(|item| item.code.as_deref().is_some_and(|code| !ended(code)))
            .find_map(|item| item.message.as_deref());
        match (failed, refused) {
            (Some(message), _) => {
                Err(format!("has an answer that was not taken: {}", message.trim_end_matches('.')))
            }
            (None, Some(code)) => Err(format!(
                "says that the vendor refused this computer: {}",
                code.title().trim_end_matches('.')
            )),
            (None, None) if answers.is_empty() => Err("has no answer for this computer".to_owned()),
            (None, None) => Ok(()),
        }
    }

    fn is_for_us(&self, whose: &AnswerFor) -> bool {
        self.machine.id_for(&whose.vendor).is_ok_and(|id| Some(id) == whose.machine_id)
    }
}
