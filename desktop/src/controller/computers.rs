//! Other computers: who holds the seats of what is active here, freeing one, and this computer's own name.

use claviger_client::manager::{Computer, computers};
use claviger_protocol::documents::{SeatChange, SeatEvent, SeatHolder};
use claviger_protocol::ids::{ActivationId, DeviceName};
use claviger_protocol::ipc::{FreeCall, FreeMachineReply, LicenseSeats, Machine, ShowSeatsReply};

use super::questions::{Pending, Undo};
use super::{Controller, problem};
use crate::desk::{Answer, Trouble};
use crate::tasks::{News, Task};
use crate::view::{Act, Change};
use crate::{text, ui};

/// Most computers and events that are listed.
const MOST: usize = 200;

/// The screen “Computers”, and what is known of seats.
#[derive(Default)]
pub(super) struct Computers {
    seats: Vec<LicenseSeats>,
    warnings: Vec<String>,
    known: bool,
    asking: bool,
    renaming: bool,
    /// The computer and license whose seat is being freed.
    freeing: Option<(String, String)>,
    problem: ui::Problem,
}

impl Controller {
    pub(super) fn act_on_computers(&mut self, act: Act) {
        match act {
            Act::Rename(typed) => self.rename(&typed),
            Act::AskSeats if !self.computers.asking => {
                self.computers.asking = true;
                self.computers.problem = ui::Problem::default();
                self.show_computers();
                self.hands.begin(Task::Seats(None));
            }
            Act::AskSeatsOf => {
                let target = self.catalog.find(&self.product.key).map(super::product::target);
                if let Some(target) = target.filter(|_| !self.product.seats_busy) {
                    self.product.seats_busy = true;
                    self.product.seats_problem = ui::Problem::default();
                    self.show_detail();
                    self.hands.begin(Task::Seats(Some(target)));
                }
            }
            Act::Free { serial, machine, name, code } => {
                let open =
                    || self.catalog.find(&self.product.key).map(|entry| entry.license.serial.to_string());
                let serial = if serial.is_empty() { open().unwrap_or_default() } else { serial };
                let told = self.computers.seats.iter().find(|told| told.serial.as_str() == serial);
                let vendor = told.map(|told| told.vendor.clone());
                let call = FreeCall { machine, serial, unlock_code: Some(code), vendor };
                self.ask(Pending::Free(call), "free", &text::name(&name, ""));
            }
            _ => {}
        }
    }

    pub(super) fn free(&mut self, call: FreeCall) {
        self.computers.freeing = Some((call.machine.clone(), call.serial.clone()));
        self.show_computers();
        self.show_detail();
        self.hands.begin(Task::Free(call));
    }

    pub(super) fn hear_of_computers(&mut self, news: News) {
        match news {
            News::Renamed(answer) => self.renamed(answer),
            News::Seats(target, answer) => self.seats_told(target.as_deref(), answer),
            News::Freed(answer) => self.freed(answer),
            _ => {}
        }
    }

    fn seats_told(&mut self, target: Option<&str>, answer: Answer<ShowSeatsReply>) {
        match (target, answer) {
            (None, Ok(reply)) => {
                self.computers.seats = reply.seats;
                self.computers.warnings = reply.warnings.iter().take(5).map(|w| text::sentence(w)).collect();
                (self.computers.known, self.computers.asking) = (true, false);
            }
            (None, Err(trouble)) => {
                self.computers.asking = false;
                self.computers.problem = problem(&trouble);
            }
            (Some(_), Ok(reply)) => {
                self.product.seats_busy = false;
                if reply.seats.is_empty() {
                    let why = reply.warnings.first().map(String::as_str).unwrap_or_default();
                    self.product.seats_problem = problem(&Trouble::new("seats_unknown", why));
                }
                for told in reply.seats {
                    self.computers.seats.retain(|known| known.activation != told.activation);
                    self.computers.seats.push(told);
                }
            }
            (Some(_), Err(trouble)) => {
                self.product.seats_busy = false;
                self.product.seats_problem = problem(&trouble);
            }
        }
        self.show_computers();
        self.show_detail();
    }

    fn freed(&mut self, answer: Answer<FreeMachineReply>) {
        self.computers.freeing = None;
        match answer {
            Ok(reply) => {
                for told in self.computers.seats.iter_mut().filter(|told| told.serial == reply.serial) {
                    told.holders.retain(|holder| holder.machine_id != reply.machine_id);
                    told.taken = told.taken.saturating_sub(1);
                }
                self.computers.problem = ui::Problem::default();
                self.product.seats_problem = ui::Problem::default();
                self.say("seat-freed", &text::name(reply.device_name.as_str(), ""));
            }
            Err(trouble) if self.page == ui::Page::Product => self.product.seats_problem = problem(&trouble),
            Err(trouble) => self.computers.problem = problem(&trouble),
        }
        self.show_computers();
        self.show_detail();
    }

    /// What is known of the seats of an activation.
    pub(super) fn seats_of(&self, activation: ActivationId) -> Option<&LicenseSeats> {
        self.computers.seats.iter().find(|told| told.activation == activation)
    }

    /// The rows of a license's seats.
    pub(super) fn seat_rows(&self, told: &LicenseSeats) -> Vec<ui::Seat> {
        let row = |holder: &SeatHolder| ui::Seat {
            id: holder.machine_id.to_string().into(),
            name: text::name(holder.device_name.as_str(), "").into(),
            since: self.day(holder.since).into(),
            seen: self.day(holder.last_seen).into(),
            here: holder.machine_id == told.machine_id,
            busy: self.is_freeing(&holder.machine_id.to_string(), told.serial.as_str()),
        };
        told.holders.iter().take(MOST).map(row).collect()
    }

    /// What became of a license's seats.
    pub(super) fn event_rows(&self, told: &LicenseSeats) -> Vec<ui::Event> {
        let row = |event: &SeatEvent| {
            let name = text::name(event.device_name.as_str(), "");
            let by = event.by.as_ref().map(|by| text::name(by.as_str(), ""));
            let what = match event.what {
                SeatChange::Activated => "activated",
                SeatChange::GivenUp => "given_up",
                SeatChange::Replaced => "replaced",
                SeatChange::Released => "released",
                SeatChange::Transferred => "transferred",
                SeatChange::Other => "other",
            };
            ui::Event {
                when: self.day(event.at).into(),
                what: what.into(),
                name: by.map_or_else(|| name.clone(), |by| format!("{name} → {by}")).into(),
            }
        };
        told.history.iter().take(MOST).map(row).collect()
    }

    fn is_freeing(&self, machine: &str, serial: &str) -> bool {
        self.computers.freeing.as_ref().is_some_and(|(m, s)| m == machine && s == serial)
    }

    pub(super) fn show_computers(&self) {
        let name = self.machines.first().map(|machine| text::name(machine.device_name.as_str(), ""));
        let all = computers(&self.machines, &self.computers.seats);
        let others = all.iter().filter(|computer| !computer.here && !computer.licenses.is_empty());
        let licenses =
            self.catalog.entries.iter().filter(|entry| entry.license.certificate.is_some()).count();
        self.view.show(Change::Computers {
            name: name.unwrap_or_default(),
            machines: self.machine_rows(),
            others: others.take(MOST).map(|computer| self.other(computer)).collect(),
            warnings: self.computers.warnings.clone(),
            licenses,
            known: self.computers.known,
            asking: self.computers.asking,
            busy: self.computers.renaming,
            problem: self.computers.problem.clone(),
        });
    }

    fn other(&self, computer: &Computer) -> ui::Other {
        let day = |moment: Option<_>| moment.map(|moment| self.day(moment)).unwrap_or_default();
        let id = computer.machine_id.to_string();
        let held = computer.licenses.iter().take(MOST).map(|(serial, product)| ui::Held {
            serial: serial.as_str().into(),
            product: text::name(product, serial.as_str()).into(),
            busy: self.is_freeing(&id, serial.as_str()),
        });
        ui::Other {
            name: text::name(computer.device_name.as_str(), "").into(),
            vendor: self.face(&computer.vendor, "").name,
            since: day(computer.since).into(),
            seen: day(computer.last_seen).into(),
            licenses: slint::ModelRc::new(slint::VecModel::from(held.collect::<Vec<_>>())),
            id: id.into(),
        }
    }

    pub(super) fn machine_rows(&self) -> Vec<ui::Machine> {
        let vendor = |machine: &Machine| {
            self.vendors
                .iter()
                .find(|v| v.id == machine.vendor)
                .map_or_else(|| machine.vendor.to_string(), |v| text::name(&v.name, v.id.as_str()))
        };
        self.machines
            .iter()
            .take(200)
            .map(|machine| ui::Machine {
                vendor: vendor(machine).into(),
                name: text::name(machine.device_name.as_str(), "").into(),
                os: text::line(
                    &format!("{} {}, {}", family(&machine.os_family), machine.os_version, machine.os_arch),
                    160,
                )
                .into(),
                cpu: text::line(&format!("{} ({}×)", machine.cpu_model, machine.cpu_logical_cores), 160)
                    .into(),
                cores: i32::try_from(machine.cpu_logical_cores).unwrap_or(i32::MAX),
                ram: i32::try_from(machine.ram_gib).unwrap_or(i32::MAX),
                id: machine.machine_id.to_string().into(),
            })
            .collect()
    }

    pub(super) fn show_sends(&self) {
        let facts = self.machine_rows().into_iter().next().map(|machine| {
            vec![
                ui::Fact { label: "device".into(), value: machine.name },
                ui::Fact { label: "os".into(), value: machine.os },
                ui::Fact { label: "cpu".into(), value: machine.cpu },
                ui::Fact { label: "ram".into(), value: format!("{} GiB", machine.ram).into() },
                ui::Fact { label: "machine".into(), value: machine.id },
            ]
        });
        self.view.show(Change::Sends(facts.unwrap_or_default()));
    }

    pub(super) fn rename(&mut self, typed: &str) {
        let name = DeviceName::lossy(typed);
        self.computers.renaming = true;
        self.show_computers();
        self.hands.begin(Task::Rename(name));
    }

    fn renamed(&mut self, answer: Result<DeviceName, Trouble>) {
        self.computers.renaming = false;
        match answer {
            Ok(name) => {
                self.computers.problem = ui::Problem::default();
                let before = self.machines.first().map(|machine| machine.device_name.to_string());
                self.undo = before.filter(|before| before != name.as_str()).map(Undo::Name);
                for machine in &mut self.machines {
                    machine.device_name = name.clone();
                }
                self.view.show(Change::Said {
                    word: "renamed",
                    name: text::name(name.as_str(), ""),
                    undo: self.undo.is_some(),
                });
                self.show_sends();
            }
            Err(trouble) => self.computers.problem = problem(&trouble),
        }
        self.show_computers();
    }
}

/// An operating system's family as people write it.
fn family(word: &str) -> &str {
    match word {
        "linux" => "Linux",
        "macos" => "macOS",
        "windows" => "Windows",
        other => other,
    }
}
