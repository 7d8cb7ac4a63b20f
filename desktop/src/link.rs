//! `claviger:activate?serial=…`, the link in a purchase mail. It fills in a serial number after a question, and does nothing else:
//! whoever can make a person click must not be able to activate, replace or learn anything. A link that carries an unlock code is
//! refused as a whole, because mails are read by many machines on their way.

/// What a link asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Fill this serial number in.
    Activate(String),
    /// It carries an unlock code.
    CarriesCode,
    /// It is not one of ours, or of a later version.
    Unknown,
}

/// Longest link that is looked at.
pub(crate) const MAX_LEN: usize = 1024;
/// Longest serial number as it may be typed.
const MAX_SERIAL: usize = 100;

impl Link {
    /// Reads a link.
    #[must_use]
    pub(crate) fn read(text: &str) -> Self {
        let text = text.trim();
        if text.len() > MAX_LEN {
            return Self::Unknown;
        }
        let Some(rest) =
            text.get(..9).filter(|s| s.eq_ignore_ascii_case("claviger:")).and_then(|_| text.get(9..))
        else {
            return Self::Unknown;
        };
        let rest = rest.trim_start_matches('/');
        let (action, query) = rest.split_once('?').unwrap_or((rest, ""));
        if action.trim_end_matches('/') != "activate" {
            return Self::Unknown;
        }
        let mut serial = None;
        for pair in query.split('#').next().unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name.to_ascii_lowercase().as_str() {
                "serial" if serial.is_none() => serial = Some(value),
                name if name.contains("code") || name.contains("unlock") || name.contains("secret") => {
                    return Self::CarriesCode;
                }
                _ => return Self::Unknown,
            }
        }
        let Some(serial) = serial.and_then(decoded) else { return Self::Unknown };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ' ' | '.' | '_');
        if serial.is_empty() || serial.len() > MAX_SERIAL || !serial.chars().all(plain) {
            return Self::Unknown;
        }
        if claviger_protocol::unlock::UnlockCode::looks_native(&serial) {
            return Self::CarriesCode;
        }
        Self::Activate(serial)
    }
}

/// Percent encoding undone; nothing where it is broken or no text.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                if digits.starts_with('+') {
                    return None;
                }
                u8::from_str_radix(digits, 16).ok()?
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_fills_in_a_serial_number_and_nothing_else() {
        let serial = |text: &str| Link::Activate(text.to_owned());
        for (text, link) in [
            ("claviger:activate?serial=SOL-4XQ7K-2M9TB-0RHJ5", serial("SOL-4XQ7K-2M9TB-0RHJ5")),
            ("CLAVIGER://activate/?serial=SOL%2D4XQ7K", serial("SOL-4XQ7K")),
            ("claviger:activate?serial=A&code=B", Link::CarriesCode),
            ("claviger:activate?unlock_code=B", Link::CarriesCode),
            ("claviger:activate?serial=A&serial=B", Link::Unknown),
            ("claviger:activate?serial=A&replace=Studio", Link::Unknown),
            ("claviger:deactivate?serial=A", Link::Unknown),
            ("claviger:activate", Link::Unknown),
            ("claviger:activate?serial=", Link::Unknown),
            ("claviger:activate?serial=%zz", Link::Unknown),
            ("claviger:activate?serial=a%00b", Link::Unknown),
            ("claviger:activate?serial=<b>", Link::Unknown),
            ("https://claviger/activate?serial=A", Link::Unknown),
            ("", Link::Unknown),
        ] {
            assert_eq!(Link::read(text), link, "{text}");
        }
        assert_eq!(Link::read(&format!("claviger:activate?serial={}", "A".repeat(101))), Link::Unknown);
        assert_eq!(Link::read(&format!("claviger:activate?serial={}", "A".repeat(5_000))), Link::Unknown);
    }

    #[test]
    fn an_unlock_code_in_the_serials_place_is_one_all_the_same() {
        let code = claviger_protocol::unlock::UnlockCode::random(&ring::rand::SystemRandom::new()).unwrap();
        let link = format!("claviger:activate?serial={}", code.reveal());
        assert_eq!(Link::read(&link), Link::CarriesCode);
    }
}
