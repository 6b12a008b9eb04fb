//! The matcher alone: a list of selectors, compiled, for hosts that have SAs and policies of their own.

use core::mem::size_of;

use super::Question;
use super::block::{Block, BlockError, Boxed, Boxes, ChildRecord, Wide};
use super::compile::{self, Source, Staged};
use super::fan::{BURST, Open};
use super::group::{Address, Ask, NONE};
use super::linear::{self, Key};
use super::set::Set;
use super::tree::{Each, some};
use crate::error::SetupError;
use crate::headers::InnerHeaders;
use crate::selector::Selector;
use crate::simd::{Backend, COMPACT};

/// A compiled list of selectors. Each question names a selector by its place in the list.
///
/// Made of words that `matcher::compile` wrote, in this process or another one; fastest if they start at a
/// multiple of 64 octets.
///
/// # Examples
/// ```
/// # #[cfg(feature = "alloc")] {
/// use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};
/// use espial::matcher::{Matcher, compile};
/// use espial::selector::{AddrRange, PortRange, Selector};
///
/// let range = |lo: [u8; 4], hi: [u8; 4]| AddrRange::new(lo.into(), hi.into()).unwrap();
/// let https = PortRange::new(443, 443).unwrap();
/// let selector = |local_ports| Selector {
///     remote: range([198, 51, 100, 0], [198, 51, 100, 255]),
///     local: range([192, 0, 2, 0], [192, 0, 2, 255]),
///     protocol: 6,
///     remote_ports: PortRange::ANY,
///     local_ports,
/// };
/// let words = compile(&[selector(https), selector(PortRange::ANY)])?;
/// let matcher = Matcher::open(&words)?;
/// let packet = |dst| InnerHeaders {
///     endpoints: Endpoints::V4 { src: 0xc633_6407, dst: 0xc000_0201 },
///     protocol: 6,
///     next_layer: NextLayer::Ports { src: 50_000, dst },
///     fragment: Fragment::None,
/// };
/// assert_eq!(matcher.first(&packet(443)), Some(0));
/// assert_eq!(matcher.first(&packet(80)), Some(1));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Matcher<'b> {
    v4: Family<'b, u32>,
    v6: Family<'b, Wide>,
    octets: usize,
}

/// Fans that are kept open.
const KEPT: usize = if COMPACT { 0 } else { 1 };

/// The selectors of a family.
#[derive(Clone, Copy)]
struct Family<'b, A: Address> {
    set: Set<'b, A>,
    /// The fan of its tree: to open it takes a tenth of what a packet takes. Not kept where memory is scarce.
    fan: [Option<Open<'b, A>>; KEPT],
}

impl<'b, A: Address> Family<'b, A> {
    /// One that is asked once.
    #[inline]
    fn new(set: Set<'b, A>) -> Self {
        Self { set, fan: [None; KEPT] }
    }

    fn opened(set: Set<'b, A>) -> Self {
        Self { set, fan: [set.open(); KEPT] }
    }

    #[inline(always)]
    fn fan(&self) -> Option<&Open<'b, A>> {
        self.fan.first()?.as_ref()
    }

    /// [`Family::find`] of all that covers a key in registers: one that has just been put together in memory cannot be
    /// read at once. So it is put there only where a tree is searched, from its parts.
    #[inline(always)]
    fn find_short(&self, key: Key<A>) -> Option<u32> {
        match self.set.boxes {
            // Most Child SAs have one selector, and what has one has no tree.
            [one] => one.covers_in_turn(&key).then_some(one.child()),
            list if self.set.is_list() => linear::first_of_all(list, key).map(Boxed::child),
            _ => self.find(&Key::of_parts(key.parts()), Ask::All),
        }
    }

    /// [`Family::any`], as that.
    #[inline(always)]
    fn any_short(&self, key: Key<A>) -> bool {
        match self.set.boxes {
            [one] => one.covers_in_turn(&key),
            list if self.set.is_list() => linear::any(list, key),
            _ => self.any(&Key::of_parts(key.parts())),
        }
    }

    #[inline]
    fn find(&self, key: &Key<A>, ask: Ask) -> Option<u32> {
        self.set.find(self.fan(), key, ask)
    }

    #[inline]
    fn any(&self, key: &Key<A>) -> bool {
        self.set.any_opened(self.fan(), key)
    }
}

impl<'b> Matcher<'b> {
    /// The matcher in `words`, which are tested first.
    ///
    /// # Bound
    /// Linear in the selectors.
    ///
    /// # Errors
    /// [`BlockError`] says what is wrong with them.
    pub fn open(words: &'b [u64]) -> Result<Self, BlockError> {
        let block = Block::parse(words)?;
        // All selectors are those of one tunnel.
        let boxes = block.tunnel_boxes(0);
        let (v4, v6) = (boxes.of::<u32>().of_places(), boxes.of::<Wide>().of_places());
        Ok(Self { v4: Family::opened(v4), v6: Family::opened(v6), octets: block.octets() })
    }

    /// A matcher of some of a block's boxes, which answers with what the boxes name.
    #[inline]
    pub(crate) fn of_boxes(boxes: Boxes<'_, 'b>) -> Self {
        Self { v4: Family::new(boxes.of()), v6: Family::new(boxes.of()), octets: 0 }
    }

    /// The same matcher, searched with these instructions.
    #[must_use]
    pub fn with_backend(self, backend: Backend) -> Self {
        let Self { mut v4, mut v6, octets } = self;
        (v4.set, v6.set) = (v4.set.with_backend(backend), v6.set.with_backend(backend));
        Self { v4, v6, octets }
    }

    /// Octets of its words.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// The first selector in the list that covers an inbound packet: source on the remote side,
    /// destination on the local one.
    ///
    /// # Bound
    /// Up to 32 selectors of the packet's family, each once; of more, n: a fan, at most n/11 leaves of up to 16
    /// and half as many groups between, and a few of either unless most selectors meet at one point.
    #[inline]
    pub fn first(&self, packet: &InnerHeaders) -> Option<u32> {
        match Key::of(packet) {
            Some(key) => self.v4.find_short(key),
            None => self.v6.find_short(Key::of(packet)?),
        }
    }

    /// True if a selector covers an inbound packet.
    ///
    /// # Bound
    /// As [`Matcher::first`].
    #[inline]
    pub fn any(&self, packet: &InnerHeaders) -> bool {
        match Key::of(packet) {
            Some(key) => self.v4.any_short(key),
            None => Key::of(packet).is_some_and(|key| self.v6.any_short(key)),
        }
    }

    /// The first selector whose remote range holds the packet's source.
    ///
    /// # Bound
    /// As [`Matcher::first`].
    #[inline]
    pub fn first_source(&self, packet: &InnerHeaders) -> Option<u32> {
        match Question::inbound(packet) {
            Question::V4(key) => self.v4.find(&key, Ask::Source),
            Question::V6(key) => self.v6.find(&key, Ask::Source),
        }
    }

    /// [`Matcher::first`] for as many packets as `found` has room for; returns how many. Cache lines
    /// are fetched ahead.
    pub fn first_burst(&self, packets: &[InnerHeaders], found: &mut [Option<u32>]) -> usize {
        for (packets, found) in packets.chunks(BURST).zip(found.chunks_mut(BURST)) {
            let first = self.find_burst::<false>(packets.iter());
            found.iter_mut().zip(first).for_each(|(slot, first)| *slot = some(first));
        }
        packets.len().min(found.len())
    }

    /// [`Matcher::any`] for as many packets as `covered` has room for; returns how many. Cache lines
    /// are fetched ahead.
    pub fn any_burst(&self, packets: &[InnerHeaders], covered: &mut [bool]) -> usize {
        for (packets, covered) in packets.chunks(BURST).zip(covered.chunks_mut(BURST)) {
            let found = self.find_burst::<true>(packets.iter());
            covered.iter_mut().zip(found).for_each(|(slot, found)| *slot = found != NONE);
        }
        packets.len().min(covered.len())
    }

    /// For each of up to 32 packets the first selector that covers it, or `u32::MAX`; if `ANY`, some number for
    /// those that are covered. Further packets are left out.
    #[inline(always)]
    pub(crate) fn find_burst<'p, const ANY: bool>(
        &self,
        packets: impl Iterator<Item = &'p InnerHeaders> + Clone,
    ) -> [u32; BURST] {
        let mut found = [NONE; BURST];
        if self.v4.set.is_list() && self.v6.set.is_list() {
            for (slot, packet) in found.iter_mut().zip(packets) {
                let first = if ANY { self.any(packet).then_some(0) } else { self.first(packet) };
                *slot = first.unwrap_or(NONE);
            }
            return found;
        }
        // Nearly every burst is of one family.
        if let Some(keys) = keys_of(packets.clone(), &mut [Key::default(); BURST]) {
            return self.v4.set.find_burst::<ANY>(keys);
        }
        if let Some(keys) = keys_of(packets.clone(), &mut [Key::default(); BURST]) {
            return self.v6.set.find_burst::<ANY>(keys);
        }
        let mut questions = Questions::none();
        for (nth, packet) in packets.take(BURST).enumerate() {
            questions.add(nth, Question::inbound(packet));
        }
        self.first_of_questions::<ANY>(&questions)
    }

    /// The same for questions that were put together before.
    #[inline(always)]
    pub(crate) fn first_of_questions<const ANY: bool>(
        &self,
        questions: &Questions,
    ) -> [u32; BURST] {
        let Questions { keys4, keys6, of4, of6 } = questions;
        let four = self.v4.set.find_burst::<ANY>(keys4);
        // One after the other, and of IPv4.
        if *of6 == 0 && of4 & of4.wrapping_add(1) == 0 {
            return four;
        }
        let six = self.v6.set.find_burst::<ANY>(keys6);
        let mut found = [NONE; BURST];
        for (of, family) in [(of4, four), (of6, six)] {
            for (nth, first) in Each(*of).zip(family) {
                if let Some(slot) = found.get_mut(nth) {
                    *slot = first;
                }
            }
        }
        found
    }
}

/// The keys of up to 32 packets, if all are of one family.
#[inline(always)]
fn keys_of<'k, 'p, A: Address>(
    packets: impl Iterator<Item = &'p InnerHeaders>,
    keys: &'k mut [Key<A>; BURST],
) -> Option<&'k [Key<A>]> {
    let mut count = 0;
    for (slot, packet) in keys.iter_mut().zip(packets) {
        *slot = Key::of(packet)?;
        count += 1;
    }
    keys.get(..count)
}

/// One for each packet of a burst, at most.
type OfBurst<T> = heapless::Vec<T, BURST>;

/// What the packets of a burst ask. Keys are written where they stay: one that was put together elsewhere could not be
/// read at once.
pub(crate) struct Questions {
    keys4: OfBurst<Key<u32>>,
    keys6: OfBurst<Key<Wide>>,
    /// A bit for each packet of the family.
    of4: u32,
    of6: u32,
}

impl Questions {
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self { keys4: OfBurst::new(), keys6: OfBurst::new(), of4: 0, of6: 0 }
    }

    /// Adds what packet `nth` asks, which comes behind those that are there.
    #[inline(always)]
    pub(crate) fn add(&mut self, nth: usize, question: Question) {
        // There is room for a whole burst.
        match question {
            Question::V4(key) if self.keys4.push(key).is_ok() => self.of4 |= 1 << nth,
            Question::V6(key) if self.keys6.push(key).is_ok() => self.of6 |= 1 << nth,
            _ => {}
        }
    }
}

/// One tunnel, one Child SA; each selector says its place instead of a Child SA.
struct List<'s>(&'s [Staged]);

impl Source for List<'_> {
    fn tunnels(&self) -> u32 {
        1
    }

    fn children(&self) -> u32 {
        1
    }

    fn owners(&self) -> u32 {
        self.0.len() as u32
    }

    fn of_tunnel(&self, _tunnel: u32) -> impl Iterator<Item = (u32, ChildRecord, &[Staged])> {
        core::iter::once((0, ChildRecord::new(1, 0, 0), self.0))
    }
}

const WORDS_PER_STAGED: usize = size_of::<Staged>() / size_of::<u64>();

/// Words of memory that [`compile_into`] needs for so many selectors; fewer remain in use.
///
/// # Errors
/// [`SetupError::TooLarge`]: more than 32-bit offsets reach.
pub fn words_to_compile(selectors: usize) -> Result<usize, SetupError> {
    // Places have 32 bits; sums of larger numbers would not be.
    let places = u32::try_from(selectors).map_err(|_| SetupError::TooLarge)?;
    let block = compile::words_for_list(places as usize)?;
    let staged = selectors.checked_mul(WORDS_PER_STAGED);
    staged.and_then(|staged| staged.checked_add(block)).ok_or(SetupError::TooLarge)
}

/// Compiles a list of selectors into `memory` and returns how many of its first words are the matcher's,
/// for [`Matcher::open`]. Searches are fastest if the memory starts at a multiple of 64 octets. The same list gives the same words. A list that is being read may fail.
///
/// # Bound
/// O(n log n) on average.
///
/// # Errors
/// The list's own; [`SetupError::TooLarge`]; [`SetupError::MemoryTooSmall`]: fewer words than
/// [`words_to_compile`] says.
pub fn compile_into<E: From<SetupError>>(
    selectors: impl ExactSizeIterator<Item = Result<Selector, E>>,
    memory: &mut [u64],
) -> Result<usize, E> {
    let count = selectors.len();
    let needed = words_to_compile(count)?;
    let memory = memory.get_mut(..needed).ok_or(SetupError::MemoryTooSmall)?;
    let (words, staged) = memory
        .split_at_mut_checked(needed.saturating_sub(count.saturating_mul(WORDS_PER_STAGED)))
        .ok_or(SetupError::MemoryTooSmall)?;
    let staged: &mut [Staged] =
        bytemuck::try_cast_slice_mut(staged).map_err(|_| SetupError::MemoryTooSmall)?;
    let mut places = 0;
    for (slot, selector) in staged.iter_mut().zip(selectors) {
        *slot = compile::stage(&selector?, places);
        places += 1;
    }
    let staged = staged.get(..places as usize).unwrap_or_default();
    let octets = compile::compile(&List(staged), 0, words).ok_or(SetupError::TooLarge)?;
    Ok(octets / 8)
}

/// Compiles a list of selectors for [`Matcher::open`]. The same list gives the same words.
///
/// # Bound
/// O(n log n) on average.
///
/// # Errors
/// [`SetupError::TooLarge`]: more than 32-bit offsets reach; [`SetupError::OutOfMemory`].
#[cfg(feature = "alloc")]
pub fn compile(selectors: &[Selector]) -> Result<Words, SetupError> {
    Words::compile(selectors.iter().copied().map(Ok::<_, SetupError>))
}

#[cfg(feature = "alloc")]
pub use owned::Words;

#[cfg(feature = "alloc")]
mod owned {
    use core::fmt;
    use core::ops::Deref;

    use alloc::vec::Vec;
    use bytemuck::{Pod, Zeroable};

    use super::{compile_into, words_to_compile};
    use crate::error::SetupError;
    use crate::selector::Selector;

    /// A cache line.
    #[derive(Clone, Copy)]
    #[repr(C, align(64))]
    struct Line([u64; 8]);

    const _: () = assert!(size_of::<Line>() == 64);

    plain!(Line);

    /// The words of a compiled list, at a cache line, where searches are fastest.
    #[derive(Clone)]
    pub struct Words {
        lines: Vec<Line>,
        count: usize,
    }

    impl Words {
        /// Compiles a list of selectors. A list that is being read may fail.
        ///
        /// # Bound
        /// O(n log n) on average.
        ///
        /// # Errors
        /// The list's own; [`SetupError::TooLarge`]: more than 32-bit offsets reach;
        /// [`SetupError::OutOfMemory`].
        pub fn compile<E: From<SetupError>>(
            selectors: impl ExactSizeIterator<Item = Result<Selector, E>>,
        ) -> Result<Self, E> {
            let room = words_to_compile(selectors.len())?;
            Self::filled(room, |memory| compile_into(selectors, memory))
        }

        /// The words that `fill` leaves at the front of at least `room` zeros; it says how many.
        ///
        /// # Errors
        /// Those of `fill`; [`SetupError::OutOfMemory`].
        pub(crate) fn filled<E: From<SetupError>>(
            room: usize,
            fill: impl FnOnce(&mut [u64]) -> Result<usize, E>,
        ) -> Result<Self, E> {
            let room = room.div_ceil(8);
            let mut lines: Vec<Line> = Vec::new();
            lines.try_reserve_exact(room).map_err(|_| SetupError::OutOfMemory)?;
            lines.resize(room, Zeroable::zeroed());
            let count = fill(bytemuck::cast_slice_mut(&mut lines))?;
            lines.truncate(count.div_ceil(8));
            lines.shrink_to_fit();
            Ok(Self { lines, count })
        }
    }

    impl Deref for Words {
        type Target = [u64];

        fn deref(&self) -> &[u64] {
            bytemuck::cast_slice(&self.lines).get(..self.count).unwrap_or(&[])
        }
    }

    impl AsRef<[u64]> for Words {
        fn as_ref(&self) -> &[u64] {
            self
        }
    }

    impl fmt::Debug for Words {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} words of a matcher", self.count)
        }
    }
}
