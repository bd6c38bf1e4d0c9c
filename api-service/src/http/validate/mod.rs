//! Request bodies checked field by field, refused in the words of the contract.
//!
//! ```text
//! body bytes ─► Json (extract) ─► object("backup", …) ─► Fields ─► text, boolean, uuid, …
//!                                  unknown and missing              type, length, characters
//! ```
//!
//! Status and key of a refusal are the contract; the text keeps the field's name and the reason.

mod fields;
mod python;

pub(in crate::http) use fields::{Fields, sole_member};

/// A body that breaks a rule: the sentence for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Invalid(pub(in crate::http) String);

/// Longest name, description, container, zone, metadata key and value, in characters.
pub(in crate::http) const TEXT_MAX: usize = 255;

/// Strings that mean true, in the order the reference lists them.
const TRUE_WORDS: &[&str] = &[
    "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t",
];
/// Strings that mean false.
const FALSE_WORDS: &[&str] = &[
    "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f",
];

/// A boolean in a query string: the same words, in any case.
pub(in crate::http) fn boolean_word(text: &str) -> Option<bool> {
    let is = |words: &[&str]| {
        words
            .iter()
            .any(|word| word.eq_ignore_ascii_case(text.trim()))
    };
    match (is(TRUE_WORDS), is(FALSE_WORDS)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}
