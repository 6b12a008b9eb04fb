//! The table against a plain list, at its limits, and against keys that an attacker chose.

use std::collections::HashSet;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::word::LONGEST_STEP;
use super::*;
use crate::few::few;
use crate::headers::Endpoints;

const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfeed_beef];

fn v4(src: u32, src_port: u16) -> FlowKey {
    let endpoints = Endpoints::V4 { src, dst: 0xcb00_7101 };
    FlowKey { endpoints, protocol: 17, src_port, dst_port: 4500 }
}

fn v6(src: u128, src_port: u16) -> FlowKey {
    let endpoints = Endpoints::V6 { src, dst: 0x2001_0db8 << 96 | 1 };
    FlowKey { endpoints, protocol: 17, src_port, dst_port: 4500 }
}

/// Octets that look random, the same each time.
fn scrambled(number: u64) -> u64 {
    Compact { rest: number >> 8, addrs: [number, 0, 0, 0] }.hash([7, 7])
}

fn random_key(number: u64) -> FlowKey {
    let (a, b) = (scrambled(number), scrambled(!number));
    match a & 1 {
        0 => v4((a >> 32) as u32, b as u16),
        _ => v6(u128::from(a) << 64 | u128::from(b), (a >> 8) as u16),
    }
}

/// What the table ought to do, in a list.
struct Twin {
    capacity: u32,
    entries: Vec<TwinEntry>,
    elapsed_ms: u64,
    /// The caller's time that the elapsed time was last brought up to.
    caller_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct TwinEntry {
    key: FlowKey,
    value: u32,
    ttl_ms: u32,
    last_ms: u64,
}

impl Twin {
    fn new(capacity: u32) -> Self {
        Self { capacity, entries: Vec::new(), elapsed_ms: 0, caller_ms: 0 }
    }

    fn tick(&mut self, now_ms: u64) {
        if now_ms >= self.caller_ms {
            self.elapsed_ms += now_ms - self.caller_ms;
            self.caller_ms = now_ms;
        } else if self.caller_ms - now_ms > BACK_MS {
            self.caller_ms = now_ms;
        }
    }

    fn idle_ms(&self, entry: &TwinEntry) -> u64 {
        self.elapsed_ms - entry.last_ms
    }

    fn ended(&self, entry: &TwinEntry) -> bool {
        self.idle_ms(entry) > u64::from(entry.ttl_ms)
    }

    fn at(&self, key: &FlowKey) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == *key && !self.ended(entry))
    }

    fn find(&mut self, key: &FlowKey) -> Option<u32> {
        let at = self.at(key)?;
        self.entries[at].last_ms = self.elapsed_ms;
        Some(self.entries[at].value)
    }

    /// Takes note of what the table told.
    fn told(&mut self, gone: &Gone<u32>) {
        let at = self.entries.iter().position(|entry| {
            entry.key == gone.key && entry.value == gone.value && self.ended(entry)
        });
        let entry = self.entries.remove(at.expect("told of what had not ended, or twice"));
        assert_eq!(self.idle_ms(&entry), gone.idle_ms);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Find(u8),
    Burst(Vec<u8>),
    Insert(u8, u32),
    Remove(u8),
    RemoveOdd,
    SetTtl(u8, u32),
    Expire(u32),
    Forward(u64),
    Back(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any::<u8>().prop_map(Op::Find),
        1 => prop::collection::vec(any::<u8>(), 0..70).prop_map(Op::Burst),
        8 => (any::<u8>(), prop_oneof![0..3_u32, 900..1100_u32, Just(u32::MAX)])
            .prop_map(|(key, ttl_ms)| Op::Insert(key, ttl_ms)),
        1 => any::<u8>().prop_map(Op::Remove),
        1 => Just(Op::RemoveOdd),
        1 => (any::<u8>(), 0..2000_u32).prop_map(|(key, ttl_ms)| Op::SetTtl(key, ttl_ms)),
        1 => (0..300_u32).prop_map(Op::Expire),
        3 => prop_oneof![0..3_u64, 400..1200_u64, Just(1 << 32), Just(LONGEST_STEP / 1024)]
            .prop_map(Op::Forward),
        1 => prop_oneof![0..20_u64, BACK_MS - 1..BACK_MS + 3, Just(1 << 40)].prop_map(Op::Back),
    ]
}

/// Keys of both families, a key and its reverse among them.
fn key_of(number: u8) -> FlowKey {
    let key = match number & 2 {
        0 => v4(u32::from(number >> 2), 500),
        _ => v6(u128::from(number >> 2), 500),
    };
    if number & 1 == 0 { key } else { key.reversed() }
}

fn agrees(table: &mut FlowTable<'_, u32>, ops: &[Op], start_ms: u64) {
    let mut twin = Twin::new(table.capacity());
    let (mut now_ms, mut value) = (start_ms, 0);
    table.clock.heard_ms = start_ms;
    twin.caller_ms = start_ms;
    for op in ops {
        match op {
            Op::Forward(ms) => now_ms = now_ms.saturating_add(*ms),
            Op::Back(ms) => now_ms = now_ms.saturating_sub(*ms),
            _ => {}
        }
        twin.tick(now_ms);
        match op {
            Op::Forward(_) | Op::Back(_) => {
                let key = key_of(0);
                let expected = twin.at(&key).map(|at| twin.entries[at]);
                let expected = expected.map(|entry| (entry.value, twin.idle_ms(&entry)));
                assert_eq!(table.peek(&key, now_ms).map(|(value, idle)| (*value, idle)), expected);
                assert_eq!(table.expire(now_ms, 0, |_| {}), 0);
            }
            Op::Find(number) => {
                let key = key_of(*number);
                assert_eq!(table.find(&key, now_ms).copied(), twin.find(&key));
            }
            Op::Burst(numbers) => {
                let keys: Vec<FlowKey> = numbers.iter().copied().map(key_of).collect();
                let mut found = Vec::new();
                table.find_burst(keys.iter().copied(), now_ms, |number, key, value| {
                    assert_eq!((number, *key), (found.len(), keys[number]));
                    found.push(value.copied());
                });
                let expected: Vec<_> = keys.iter().map(|key| twin.find(key)).collect();
                assert_eq!(found, expected);
            }
            Op::Insert(number, ttl_ms) => {
                let key = key_of(*number);
                value += 1;
                let (held, limit) = (twin.entries.len(), twin.capacity as usize);
                match (table.insert(&key, value, *ttl_ms, now_ms), twin.find(&key)) {
                    (Ok(Inserted::Existing(found)), expected) => assert_eq!(Some(*found), expected),
                    (Ok(Inserted::New { value: new, gone }), None) => {
                        assert_eq!(*new, value);
                        assert!(held < limit || gone.is_some());
                        gone.iter().for_each(|gone| twin.told(gone));
                        let last_ms = twin.elapsed_ms;
                        twin.entries.push(TwinEntry { key, value, ttl_ms: *ttl_ms, last_ms });
                    }
                    (Err(full), None) => {
                        assert_eq!(full.capacity, twin.capacity);
                        assert_eq!(held, limit, "full before it was");
                    }
                    (outcome, expected) => panic!("{outcome:?}, not {expected:?}"),
                }
            }
            Op::Remove(number) => {
                let key = key_of(*number);
                let at = twin.at(&key);
                let expected = at.map(|at| twin.entries.remove(at).value);
                assert_eq!(table.remove(&key, now_ms), expected);
            }
            Op::RemoveOdd => {
                let (mut removed, mut expected) = (Vec::new(), Vec::new());
                let which = |_: &FlowKey, value: &u32| {
                    let odd = value % 2 == 1;
                    removed.extend(odd.then_some(*value));
                    odd
                };
                let count = table.remove_if(now_ms, which);
                let entries = std::mem::take(&mut twin.entries);
                let (gone, left) = entries
                    .into_iter()
                    .partition(|entry| entry.value % 2 == 1 && !twin.ended(entry));
                twin.entries = left;
                expected.extend(gone.iter().map(|entry: &TwinEntry| entry.value));
                removed.sort_unstable();
                expected.sort_unstable();
                assert_eq!(count as usize, removed.len());
                assert_eq!(removed, expected);
            }
            Op::SetTtl(number, ttl_ms) => {
                let key = key_of(*number);
                let at = twin.at(&key);
                assert_eq!(table.set_ttl(&key, *ttl_ms, now_ms), at.is_some());
                if let Some(at) = at {
                    twin.entries[at].ttl_ms = *ttl_ms;
                }
            }
            Op::Expire(budget) => {
                let mut told = 0;
                let removed = table.expire(now_ms, *budget, |gone| {
                    told += 1;
                    twin.told(gone);
                });
                assert_eq!(removed, told);
                if *budget >= table.slots() {
                    assert!(!twin.entries.iter().any(|entry| twin.ended(entry)));
                }
            }
        }
        assert_eq!(table.len() as usize, twin.entries.len());
        assert_eq!(table.is_empty(), twin.entries.is_empty());
    }
    let mut live: Vec<_> =
        table.iter(now_ms).map(|(key, value, idle)| (*value, idle, key)).collect();
    let entries = twin.entries.iter().filter(|entry| !twin.ended(entry));
    let mut expected: Vec<_> =
        entries.map(|entry| (entry.value, twin.idle_ms(entry), entry.key)).collect();
    live.sort_by_key(|(value, ..)| *value);
    expected.sort_by_key(|(value, ..)| *value);
    assert_eq!(live, expected);
}

proptest! {
    #![proptest_config(few())]
    /// A table of 14 holds all its keys in the same two buckets: full, colliding and past its deadlines
    /// at once.
    #[test]
    fn agrees_with_a_list(
        ops in prop::collection::vec(op(), 0..400),
        capacity in prop_oneof![Just(14_u32), 1..8_u32, 40..120_u32],
        start_ms in prop_oneof![Just(0_u64), any::<u32>().prop_map(u64::from), Just(u64::MAX - 5000)],
    ) {
        agrees(&mut FlowTable::new(capacity, SEED).unwrap(), &ops, start_ms);
    }

}

proptest! {
    #[test]
    fn keys_survive_their_compact_form(src: u128, dst: u128, v6: bool, protocol: u8, src_port: u16, dst_port: u16) {
        let endpoints = if v6 {
            Endpoints::V6 { src, dst }
        } else {
            Endpoints::V4 { src: src as u32, dst: dst as u32 }
        };
        let key = FlowKey { endpoints, protocol, src_port, dst_port };
        prop_assert_eq!(Compact::of(&key).key(), key);
        prop_assert_eq!(key.reversed().reversed(), key);
    }

    #[test]
    fn both_directions_have_one_worker(number: u64, workers in 1..70_u32) {
        let (key, workers) = (random_key(number), NonZeroU32::new(workers).unwrap());
        let worker = shard(SEED, &key, workers);
        prop_assert!(worker < workers.get());
        prop_assert_eq!(worker, shard(SEED, &key.reversed(), workers));
    }
}

/// An IPv4 connection is another one than that of IPv6 addresses with the same octets.
#[test]
fn families_are_apart() {
    let mut table = FlowTable::new(10, SEED).unwrap();
    let word = 7_u128 << 32 | 9;
    let four = FlowKey { endpoints: Endpoints::V4 { src: 7, dst: 9 }, ..v4(0, 1) };
    let six = FlowKey { endpoints: Endpoints::V6 { src: word << 64, dst: 0 }, ..four };
    table.insert(&four, 4_u32, 1, 0).unwrap();
    assert_eq!(table.find(&six, 0), None);
}

/// Idle for exactly its time to live it is there, a millisecond later it is not; a match starts anew.
#[test]
fn an_entry_ends_when_idle_for_longer_than_its_time() {
    let mut table = FlowTable::new(10, SEED).unwrap();
    let key = v4(1, 1);
    table.insert(&key, 5_u32, 180_000, 1_000).unwrap();
    assert_eq!(table.peek(&key, 181_000), Some((&5, 180_000)));
    assert_eq!(table.peek(&key, 181_001), None);
    assert_eq!(table.find(&key, 181_000), Some(&mut 5));
    assert_eq!(table.find(&key, 361_000), Some(&mut 5));
    assert_eq!(table.find(&key, 541_001), None);
    // It is told of once.
    let mut gone = Vec::new();
    assert_eq!(table.expire(541_001, 1_000, |entry| gone.push(*entry)), 1);
    assert_eq!(table.expire(541_001, 1_000, |entry| gone.push(*entry)), 0);
    assert_eq!(gone, [Gone { key, value: 5, idle_ms: 180_001 }]);
}

/// A clock set back by a day brings nothing to life and ends nothing; entries age on from there.
#[test]
fn a_clock_set_back_neither_revives_nor_ends() {
    const DAY: u64 = 86_400_000;
    let mut table = FlowTable::new(10, SEED).unwrap();
    let (ended, live) = (v4(1, 1), v4(2, 2));
    table.insert(&ended, 1_u32, 1_000, 2 * DAY).unwrap();
    table.insert(&live, 2, 5_000, 2 * DAY).unwrap();
    assert_eq!(table.find(&ended, 2 * DAY + 1_001), None);
    assert_eq!(table.find(&ended, DAY), None);
    assert_eq!(table.peek(&live, DAY), Some((&2, 1_001)));
    assert_eq!(table.peek(&live, DAY + 3_999), Some((&2, 5_000)));
    assert_eq!(table.peek(&live, DAY + 4_000), None);
}

/// Workers whose stamps tremble by a millisecond do not make time run faster.
#[test]
fn a_trembling_clock_does_not_run_fast() {
    let mut table = FlowTable::new(10, SEED).unwrap();
    let (key, other) = (v4(1, 1), v4(2, 2));
    table.insert(&key, 1_u32, 1_000, 5_000).unwrap();
    for _ in 0..10_000 {
        assert_eq!(table.find(&other, 5_001), None);
        assert_eq!(table.find(&other, 5_000), None);
    }
    assert_eq!(table.peek(&key, 5_001), Some((&1, 1)));
}

/// Forty bits of time wrap within the table; entries do not notice.
#[test]
fn the_tables_clock_wraps() {
    let mut table = FlowTable::new(10, SEED).unwrap();
    table.clock.at = TIME - 500;
    let key = v4(1, 1);
    table.insert(&key, 1_u32, 1_000, 0).unwrap();
    assert_eq!(table.peek(&key, 999), Some((&1, 999)));
    assert_eq!(table.peek(&key, 1_001), None);
    assert_eq!(table.find(&key, 1_000), Some(&mut 1));
    assert_eq!(table.peek(&key, 2_000), Some((&1, 1_000)));
    assert_eq!(table.peek(&key, 2_001), None);
}

/// All sizes hold what they say, with random keys and with patterns: counting addresses, counting ports.
#[test]
fn every_size_holds_its_capacity() {
    let patterns: [fn(u64) -> FlowKey; 4] = [
        random_key,
        |number| v4(number as u32, 500),
        |number| v4((number >> 16) as u32, number as u16),
        |number| v6(u128::from(number) << 64, 500),
    ];
    for (nth, pattern) in patterns.into_iter().enumerate() {
        for capacity in (1..200).chain([1_000, 20_000]) {
            let seed = [scrambled(nth as u64), u64::from(capacity)];
            let mut table = FlowTable::new(capacity, seed).unwrap();
            for number in 0..u64::from(capacity) {
                table.insert(&pattern(number), number, 1_000, 0).unwrap();
            }
            let full = Full { capacity };
            assert_eq!(table.insert(&pattern(u64::from(capacity)), 0, 1_000, 0), Err(full));
            let found =
                (0..u64::from(capacity)).map(|number| table.find(&pattern(number), 0).copied());
            assert!(found.enumerate().all(|(number, value)| value == Some(number as u64)));
        }
    }
}

/// What a call looks at, whatever the keys: here all 16 words of a key's buckets have its tag.
#[test]
fn a_lookup_reads_two_lines_and_sixteen_entries_at_most() {
    let mut table = FlowTable::<u32>::new(14, SEED).unwrap();
    let key = v4(1, 1);
    let home = table.home(&Compact::of(&key));
    for (number, word) in table.words.as_flattened_mut().iter_mut().enumerate() {
        *word = word_of(home.tag, 1_000);
        table.entries[number].key = Compact::of(&v4(2, number as u16));
    }
    let mut lines = 0;
    assert_eq!(table.find_counted(&key, 0, &mut lines), None);
    assert_eq!(lines, 2 + 16);
}

/// Full of random keys, a miss reads two lines, and a hit one or two and an entry.
#[test]
fn lookups_at_capacity_read_three_lines() {
    let mut table = FlowTable::new(50_000, SEED).unwrap();
    for number in 0..50_000 {
        table.insert(&random_key(number), 0_u32, 1_000, 0).unwrap();
    }
    for number in 0..100_000 {
        let mut lines = 0;
        let hit = table.find_counted(&random_key(number), 0, &mut lines).is_some();
        assert_eq!(hit, number < 50_000);
        assert!(lines <= 3, "{lines} lines");
    }
}

/// An insert looks at no more than it may, also where there is no place.
#[test]
fn an_insert_searches_no_further_than_it_may() {
    let mut table = FlowTable::new(5_000, SEED).unwrap();
    for number in 0..5_000 {
        let mut lines = 0;
        table.insert_counted(&random_key(number), 0_u32, 1_000, 0, 0, &mut lines).unwrap();
        // Those of the key beside those of the search.
        assert!(lines as usize <= 2 + SEARCHED);
    }
    // All slots taken, though the table says that there is room.
    let mut lines = 0;
    let taken = table.words.as_flattened().iter().position(|word| *word != 0).unwrap();
    let word = table.words.as_flattened()[taken];
    table.words.as_flattened_mut().iter_mut().filter(|at| **at == 0).for_each(|at| *at = word);
    table.len -= 1;
    assert!(table.insert_counted(&random_key(9_999_999), 0, 1_000, 0, 0, &mut lines).is_err());
    assert_eq!(lines as usize, 2 + SEARCHED);
}

/// Newcomers never push out what lives; what ended makes room at once.
#[test]
fn a_flood_leaves_live_entries_alone() {
    let mut table = FlowTable::new(1_000, SEED).unwrap();
    for number in 0..1_000 {
        table.insert(&random_key(number), number, 10_000, 0).unwrap();
    }
    for number in 1_000..200_000 {
        assert!(table.insert(&random_key(number), number, 10_000, 5_000).is_err());
    }
    for number in 0..500 {
        assert_eq!(table.find(&random_key(number), 9_000), Some(&mut { number }));
    }
    // At 12 s the other half has ended. Newcomers take slots of theirs, one each.
    let mut admitted = 0;
    for number in 200_000..201_000 {
        match table.insert(&random_key(number), number, 10_000, 12_000) {
            Ok(Inserted::New { gone, .. }) => {
                assert!(gone.is_some_and(|gone| (500..1_000).contains(&gone.value)));
                admitted += 1;
            }
            Ok(Inserted::Existing(_)) => panic!("nobody knew it"),
            Err(full) => assert_eq!(full.capacity, 1_000),
        }
    }
    assert!((300..=500).contains(&admitted), "{admitted}");
    assert_eq!(table.len(), 1_000);
    assert!((0..500).all(|number| table.find(&random_key(number), 12_000).is_some()));
}

#[test]
fn workers_get_even_shares() {
    for workers in [2_u32, 3, 7, 16] {
        let mut shares = vec![0_u32; workers as usize];
        let count = 64_000;
        for number in 0..count {
            let worker = shard(SEED, &v4(number, 500), NonZeroU32::new(workers).unwrap());
            shares[worker as usize] += 1;
        }
        let fair = count / workers;
        assert!(shares.iter().all(|&share| share.abs_diff(fair) < fair / 20), "{shares:?}");
    }
}

/// A worker's table is filled evenly by the keys that were sharded to it with the same seed.
#[test]
fn sharding_does_not_crowd_the_table() {
    let workers = NonZeroU32::new(16).unwrap();
    let mut table = FlowTable::new(10_000, SEED).unwrap();
    let mine = (0_u64..).map(random_key).filter(|key| shard(SEED, key, workers) == 3);
    for key in mine.take(10_000) {
        table.insert(&key, 0_u8, 1_000, 0).unwrap();
    }
    let crowd: HashSet<usize> =
        table.iter(0).map(|(key, ..)| table.buckets(table.home(&Compact::of(&key)))[0]).collect();
    assert!(crowd.len() * 10 > table.words.len() * 9, "{} first buckets", crowd.len());
}

#[test]
fn sizes_are_checked() {
    type Table<'m> = FlowTable<'m, u32>;
    assert_eq!(Table::octets(0), Err(SetupError::ZeroCapacity { field: "flows" }));
    let limit = SetupError::CapacityLimit { field: "flows", limit: 7 * ((1 << 24) - 2) };
    assert_eq!(Table::octets(u32::MAX), Err(limit));
    let octets = Table::octets(100).unwrap();
    let mut memory = vec![MaybeUninit::new(0xaa); octets];
    let mut table = Table::new_in(&mut memory, 100, SEED).unwrap();
    assert!(table.is_empty());
    assert_eq!(table.find(&v4(1, 1), 0), None);
    assert_eq!(table.slots(), 18 * 8);
    let short = Table::new_in(&mut memory[..octets - 128], 100, SEED);
    assert_eq!(short.err(), Some(SetupError::MemoryTooSmall));
}

#[test]
fn a_value_of_20_octets_shares_the_line_of_its_key() {
    assert_eq!(size_of::<Entry<[u32; 5]>>(), 64);
}
