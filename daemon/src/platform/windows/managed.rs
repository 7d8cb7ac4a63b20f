//! Settings that an administrator manages for many computers: group policy writes them into the registry.
#![expect(unsafe_code, reason = "the registry has no safe wrapper")]

use std::ffi::c_void;
use std::io;

use super::places::wine_root;
use claviger_protocol::layout::windows as names;
use toml::{Table, Value};
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_NO_MORE_ITEMS, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_QUERY_VALUE, KEY_WOW64_64KEY, REG_DWORD, REG_MULTI_SZ, REG_SZ, RegCloseKey,
    RegEnumValueW, RegOpenKeyExW,
};

/// Where the settings are managed, for messages.
pub const MANAGED: &str = names::MANAGED;
/// Where the administrator's word stands, for messages.
#[must_use]
pub fn policy_place() -> &'static str {
    if wine_root().is_some() {
        r"/etc/claviger/policy.toml or HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Claviger"
    } else {
        r"%ProgramData%\Claviger\policy.toml or HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Claviger"
    }
}

/// Longest name of a value, in UTF-16 units with its NUL; the registry allows 16,383.
const LONGEST_NAME: usize = 16_384;
/// Longest content that is read, in bytes.
const LONGEST: usize = 64 * 1024;
/// Most values that are looked at: more than there are settings.
const MOST: u32 = 1_000;

/// The managed settings, by the names of `policy.toml`; empty where nobody manages any. Values are `REG_DWORD` (0 or 1),
/// `REG_SZ`, and `REG_MULTI_SZ` for lists.
///
/// # Errors
/// When they cannot be read, or one is of another kind.
pub fn managed_policy() -> io::Result<Table> {
    let Some(key) = Key::open(names::MANAGED_KEY)? else { return Ok(Table::new()) };
    let mut table = Table::new();
    for index in 0..MOST {
        let Some((name, kind, content)) = key.value(index)? else { break };
        let value = value(kind, &content).ok_or_else(|| {
            let why = format!("{name} is neither REG_DWORD 0 or 1, nor REG_SZ, nor REG_MULTI_SZ");
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?;
        table.insert(name, value);
    }
    Ok(table)
}

fn value(kind: u32, content: &[u8]) -> Option<Value> {
    let units: Vec<u16> =
        content.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let text = |units: &[u16]| String::from_utf16(units).ok();
    match kind {
        REG_DWORD => match u32::from_le_bytes(content.try_into().ok()?) {
            0 => Some(Value::Boolean(false)),
            1 => Some(Value::Boolean(true)),
            _ => None,
        },
        REG_SZ => {
            let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
            Some(Value::String(text(&units[..end])?))
        }
        REG_MULTI_SZ => {
            let lines = units.split(|unit| *unit == 0).filter(|line| !line.is_empty());
            Some(Value::Array(lines.map(|line| text(line).map(Value::String)).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// An open key of the registry.
struct Key(HKEY);

impl Key {
    /// Opens a key of the computer's for reading; `None` where there is none.
    fn open(path: &str) -> io::Result<Option<Self>> {
        let path: Vec<u16> = path.encode_utf16().chain([0]).collect();
        let mut key: HKEY = std::ptr::null_mut();
        // SAFETY: the path ends with NUL; `key` is a place for a handle, which is ours where the call succeeds.
        let failed = unsafe {
            let rights = KEY_QUERY_VALUE | KEY_WOW64_64KEY;
            RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, rights, &raw mut key)
        };
        match failed {
            ERROR_SUCCESS => Ok(Some(Self(key))),
            ERROR_FILE_NOT_FOUND => Ok(None),
            failed => Err(io::Error::from_raw_os_error(failed.cast_signed())),
        }
    }

    /// A value's name, kind and content; `None` behind the last one.
    fn value(&self, index: u32) -> io::Result<Option<(String, u32, Vec<u8>)>> {
        let (mut name, mut content) = (vec![0u16; LONGEST_NAME], vec![0u8; LONGEST]);
        let mut units = u32::try_from(name.len()).unwrap_or(0);
        let mut bytes = u32::try_from(content.len()).unwrap_or(0);
        let mut kind = 0;
        // SAFETY: the key is open, and both buffers are as long as is said.
        let failed = unsafe {
            RegEnumValueW(
                self.0,
                index,
                name.as_mut_ptr(),
                &raw mut units,
                std::ptr::null_mut::<u32>(),
                &raw mut kind,
                content.as_mut_ptr().cast::<c_void>().cast(),
                &raw mut bytes,
            )
        };
        match failed {
            ERROR_SUCCESS => {}
            ERROR_NO_MORE_ITEMS => return Ok(None),
            failed => return Err(io::Error::from_raw_os_error(failed.cast_signed())),
        }
        name.truncate(usize::try_from(units).unwrap_or(0));
        content.truncate(usize::try_from(bytes).unwrap_or(0));
        Ok(Some((String::from_utf16_lossy(&name), kind, content)))
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key is open and ours.
        unsafe { RegCloseKey(self.0) };
    }
}
