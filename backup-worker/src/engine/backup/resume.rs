//! Step 5 of *Create*: where an execution goes on.
//!
//! What is in no segment of the longest whole chain does not exist. So the chain alone says which byte of the
//! volume comes next, which number the next object gets, and which segment the next one names.

use super::plan::Layout;
use crate::engine::{EngineError, close};
use crate::format::segment::{self, SegmentChain};
use crate::store::BackupStore;
use common::messages::sheet::BackupSheet;

/// The chain to go on after; an empty one for an attempt that nobody has begun.
///
/// # Errors
/// [`EngineError::Gap`] when less is left than was sealed, or what is left does not fit the volume: there is no going on
/// with this attempt.
pub(super) fn checkpoint(
    store: &dyn BackupStore,
    sheet: &BackupSheet,
    scratch: &str,
    layout: Layout,
) -> Result<SegmentChain, EngineError> {
    let container = &sheet.names.container;
    let chain = segment::longest_chain(store, container, scratch)
        .map_err(|source| EngineError::segments(sheet.backup_id, source))?;
    let gap = |why| Err(EngineError::Gap { why });
    if chain.end < sheet.mark {
        return gap(format!(
            "they end at byte {}, and {} bytes were sealed",
            chain.end, sheet.mark
        ));
    }
    if !layout.is_border(chain.end) {
        return gap(format!("they end at byte {}, inside a chunk", chain.end));
    }
    if chain.objects > 0 {
        close::strays(store, container, &sheet.names.prefix, chain.objects)?;
    }
    Ok(chain)
}
