//! Anti-replay of an SA that threads share, under every interleaving that loom finds. Run it with
//! `RUSTFLAGS="--cfg loom" cargo test --release -p espial --test loom_replay`.
#![cfg(loom)]

use espial::replay::Shared;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

/// The smallest ring: two words, so that every second block has the same.
const SIZE: u32 = 32;
/// The farthest a packet may be ahead: a quarter of the numbers after which tags come round.
const FARTHEST: u64 = 1 << 35;

/// A worker that commits `numbers` one after the other; which of them were accepted. The window
/// it sees never goes back, and its ring keeps up.
fn worker(window: &Shared, numbers: &[u64]) -> Vec<u64> {
    let mut last = window.top();
    let mut accepted = Vec::new();
    for &full in numbers {
        if window.commit(full).is_ok() {
            assert!(window.top() >= full);
            accepted.push(full);
        }
        let top = window.top();
        assert!(top >= last, "top went back");
        last = top;
    }
    accepted
}

fn spawn(window: &Arc<Shared>, numbers: &'static [u64]) -> JoinHandle<Vec<u64>> {
    let window = window.clone();
    thread::spawn(move || worker(&window, numbers))
}

/// How often `full` was accepted in a run.
fn times(full: u64, runs: &[Vec<u64>]) -> usize {
    runs.iter().flatten().filter(|&&accepted| accepted == full).count()
}

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn of_three_copies_one_is_accepted() {
    check(3, || {
        let window = Arc::new(Shared::new(SIZE, 100));
        let others = [spawn(&window, &[101]), spawn(&window, &[101])];
        let mut runs = vec![worker(&window, &[101])];
        runs.extend(others.map(|other| other.join().unwrap()));
        assert_eq!(times(101, &runs), 1);
        assert_eq!(window.top(), 101);
    });
}

#[test]
fn numbers_of_one_word_do_not_lose_each_other() {
    loom::model(|| {
        let window = Arc::new(Shared::new(SIZE, 100));
        let other = spawn(&window, &[103, 99]);
        let mut runs = vec![worker(&window, &[99, 102])];
        runs.push(other.join().unwrap());
        runs.push(worker(&window, &[99, 102, 103]));
        for full in [99, 102, 103] {
            assert_eq!(times(full, &runs), 1, "{full}");
        }
        assert_eq!(window.top(), 103);
    });
}

/// 95 is in the word of the blocks 2 and 4; 130 takes it over.
#[test]
fn a_number_races_with_a_jump_that_takes_its_word() {
    check(3, || {
        let window = Arc::new(Shared::new(SIZE, 96));
        let others = [spawn(&window, &[95]), spawn(&window, &[130, 95])];
        let mut runs = vec![worker(&window, &[95, 130])];
        runs.extend(others.map(|other| other.join().unwrap()));
        runs.push(worker(&window, &[95, 130]));
        assert!(times(95, &runs) <= 1);
        assert_eq!(times(130, &runs), 1);
        assert_eq!(window.top(), 130);
    });
}

/// 200 skips the blocks 4 and 5, so the word of 95 is moved by a thread that sets no bit in it.
#[test]
fn a_number_races_with_a_jump_over_its_word() {
    loom::model(|| {
        let window = Arc::new(Shared::new(SIZE, 96));
        let other = spawn(&window, &[200, 95]);
        let mut runs = vec![worker(&window, &[95, 190])];
        assert!(window.ring_is_current());
        runs.push(other.join().unwrap());
        runs.push(worker(&window, &[95, 190, 200]));
        assert!(times(95, &runs) <= 1);
        assert_eq!(times(190, &runs), 1);
        assert_eq!(times(200, &runs), 1);
    });
}

#[test]
fn two_jumps_race_and_the_farther_one_stands() {
    check(3, || {
        let window = Arc::new(Shared::new(SIZE, 96));
        let others = [spawn(&window, &[200]), spawn(&window, &[330, 310])];
        let mut runs = Vec::new();
        assert!(window.ring_is_current());
        runs.extend(others.map(|other| other.join().unwrap()));
        assert!(times(200, &runs) <= 1);
        assert_eq!((times(330, &runs), times(310, &runs)), (1, 1));
        assert_eq!(window.top(), 330);
        assert!(window.ring_is_current());
    });
}

/// Whoever sees a top sees a ring that has come along, from any side of a jump. The one who looks
/// is a spawned thread: loom runs the first thread first, and forgets that a thread has loaded a
/// cell once another one loads it too, so a store after that would not be tried before the load.
#[test]
fn a_top_that_is_seen_has_its_ring() {
    check(3, || {
        let window = Arc::new(Shared::new(SIZE, 96));
        let looks = {
            let window = window.clone();
            thread::spawn(move || {
                assert!(window.ring_is_current());
                assert!(window.ring_is_current());
            })
        };
        let other = spawn(&window, &[264]);
        worker(&window, &[200]);
        looks.join().unwrap();
        other.join().unwrap();
        assert!(window.ring_is_current());
    });
}

/// One thread may sleep in its commit of 95 while the others' numbers come round to the same tag,
/// with the same empty bitmap.
#[test]
fn a_number_is_not_accepted_again_when_its_word_comes_round() {
    const ROUND: &[u64] =
        &[95, 96 + FARTHEST, 96 + 2 * FARTHEST, 96 + 3 * FARTHEST, 96 + 4 * FARTHEST];
    loom::model(|| {
        let window = Arc::new(Shared::new(SIZE, 96));
        let other = spawn(&window, &[95]);
        let mut runs = vec![worker(&window, ROUND)];
        runs.push(other.join().unwrap());
        assert!(times(95, &runs) <= 1);
    });
}

/// One thread may sleep in its commit, or while it moves the word that 200 skips, while the window moves so far that their tags
/// seem later than those in use: it must not put them there.
#[test]
fn a_thread_left_far_behind_does_not_turn_a_word_back() {
    const TOP: u64 = 300 + 2 * FARTHEST;
    const FAR: &[u64] = &[96 + FARTHEST, 96 + 2 * FARTHEST, 150 + 2 * FARTHEST, TOP];
    for late in [&[95][..], &[120], &[200]] {
        loom::model(move || {
            let window = Arc::new(Shared::new(SIZE, 96));
            let other = spawn(&window, late);
            worker(&window, FAR);
            other.join().unwrap();
            assert!(window.ring_is_current());
            for fresh in [TOP - 1, TOP - 20, TOP + 1, TOP + 30] {
                assert!(window.commit(fresh).is_ok(), "{fresh}");
            }
        });
    }
}

/// The first packet and a guess beside it: a subspace too far or too near never.
#[test]
fn a_guess_beside_the_first_packet() {
    const FIRST: u64 = 7 << 32 | 0xffff_fffe;
    loom::model(|| {
        let window = Arc::new(Shared::before(SIZE, 7));
        let other = {
            let window = window.clone();
            thread::spawn(move || {
                // The same subspace, before and after the first one.
                assert_eq!(window.precheck(u32::MAX), Ok(7 << 32 | 0xffff_ffff));
                // Beyond its end, as soon as the first one is seen.
                let seen = window.top() == FIRST;
                let guess = window.precheck(3).unwrap();
                assert!(guess == 8 << 32 | 3 || !seen && guess == 7 << 32 | 3, "{guess:x}");
            })
        };
        assert_eq!(window.commit(FIRST), Ok(()));
        assert_eq!(window.precheck(3), Ok(8 << 32 | 3));
        other.join().unwrap();
    });
}
