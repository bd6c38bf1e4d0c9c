//! Which trace a request belongs to, and to what in it, as [W3C Trace Context] writes it.
//!
//! ```text
//! 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
//! version  trace id                   parent's span id flags: 01 the trace is recorded
//! ```
//!
//! [W3C Trace Context]: https://www.w3.org/TR/trace-context/#traceparent-header

use std::fmt;
use std::num::{NonZero, ParseIntError};
use std::str::FromStr;

/// A place in a trace. It is written in version 00, whatever version was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace_id: NonZero<u128>,
    /// The span that whatever carries this is a child of.
    pub span_id: NonZero<u64>,
    /// Whether whoever began the trace, or followed it last, records it.
    pub sampled: bool,
}

/// A text that is no place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no `traceparent`")]
pub struct BadTraceParent;

impl From<ParseIntError> for BadTraceParent {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

const SAMPLED: u8 = 1;

impl TraceParent {
    /// The trace's id as everybody writes it: 32 hexadecimal digits.
    #[must_use]
    pub fn trace(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

impl FromStr for TraceParent {
    type Err = BadTraceParent;

    /// Takes versions to come too: their first four fields are those of version 00.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = text.splitn(5, '-');
        let mut field = |digits: usize| {
            let field = fields.next().filter(|field| {
                field.len() == digits
                    && field
                        .bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            });
            field.ok_or(BadTraceParent)
        };
        let version = u8::from_str_radix(field(2)?, 16)?;
        let trace_id = u128::from_str_radix(field(32)?, 16)?;
        let span_id = u64::from_str_radix(field(16)?, 16)?;
        let flags = u8::from_str_radix(field(2)?, 16)?;
        let has_more = fields.next().is_some();
        if version == u8::MAX || (version == 0 && has_more) {
            return Err(BadTraceParent);
        }
        Ok(Self {
            trace_id: NonZero::new(trace_id).ok_or(BadTraceParent)?,
            span_id: NonZero::new(span_id).ok_or(BadTraceParent)?,
            sampled: flags & SAMPLED != 0,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            span_id,
            sampled,
        } = self;
        let flags = u8::from(*sampled) * SAMPLED;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

impl serde::Serialize for TraceParent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for TraceParent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for TraceParent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TraceParent".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_place_in_a_trace_reads_back_as_it_was_written() {
        let read: TraceParent = EXAMPLE.parse().unwrap();
        assert_eq!(read.to_string(), EXAMPLE);
        assert!(read.sampled);
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<TraceParent>(&json).unwrap(), read);
    }

    #[test]
    fn of_the_flags_only_the_first_counts() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let text = format!("{}{flags}", EXAMPLE.strip_suffix("01").unwrap());
            assert_eq!(text.parse::<TraceParent>().unwrap().sampled, sampled);
        }
    }

    #[test]
    fn a_version_to_come_is_read_as_far_as_this_one_goes() {
        let newer = format!("01{}-more-of-it", EXAMPLE.strip_prefix("00").unwrap());
        let read: TraceParent = newer.parse().unwrap();
        assert_eq!(read.to_string(), EXAMPLE);
    }

    #[test]
    fn what_is_no_place_in_a_trace_is_not_read_as_one() {
        for text in [
            "",
            "00-abc",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(BadTraceParent), "{text}");
        }
    }
}
