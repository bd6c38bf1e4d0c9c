//! The members of a body's object, one check each.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{FALSE_WORDS, Invalid, TEXT_MAX, TRUE_WORDS, python};

/// The inner object of a body such as `{"backup": {…}}`.
#[derive(Debug)]
pub(in crate::http) struct Fields<'a> {
    /// The member of the body it was found in, for messages.
    owner: &'static str,
    members: &'a Map<String, Value>,
}

fn at_top(reason: impl std::fmt::Display) -> Invalid {
    Invalid(reason.to_string())
}

fn at_field(field: &str, value: &Value, reason: impl std::fmt::Display) -> Invalid {
    Invalid(format!(
        "Invalid input for field/attribute {field}. Value: {}. {reason}",
        python::text(value)
    ))
}

fn quoted(name: &str) -> String {
    python::repr(&Value::String(name.to_owned()))
}

fn unexpected(names: &[&String]) -> String {
    let list: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let verb = if list.len() == 1 { "was" } else { "were" };
    format!(
        "Additional properties are not allowed ({} {verb} unexpected)",
        list.join(", ")
    )
}

/// The only member of an action body: its name and value.
pub(in crate::http) fn sole_member(body: &Value) -> Result<(&str, &Value), Invalid> {
    let malformed = || Invalid("Malformed request body".to_owned());
    let members = body.as_object().ok_or_else(malformed)?;
    let mut pairs = members.iter();
    match (pairs.next(), pairs.next()) {
        (Some((name, value)), None) => Ok((name, value)),
        _ => Err(malformed()),
    }
}

impl<'a> Fields<'a> {
    /// Finds `owner` in the body and checks the names of its members.
    ///
    /// `beside` names further members the body may have at its top.
    pub(in crate::http) fn of(
        body: &'a Value,
        owner: &'static str,
        beside: &[&str],
        allowed: &[&str],
        required: &[&str],
    ) -> Result<Self, Invalid> {
        let top = body
            .as_object()
            .ok_or_else(|| at_top(format!("{} is not of type 'object'", python::repr(body))))?;
        let inner = top
            .get(owner)
            .ok_or_else(|| at_top(format!("'{owner}' is a required property")))?;
        let strangers: Vec<&String> = top
            .keys()
            .filter(|key| *key != owner && !beside.contains(&key.as_str()))
            .collect();
        if !strangers.is_empty() {
            return Err(at_top(unexpected(&strangers)));
        }
        Self::of_object(inner, owner, allowed, required)
    }

    /// The members of an object that stands alone, such as an action's value.
    pub(in crate::http) fn of_object(
        value: &'a Value,
        owner: &'static str,
        allowed: &[&str],
        required: &[&str],
    ) -> Result<Self, Invalid> {
        let members = value.as_object().ok_or_else(|| {
            let reason = format!("{} is not of type 'object'", python::repr(value));
            at_field(owner, value, reason)
        })?;
        let fields = Self { owner, members };
        fields.check_names(value, allowed, required)?;
        Ok(fields)
    }

    fn check_names(
        &self,
        whole: &Value,
        allowed: &[&str],
        required: &[&str],
    ) -> Result<(), Invalid> {
        for name in required {
            if !self.members.contains_key(*name) {
                let reason = format!("'{name}' is a required property");
                return Err(at_field(self.owner, whole, reason));
            }
        }
        let strangers: Vec<&String> = self
            .members
            .keys()
            .filter(|key| !allowed.contains(&key.as_str()))
            .collect();
        if strangers.is_empty() {
            Ok(())
        } else {
            Err(at_field(self.owner, whole, unexpected(&strangers)))
        }
    }

    /// The value as it came.
    pub(in crate::http) fn raw(&self, field: &str) -> Option<&'a Value> {
        self.members.get(field)
    }

    /// A refusal of this field for a reason that only the caller knows.
    pub(in crate::http) fn refuse(&self, field: &str, reason: impl std::fmt::Display) -> Invalid {
        at_field(field, self.raw(field).unwrap_or(&Value::Null), reason)
    }

    /// A text of at most 255 characters: `None` when absent, `Some(None)` when null.
    pub(in crate::http) fn text(&self, field: &str) -> Result<Option<Option<String>>, Invalid> {
        match self.raw(field) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value @ Value::String(text)) => {
                check_text(field, value, text)?;
                Ok(Some(Some(text.clone())))
            }
            Some(other) => {
                let reason = format!("{} is not of type 'string', 'null'", python::repr(other));
                Err(at_field(field, other, reason))
            }
        }
    }

    /// A text of 1 to 255 characters that must be there and not null.
    pub(in crate::http) fn present_text(&self, field: &str) -> Result<String, Invalid> {
        let text = self.present_long_text(field)?;
        let value = self.raw(field).unwrap_or(&Value::Null);
        check_text(field, value, &text)?;
        Ok(text)
    }

    /// A text of any length but none that must be there and not null.
    pub(in crate::http) fn present_long_text(&self, field: &str) -> Result<String, Invalid> {
        match self.raw(field).unwrap_or(&Value::Null) {
            Value::String(text) if !text.is_empty() => Ok(text.clone()),
            Value::String(_) => Err(self.refuse(field, "'' is too short")),
            other => {
                let reason = format!("{} is not of type 'string'", python::repr(other));
                Err(self.refuse(field, reason))
            }
        }
    }

    /// A name: as [`Self::text`], blanks around it cut.
    pub(in crate::http) fn name(&self, field: &str) -> Result<Option<Option<String>>, Invalid> {
        let text = self.text(field)?;
        Ok(text.map(|given| given.map(|name| name.trim().to_owned())))
    }

    /// A description: as [`Self::name`], and of printable characters only.
    pub(in crate::http) fn description(
        &self,
        field: &str,
    ) -> Result<Option<Option<String>>, Invalid> {
        let text = self.name(field)?;
        if let Some(Some(description)) = &text
            && description.chars().any(char::is_control)
        {
            return Err(self.refuse(field, "it has characters that cannot be printed"));
        }
        Ok(text)
    }

    /// A boolean, or one of the words for it; `false` when absent.
    pub(in crate::http) fn boolean(&self, field: &str) -> Result<bool, Invalid> {
        let Some(value) = self.raw(field) else {
            return Ok(false);
        };
        let meant = match value {
            Value::Bool(given) => Some(*given),
            Value::String(word) if TRUE_WORDS.contains(&word.as_str()) => Some(true),
            Value::String(word) if FALSE_WORDS.contains(&word.as_str()) => Some(false),
            _ => None,
        };
        meant.ok_or_else(|| {
            let words = |words: &[&str]| {
                let list: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
                list.join(", ")
            };
            let reason = format!(
                "{} is not one of [True, {}, False, {}]",
                python::repr(value),
                words(TRUE_WORDS),
                words(FALSE_WORDS)
            );
            at_field(field, value, reason)
        })
    }

    /// A UUID in any of its spellings, as it came: ids are compared as text later.
    pub(in crate::http) fn uuid(&self, field: &str) -> Result<Option<String>, Invalid> {
        match self.raw(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.parse::<uuid::Uuid>().is_ok() => {
                Ok(Some(text.clone()))
            }
            Some(value @ Value::String(_)) => {
                let reason = format!("{} is not a 'uuid'", python::repr(value));
                Err(at_field(field, value, reason))
            }
            Some(other) => {
                let reason = format!("{} is not of type 'string', 'null'", python::repr(other));
                Err(at_field(field, other, reason))
            }
        }
    }

    /// A UUID that must be there and not null.
    pub(in crate::http) fn required_uuid(&self, field: &str) -> Result<String, Invalid> {
        self.uuid(field)?.ok_or_else(|| {
            let value = self.raw(field).unwrap_or(&Value::Null);
            let reason = format!("{} is not of type 'string'", python::repr(value));
            at_field(field, value, reason)
        })
    }

    /// A whole number from `min` up, as a number or as digits.
    pub(in crate::http) fn number(&self, field: &str, min: u32) -> Result<Option<u32>, Invalid> {
        let Some(value) = self.raw(field).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok()
            }
            _ => None,
        };
        let Some(number) = number else {
            let reason = format!("{} is not of type 'integer', 'string'", python::repr(value));
            return Err(at_field(field, value, reason));
        };
        if number < i64::from(min) {
            let reason = format!("{number} is less than the minimum of {min}");
            return Err(at_field(field, value, reason));
        }
        u32::try_from(number)
            .ok()
            .filter(|number| i32::try_from(*number).is_ok())
            .map(Some)
            .ok_or_else(|| {
                let reason = format!("{number} is greater than the maximum of {}", i32::MAX);
                at_field(field, value, reason)
            })
    }

    /// Key-value pairs: `None` when absent or null.
    pub(in crate::http) fn metadata(
        &self,
        field: &str,
    ) -> Result<Option<BTreeMap<String, String>>, Invalid> {
        let members = match self.raw(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(members)) => members,
            Some(other) => {
                let reason = format!("{} is not of type 'object'", python::repr(other));
                return Err(at_field(field, other, reason));
            }
        };
        let mut pairs = BTreeMap::new();
        for (key, value) in members {
            if !is_metadata_key(key) {
                let reason = format!(
                    "{} does not match any of the regexes: '^[a-zA-Z0-9-_:. /]{{1,255}}$'",
                    quoted(key)
                );
                return Err(self.refuse(field, reason));
            }
            let Value::String(text) = value else {
                let reason = format!("{} is not of type 'string'", python::repr(value));
                return Err(at_field(key, value, reason));
            };
            check_text(key, value, text)?;
            pairs.insert(key.clone(), text.clone());
        }
        Ok(Some(pairs))
    }
}

fn is_metadata_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:. /".contains(&byte);
    (1..=TEXT_MAX).contains(&key.len()) && key.bytes().all(allowed)
}

fn check_text(field: &str, value: &Value, text: &str) -> Result<(), Invalid> {
    if text.chars().count() > TEXT_MAX {
        let reason = format!("{} is too long", python::repr(value));
        return Err(at_field(field, value, reason));
    }
    if text.contains('\0') {
        // No database of ours keeps it in a text.
        return Err(at_field(field, value, "it has a NUL character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
