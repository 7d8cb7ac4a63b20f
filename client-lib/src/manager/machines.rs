//! Other computers: who holds the seats of what is active here, one list of computers a vendor, and freeing a seat. And what a
//! person may set.

use std::collections::BTreeMap;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::ids::{DeviceName, MachineId, VendorId};
use claviger_protocol::ipc::{
    FreeCall, FreeMachineReply, LicenseSeats, Machine, Method, Setting, SettingsReply, ShowSeatsReply,
};
use claviger_protocol::serial::Serial;

use super::{LOCAL, Manager, ManagerError, REMOTE, frame};

/// A computer as one vendor knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computer {
    /// The vendor.
    pub vendor: VendorId,
    /// Its id there.
    pub machine_id: MachineId,
    /// Its name; of this one, the name that the vendor will learn next.
    pub device_name: DeviceName,
    /// Whether it is this one.
    pub here: bool,
    /// Since when it has held its first seat of those listed.
    pub since: Option<Timestamp>,
    /// When the vendor's server last heard of it.
    pub last_seen: Option<Timestamp>,
    /// The licenses that are active here and hold a seat there: serial number and the product's name.
    pub licenses: Vec<(Serial, String)>,
}

/// The computers behind `seats`, this one of every vendor among them; by vendor, this one first, then the latest heard of.
#[must_use]
pub fn computers(machines: &[Machine], seats: &[LicenseSeats]) -> Vec<Computer> {
    let mut all: BTreeMap<(VendorId, MachineId), Computer> = BTreeMap::new();
    for machine in machines {
        let computer = Computer {
            vendor: machine.vendor.clone(),
            machine_id: machine.machine_id,
            device_name: machine.device_name.clone(),
            here: true,
            since: None,
            last_seen: None,
            licenses: Vec::new(),
        };
        all.insert((machine.vendor.clone(), machine.machine_id), computer);
    }
    for license in seats {
        for holder in &license.holders {
            let key = (license.vendor.clone(), holder.machine_id);
            let computer = all.entry(key).or_insert_with(|| Computer {
                vendor: license.vendor.clone(),
                machine_id: holder.machine_id,
                device_name: holder.device_name.clone(),
                here: holder.machine_id == license.machine_id,
                since: None,
                last_seen: None,
                licenses: Vec::new(),
            });
            // A computer that was renamed goes by the name that it gave last.
            if !computer.here && computer.last_seen < Some(holder.last_seen) {
                computer.device_name = holder.device_name.clone();
            }
            computer.since = computer.since.into_iter().chain([holder.since]).min();
            computer.last_seen = computer.last_seen.max(Some(holder.last_seen));
            computer.licenses.push((license.serial.clone(), license.product_name.clone()));
        }
    }
    let mut all: Vec<Computer> = all.into_values().collect();
    all.sort_by(|a, b| (&a.vendor, !a.here).cmp(&(&b.vendor, !b.here)).then(b.last_seen.cmp(&a.last_seen)));
    all
}

impl Manager {
    /// Asks the vendors' servers who holds the seats of a license that is active here (named as for
    /// [`Manager::deactivate`]), or of all.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn seats(
        &mut self,
        target: Option<String>,
        vendor: Option<VendorId>,
    ) -> Result<ShowSeatsReply, ManagerError> {
        self.call(&Method::ShowSeats { target, vendor }, REMOTE)
    }

    /// Ends what another computer holds of a license. The serial number and the unlock code are wiped here when they were
    /// sent.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn free_machine(&mut self, call: FreeCall) -> Result<FreeMachineReply, ManagerError> {
        let method = frame::Secret(Method::FreeMachine(call));
        self.call(&method.0, REMOTE)
    }

    /// What may be set, and what holds.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn settings(&mut self) -> Result<Vec<Setting>, ManagerError> {
        Ok(self.call::<SettingsReply>(&Method::GetSettings {}, LOCAL)?.settings)
    }

    /// Sets one thing, or with `None` back to its default; gives what holds now.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn set(&mut self, name: String, value: Option<String>) -> Result<Vec<Setting>, ManagerError> {
        Ok(self.call::<SettingsReply>(&Method::SetSetting { name, value }, LOCAL)?.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(vendor: &str, serial: &str, holders: &[(u8, &str, i64)]) -> LicenseSeats {
        let holders: Vec<_> = holders
            .iter()
            .map(|(id, name, seen)| {
                serde_json::json!({ "machine_id": MachineId([*id; 16]), "device_name": name, "since": 100, "last_seen": seen })
            })
            .collect();
        let json = serde_json::json!({
            "vendor": vendor, "vendor_name": "V", "serial": serial, "activation": "07070707070707070707070707070707",
            "product": "com.example.synth", "product_name": serial, "machine_id": MachineId([1; 16]), "total": 3,
            "taken": holders.len(), "holders": holders,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_computer_is_listed_once_a_vendor_under_the_name_that_it_gave_last() {
        let here: Machine = serde_json::from_value(serde_json::json!({
            "vendor": "com.example", "device_name": "Studio", "os_family": "linux", "os_version": "x", "os_arch": "x",
            "cpu_model": "x", "cpu_logical_cores": 1, "ram_gib": 1, "machine_id": MachineId([1; 16]),
        }))
        .unwrap();
        let told = [
            seats("com.example", "AAAAAA1", &[(2, "Old name", 200), (1, "Before", 300)]),
            seats("com.example", "AAAAAA2", &[(2, "New name", 250), (3, "Attic", 400)]),
            seats("com.other", "BBBBBB1", &[(2, "Elsewhere", 100)]),
        ];
        let all = computers(std::slice::from_ref(&here), &told);
        let seen: Vec<_> = all
            .iter()
            .map(|c| (c.vendor.as_str(), c.device_name.as_str(), c.here, c.licenses.len()))
            .collect();
        assert_eq!(
            seen,
            [
                ("com.example", "Studio", true, 1),
                ("com.example", "Attic", false, 1),
                ("com.example", "New name", false, 2),
                ("com.other", "Elsewhere", false, 1),
            ]
        );
        // Nothing is active here: this computer is listed all the same.
        assert_eq!(computers(&[here], &[]).len(), 1);
    }
}
