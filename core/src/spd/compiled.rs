//! The compiled SPD: plain words without pointers, and the packet path over them.
//!
//! ```text
//! Header | policy of each selector x m | policies x n | matcher's words
//! ```
//! One 64-bit word says what a packet's policy is: id, action and place. A lookup is the
//! [`matcher`](crate::matcher)'s, whose answer is the number of a selector, and one load.
//!
//! Words are in the writer's byte order; `MAGIC` read in the wrong order does not match.
//! [`Spd::open`] tests that:
//! - I3: both arrays and the matcher's words lie in the words given, and the matcher accepts its own;
//! - I4: the nth policy says place n and a known action, and each selector's word is a policy's.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

use core::fmt;

use super::counts::{Count, Counts};
use super::{Action, Answer, Direction, Entry, PolicyId};
use crate::headers::InnerHeaders;
use crate::matcher::Matcher;
use crate::matcher::block::BlockError;

/// "espP" in the writer's byte order.
const MAGIC: u32 = 0x6573_7050;
/// Format of the words. A reader refuses any other.
const FORMAT: u32 = 1;
/// Words before the first array.
const HEADER: usize = 3;
/// Bits of a place.
const PLACE_BITS: u32 = 30;
/// Policies that a list can have.
#[cfg(feature = "alloc")]
pub(super) const POLICIES_MAX: usize = 1 << PLACE_BITS;

/// Packets of a burst that are looked at together.
const TOGETHER: usize = 32;

impl Entry {
    #[cfg(feature = "alloc")]
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.id.0) << 32
            | u64::from(self.action as u8) << PLACE_BITS
            | u64::from(self.place)
    }

    #[inline]
    fn from_word(word: u64) -> Option<Self> {
        Some(Self {
            id: PolicyId((word >> 32) as u32),
            place: word as u32 & ((1 << PLACE_BITS) - 1),
            action: Action::from_code((word >> PLACE_BITS & 3) as u8)?,
        })
    }
}

/// The first words: what kind, whose direction, how many selectors and policies follow.
#[cfg(feature = "alloc")]
pub(super) fn header(direction: Direction, selectors: u32, policies: u32) -> [u64; HEADER] {
    let pair = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    [pair(MAGIC, FORMAT), pair(selectors, policies), direction as u64]
}

/// Why words are not a compiled SPD.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Fewer words than the header says.
    Short,
    /// Not a compiled SPD, or written on a machine of the other byte order.
    Magic,
    /// A format that this version does not read.
    Format {
        /// The format found.
        found: u32,
    },
    /// The direction is neither inbound nor outbound.
    Direction,
    /// A policy has another place than its own, or no known action.
    Policy {
        /// Its place.
        place: u32,
    },
    /// A selector belongs to no policy.
    Selector {
        /// Its number.
        index: u32,
    },
    /// What the matcher says of its part.
    Matcher(BlockError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("fewer words than the header says"),
            Self::Magic => f.write_str("not a compiled SPD of this machine's byte order"),
            Self::Format { found } => write!(f, "format {found}, but this version reads {FORMAT}"),
            Self::Direction => f.write_str("neither inbound nor outbound"),
            Self::Policy { place } => write!(f, "the policy at place {place} is not valid"),
            Self::Selector { index } => write!(f, "selector {index} belongs to no policy"),
            Self::Matcher(error) => write!(f, "selectors: {error}"),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Matcher(error) => Some(error),
            _ => None,
        }
    }
}

/// A row of counts has another length than the policies need: [`Spd::cells`], or that of another list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CellsError {
    /// Cells given.
    pub given: usize,
    /// Cells needed.
    pub needed: usize,
}

impl fmt::Display for CellsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cells for counts, but {} are needed", self.given, self.needed)
    }
}

impl core::error::Error for CellsError {}

/// A view of a compiled SPD of one direction, made of words that `PolicyList::compile` wrote, in this
/// process or another one. Needs no allocator.
///
/// # Concurrency
/// Any thread; copy it.
#[derive(Clone, Copy)]
pub struct Spd<'s> {
    matcher: Matcher<'s>,
    /// The policy of each selector.
    owners: &'s [u64],
    policies: &'s [u64],
    direction: Direction,
}

impl fmt::Debug for Spd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spd")
            .field("direction", &self.direction)
            .field("policies", &self.policies.len())
            .field("selectors", &self.owners.len())
            .finish_non_exhaustive()
    }
}

impl<'s> Spd<'s> {
    /// The SPD in `words`, which are tested first; what lies behind it is left alone.
    ///
    /// # Bound
    /// Linear in policies and selectors.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the words; nothing of them is used then.
    pub fn open(words: &'s [u64]) -> Result<Self, OpenError> {
        let (head, rest) = words.split_at_checked(HEADER).ok_or(OpenError::Short)?;
        let &[kind, sizes, direction] = head else { return Err(OpenError::Short) };
        if kind as u32 != MAGIC {
            return Err(OpenError::Magic);
        }
        if kind >> 32 != u64::from(FORMAT) {
            return Err(OpenError::Format { found: (kind >> 32) as u32 });
        }
        let direction = match direction {
            0 => Direction::Inbound,
            1 => Direction::Outbound,
            _ => return Err(OpenError::Direction),
        };
        let (selectors, policies) = (sizes as u32 as usize, (sizes >> 32) as usize);
        let (owners, rest) = rest.split_at_checked(selectors).ok_or(OpenError::Short)?;
        let (policies, rest) = rest.split_at_checked(policies).ok_or(OpenError::Short)?;
        let matcher = Matcher::open(rest).map_err(OpenError::Matcher)?;
        for (place, &word) in (0..).zip(policies) {
            if Entry::from_word(word).is_none_or(|entry| entry.place != place) {
                return Err(OpenError::Policy { place });
            }
        }
        let place = |word| Entry::from_word(word).map(|entry| entry.place as usize);
        let known = |&word: &u64| place(word).and_then(|at| policies.get(at)) == Some(&word);
        if let Some(index) = owners.iter().position(|word| !known(word)) {
            return Err(OpenError::Selector { index: index as u32 });
        }
        Ok(Self { matcher, owners, policies, direction })
    }

    /// The direction of its packets.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Number of policies.
    pub fn len(&self) -> u32 {
        self.policies.len() as u32
    }

    /// True if there is no policy: everything is discarded.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Octets of its words.
    pub fn octets(&self) -> usize {
        let arrays = HEADER + self.owners.len() + self.policies.len();
        8 * arrays + self.matcher.octets()
    }

    /// Every policy, in order.
    pub fn policies(&self) -> impl Iterator<Item = Entry> + use<'s> {
        self.policies.iter().filter_map(|&word| Entry::from_word(word))
    }

    #[inline]
    fn answer(&self, selector: Option<u32>) -> Answer {
        let owner = selector.and_then(|index| self.owners.get(index as usize));
        Answer(owner.and_then(|&word| Entry::from_word(word)))
    }

    /// The first policy in order that covers a packet of this SPD's direction (RFC 4301 section
    /// 4.4.1), and what becomes of the packet. Nothing is counted.
    ///
    /// A packet without ports, a later fragment among them, matches ANY and OPAQUE only (RFC 4301
    /// section 7).
    ///
    /// # Bound
    /// As [`Matcher::first`], and one word.
    #[inline]
    pub fn first(&self, packet: &InnerHeaders) -> Answer {
        self.answer(self.matcher.first(packet))
    }

    /// [`Spd::first`] for as many packets as `answers` has room for; returns how many. Cache lines
    /// are fetched ahead.
    ///
    /// # Bound
    /// As [`Spd::first`] for each packet; 256 octets of stack beside the matcher's.
    #[inline]
    pub fn first_burst(&self, packets: &[InnerHeaders], answers: &mut [Answer]) -> usize {
        self.burst(packets, answers, |_| ())
    }

    #[inline(always)]
    fn burst(
        &self,
        packets: &[InnerHeaders],
        answers: &mut [Answer],
        mut tell: impl FnMut(Answer),
    ) -> usize {
        let count = packets.len().min(answers.len());
        let packets = packets.get(..count).unwrap_or(&[]);
        for (packets, answers) in packets.chunks(TOGETHER).zip(answers.chunks_mut(TOGETHER)) {
            let mut selectors = [None; TOGETHER];
            self.matcher.first_burst(packets, &mut selectors);
            let found = packets.iter().zip(answers).zip(selectors);
            found.for_each(|((_, answer), selector)| {
                *answer = self.answer(selector);
                tell(*answer);
            });
        }
        count
    }

    /// Cells of a row of counts: one for each policy, and one for packets that met none.
    pub fn cells(&self) -> usize {
        self.policies.len() + 1
    }

    /// One thread's way to ask and to count, and what reads its counts. They start at zero.
    ///
    /// Rows of two threads are best on cache lines of their own.
    ///
    /// # Errors
    /// [`CellsError`]: `cells` has another length than [`Spd::cells`]; it is unchanged.
    pub fn with_counts<'c>(
        &self,
        cells: &'c mut [Count],
    ) -> Result<(SpdWorker<'s, 'c>, Counts<'s, 'c>), CellsError> {
        let (given, needed) = (cells.len(), self.cells());
        if given != needed {
            return Err(CellsError { given, needed });
        }
        cells.fill_with(Count::new);
        // Shared from here on; one worker writes, since it is not copied and takes `&mut self`.
        let cells = &*cells;
        Ok((SpdWorker { spd: *self, cells }, Counts { spd: *self, cells }))
    }
}

/// One thread's SPD: a lookup is counted.
///
/// # Concurrency
/// One thread, which may change. No lock, no atomic addition: a plain load and store a packet.
#[derive(Debug)]
pub struct SpdWorker<'s, 'c> {
    spd: Spd<'s>,
    cells: &'c [Count],
}

impl<'s> SpdWorker<'s, '_> {
    /// The SPD that it asks.
    pub fn spd(&self) -> Spd<'s> {
        self.spd
    }

    /// [`Spd::first`], counted for its policy, or as unmatched.
    ///
    /// # Bound
    /// As [`Spd::first`], and one cell.
    #[inline]
    pub fn check(&mut self, packet: &InnerHeaders) -> Answer {
        let answer = self.spd.first(packet);
        self.count(answer);
        answer
    }

    /// [`SpdWorker::check`] for as many packets as `answers` has room for; returns how many. The
    /// others are not counted.
    ///
    /// # Bound
    /// As [`Spd::first_burst`], and a cell a packet.
    #[inline]
    pub fn check_burst(&mut self, packets: &[InnerHeaders], answers: &mut [Answer]) -> usize {
        self.spd.burst(packets, answers, |answer| self.count(answer))
    }

    #[inline]
    fn count(&self, answer: Answer) {
        let place = answer.entry().map_or(self.spd.policies.len(), |entry| entry.place as usize);
        if let Some(cell) = self.cells.get(place) {
            cell.add(1);
        }
    }
}
