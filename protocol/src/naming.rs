//! What a person means by a product: its id, its name, or the ending of its id. One rule for every program, so that
//! what `check` understands `deactivate` understands too.

use crate::ids::ProductId;

/// How well a text names something; the best kind of match wins, and must be the only one of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// Not at all.
    None,
    /// A part of the name.
    PartOfName,
    /// The end of the id, in the middle of a part.
    Ending,
    /// The last parts of the id.
    LastParts,
    /// The name, whatever the case.
    Name,
    /// The id, serial number or activation.
    Exact,
}

/// How well `typed` names a product.
#[must_use]
pub fn matches(typed: &str, id: &ProductId, name: &str) -> Match {
    let typed = typed.trim().to_lowercase();
    let id = id.as_str();
    let name = name.to_lowercase();
    if typed.is_empty() {
        Match::None
    } else if id == typed {
        Match::Exact
    } else if name == typed {
        Match::Name
    } else if id.ends_with(&format!(".{}", typed.trim_start_matches('.'))) {
        Match::LastParts
    } else if id.ends_with(&typed) {
        Match::Ending
    } else if name.contains(&typed) {
        Match::PartOfName
    } else {
        Match::None
    }
}

/// Those of `all` that match best; empty when none does.
#[must_use]
pub fn best<T>(all: Vec<T>, how: impl Fn(&T) -> Match) -> Vec<T> {
    let rated: Vec<(Match, T)> = all.into_iter().map(|item| (how(&item), item)).collect();
    let top = rated.iter().map(|(rate, _)| *rate).max().unwrap_or(Match::None);
    if top == Match::None {
        return Vec::new();
    }
    rated.into_iter().filter(|(rate, _)| *rate == top).map(|(_, item)| item).collect()
}

/// Whether two serial numbers are the same for a reader: case, separators and look-alikes apart.
#[must_use]
pub fn same_serial(typed: &str, serial: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .take(200)
            .map(|c| match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            })
            .collect()
    };
    let typed = plain(typed);
    !typed.is_empty() && typed == plain(serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_wins() {
        let id: ProductId = "com.example.synth".parse().unwrap();
        assert_eq!(matches("com.example.synth", &id, "Solstice"), Match::Exact);
        assert_eq!(matches("SOLSTICE", &id, "Solstice"), Match::Name);
        assert_eq!(matches("synth", &id, "Solstice"), Match::LastParts);
        assert_eq!(matches("example.synth", &id, "Solstice"), Match::LastParts);
        assert_eq!(matches("nth", &id, "Solstice"), Match::Ending);
        assert_eq!(matches("sols", &id, "Solstice"), Match::PartOfName);
        assert_eq!(matches("", &id, "Solstice"), Match::None);
        let both = best(vec!["com.a.synth", "com.b.synth", "com.c.mega-synth"], |id| {
            matches("synth", &id.parse().unwrap(), "")
        });
        assert_eq!(both, ["com.a.synth", "com.b.synth"]);
    }

    #[test]
    fn serials_are_compared_as_people_type_them() {
        assert!(same_serial("sol 4xq7k2m9tb orhwe", "SOL-4XQ7K-2M9TB-0RHWE"));
        assert!(!same_serial("SOL", "SOL-4XQ7K-2M9TB-0RHWE"));
        assert!(!same_serial("-", "-"));
    }
}
