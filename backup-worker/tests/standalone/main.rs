//! The commands for a stored tree, as the shell meets them: the real binary on real files.

#![cfg(test)]

mod damage;
mod endings;
mod fixtures;
mod hostile;
mod lists;
mod roundtrip;
mod scene;
mod terminal;
