//! The parameters of a list: pages, order and filters, by the rules of the contract.
//!
//! ```text
//! Query ─► parse ─┬─► Asked::Page { scope, listing } ─► Store ─► page_of ─► {"backups": […], …}
//!                 └─► Asked::Nothing   an administrator's filter that no row can match
//! ```

use axum::Json;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::extract::microversion::Microversion;
use super::extract::{Context, Query};
use super::validate::boolean_word;
use crate::store::{Column, Direction, Listing, Page, Scope};

/// Most items of a page; a larger limit is cut to this silently.
const PAGE_ITEMS_MAX: u64 = 1000;
/// Largest offset: what an integer column of the reference holds.
const OFFSET_MAX: u64 = 2_147_483_647;

/// What is listed, as far as its parameters go.
#[derive(Debug)]
pub(super) struct Kind {
    /// The collection in URLs and the member of the answer: `backups`.
    pub(super) collection: &'static str,
    /// Filters that are open to everybody.
    pub(super) open_filters: &'static [&'static str],
    /// From which version on the order can be by name.
    pub(super) sort_by_name_since: Microversion,
    /// Whether it has this column.
    pub(super) has: fn(Column) -> bool,
}

/// What a list request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing can match.
    Nothing {
        /// Whether it is to be counted nevertheless.
        with_count: bool,
    },
    /// A page of rows.
    Page {
        /// Whose.
        scope: Scope,
        /// Which of them.
        listing: Listing,
    },
}

/// Parameters that are no filters, in every version.
const NO_FILTERS: &[&str] = &[
    "limit",
    "marker",
    "offset",
    "sort",
    "sort_key",
    "sort_dir",
    "all_tenants",
];

impl Kind {
    /// Reads the parameters of a request.
    pub(super) fn parse(&self, context: &Context, query: &Query) -> Result<Asked, ApiError> {
        let counts = context.version >= Microversion::WITH_COUNT;
        let with_count = match query.get("with_count").filter(|_| counts) {
            None => false,
            Some(text) => flag("with_count", text)?,
        };
        let listing = Listing {
            filters: Vec::new(),
            sort: self.sort(context, query)?,
            limit: Some(limit(query)?),
            offset: offset(query)?,
            marker: query.get("marker").map(str::to_owned),
            with_count,
        };
        let scope = scope(context, query)?;
        let Some(filters) = self.filters(context, query, counts)? else {
            return Ok(Asked::Nothing { with_count });
        };
        Ok(Asked::Page {
            scope,
            listing: Listing { filters, ..listing },
        })
    }

    /// The filters; `None` when one of an administrator's is about nothing that a row has.
    fn filters(
        &self,
        context: &Context,
        query: &Query,
        counts: bool,
    ) -> Result<Option<Vec<(Column, String)>>, ApiError> {
        let is_filter =
            |name: &str| !(NO_FILTERS.contains(&name) || counts && name == "with_count");
        let mut filters = Vec::new();
        let mut strange = Vec::new();
        let mut matches_nothing = false;
        for (name, value) in query.pairs() {
            if !is_filter(name) || query.get(name) != Some(value) {
                continue;
            }
            if !self.open_filters.contains(&name.as_str()) && !context.caller.is_admin {
                strange.push(name.as_str());
                continue;
            }
            match column(name).filter(|column| (self.has)(*column)) {
                Some(Column::Bootable) => match boolean_word(value) {
                    Some(meant) => filters.push((Column::Bootable, u8::from(meant).to_string())),
                    None => matches_nothing = true,
                },
                Some(column) => filters.push((column, value.clone())),
                None => matches_nothing = true,
            }
        }
        if !strange.is_empty() && context.version >= Microversion::STRICT_FILTERS {
            return Err(ApiError::Invalid(format!(
                "Invalid filters {} are found in query options.",
                strange.join(", ")
            )));
        }
        Ok((!matches_nothing).then_some(filters))
    }

    fn sort(&self, context: &Context, query: &Query) -> Result<Vec<(Column, Direction)>, ApiError> {
        let (old_key, old_direction) = (query.get("sort_key"), query.get("sort_dir"));
        let pairs: Vec<(&str, &str)> = match query.get("sort") {
            Some(_) if old_key.is_some() || old_direction.is_some() => {
                return Err(ApiError::Invalid(
                    "The 'sort_key' and 'sort_dir' parameters are deprecated and cannot be used \
                     with the 'sort' parameter."
                        .to_owned(),
                ));
            }
            Some(sort) => sort
                .split(',')
                .map(|part| part.split_once(':').unwrap_or((part, "")))
                .map(|(key, direction)| (key.trim(), direction.trim()))
                .collect(),
            None => vec![(
                old_key.unwrap_or("created_at").trim(),
                old_direction.unwrap_or_default().trim(),
            )],
        };
        let mut sort = Vec::new();
        for (name, direction) in pairs {
            let by_name = context.version >= self.sort_by_name_since;
            let key = column(name)
                .filter(|column| (self.has)(*column) && (by_name || name != "name"))
                .ok_or_else(|| invalid_input("Invalid sort key"))?;
            let direction = match direction {
                "" | "desc" => Direction::Descending,
                "asc" => Direction::Ascending,
                _ => {
                    return Err(invalid_input(
                        "Unknown sort direction, must be 'desc' or 'asc'.",
                    ));
                }
            };
            sort.push((key, direction));
        }
        Ok(sort)
    }

    /// The answer, with each row's id and what is shown of it. `detail` is the path of the list below its collection.
    pub(super) fn page_of<'a, R, T: Serialize>(
        &self,
        context: &Context,
        query: &Query,
        detail: bool,
        page: &'a Page<R>,
        shown: impl Fn(&'a R) -> (String, T),
    ) -> Result<Json<Value>, ApiError> {
        let collection = self.collection;
        let mut body = Map::new();
        let (ids, items): (Vec<String>, Vec<T>) = page.rows.iter().map(shown).unzip();
        body.insert(collection.to_owned(), json!(items));
        let full = u64::try_from(ids.len()).unwrap_or(u64::MAX) >= limit(query)?;
        if let Some(last) = ids.last().filter(|_| full) {
            let path = match detail {
                true => format!("{collection}/detail"),
                false => collection.to_owned(),
            };
            let next = context.links.next(&path, query, last);
            body.insert(format!("{collection}_links"), json!(next));
        }
        if let Some(count) = page.count {
            body.insert("count".to_owned(), json!(count));
        }
        Ok(Json(Value::Object(body)))
    }
}

fn invalid_input(what: &str) -> ApiError {
    ApiError::Invalid(format!("Invalid input received: {what}"))
}

/// A parameter that is a boolean, or a word for one.
pub(super) fn flag(name: &str, text: &str) -> Result<bool, ApiError> {
    boolean_word(text)
        .ok_or_else(|| ApiError::Invalid(format!("{name} must be a boolean, got '{text}'.")))
}

/// Whose rows: everybody's only for an administrator who says so.
fn scope(context: &Context, query: &Query) -> Result<Scope, ApiError> {
    let asked = query.get("all_tenants").filter(|_| context.caller.is_admin);
    let all = asked.map_or(Ok(false), |text| flag("all_tenants", text))?;
    Ok(match all {
        true => Scope::All,
        false => context.own_project(),
    })
}

/// Most items of the page that is asked for.
pub(super) fn limit(query: &Query) -> Result<u64, ApiError> {
    let Some(text) = query.get("limit") else {
        return Ok(PAGE_ITEMS_MAX);
    };
    match whole_number(text) {
        Whole::Number(limit) => Ok(limit.min(PAGE_ITEMS_MAX)),
        Whole::Negative => Err(ApiError::Invalid("limit param must be positive".to_owned())),
        Whole::NoNumber => Err(ApiError::Invalid(
            "limit param must be an integer".to_owned(),
        )),
    }
}

fn offset(query: &Query) -> Result<u64, ApiError> {
    let Some(text) = query.get("offset") else {
        return Ok(0);
    };
    let refused = |rule: &str| Err(ApiError::Invalid(format!("offset must be {rule}")));
    match whole_number(text) {
        Whole::Number(offset) if offset <= OFFSET_MAX => Ok(offset),
        Whole::Number(_) => refused(&format!("<= {OFFSET_MAX}")),
        Whole::Negative => refused(">= 0"),
        Whole::NoNumber => refused("an integer"),
    }
}

enum Whole {
    Number(u64),
    Negative,
    NoNumber,
}

/// A whole number of any length; what is too large for us is the largest we have.
fn whole_number(text: &str) -> Whole {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Whole::NoNumber;
    }
    match digits.parse().unwrap_or(u64::MAX) {
        0 => Whole::Number(0),
        _ if text.starts_with('-') => Whole::Negative,
        number => Whole::Number(number),
    }
}

/// The column behind a name of the API, or of the reference's tables.
fn column(name: &str) -> Option<Column> {
    Some(match name {
        "id" => Column::Id,
        "project_id" => Column::ProjectId,
        "user_id" => Column::UserId,
        "name" | "display_name" => Column::Name,
        "description" | "display_description" => Column::Description,
        "status" => Column::Status,
        "size" => Column::SizeGib,
        "volume_id" => Column::VolumeId,
        "availability_zone" => Column::AvailabilityZone,
        "container" => Column::Container,
        "parent_id" => Column::ParentId,
        "snapshot_id" => Column::SnapshotId,
        "fail_reason" => Column::FailReason,
        "object_count" => Column::ObjectCount,
        "data_timestamp" => Column::DataTimestamp,
        "bootable" => Column::Bootable,
        "host" => Column::Backend,
        "created_at" => Column::CreatedAt,
        "updated_at" => Column::UpdatedAt,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
