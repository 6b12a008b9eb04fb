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
        for high in [0, 1, u32::MAX] {
            let mut w = ReplayWindow::new(size, true).unwrap().with_high(high);
            let full = w.precheck(0x9000_0000).unwrap();
            assert_eq!(full, u64::from(high) << 32 | 0x9000_0000);
            w.commit(full).unwrap();
            assert_eq!(w.precheck(0x9000_0001), Ok(full + 1));
        }
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

#[test]
fn a_ring_has_one_word_more_than_its_window_and_a_power_of_two_of_them() {
    assert_eq!([0, 1, 32, 33, 64, 65, 96, 97, 4096].map(words_for), [0, 2, 2, 4, 4, 4, 4, 8, 256]);
}

#[test]
fn a_clone_goes_its_own_way() {
    let mut a = window(64, true, 1 << 40);
    let mut b = a.clone();
    a.commit((1 << 40) + 1).unwrap();
    assert_eq!((a.top(), b.top()), ((1 << 40) + 1, 1 << 40));
    assert_eq!(b.commit(1 << 40), Err(Replayed));
    assert_eq!(b.commit((1 << 40) + 1), Ok(()));
}

#[test]
fn a_number_farther_ahead_than_tags_reach_is_refused() {
    for top in [1, 77 << 37] {
        let (mut w, shared) = (window(64, true, top), Shared::new(64, top));
        assert_eq!(w.commit(top + FARTHEST + 1), Err(Replayed));
        assert_eq!(shared.commit(top + FARTHEST + 1), Err(Replayed));
        assert_eq!(w.commit(top + FARTHEST), Ok(()));
        assert_eq!(shared.commit(top + FARTHEST), Ok(()));
    }
    // No guess is refused for it: the farthest is one short of 2^32 ahead.
    assert_eq!(window(1, true, 1 << 33).precheck(u32::MAX), Ok((1 << 33) + (1 << 32) - 1));
}

/// A sender that uses every second word of the ring only, all around the tags.
#[test]
fn a_word_that_no_number_falls_on_keeps_up() {
    let shared = Shared::new(64, 1);
    for turn in 1..=20_u64 {
        let full = turn * FARTHEST + 1;
        assert_eq!(shared.commit(full), Ok(()));
        assert!(shared.ring_is_current());
        assert_eq!(shared.commit(full - 40), Ok(()), "turn {turn}");
        assert_eq!(shared.commit(full - 40), Err(Replayed));
        assert_eq!(shared.commit(full + 40), Ok(()));
    }
}

/// Steps from a number to the next: near ones, and such that tags come round.
fn step() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => -5000i64..5000,
        2 => -100i64..100,
        1 => 0..1i64 << 33,
        1 => 0..FARTHEST as i64,
        2 => (-5000i64..5000).prop_map(|near| FARTHEST as i64 + near),
        1 => FARTHEST as i64..i64::MAX,
    ]
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

    /// The same with 64-bit numbers whose tags wrap, shared and owned, from any start.
    #[test]
    fn shared_and_owned_agree_with_a_set(
        size in prop_oneof![Just(1u32), Just(64), Just(65), 1u32..=MAX_WINDOW],
        start in prop_oneof![Just(0u64), 0..1u64 << 40, Just(u64::MAX - (1 << 38))],
        before in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let owned = ReplayWindow::new(size, true).unwrap();
        let (mut owned, shared, mut top) = if before {
            let high = (start >> 32) as u32;
            (owned.with_high(high), Shared::before(size, high), u64::from(high) << 32)
        } else {
            (owned.with_top(start), Shared::new(size, start), start)
        };
        let mut seen = BTreeSet::new();
        if !before {
            seen.insert(top);
        }
        let mut at = top;
        for step in steps {
            let next = at.saturating_add_signed(step);
            let fresh = if next > top {
                next - top <= FARTHEST
            } else {
                next > 0 && top - next < u64::from(size) && !seen.contains(&next)
            };
            if let Ok(full) = shared.precheck(next as u32) {
                // Whatever it guesses may be committed.
                prop_assert!(full > top || (top - full < u64::from(size) && !seen.contains(&full)));
            } else {
                prop_assert!(!fresh || next - top >= 1 << 31, "next {next} top {top}");
            }
            prop_assert_eq!(owned.precheck(next as u32), shared.precheck(next as u32));
            prop_assert_eq!(owned.commit(next).is_ok(), fresh, "next {} top {}", next, top);
            prop_assert_eq!(shared.commit(next).is_ok(), fresh, "next {} top {}", next, top);
            if fresh {
                seen.insert(next);
                top = top.max(next);
                at = next;
            }
            prop_assert_eq!((owned.top(), shared.top()), (top, top));
            prop_assert!(shared.ring_is_current() && owned.window().ring_is_current());
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
            prop_assert_eq!(w.window().guess(full as u32, top, true), Some(full));
        }
    }
}

/// Only where cells may be shared.
#[cfg(target_has_atomic = "64")]
mod threads {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const THREADS: u64 = 4;

    /// Lets the threads commit, each in its own order, the numbers after `top`, `lag` of them
    /// apart at most. Counts how often each was accepted.
    fn race(shared: &Shared, top: u64, count: usize, lag: usize) -> Vec<usize> {
        let accepted: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        let accepted = &accepted[..];
        std::thread::scope(|scope| {
            for thread in 1..=THREADS {
                scope.spawn(move || {
                    let mut random = thread.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let mut order: Vec<_> = (0..count).collect();
                    for part in order.chunks_mut(lag) {
                        for at in 1..part.len() {
                            random ^= random << 13;
                            random ^= random >> 7;
                            random ^= random << 17;
                            part.swap(at, (random % (at as u64 + 1)) as usize);
                        }
                    }
                    let mut last = 0;
                    for at in order {
                        if shared.commit(top + 1 + at as u64).is_ok() {
                            accepted[at].fetch_add(1, Ordering::Relaxed);
                        }
                        assert!(shared.top() >= last.max(top));
                        last = shared.top();
                    }
                });
            }
        });
        accepted.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn threads_accept_each_number_of_a_window_exactly_once() {
        for round in 0..30 {
            let top = (round << 33) + round;
            let shared = Shared::new(MAX_WINDOW, top);
            let accepted = race(&shared, top, MAX_WINDOW as usize, MAX_WINDOW as usize);
            assert!(accepted.iter().all(|&times| times == 1));
            assert_eq!(shared.top(), top + u64::from(MAX_WINDOW));
        }
    }

    #[test]
    fn threads_accept_no_number_twice_while_the_window_moves() {
        for (size, lag) in [(1, 3), (32, 100), (64, 64), (64, 1000)] {
            let shared = Shared::new(size, 7);
            let accepted = race(&shared, 7, 40_000, lag);
            assert!(accepted.iter().all(|&times| times <= 1));
            assert_eq!(shared.top(), 40_007);
            assert!(shared.ring_is_current());
        }
    }
}
