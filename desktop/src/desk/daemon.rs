//! The real daemon, through the client library.

use std::path::Path;

use claviger_client::manager::launch::LaunchError;
use claviger_client::manager::{Endpoint, Manager, ManagerError, Scope, doctor, export, launch, login};
use claviger_protocol::clock::SystemClock;
use claviger_protocol::ids::{DeviceName, VendorId};
use claviger_protocol::ipc::{
    ActivateCall, CallError, Consent, DaemonStatus, DeactivateReply, Finding, FreeCall, FreeMachineReply,
    License, LicensesReply, Machine, OfflineItem, OfflineReceiptReply, OfflineRequestReply, PreviewReply,
    SentEntry, Setting, ShowNoticeReply, ShowSeatsReply, Vendor,
};

use super::{Answer, Desk, Desks, Listener, Trouble};
use crate::dates;
use crate::prefs::Language;
use crate::text;

impl From<ManagerError> for Trouble {
    fn from(error: ManagerError) -> Self {
        let mut trouble = Self {
            code: error.code().to_owned(),
            message: text::sentence(&error.to_string()),
            advice: text::sentence(error.advice().unwrap_or_default()),
            ..Self::default()
        };
        if let ManagerError::Call(call) = error {
            match call {
                CallError::Refused { seats, .. } => trouble.seats = seats.map(Box::new),
                CallError::VendorNeeded { choices, .. } => {
                    if choices.is_empty() {
                        trouble.code = "vendor_unknown".to_owned();
                    }
                    trouble.choices = choices;
                }
                CallError::NotFound { choices, .. } => trouble.choices = choices,
                _ => {}
            }
        }
        trouble
    }
}

impl From<LaunchError> for Trouble {
    fn from(error: LaunchError) -> Self {
        let mut message = error.to_string();
        for line in error.said() {
            message = format!("{message}: {line}");
        }
        Self {
            code: error.code().to_owned(),
            message: text::sentence(&message),
            advice: text::sentence(&error.advice().unwrap_or_default()),
            ..Self::default()
        }
    }
}

/// The daemon of this user or of this computer.
#[derive(Debug)]
pub(crate) struct Daemon;

fn connected() -> Answer<Manager> {
    let endpoint = Endpoint::find()?;
    match Manager::connect(&endpoint) {
        Err(ManagerError::NotRunning { .. }) if endpoint.scope() == Scope::System => {
            Err(system_down(&endpoint))
        }
        other => Ok(other?),
    }
}

/// The whole computer's daemon does not run: nobody starts another one beside it.
fn system_down(endpoint: &Endpoint) -> Trouble {
    let error = LaunchError::SystemDown(endpoint.path().to_owned());
    Trouble { code: "system_down".to_owned(), ..Trouble::from(error) }
}

impl Desks for Daemon {
    fn open(&self) -> Answer<Box<dyn Desk>> {
        Ok(Box::new(connected()?))
    }

    fn start(&self) -> Answer<()> {
        let endpoint = Endpoint::find()?;
        if Manager::connect(&endpoint).is_ok() {
            return Ok(());
        }
        if endpoint.scope() == Scope::System {
            return Err(system_down(&endpoint));
        }
        launch::start(&endpoint)?;
        Ok(())
    }

    fn listen(&self, each: Listener<'_>) -> Answer<()> {
        connected()?.monitor_with_warnings(each)?;
        Ok(())
    }

    fn is_system(&self) -> bool {
        Endpoint::find().is_ok_and(|endpoint| endpoint.scope() == Scope::System)
    }

    fn look_around(&self) -> Vec<Finding> {
        // The findings are English, and so are their dates.
        doctor::look_around(&doctor::Calendar {
            date: |moment| dates::day(moment, Language::English),
            moment: |moment| dates::moment(moment, Language::English),
        })
    }

    fn at_login(&self) -> Option<bool> {
        let scope = Endpoint::find().ok()?.scope();
        (scope == Scope::User && login::unavailable().is_none()).then(login::installed)
    }

    fn set_at_login(&self, on: bool) -> Answer<()> {
        let endpoint = Endpoint::find()?;
        if on {
            login::install(&endpoint)?;
        } else {
            // It ends the helper, too, which the window and its person go on needing.
            login::uninstall(&endpoint)?;
            launch::start(&endpoint)?;
        }
        Ok(())
    }
}

impl Desk for Manager {
    fn status(&mut self) -> Answer<DaemonStatus> {
        Ok(Self::status(self)?)
    }
    fn vendors(&mut self) -> Answer<Vec<Vendor>> {
        Ok(Self::vendors(self)?)
    }
    fn add_vendor(&mut self, profile: String) -> Answer<(Vendor, bool)> {
        Ok(Self::add_vendor(self, profile)?)
    }
    fn remove_vendor(&mut self, vendor: VendorId) -> Answer<()> {
        Ok(Self::remove_vendor(self, vendor)?)
    }
    fn licenses(&mut self) -> Answer<LicensesReply> {
        Ok(self.licenses_and_warnings(None)?)
    }
    fn activate(&mut self, call: ActivateCall, progress: &mut dyn FnMut(&str)) -> Answer<License> {
        Ok(Self::activate(self, call, progress)?)
    }
    fn deactivate(&mut self, target: String) -> Answer<DeactivateReply> {
        Ok(Self::deactivate(self, target)?)
    }
    fn refresh(&mut self) -> Answer<Vec<License>> {
        Ok(Self::refresh(self, None)?)
    }
    fn machines(&mut self) -> Answer<Vec<Machine>> {
        Ok(Self::machines(self, None)?)
    }
    fn rename(&mut self, name: DeviceName) -> Answer<DeviceName> {
        Ok(self.rename_machine(name)?)
    }
    fn seats(&mut self, target: Option<String>) -> Answer<ShowSeatsReply> {
        Ok(Self::seats(self, target, None)?)
    }
    fn free(&mut self, call: FreeCall) -> Answer<FreeMachineReply> {
        Ok(self.free_machine(call)?)
    }
    fn settings(&mut self) -> Answer<Vec<Setting>> {
        Ok(Self::settings(self)?)
    }
    fn set(&mut self, name: &str, value: Option<String>) -> Answer<Vec<Setting>> {
        Ok(Self::set(self, name.to_owned(), value)?)
    }
    fn offline_request(&mut self, call: ActivateCall) -> Answer<OfflineRequestReply> {
        Ok(self.make_offline_request(call)?)
    }
    fn offline_import(&mut self, answers: Vec<String>) -> Answer<Vec<OfflineItem>> {
        Ok(self.import_offline_answers(answers)?)
    }
    fn offline_code(&mut self, code: String) -> Answer<License> {
        Ok(self.import_offline_code(code)?)
    }
    fn offline_give_up(&mut self, target: String) -> Answer<OfflineReceiptReply> {
        Ok(self.deactivate_offline(target)?)
    }
    fn consents(&mut self) -> Answer<Vec<Consent>> {
        Ok(Self::consents(self, None)?)
    }
    fn notice(&mut self, vendor: VendorId, language: &str) -> Answer<ShowNoticeReply> {
        Ok(self.show_notice(vendor, Some(language.to_owned()))?)
    }
    fn grant(&mut self, vendor: VendorId, challenge: String) -> Answer<Consent> {
        Ok(Self::grant(self, vendor, challenge)?)
    }
    fn refuse(&mut self, vendor: VendorId, challenge: String) -> Answer<Consent> {
        Ok(Self::refuse(self, vendor, Some(challenge))?)
    }
    fn withdraw(&mut self, vendor: VendorId) -> Answer<Consent> {
        Ok(Self::withdraw(self, vendor)?)
    }
    fn preview(&mut self) -> Answer<PreviewReply> {
        Ok(Self::preview(self, None)?)
    }
    fn sent(&mut self) -> Answer<Vec<SentEntry>> {
        Ok(Self::sent(self)?)
    }
    fn clear_sent(&mut self) -> Answer<u64> {
        Ok(Self::clear_sent(self)?)
    }
    fn export(&mut self, file: &Path) -> Answer<()> {
        let everything = export::everything(self, &SystemClock)?;
        export::write_private(file, &export::bytes(&everything))
            .map_err(|error| crate::files::not_written(&error))
    }
}
