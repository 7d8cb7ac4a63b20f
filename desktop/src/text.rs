//! Strangers' texts made harmless, in one place: names come from servers and from other people. A window obeys no escape
//! sequences, but it can be made to lie (marks that reorder or hide text), to crawl (ten thousand characters in a label) and to
//! fall apart (line breaks in a heading).

use claviger_client::manager::words;

/// Most characters of a name.
const NAME: usize = 120;
/// Most characters of a sentence.
const SENTENCE: usize = 600;
/// Most characters that stand together without a place to break them.
const LONGEST_WORD: usize = 36;
/// Most marks that are stacked on one letter; languages need three.
const MARKS: usize = 3;

/// A name: one line, bounded, without controls and marks that hide or reorder. Never empty: `fallback` then.
#[must_use]
pub(crate) fn name(text: &str, fallback: &str) -> String {
    let cleaned = line(text, NAME);
    if cleaned.is_empty() { line(fallback, NAME) } else { cleaned }
}

/// A sentence of the daemon, which may quote a server.
#[must_use]
pub(crate) fn sentence(text: &str) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    breakable(&words::sentence(&line(text, SENTENCE)))
}

/// Lets words that are longer than any line be broken: paths, and what a server sends to tear a page apart.
#[must_use]
pub(crate) fn breakable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = 0;
    for c in text.chars() {
        run = if c == ' ' || c == '\n' { 0 } else { run + 1 };
        if run > LONGEST_WORD {
            out.push('\u{200b}');
            run = 1;
        }
        out.push(c);
    }
    out
}

/// Several lines: a notice, a body. Each is cleaned by itself.
#[must_use]
pub(crate) fn lines(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (index, each) in text.lines().enumerate() {
        if out.len() > most {
            out.push('…');
            break;
        }
        if index > 0 {
            out.push('\n');
        }
        out.push_str(&breakable(&line(each, most)));
    }
    out
}

/// One line of at most `most` characters.
#[must_use]
pub(crate) fn line(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most * 4));
    let (mut count, mut marks, mut space) = (0, 0, true);
    for c in text.chars() {
        if count >= most {
            out.push('…');
            break;
        }
        let c = if c.is_whitespace() { ' ' } else { c };
        if words::is_hostile(c) || is_private(c) || (c == ' ' && space) {
            continue;
        }
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if marks > MARKS {
            continue;
        }
        space = c == ' ';
        out.push(c);
        count += 1;
    }
    let kept = out.trim_end().len();
    out.truncate(kept);
    out
}

/// Marks that stand on the letter before them: a heap of them covers the lines around.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
        | '\u{6d6}'..='\u{6dc}' | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{e0100}'..='\u{e01ef}')
}

/// What means something to one font alone: it could draw anything.
fn is_private(c: char) -> bool {
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10fffd}')
}

/// The letters on a tile: the first of the first two words.
#[must_use]
pub(crate) fn letters(name: &str) -> String {
    let first = |word: &str| word.chars().find(|c| c.is_alphanumeric());
    let mut found: String = name.split([' ', '-', '.', '_']).filter_map(first).take(2).collect();
    if found.chars().count() == 1
        && let Some(second) = name.chars().filter(|c| c.is_alphanumeric()).nth(1)
    {
        found.push(second);
    }
    found = found
        .chars()
        .enumerate()
        .flat_map(|(at, c)| {
            let upper: Vec<char> = if at == 0 { c.to_uppercase().collect() } else { vec![c] };
            upper.into_iter().take(1)
        })
        .collect();
    if found.is_empty() { "·".to_owned() } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_bounded_line_without_tricks() {
        assert_eq!(name("  a\nb\t c ", ""), "a b c");
        assert_eq!(name("evil\u{202e}gnp.exe\u{200b}", ""), "evilgnp.exe");
        assert_eq!(name(&"x".repeat(10_240), "").chars().count(), NAME + 1);
        assert_eq!(name("\u{7}\u{1b}[2J", ""), "[2J");
        assert_eq!(name("\u{200f}\u{feff}", "com.example"), "com.example");
        assert_eq!(name("<b>bold</b> & *this*", ""), "<b>bold</b> & *this*", "markup is only text");
        assert_eq!(name("Emoji 🎹🎛️ stay", "").chars().filter(|c| *c == '🎹').count(), 1);
        let zalgo = format!("a{}b", "\u{301}".repeat(500));
        assert_eq!(name(&zalgo, "").chars().count(), 5);
        assert_eq!(name("private \u{e000}\u{f8ff}", ""), "private");
    }

    #[test]
    fn sentences_end_and_bodies_keep_their_lines() {
        assert_eq!(sentence("all seats are taken"), "All seats are taken.");
        assert_eq!(sentence(" "), "");
        assert_eq!(lines("one\r\ntwo\u{202e}", 100), "one\ntwo");
        assert!(lines(&"long\n".repeat(100_000), 1000).len() < 1100);
    }

    #[test]
    fn no_word_is_longer_than_a_line() {
        let longest = |text: &str| text.split([' ', '\u{200b}', '\n']).map(|word| word.chars().count()).max();
        for shown in
            [sentence(&"x".repeat(10_240)), lines(&"y".repeat(10_240), 4_000), breakable(&"/z".repeat(300))]
        {
            assert!(longest(&shown) <= Some(LONGEST_WORD), "{longest:?}", longest = longest(&shown));
        }
        assert_eq!(breakable("short words stay"), "short words stay");
    }

    #[test]
    fn tiles_have_at_most_two_letters() {
        for (from, to) in [
            ("Example Audio", "EA"),
            ("Solstice", "So"),
            ("", "·"),
            ("…", "·"),
            ("x", "X"),
            ("ßeta", "Se"),
            ("日本 音楽", "日音"),
        ] {
            assert_eq!(letters(from), to, "{from}");
        }
    }
}
