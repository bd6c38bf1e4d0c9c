//! The state owner dies where it just decided something.

use super::Strike;
use super::kill::Kill;
use crate::points::{Deed, Side};

/// Between commit and publish; after a granted commit; after publish.
const PLACES: &[(&str, &[Deed])] = &[
    (
        "api.publish.before",
        &[Deed::Backup, Deed::Restore, Deed::Delete],
    ),
    ("api.commit.after", &[Deed::Backup, Deed::Incremental]),
    (
        "api.publish.after",
        &[Deed::Incremental, Deed::Restore, Deed::Delete],
    ),
];

pub(super) fn strikes(full: bool) -> Vec<Box<dyn Strike>> {
    let each = if full { 50 } else { 2 };
    let mut strikes: Vec<Box<dyn Strike>> = Vec::new();
    for (at, deeds) in PLACES {
        for deed in deeds.iter().cycle().take(each) {
            strikes.push(Box::new(Kill {
                deed: *deed,
                side: Side::Api,
                at: (*at).to_owned(),
            }));
        }
    }
    strikes
}
