//! JSON that means one thing only: a repeated name anywhere is an error, and so is anything after the value.
//!
//! serde notices repeated names of fields that it knows; two readers could still disagree about the others. RFC 7515
//! section 4 asks for unique names in headers; we ask for it everywhere.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Why a text is not the JSON that was expected.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// An object has the same name twice.
    #[error("the name “{0}” stands twice in one object")]
    Duplicate(String),
    /// A list stands where an object should.
    #[error("a list stands where an object should")]
    List,
    /// Not JSON, trailing text, a missing or unknown field, or a value out of range.
    #[error("not the expected JSON: {0}")]
    Invalid(#[source] serde_json::Error),
}

/// Deepest nesting that is read; our deepest document has five levels.
const MAX_DEPTH: usize = 16;

/// Reads all of `text` as `T`, refusing repeated names at any depth and nesting beyond 16 levels.
///
/// # Errors
/// [`JsonError`] says which rule was broken.
pub fn from_slice_strict<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    let mut duplicate = None;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let seen = Scan { depth: MAX_DEPTH, duplicate: &mut duplicate }.deserialize(&mut reader);
    if let Some(name) = duplicate {
        return Err(JsonError::Duplicate(name));
    }
    seen.and_then(|()| reader.end()).map_err(JsonError::Invalid)?;
    serde_json::from_slice(text).map_err(JsonError::Invalid)
}

/// Whether `value`, which was read from `text`, is written the one way: serde would take a list of a structure's values
/// for the structure as well. What `value` leaves out may stand in `text`.
#[must_use]
pub(crate) fn is_plainly_written<T: Serialize>(text: &[u8], value: &T) -> bool {
    let same = || -> serde_json::Result<bool> {
        Ok(has_form_of(&serde_json::from_slice(text)?, &serde_json::to_value(value)?))
    };
    // Structures in a text without lists can only be objects.
    !text.contains(&b'[') || same().unwrap_or(false)
}

fn has_form_of(read: &Value, meant: &Value) -> bool {
    match (read, meant) {
        (Value::Array(read), Value::Array(meant)) => read.iter().zip(meant).all(|(r, m)| has_form_of(r, m)),
        (Value::Array(_), _) => false,
        (Value::Object(read), Value::Object(meant)) => {
            read.iter().all(|(name, r)| meant.get(name).is_none_or(|m| has_form_of(r, m)))
        }
        _ => true,
    }
}

/// Walks a value and keeps nothing but the names of the objects that it is inside of.
struct Scan<'a> {
    depth: usize,
    duplicate: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| A::Error::custom("nested too deeply"))?;
        // Objects of ours have few names: a linear look beats hashing. The bound keeps a hostile one linear too.
        let mut names: Vec<std::borrow::Cow<'de, str>> = Vec::new();
        let mut many: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
        while let Some(Name(name)) = map.next_key()? {
            let seen = if names.len() < 32 { names.contains(&name) } else { many.contains(name.as_ref()) };
            if seen || (names.len() >= 32 && names.contains(&name)) {
                *self.duplicate = Some(name.chars().filter(|c| !c.is_control()).take(64).collect());
                return Err(A::Error::custom("repeated name"));
            }
            if names.len() < 32 {
                names.push(name);
            } else {
                many.insert(name.into_owned());
            }
            map.next_value_seed(Scan { depth, duplicate: self.duplicate })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| A::Error::custom("nested too deeply"))?;
        while seq.next_element_seed(Scan { depth, duplicate: self.duplicate })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A name, borrowed from the text unless it has escapes.
struct Name<'de>(std::borrow::Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(name.into()))
            }
            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(name.to_owned().into()))
            }
        }
        deserializer.deserialize_str(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn read(text: &str) -> Result<Value, JsonError> {
        from_slice_strict(text.as_bytes())
    }

    #[test]
    fn repeated_names_are_found_at_any_depth_and_in_any_spelling() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"b":2,"a":3}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(matches!(read(text), Err(JsonError::Duplicate(n)) if n == "a"), "{text}");
        }
        let many: Vec<String> = (0..100).map(|n| format!("\"n{n}\":0")).collect();
        assert!(read(&format!("{{{}}}", many.join(","))).is_ok());
        assert!(matches!(read(&format!("{{{},\"n99\":1}}", many.join(","))), Err(JsonError::Duplicate(_))));
        assert!(matches!(read(&format!("{{{},\"n3\":1}}", many.join(","))), Err(JsonError::Duplicate(_))));
    }

    #[test]
    fn trailing_text_and_deep_nesting_are_refused() {
        assert!(read("{} x").is_err());
        assert!(read("{}{}").is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&format!("{}{}", "[".repeat(17), "]".repeat(17))).is_err());
        assert!(read(r#"{"a":{"b":[1,2.5,true,null,"x"]}}"#).is_ok());
    }
}
