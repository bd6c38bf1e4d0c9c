//! What to measure: options, and what follows from them.

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;

use super::peer::Peer;
use super::{Image, scale};
use crate::build;
use crate::install::Need;

/// The random image goes the way of the first.
const QUICK_IMAGES: [Image; 3] = [Image::Ext4, Image::Sparse, Image::Small];
/// About how much of the time of a full run a quick one takes.
const QUICK_PACE: f64 = 0.15;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Part {
    /// The tables of images
    Images,
    /// A chain of ten
    Chain,
    /// The whole service
    Service,
    /// Change tracking; mounts an XFS, which needs root
    Tracking,
    /// A worker's memory, with volumes of up to 1 TiB; takes 10 GB of disk
    Memory,
    /// Where the time goes
    Profile,
}

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// To see in some minutes that the measuring works: small images, none of random bytes, one round, the build of the
    /// tests, one volume of 1 GiB for the memory, no Cinder with the sparse image unless its rows are named, and a report
    /// below the target folder, not in docs
    #[arg(long)]
    pub(super) quick: bool,
    /// Only these parts; as with the next two, the report is then not written to docs, where it would lack the rest
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) parts: Vec<Part>,
    /// Only these volumes
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) images: Vec<Image>,
    /// Only these rows of the tables
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) rows: Vec<Peer>,
    /// How often everything is measured; what is slow is measured once
    #[arg(long, value_name = "N")]
    pub(super) rounds: Option<u32>,
    /// Size of an image; a sparse one has sixteen times as much, mostly holes
    #[arg(long, value_name = "MIB")]
    pub(super) size_mib: Option<u64>,
    /// What the images are made of
    #[arg(long, value_name = "N", default_value_t = 20_261_122)]
    pub(super) seed: u64,
    /// Folder for the report and its plots
    #[arg(long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Not the engine but the whole: how many jobs it does, what a long queue costs, and where the next limit is; writes
    /// docs/scale.md
    #[arg(long, conflicts_with_all = ["parts", "images", "rows", "rounds", "size_mib"])]
    pub(super) scale: bool,
    #[command(flatten)]
    pub(super) wishes: scale::Wishes,
}

impl Options {
    pub(super) fn parts(&self) -> Vec<Part> {
        some_or_all(&self.parts, Part::value_variants())
    }

    pub(super) fn images(&self) -> Vec<Image> {
        match self.parts().contains(&Part::Images) {
            true if self.quick => some_or_all(&self.images, &QUICK_IMAGES),
            true => some_or_all(&self.images, Image::value_variants()),
            false => Vec::new(),
        }
    }

    /// Rows of an image; what is named is measured with every image that is not for others.
    pub(super) fn peers(&self, image: Image) -> Vec<Peer> {
        let is_for_small = |peer: Peer| Peer::of(Image::Small).contains(&peer);
        let of_image = |peer: &Peer| is_for_small(*peer) == (image == Image::Small);
        match self.rows.is_empty() {
            true => {
                let is_slow = |peer: &Peer| image == Image::Sparse && peer.is_cinder();
                let all = Peer::of(image).into_iter();
                all.filter(|peer| !(self.quick && is_slow(peer))).collect()
            }
            false => self.rows.iter().copied().filter(of_image).collect(),
        }
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// Bytes of an image without holes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_mib.unwrap_or(if self.quick { 16 } else { 1024 }) << 20
    }

    /// Where the report goes: what is quick or lacks a part is nothing to be kept.
    pub(super) fn output_folder(&self, target: &Path) -> PathBuf {
        let lacks = !(self.parts.is_empty() && self.images.is_empty() && self.rows.is_empty());
        match &self.output {
            Some(output) => output.clone(),
            None if self.quick || lacks => target.join("xtask/benchmarks"),
            None => build::workspace().join("docs"),
        }
    }

    /// Programs it needs.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::Ext4Tools];
        if self.parts().contains(&Part::Service) {
            needs.push(Need::RabbitMq);
        }
        for image in self.images() {
            for need in self.peers(image).into_iter().filter_map(Peer::need) {
                if !needs.contains(&need) {
                    needs.push(need);
                }
            }
        }
        needs
    }

    /// Seconds that a part should take, by what full runs took with two cores.
    pub(super) fn expected_s(&self, part: Part) -> f64 {
        let full = match part {
            Part::Images => {
                let images = self.images().into_iter();
                return images.map(|image| self.image_expected_s(image)).sum();
            }
            Part::Chain | Part::Service | Part::Tracking => 60.0,
            Part::Memory => 90.0,
            Part::Profile => 60.0,
        };
        full * self.pace()
    }

    /// Seconds that all rows of an image should take.
    pub(super) fn image_expected_s(&self, image: Image) -> f64 {
        image.expected_s() * self.pace()
    }

    fn pace(&self) -> f64 {
        if self.quick { QUICK_PACE } else { 1.0 }
    }
}

fn some_or_all<T: Copy>(some: &[T], all: &[T]) -> Vec<T> {
    if some.is_empty() { all } else { some }.to_vec()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Options {
        let words = format!("bench {line}");
        Line::parse_from(words.split_whitespace()).options
    }

    #[test]
    fn a_quick_run_leaves_out_what_takes_long_unless_it_is_named() {
        let quick = options("--quick");
        assert_eq!(quick.images(), QUICK_IMAGES);
        assert!(!quick.peers(Image::Sparse).contains(&Peer::CinderZlib));
        assert!(quick.peers(Image::Ext4).contains(&Peer::CinderZlib));
        assert_eq!((quick.rounds(), quick.size_bytes()), (1, 16 << 20));

        let named = options("--quick --images random,sparse --rows cinder-zlib");
        assert_eq!(named.images(), [Image::Random, Image::Sparse]);
        assert_eq!(named.peers(Image::Sparse), [Peer::CinderZlib]);
    }

    #[test]
    fn a_full_run_leaves_out_nothing() {
        let full = options("");
        assert_eq!(full.images(), Image::value_variants());
        assert!(full.peers(Image::Sparse).contains(&Peer::CinderZlib));
        assert_eq!((full.rounds(), full.size_bytes()), (3, 1 << 30));
    }
}
