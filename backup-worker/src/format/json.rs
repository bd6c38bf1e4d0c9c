//! JSON as Python's `json.dumps(…, sort_keys=True, indent=2)` lays it out, and bounded reading.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Write};
use std::rc::Rc;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter};

use super::{FormatError, VERSION};

/// The longest text (a name, a description, `volume_meta`) that is read into memory.
const TEXT_MAX: u64 = 4 << 20;

/// Python's layout: two spaces, no newline at the end, nothing but printable ASCII.
pub(super) struct PythonLayout(PrettyFormatter<'static>);

impl PythonLayout {
    /// A serializer in this layout; keys are written in the order they come.
    pub(super) fn serializer<W: Write>(out: W) -> serde_json::Serializer<W, Self> {
        serde_json::Serializer::with_formatter(out, Self(PrettyFormatter::with_indent(b"  ")))
    }
}

macro_rules! as_pretty {
    ($($method:ident($($arg:ident: $type:ty),*)),+ $(,)?) => {$(
        fn $method<W: ?Sized + Write>(&mut self, out: &mut W $(, $arg: $type)*) -> io::Result<()> {
            self.0.$method(out $(, $arg)*)
        }
    )+};
}

impl Formatter for PythonLayout {
    as_pretty! {
        begin_array(),
        end_array(),
        begin_array_value(first: bool),
        end_array_value(),
        begin_object(),
        end_object(),
        begin_object_key(first: bool),
        begin_object_value(),
        end_object_value(),
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return out.write_all(fragment.as_bytes()); // all but the names that people give
        }
        let mut plain = 0;
        for (at, character) in fragment.char_indices() {
            if matches!(character, ' '..='~') {
                continue;
            }
            out.write_all(&fragment.as_bytes()[plain..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            plain = at + character.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[plain..])
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        self.0.write_char_escape(out, escape)
    }
}

/// How many bytes may still be read for one text; `None` while nothing is kept in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget(Rc<Cell<Option<u64>>>);

impl Budget {
    /// What counts the bytes of `inner`.
    pub(super) fn count<R: Read>(&self, inner: R) -> Budgeted<R> {
        let budget = self.clone();
        Budgeted { inner, budget }
    }

    /// Runs `read` with at most [`TEXT_MAX`] bytes of input.
    fn within<T>(&self, read: impl FnOnce() -> T) -> T {
        self.0.set(Some(TEXT_MAX));
        let outcome = read();
        self.0.set(None);
        outcome
    }

    /// The next key of an object.
    pub(super) fn key<'de, A: MapAccess<'de>>(
        &self,
        map: &mut A,
    ) -> Result<Option<String>, A::Error> {
        self.within(|| map.next_key())
    }

    /// A value that is kept.
    pub(super) fn value<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
        &self,
        map: &mut A,
    ) -> Result<T, A::Error> {
        self.within(|| map.next_value())
    }

    /// A value that is kept if it is a text, and else passed over: Cinder does not look at it.
    pub(super) fn text<'de, A: MapAccess<'de>>(
        &self,
        map: &mut A,
    ) -> Result<Option<String>, A::Error> {
        self.within(|| map.next_value_seed(TextOrNothing))
    }

    /// A value of no interest; it takes no memory, so it has no bound.
    pub(super) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>().map(|_| ())
    }
}

/// An input that gives up when a text is beyond all measure. What reads from it has a buffer, and a text may be longer by that.
pub(super) struct Budgeted<R> {
    inner: R,
    budget: Budget,
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        if let Some(left) = self.budget.0.get() {
            let left = left.checked_sub(got as u64).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "a text is longer than 4 MiB")
            })?;
            self.budget.0.set(Some(left));
        }
        Ok(got)
    }
}

/// Takes any value, and keeps it if it is a text.
struct TextOrNothing;

impl<'de> DeserializeSeed<'de> for TextOrNothing {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextOrNothing {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Fails unless a file's `version` is the text we know.
pub(super) fn check_version<E: serde::de::Error>(version: Option<&str>) -> Result<(), E> {
    match version {
        Some(VERSION) => Ok(()),
        Some(other) => Err(E::custom(format_args!(
            "its version is `{other}`, and only `{VERSION}` is known"
        ))),
        None => Err(E::custom("its version is not a text")),
    }
}

/// What went wrong with a file: its bytes, or reading them.
pub(super) fn error(file: &'static str, source: serde_json::Error) -> FormatError {
    if source.is_io() {
        let source = io::Error::from(source);
        FormatError::Io { file, source }
    } else {
        FormatError::Json { file, source }
    }
}
