//! Links in answers: to a thing itself, and to the next page of a list.

use serde::Serialize;

use super::extract::Query;

/// What the links of one request begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Links {
    base: String,
    /// The project segment, only when the request's own URL had it.
    project: Option<String>,
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::http) struct Link {
    rel: &'static str,
    href: String,
}

impl Links {
    pub(in crate::http) fn new(base: String, project: Option<String>) -> Self {
        Self { base, project }
    }

    fn below(&self, version: &str, path: &str) -> String {
        let base = &self.base;
        match &self.project {
            Some(project) => format!("{base}{version}/{project}/{path}"),
            None => format!("{base}{version}/{path}"),
        }
    }

    /// The two links of a thing: the second has no version.
    pub(in crate::http) fn to(&self, collection: &str, id: impl std::fmt::Display) -> [Link; 2] {
        let path = format!("{collection}/{id}");
        [
            Link {
                rel: "self",
                href: self.below("/v3", &path),
            },
            Link {
                rel: "bookmark",
                href: self.below("", &path),
            },
        ]
    }

    /// The link to the page after `last`: the same request with another marker.
    pub(in crate::http) fn next(
        &self,
        path: &str,
        query: &Query,
        last: impl std::fmt::Display,
    ) -> [Link; 1] {
        let query = query.encoded_with("marker", &last.to_string());
        [Link {
            rel: "next",
            href: format!("{}?{query}", self.below("/v3", path)),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hrefs(links: &[Link]) -> Vec<&str> {
        links.iter().map(|link| link.href.as_str()).collect()
    }

    #[test]
    fn links_have_the_project_only_when_the_url_had_it() {
        let with = Links::new("http://c:8776".to_owned(), Some("a11fa".to_owned()));
        assert_eq!(
            hrefs(&with.to("backups", "b1")),
            [
                "http://c:8776/v3/a11fa/backups/b1",
                "http://c:8776/a11fa/backups/b1"
            ]
        );
        let without = Links::new("http://c:8776".to_owned(), None);
        assert_eq!(
            hrefs(&without.to("backups", "b1")),
            ["http://c:8776/v3/backups/b1", "http://c:8776/backups/b1"]
        );
    }

    #[test]
    fn the_next_page_begins_after_the_last_item() {
        let links = Links::new("http://c".to_owned(), None);
        let query = Query::decode("limit=2&marker=a");
        assert_eq!(
            hrefs(&links.next("backups/detail", &query, "z")),
            ["http://c/v3/backups/detail?limit=2&marker=z"]
        );
    }
}
