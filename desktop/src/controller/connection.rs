//! The daemon, as the window has it: found, lost and found again, and the list that it tells.

use std::rc::Rc;

use claviger_protocol::ipc::LicensesReply;

use super::{Controller, problem};
use crate::catalog::{Catalog, Listing, Look};
use crate::desk::Trouble;
use crate::tasks::Task;
use crate::view::{Act, Change};
use crate::{text, ui};

impl Controller {
    pub(super) fn start_daemon(&mut self) {
        if !self.starting {
            self.starting = true;
            self.show_connection(ui::Problem { code: "daemon_not_running".into(), ..ui::Problem::default() });
            self.hands.begin(Task::Start);
        }
    }

    pub(super) fn started(&mut self, answer: Result<(), Trouble>) {
        self.starting = false;
        match answer {
            Ok(()) => self.act(Act::Retry),
            Err(trouble) => self.lost(&trouble),
        }
    }

    pub(super) fn lost(&mut self, trouble: &Trouble) {
        // A daemon that ended for a restart is back in a moment: the list stays until it is known to be gone.
        if self.starting && trouble.code == "daemon_not_running" {
            return;
        }
        // The window starts the daemon once by itself; a daemon that ends later was ended by somebody.
        let first = trouble.code == "daemon_not_running" && !std::mem::replace(&mut self.met, true);
        self.connection = match trouble.code.as_str() {
            "daemon_not_running" | "daemon_not_installed" | "system_down" => ui::Connection::Missing,
            "daemon_denied" | "daemon_not_trusted" => ui::Connection::Refused,
            "daemon_gone" if self.connection == ui::Connection::Up => ui::Connection::Connecting,
            _ => ui::Connection::Broken,
        };
        if self.connection == ui::Connection::Connecting {
            self.hands.listen_again();
        }
        self.show_connection(problem(trouble));
        if first {
            self.start_daemon();
        }
    }

    pub(super) fn licenses_changed(&mut self, reply: LicensesReply) {
        // The first list comes while everything is being loaded; after a restart the vendors may be others.
        if self.connection != ui::Connection::Up {
            self.hands.begin(Task::Load);
            return;
        }
        self.take(reply);
        self.show_connection(ui::Problem::default());
    }

    pub(super) fn take(&mut self, reply: LicensesReply) {
        self.warnings = reply.warnings.iter().take(5).map(|warning| text::sentence(warning)).collect();
        self.catalog = Rc::new(Catalog::new(reply.licenses, &self.vendors, self.now()));
        self.loaded = true;
        self.show_products();
        self.show_computers();
        self.show_offline();
        self.show_detail();
    }

    pub(super) fn refresh(&mut self) {
        if !self.refreshing {
            self.refreshing = true;
            self.view.show(Change::Refreshing(true));
            self.hands.begin(Task::Refresh);
        }
    }

    pub(super) fn show_products(&mut self) {
        let sellers = self.catalog.sellers();
        if self.filter.vendor > sellers.len() {
            self.filter.vendor = 0;
        }
        let look = Look { now: self.now(), language: self.language(), busy: &self.busy };
        let listing = Listing::new(self.catalog.clone(), &self.filter, &look);
        self.view.show(Change::Products {
            listing,
            owned: self.catalog.entries.len(),
            counts: self.catalog.counts(),
            vendors: sellers.iter().map(|at| self.catalog.faces[*at].name.to_string()).collect(),
            warnings: self.warnings.clone(),
            cut: self.catalog.cut,
            loaded: self.loaded,
        });
    }

    pub(super) fn show_connection(&self, trouble: ui::Problem) {
        self.view.show(Change::Connection { state: self.connection, trouble, starting: self.starting });
        let status = self.status.as_ref();
        self.view.show(Change::Facts {
            may_change: status.is_none_or(|status| status.may_change),
            system: self.system,
            network: status.is_none_or(|status| status.network),
            daemon: status
                .filter(|_| self.connection == ui::Connection::Up)
                .map(|status| text::line(&status.version, 40))
                .unwrap_or_default(),
        });
    }
}
