//! Replay windows that two workers share.

use super::*;

/// A packet all the way; true if it was accepted.
fn pass(worker: &mut Worker<'_>, full: u64) -> bool {
    let packet = esp(1, 2, REPLAY_SPI, full as u32);
    let ingress = Ingress::default();
    let reason = match worker.arrive(&packet, ingress) {
        // A number so late that it is taken for one of the next 2^32: the ICV does not fit.
        Arrival::Sa(sa, outer) if outer.sequence_high != (full >> 32) as u32 => {
            worker.report(sa, &outer, Reason::AuthFailed, ingress).reason()
        }
        Arrival::Sa(sa, outer) => {
            let opened = Opened { sa, outer: &outer, next_header: 4, payload: &INNER };
            worker.check(&opened, ingress).reason()
        }
        Arrival::Drop(refusal) => Some(refusal.reason),
        Arrival::Pass(_) => unreachable!("ESP"),
    };
    assert!(matches!(reason, None | Some(Reason::Replay | Reason::AuthFailed)), "{reason:?}");
    reason.is_none()
}

/// Where all readers wait for each other, unless one of them has failed.
#[derive(Default)]
struct Barrier {
    arrived: AtomicUsize,
    failed: AtomicBool,
}

impl Barrier {
    /// True for one of them.
    fn wait(&self) -> bool {
        let arrived = self.arrived.fetch_add(1, Ordering::AcqRel) + 1;
        while self.arrived.load(Ordering::Acquire) < arrived.next_multiple_of(READERS) {
            assert!(!self.failed.load(Ordering::Relaxed), "another one failed");
            thread::yield_now();
        }
        arrived.is_multiple_of(READERS)
    }
}

/// Two workers and an SA whose window they share; `deal` gives each of them its numbers above `base`.
/// How often each number was accepted.
fn shared_window(
    window: u32,
    esn: bool,
    base: u64,
    numbers: usize,
    deals: &[[Vec<u32>; READERS]],
    after_deal: impl Fn(&[AtomicU8], usize) + Sync,
) -> Vec<AtomicU8> {
    let capacity = Capacity {
        tunnels: 1,
        children: 1,
        selectors: 1,
        sas: 1,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: window,
        workers: READERS as u32,
    };
    let mut gateway = Gateway::new(&capacity, [5, 6]).unwrap();
    let (control, mut workers) = gateway.split();
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).unwrap();
    let child = control.add_child(tunnel, &[host(9)], &[host(5)]).unwrap();
    control.publish().unwrap();
    let replay = Replay { window, esn, start: ReplayStart::Top(base) };
    let sa = control.add_sa(child, &SaParams { replay, ..Key::Spi(REPLAY_SPI).params() }).unwrap();
    let accepted: Vec<_> = (0..=numbers).map(|_| AtomicU8::new(0)).collect();
    let barrier = Barrier::default();
    thread::scope(|scope| {
        for nth in 0..READERS {
            let mut worker = workers.take().unwrap();
            let (accepted, barrier, after_deal) = (&accepted, &barrier, &after_deal);
            scope.spawn(move || {
                let _alarm = Alarm(&barrier.failed);
                for (round, deal) in deals.iter().enumerate() {
                    barrier.wait();
                    for number in &deal[nth] {
                        if pass(&mut worker, base + u64::from(*number)) {
                            accepted[*number as usize].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    if barrier.wait() {
                        after_deal(accepted, round);
                    }
                    worker.quiescent();
                }
            });
        }
    });
    let top = control.sa_state(sa).unwrap().top;
    assert!(top <= base + numbers as u64);
    accepted
}

/// Where windows begin: at once, and where the low half of a number with ESN wraps meanwhile.
const BASES: [(bool, u64); 3] = [(false, 0), (true, 0), (true, (7 << 32) - 5000)];

#[test]
fn two_workers_accept_each_number_of_a_window_once() {
    let rounds = turns() as usize / 10;
    for window in [64_u32, 1024] {
        for (esn, base) in BASES {
            let mut random = Random(u64::from(window) + base);
            // A deal is half a window, so none of its numbers can leave it; and some numbers of deals
            // before, inside the window and left of it.
            let half = window / 2;
            let deals: Vec<[Vec<u32>; READERS]> = (0..rounds)
                .map(|round| {
                    let first = round as u32 * half + 1;
                    let mut hands: [Vec<u32>; READERS] = Default::default();
                    for number in first..first + half {
                        match random.below(4) {
                            0 => hands.iter_mut().for_each(|hand| hand.push(number)),
                            nth => hands[nth % READERS].push(number),
                        }
                        if random.below(4) == 0 {
                            let back = random.below(2 * window as usize) as u32;
                            hands[random.below(READERS)].push(number.saturating_sub(back).max(1));
                        }
                    }
                    for hand in &mut hands {
                        for at in (1..hand.len()).rev() {
                            hand.swap(at, random.below(at + 1));
                        }
                    }
                    hands
                })
                .collect();
            let all_once = |accepted: &[AtomicU8], round: usize| {
                let first = round * half as usize + 1;
                let numbers = accepted.iter().enumerate().skip(first).take(half as usize);
                for (number, times) in numbers {
                    let times = times.load(Ordering::Relaxed);
                    assert_eq!(times, 1, "window {window}, {esn}, {base:#x} + {number}");
                }
            };
            let numbers = rounds * half as usize;
            let accepted = shared_window(window, esn, base, numbers, &deals, all_once);
            assert!(accepted.iter().skip(1).all(|times| times.load(Ordering::Relaxed) == 1));
        }
    }
}

/// The same without a stop: workers run apart, numbers leave the window before they come, and jumps
/// skip whole turns of its ring.
#[test]
fn two_workers_accept_no_number_twice() {
    let count = turns() * 40;
    for window in [64, 1024] {
        for (esn, base) in BASES {
            let mut random = Random(u64::from(window) ^ base);
            let mut hands: [Vec<u32>; READERS] = Default::default();
            let mut number = 1;
            for _ in 0..count {
                number += match random.below(100) {
                    0 => random.below(3 * window as usize) as u32,
                    _ => 1,
                };
                let late = number.saturating_sub(random.below(window as usize) as u32).max(1);
                for number in [number, late] {
                    match random.below(3) {
                        0 => hands.iter_mut().for_each(|hand| hand.push(number)),
                        nth => hands[nth % READERS].push(number),
                    }
                }
            }
            let accepted = shared_window(window, esn, base, number as usize, &[hands], |_, _| ());
            let once = accepted.iter().filter(|times| times.load(Ordering::Relaxed) == 1).count();
            let most = accepted.iter().map(|times| times.load(Ordering::Relaxed)).max();
            assert_eq!(most, Some(1), "window {window}, {esn}, {base:#x}");
            assert!(once > count as usize / 4, "{once} of {count}");
        }
    }
}
