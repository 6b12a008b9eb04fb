//! Anti-replay (RFC 4303 section 3.4.3, RFC 4302 section 3.4.3) and extended sequence numbers.
//!
//! ```text
//! precheck(low 32 bits) -> full number, high half guessed   before the packet is opened
//! commit(full number)                                       after its ICV was right
//! ```
//!
//! The bitmap is a ring of words that is cleared word by word as the window moves (RFC 6479). The
//! high half is guessed as in RFC 4303 appendix A2.1; a wrong guess shows as a wrong ICV, never
//! as a replay (T17). A packet that is not authentic never moves the window (T16).
//!
//! Owned by one thread.

use core::fmt;

/// The largest window, in packets.
pub const MAX_WINDOW: u32 = 4096;

const WORD_BITS: u64 = 64;
/// One word more than the window needs, so that clearing ahead never touches it (RFC 6479).
const WORDS: usize = (MAX_WINDOW as usize / WORD_BITS as usize) + 1;

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

/// The receive window of one SA: exactly `top - size + 1 ..= top`.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    size: u64,
    esn: bool,
    /// The highest number seen in an authentic packet.
    top: u64,
    /// No packet was seen yet: the high half is the one that was given, whatever the low one.
    unsynchronised: bool,
    bits: [u64; WORDS],
}

impl ReplayWindow {
    /// A window of `size` packets that has seen nothing; 0 = no anti-replay.
    ///
    /// # Errors
    /// [`WindowTooLarge`].
    pub const fn new(size: u32, esn: bool) -> Result<Self, WindowTooLarge> {
        if size > MAX_WINDOW {
            return Err(WindowTooLarge);
        }
        Ok(Self { size: size as u64, esn, top: 0, unsynchronised: true, bits: [0; WORDS] })
    }

    /// The same window, empty but for `top`, as after a transfer of state from another node.
    #[must_use]
    pub fn with_top(mut self, top: u64) -> Self {
        self.top = if self.esn { top } else { top & u64::from(u32::MAX) };
        self.unsynchronised = false;
        self.bits = [0; WORDS];
        self.mark(self.top);
        self
    }

    /// The same window before any packet, with the high half of the first ones.
    #[must_use]
    pub fn with_high(mut self, high: u32) -> Self {
        self.top = if self.esn { u64::from(high) << 32 } else { 0 };
        self.unsynchronised = true;
        self.bits = [0; WORDS];
        self
    }

    /// The highest number seen in an authentic packet.
    pub const fn top(&self) -> u64 {
        self.top
    }

    /// The full sequence number that a packet with these low 32 bits would have, if it may be
    /// opened. With ESN its high half goes into the ICV.
    ///
    /// # Errors
    /// [`Replayed`]. Nothing has changed either way.
    pub fn precheck(&self, low: u32) -> Result<u64, Replayed> {
        let full = self.guess(low).ok_or(Replayed)?;
        self.test(full)?;
        Ok(full)
    }

    /// Records an authentic packet. Tests again, since another copy may have been committed
    /// between: of two copies in a burst the second is refused here.
    ///
    /// # Errors
    /// [`Replayed`]; the window is unchanged.
    pub fn commit(&mut self, full: u64) -> Result<(), Replayed> {
        if self.size == 0 {
            self.unsynchronised = false;
            self.top = if self.esn { full } else { self.top.max(full) };
            return Ok(());
        }
        self.test(full)?;
        if full > self.top {
            let (old, new) = (self.top / WORD_BITS, full / WORD_BITS);
            // Words behind the old top up to the new one hold numbers of a window long past.
            let fresh = (new - old).min(WORDS as u64);
            for step in 1..=fresh {
                if let Some(word) = self.bits.get_mut(((old + step) % WORDS as u64) as usize) {
                    *word = 0;
                }
            }
            self.top = full;
        }
        self.unsynchronised = false;
        self.mark(full);
        Ok(())
    }

    fn mark(&mut self, full: u64) {
        if let Some(word) = self.bits.get_mut(((full / WORD_BITS) % WORDS as u64) as usize) {
            *word |= 1 << (full % WORD_BITS);
        }
    }

    fn test(&self, full: u64) -> Result<(), Replayed> {
        if self.size == 0 || full > self.top {
            return Ok(());
        }
        // Senders start at 1 (RFC 4303 section 3.3.3): 0 is never a packet of theirs.
        if full == 0 || self.top - full >= self.size {
            return Err(Replayed);
        }
        let word = self.bits.get(((full / WORD_BITS) % WORDS as u64) as usize);
        let seen = word.is_some_and(|word| word >> (full % WORD_BITS) & 1 == 1);
        if seen { Err(Replayed) } else { Ok(()) }
    }

    /// RFC 4303 appendix A2.1. `None` if the number would pass 2^64.
    fn guess(&self, low: u32) -> Option<u64> {
        if !self.esn {
            return Some(u64::from(low));
        }
        if self.unsynchronised {
            return Some(self.top & !u64::from(u32::MAX) | u64::from(low));
        }
        // Without anti-replay the guess still needs a distance: half the low numbers.
        let window = if self.size == 0 { 1 << 31 } else { self.size };
        let (high, top_low) = (self.top >> 32, self.top & u64::from(u32::MAX));
        let low = u64::from(low);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn window(size: u32, esn: bool, top: u64) -> ReplayWindow {
        ReplayWindow::new(size, esn).unwrap().with_top(top)
    }

    #[test]
    fn rfc4303_3_4_3_left_edge_is_top_minus_w_plus_1() {
        let mut w = window(128, false, 1128);
        assert_eq!(w.precheck(1001), Ok(1001));
        assert_eq!(w.precheck(1000), Err(Replayed));
        w.commit(1129).unwrap();
        assert_eq!(w.precheck(1001), Err(Replayed));
        assert_eq!(w.precheck(1002), Ok(1002));
    }

    #[test]
    fn of_two_copies_in_a_burst_the_second_is_refused_at_commit() {
        let mut w = window(64, false, 10);
        let (a, b) = (w.precheck(11).unwrap(), w.precheck(11).unwrap());
        assert_eq!(w.commit(a), Ok(()));
        assert_eq!(w.commit(b), Err(Replayed));
    }

    #[test]
    fn rfc4303_a2_case_b_with_high_half_0_stays_0() {
        let w = window(64, true, 10);
        assert_eq!(w.precheck(u32::MAX), Ok(u64::from(u32::MAX)));
    }

    #[test]
    fn rfc4303_a2_guess_crosses_the_subspace_both_ways() {
        let w = window(64, true, 0xffff_fff0);
        assert_eq!(w.precheck(5), Ok(0x1_0000_0005));
        let w = window(64, true, 0x1_0000_0005);
        assert_eq!(w.precheck(0xffff_fff0), Ok(0xffff_fff0));
        assert_eq!(w.precheck(6), Ok(0x1_0000_0006));
        assert_eq!(window(64, true, u64::MAX).precheck(0), Err(Replayed));
    }

    #[test]
    fn the_first_packet_has_the_high_half_that_was_given() {
        for size in [0, 64, 4096] {
            let mut w = ReplayWindow::new(size, true).unwrap().with_high(1);
            let full = w.precheck(0x9000_0000).unwrap();
            assert_eq!(full, 0x1_9000_0000);
            w.commit(full).unwrap();
            assert_eq!(w.precheck(0x9000_0001), Ok(0x1_9000_0001));
        }
    }

    #[test]
    fn a_window_of_0_refuses_nothing_and_follows_the_high_half() {
        let mut w = window(0, true, 0xffff_fff0);
        let full = w.precheck(3).unwrap();
        assert_eq!(full, 0x1_0000_0003);
        w.commit(full).unwrap();
        assert_eq!(w.precheck(3), Ok(full));
        assert!(ReplayWindow::new(MAX_WINDOW + 1, false).is_err());
    }

    proptest! {
        /// The twin: a set of every number accepted.
        #[test]
        fn agrees_with_a_set(
            size in prop_oneof![Just(1u32), Just(64), Just(65), 1u32..=MAX_WINDOW],
            start in 1u64..1 << 20,
            steps in proptest::collection::vec(-5000i64..5000, 1..300),
        ) {
            let mut w = ReplayWindow::new(size, false).unwrap();
            let (mut seen, mut top) = (BTreeSet::new(), 0u64);
            let mut at = start;
            for step in steps {
                at = at.saturating_add_signed(step).clamp(1, u64::from(u32::MAX));
                let fresh = at > top || (top - at < u64::from(size) && !seen.contains(&at));
                prop_assert_eq!(w.precheck(at as u32).is_ok(), fresh, "at {} top {}", at, top);
                prop_assert_eq!(w.commit(at).is_ok(), fresh);
                if fresh {
                    seen.insert(at);
                    top = top.max(at);
                }
                prop_assert_eq!(w.top(), top);
            }
        }

        /// With ESN a packet within the window or less than 2^32 - W ahead is guessed right.
        #[test]
        fn esn_guess_is_right_near_the_top(
            size in 1u32..=MAX_WINDOW,
            top in 1u64..1 << 40,
            offset in -4095i64..1 << 31,
        ) {
            let w = window(size, true, top);
            let full = top.saturating_add_signed(offset).max(1);
            if full > top || top - full < u64::from(size) {
                prop_assert_eq!(w.guess(full as u32), Some(full));
            }
        }
    }
}
