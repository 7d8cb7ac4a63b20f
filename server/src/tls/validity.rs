//! When a certificate begins and ends. Only as much DER as leads there is read (RFC 5280 section 4.1), with every
//! length checked; the TLS library judges everything else.

use claviger_protocol::clock::{Date, Timestamp};

/// The time in which a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The validity of a DER certificate; `None` when it is none.
pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
    let (outer, rest) = take(certificate, SEQUENCE)?;
    if !rest.is_empty() {
        return None;
    }
    let (mut body, _) = take(outer, SEQUENCE)?;
    if let Some((_, rest)) = take(body, VERSION) {
        body = rest;
    }
    // Serial number, signature algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        body = take(body, tag)?.1;
    }
    let (validity, _) = take(body, SEQUENCE)?;
    let (from, rest) = time(validity)?;
    let (until, _) = time(rest)?;
    Some(Validity { from, until })
}

/// The content of the first value, which must have this tag, and what follows it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let number = |text: &[u8]| {
        text.iter().try_fold(0u16, |n, b| b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0')))
    };
    let (year, text, rest) = if let Some((text, rest)) = take(bytes, UTC_TIME) {
        let (year, text) = text.split_at_checked(2)?;
        let year = number(year)?;
        // RFC 5280: two digits from 50 on are the last century's.
        (if year < 50 { 2000 + year } else { 1900 + year }, text, rest)
    } else {
        let (text, rest) = take(bytes, GENERALIZED_TIME)?;
        let (year, text) = text.split_at_checked(4)?;
        (number(year)?, text, rest)
    };
    if text.len() != 11 || text[10] != b'Z' {
        return None;
    }
    let part = |at: usize| number(&text[at..at + 2]);
    let small = |n: u16| u8::try_from(n).ok();
    let date = Date::new(year, small(part(0)?)?, small(part(2)?)?)?;
    let seconds = i64::from(part(4)?) * 3600 + i64::from(part(6)?) * 60 + i64::from(part(8)?);
    Some((date.start().plus(seconds), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn real_certificates_are_read_and_cut_ones_refused() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2049, 12, 31);
        params.not_after = date_time_ymd(2051, 1, 2);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let day = |text: &str| text.parse::<Date>().unwrap().start();
        assert_eq!(of(&der), Some(Validity { from: day("2049-12-31"), until: day("2051-01-02") }));
        for cut in 0..der.len() {
            assert_eq!(of(&der[..cut]), None, "cut at {cut}");
        }
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 0x55;
            let _ = of(&changed);
        }
    }
}
