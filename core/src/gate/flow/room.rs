//! Room for a newcomer: a vacant place of its two buckets, or one that entries make by moving.

use bytemuck::Zeroable;

use super::look::Home;
use super::word::{matching, overdue_ms, slots, tag_of};
use super::{FlowTable, Gone, place};
use crate::sad::Probe;

/// Buckets that an insert looks at before it gives up: the two of the key, the 16 that their
/// residents could move to, and 46 of the next generation. So at most two entries move.
pub const SEARCHED: usize = 64;

/// Which slots a newcomer may have.
#[derive(Clone, Copy)]
enum Room {
    Any,
    /// The table holds as many entries as it may.
    PastDeadline,
}

/// A bucket that the search reached, and which entry would move there.
struct Step {
    bucket: usize,
    /// The step it was reached from, and the place of the entry that would move.
    from: Option<(u8, usize)>,
}

impl<T: Copy + Zeroable> FlowTable<'_, T> {
    /// A vacant place of a bucket.
    fn vacancy(&self, bucket: usize, at: u64, room: Room) -> Option<usize> {
        let words = self.words.get(bucket)?;
        let empty = match room {
            Room::Any => slots(matching(words, 0)).next(),
            Room::PastDeadline => None,
        };
        let slot = empty
            .or_else(|| words.iter().position(|word| overdue_ms(*word, at) != 0 && *word != 0))?;
        Some(place(bucket, slot))
    }

    /// An empty place for a newcomer, and the entry that had ended there.
    pub(super) fn make_room(
        &mut self,
        home: Home,
        at: u64,
        probe: &mut impl Probe,
    ) -> Option<(usize, Option<Gone<T>>)> {
        let room = if self.len < self.capacity { Room::Any } else { Room::PastDeadline };
        let near = self.buckets(home).into_iter().find_map(|bucket| self.vacancy(bucket, at, room));
        if let Some(place) = near {
            return Some((place, self.clear(place, at)));
        }
        match room {
            Room::Any => self.search(home, at, probe),
            Room::PastDeadline => None,
        }
    }

    /// Looks breadth first for a bucket with a vacant place, and moves the entries on the way there.
    #[cold]
    fn search(
        &mut self,
        home: Home,
        at: u64,
        probe: &mut impl Probe,
    ) -> Option<(usize, Option<Gone<T>>)> {
        let mut steps: heapless::Vec<Step, SEARCHED> = heapless::Vec::new();
        for bucket in self.buckets(home) {
            let _ = steps.push(Step { bucket, from: None });
        }
        let mut next = 0_u8;
        let (mut step, mut vacant) = loop {
            let step = steps.get(usize::from(next))?;
            probe.line();
            if let Some(vacant) = self.vacancy(step.bucket, at, Room::Any) {
                break (step, vacant);
            }
            let bucket = step.bucket;
            for (slot, word) in self.words.get(bucket)?.iter().enumerate() {
                let from = Some((next, place(bucket, slot)));
                // No more than fit: that is the bound.
                if steps.push(Step { bucket: self.other(bucket, tag_of(*word)), from }).is_err() {
                    break;
                }
            }
            next = next.wrapping_add(1);
        };
        let gone = self.clear(vacant, at);
        // A way is two moves long at most, and its three buckets differ: the first two are full, the
        // last one is not.
        while let Some((before, moving)) = step.from {
            self.relocate(moving, vacant);
            vacant = moving;
            step = steps.get(usize::from(before))?;
        }
        Some((vacant, gone))
    }

    /// Moves an entry to an empty place.
    fn relocate(&mut self, from: usize, to: usize) {
        let words = self.words.as_flattened_mut();
        let word = words.get_mut(from).map(core::mem::take);
        if let (Some(word), Some(vacant)) = (word, words.get_mut(to)) {
            *vacant = word;
        }
        self.moved = self.moved.wrapping_add(1);
        let entry = self.entries.get(from).copied();
        if let (Some(entry), Some(vacant)) = (entry, self.entries.get_mut(to)) {
            *vacant = entry;
        }
    }
}
