//! This computer: the closed list of facts that activation tells about it, and what ties private state to it.

use std::io;

use claviger_protocol::documents::{Cpu, MachineFacts, OsInfo};
use claviger_protocol::ids::{DeviceName, MachineId, VendorId};
use data_encoding::HEXLOWER;
use ring::{aead, hkdf, hmac};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};
use zeroize::Zeroizing;

/// The operating system's machine id, as it was when the daemon started.
#[derive(Debug)]
pub struct Machine {
    os_id: Result<Zeroizing<String>, String>,
}

/// The operating system tells no machine id.
#[derive(Clone, Debug, thiserror::Error)]
#[error("this computer's machine id cannot be read: {0}")]
pub struct NoMachineId(String);

impl Machine {
    /// Reads the id.
    #[must_use]
    pub fn here() -> Self {
        Self::of(crate::platform::os_machine_id())
    }

    /// A machine of this id.
    #[must_use]
    pub fn of(os_id: io::Result<String>) -> Self {
        Self { os_id: os_id.map(Zeroizing::new).map_err(|e| e.to_string()) }
    }

    fn os_id(&self) -> Result<&str, NoMachineId> {
        self.os_id.as_ref().map(|id| id.as_str()).map_err(|e| NoMachineId(e.clone()))
    }

    /// The id that `vendor` sees.
    ///
    /// # Errors
    /// [`NoMachineId`].
    pub fn id_for(&self, vendor: &VendorId) -> Result<MachineId, NoMachineId> {
        Ok(MachineId::derive(vendor, self.os_id()?))
    }

    /// Marks private state as this machine's.
    ///
    /// # Errors
    /// [`NoMachineId`].
    pub fn tag(&self) -> Result<String, NoMachineId> {
        Ok(folder_tag(self.os_id()?))
    }

    fn sealing_key(&self, purpose: &str) -> Result<aead::LessSafeKey, NoMachineId> {
        let extracted =
            hkdf::Salt::new(hkdf::HKDF_SHA256, b"claviger seal v1").extract(self.os_id()?.as_bytes());
        let info = [purpose.as_bytes()];
        let key = extracted
            .expand(&info, &aead::AES_256_GCM)
            .map(aead::UnboundKey::from)
            .map_err(|_| NoMachineId("no sealing key can be derived from it".to_owned()))?;
        Ok(aead::LessSafeKey::new(key))
    }

    /// Encrypts a secret so that it opens on this machine only: nonce, ciphertext, tag.
    ///
    /// # Errors
    /// [`NoMachineId`].
    pub fn seal(&self, purpose: &str, secret: &[u8], nonce: [u8; 12]) -> Result<Vec<u8>, NoMachineId> {
        let key = self.sealing_key(purpose)?;
        let mut body = secret.to_vec();
        key.seal_in_place_append_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(purpose.as_bytes()),
            &mut body,
        )
        .map_err(|_| NoMachineId("nothing can be sealed with it".to_owned()))?;
        let mut out = nonce.to_vec();
        out.append(&mut body);
        crate::platform::seal(purpose, &out)
            .map_err(|e| NoMachineId(format!("the system seals nothing ({e})")))
    }

    /// Opens what [`Machine::seal`] made; `None` when it was made on another machine, or changed.
    ///
    /// # Errors
    /// [`NoMachineId`].
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, NoMachineId> {
        let key = self.sealing_key(purpose)?;
        // What the system does not open was sealed elsewhere, or for another user.
        let Ok(sealed) = crate::platform::unseal(purpose, sealed) else { return Ok(None) };
        let Some((nonce, body)) = sealed.split_first_chunk::<12>() else { return Ok(None) };
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let opened = key
            .open_in_place(nonce, aead::Aad::from(purpose.as_bytes()), &mut body)
            .ok()
            .map(|plain| plain.len());
        Ok(opened.map(|length| {
            body.truncate(length);
            body
        }))
    }

    /// Everything that activation tells `vendor` about this computer.
    ///
    /// # Errors
    /// [`NoMachineId`].
    pub fn facts(
        &self,
        vendor: &VendorId,
        chosen_name: Option<&DeviceName>,
    ) -> Result<MachineFacts, NoMachineId> {
        let machine_id = self.id_for(vendor)?;
        // Only memory and processor are looked at; nothing is kept afterwards.
        let kinds = RefreshKind::nothing()
            .with_memory(MemoryRefreshKind::nothing().with_ram())
            .with_cpu(CpuRefreshKind::nothing());
        let system = System::new_with_specifics(kinds);
        let model = system.cpus().first().map(|cpu| cpu.brand().trim()).unwrap_or_default();
        let device_name = chosen_name
            .cloned()
            .unwrap_or_else(|| DeviceName::lossy(&System::host_name().unwrap_or_default()));
        Ok(MachineFacts {
            device_name,
            os: OsInfo {
                family: std::env::consts::OS.to_owned(),
                version: short_text(&os_version(System::name().as_deref(), System::os_version().as_deref())),
                arch: std::env::consts::ARCH.to_owned(),
            },
            cpu: Cpu {
                model: short_text(if model.is_empty() { "unknown" } else { model }),
                logical_cores: u32::try_from(system.cpus().len()).unwrap_or(u32::MAX).max(1),
            },
            ram_gib: rounded_gib(system.total_memory()),
            machine_id,
        })
    }
}

/// Names a state folder after a machine, without telling its id.
#[must_use]
pub fn folder_tag(os_id: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"claviger state folder v1");
    HEXLOWER.encode(&hmac::sign(&key, os_id.trim().to_ascii_lowercase().as_bytes()).as_ref()[..8])
}

fn rounded_gib(bytes: u64) -> u32 {
    const GIB: u64 = 1 << 30;
    u32::try_from(bytes.saturating_add(GIB / 2) / GIB).unwrap_or(u32::MAX).max(1)
}

/// `Debian 12` for the name `Debian GNU/Linux` and the version `12`.
fn os_version(name: Option<&str>, version: Option<&str>) -> String {
    let name = name.unwrap_or(std::env::consts::OS);
    let name = name.trim_end_matches("GNU/Linux").trim();
    match version.map(str::trim) {
        Some(version) if !version.is_empty() => format!("{name} {version}"),
        _ => name.to_owned(),
    }
}

/// What the protocol takes as a text: no control characters, at most 128 bytes.
fn short_text(text: &str) -> String {
    let mut kept = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > 128 {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_here_opens_here_only() {
        let here = Machine::of(Ok("0123456789abcdef0123456789abcdef".to_owned()));
        let there = Machine::of(Ok("fedcba9876543210fedcba9876543210".to_owned()));
        let sealed = here.seal("test", b"secret", [7; 12]).unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(here.open("test", &sealed).unwrap().unwrap().as_slice(), b"secret");
        assert!(here.open("other purpose", &sealed).unwrap().is_none());
        assert!(there.open("test", &sealed).unwrap().is_none());
        let mut changed = sealed.clone();
        changed[14] ^= 1;
        assert!(here.open("test", &changed).unwrap().is_none());
        assert!(here.open("test", &sealed[..5]).unwrap().is_none());
        assert!(Machine::of(Err(io::Error::other("none"))).seal("x", b"", [0; 12]).is_err());
    }

    #[test]
    fn facts_are_short_and_rounded() {
        assert_eq!(os_version(Some("Debian GNU/Linux"), Some("12")), "Debian 12");
        assert_eq!(os_version(Some("Ubuntu"), Some("24.04")), "Ubuntu 24.04");
        assert_eq!(os_version(None, None), std::env::consts::OS);
        assert_eq!(rounded_gib(15_900_000_000), 15);
        assert_eq!(rounded_gib(16_700_000_000), 16);
        assert_eq!(rounded_gib(1), 1);
        assert_eq!(short_text(&"ä\n".repeat(100)).len(), 128);
        let facts = Machine::here().facts(&"com.example".parse().unwrap(), None);
        if let Ok(facts) = facts {
            assert!(facts.ram_gib >= 1 && facts.cpu.logical_cores >= 1);
        }
    }
}
