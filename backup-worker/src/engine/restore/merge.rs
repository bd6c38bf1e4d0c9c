//! The merge: which object gives which bytes of the volume, in volume order.
//!
//! Of all objects that hold a byte the last one in the chain's order wins, so each byte is read
//! once, from the newest backup that has it. Pieces are made one after the other while the volume
//! is walked; what is kept is the objects' order by offset and those that lie over each other at one place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::chain::ChainObject;

/// A run of volume bytes, and the object they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// The first byte.
    pub(super) start: u64,
    /// The first byte after.
    pub(super) end: u64,
    /// Index of the object in the chain.
    pub(super) object: u32,
}

/// Objects by where they begin.
pub(super) fn by_offset(objects: &[ChainObject]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..objects.len())
        .filter(|index| objects[*index].length > 0)
        .map(|index| u32::try_from(index).expect("a chain has fewer objects than that"))
        .collect();
    order.sort_unstable_by_key(|index| (objects[*index as usize].offset, Reverse(*index)));
    order
}

/// Walks the volume from a start to a limit and tells the pieces.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    objects: &'a [ChainObject],
    order: &'a [u32],
    next: usize,
    position: u64,
    limit: u64,
    /// Objects that begin at or before the position, the winning one on top.
    here: BinaryHeap<u32>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(
        objects: &'a [ChainObject],
        order: &'a [u32],
        start: u64,
        limit: u64,
    ) -> Self {
        Self {
            objects,
            order,
            next: 0,
            position: start,
            limit,
            here: BinaryHeap::new(),
        }
    }

    fn object(&self, index: u32) -> &ChainObject {
        &self.objects[index as usize]
    }

    fn upcoming(&self) -> Option<(u32, &ChainObject)> {
        self.order
            .get(self.next)
            .map(|index| (*index, self.object(*index)))
    }
}

impl Iterator for Merge<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let top = loop {
            while let Some((index, object)) = self.upcoming()
                && object.offset <= self.position
            {
                if object.end() > self.position {
                    self.here.push(index);
                }
                self.next += 1;
            }
            match self.here.peek() {
                Some(top) if self.object(*top).end() <= self.position => {
                    self.here.pop();
                }
                Some(top) => break *top,
                None => self.position = self.upcoming()?.1.offset,
            }
        };
        if self.position >= self.limit {
            return None;
        }
        let mut end = self.object(top).end().min(self.limit);
        while let Some((index, object)) = self.upcoming()
            && object.offset < end
        {
            if index > top {
                end = object.offset;
            } else {
                self.here.push(index); // it lies under the piece, and may come out behind it
                self.next += 1;
            }
        }
        let start = std::mem::replace(&mut self.position, end);
        Some(Piece {
            start,
            end,
            object: top,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::restore::chain::test_object;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_byte_comes_from_the_last_object_that_holds_it(
            extents in prop::collection::vec((0u64..100, 0u64..40), 0..20),
            start in 0u64..120,
            limit in 0u64..150,
        ) {
            let objects: Vec<_> = extents.iter().map(|(offset, length)| test_object(*offset, *length)).collect();
            let order = by_offset(&objects);
            let mut model = vec![None; 150];
            for (index, object) in objects.iter().enumerate() {
                for at in object.offset..object.end() {
                    if at >= start && at < limit {
                        model[usize::try_from(at).unwrap()] = Some(u32::try_from(index).unwrap());
                    }
                }
            }
            let mut merged = vec![None; 150];
            let mut position = 0;
            for piece in Merge::new(&objects, &order, start, limit) {
                prop_assert!(piece.start >= position && piece.start < piece.end);
                position = piece.end;
                for at in piece.start..piece.end {
                    merged[usize::try_from(at).unwrap()] = Some(piece.object);
                }
            }
            prop_assert_eq!(merged, model);
        }
    }
}
