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
/// The security identifier of the service's own account, `NT SERVICE\clavigerd`. Windows makes it of the name alone.
pub const SERVICE_SID: &str = "S-1-5-80-1276933775-1489204278-2448931814-1249576712-3984730899";
/// Whom the system's daemon may run as: the service's own account, the one for all local services, the system itself.
pub const SERVICE_USERS: [&str; 3] = [SERVICE_SID, "S-1-5-19", "S-1-5-18"];
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

    /// As Windows does it: the capital letters of the name, hashed, as five numbers.
    fn service_sid(name: &str) -> String {
        let name: Vec<u8> = name.to_uppercase().encode_utf16().flat_map(u16::to_le_bytes).collect();
        let hash = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &name);
        let (parts, _) = hash.as_ref().as_chunks::<4>();
        parts.iter().fold("S-1-5-80".to_owned(), |sid, part| format!("{sid}-{}", u32::from_le_bytes(*part)))
    }

    #[test]
    fn the_service_s_account_is_the_one_of_its_name() {
        assert_eq!(service_sid(SERVICE), SERVICE_SID);
        // One that is known on every Windows.
        let known = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";
        assert_eq!(service_sid("TrustedInstaller"), known);
    }

    #[test]
    fn one_folder_has_one_pipe_however_it_is_written() {
        let pipe = portable_pipe("S-1-5-21-7", r"C:\Home\Ärger");
        assert_eq!(pipe, portable_pipe("S-1-5-21-7", r"\\?\c:\home\ärger\"));
        assert_eq!(pipe, portable_pipe("S-1-5-21-7", "C:/Home/Ärger"));
        assert_ne!(pipe, portable_pipe("S-1-5-21-8", r"C:\Home\Ärger"));
        assert!(pipe.starts_with(&format!("{}-", user_pipe("S-1-5-21-7"))), "{pipe}");
    }
}
