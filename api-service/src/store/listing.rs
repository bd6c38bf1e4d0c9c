//! Lists: filters, order, pages. The SQL is built here and nowhere else, from fixed texts only;
//! values are always bound.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe};

use super::row::Columns;
use super::{Scope, StoreError, failed};

/// A field that lists can be filtered and ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the API's field of the same name")]
pub enum Column {
    Id,
    ProjectId,
    UserId,
    Name,
    Description,
    Status,
    SizeGib,
    VolumeId,
    AvailabilityZone,
    Container,
    ParentId,
    SnapshotId,
    FailReason,
    ObjectCount,
    DataTimestamp,
    Bootable,
    Backend,
    CreatedAt,
    UpdatedAt,
}

/// A field that gives the order.
pub type SortKey = Column;

/// Up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// What a list shall have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Exact matches, all of which must hold. A column the thing does not have matches nothing.
    pub filters: Vec<(Column, String)>,
    /// Order; `created_at` and id come after, in the first one's direction.
    pub sort: Vec<(SortKey, Direction)>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Leave out so many at the beginning.
    pub offset: u64,
    /// Begin after the one with this id.
    pub marker: Option<String>,
    /// Also count all that match, whatever the page.
    pub with_count: bool,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The page.
    pub rows: Vec<T>,
    /// How many match in all, if that was asked for.
    pub count: Option<u64>,
}

/// What a column is stored as, which decides how it is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stored {
    Text,
    Number,
    Time,
}

/// Which table a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Backups,
    Volumes,
    Snapshots,
}

impl Column {
    fn in_table(self, table: Table) -> Option<(&'static str, Stored)> {
        use Stored::{Number, Text, Time};
        let in_all = match self {
            Self::Id => ("t.id", Text),
            Self::ProjectId => ("t.project_id", Text),
            Self::UserId => ("t.user_id", Text),
            Self::Name => ("t.name", Text),
            Self::Description => ("t.description", Text),
            Self::Status => ("t.status", Text),
            Self::SizeGib => ("t.size_gib", Number),
            Self::CreatedAt => ("t.created_at", Time),
            Self::UpdatedAt => ("t.updated_at", Time),
            Self::AvailabilityZone => {
                return (table != Table::Snapshots).then_some(("t.availability_zone", Text));
            }
            Self::VolumeId => return (table != Table::Volumes).then_some(("t.volume_id", Text)),
            Self::Container => return (table == Table::Backups).then_some(("t.container", Text)),
            Self::ParentId => return (table == Table::Backups).then_some(("t.parent_id", Text)),
            Self::SnapshotId => {
                return (table != Table::Snapshots).then_some(("t.snapshot_id", Text));
            }
            Self::FailReason => {
                return (table == Table::Backups).then_some(("t.fail_reason", Text));
            }
            Self::ObjectCount => {
                return (table == Table::Backups).then_some(("t.object_count", Number));
            }
            Self::DataTimestamp => {
                return (table == Table::Backups).then_some(("t.data_timestamp", Time));
            }
            Self::Bootable => return (table == Table::Volumes).then_some(("t.bootable", Number)),
            Self::Backend => return (table == Table::Volumes).then_some(("t.backend", Text)),
        };
        Some(in_all)
    }

    /// Whether some things have none of it.
    fn can_be_missing(self) -> bool {
        match self {
            Self::Name
            | Self::Description
            | Self::AvailabilityZone
            | Self::Container
            | Self::ParentId
            | Self::SnapshotId
            | Self::FailReason
            | Self::DataTimestamp
            | Self::UpdatedAt => true,
            Self::Id
            | Self::ProjectId
            | Self::UserId
            | Self::Status
            | Self::SizeGib
            | Self::VolumeId
            | Self::ObjectCount
            | Self::Bootable
            | Self::Backend
            | Self::CreatedAt => false,
        }
    }

    /// Whether backups have it.
    #[must_use]
    pub fn of_backups(self) -> bool {
        self.in_table(Table::Backups).is_some()
    }

    /// Whether snapshots have it.
    #[must_use]
    pub fn of_snapshots(self) -> bool {
        self.in_table(Table::Snapshots).is_some()
    }

    /// Whether volumes have it.
    #[must_use]
    pub fn of_volumes(self) -> bool {
        self.in_table(Table::Volumes).is_some()
    }
}

/// A page of rows of these columns. Whoever asks has made sure that the scope sees the marker.
pub(super) async fn page<T>(
    conn: &mut AnyConnection,
    table: Table,
    columns: &str,
    scope: &Scope,
    listing: &Listing,
    decode: fn(&AnyRow) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let mut statement = Statement::new(table, scope, listing);
    let count = if listing.with_count {
        let row = statement
            .query(statement.count_sql())
            .fetch_one(&mut *conn)
            .await
            .map_err(failed("count the rows of a list"))?;
        Some(Columns(&row).count("n")?)
    } else {
        None
    };
    if let Some(marker) = &listing.marker {
        statement.after(marker);
    }
    let rows = statement
        .query(statement.page_sql(columns, listing.limit, listing.offset))
        .fetch_all(conn)
        .await
        .map_err(failed("list rows"))?;
    let rows = rows.iter().map(decode).collect::<Result<_, _>>()?;
    Ok(Page { rows, count })
}

enum Bound {
    Text(String),
    Number(i64),
}

/// A statement under construction, with the values for its `$n`.
struct Statement {
    table: &'static str,
    wheres: Vec<String>,
    bound: Vec<Bound>,
    order: Vec<(String, Direction)>,
}

impl Statement {
    /// Everything of the table that the scope sees and the filters let through.
    fn new(table: Table, scope: &Scope, listing: &Listing) -> Self {
        let mut statement = Self {
            table: match table {
                Table::Backups => "backups",
                Table::Volumes => "volumes",
                Table::Snapshots => "snapshots",
            },
            wheres: vec!["t.deleted_at IS NULL".to_owned()],
            bound: Vec::new(),
            order: Vec::new(),
        };
        if let Scope::Project(project) = scope {
            let place = statement.bind(Bound::Text(project.to_string()));
            statement.wheres.push(format!("t.project_id = {place}"));
        }
        for (column, value) in &listing.filters {
            statement.filter(column.in_table(table), value);
        }
        let first = listing
            .sort
            .first()
            .map_or(Direction::Descending, |(_, direction)| *direction);
        let ties = [(Column::CreatedAt, first), (Column::Id, first)];
        for (column, direction) in listing.sort.iter().chain(&ties) {
            if let Some((name, stored)) = column.in_table(table) {
                // No name comes after every name, as in the reference.
                if column.can_be_missing() {
                    let missing = format!("CASE WHEN {name} IS NULL THEN 1 ELSE 0 END");
                    statement.order.push((missing, *direction));
                }
                let nothing = if stored == Stored::Text { "''" } else { "0" };
                let key = format!("COALESCE({name}, {nothing})");
                statement.order.push((key, *direction));
            }
        }
        statement
    }

    fn bind(&mut self, value: Bound) -> String {
        self.bound.push(value);
        format!("${}", self.bound.len())
    }

    fn filter(&mut self, column: Option<(&'static str, Stored)>, value: &str) {
        let bound = match column {
            // Nothing has a NUL in it, and PostgreSQL does not take one.
            Some((_, Stored::Text)) if value.contains('\0') => None,
            Some((name, Stored::Text)) => Some((name, Bound::Text(value.to_owned()))),
            Some((name, Stored::Number)) => value
                .parse()
                .ok()
                .map(|number| (name, Bound::Number(number))),
            Some((_, Stored::Time)) | None => None,
        };
        match bound {
            Some((name, bound)) => {
                let place = self.bind(bound);
                self.wheres.push(format!("{name} = {place}"));
            }
            None => self.wheres.push("0 = 1".to_owned()),
        }
    }

    fn wheres(&self) -> String {
        self.wheres.join(" AND ")
    }

    /// The text that counts all that match.
    fn count_sql(&self) -> String {
        format!(
            "SELECT COUNT(*) AS n FROM {} t WHERE {}",
            self.table,
            self.wheres()
        )
    }

    /// Leaves out everything up to and with the marker: later in the order means that the first key
    /// that differs is beyond the marker's.
    fn after(&mut self, marker: &str) {
        let place = self.bind(Bound::Text(marker.to_owned()));
        let table = self.table;
        let of_marker = |key: &str| {
            let key = key.replace("t.", "m.");
            format!("(SELECT {key} FROM {table} m WHERE m.id = {place})")
        };
        let mut beyond = Vec::new();
        for (index, (key, direction)) in self.order.iter().enumerate() {
            let mut terms: Vec<String> = self.order[..index]
                .iter()
                .map(|(earlier, _)| format!("{earlier} = {}", of_marker(earlier)))
                .collect();
            let sign = match direction {
                Direction::Ascending => ">",
                Direction::Descending => "<",
            };
            terms.push(format!("{key} {sign} {}", of_marker(key)));
            beyond.push(format!("({})", terms.join(" AND ")));
        }
        self.wheres.push(format!("({})", beyond.join(" OR ")));
    }

    /// The text that selects a page of these columns.
    fn page_sql(&self, columns: &str, limit: Option<u64>, offset: u64) -> String {
        let order: Vec<String> = self
            .order
            .iter()
            .map(|(key, direction)| match direction {
                Direction::Ascending => format!("{key} ASC"),
                Direction::Descending => format!("{key} DESC"),
            })
            .collect();
        let limit = limit.unwrap_or(i64::MAX.unsigned_abs());
        format!(
            "SELECT {columns} FROM {} t WHERE {} ORDER BY {} LIMIT {} OFFSET {}",
            self.table,
            self.wheres(),
            order.join(", "),
            limit.min(i64::MAX.unsigned_abs()),
            offset.min(i64::MAX.unsigned_abs()),
        )
    }

    /// The statement with its values.
    fn query(&self, sql: String) -> Query<'_, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for bound in &self.bound {
            query = match bound {
                Bound::Text(text) => query.bind(text.clone()),
                Bound::Number(number) => query.bind(*number),
            };
        }
        query
    }
}
