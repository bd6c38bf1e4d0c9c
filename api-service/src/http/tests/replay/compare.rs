//! Where two answers differ. Ids and times differ by nature; their form must not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::recording::{Response, is_uuid};
use crate::http::tests::Answer;

/// A place in the answer, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// `status`, `header NAME`, or the members down to it, `[]` for every element of a list.
    pub(super) place: String,
    pub(super) theirs: String,
    pub(super) ours: String,
}

/// Headers whose values are the contract; of the others only the presence is.
const SAME_VALUE: [&str; 5] = [
    "content-type",
    "location",
    "openstack-api-version",
    "retry-after",
    "vary",
];

/// All of them.
pub(super) fn differences(theirs: &Response, ours: &Answer) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |place: String, theirs: String, ours: String| {
        let difference = Difference {
            place,
            theirs,
            ours,
        };
        if !found.contains(&difference) {
            found.push(difference);
        }
    };
    if theirs.status != ours.status {
        let status = |status: u16| status.to_string();
        differ(
            "status".to_owned(),
            status(theirs.status),
            status(ours.status),
        );
    }
    for (name, value) in &theirs.headers {
        let place = || format!("header {name}");
        // An empty body has no type.
        let empty = name == "content-type" && theirs.body.is_null();
        match ours.header(name) {
            _ if empty => {}
            "" => differ(place(), value.clone(), "none".to_owned()),
            own if SAME_VALUE.contains(&name.as_str()) && own != value => {
                differ(place(), value.clone(), own.to_owned());
            }
            _ => {}
        }
    }
    compare("", &theirs.body, &ours.body, &mut differ);
    found
}

fn compare(
    place: &str,
    theirs: &Value,
    ours: &Value,
    differ: &mut impl FnMut(String, String, String),
) {
    let below = |member: &str| match place {
        "" => member.to_owned(),
        _ => format!("{place}.{member}"),
    };
    match (theirs, ours) {
        (Value::Object(their_members), Value::Object(our_members)) => {
            for (member, value) in their_members {
                match our_members.get(member) {
                    Some(own) => compare(&below(member), value, own, differ),
                    None => differ(below(member), shown(value), "absent".to_owned()),
                }
            }
            for (member, value) in our_members {
                if !their_members.contains_key(member) {
                    differ(below(member), "absent".to_owned(), shown(value));
                }
            }
        }
        (Value::Array(their_list), Value::Array(our_list)) => {
            compare_lists(&format!("{place}[]"), their_list, our_list, differ);
        }
        (Value::String(their_text), Value::String(our_text)) => {
            match (record(place, their_text), record(place, our_text)) {
                (Some(their_record), Some(our_record)) => {
                    compare(place, &their_record, &our_record, differ);
                }
                _ if form(their_text) != form(our_text) => {
                    differ(place.to_owned(), shown(theirs), shown(ours));
                }
                _ => {}
            }
        }
        _ if theirs != ours => differ(
            if place.is_empty() { "body" } else { place }.to_owned(),
            shown(theirs),
            shown(ours),
        ),
        _ => {}
    }
}

/// Elements that have a name are compared with their namesakes, and then the order of the names.
fn compare_lists(
    place: &str,
    theirs: &[Value],
    ours: &[Value],
    differ: &mut impl FnMut(String, String, String),
) {
    let named = |list: &[Value]| -> Option<Vec<String>> {
        let name = |value: &Value| {
            let member = ["id", "binary", "alias", "resource", "zoneName"];
            let name = member.iter().find_map(|member| value[*member].as_str());
            name.or_else(|| value.as_str()).map(str::to_owned)
        };
        list.iter().map(name).collect()
    };
    let (Some(their_names), Some(our_names)) = (named(theirs), named(ours)) else {
        if theirs.len() != ours.len() {
            let length = |list: &[Value]| format!("{} of them", list.len());
            differ(place.to_owned(), length(theirs), length(ours));
        }
        for (theirs, ours) in theirs.iter().zip(ours) {
            compare(place, theirs, ours, differ);
        }
        return;
    };
    if their_names != our_names {
        let names = |names: &[String]| shown(&Value::from(names));
        differ(place.to_owned(), names(&their_names), names(&our_names));
    }
    for (name, theirs) in their_names.iter().zip(theirs) {
        if let Some(at) = our_names.iter().position(|own| own == name) {
            compare(place, theirs, &ours[at], differ);
        }
    }
}

/// An exported record is JSON in base64.
fn record(place: &str, text: &str) -> Option<Value> {
    let is_record = place.ends_with("backup_url");
    let bytes = is_record.then(|| STANDARD.decode(text).ok()).flatten()?;
    serde_json::from_slice(&bytes).ok()
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The text with what differs by nature taken out.
fn form(text: &str) -> String {
    if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return "<id>".to_owned();
    }
    let mut form = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if rest.get(..36).is_some_and(is_uuid) {
            form.push_str("<id>");
            rest = &rest[36..];
        } else if let Some(length) = time(rest) {
            form.push_str(match length {
                26 => "<time with microseconds>",
                _ => "<time>",
            });
            rest = &rest[length..];
        } else {
            form.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    form
}

/// How long the time is with which the text begins.
fn time(text: &str) -> Option<usize> {
    let fits = |pattern: &str| {
        text.len() >= pattern.len()
            && pattern
                .bytes()
                .zip(text.bytes())
                .all(|(form, byte)| match form {
                    b'0' => byte.is_ascii_digit(),
                    other => byte == other,
                })
    };
    [
        "0000-00-00T00:00:00.000000",
        "0000-00-00T00:00:00",
        "00000000000000",
    ]
    .into_iter()
    .find(|pattern| fits(pattern))
    .map(str::len)
}
