//! What mail makes of a text before it is a text again: quoted-printable, HTML, and attachments in a saved message.
//!
//! Nothing here knows mail as its standards do. A document's own alphabet has no `=`, `<` and `&`, so whatever stands
//! behind one of them was added on the way; the block's checksum decides whether the rest is whole.

use std::borrow::Cow;

use data_encoding::BASE64_NOPAD;

/// Longest tag that is taken for one, in bytes.
const LONGEST_TAG: usize = 4_000;
/// Most attachments of one message.
const MOST_ATTACHMENTS: usize = 1_000;
/// Elements within a line: without them its words stand side by side. All others end a line.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "bdi", "code", "em", "font", "i", "mark", "o:p", "s", "span", "strong", "tt", "u",
    "wbr",
];

/// The text with the line breaks that it had before it was mailed.
pub(super) fn unwrapped(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    if text.contains("=\n") || text.contains("=\r") {
        text = Cow::Owned(text.replace("=\r\n", "").replace("=\n", "").replace("=\r", ""));
    }
    if looks_like_html(&text) { Cow::Owned(without_tags(&text)) } else { text }
}

/// A line without the escapes of quoted-printable: `=2D` is a hyphen.
pub(super) fn unescaped(line: &str) -> Cow<'_, str> {
    if !line.contains('=') {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('=') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let code = rest.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[3..];
            }
            None => {
                out.push('=');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn looks_like_html(text: &str) -> bool {
    text.contains("</") || text.contains("<br") || text.contains("<BR")
}

fn without_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (instead, length) = tag(rest).or_else(|| entity(rest)).unwrap_or((&rest[..1], 1));
        out.push_str(instead);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// What a tag at the beginning of `text` stands for, and how long it is.
fn tag(text: &str) -> Option<(&'static str, usize)> {
    let inner = text.strip_prefix('<')?;
    let name = inner.strip_prefix('/').unwrap_or(inner);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!') {
        return None;
    }
    let end = inner.bytes().take(LONGEST_TAG).position(|b| b == b'>' || b == b'<')?;
    if inner.as_bytes().get(end) != Some(&b'>') {
        return None;
    }
    let name = name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':').next().unwrap_or_default();
    let inline = INLINE.iter().any(|known| known.eq_ignore_ascii_case(name));
    Some((if inline { "" } else { "\n" }, end + 2))
}

fn entity(text: &str) -> Option<(&'static str, usize)> {
    let inner = text.strip_prefix('&')?;
    let end = inner.bytes().take(12).position(|b| !b.is_ascii_alphanumeric() && b != b'#')?;
    if end == 0 || inner.as_bytes().get(end) != Some(&b';') {
        return None;
    }
    let instead = match &inner[..end] {
        "gt" => ">",
        "amp" => "&",
        "shy" | "zwnj" | "#8203" | "#173" => "",
        _ => " ",
    };
    Some((instead, end + 2))
}

/// The parts of a saved message that are written in base 64, with the names of their files.
pub(super) fn attachments(text: &str) -> Vec<(Option<String>, Vec<u8>)> {
    const HEADER: &str = "content-transfer-encoding:";
    let mut found = Vec::new();
    let starts =
        |line: &str, with: &str| line.get(..with.len()).is_some_and(|l| l.eq_ignore_ascii_case(with));
    if !text.lines().any(|line| starts(line, HEADER)) {
        return found;
    }
    let (mut in_header, mut encoded, mut name) = (true, false, None);
    let mut body: Option<String> = None;
    for line in text.lines().chain(["--"]) {
        let line = line.trim_end();
        if let Some(open) = &mut body {
            if line.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')) {
                open.push_str(line.trim_end_matches('='));
                continue;
            }
            let bytes = BASE64_NOPAD.decode(open.as_bytes());
            found.extend(bytes.ok().filter(|b| !b.is_empty()).map(|bytes| (name.take(), bytes)));
            body = None;
            if found.len() == MOST_ATTACHMENTS {
                return found;
            }
        }
        if line.starts_with("--") {
            (in_header, encoded, name) = (true, false, None);
        } else if line.is_empty() {
            if in_header && encoded {
                body = Some(String::new());
            }
            in_header = false;
        } else if in_header {
            if starts(line, HEADER) {
                encoded = line[HEADER.len()..].trim().eq_ignore_ascii_case("base64");
            }
            name = name.or_else(|| file_name(line));
        }
    }
    found
}

/// `filename="studio.clvreq"` in a header.
fn file_name(line: &str) -> Option<String> {
    let value = line.split_once("name=")?.1.trim_start_matches('"');
    let value: String = value
        .chars()
        .take_while(|c| !matches!(c, '"' | ';'))
        .filter(|c| !crate::ids::is_unprintable(*c))
        .take(120)
        .collect();
    Some(value).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_soft_line_breaks_go() {
        assert_eq!(unwrapped("abc=\r\ndef=\nghi=\rj"), "abcdefghij");
        assert_eq!(unescaped("=2D=2Dx=3d=zz=C3=BC="), "--x==zz=C3=BC=");
        assert_eq!(unescaped("=é"), "=é");
    }

    #[test]
    fn tags_become_line_breaks_and_names_stay() {
        assert_eq!(unwrapped("<div>a<br/>b&nbsp;&gt;</div>"), "\na\nb >\n");
        assert_eq!(unwrapped("x <b>Check</b>sum</p>"), "x Checksum\n");
        assert_eq!(unwrapped("Ada <ada@example.com> & a < b"), "Ada <ada@example.com> & a < b");
        assert_eq!(unwrapped("1 < 2 </p> &"), "1 < 2 \n &");
        assert_eq!(unwrapped("</p><é"), "\n<é");
    }

    #[test]
    fn attachments_of_a_message_are_decoded() {
        let message = "Subject: x\nMIME-Version: 1.0\n\ntext\n--b\nContent-Type: application/octet-stream;\n \
                       name=\"a.clvreq\"\nContent-Transfer-Encoding: BASE64\n\naGVs\nbG8=\n\n--b--\n";
        assert_eq!(attachments(message), [(Some("a.clvreq".to_owned()), b"hello".to_vec())]);
        assert_eq!(attachments("hello"), []);
        assert_eq!(attachments("Content-Transfer-Encoding: base64\n\n!!"), []);
        assert_eq!(attachments("Content-Transfer-Encoding: base64\n\naGVsbG8="), [(None, b"hello".to_vec())]);
    }
}
