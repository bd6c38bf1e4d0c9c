//! A query string as the pairs the client sent, in its order.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// The decoded pairs. Where a name comes twice the last one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::http) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a raw query string. Bytes that are no UTF-8 become replacement characters: such a
    /// filter then matches nothing.
    pub(in crate::http) fn decode(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|part| !part.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_component(name), decode_component(value))
        });
        Self(decoded.collect())
    }

    /// The value of a parameter.
    pub(in crate::http) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All pairs.
    pub(in crate::http) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The query string with `name` set to `value` at its end: what a next link says.
    pub(in crate::http) fn encoded_with(&self, name: &str, value: &str) -> String {
        let kept = self.0.iter().filter(|(key, _)| key != name);
        let mut text = String::new();
        for (key, value) in kept.map(|(k, v)| (k.as_str(), v.as_str())) {
            push_pair(&mut text, key, value);
        }
        push_pair(&mut text, name, value);
        text
    }
}

fn push_pair(text: &mut String, key: &str, value: &str) {
    if !text.is_empty() {
        text.push('&');
    }
    encode_component(text, key);
    text.push('=');
    encode_component(text, value);
}

fn decode_component(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match tail {
                [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    bytes.push(hex_value(*high) << 4 | hex_value(*low));
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            other => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

fn encode_component(text: &mut String, component: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in component.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else if byte == b' ' {
            text.push('+');
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::decode(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_the_last_of_two_counts() {
        let query = Query::decode("sort=created_at%3Aasc&name=my+backup&limit=1&limit=2&flag");
        assert_eq!(query.get("sort"), Some("created_at:asc"));
        assert_eq!(query.get("name"), Some("my backup"));
        assert_eq!(query.get("limit"), Some("2"));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("marker"), None);
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(Query::decode("a=100%&b=%zz&c=%4").get("a"), Some("100%"));
        assert_eq!(Query::decode("b=%zz").get("b"), Some("%zz"));
        assert_eq!(Query::decode("b=%ff").get("b"), Some("\u{fffd}"));
    }

    #[test]
    fn a_next_link_repeats_all_parameters_and_sets_the_marker() {
        let query = Query::decode("all_tenants=1&marker=old&name=a%26b+c%C3%BC&limit=2");
        assert_eq!(
            query.encoded_with("marker", "new"),
            "all_tenants=1&name=a%26b+c%C3%BC&limit=2&marker=new"
        );
    }
}
