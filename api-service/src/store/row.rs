//! Columns into domain words, and back.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::StoreError;

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn bad(column: &'static str) -> impl FnOnce(Cause) -> StoreError {
    move |source| StoreError::Column { column, source }
}

/// Reads columns of one row by name.
pub(super) struct Columns<'r>(pub(super) &'r AnyRow);

impl Columns<'_> {
    pub(super) fn opt_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.0
            .try_get::<Option<String>, _>(column)
            .map_err(|error| bad(column)(error.into()))
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.opt_text(column)?
            .ok_or_else(|| bad(column)("it is null".into()))
    }

    pub(super) fn opt_int(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        self.0
            .try_get::<Option<i64>, _>(column)
            .map_err(|error| bad(column)(error.into()))
    }

    pub(super) fn int(&self, column: &'static str) -> Result<i64, StoreError> {
        self.opt_int(column)?
            .ok_or_else(|| bad(column)("it is null".into()))
    }

    /// A number that is never negative.
    pub(super) fn count(&self, column: &'static str) -> Result<u64, StoreError> {
        u64::try_from(self.int(column)?).map_err(|error| bad(column)(error.into()))
    }

    pub(super) fn small(&self, column: &'static str) -> Result<u32, StoreError> {
        u32::try_from(self.int(column)?).map_err(|error| bad(column)(error.into()))
    }

    pub(super) fn opt_small(&self, column: &'static str) -> Result<Option<u32>, StoreError> {
        self.opt_int(column)?
            .map(|value| u32::try_from(value).map_err(|error| bad(column)(error.into())))
            .transpose()
    }

    pub(super) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    /// A word of ours: a status, an id, a name.
    pub(super) fn word<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: FromStr<Err: Into<Cause>>,
    {
        self.text(column)?
            .parse()
            .map_err(|error: T::Err| bad(column)(error.into()))
    }

    pub(super) fn opt_word<T>(&self, column: &'static str) -> Result<Option<T>, StoreError>
    where
        T: FromStr<Err: Into<Cause>>,
    {
        self.opt_text(column)?
            .map(|text| text.parse())
            .transpose()
            .map_err(|error: T::Err| bad(column)(error.into()))
    }

    /// A checked name.
    pub(super) fn name<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: TryFrom<String, Error: Into<Cause>>,
    {
        T::try_from(self.text(column)?).map_err(|error| bad(column)(error.into()))
    }

    pub(super) fn opt_name<T>(&self, column: &'static str) -> Result<Option<T>, StoreError>
    where
        T: TryFrom<String, Error: Into<Cause>>,
    {
        self.opt_text(column)?
            .map(T::try_from)
            .transpose()
            .map_err(|error| bad(column)(error.into()))
    }

    pub(super) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        Timestamp::from_microsecond(self.int(column)?).map_err(|error| bad(column)(error.into()))
    }

    pub(super) fn opt_time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        self.opt_int(column)?
            .map(Timestamp::from_microsecond)
            .transpose()
            .map_err(|error| bad(column)(error.into()))
    }

    pub(super) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|error| bad(column)(error.into()))
    }
}

/// How a time is stored.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// How a counter is stored.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How a text is stored that no parser of ours has looked at: a worker's, a publisher's. PostgreSQL has no NUL in a
/// text, and a change must not fail for one.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// How a structure is stored.
pub(super) fn json_text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("rows hold maps with text keys, which JSON can write")
}
