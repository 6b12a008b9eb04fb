//! What is staged, as an image.

use core::hash::Hasher;

use alloc::vec::Vec;
use siphasher::sip::SipHasher24;

use super::Control;
use super::staging::{Life, Staging};
use crate::error::SetupError;
use crate::gateway::{TunnelCell, policy_word};
use crate::image::{ALIGNMENT, Header, Order, POLICY, flip, seal};
use crate::matcher::Words;
use crate::matcher::block::ChildRecord;
use crate::matcher::compile::{self, Source, Staged};
use crate::storage::Capacity;
use crate::verdict::{Mode, Modes};

/// How an image is made.
#[derive(Clone, Copy, Debug)]
pub struct ImageOptions<'n> {
    /// What byte order the target has.
    pub order: Order,
    /// Names of tunnels, by number. Where a name is missing it is empty.
    pub tunnels: &'n [&'n str],
    /// Names of Child SAs, by number.
    pub children: &'n [&'n str],
    /// What becomes of them.
    pub names: Names,
}

/// What becomes of names. What is the same Child SA in two images follows from them in any case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Names {
    /// They are in the image, to find Child SAs by.
    Kept,
    /// Only numbers are.
    LeftOut,
}

impl ImageOptions<'_> {
    /// For the machine that this runs on, without names.
    pub const HOST: Self =
        Self { order: Order::HOST, tunnels: &[], children: &[], names: Names::Kept };

    fn tunnel(&self, tunnel: u32) -> &str {
        self.tunnels.get(tunnel as usize).copied().unwrap_or_default()
    }

    fn child(&self, child: u32) -> &str {
        self.children.get(child as usize).copied().unwrap_or_default()
    }
}

/// What is staged, as it is in an image.
struct Imaged<'a> {
    staging: Staging<'a>,
    cells: &'a [TunnelCell],
    options: &'a ImageOptions<'a>,
    tunnels: u32,
    children: u32,
}

impl Source for Imaged<'_> {
    fn tunnels(&self) -> u32 {
        self.tunnels
    }

    fn children(&self) -> u32 {
        self.children
    }

    fn of_tunnel(&self, tunnel: u32) -> impl Iterator<Item = (u32, ChildRecord, &[Staged])> {
        let cell = self.cells.get(tunnel as usize);
        let (mode, shadow) = cell.map_or((Mode::StrictSa, Modes::NONE), TunnelCell::policy);
        let policy = POLICY | policy_word(mode, shadow);
        self.staging.of_tunnel(tunnel).map(move |(child, record, staged)| {
            let generation = self.generation(tunnel, child, staged);
            let record = ChildRecord::new(generation, tunnel, record.class);
            (child, record.with_policy(policy), staged)
        })
    }
}

impl Imaged<'_> {
    /// What makes a Child SA the same in two images, beside its number.
    fn generation(&self, tunnel: u32, child: u32, staged: &[Staged]) -> u32 {
        let mut hasher = SipHasher24::new_with_keys(0, 0);
        hasher.write(&tunnel.to_le_bytes());
        for name in [self.options.tunnel(tunnel), self.options.child(child)] {
            hasher.write(name.as_bytes());
            // Never in UTF-8.
            hasher.write(&[0xff]);
        }
        for one in staged {
            compile::octets_of(one, |octets| hasher.write(octets));
        }
        let hash = hasher.finish();
        (hash ^ hash >> 32) as u32 | 1
    }

    /// Where each name ends, and the names, as they are in an image of the host's order.
    fn names(&self) -> Vec<u8> {
        let options = self.options;
        let all = || {
            let tunnels = (0..self.tunnels).map(|tunnel| options.tunnel(tunnel));
            tunnels.chain((0..self.children).map(|child| options.child(child)))
        };
        if options.names == Names::LeftOut || all().all(str::is_empty) {
            return Vec::new();
        }
        let mut end = 0_u32;
        let mut octets = Vec::new();
        for name in all() {
            end = end.saturating_add(name.len() as u32);
            octets.extend_from_slice(&end.to_ne_bytes());
        }
        all().for_each(|name| octets.extend_from_slice(name.as_bytes()));
        octets
    }
}

impl Control<'_> {
    /// What is staged, as an image: the tunnels, Child SAs and selectors that [`Control::publish`] would publish,
    /// with the modes in force. Numbers are those of [`TunnelId::index`](crate::TunnelId::index) and
    /// [`ChildId::index`](crate::ChildId::index). The same configuration and options give the same octets on
    /// every host.
    ///
    /// # Bound
    /// As [`Control::publish`], all trees built anew.
    ///
    /// # Errors
    /// [`SetupError::TooLarge`]: more than 32-bit offsets reach; [`SetupError::OutOfMemory`].
    pub fn to_image(&self, options: &ImageOptions<'_>) -> Result<Words, SetupError> {
        let end = |lives: &mut dyn Iterator<Item = Life>| {
            let last = lives.enumerate().filter(|(_, life)| *life == Life::Live).last();
            last.map_or(0, |(at, _)| at as u32 + 1)
        };
        let source = Imaged {
            tunnels: end(&mut self.tunnels.iter().map(|stage| stage.life)),
            children: end(&mut self.children.iter().map(|stage| stage.life)),
            staging: Staging {
                tunnels: self.tunnels,
                children: self.children,
                staged: self.staged,
            },
            cells: self.tables.tunnels,
            options,
        };
        let capacity = Capacity {
            tunnels: source.tunnels,
            children: source.children,
            selectors: self.staged_live as u32,
            ..Capacity::NONE
        };
        let names = source.names();
        let block = compile::words_for(&capacity)?;
        let beside = Header::OCTETS / 8 + names.len().div_ceil(8) + ALIGNMENT / 8;
        let room = block.checked_add(beside).ok_or(SetupError::TooLarge)?;
        Words::filled(room, |memory| lay(&source, &names, memory))
    }
}

/// Writes an image; how many words.
fn lay(source: &Imaged<'_>, names: &[u8], memory: &mut [u64]) -> Result<usize, SetupError> {
    let order = source.options.order;
    let short = |n: usize| u32::try_from(n).map_err(|_| SetupError::TooLarge);
    let rest = memory.get_mut(Header::OCTETS / 8..).unwrap_or_default();
    let block = compile::compile(source, 0, rest);
    let block = block.ok_or(SetupError::TooLarge)?;
    let at = Header::OCTETS + block;
    let end = (at + names.len()).next_multiple_of(ALIGNMENT);
    let header = Header {
        octets: short(end)?,
        block: short(block)?,
        names: if names.is_empty() { 0 } else { short(at)? },
        names_octets: short(names.len())?,
        ..Header::NEW
    };
    let octets: &mut [u8] = bytemuck::cast_slice_mut(memory);
    // Trees were built there.
    octets.get_mut(at..).unwrap_or_default().fill(0);
    for (start, part) in [(0, bytemuck::bytes_of(&header)), (at, names)] {
        let slots = octets.get_mut(start..).unwrap_or_default();
        slots.iter_mut().zip(part).for_each(|(slot, octet)| *slot = *octet);
    }
    let image = memory.get_mut(..end / 8).ok_or(SetupError::TooLarge)?;
    seal(image);
    if order != Order::HOST {
        flip::flip(image).map_err(|_| SetupError::TooLarge)?;
    }
    Ok(end / 8)
}
