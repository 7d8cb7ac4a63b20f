//! One client: reads its calls one after the other, checks what it may do, and answers.

use std::io;
use std::rc::Rc;

use claviger_protocol::ipc::{
    ActivateReply, CallError, ClearSentReply, ConsentReply, DoctorReply, Empty, GetStatusReply,
    ImportOfflineReply, ListConsentsReply, ListSentReply, ListVendorsReply, MAX_CALL_FRAME, Method, Mode,
    OfflineCodeReply, RenameMachineReply, SettingsReply, ShowMachineReply,
};
use serde::Serialize;
use tokio::sync::mpsc;
use zlink::Reply;

use super::call::{Description, INFO, Parsed, RawCall, ServiceError, parse};
use super::frame::{Local, write_all};
use super::registry::{Doing, Seat};
use crate::consent::Subject;
use crate::engine::Engine;
use crate::platform::{Connection, Peer, hung_up};

/// A connected client.
pub(super) struct Session {
    engine: Rc<Engine>,
    peer: Peer,
    connection: Rc<Connection>,
    calls: zlink::Connection<Local>,
    seat: Rc<Seat>,
}

/// How a call wants its answer.
#[derive(Clone, Copy)]
struct Wish {
    more: bool,
    oneway: bool,
}

impl Session {
    pub(super) fn new(engine: Rc<Engine>, peer: Peer, connection: Connection, seat: Seat) -> Self {
        let connection = Rc::new(connection);
        let seat = Rc::new(seat);
        let calls = zlink::Connection::new(Local::new(connection.clone(), seat.clone()));
        Self { engine, peer, connection, calls, seat }
    }

    /// Serves the client until it goes away or breaks the rules.
    pub(super) async fn run(&mut self) {
        if self.engine.mode() == Mode::User && !self.peer.is_owner() {
            tracing::warn!(account = self.peer.account(), "another user was turned away");
            let _ = self.write(&ServiceError::PermissionDenied {}).await;
            return;
        }
        loop {
            self.seat.doing(Doing::Waiting);
            let (wish, parsed) = match self.calls.receive_call::<RawCall>().await {
                Ok(call) => {
                    let wish = Wish { more: call.more(), oneway: call.oneway() };
                    (wish, parse(call.method()))
                }
                Err(zlink::Error::BufferOverflow) => {
                    let _ = self.write(&too_large()).await;
                    return;
                }
                Err(zlink::Error::Json(_)) => {
                    let error = ServiceError::InvalidParameter { parameter: "call".to_owned() };
                    let _ = self.write(&error).await;
                    return;
                }
                Err(_) => return,
            };
            self.seat.doing(Doing::Working);
            let sent = match parsed {
                Ok(Parsed::Ours(method)) => self.answer(method, wish).await,
                Ok(Parsed::Info) => self.last(wish, &INFO).await,
                Ok(Parsed::Description(description)) => self.last(wish, &Description { description }).await,
                Err(error) => self.error(wish, &error).await,
            };
            if sent.is_err() {
                return;
            }
        }
    }

    async fn may_change(&self) -> bool {
        match (self.engine.mode(), self.engine.change_group()) {
            (Mode::User, _) => self.peer.is_owner(),
            (Mode::System, None) => true,
            (Mode::System, Some(_)) if self.peer.is_administrator() => true,
            (Mode::System, Some(group)) => {
                let (peer, group) = (self.peer.clone(), group.to_owned());
                // Where groups come from a directory server, asking may take long: the others are served meanwhile.
                tokio::task::spawn_blocking(move || peer.is_in_group(&group)).await.unwrap_or(false)
            }
        }
    }

    async fn answer(&mut self, method: Method, wish: Wish) -> io::Result<()> {
        if changes(&method) && !self.may_change().await {
            let group = self.engine.change_group().unwrap_or_default();
            let error = CallError::NotPermitted {
                message: "The administrator keeps changes to licenses on this computer to a group of users."
                    .to_owned(),
                advice: Some(format!("Ask to become a member of the group “{group}”.")),
            };
            return self.error(wish, &error).await;
        }
        let engine = self.engine.clone();
        match method {
            Method::GetStatus {} => {
                let status = engine.status(self.may_change().await);
                self.last(wish, &GetStatusReply { status }).await
            }
            Method::ListVendors {} => {
                self.last(wish, &ListVendorsReply { vendors: engine.list_vendors() }).await
            }
            Method::AddVendor { profile } => self.result(wish, engine.add_vendor(&profile)).await,
            Method::RemoveVendor { vendor } => {
                self.result(wish, engine.remove_vendor(&vendor).map(|()| Empty {})).await
            }
            Method::ListLicenses { vendor } => {
                let licenses = engine.list_licenses(vendor.as_ref()).await;
                self.result(wish, licenses).await
            }
            Method::Activate(call) => self.activate(call, wish).await,
            Method::Deactivate { target } => {
                let result = engine.deactivate(&target).await;
                self.result(wish, result).await
            }
            Method::MakeOfflineRequest(call) => {
                let result = engine.make_offline_request(call).await;
                self.result(wish, result).await
            }
            Method::ImportOfflineAnswers { answers } => {
                let items = engine.import_offline_answers(&answers).await;
                self.last(wish, &ImportOfflineReply { items }).await
            }
            Method::ImportOfflineCode { code } => {
                let result = engine.import_offline_code(&code).await;
                self.result(wish, result.map(|license| OfflineCodeReply { license })).await
            }
            Method::DeactivateOffline { target } => {
                let result = engine.deactivate_offline(&target).await;
                self.result(wish, result).await
            }
            Method::PrepareImage {} => self.prepare_image(wish).await,
            Method::Refresh { vendor } => {
                let licenses = engine.refresh(vendor.as_ref()).await;
                self.result(wish, licenses).await
            }
            Method::ShowMachine { vendor } => {
                let machines = engine.show_machine(vendor.as_ref());
                self.result(wish, machines.map(|machines| ShowMachineReply { machines })).await
            }
            Method::RenameMachine { device_name } => {
                let renamed = engine.rename_machine(&device_name);
                self.result(wish, renamed.map(|()| RenameMachineReply { device_name })).await
            }
            Method::ShowSeats { target, vendor } => {
                let seats = engine.show_seats(target.as_deref(), vendor.as_ref()).await;
                self.result(wish, seats).await
            }
            Method::FreeMachine(call) => {
                let freed = engine.free_machine(call).await;
                self.result(wish, freed).await
            }
            Method::GetSettings {} => {
                let settings = engine.settings(self.may_set());
                self.last(wish, &SettingsReply { settings }).await
            }
            Method::SetSetting { name, value } => self.set(wish, &name, value.as_deref()).await,
            Method::Monitor {} => self.monitor(wish).await,
            Method::Doctor {} => {
                let findings = engine.doctor().await;
                self.last(wish, &DoctorReply { findings }).await
            }
            Method::ListConsents { vendor } => {
                let consents = self.who().and_then(|who| engine.list_consents(&who, vendor.as_ref()));
                self.result(wish, consents.map(|consents| ListConsentsReply { consents })).await
            }
            Method::ShowNotice { vendor, language } => {
                let shown = match self.who() {
                    Ok(who) => engine.show_notice(&who, &vendor, language.as_deref()).await,
                    Err(e) => Err(e),
                };
                self.result(wish, shown).await
            }
            Method::Grant { vendor, challenge } => {
                let given = self.who().and_then(|who| engine.grant(&who, &vendor, &challenge));
                self.result(wish, given.map(|consent| ConsentReply { consent })).await
            }
            Method::Refuse { vendor, challenge } => {
                let refused = self.who().and_then(|who| engine.refuse(&who, &vendor, challenge.as_deref()));
                self.result(wish, refused.map(|consent| ConsentReply { consent })).await
            }
            Method::Withdraw { vendor } => {
                let withdrawn = self.who().and_then(|who| engine.withdraw(&who, &vendor));
                self.result(wish, withdrawn.map(|consent| ConsentReply { consent })).await
            }
            Method::ReportUse { product, version, daw } => {
                let counted = self.who().and_then(|who| engine.report_use(&who, &product, &version, &daw));
                self.result(wish, counted.map(|()| Empty {})).await
            }
            Method::PreviewTelemetry { vendor } => {
                let preview = self.who().and_then(|who| engine.preview(&who, vendor.as_ref()));
                self.result(wish, preview).await
            }
            Method::ListSent {} => {
                let sent = self.who().and_then(|who| engine.list_sent(&who));
                self.result(wish, sent.map(|sent| ListSentReply { sent })).await
            }
            Method::ClearSent {} => {
                // The computer's own part belongs to everyone on it: under a system daemon, to its administrator.
                let all = engine.mode() == Mode::User || self.peer.is_administrator();
                let removed = self.who().and_then(|who| engine.clear_sent(&who, all));
                self.result(wish, removed.map(|removed| ClearSentReply { removed })).await
            }
        }
    }

    /// The person at the other end: consent is each one's own.
    fn who(&self) -> Result<Subject, CallError> {
        Subject::new(&self.peer.account()).ok_or_else(|| CallError::Internal {
            message: "The operating system does not say whose connection this is.".to_owned(),
            advice: None,
        })
    }

    /// Settings are the daemon's: under a system daemon, its administrator's.
    fn may_set(&self) -> bool {
        self.engine.mode() == Mode::User || self.peer.is_administrator()
    }

    async fn set(&self, wish: Wish, name: &str, value: Option<&str>) -> io::Result<()> {
        if !self.may_set() {
            let error = CallError::NotPermitted {
                message: "This computer's daemon serves all its users: only an administrator may change its settings."
                    .to_owned(),
                advice: Some("Run the same command with sudo.".to_owned()),
            };
            return self.error(wish, &error).await;
        }
        let done = self.engine.set_setting(name, value);
        self.result(wish, done.map(|()| SettingsReply { settings: self.engine.settings(true) })).await
    }

    /// It takes everybody's licenses away: under a system daemon only an administrator may.
    async fn prepare_image(&self, wish: Wish) -> io::Result<()> {
        if self.engine.mode() == Mode::System && !self.peer.is_administrator() {
            let error = CallError::NotPermitted {
                message: "Only an administrator may ready this computer as an image.".to_owned(),
                advice: Some("Run the same command with sudo.".to_owned()),
            };
            return self.error(wish, &error).await;
        }
        self.result(wish, self.engine.prepare_image().await).await
    }

    async fn activate(&mut self, call: claviger_protocol::ipc::ActivateCall, wish: Wish) -> io::Result<()> {
        let (tell, mut told) = mpsc::unbounded_channel();
        let engine = self.engine.clone();
        let work = engine.activate(
            call,
            Box::new(move |sentence| {
                // Nobody listening is no reason to stop.
                let _ = tell.send(sentence);
            }),
        );
        let mut work = std::pin::pin!(work);
        let result = loop {
            tokio::select! {
                biased;
                Some(progress) = told.recv() => {
                    if wish.more && !wish.oneway {
                        let reply = ActivateReply { progress: Some(progress), license: None };
                        self.write(&Reply::from(reply).set_continues(Some(true))).await?;
                    }
                }
                result = &mut work => break result,
            }
        };
        while let Ok(progress) = told.try_recv() {
            if wish.more && !wish.oneway {
                let reply = ActivateReply { progress: Some(progress), license: None };
                self.write(&Reply::from(reply).set_continues(Some(true))).await?;
            }
        }
        let reply = result.map(|license| ActivateReply { progress: None, license: Some(license) });
        self.result(wish, reply).await
    }

    async fn monitor(&mut self, wish: Wish) -> io::Result<()> {
        let mut changes = self.engine.changes();
        let mut watch_peer = true;
        loop {
            changes.mark_unchanged();
            let reply = match self.engine.list_licenses(None).await {
                Ok(reply) => reply,
                Err(error) => return self.error(wish, &error).await,
            };
            if !wish.more || wish.oneway {
                return self.last(wish, &reply).await;
            }
            self.seat.doing(Doing::Waiting);
            self.write(&Reply::from(reply).set_continues(Some(true))).await?;
            self.seat.doing(Doing::Watching);
            loop {
                tokio::select! {
                    changed = changes.changed() => {
                        changed.map_err(io::Error::other)?;
                        break;
                    }
                    gone = hung_up(&self.connection), if watch_peer => {
                        if gone? {
                            return Err(io::ErrorKind::ConnectionReset.into());
                        }
                        // The client says something while it listens: it is heard when the monitor ends.
                        watch_peer = false;
                    }
                }
            }
        }
    }

    async fn result<T: Serialize>(&self, wish: Wish, result: Result<T, CallError>) -> io::Result<()> {
        match result {
            Ok(reply) => self.last(wish, &reply).await,
            Err(error) => self.error(wish, &error).await,
        }
    }

    async fn last<T: Serialize>(&self, wish: Wish, reply: &T) -> io::Result<()> {
        if wish.oneway { Ok(()) } else { self.write(&Reply::new(Some(reply))).await }
    }

    async fn error<E: Serialize>(&self, wish: Wish, error: &E) -> io::Result<()> {
        if wish.oneway { Ok(()) } else { self.write(error).await }
    }

    /// Writes one frame. While the client does not take it, the connection can be spared.
    async fn write<T: Serialize>(&self, message: &T) -> io::Result<()> {
        let mut frame = serde_json::to_vec(message).map_err(io::Error::other)?;
        frame.push(0);
        self.seat.doing(Doing::Waiting);
        let sent = write_all(&self.connection, &frame).await;
        self.seat.doing(Doing::Working);
        sent
    }
}

/// What policy may keep to a group.
fn changes(method: &Method) -> bool {
    match method {
        Method::AddVendor { .. }
        | Method::RemoveVendor { .. }
        | Method::Activate(_)
        | Method::Deactivate { .. }
        | Method::MakeOfflineRequest(_)
        | Method::ImportOfflineAnswers { .. }
        | Method::ImportOfflineCode { .. }
        | Method::DeactivateOffline { .. }
        | Method::PrepareImage {}
        | Method::Refresh { .. }
        | Method::ShowSeats { .. }
        | Method::FreeMachine(_)
        | Method::RenameMachine { .. } => true,
        Method::GetStatus {}
        | Method::ListVendors {}
        | Method::ListLicenses { .. }
        | Method::ShowMachine { .. }
        | Method::Monitor {}
        | Method::Doctor {}
        // Looking is free, and changing looks at who may by itself.
        | Method::GetSettings {}
        | Method::SetSetting { .. }
        // Each person's own: no policy keeps them to a group.
        | Method::ListConsents { .. }
        | Method::ShowNotice { .. }
        | Method::Grant { .. }
        | Method::Refuse { .. }
        | Method::Withdraw { .. }
        | Method::ReportUse { .. }
        | Method::PreviewTelemetry { .. }
        | Method::ListSent {}
        | Method::ClearSent {} => false,
    }
}

fn too_large() -> CallError {
    CallError::InvalidInput {
        code: "frame_too_large".to_owned(),
        message: format!("A call has at most {MAX_CALL_FRAME} bytes."),
        advice: None,
    }
}
