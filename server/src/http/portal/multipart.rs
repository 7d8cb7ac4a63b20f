//! Reads what a browser's form sends: `multipart/form-data` (RFC 7578) and `application/x-www-form-urlencoded`, from a
//! body that has arrived whole and whose length is bounded. By hand, because a streaming parser with its character sets
//! would be many times this; a fuzz target feeds it anything.

use std::borrow::Cow;

/// Fields of one form; a person may choose this many files at once.
const MAX_FIELDS: usize = 1_000;
/// Most bytes of one field's header.
const MAX_HEADER: usize = 8 * 1024;

/// A field of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// Its name.
    pub(super) name: String,
    /// The name of the file, as the sender's computer calls it; not to be believed.
    pub(super) file_name: Option<String>,
    /// What it holds.
    pub(super) content: Cow<'a, [u8]>,
}

/// Why a form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// Its content type is another one.
    #[error("The form is neither multipart/form-data nor application/x-www-form-urlencoded.")]
    Kind,
    /// Its parts are not where they should be.
    #[error("The form did not arrive whole.")]
    Broken,
    /// It has more fields than anyone needs.
    #[error("The form has more than {MAX_FIELDS} files and fields.")]
    TooMany,
}

/// The fields of a form, in their order.
///
/// # Errors
/// [`FormError`].
pub(super) fn fields<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Field<'a>>, FormError> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    match kind.trim().to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => urlencoded(body),
        "multipart/form-data" => {
            let boundary = parameter(parameters, "boundary").ok_or(FormError::Broken)?;
            // RFC 2046 section 5.1.1: 1 to 70 characters.
            if boundary.is_empty() || boundary.len() > 70 {
                return Err(FormError::Broken);
            }
            multipart(body, boundary.as_bytes())
        }
        _ => Err(FormError::Kind),
    }
}

fn urlencoded(body: &[u8]) -> Result<Vec<Field<'_>>, FormError> {
    let mut fields = Vec::new();
    for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        if fields.len() == MAX_FIELDS {
            return Err(FormError::TooMany);
        }
        let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let name = percent_decoded(&pair[..at]);
        fields.push(Field {
            name: String::from_utf8_lossy(&name).into_owned(),
            file_name: None,
            content: Cow::Owned(percent_decoded(pair.get(at + 1..).unwrap_or_default())),
        });
    }
    Ok(fields)
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    out
}

fn multipart<'a>(body: &'a [u8], boundary: &[u8]) -> Result<Vec<Field<'a>>, FormError> {
    let delimiter = [b"\r\n--", boundary].concat();
    // The first delimiter may stand at the very beginning, without its line break.
    let mut rest = match body.strip_prefix(&delimiter[2..]) {
        Some(rest) => rest,
        None => cut(body, &delimiter).ok_or(FormError::Broken)?.1,
    };
    let mut fields = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(fields);
        }
        if fields.len() == MAX_FIELDS {
            return Err(FormError::TooMany);
        }
        // White space may follow a delimiter.
        let spaces = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let part = rest[spaces..].strip_prefix(b"\r\n").ok_or(FormError::Broken)?;
        let (part, after) = cut(part, &delimiter).ok_or(FormError::Broken)?;
        let (header, content) = cut(part, b"\r\n\r\n").ok_or(FormError::Broken)?;
        if header.len() > MAX_HEADER {
            return Err(FormError::Broken);
        }
        fields.push(field(header, content)?);
        rest = after;
    }
}

fn field<'a>(header: &[u8], content: &'a [u8]) -> Result<Field<'a>, FormError> {
    let header = String::from_utf8_lossy(header);
    let disposition = header
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
        .map(|(_, value)| value)
        .ok_or(FormError::Broken)?;
    let (kind, parameters) = disposition.split_once(';').ok_or(FormError::Broken)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(FormError::Broken);
    }
    Ok(Field {
        name: parameter(parameters, "name").ok_or(FormError::Broken)?,
        file_name: parameter(parameters, "filename"),
        content: Cow::Borrowed(content),
    })
}

/// The value of a parameter such as `name="x"`. Browsers write a quote inside as `%22` and a line break as `%0D%0A`;
/// older clients escape with a backslash.
fn parameter(mut text: &str, wanted: &str) -> Option<String> {
    while !text.is_empty() {
        let (name, after) = text.split_once('=')?;
        let after = after.trim_start();
        let (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        text = rest.trim_start().trim_start_matches(';');
    }
    None
}

fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value.replace("%22", "\""), &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                escaped @ ('"' | '\\') => value.push(escaped),
                // A path of an old Windows browser.
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

/// What stands before and behind the first `mark`.
fn cut<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let first = *mark.first()?;
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.iter().position(|b| *b == first)?;
        if text[at..].starts_with(mark) {
            return Some((&text[..at], &text[at + mark.len()..]));
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=----WebKitFormBoundaryA1";

    fn body(parts: &[&str]) -> Vec<u8> {
        let mut body = String::new();
        for part in parts {
            body += &format!("------WebKitFormBoundaryA1\r\n{part}\r\n");
        }
        (body + "------WebKitFormBoundaryA1--\r\n").into_bytes()
    }

    #[test]
    fn a_browsers_form_is_read() {
        let body = body(&[
            "Content-Disposition: form-data; name=\"file\"; filename=\"lab %22A%22.clvbatch\"\r\n\
             Content-Type: application/octet-stream\r\n\r\nline\r\n--not the boundary\r\n",
            "Content-Disposition: form-data; name=\"text\"\r\n\r\n",
        ]);
        let read = fields(KIND, &body).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(
            (read[0].name.as_str(), read[0].file_name.as_deref()),
            ("file", Some("lab \"A\".clvbatch"))
        );
        assert_eq!(&*read[0].content, b"line\r\n--not the boundary\r\n");
        assert_eq!((read[1].name.as_str(), &*read[1].content), ("text", &b""[..]));
    }

    #[test]
    fn a_form_without_files_is_read() {
        let read =
            fields("application/x-www-form-urlencoded; charset=utf-8", b"text=a+b%0D%0A%zz&want=file&x");
        let read = read.unwrap();
        assert_eq!(&*read[0].content, b"a b\r\n%zz");
        assert_eq!((read[1].name.as_str(), &*read[1].content), ("want", &b"file"[..]));
        assert_eq!((read[2].name.as_str(), &*read[2].content), ("x", &b""[..]));
    }

    #[test]
    fn what_is_broken_is_refused() {
        let whole = body(&["Content-Disposition: form-data; name=\"text\"\r\n\r\nx"]);
        assert!(fields(KIND, &whole).is_ok());
        for cut in 0..whole.len() - 4 {
            assert_eq!(fields(KIND, &whole[..cut]), Err(FormError::Broken), "{cut}");
        }
        for bad in [
            "X: y\r\n\r\nx",
            "Content-Disposition: form-data\r\n\r\nx",
            "Content-Disposition: attachment; name=\"x\"\r\n\r\nx",
            "Content-Disposition: form-data; name=\"x\r\n\r\nx",
            "no header at all",
        ] {
            assert_eq!(fields(KIND, &body(&[bad])), Err(FormError::Broken), "{bad}");
        }
        assert_eq!(fields("multipart/form-data", &whole), Err(FormError::Broken));
        assert_eq!(fields("multipart/form-data; boundary=\"\"", &whole), Err(FormError::Broken));
        assert_eq!(fields("text/plain", b"text=x"), Err(FormError::Kind));
        let many = vec!["Content-Disposition: form-data; name=\"file\"\r\n\r\nx"; MAX_FIELDS + 1];
        assert_eq!(fields(KIND, &body(&many)), Err(FormError::TooMany));
        assert!(fields("application/x-www-form-urlencoded", &b"a&".repeat(MAX_FIELDS)).is_ok());
        assert_eq!(
            fields("application/x-www-form-urlencoded", &b"a&".repeat(MAX_FIELDS + 1)),
            Err(FormError::TooMany)
        );
    }
}
