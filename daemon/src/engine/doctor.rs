//! What the daemon finds wrong with itself, and how to mend it.

use claviger_protocol::ipc::{Finding, Level};

use super::Engine;
use crate::egress::Failure;
use crate::highwater;
use crate::platform::{self, FileError, Visibility};

impl Engine {
    /// Looks at everything that can go wrong here; sends nothing.
    #[must_use]
    pub async fn doctor(&self) -> Vec<Finding> {
        let mut all = vec![self.look_at_policy(), self.look_at_machine_id()];
        all.push(self.look_at_folder("state_folder", self.state.root(), Visibility::Private));
        all.push(self.look_at_folder("certificate_store", self.store.root(), Visibility::Public));
        all.push(self.look_at_clock());
        for (path, stands) in self.store.misplaced().into_iter().chain(self.state.misplaced()) {
            all.push(error(
                "misplaced",
                format!("{} is {stands}.", path.display()),
                "Move it away; the daemon makes what it needs anew, and no seat is lost by it.",
            ));
        }
        if let Some(place) = &self.foreign_state {
            all.push(warning(
                "foreign_state",
                format!("The state folder came from another machine and was moved to {}.", place.display()),
                "Activate your licenses on this machine; delete that folder when you do not need it.",
            ));
        }
        let vendors = self.known_vendors();
        if vendors.is_empty() {
            all.push(warning(
                "vendors",
                "No vendor is known.".to_owned(),
                "Add one with `claviger vendor add FILE`, with the profile that it ships.",
            ));
        }
        for vendor in vendors {
            let name = &vendor.profile.name;
            let found =
                self.held(&vendor).await.and_then(|found| self.state.ended(vendor.id()).map(|_| found));
            match found {
                Err(e) => all.push(error("activations", format!("{name}: {e}: {}.", e.source), e.advice())),
                Ok(found) => {
                    for broken in &found.broken {
                        all.push(error(
                            "activation",
                            format!("{name}: the activation {} is {}.", broken.id, broken.status.code()),
                            broken.status.sentence(),
                        ));
                    }
                    let foreign = found.held.iter().filter(|h| !self.is_ours(&h.certificate)).count();
                    if foreign > 0 {
                        all.push(warning(
                            "other_machine",
                            format!(
                                "{name}: {} to another machine.",
                                counted(foreign, "activation belongs", "activations belong")
                            ),
                            "Activate your licenses on this machine.",
                        ));
                    }
                    if found.broken.is_empty() {
                        all.push(ok(
                            "activations",
                            format!("{name}: {}.", counted(found.held.len(), "activation", "activations")),
                        ));
                    }
                }
            }
            let receipts = self.state.count(vendor.id(), "outbox", ".receipt");
            if receipts > 0 {
                all.push(warning(
                    "receipts",
                    format!(
                        "{name}: {} for its server.",
                        counted(receipts, "receipt waits", "receipts wait")
                    ),
                    "They are sent when the network is back, or with `claviger license refresh`.",
                ));
            }
            let intents = self.state.count(vendor.id(), "intents", ".json");
            if intents > 0 {
                all.push(warning(
                    "intents",
                    format!(
                        "{name}: the end of {} is not known yet.",
                        counted(intents, "activation", "activations")
                    ),
                    "They are settled when the network is back, or with `claviger license refresh`.",
                ));
            }
            if vendor.record.borrow().pending.is_some() {
                all.push(warning(
                    "keyset",
                    format!("{name}: a newer keyset waits until certificates were issued anew."),
                    "Run `claviger license refresh` while the network is on.",
                ));
            }
        }
        all
    }

    fn look_at_policy(&self) -> Finding {
        let mut place = self.paths.policy.display().to_string();
        if !platform::MANAGED.is_empty() {
            place = format!("{place} or {}", platform::MANAGED);
        }
        let mend = format!("Mend {place}, then restart the daemon.");
        match (&self.policy.problem, self.policy.network) {
            (Some(problem), _) => error(
                "policy",
                format!(
                    "The administrator's policy cannot be used: {problem}. Network and telemetry are off."
                ),
                &mend,
            ),
            (None, network) => match (self.policy_trouble(), network) {
                (Some(trouble), _) => {
                    let message = format!("The administrator's policy is in force, but {trouble}.");
                    error("policy", message, &mend)
                }
                (None, false) => warning(
                    "policy",
                    "The administrator's policy turns the network off.".to_owned(),
                    "Offline activation works; otherwise ask your administrator.",
                ),
                (None, true) => ok("policy", "The administrator's policy lets the daemon work.".to_owned()),
            },
        }
    }

    /// What the policy names that does not exist or cannot be used, as the rest of a sentence.
    fn policy_trouble(&self) -> Option<String> {
        if let Err(Failure::Setup(why)) = self.egress.try_settings() {
            return Some(why);
        }
        if let Some(path) = &self.policy.bundle {
            let what = if path.is_file() {
                self.bundle_trouble.borrow().clone()
            } else {
                Some("is missing".to_owned())
            };
            if let Some(what) = what {
                return Some(format!("its bundle {} {what}", path.display()));
            }
        }
        let group = self.policy.change_group.as_deref().filter(|name| !platform::group_exists(name));
        group
            .map(|name| format!("this computer knows no group “{name}”: nobody but root can change anything"))
    }

    fn look_at_machine_id(&self) -> Finding {
        match self.machine.tag() {
            Ok(_) => ok("machine_id", "This computer's machine id is readable.".to_owned()),
            Err(e) => error(
                "machine_id",
                format!("{e}."),
                "On Linux, run `systemd-machine-id-setup` as root, or make /etc/machine-id readable.",
            ),
        }
    }

    fn look_at_folder(&self, name: &str, folder: &std::path::Path, visibility: Visibility) -> Finding {
        let probe = folder.join("probe");
        let tried: Result<(), FileError> =
            platform::write_file(&probe, b"probe", visibility).and_then(|()| platform::remove_file(&probe));
        match tried {
            Ok(()) => ok(name, format!("{} can be written.", folder.display())),
            Err(e) => {
                error(name, format!("{} cannot be written: {}.", folder.display(), e.source), e.advice())
            }
        }
    }

    fn look_at_clock(&self) -> Finding {
        let judged = highwater::judge(self.store.clock(), self.now());
        if judged.set_back {
            warning(
                "clock",
                "This computer's clock was set back.".to_owned(),
                "Set it right, then run `claviger license refresh`; subscriptions run on for seven days.",
            )
        } else {
            ok("clock", "This computer's clock has not been set back.".to_owned())
        }
    }
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn ok(name: &str, message: String) -> Finding {
    Finding { name: name.to_owned(), level: Level::Ok, message, advice: None }
}

fn warning(name: &str, message: String, advice: &str) -> Finding {
    Finding { name: name.to_owned(), level: Level::Warning, message, advice: Some(advice.to_owned()) }
}

fn error(name: &str, message: String, advice: &str) -> Finding {
    Finding { name: name.to_owned(), level: Level::Error, message, advice: Some(advice.to_owned()) }
}
