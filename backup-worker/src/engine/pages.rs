//! Memory for the buffers that all bytes of a volume go through.

use std::fmt;
use std::ops::{Deref, DerefMut};

use memmap2::{Advice, MmapMut};

use super::EngineError;

/// Bytes in pages as large as the system has for them. With small ones the first use of its buffers is a tenth of the work
/// of an incremental on a virtual machine, whose host too has to find each page.
#[derive(Default)]
pub(super) struct Pages(Option<MmapMut>);

impl Pages {
    /// So many zeros.
    ///
    /// # Errors
    /// [`EngineError::Memory`] when there is not so much.
    pub(super) fn zeroed(length: usize) -> Result<Self, EngineError> {
        let pages = MmapMut::map_anon(length).map_err(|source| EngineError::Memory { source })?;
        let _ = pages.advise(Advice::HugePage); // a system without large pages is slower, and as good
        Ok(Self(Some(pages)))
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("bytes", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_zeros_of_any_length_and_none_at_first() {
        assert!(Pages::default().is_empty());
        for length in [0, 1, 4097, (2 << 20) + 1] {
            let mut pages = Pages::zeroed(length).unwrap();
            assert_eq!(pages.len(), length);
            assert!(pages.iter().all(|byte| *byte == 0));
            pages.fill(7);
        }
    }

    #[test]
    fn more_than_there_is_is_an_error() {
        let error = Pages::zeroed(1 << 60).unwrap_err();
        assert!(matches!(error, EngineError::Memory { .. }) && error.is_transient());
    }
}
