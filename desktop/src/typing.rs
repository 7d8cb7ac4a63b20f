//! Serial numbers and unlock codes while they are typed: grouped, compared with the vendors that are known, and weighed with the
//! protocol's own check symbols. What is not finished yet is no mistake.

use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::Vendor;
use claviger_protocol::serial::{BODY_LEN, Serial, TypedCodeError};
use claviger_protocol::unlock::UnlockCode;

use crate::text;

/// Characters of a group.
const GROUP: usize = 5;
/// Characters of an unlock code.
const CODE_LEN: usize = 20;

/// What is thought of what was typed. `word` and `detail` are for `Say.typed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// 0 nothing to say, 1 good, 2 wrong.
    pub(crate) mark: i32,
    /// A stable word.
    pub(crate) word: &'static str,
    /// What it is about.
    pub(crate) detail: String,
}

impl Verdict {
    fn none() -> Self {
        Self::default()
    }
    fn hint(word: &'static str, detail: impl Into<String>) -> Self {
        Self { mark: 0, word, detail: detail.into() }
    }
    fn good(word: &'static str, detail: impl Into<String>) -> Self {
        Self { mark: 1, word, detail: detail.into() }
    }
    fn bad(word: &'static str, detail: impl Into<String>) -> Self {
        Self { mark: 2, word, detail: detail.into() }
    }
}

/// A serial number as far as it is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TypedSerial {
    pub(crate) verdict: Verdict,
    /// The serial number, where it can be sent.
    pub(crate) serial: Option<Serial>,
    /// Its vendor, where the prefix tells.
    pub(crate) vendor: Option<VendorId>,
    /// It may be a shop's own: the person must say whose.
    pub(crate) untold: bool,
}

/// Looks at a serial number. `chosen` is the vendor that the person has named.
pub(crate) fn serial(typed: &str, vendors: &[Vendor], chosen: Option<&Vendor>) -> TypedSerial {
    let verdict = |verdict: Verdict| TypedSerial { verdict, ..TypedSerial::default() };
    if typed.trim().is_empty() {
        return verdict(Verdict::none());
    }
    let native: Vec<&Vendor> = vendors.iter().filter(|v| Serial::looks_native(typed, &v.prefix)).collect();
    let mut wrong = None;
    for vendor in &native {
        match Serial::parse(typed, &vendor.prefix) {
            Ok(serial) => {
                return TypedSerial {
                    verdict: Verdict::good("vendor", text::name(&vendor.name, vendor.id.as_str())),
                    serial: Some(serial),
                    vendor: Some(vendor.id.clone()),
                    untold: false,
                };
            }
            Err(error) => wrong = Some(error),
        }
    }
    if UnlockCode::looks_native(typed) {
        return verdict(Verdict::bad("is_code", ""));
    }
    if let Some(error) = wrong {
        return verdict(match error {
            TypedCodeError::Length { found, expected, .. } if found < expected => {
                Verdict::hint("more", (expected - found).to_string())
            }
            other => problem(&other, "check_serial"),
        });
    }
    if let Some(vendor) = chosen {
        return match Serial::parse_any(typed, &vendor.prefix) {
            Ok(serial) => TypedSerial {
                verdict: Verdict::good("vendor", text::name(&vendor.name, vendor.id.as_str())),
                serial: Some(serial),
                vendor: Some(vendor.id.clone()),
                untold: true,
            },
            Err(error) => TypedSerial { untold: true, ..verdict(problem(&error, "check_serial")) },
        };
    }
    if let Some(error) = vendors.iter().find_map(|v| Serial::near_miss(typed, &v.prefix)) {
        return verdict(match error {
            TypedCodeError::Length { found, expected, .. } if found < expected => {
                Verdict::hint("more", (expected - found).to_string())
            }
            other => problem(&other, "check_serial"),
        });
    }
    if let Some(prefix) = Serial::native_prefix(typed) {
        return verdict(Verdict::bad("unknown_prefix", prefix.as_str()));
    }
    match Serial::foreign(typed) {
        // A serial number of a shop looks like anything, and so does half a serial number of ours.
        Ok(serial) => TypedSerial { serial: Some(serial), untold: true, ..TypedSerial::default() },
        Err(TypedCodeError::Foreign { .. }) if compact(typed).len() < 6 => verdict(Verdict::none()),
        Err(error) => verdict(problem(&error, "check_serial")),
    }
}

/// An unlock code as far as it is typed.
pub(crate) fn code(typed: &str, serial: Option<&Serial>) -> Verdict {
    let may_lack = serial.is_some_and(lacks_code);
    if typed.trim().is_empty() {
        return Verdict::hint(if may_lack { "code_optional" } else { "code_wanted" }, "");
    }
    let Some(serial) = serial else {
        return if UnlockCode::looks_native(typed) { Verdict::good("", "") } else { Verdict::none() };
    };
    match UnlockCode::parse(typed, serial) {
        Ok(_) => Verdict::good("", ""),
        Err(TypedCodeError::Length { found, expected, .. }) if found < expected => {
            Verdict::hint("more", (expected - found).to_string())
        }
        Err(TypedCodeError::Foreign { .. }) if compact(typed).len() < 4 => Verdict::none(),
        Err(error) => problem(&error, "check_code"),
    }
}

/// Whether a serial number may come without an unlock code: a shop's own.
pub(crate) fn lacks_code(serial: &Serial) -> bool {
    !serial.as_str().contains('-')
}

fn problem(error: &TypedCodeError, check: &'static str) -> Verdict {
    match error {
        TypedCodeError::Empty { .. } => Verdict::none(),
        TypedCodeError::Symbol { symbol, .. } => Verdict::bad("symbol", text::line(&symbol.to_string(), 4)),
        TypedCodeError::Length { .. } => Verdict::bad("long", ""),
        TypedCodeError::WrongPrefix { prefix, .. } => Verdict::bad("prefix", prefix.as_str()),
        TypedCodeError::UnlockCode => Verdict::bad("is_code", ""),
        TypedCodeError::Foreign { .. } => Verdict::bad("foreign", ""),
        TypedCodeError::Check { .. } | TypedCodeError::Prefix(_) => Verdict::bad(check, ""),
    }
}

fn compact(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

/// A serial number in groups, while it grows at its end. `None` leaves what was typed alone: it is a shop's own, or the person is
/// at work in its middle.
pub(crate) fn grouped_serial(before: &str, typed: &str, vendors: &[Vendor]) -> Option<String> {
    let all = growing(before, typed)?;
    let prefix = vendors.iter().map(|v| v.prefix.as_str()).find(|prefix| {
        all.len() > prefix.len() && all.starts_with(prefix) && all.len() <= prefix.len() + BODY_LEN
    })?;
    let out = format!("{prefix}-{}", groups(&all[prefix.len()..]));
    (out != typed).then_some(out)
}

/// The same for an unlock code.
pub(crate) fn grouped_code(before: &str, typed: &str) -> Option<String> {
    let all = growing(before, typed)?;
    if all.len() > CODE_LEN {
        return None;
    }
    let out = groups(&all);
    (out != typed).then_some(out)
}

/// The letters and digits of a text that became longer at its end, or was pasted as a whole.
fn growing(before: &str, typed: &str) -> Option<String> {
    let (old, all) = (compact(before), compact(typed));
    let plain =
        typed.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ' ' | '\u{2010}'..='\u{2015}'));
    (plain && all.len() > old.len() && all.starts_with(&old)).then_some(all)
}

fn groups(symbols: &str) -> String {
    let symbols: Vec<char> = symbols.chars().collect();
    symbols.chunks(GROUP).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// A line of a list of licenses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// It can be activated.
    Ready { serial: Serial, vendor: VendorId, code: Option<String>, by: String },
    /// Something is wrong with it.
    Wrong { shown: String, word: &'static str, detail: String },
}

/// Most lines that are taken at once.
const MOST_LINES: usize = 500;

/// Reads a list, a license a line: the serial number, then its unlock code.
pub(crate) fn several(text: &str, vendors: &[Vendor]) -> Vec<Listed> {
    let mut seen = std::collections::BTreeSet::new();
    let lines = text.lines().map(str::trim).filter(|line| compact(line).len() > 2);
    lines
        .take(MOST_LINES)
        .map(|line| {
            let listed = one_line(line, vendors);
            match listed {
                Listed::Ready { serial, .. } if !seen.insert(serial.clone()) => {
                    Listed::Wrong { shown: serial.to_string(), word: "double", detail: String::new() }
                }
                other => other,
            }
        })
        .collect()
}

fn one_line(line: &str, vendors: &[Vendor]) -> Listed {
    let words: Vec<&str> = line
        .split([' ', '\t', ',', ';', '|', '"', '\u{a0}'])
        .filter(|word| !word.is_empty())
        .take(40)
        .collect();
    // The serial number may itself be typed in groups with spaces between: the longest beginning that is one counts.
    for end in (1..=words.len()).rev() {
        let first = words[..end].join(" ");
        let found = serial(&first, vendors, None);
        let (Some(serial), Some(vendor), 1) = (found.serial, found.vendor, found.verdict.mark) else {
            continue;
        };
        let rest: Vec<&str> = words[end..].iter().copied().filter(|word| compact(word).len() > 1).collect();
        let typed = rest.join(" ");
        let shown = serial.to_string();
        let verdict = code(&typed, Some(&serial));
        if verdict.mark == 1 {
            return Listed::Ready { serial, vendor, code: Some(typed), by: found.verdict.detail };
        }
        let (word, detail) = match verdict.word {
            "code_wanted" => ("no_code", String::new()),
            word => (word, verdict.detail),
        };
        return Listed::Wrong { shown, word, detail };
    }
    let verdict = words.first().map(|word| serial(word, vendors, None).verdict).unwrap_or_default();
    let word = if verdict.mark == 2 { verdict.word } else { "no_serial" };
    // A code that lost its serial number is not shown.
    let shown =
        if verdict.word == "is_code" { String::new() } else { text::line(words.first().unwrap_or(&""), 40) };
    Listed::Wrong { shown, word, detail: verdict.detail }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    fn vendor(prefix: &str) -> Vendor {
        let json = serde_json::json!({
            "id": format!("com.example.{}", prefix.to_lowercase()), "name": "Example Audio", "prefix": prefix,
            "server": "https://example.com", "keyset": 1,
        });
        serde_json::from_value(json).unwrap()
    }

    fn serial_of(prefix: &str) -> Serial {
        Serial::random(&prefix.parse().unwrap(), &SystemRandom::new()).unwrap()
    }

    fn code_text() -> String {
        UnlockCode::random(&SystemRandom::new()).unwrap().reveal().to_owned()
    }

    #[test]
    fn a_serial_number_is_grouped_while_it_is_typed_and_good_at_its_end() {
        let vendors = [vendor("SOL"), vendor("MOON")];
        let whole = serial_of("SOL").to_string();
        let mut shown = String::new();
        for c in whole.to_lowercase().chars().filter(|c| *c != '-') {
            let typed = format!("{shown}{c}");
            shown = grouped_serial(&shown, &typed, &vendors).unwrap_or(typed);
            assert_ne!(serial(&shown, &vendors, None).verdict.mark, 2, "{shown} is not finished, not wrong");
        }
        assert_eq!(shown, whole);
        let found = serial(&shown, &vendors, None);
        assert_eq!((found.verdict.mark, found.vendor), (1, Some(vendors[0].id.clone())));
    }

    #[test]
    fn deleting_and_working_in_the_middle_is_left_alone() {
        let vendors = [vendor("SOL")];
        assert_eq!(grouped_serial("SOL-12345-6", "SOL-12345-", &vendors), None);
        assert_eq!(grouped_serial("SOL-12345-6", "SOL-1x2345-6", &vendors), None);
        assert_eq!(grouped_serial("", "SHOP 2024 0001", &vendors), None, "a shop's own keeps its look");
        assert_eq!(grouped_code("7KQ2", "7KQ2M9").as_deref(), Some("7KQ2M-9"));
    }

    #[test]
    fn slips_are_told_before_anything_is_sent() {
        let vendors = [vendor("SOL")];
        let whole = serial_of("SOL").to_string();
        let last = if whole.ends_with('0') { '1' } else { '0' };
        let slip = format!("{}{last}", &whole[..whole.len() - 1]);
        assert_eq!(serial(&slip, &vendors, None).verdict.word, "check_serial");
        assert_eq!(serial(&serial_of("ABC").to_string(), &vendors, None).verdict.word, "unknown_prefix");
        assert_eq!(serial(&code_text(), &vendors, None).verdict.word, "is_code");
        assert_eq!(serial("SOL-1234", &vendors, None).verdict, Verdict::hint("more", "11"));
        let shop = serial("SHOP20240001", &vendors, None);
        assert!(shop.untold && shop.vendor.is_none());
        assert_eq!(serial("SHOP20240001", &vendors, Some(&vendors[0])).verdict.mark, 1);
        assert_eq!(serial("", &vendors, None).verdict, Verdict::none());
    }

    #[test]
    fn an_unlock_code_is_weighed_by_the_serial_number() {
        let native = serial_of("SOL");
        let text = code_text();
        assert_eq!(code(&text, Some(&native)).mark, 1);
        assert_eq!(code(&text[..10], Some(&native)).word, "more");
        let last = if text.ends_with('0') { '1' } else { '0' };
        assert_eq!(code(&format!("{}{last}", &text[..text.len() - 1]), Some(&native)).word, "check_code");
        assert_eq!(code("", Some(&native)).word, "code_wanted");
        assert_eq!(code("", Some(&Serial::foreign("SHOP20240001").unwrap())).word, "code_optional");
    }

    #[test]
    fn a_pasted_list_is_read_however_it_is_separated() {
        let vendors = [vendor("SOL"), vendor("MOON")];
        let (one, two, three) = (serial_of("SOL"), serial_of("MOON"), serial_of("SOL"));
        let codes = [code_text(), code_text()];
        let spaced = two.as_str().replace('-', " ");
        let text = format!(
            "{one}\t{}\n\n  {spaced} ; {}  \n{one},{}\n{three}\nhello there\n{}\n",
            codes[0], codes[1], codes[0], codes[0]
        );
        let read = several(&text, &vendors);
        assert!(
            matches!(&read[0], Listed::Ready { serial, code: Some(code), .. } if *serial == one && *code == codes[0])
        );
        assert!(matches!(&read[1], Listed::Ready { serial, .. } if *serial == two), "{read:?}");
        let words: Vec<&str> = read[2..]
            .iter()
            .map(|l| match l {
                Listed::Wrong { word, .. } => *word,
                Listed::Ready { .. } => "ready",
            })
            .collect();
        assert_eq!(words, ["double", "no_code", "no_serial", "is_code"]);
        assert!(!format!("{:?}", read[5]).contains(&codes[0]), "a lonely code is not repeated");
        assert_eq!(several(&"SOL-1\n".repeat(100_000), &vendors).len(), MOST_LINES);
    }
}
