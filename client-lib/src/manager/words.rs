//! Words for people, and strangers' names made harmless: what the command line and the window say in the same way.
//!
//! Names of vendors, products and machines come from servers and from other people: a terminal would obey the escape
//! sequences in them, and a reader would believe the line breaks.

/// Whether a terminal or a reader could be fooled by it: controls, and marks that hide or reorder text.
#[must_use]
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A stranger's text on one line, at most 200 characters, without anything that a terminal obeys.
#[must_use]
pub fn clean(text: &str) -> String {
    one_line(text, 200)
}

/// The same with a bound of one's own.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let mut out: String = text
        .chars()
        .take(most)
        .map(|c| {
            if c == '\n' || c == '\t' {
                ' '
            } else if is_hostile(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// A stranger's sentences: as [`clean`], longer, and ended as a sentence is.
#[must_use]
pub fn sentence(text: &str) -> String {
    let text = one_line(text, 2_000);
    let text = text.trim();
    let mut chars = text.chars();
    // A path or an id at the beginning keeps its spelling.
    let name = text.split_whitespace().next().is_some_and(|word| {
        let inner = word.trim_end_matches(['.', ':', ',', '…']);
        inner.contains(['/', '\\', '.', '_'])
    });
    let capital = |c: char| if name { c.to_string() } else { c.to_uppercase().collect() };
    let first: String = chars.next().map(capital).unwrap_or_default();
    let mut out = first + chars.as_str();
    if !out.ends_with(['.', '!', '?', ':', '…', '`']) {
        out.push('.');
    }
    out
}

/// A name in quotation marks.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("“{}”", clean(name))
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// `1 seat`, `3 seats`.
#[must_use]
pub fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// `a`, `a or b`, `a, b or c`.
#[must_use]
pub fn either(items: &[String]) -> String {
    match items {
        [] | [_] => list(items),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// An argument as a POSIX shell reads it back.
#[must_use]
pub fn shell(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_move_the_cursor_or_break_the_line() {
        assert_eq!(clean("a\u{1b}[2Jb\r\nc\u{202e}d\u{9b}e"), "a\u{fffd}[2Jb\u{fffd} c\u{fffd}d\u{fffd}e");
        assert_eq!(clean(&"x".repeat(500)).chars().count(), 201);
        assert!(!clean("\u{7}\u{8}\u{7f}\u{feff}").chars().any(is_hostile));
    }

    #[test]
    fn words() {
        assert_eq!(list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
        assert_eq!(either(&["a".into(), "b".into()]), "a or b");
        assert_eq!(sentence("all seats are taken"), "All seats are taken.");
        assert_eq!(shell("Studio Mac"), "'Studio Mac'");
        assert_eq!(shell("it's; rm -rf ~"), r"'it'\''s; rm -rf ~'");
        assert_eq!(shell("730b4327"), "730b4327");
        assert_eq!(shell(""), "''");
    }
}
