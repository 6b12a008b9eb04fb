//! Selectors against packets: the questions that the inbound check asks.
//!
//! Owns the compiled form ([`block`]) and how it is searched (`linear`, `tree`). Knows nothing of SAs:
//! a box only names the Child SA it belongs to, and the caller says which of them are asked.
//!
//! `Question` is where inbound is said once: the packet's source is compared with the remote
//! range, its destination with the local one (RFC 4301 section 5.2; T1).

/// Marks types of the compiled form as plain memory; their sizes are asserted beside them.
macro_rules! plain {
    ($($name:ty),*) => { $(
        // SAFETY: `repr(C)` integers whose sizes add up to the struct's (asserted beside them): no
        // padding, every bit pattern is valid.
        #[allow(unsafe_code)]
        unsafe impl Zeroable for $name {}
        // SAFETY: as above.
        #[allow(unsafe_code)]
        unsafe impl Pod for $name {}
    )* };
}

mod alone;
pub mod block;
pub(crate) mod compile;
mod divide;
mod fan;
mod flat;
#[cfg(feature = "alloc")]
pub(crate) mod flip;
mod group;
mod grow;
#[cfg(test)]
mod layout;
pub(crate) mod linear;
mod merge;
mod order;
mod patch;
mod rows;
mod set;
#[cfg(test)]
mod tests;
mod tree;
mod validate;
mod walk;

pub use crate::simd::Backend;
pub use alone::{Matcher, compile_into, words_to_compile};
#[cfg(feature = "alloc")]
pub use alone::{Words, compile};
pub use merge::{merge, merge_as};

pub(crate) use alone::Questions;
pub(crate) use tree::Each;

use crate::headers::InnerHeaders;
use crate::selector::Selector;
use crate::simd::COMPACT;
use crate::verdict::Field;
use block::{Block, Boxed, Boxes, ChildRecord, Span, Wide};
use group::{Address, Ask};
pub(crate) use linear::Key;
use linear::Values;
use walk::Wanted;

/// A packet, ready to be compared with boxes of its family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    /// IPv4.
    V4(Key<u32>),
    /// IPv6.
    V6(Key<Wide>),
}

impl From<Key<u32>> for Question {
    #[inline(always)]
    fn from(key: Key<u32>) -> Self {
        Self::V4(key)
    }
}

impl From<Key<Wide>> for Question {
    #[inline(always)]
    fn from(key: Key<Wide>) -> Self {
        Self::V6(key)
    }
}

/// Asks the set of boxes of the packet's family.
macro_rules! by_family {
    ($question:expr, $boxes:expr, |$key:ident, $set:ident| $body:expr) => {
        match $question {
            Question::V4($key) => {
                let $set = $boxes.of();
                $body
            }
            Question::V6($key) => {
                let $set = $boxes.of();
                $body
            }
        }
    };
}

/// A whole packet of IPv4 with ports, as whoever has read its headers keeps them: nothing is copied before it is asked for.
pub trait PortsV4 {
    /// Its source and destination address.
    fn addresses(&self) -> (u32, u32);
    /// Its source and destination port.
    fn ports(&self) -> (u16, u16);
    /// Its protocol.
    fn protocol(&self) -> u8;
}

/// True if one of `boxes` covers the packet. Where code is to be small, false for lists that are not short as well: then
/// [`Question::covered_by`] tells.
#[inline(always)]
pub(crate) fn covers_ports(boxes: Boxes<'_, '_>, packet: &impl PortsV4) -> bool {
    if COMPACT {
        return boxes.few().is_some_and(|few| few_cover_ports(few, packet));
    }
    Question::V4(key_of(packet)).covered_by(boxes)
}

/// A call of its own, so that what it needs leaves whoever asks its registers.
#[inline(never)]
fn few_cover_ports(few: &[Boxed<u32>], packet: &impl PortsV4) -> bool {
    linear::any_in_pairs(few, &key_of(packet))
}

#[inline(always)]
fn key_of(packet: &impl PortsV4) -> Key<u32> {
    let ((src, dst), (sport, dport)) = (packet.addresses(), packet.ports());
    let protocol = packet.protocol();
    let values = Values::new(protocol, Some([sport, dport]));
    Key { remote: src, local: dst, values }
}

impl Question {
    /// The question that an inbound packet asks.
    #[inline]
    pub(crate) fn inbound(packet: &InnerHeaders) -> Self {
        Self::of(packet)
    }

    /// [`Question::inbound`], to be inlined where the family is known.
    #[inline(always)]
    pub(crate) fn of(packet: &InnerHeaders) -> Self {
        match Key::of(packet) {
            Some(key) => Self::V4(key),
            None => Self::V6(Key::of(packet).unwrap_or_default()),
        }
    }

    /// True if one of `boxes` covers the packet.
    #[inline(always)]
    pub(crate) fn covered_by(self, boxes: Boxes<'_, '_>) -> bool {
        if COMPACT {
            if let Self::V4(key) = &self
                && let Some(few) = boxes.few()
            {
                return linear::any_in_turn(few, key);
            }
            return self.is_covered(boxes);
        }
        match self {
            Self::V4(key) => boxes.any(key),
            Self::V6(key) => boxes.any(key),
        }
    }

    /// [`Question::covered_by`] of one place in the program, for who is in no hurry.
    #[cfg_attr(not(target_os = "none"), inline(never))]
    pub(crate) fn is_covered(&self, boxes: Boxes<'_, '_>) -> bool {
        if COMPACT {
            return self.covering(&boxes).is_some();
        }
        self.covered_by(boxes)
    }

    /// Some number if a box covers the packet, where code is to be small.
    #[inline(never)]
    fn covering(&self, boxes: &Boxes<'_, '_>) -> Option<u32> {
        const ANY: &Wanted<'_> = &Wanted { ask: Ask::All, any: true, accept: &|_| true };
        // Those of IPv6 take too much code for a second way.
        if let Self::V4(key) = self
            && let Some(few) = boxes.few()
        {
            return linear::from_first(few, key, Ask::All).map(|_| 0);
        }
        self.search(boxes, ANY)
    }

    /// The Child SA of the first box that covers the packet, of those that `accept` takes.
    #[inline(always)]
    pub(crate) fn first(&self, boxes: Boxes<'_, '_>, accept: impl Fn(u32) -> bool) -> Option<u32> {
        if COMPACT {
            let wanted = Wanted { ask: Ask::All, any: false, accept: &accept };
            return self.search(&boxes, &wanted);
        }
        match self {
            Self::V4(key) => boxes.first(*key, accept),
            Self::V6(key) => boxes.first(*key, accept),
        }
    }

    /// All of these questions, where code is to be small: in what is asked, and whether any box will do.
    #[inline(never)]
    fn search(&self, boxes: &Boxes<'_, '_>, wanted: &Wanted<'_>) -> Option<u32> {
        match self {
            Self::V4(key) => boxes.search(key, wanted),
            Self::V6(key) => boxes.search(key, wanted),
        }
    }

    /// What the first box that covers the packet names, if none of them is left out.
    #[inline]
    pub(crate) fn first_of_all(&self, boxes: Boxes<'_, '_>) -> Option<u32> {
        by_family!(self, boxes, |key, set| set.find(None, key, Ask::All))
    }

    /// The Child SA of the first box whose remote range holds the packet's source address.
    #[inline]
    pub(crate) fn first_source(
        &self,
        boxes: Boxes<'_, '_>,
        accept: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        if COMPACT {
            let wanted = Wanted { ask: Ask::Source, any: false, accept: &accept };
            return self.search(&boxes, &wanted);
        }
        by_family!(self, boxes, |key, set| set.first_source(key, accept))
    }

    /// True if a box that `accept` takes covers the packet but for its missing ports.
    pub(crate) fn covered_portless(
        &self,
        boxes: Boxes<'_, '_>,
        accept: impl Fn(u32) -> bool,
    ) -> bool {
        if COMPACT {
            let wanted = Wanted { ask: Ask::Portless, any: true, accept: &accept };
            return self.search(&boxes, &wanted).is_some();
        }
        by_family!(self, boxes, |key, set| set.any_portless(key, accept))
    }

    /// The selector that came nearest and its first field that does not cover the packet. Those
    /// that cover it are left out. Boxes of the other family fail at the source and are asked only
    /// if there are no others.
    pub(crate) fn nearest(&self, boxes: Boxes<'_, '_>) -> Option<Nearest> {
        let near = match self {
            Self::V4(key) => nearest(boxes.list(), key, Boxed::<u32>::selector),
            Self::V6(key) => nearest(boxes.list(), key, Boxed::<Wide>::selector),
        };
        near.or_else(|| {
            let selector = match self {
                Self::V4(_) => boxes.list().first().map(Boxed::<Wide>::selector),
                Self::V6(_) => boxes.list().first().map(Boxed::<u32>::selector),
            };
            selector.map(|selector| Nearest { selector, index: 0, field: Field::Src })
        })
    }
}

impl Block<'_> {
    /// True if a tunnel has a tree.
    #[inline]
    pub(crate) fn has_trees(&self) -> bool {
        !(self.arrays.groups.is_empty() && self.arrays.fans.is_empty())
    }

    /// True if this one has.
    #[inline]
    pub(crate) fn is_searched(&self, tunnel: u32) -> bool {
        self.tunnels.get(tunnel as usize).is_some_and(|one| one.span.is_searched())
    }
}

/// Of more than a list, in one family at least.
impl Span {
    #[inline]
    fn is_searched(&self) -> bool {
        self.count4.max(self.count6) as usize > tree::LIST
    }
}

impl ChildRecord {
    /// True if some of its boxes are asked through a tree.
    #[inline]
    pub(crate) fn is_searched(&self) -> bool {
        self.span.is_searched()
    }
}

fn nearest<A: Address>(
    boxes: &[Boxed<A>],
    key: &Key<A>,
    selector: fn(&Boxed<A>) -> Selector,
) -> Option<Nearest> {
    let (index, field) = linear::nearest(boxes, key)?;
    let selector = selector(boxes.get(index)?);
    Some(Nearest { selector, index: index as u32, field })
}

/// The selector that came nearest to covering a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nearest {
    /// The selector.
    pub(crate) selector: Selector,
    /// Its position among the boxes of its family.
    pub(crate) index: u32,
    /// Its first field that does not cover the packet.
    pub(crate) field: Field,
}
