//! Anti-replay (RFC 4303 section 3.4.3, RFC 4302 section 3.4.3) and extended sequence numbers.
//!
//! ```text
//! precheck(low 32 bits) -> full number, high half guessed   before the packet is opened
//! commit(full number)                                       after its ICV was right
//!
//! word   63                  32 31          0     block: 32 numbers, full >> 5
//!        | tag: low half of   | bitmap of   |     the words are a ring; a block's place is
//!        | the block's number | the block   |     its number modulo their count
//!
//! commit(full):  word <- ring[block of full]; top <- top
//!                full left of top's window: refused
//!                word of a later block, or the bit is set: refused
//!                word <- same block: bitmap + bit; earlier block: our tag, bit      (exchange)
//!                words of the blocks skipped between top and full <- their tag, no bits
//!                top <- max(top, full)
//! ```
//!
//! Source: the window of RFC 4303 as the ring of words of RFC 6479, with one word more than the
//! window needs. The high half is guessed as in RFC 4303 appendix A2.1; a wrong guess shows as a
//! wrong ICV, never as a replay (T17). A packet that is not authentic never moves the window (T16).
//!
//! Departures, so that threads may share an SA without a lock:
//! - A word carries its block's number, so setting a bit and taking the word over for a new block
//!   are one exchange. RFC 6479 clears the word first, and a thread between the two steps loses
//!   or revives bits.
//! - The count of words is a power of two: a place is a mask, not a division, for any size. It
//!   costs up to twice the words (64 numbers: 4; 4096: 256).
//! - Tags wrap. No number more than 2^35 (2^30 blocks) ahead of the highest one is taken, which is
//!   eight times farther than a guess reaches, so tags that meet compare as signed differences.
//!
//! # Concurrency
//! Invariants:
//! - I1: a word's block never goes back. Only exchanges write words, none to an earlier block.
//! - I2: `top` never goes back (but for a window of 0 with ESN, which has no left edge).
//! - I3: a word's block is not before the last one of its place up to the block of `top`. For the
//!   skipped words move before `top` does, and a thread that raises `top` moves all those from a
//!   `top` it loaded before. Were it raised first, a word left behind for 2^31 blocks would seem
//!   to be of a later one.
//! - I4: a word's block is at most 2^30 after that of a `top` loaded after the word: its writer
//!   had loaded `top` before it wrote. Hence the word is always loaded first.
//!
//! A number is accepted once: by the exchange that sets its bit, which I1 keeps until the word's
//! block is a later one, and then every commit of the number is refused. A word moved while
//! another thread fills it: one exchange fails. If the filler was first, its number was accepted
//! in its turn, and the move forgets a bit that is at least `size` behind the mover's number. If
//! the mover was first, the filler sees a later block and is refused, although `top` may not be
//! raised yet: a number that leaves its own out of the window has been committed.
//!
//! I3 and I4 bound what an exchange may meet, if the word is still the one loaded. Only a thread
//! that sleeps between load and exchange while 2^37 numbers pass can find the same 64 bits of
//! another block there. Its number is then left of the window that it loads afterwards, and is
//! refused; what it wrote may cost later numbers of that word, which are refused too.

use core::fmt;

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(all(not(loom), target_has_atomic = "64"))]
use core::sync::atomic::AtomicU64;

/// The largest window, in packets.
pub const MAX_WINDOW: u32 = 4096;

/// Numbers of a block, as a shift: the bits of a word beside its tag.
const BLOCK_SHIFT: u32 = 5;

/// How far ahead of the highest number a packet may be. A guess is less than 2^32 ahead, a search
/// for a lost high half (RFC 4303 appendix A3) may try seven more. Half the reach of a tag, so
/// that the ring and a `top` loaded a moment ago fit in beside it (I3, I4).
const FARTHEST: u64 = 1 << (30 + BLOCK_SHIFT);

/// The packet is a replay, or left of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replayed;

/// A window above [`MAX_WINDOW`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowTooLarge;

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a replay, or left of the replay window")
    }
}

impl fmt::Display for WindowTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a replay window has at most {MAX_WINDOW} packets")
    }
}

impl core::error::Error for Replayed {}
impl core::error::Error for WindowTooLarge {}

/// Words of the ring of a window of `size` numbers: a power of two, and one more at least than
/// the window covers, so that a block that enters never shares a word with one still inside.
pub const fn words_for(size: u32) -> usize {
    if size == 0 { 0 } else { (size.div_ceil(1 << BLOCK_SHIFT) as usize + 1).next_power_of_two() }
}

/// A 64-bit cell that workers share.
#[cfg(any(loom, target_has_atomic = "64"))]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Cell64(AtomicU64);

#[cfg(any(loom, target_has_atomic = "64"))]
impl Cell64 {
    #[cfg(not(loom))]
    pub(crate) const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    #[cfg(loom)]
    pub(crate) fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    #[inline]
    pub(crate) fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn store(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// Replaces `old`, which the caller loaded, by `new`. Fails with what is there now if another
    /// thread was quicker; cells that are not `shared` have one owner, and a store will do.
    #[inline]
    pub(super) fn update(&self, shared: bool, old: u64, new: u64) -> Result<(), u64> {
        if !shared {
            self.store(new);
            return Ok(());
        }
        // Release and Acquire: whoever meets a word knows the `top` its writer knew (I4).
        self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }
}

/// A 64-bit cell of two halves, for targets without 64-bit atomics. One worker writes and reads
/// it (such targets have no more), so halves never come from two writes, and `shared` asks for
/// nothing: a Cortex-M0 has no exchange.
#[cfg(not(any(loom, target_has_atomic = "64")))]
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Cell64 {
    high: AtomicU32,
    low: AtomicU32,
}

#[cfg(not(any(loom, target_has_atomic = "64")))]
impl Cell64 {
    pub(crate) const fn new(value: u64) -> Self {
        Self { high: AtomicU32::new((value >> 32) as u32), low: AtomicU32::new(value as u32) }
    }

    #[inline]
    pub(crate) fn load(&self) -> u64 {
        let high = self.high.load(Ordering::Acquire);
        u64::from(high) << 32 | u64::from(self.low.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn store(&self, value: u64) {
        self.high.store((value >> 32) as u32, Ordering::Release);
        self.low.store(value as u32, Ordering::Release);
    }

    /// Replaces `old`, which the caller loaded, by `new`.
    #[inline]
    pub(super) fn update(&self, _shared: bool, old: u64, new: u64) -> Result<(), u64> {
        let now = self.load();
        if now != old {
            return Err(now);
        }
        self.store(new);
        Ok(())
    }
}

#[cfg(not(loom))]
// SAFETY: integers in atomic cells; zero is the number 0.
#[allow(unsafe_code)]
unsafe impl bytemuck::Zeroable for Cell64 {}

/// The block of a number.
const fn block_of(full: u64) -> u64 {
    full >> BLOCK_SHIFT
}

/// The word of a block.
const fn word_of(block: u64, bitmap: u32) -> u64 {
    block << 32 | bitmap as u64
}

/// How many blocks `block` is after that of `word`: signed, since tags wrap (I3, I4).
const fn after(block: u64, word: u64) -> i32 {
    (block as u32).wrapping_sub((word >> 32) as u32) as i32
}

/// `word` with the number `full` in it.
#[inline]
fn marked(word: u64, full: u64) -> Result<u64, Replayed> {
    let bit = 1_u32 << (full % (1 << BLOCK_SHIFT));
    match after(block_of(full), word) {
        ..0 => Err(Replayed),
        0 if word as u32 & bit != 0 => Err(Replayed),
        0 => Ok(word | u64::from(bit)),
        1.. => Ok(word_of(block_of(full), bit)),
    }
}

/// The receive window of one SA, exactly `top - size + 1 ..= top`, in cells that lie anywhere.
/// Cells that are all zero are a window that has seen nothing.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    /// Numbers; at most [`MAX_WINDOW`], 0 = no anti-replay.
    pub(crate) size: u32,
    /// Numbers have 64 bits, of which packets carry the low half.
    pub(crate) esn: bool,
    /// More than one thread commits.
    pub(crate) shared: bool,
    /// The highest number seen in an authentic packet.
    pub(crate) top: &'a Cell64,
    /// 0 until the first authentic packet (or until a transfer of state): the high half is the
    /// one that was given, whatever the low one.
    pub(crate) synchronised: &'a AtomicU32,
    /// [`words_for`] the size.
    pub(crate) words: &'a [Cell64],
}

impl Window<'_> {
    /// The full sequence number that a packet with these low 32 bits would have, if it may be
    /// opened. With ESN its high half goes into the ICV.
    ///
    /// # Bound
    /// Two loads, and one more for a number in the window.
    ///
    /// # Errors
    /// [`Replayed`]. Nothing has changed either way.
    #[inline]
    pub(crate) fn precheck(&self, low: u32) -> Result<u64, Replayed> {
        // First: when it says so, the `top` loaded next is that of an authentic packet.
        let synchronised = self.synchronised.load(Ordering::Acquire) != 0;
        let top = self.top.load();
        let full = self.guess(low, top, synchronised).ok_or(Replayed)?;
        self.inside(full, top)?;
        if self.size != 0 && full <= top {
            marked(self.cell(full)?.load(), full)?;
        }
        Ok(full)
    }

    /// Records an authentic packet. Tests again, since another copy may have been committed
    /// between: of two copies in a burst the second is refused here.
    ///
    /// # Bound
    /// One exchange of a word and one of `top`; one more of each word of the ring where numbers
    /// were skipped. An exchange is repeated only when another thread had a number of the same
    /// word, or a higher top, accepted meanwhile.
    ///
    /// # Errors
    /// [`Replayed`]; the window is unchanged.
    #[inline]
    pub(crate) fn commit(&self, full: u64) -> Result<(), Replayed> {
        if self.size == 0 {
            if self.esn {
                self.top.store(full);
            } else {
                self.raise(full);
            }
            self.synchronise();
            return Ok(());
        }
        let cell = self.cell(full)?;
        let mut word = cell.load();
        let top = loop {
            // After the word (I4).
            let top = self.top.load();
            self.inside(full, top)?;
            match cell.update(self.shared, word, marked(word, full)?) {
                Ok(()) => break top,
                Err(now) => word = now,
            }
        };
        if block_of(full) > block_of(top) + 1 {
            self.skip(full, top);
        }
        // The window may have passed by while this thread slept: then the word may have been
        // another turn of the ring's.
        let top = self.raise(full);
        if top - full >= u64::from(self.size) {
            return Err(Replayed);
        }
        self.synchronise();
        Ok(())
    }

    /// Before the SA is visible to anyone: seen nothing, first packets have this high half.
    pub(crate) fn start(&self, high: u32) {
        self.begin(if self.esn { u64::from(high) << 32 } else { 0 }, 0, 0);
        self.synchronised.store(0, Ordering::Release);
    }

    /// The same after a transfer of state: `top` and all below it count as seen, since nobody knows
    /// which of them were.
    #[cfg(not(loom))]
    pub(crate) fn start_behind(&self, top: u64) {
        let top = self.number(top);
        self.begin(top, u32::MAX >> (31 - top % (1 << BLOCK_SHIFT)), u32::MAX);
        self.synchronised.store(1, Ordering::Release);
    }

    /// A number of this SA: without ESN the high half means nothing.
    #[inline]
    pub(crate) fn number(&self, full: u64) -> u64 {
        if self.esn { full } else { full & u64::from(u32::MAX) }
    }

    /// The same after a transfer of state: `top` was seen, nothing else in the window.
    pub(crate) fn start_at(&self, top: u64) {
        let top = self.number(top);
        self.begin(top, 1 << (top % (1 << BLOCK_SHIFT)), 0);
        self.synchronised.store(1, Ordering::Release);
    }

    /// The highest number seen in an authentic packet.
    #[inline]
    pub(crate) fn top(&self) -> u64 {
        self.top.load()
    }

    /// A ring that ends at the block of `top` with this bitmap; those of the blocks before.
    fn begin(&self, top: u64, bitmap: u32, before: u32) {
        self.top.store(top);
        for back in 0..self.words.len() as u64 {
            let block = block_of(top).wrapping_sub(back);
            if let Ok(cell) = self.cell_at(block) {
                cell.store(word_of(block, if back == 0 { bitmap } else { before }));
            }
        }
    }

    #[inline]
    fn cell(&self, full: u64) -> Result<&Cell64, Replayed> {
        self.cell_at(block_of(full))
    }

    /// The word of a block; a window without its words refuses everything.
    #[inline]
    fn cell_at(&self, block: u64) -> Result<&Cell64, Replayed> {
        debug_assert_eq!(self.words.len(), words_for(self.size));
        let place = block as usize & self.words.len().wrapping_sub(1);
        self.words.get(place).ok_or(Replayed)
    }

    /// The edges of the window that ends at `top`.
    #[inline]
    fn inside(&self, full: u64, top: u64) -> Result<(), Replayed> {
        // Senders start at 1 (RFC 4303 section 3.3.3): 0 is never a packet of theirs.
        let refused = if full > top {
            full - top > FARTHEST
        } else {
            full == 0 || top - full >= u64::from(self.size)
        };
        if refused && self.size != 0 { Err(Replayed) } else { Ok(()) }
    }

    /// Moves the words of the blocks between those of `top` and `full` (I3), unless others have.
    #[cold]
    fn skip(&self, full: u64, top: u64) {
        let (from, to) = (block_of(top), block_of(full));
        let skipped = (to - from - 1).min(self.words.len() as u64 - 1);
        for block in to - skipped..to {
            let Ok(cell) = self.cell_at(block) else { return };
            let mut word = cell.load();
            // `top` after the word (I4); once it is there, so is every word of its ring (I3).
            while self.top.load() < full && after(block, word) > 0 {
                match cell.update(self.shared, word, word_of(block, 0)) {
                    Ok(()) => break,
                    Err(now) => word = now,
                }
            }
        }
    }

    /// Raises `top` to `full` at least, and returns it.
    #[inline]
    fn raise(&self, full: u64) -> u64 {
        let mut top = self.top.load();
        while top < full {
            match self.top.update(self.shared, top, full) {
                Ok(()) => return full,
                Err(now) => top = now,
            }
        }
        top
    }

    #[inline]
    fn synchronise(&self) {
        if self.synchronised.load(Ordering::Relaxed) == 0 {
            self.synchronised.store(1, Ordering::Release);
        }
    }

    /// RFC 4303 appendix A2.1. `None` if the number would pass 2^64.
    #[inline]
    fn guess(&self, low: u32, top: u64, synchronised: bool) -> Option<u64> {
        let (high, top_low) = (top >> 32, top & u64::from(u32::MAX));
        let low = u64::from(low);
        if !self.esn {
            return Some(low);
        }
        // A low half above 0 is that of a first packet, just being committed.
        if !synchronised && top_low == 0 {
            return Some(top | low);
        }
        // Without anti-replay the guess still needs a distance: half the low numbers.
        let window = if self.size == 0 { 1 << 31 } else { u64::from(self.size) };
        let high = if top_low >= window - 1 {
            // Case A: the window lies in one subspace.
            if low >= top_low - (window - 1) { high } else { high + 1 }
        } else {
            // Case B: it reaches back into the one before, unless there is none.
            let left = (1 << 32) + top_low - (window - 1);
            if low >= left && high > 0 { high - 1 } else { high }
        };
        (high <= u64::from(u32::MAX)).then_some(high << 32 | low)
    }

    /// I3, at rest or not.
    #[cfg(any(test, loom))]
    fn ring_is_current(&self) -> bool {
        let top = block_of(self.top.load());
        (0..self.words.len() as u64).all(|back| {
            let block = top.wrapping_sub(back);
            self.cell_at(block).is_ok_and(|cell| after(block, cell.load()) <= 0)
        })
    }
}

/// Words of the largest window.
#[cfg(not(loom))]
const WORDS: usize = words_for(MAX_WINDOW);

/// The receive window of one SA, in the hands of one thread: exactly `top - size + 1 ..= top`.
#[cfg(not(loom))]
#[derive(Debug)]
pub struct ReplayWindow {
    size: u32,
    esn: bool,
    top: Cell64,
    synchronised: AtomicU32,
    /// Words in use.
    ring: usize,
    words: [Cell64; WORDS],
}

#[cfg(not(loom))]
impl Clone for ReplayWindow {
    fn clone(&self) -> Self {
        Self {
            size: self.size,
            esn: self.esn,
            top: Cell64::new(self.top.load()),
            synchronised: AtomicU32::new(self.synchronised.load(Ordering::Acquire)),
            ring: self.ring,
            words: self.words.each_ref().map(|word| Cell64::new(word.load())),
        }
    }
}

#[cfg(not(loom))]
impl ReplayWindow {
    /// A window of `size` packets that has seen nothing; 0 = no anti-replay.
    ///
    /// # Errors
    /// [`WindowTooLarge`].
    pub const fn new(size: u32, esn: bool) -> Result<Self, WindowTooLarge> {
        if size > MAX_WINDOW {
            return Err(WindowTooLarge);
        }
        Ok(Self {
            size,
            esn,
            top: Cell64::new(0),
            synchronised: AtomicU32::new(0),
            ring: words_for(size),
            words: [const { Cell64::new(0) }; WORDS],
        })
    }

    /// The same window, empty but for `top`, as after a transfer of state from another node.
    #[must_use]
    pub fn with_top(self, top: u64) -> Self {
        self.window().start_at(top);
        self
    }

    /// The same window before any packet, with the high half of the first ones.
    #[must_use]
    pub fn with_high(self, high: u32) -> Self {
        self.window().start(high);
        self
    }

    /// The highest number seen in an authentic packet.
    pub fn top(&self) -> u64 {
        self.window().top()
    }

    /// The full sequence number that a packet with these low 32 bits would have, if it may be
    /// opened. With ESN its high half goes into the ICV.
    ///
    /// # Errors
    /// [`Replayed`]. Nothing has changed either way.
    pub fn precheck(&self, low: u32) -> Result<u64, Replayed> {
        self.window().precheck(low)
    }

    /// Records an authentic packet. Tests again, since another copy may have been committed
    /// between: of two copies in a burst the second is refused here. A number more than 2^35
    /// ahead, which no precheck returns, is refused too.
    ///
    /// # Errors
    /// [`Replayed`]; the window is unchanged.
    pub fn commit(&mut self, full: u64) -> Result<(), Replayed> {
        self.window().commit(full)
    }

    fn window(&self) -> Window<'_> {
        Window {
            size: self.size,
            esn: self.esn,
            shared: false,
            top: &self.top,
            synchronised: &self.synchronised,
            words: self.words.get(..self.ring).unwrap_or_default(),
        }
    }
}

/// The cells of a window that threads share, for tests and models; numbers have 64 bits.
#[cfg(any(test, loom))]
pub struct Shared {
    size: u32,
    top: Cell64,
    synchronised: AtomicU32,
    words: alloc::boxed::Box<[Cell64]>,
}

#[cfg(any(test, loom))]
impl Shared {
    /// A window that has seen `top`.
    pub fn new(size: u32, top: u64) -> Self {
        let words = (0..words_for(size)).map(|_| Cell64::new(0)).collect();
        let synchronised = AtomicU32::new(0);
        let shared = Self { size, top: Cell64::new(0), synchronised, words };
        shared.window().start_at(top);
        shared
    }

    /// The same before any packet.
    pub fn before(size: u32, high: u32) -> Self {
        let shared = Self::new(size, 0);
        shared.window().start(high);
        shared
    }

    fn window(&self) -> Window<'_> {
        let Self { size, top, synchronised, words } = self;
        Window { size: *size, esn: true, shared: true, top, synchronised, words }
    }

    /// As a worker does before it opens a packet.
    pub fn precheck(&self, low: u32) -> Result<u64, Replayed> {
        self.window().precheck(low)
    }

    /// As a worker does after it opened one.
    pub fn commit(&self, full: u64) -> Result<(), Replayed> {
        self.window().commit(full)
    }

    /// The highest number.
    pub fn top(&self) -> u64 {
        self.window().top()
    }

    /// True if every word is of the last block of its place, or later (I3).
    pub fn ring_is_current(&self) -> bool {
        self.window().ring_is_current()
    }
}

#[cfg(all(test, not(loom)))]
#[path = "replay/tests.rs"]
mod tests;
