//! What memory alone costs: the floor under every table of a given size.

#![allow(unsafe_code, reason = "a prefetch is an intrinsic; it is what is measured")]

/// A cache line, with a number to read.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(u64);

/// An array of cache lines that is asked by place: no hash, no comparison, one line a question.
pub struct Roofline(Vec<Line>);

impl Roofline {
    /// As many lines as `octets` hold, one at least. Line n holds the number n.
    pub fn new(octets: usize) -> Self {
        Self((0..(octets / 64).max(1) as u64).map(Line).collect())
    }

    /// How many lines there are.
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Prefetches every line, then reads each: the sum of what they hold.
    ///
    /// # Panics
    /// If a place is not below [`Roofline::len`].
    pub fn burst(&self, places: &[u32]) -> u64 {
        for place in places {
            prefetch(&self.0[*place as usize]);
        }
        self.ones(places)
    }

    /// Reads each line, without prefetch.
    ///
    /// # Panics
    /// If a place is not below [`Roofline::len`].
    pub fn ones(&self, places: &[u32]) -> u64 {
        places.iter().fold(0, |sum, place| sum.wrapping_add(self.0[*place as usize].0))
    }
}

#[inline(always)]
fn prefetch(line: &Line) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no architectural effect; the pointer comes from a reference.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(line).cast::<i8>());
    }
    // Elsewhere a load that nobody waits for: near enough to a prefetch.
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(line.0);
}
