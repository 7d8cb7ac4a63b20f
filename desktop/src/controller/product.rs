//! One product's page, and deactivating.

use claviger_protocol::ipc::{DeactivateReply, License};

use super::{Controller, Pending, problem};
use crate::catalog::{self, Entry, Look};
use crate::desk::Trouble;
use crate::tasks::Task;
use crate::view::{Change, DetailView, Form};
use crate::{dates, text, ui};

/// The page that is open.
#[derive(Default)]
pub(super) struct Open {
    pub(super) key: String,
    pub(super) problem: ui::Problem,
    pub(super) seats_busy: bool,
    pub(super) seats_problem: ui::Problem,
}

impl Controller {
    pub(super) fn open_product(&mut self, key: String) {
        if self.catalog.find(&key).is_some() {
            self.product = Open { key, ..Open::default() };
            self.show_detail();
            self.go(ui::Page::Product);
        }
    }

    pub(super) fn show_detail(&mut self) {
        if self.product.key.is_empty() {
            return;
        }
        let look = Look { now: self.now(), language: self.language(), busy: &self.busy };
        let catalog = self.catalog.clone();
        let Some(entry) = catalog.find(&self.product.key) else {
            // What was given up keeps its row under its serial number; what is gone is gone.
            self.product = Open::default();
            if self.page == ui::Page::Product {
                self.go(ui::Page::Products);
            }
            return;
        };
        let told = self.seats_of(entry.license.activation);
        self.view.show(Change::Detail(DetailView {
            product: catalog.row(entry, &look),
            facts: self.facts(&entry.license),
            certificate: entry.license.certificate.clone().unwrap_or_default(),
            busy: self.busy.contains(&self.product.key),
            problem: self.product.problem.clone(),
            support: self
                .vendors
                .iter()
                .find(|vendor| vendor.id == entry.license.vendor)
                .and_then(|vendor| vendor.support.as_deref())
                .map(|support| text::line(support, 200))
                .unwrap_or_default(),
            seats: told.map(|told| self.seat_rows(told)).unwrap_or_default(),
            history: told.map(|told| self.event_rows(told)).unwrap_or_default(),
            total: told.map_or(0, |told| told.total),
            taken: told.map_or(0, |told| told.taken),
            seats_known: told.is_some(),
            seats_busy: self.product.seats_busy,
            seats_problem: self.product.seats_problem.clone(),
        }));
    }

    /// What support asks for. Empty ones are left out.
    fn facts(&self, license: &License) -> Vec<ui::Fact> {
        let language = self.language();
        let day = |moment: Option<claviger_protocol::clock::Timestamp>| {
            moment.map(|moment| dates::day(moment, language)).unwrap_or_default()
        };
        let others: Vec<&str> = license
            .opens
            .iter()
            .filter(|id| **id != license.product)
            .map(|id| id.as_str())
            .take(20)
            .collect();
        let since = dates::day(license.since, language);
        let rows = [
            ("status", license.status.code().to_owned()),
            ("serial", license.serial.to_string()),
            ("product", license.product.to_string()),
            ("vendor", format!("{} ({})", text::name(&license.vendor_name, ""), license.vendor)),
            ("kind", catalog::kind(license.kind).to_owned()),
            (if catalog::ended(license) { "ended" } else { "since" }, since),
            (
                "updates",
                license.updates_until.map(|date| dates::calendar(date, language)).unwrap_or_default(),
            ),
            ("paid", day(license.paid_through)),
            ("expires", day(license.expires)),
            ("opens", text::line(&others.join(", "), 600)),
            ("features", text::line(&license.entitlements.join(", "), 600)),
            ("by", license.ended_by.as_ref().map(|name| text::name(name.as_str(), "")).unwrap_or_default()),
            ("activation", license.activation.to_string()),
            ("revision", license.revision.to_string()),
        ];
        rows.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(label, value)| ui::Fact { label: label.into(), value: text::breakable(&value).into() })
            .collect()
    }

    /// The particulars as text, in English and with stable dates: support reads them, in whatever language.
    pub(super) fn copy_detail(&mut self) {
        let Some(entry) = self.catalog.find(&self.product.key) else { return };
        let license = &entry.license;
        let mut lines = vec![
            format!("product: {} ({})", entry.name, license.product),
            format!("vendor: {} ({})", text::name(&license.vendor_name, ""), license.vendor),
            format!("serial number: {}", license.serial),
            format!("state: {}", license.status.code()),
            format!("license: {}", catalog::kind(license.kind)),
            format!("activation: {}, revision {}", license.activation, license.revision),
            format!("since: {}", license.since),
        ];
        lines.extend(license.updates_until.map(|date| format!("updates until: {date}")));
        lines.extend(license.expires.map(|end| format!("works until: {end}")));
        lines.extend(
            self.machines
                .iter()
                .find(|m| m.vendor == license.vendor)
                .map(|m| format!("machine: {}", m.machine_id)),
        );
        lines.push(format!("Claviger {}", env!("CARGO_PKG_VERSION")));
        lines.extend(license.certificate.as_ref().map(|certificate| format!("certificate:\n{certificate}")));
        self.copy(&lines.join("\n"));
    }

    pub(super) fn ask_deactivate(&mut self, key: &str) {
        let key = if key.is_empty() { self.product.key.clone() } else { key.to_owned() };
        let Some(name) = self.catalog.find(&key).map(|entry| entry.name.to_string()) else { return };
        if !self.busy.contains(&key) {
            self.ask(Pending::Deactivate(key), "deactivate", &name);
        }
    }

    pub(super) fn deactivate(&mut self, key: String) {
        let Some(target) = self.catalog.find(&key).map(target) else { return };
        self.busy.push(key.clone());
        self.product.problem = ui::Problem::default();
        self.show_products();
        self.show_detail();
        self.hands.begin(Task::Deactivate { key, target });
    }

    pub(super) fn deactivated(&mut self, key: &str, answer: Result<Box<DeactivateReply>, Trouble>) {
        self.busy.retain(|busy| busy != key);
        match answer {
            Ok(reply) => {
                let name = text::name(&reply.license.product_name, reply.license.product.as_str());
                if self.page == ui::Page::Product {
                    self.go(ui::Page::Products);
                }
                self.say(if reply.delivered { "deactivated" } else { "deactivated-later" }, &name);
            }
            Err(trouble) => {
                if self.product.key != key || self.page != ui::Page::Product {
                    self.open_product(key.to_owned());
                }
                self.product.problem = problem(&trouble);
            }
        }
        self.show_products();
        self.show_detail();
    }

    /// Activating again needs the unlock code, which nobody has kept: the form asks for it.
    pub(super) fn activate_again(&mut self, key: &str) {
        let key = if key.is_empty() { self.product.key.clone() } else { key.to_owned() };
        let Some(serial) = self.catalog.find(&key).map(|entry| entry.license.serial.to_string()) else {
            return;
        };
        self.go(ui::Page::Add);
        self.add_again();
        self.fill_in(Form::Adding, &serial);
    }
}

/// What names a license towards the daemon: its activation, which is nobody else's.
pub(super) fn target(entry: &Entry) -> String {
    if entry.license.activation.0 == [0; 16] {
        entry.license.serial.to_string()
    } else {
        entry.license.activation.to_string()
    }
}
