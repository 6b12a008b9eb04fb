//! The words of the SPI table and the direct slots, beside readers, under every interleaving that loom
//! finds. Run it with `RUSTFLAGS="--cfg loom" cargo test --release -p espial --test loom_slots`;
//! `ESPIAL_LOOM_LOOKS` makes readers look more than once.
//!
//! Readers are spawned threads, and the writer is the first one: see `loom_replay.rs`. The writer
//! loads a word before it stores it, which hides a reader's load of that word from loom; that a reader
//! looks early at one word and late at another is tried all the same, as old values of its loads.
//!
//! `Word` is here that of targets with 64-bit atomics.
#![cfg(loom)]
#![allow(unsafe_code, reason = "the reader's contract is what is modelled")]

use espial::publish::{Epochs, Seen};
use espial::sad::table::{Places, Shared, Writer};
use espial::sad::{SaId, direct};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread::{self, JoinHandle};

/// Bucket 0 and 1 are full, 2 is empty at first.
const BUCKETS: usize = 3;
const SLOTS: usize = 8;
/// The index of the key that is looked for.
const OWN: u32 = 1;
/// Those of keys that come later.
const OTHER: u32 = 1000;

fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(model);
}

/// The nth SPI that belongs there.
fn spi(table: &Shared, first: usize, second: usize, filter: usize, nth: usize) -> u32 {
    let places = Places { first, second, filter };
    (256..).filter(|spi| table.places(*spi) == places).nth(nth).unwrap()
}

/// A table whose buckets 0 and 1 are full, and the SPIs in them in the order of their slots. The
/// one in slot 0 can move to bucket 2, and its filter bit is in slot `filter`; so can the others in
/// bucket 0, whose bits are in slot 7. No word of bucket 1 can move while bucket 0 is full.
struct Full {
    table: Arc<Shared>,
    first: [u32; SLOTS],
    second: [u32; SLOTS],
}

impl Full {
    fn new(filter: usize) -> Self {
        let table = Shared::new(BUCKETS);
        let first = |slot| spi(&table, 0, 2, if slot == 0 { filter } else { 7 }, slot);
        let first = core::array::from_fn(first);
        let second = core::array::from_fn(|slot| spi(&table, 1, 0, 5, slot));
        Self { table: Arc::new(table), first, second }
    }

    /// The writer, when it has filled the buckets. The index of a word is its place in order, from 1.
    fn writer<'t>(&self, table: &'t Shared, counts: &'t mut [u16]) -> Writer<'t> {
        let mut writer = table.writer(counts);
        for (spi, index) in self.first.into_iter().chain(self.second).zip(OWN..) {
            assert!(writer.insert(spi, index));
        }
        assert_eq!(writer.place(self.first[0]), Some((0, 0)));
        writer
    }

    /// The nth SPI whose buckets are both full, with its filter bit in the given slot.
    fn more(&self, filter: usize, nth: usize) -> u32 {
        spi(&self.table, 0, 1, filter, nth)
    }
}

/// Looks for an SPI in both ways of a reader and tells what was found.
fn looks(
    table: &Arc<Shared>,
    spi: u32,
    expect: impl Fn(Option<u32>) + Send + 'static,
) -> JoinHandle<()> {
    let table = table.clone();
    let times = std::env::var("ESPIAL_LOOM_LOOKS").ok().and_then(|times| times.parse().ok());
    thread::spawn(move || {
        for _ in 0..times.unwrap_or(1) {
            expect(table.find_plain(spi, &mut ()));
            expect(table.find(spi));
        }
    })
}

fn is_own(found: Option<u32>) {
    assert_eq!(found, Some(OWN));
}

#[test]
fn a_key_is_found_while_its_word_moves() {
    // The filter bit is in the word that the newcomer takes, in one before it is read, or behind.
    for filter in [0, 4] {
        check(None, move || {
            let full = Full::new(filter);
            let table = full.table.clone();
            let mut counts = [0; BUCKETS];
            let mut writer = full.writer(&table, &mut counts);
            let reader = looks(&table, full.first[0], is_own);
            assert!(writer.insert(full.more(1, 0), OTHER));
            assert_eq!(writer.place(full.first[0]), Some((2, 0)));
            reader.join().unwrap();
        });
    }
}

/// Two readers of the moving key, and one of them looks for others too.
#[test]
fn two_readers_while_a_word_moves() {
    check(Some(3), || {
        let full = Full::new(3);
        let table = full.table.clone();
        let mut counts = [0; BUCKETS];
        let mut writer = full.writer(&table, &mut counts);
        let own = looks(&table, full.first[0], is_own);
        // The newcomer is found late or early, but never as another's.
        let new = full.more(3, 0);
        let newcomer = looks(&table, new, |found| assert!(matches!(found, None | Some(OTHER))));
        assert!(writer.insert(new, OTHER));
        own.join().unwrap();
        newcomer.join().unwrap();
    });
}

/// The word has moved; then that of the newcomer goes, another one comes, and goes on as well.
#[test]
fn a_key_is_found_while_others_take_its_old_slot() {
    check(None, || {
        let full = Full::new(0);
        let table = full.table.clone();
        let mut counts = [0; BUCKETS];
        let mut writer = full.writer(&table, &mut counts);
        let reader = looks(&table, full.first[0], is_own);
        let (new, next) = (full.more(0, 0), full.more(0, 1));
        assert!(writer.insert(new, OTHER));
        writer.remove(new);
        assert!(writer.insert(next, OTHER));
        assert_eq!(writer.place(next), Some((0, 0)));
        reader.join().unwrap();
    });
}

/// The key sits in its second bucket. Its filter bit lies in a word of its first bucket that comes,
/// goes, moves and gets other indexes; and other keys need the same bit and need it no longer.
#[test]
fn a_filter_bit_outlives_its_word_and_its_other_keys() {
    const FILTER: usize = 1;
    check(None, || {
        let full = Full::new(FILTER);
        let table = full.table.clone();
        let mut counts = [0; BUCKETS];
        let mut writer = full.writer(&table, &mut counts);
        // They take slots 0 and 1; what sat there moves to bucket 2, from slot 1 a word with the bit.
        let (new, holder) = (full.more(FILTER, 0), full.more(FILTER, 1));
        assert!(writer.insert(new, OTHER));
        assert!(writer.insert(holder, OTHER + 1));
        let own = full.first[0];
        assert_eq!(writer.place(own), Some((2, 0)));
        assert_eq!(writer.place(holder), Some((0, FILTER)));
        let reader = looks(&table, own, is_own);
        // Room in bucket 1: the third one goes there with the same bit, and then to its first bucket.
        let third = full.more(FILTER, 2);
        writer.remove(full.second[6]);
        assert!(writer.insert(third, OTHER + 2));
        assert_eq!(writer.place(third), Some((1, 6)));
        writer.replace(holder, OTHER + 3);
        writer.remove(third);
        writer.remove(holder);
        assert!(writer.insert(third, OTHER + 4));
        assert_eq!(writer.place(third), Some((0, FILTER)));
        reader.join().unwrap();
        // The bit goes with the last key that needs it: then a miss reads one line.
        let lines = |absent| {
            let mut lines = 0_u32;
            assert_eq!(table.find_plain(absent, &mut lines), None);
            lines
        };
        let absent = full.more(FILTER, 3);
        for (gone, read) in [(new, 2), (third, 2), (own, 1)] {
            writer.remove(gone);
            assert_eq!(lines(absent), read);
        }
        // And it did not move with the word.
        assert_eq!(lines(spi(&table, 2, 0, FILTER, 0)), 1);
    });
}

/// Another key gives the filter bit back just before the one that is looked for needs it.
#[test]
fn a_filter_bit_goes_and_comes_again() {
    const FILTER: usize = 4;
    check(None, || {
        let full = Full::new(FILTER);
        let table = full.table.clone();
        let mut counts = [0; BUCKETS];
        let mut writer = full.writer(&table, &mut counts);
        writer.remove(full.second[0]);
        let third = full.more(FILTER, 0);
        assert!(writer.insert(third, OTHER));
        assert_eq!(writer.place(third), Some((1, 0)));
        let own = full.first[0];
        let reader = looks(&table, own, is_own);
        writer.remove(third);
        assert!(writer.insert(full.second[0], OTHER));
        assert!(writer.insert(full.more(FILTER, 1), OTHER));
        assert_eq!(writer.place(own), Some((2, 0)));
        reader.join().unwrap();
    });
}

/// A key that is replaced, moves, and is replaced again: old or new, never neither, never back.
#[test]
fn a_replaced_key_never_goes_back() {
    check(None, || {
        let full = Full::new(1);
        let table = full.table.clone();
        let mut counts = [0; BUCKETS];
        let mut writer = full.writer(&table, &mut counts);
        let own = full.first[0];
        let reader = {
            let table = table.clone();
            thread::spawn(move || {
                let first = table.find_plain(own, &mut ()).unwrap();
                let second = table.find(own).unwrap();
                let third = table.find_plain(own, &mut ()).unwrap();
                let order = [first, second, third];
                assert!(
                    order.is_sorted() && order.iter().all(|index| (OWN..OWN + 3).contains(index))
                );
            })
        };
        writer.replace(own, OWN + 1);
        assert!(writer.insert(full.more(1, 0), OTHER));
        writer.replace(own, OWN + 2);
        reader.join().unwrap();
    });
}

/// One slot under two keys in turn, and a reader of either.
#[test]
fn a_key_is_never_found_under_anothers_word() {
    for second in [false, true] {
        check(None, move || {
            let table = Arc::new(Shared::new(BUCKETS));
            let (one, two) = (spi(&table, 0, 1, 0, 0), spi(&table, 0, 1, 0, 1));
            let mut counts = [0; BUCKETS];
            let mut writer = table.writer(&mut counts);
            assert!(writer.insert(one, 1));
            let reader = if second {
                looks(&table, two, |found| assert!(matches!(found, None | Some(2))))
            } else {
                looks(&table, one, |found| assert!(matches!(found, None | Some(1 | 3))))
            };
            writer.remove(one);
            assert!(writer.insert(two, 2));
            assert_eq!(writer.place(two), Some((0, 0)));
            writer.remove(two);
            assert!(writer.insert(one, 3));
            reader.join().unwrap();
        });
    }
}

/// Two SPIs of one direct slot, one after the other, and the state of the SA in it.
struct Slot {
    words: direct::Shared,
    /// Half of the handle of the SA that lives there.
    name: AtomicU32,
    /// The SPI whose SA the fields belong to.
    fields: UnsafeCell<u32>,
    now: AtomicU32,
    seen: [Seen; 1],
}

// SAFETY: loom watches every access to the fields.
unsafe impl Sync for Slot {}
// SAFETY: as above.
unsafe impl Send for Slot {}

const FIRST: u32 = 0x1001;
const SECOND: u32 = 0x2001;
/// A name that no handle has.
const DEAD: u32 = 1;

impl Slot {
    fn new() -> Self {
        Self {
            words: direct::Shared::new(1),
            name: AtomicU32::new(0),
            fields: UnsafeCell::new(0),
            now: AtomicU32::new(1),
            seen: [Seen::offline()],
        }
    }

    fn epochs(&self) -> Epochs<'_> {
        Epochs::new(&self.now, &self.seen)
    }

    /// Writer: an SPI is reserved, then its SA lives: as `SadWriter::activate` does it.
    fn reserve_and_activate(&self, spi: u32, generation: u32) {
        self.words.reserve(spi);
        let sa = self.words.sa(spi, generation);
        // SAFETY: no reader has an SA of this generation.
        self.fields.with_mut(|fields| unsafe { *fields = spi });
        self.name.store(sa.to_raw() as u32, Ordering::Release);
        self.words.activate(sa);
    }

    /// Writer: in this order. A worker that has seen the epoch may still have a handle, and must find
    /// it stale.
    fn delete(&self, spi: u32) -> u32 {
        self.words.clear(spi);
        self.name.store(DEAD, Ordering::Release);
        self.epochs().advance()
    }

    /// Reader: looks an SPI up and checks a packet on the SA found, if that still lives.
    fn pass(&self, spi: u32) -> Option<SaId> {
        let found = self.words.find(spi)?;
        self.check(found, spi);
        Some(found)
    }

    fn check(&self, sa: SaId, spi: u32) -> bool {
        let alive = self.name.load(Ordering::Acquire) == sa.to_raw() as u32;
        if alive {
            // SAFETY: alive since the last quiescent state.
            assert_eq!(self.fields.with(|fields| unsafe { *fields }), spi);
        }
        alive
    }
}

#[test]
fn a_direct_slot_goes_from_one_spi_to_another() {
    check(None, || {
        let slot = Arc::new(Slot::new());
        let reader = {
            let slot = slot.clone();
            thread::spawn(move || {
                let epochs = slot.epochs();
                epochs.online(0);
                let kept = slot.pass(FIRST);
                let new = slot.pass(SECOND);
                assert!(kept.is_none_or(|sa| sa == slot.words.sa(FIRST, 1)));
                assert!(new.is_none_or(|sa| sa == slot.words.sa(SECOND, 2)));
                epochs.quiescent(0);
                // A handle that was kept is found out, even when the slot has another SA.
                if let Some(sa) = kept {
                    slot.check(sa, FIRST);
                }
                let new_before = new.is_some();
                let new = slot.pass(SECOND);
                assert!(new.is_some() || !new_before);
                assert!(new.is_none() || slot.pass(FIRST).is_none());
                epochs.offline(0);
            })
        };
        slot.reserve_and_activate(FIRST, 1);
        let epoch = slot.delete(FIRST);
        if slot.epochs().passed(epoch) {
            slot.reserve_and_activate(SECOND, 2);
        }
        reader.join().unwrap();
    });
}

/// What a reader may say of one SPI, in this order: unknown, larval, live, unknown.
#[test]
fn a_reserved_spi_is_larval_till_its_sa_lives() {
    check(None, || {
        let slot = Arc::new(Slot::new());
        let reader = {
            let slot = slot.clone();
            thread::spawn(move || {
                let stage = |seen| match (slot.words.is_larval(FIRST), seen) {
                    (None, 0) => 0,
                    (Some(true), 0..=1) => 1,
                    (Some(false), 0..=2) => 2,
                    (None, 1..) => 3,
                    other => panic!("{other:?}"),
                };
                let seen = stage(stage(stage(0)));
                // Who finds it live finds the SA alive, or deleted.
                if seen == 2 {
                    assert!(slot.name.load(Ordering::Acquire) != 0);
                }
                if seen == 3 {
                    assert_eq!(slot.words.find(FIRST), None);
                }
            })
        };
        slot.reserve_and_activate(FIRST, 1);
        slot.delete(FIRST);
        reader.join().unwrap();
    });
}
