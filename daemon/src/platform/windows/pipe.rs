//! The named pipe: the first of its name or none, for its user alone or for this computer's users, never for the network;
//! and who is at the other end, by the identity that the client lent us to know it.
#![expect(unsafe_code, reason = "rights on pipes and identities of clients have no safe wrapper")]

use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::sync::Arc;

use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, HANDLE};
use windows_sys::Win32::Security::Authorization::SE_KERNEL_OBJECT;
use windows_sys::Win32::Security::{
    CheckTokenMembership, CreateWellKnownSid, LookupAccountNameW, PSID, RevertToSelf, SECURITY_MAX_SID_SIZE,
    SidTypeAlias, SidTypeGroup, SidTypeWellKnownGroup, TOKEN_QUERY, WinBuiltinAdministratorsSid,
};
use windows_sys::Win32::System::Pipes::{ImpersonateNamedPipeClient, PeekNamedPipe, WaitNamedPipeW};
use windows_sys::Win32::System::Threading::{GetCurrentThread, OpenThreadToken};

use super::super::{BindError, Mode, Paths};
use super::identity;
use super::security::{self, Descriptor};

/// A connected local client.
pub type Connection = NamedPipeServer;

/// The system itself.
const SYSTEM: &str = "S-1-5-18";

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The user, by the token that came with the connection.
    pub user: String,
    token: Arc<OwnedHandle>,
}

impl Peer {
    /// Asks the system.
    ///
    /// # Errors
    /// When it does not say; a client that lends no identity is none of ours.
    pub fn of(connection: &Connection) -> io::Result<Self> {
        let mut token: HANDLE = std::ptr::null_mut();
        // SAFETY: the pipe is open while `connection` is borrowed. This thread takes the client's identity on for one
        // call and gives it back before anything else runs; without that it must not go on.
        let opened = unsafe {
            if ImpersonateNamedPipeClient(connection.as_raw_handle()) == 0 {
                return Err(io::Error::last_os_error());
            }
            let opened = OpenThreadToken(GetCurrentThread(), TOKEN_QUERY, 1, &raw mut token);
            let error = io::Error::last_os_error();
            if RevertToSelf() == 0 {
                std::process::abort();
            }
            if opened == 0 { Err(error) } else { Ok(OwnedHandle::from_raw_handle(token)) }
        };
        let token = opened?;
        let user = identity::user_of(&token).ok_or(io::ErrorKind::PermissionDenied)?;
        Ok(Self { user, token: Arc::new(token) })
    }

    /// Whether this is the daemon's own user, or the system.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.user == SYSTEM || identity::own_sid().is_some_and(|own| own == self.user)
    }

    /// The system's word for the account: what a consent is filed under.
    #[must_use]
    pub fn account(&self) -> String {
        self.user.clone()
    }

    /// Whether this is the system, or a process with the rights of an administrator.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        let mut sid = Sid::default();
        let mut length = SECURITY_MAX_SID_SIZE;
        // SAFETY: the buffer has as many bytes as is said.
        let made = unsafe {
            CreateWellKnownSid(
                WinBuiltinAdministratorsSid,
                std::ptr::null_mut(),
                sid.pointer(),
                &raw mut length,
            )
        };
        self.user == SYSTEM || (made != 0 && self.has(&mut sid))
    }

    /// Whether the process is in the group of this name.
    #[must_use]
    pub fn is_in_group(&self, name: &str) -> bool {
        group(name).is_some_and(|mut sid| self.has(&mut sid))
    }

    fn has(&self, sid: &mut Sid) -> bool {
        let mut is = 0;
        // SAFETY: the token is open, and `sid` holds an identifier that the system has just written.
        unsafe {
            CheckTokenMembership(self.token.as_raw_handle(), sid.pointer(), &raw mut is) != 0 && is != 0
        }
    }
}

/// Whether the system knows a group of this name.
#[must_use]
pub fn group_exists(name: &str) -> bool {
    group(name).is_some()
}

/// The identifier of the group of this name; a person of that name is none.
fn group(name: &str) -> Option<Sid> {
    let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let (mut sid, mut length) = (Sid::default(), SECURITY_MAX_SID_SIZE);
    let (mut domain, mut room, mut kind) = ([0u16; 256], 256, 0);
    // SAFETY: the name ends with NUL, and both buffers are as long as is said.
    let found = unsafe {
        LookupAccountNameW(
            std::ptr::null(),
            name.as_ptr(),
            sid.pointer(),
            &raw mut length,
            domain.as_mut_ptr(),
            &raw mut room,
            &raw mut kind,
        )
    };
    let is_group = [SidTypeGroup, SidTypeAlias, SidTypeWellKnownGroup].contains(&kind);
    (found != 0 && is_group).then_some(sid)
}

/// Room for the longest identifier.
#[derive(Default)]
struct Sid([u32; 17]);

impl Sid {
    fn pointer(&mut self) -> PSID {
        self.0.as_mut_ptr().cast()
    }
}

/// Waits until a client that is being told of changes hangs up, which gives true, or says something, which gives false.
///
/// # Errors
/// What the system says; the connection is of no use then.
pub async fn hung_up(connection: &Connection) -> io::Result<bool> {
    connection.readable().await?;
    let none = std::ptr::null_mut();
    // SAFETY: the pipe is open; nothing is asked for but whether the other end is there.
    let there =
        unsafe { PeekNamedPipe(connection.as_raw_handle(), none, 0, none.cast(), none.cast(), none.cast()) };
    Ok(there == 0)
}

/// What there can be of a pipe's name.
enum Found {
    /// Nothing.
    Nothing,
    /// A program that waits for clients.
    Served,
    /// No program that does. The daemon before this one was killed, and a client of it has not hung up yet, which keeps
    /// the name; a client that hangs must not keep the daemon from coming back.
    Remains,
}

/// Within how many milliseconds a program that serves a pipe waits for its next client.
const SERVED_WITHIN: u32 = 250;

/// The pipe, with one instance waiting for the next client at all times, so that the name is never free.
#[derive(Debug)]
pub struct Listener {
    name: OsString,
    descriptor: Descriptor,
    next: RefCell<Option<NamedPipeServer>>,
}

impl Listener {
    /// Makes the pipe of `paths`.
    ///
    /// # Errors
    /// [`BindError`]; also where another program serves a pipe of that name or has made it.
    pub fn bind(paths: &Paths) -> Result<Self, BindError> {
        let error = |why: &str, source: io::Error| BindError {
            path: paths.socket.display().to_string(),
            why: why.to_owned(),
            source: Some(source),
        };
        let own = identity::own_sid()
            .ok_or_else(|| error("this user has no identity", io::ErrorKind::PermissionDenied.into()))?;
        // 0x12019b: read and write, without the right to make another pipe of the name, which is its owner's alone.
        let sddl = match paths.mode {
            Mode::User => format!("O:{own}D:P(D;;GA;;;NU)(A;;GA;;;{own})(A;;0x12019b;;;SY)"),
            Mode::System => format!("O:{own}D:P(D;;GA;;;NU)(A;;GA;;;{own})(A;;0x12019b;;;AU)"),
        };
        let descriptor = Descriptor::read(&sddl).map_err(|e| error("its rights cannot be set", e))?;
        let listener = Self { name: paths.socket.clone().into(), descriptor, next: RefCell::new(None) };
        let taken = |e: io::Error| error("another program has taken its name", e);
        let made = match listener.find() {
            Found::Nothing => listener.instance(true),
            Found::Served => return Err(taken(io::ErrorKind::AddrInUse.into())),
            Found::Remains => listener.instance(false),
        };
        let first = made.map_err(|e| {
            if e.kind() == io::ErrorKind::PermissionDenied { taken(e) } else { error("it cannot be made", e) }
        })?;
        *listener.next.borrow_mut() = Some(first);
        Ok(listener)
    }

    /// What there is of the name.
    fn find(&self) -> Found {
        let name: Vec<u16> = self.name.encode_wide().chain([0]).collect();
        // SAFETY: the name ends with NUL.
        if unsafe { WaitNamedPipeW(name.as_ptr(), SERVED_WITHIN) } != 0 {
            return Found::Served;
        }
        let missing = ERROR_FILE_NOT_FOUND.cast_signed();
        if io::Error::last_os_error().raw_os_error() == Some(missing) {
            Found::Nothing
        } else {
            Found::Remains
        }
    }

    /// Makes an instance: the `first` of its name or none, or another one of a pipe that is this user's. Whose it is was
    /// decided with the first: nobody can make one in another's name, so nobody lures us into a pipe of his own rights.
    fn instance(&self, first: bool) -> io::Result<NamedPipeServer> {
        debug_assert!(self.name.encode_wide().all(|unit| unit != 0));
        let mut attributes = self.descriptor.attributes();
        let mut options = ServerOptions::new();
        options.first_pipe_instance(first).reject_remote_clients(true);
        // SAFETY: the attributes and the descriptor behind them outlive the call.
        let made =
            unsafe { options.create_with_security_attributes_raw(&self.name, (&raw mut attributes).cast()) }?;
        if !first && security::owner(made.as_raw_handle(), SE_KERNEL_OBJECT)? != identity::own_sid() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(made)
    }

    /// Waits for a client.
    ///
    /// # Errors
    /// What the system says: out of memory, mostly.
    pub async fn accept(&self) -> io::Result<Connection> {
        let taken = self.next.borrow_mut().take();
        let waiting = match taken {
            Some(waiting) => waiting,
            None => self.instance(false)?,
        };
        match waiting.connect().await {
            Ok(()) => {
                let next = self.instance(false);
                *self.next.borrow_mut() = Some(next?);
                Ok(waiting)
            }
            Err(error) => Err(error),
        }
    }
}
