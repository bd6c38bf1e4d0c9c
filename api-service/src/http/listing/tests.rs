use super::*;
use crate::http::links::Links;
use crate::store::Caller;

const BACKUPS: Kind = Kind {
    collection: "backups",
    open_filters: &["name", "status", "volume_id"],
    sort_by_name_since: Microversion::BACKUP_SORT_NAME,
    has: Column::of_backups,
};

fn context(version: Microversion, is_admin: bool) -> Context {
    Context {
        version,
        caller: Caller {
            project_id: "p".into(),
            user_id: "u".into(),
            is_admin,
            request_id: "req-1".to_owned(),
            traceparent: None,
        },
        links: Links::new("http://c".to_owned(), None),
    }
}

fn parsed(version: Microversion, is_admin: bool, query: &str) -> Result<Asked, String> {
    let parsed = BACKUPS.parse(&context(version, is_admin), &Query::decode(query));
    parsed.map_err(|error| match error {
        ApiError::Invalid(message) => message,
        other => format!("{other:?}"),
    })
}

fn listing(query: &str) -> (Scope, Listing) {
    match parsed(Microversion::MAX, true, query) {
        Ok(Asked::Page { scope, listing }) => (scope, listing),
        other => panic!("{query}: {other:?}"),
    }
}

fn message(query: &str) -> String {
    parsed(Microversion::MAX, true, query).unwrap_err()
}

#[test]
fn a_plain_list_is_the_newest_thousand_of_the_own_project() {
    let (scope, listing) = listing("");
    assert_eq!(scope, Scope::Project("p".into()));
    assert_eq!(listing.limit, Some(1000));
    assert_eq!(listing.sort, [(Column::CreatedAt, Direction::Descending)]);
    assert!(listing.filters.is_empty() && !listing.with_count);
}

#[test]
fn limits_are_whole_and_cut_to_a_thousand() {
    for (text, limit) in [
        ("0", 0),
        ("7", 7),
        ("1001", 1000),
        ("99999999999999999999999", 1000),
    ] {
        assert_eq!(listing(&format!("limit={text}")).1.limit, Some(limit));
    }
    assert_eq!(message("limit=abc"), "limit param must be an integer");
    assert_eq!(message("limit="), "limit param must be an integer");
    assert_eq!(message("limit=-1"), "limit param must be positive");
    assert_eq!(listing("offset=3").1.offset, 3);
    assert_eq!(message("offset=x"), "offset must be an integer");
    assert_eq!(message("offset=-1"), "offset must be >= 0");
    assert_eq!(message("offset=2147483648"), "offset must be <= 2147483647");
}

#[test]
fn the_order_has_keys_with_directions() {
    use Direction::{Ascending, Descending};
    assert_eq!(
        listing("sort=status:asc,created_at:desc,name").1.sort,
        [
            (Column::Status, Ascending),
            (Column::CreatedAt, Descending),
            (Column::Name, Descending)
        ]
    );
    assert_eq!(
        listing("sort_key=size&sort_dir=asc").1.sort,
        [(Column::SizeGib, Ascending)]
    );
    assert_eq!(
        message("sort=bogus"),
        "Invalid input received: Invalid sort key"
    );
    assert_eq!(
        message("sort=bootable"),
        "Invalid input received: Invalid sort key"
    );
    assert_eq!(
        message("sort=name:up"),
        "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'."
    );
    assert!(message("sort=name&sort_dir=asc").contains("cannot be used"));
}

#[test]
fn the_order_by_name_came_with_3_37() {
    let before = Microversion::RESOURCE_FILTERS;
    assert_eq!(
        parsed(before, true, "sort=name:asc").unwrap_err(),
        "Invalid input received: Invalid sort key"
    );
}

#[test]
fn only_administrators_see_all_projects() {
    assert_eq!(listing("all_tenants=1").0, Scope::All);
    assert_eq!(listing("all_tenants=False").0, Scope::Project("p".into()));
    assert_eq!(
        message("all_tenants=x"),
        "all_tenants must be a boolean, got 'x'."
    );
    let member = parsed(Microversion::MAX, false, "all_tenants=x");
    let Ok(Asked::Page { scope, .. }) = member else {
        panic!("a member's all_tenants is not ignored: {member:?}");
    };
    assert_eq!(scope, Scope::Project("p".into()));
}

#[test]
fn members_filter_by_three_fields_only() {
    let query = "name=a&status=error&volume_id=v";
    assert!(parsed(Microversion::MAX, false, query).is_ok());
    assert_eq!(
        parsed(
            Microversion::STRICT_FILTERS,
            false,
            "colour=red&project_id=q"
        )
        .unwrap_err(),
        "Invalid filters colour, project_id are found in query options."
    );
    let lenient = parsed(Microversion::BACKUP_PROJECT, false, "colour=red");
    let Ok(Asked::Page { listing, .. }) = lenient else {
        panic!("{lenient:?}");
    };
    assert!(listing.filters.is_empty());
}

#[test]
fn an_administrators_unknown_filter_matches_nothing() {
    assert_eq!(
        parsed(Microversion::MAX, true, "colour=red"),
        Ok(Asked::Nothing { with_count: false })
    );
    let (_, listing) = listing("project_id=q&name=a&name=b");
    assert_eq!(
        listing.filters,
        [
            (Column::ProjectId, "q".to_owned()),
            (Column::Name, "b".to_owned())
        ]
    );
}

#[test]
fn counting_came_with_3_45() {
    assert!(listing("with_count=True").1.with_count);
    assert_eq!(
        message("with_count=x"),
        "with_count must be a boolean, got 'x'."
    );
    assert_eq!(
        parsed(Microversion::BACKUP_METADATA, false, "with_count=True").unwrap_err(),
        "Invalid filters with_count are found in query options."
    );
}

#[test]
fn a_full_page_links_to_the_next_one() {
    let items = [("i1", "one"), ("i2", "two")];
    let page = |query: &str, items: &[(&str, &'static str)]| {
        let query = Query::decode(query);
        let context = context(Microversion::MAX, true);
        let page = Page {
            rows: items.to_vec(),
            count: None,
        };
        let shown = |row: &(&str, &'static str)| (row.0.to_owned(), row.1);
        let Json(body) = BACKUPS
            .page_of(&context, &query, true, &page, shown)
            .unwrap();
        body
    };
    assert_eq!(
        page("limit=2&sort=name%3Aasc", &items),
        json!({
            "backups": ["one", "two"],
            "backups_links": [{"rel": "next",
                "href": "http://c/v3/backups/detail?limit=2&sort=name%3Aasc&marker=i2"}]
        })
    );
    assert_eq!(page("limit=3", &items), json!({"backups": ["one", "two"]}));
    assert_eq!(page("limit=0", &[]), json!({"backups": []}));
}
