//! The publication protocol under every interleaving that loom finds. Run it with
//! `RUSTFLAGS="--cfg loom" cargo test --release -p espial --test loom_publish`.
#![cfg(loom)]
#![allow(unsafe_code, reason = "the reader's contract is what is modelled")]

use espial::publish::{Buffers, Current, Epochs, Publisher, Seen, SharedCell};
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

/// Loom wants `'static`.
fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// The memory of a model, leaked: loom wants `'static`, and each execution is short.
struct Model {
    buffers: Buffers<'static, [u32; 2]>,
    epochs: Epochs<'static>,
}

fn model(workers: usize) -> Model {
    let (version, epoch) = (leak(AtomicU32::new(0)), leak(AtomicU32::new(1)));
    let seen: &'static [Seen] = Vec::leak((0..workers).map(|_| Seen::offline()).collect());
    let cell = || &*Box::leak(Box::new(SharedCell::new([0, 0])));
    Model {
        buffers: Buffers::new(Current::new(version), [cell(), cell()]),
        epochs: Epochs::new(epoch, seen),
    }
}

/// Reads the current snapshot: both words are of one version, never a mix, never older than the
/// last one seen.
fn read(model: &Model, last: &mut u32) {
    let version = model.buffers.version();
    // SAFETY: the callers below are online, and quiescent only after this call.
    let [a, b] = unsafe { model.buffers.read(version, |buffer| *buffer) };
    assert_eq!((a, b), (version, version));
    assert!(version >= *last);
    *last = version;
}

#[test]
fn a_reader_sees_one_version_while_the_writer_publishes_thrice() {
    loom::model(|| {
        let shared = model(1);
        let Model { buffers, epochs } = shared;
        let reader = thread::spawn(move || {
            let model = Model { buffers, epochs };
            let mut last = 0;
            model.epochs.online(0);
            read(&model, &mut last);
            model.epochs.quiescent(0);
            read(&model, &mut last);
            model.epochs.offline(0);
        });
        let mut publisher = Publisher::new(buffers, epochs);
        for _ in 0..3 {
            // Busy is an answer too: the readers go on with what they have.
            let _ = publisher.publish(|version, _, buffer| {
                *buffer = [version, version];
                true
            });
        }
        reader.join().unwrap();
    });
}

#[test]
fn two_readers_one_of_them_going_to_sleep() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let Model { buffers, epochs } = model(2);
        let readers: Vec<_> = (0..2)
            .map(|worker| {
                thread::spawn(move || {
                    let model = Model { buffers, epochs };
                    let mut last = 0;
                    model.epochs.online(worker);
                    read(&model, &mut last);
                    if worker == 0 {
                        model.epochs.offline(worker);
                        model.epochs.online(worker);
                    } else {
                        model.epochs.quiescent(worker);
                    }
                    read(&model, &mut last);
                    model.epochs.offline(worker);
                })
            })
            .collect();
        let mut publisher = Publisher::new(buffers, epochs);
        for _ in 0..2 {
            let _ = publisher.publish(|version, _, buffer| {
                *buffer = [version, version];
                true
            });
        }
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

/// Retirement of an SA slot: unlink, advance, and only when the epoch has passed write it again.
#[test]
fn a_retired_slot_is_written_only_when_no_reader_can_hold_it() {
    loom::model(|| {
        let Model { epochs, .. } = model(1);
        let link = leak(AtomicU32::new(1));
        let slot = leak(SharedSlot(loom::cell::UnsafeCell::new(7_u32)));
        let reader = thread::spawn(move || {
            epochs.online(0);
            if link.load(Ordering::Acquire) == 1 {
                // SAFETY: linked when looked at, online since: not written meanwhile.
                assert_eq!(slot.0.with(|value| unsafe { *value }), 7);
            }
            epochs.offline(0);
        });
        link.store(0, Ordering::Release);
        let epoch = epochs.advance();
        if epochs.passed(epoch) {
            // SAFETY: every worker has passed the epoch in which the slot was unlinked.
            slot.0.with_mut(|value| unsafe { *value = 8 });
        }
        reader.join().unwrap();
    });
}

struct SharedSlot(loom::cell::UnsafeCell<u32>);
// SAFETY: loom watches every access.
unsafe impl Sync for SharedSlot {}
