//! Names that the programs share on Windows. Folders lie below Known Folders, which programs ask the system for.

use crate::keys::Sha256;

/// The machine's folder, below `%ProgramData%`; `certs`, `state` and `policy.toml` are in it.
pub const MACHINE: &str = "Claviger";
/// A user's folder, below `%LocalAppData%`, which never roams.
pub const USER: &str = "Claviger";
/// The administrator's policy, in the machine's folder.
pub const POLICY: &str = "policy.toml";
/// The key below `HKEY_LOCAL_MACHINE` that group policy writes managed settings into.
pub const MANAGED_KEY: &str = r"SOFTWARE\Policies\Claviger";
/// The same for messages.
pub const MANAGED: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Claviger";
/// Vendor profiles that installers put down, a folder in the machine's.
pub const SHIPPED: &str = "vendors";
/// The system daemon's pipe.
pub const SYSTEM_PIPE: &str = r"\\.\pipe\claviger-system";
/// The name of the service, and of its events in the Application log.
pub const SERVICE: &str = "clavigerd";
/// The value below `HKCU\Software\Microsoft\Windows\CurrentVersion\Run` that starts a user's daemon at login.
pub const RUN_VALUE: &str = "Claviger";

/// The pipe of a user's daemon. `sid`: the user's security identifier, as `S-1-5-21-…`.
#[must_use]
pub fn user_pipe(sid: &str) -> String {
    format!(r"\\.\pipe\claviger-{sid}")
}

/// The pipe of a daemon below the folder that `CLAVIGER_HOME` names, written absolutely.
#[must_use]
pub fn portable_pipe(sid: &str, home: &str) -> String {
    let plain = home.strip_prefix(r"\\?\").unwrap_or(home).replace('/', r"\").to_lowercase();
    let hash = Sha256::of(plain.trim_end_matches('\\').as_bytes());
    let short = data_encoding::HEXLOWER.encode(&hash.0[..12]);
    format!(r"\\.\pipe\claviger-{sid}-{short}")
}

/// The event that asks a user's daemon to end in an orderly way; only its own user may set it.
#[must_use]
pub fn stop_event(process: u32) -> String {
    format!(r"Local\claviger-stop-{process}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_has_one_pipe_however_it_is_written() {
        let pipe = portable_pipe("S-1-5-21-7", r"C:\Home\Ärger");
        assert_eq!(pipe, portable_pipe("S-1-5-21-7", r"\\?\c:\home\ärger\"));
        assert_eq!(pipe, portable_pipe("S-1-5-21-7", "C:/Home/Ärger"));
        assert_ne!(pipe, portable_pipe("S-1-5-21-8", r"C:\Home\Ärger"));
        assert!(pipe.starts_with(&format!("{}-", user_pipe("S-1-5-21-7"))), "{pipe}");
    }
}
