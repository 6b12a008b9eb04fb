//! Calls of gateways over images with arguments that nobody sane would pass: whole images, damaged ones and none, swapped
//! while SAs live and a worker reads. See `hostile`.
//!
//! What lies in an image that was damaged and signed anew is the fuzz target `image`'s to try.
#![allow(unsafe_code, reason = "calls the exported functions as C does")]
#![allow(clippy::undocumented_unsafe_blocks, reason = "every pointer is to a local, or NULL")]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one call a block, and its arguments")]

use core::ffi::c_void;
use core::mem::{size_of, zeroed};
use core::ptr::{null, null_mut};
use std::vec;
use std::vec::Vec;

use espial::image::ImageOptions;
use espial::selector::Selector;
use espial::{Capacity, Gateway, Mode, Modes};

use crate::config::*;
use crate::convert;
use crate::handle::{espial_gateway, espial_worker};
use crate::hostile::{
    Choices, Line, ask_headers, call, chosen_packet, chosen_selector, plausible_sa,
};
use crate::image::*;
use crate::matcher::espial_selector_check;
use crate::packet::*;
use crate::setup::*;
use crate::types::*;

/// Two tunnels and up to four Child SAs, numbered through; the first three stand in every image.
const TUNNELS: [&str; 2] = ["hub", "spoke"];
const CHILDREN: [&str; 4] = ["a", "b", "c", "d"];

/// An image, and what it was made of.
struct Made {
    room: Vec<Line>,
    octets: usize,
    /// Of each Child SA.
    selectors: Vec<Vec<Selector>>,
}

impl Made {
    fn at(&self) -> *const c_void {
        self.room.as_ptr().cast()
    }
}

/// Images of the same Child SAs, but for what the input changes: the last one's selectors, or another Child SA.
fn images(choices: &mut Choices<'_>) -> Vec<Made> {
    let mut list = |most: u8| -> Vec<Selector> {
        let count = 1 + choices.octet() % most;
        let list = (0..count).filter_map(|_| {
            let one = chosen_selector(choices);
            call(&mut (), |_| unsafe { espial_selector_check(&one) })
                .then(|| convert::selector(&one).ok())?
        });
        list.collect()
    };
    // More than a list holds: a tree.
    let first = [list(3), list(60), list(3)];
    let changes = [list(3), list(3)];
    let mut made = Vec::new();
    for number in 0..3 {
        let mut all = first.to_vec();
        match number {
            0 => {}
            1 => all[2] = changes[0].clone(),
            _ => all.push(changes[1].clone()),
        }
        if all.iter().any(Vec::is_empty) {
            continue;
        }
        made.push(image(&all));
    }
    made
}

fn image(selectors: &[Vec<Selector>]) -> Made {
    let count = selectors.iter().map(Vec::len).sum::<usize>() as u32;
    let capacity = Capacity {
        tunnels: 2,
        children: 4,
        selectors: count,
        sas: 1,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: 0,
        workers: 1,
    };
    let mut gateway = Gateway::new(&capacity, [1, 2]).expect("small");
    let (control, _) = gateway.split();
    let tunnels = [(); 2].map(|()| control.add_tunnel(Mode::StrictSa, Modes::NONE).expect("room"));
    for (number, selectors) in selectors.iter().enumerate() {
        control.add_child_selectors(tunnels[number / 2], selectors).expect("valid");
    }
    let children = &CHILDREN[..selectors.len()];
    let options = ImageOptions { tunnels: &TUNNELS, children, ..ImageOptions::HOST };
    let words = control.to_image(&options).expect("small");
    let octets: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut room = vec![Line([0; 64]); octets.len().div_ceil(64) + 1];
    for (line, octets) in room.iter_mut().zip(octets.chunks(64)) {
        line.0[..octets.len()].copy_from_slice(octets);
    }
    Made { room, octets: octets.len(), selectors: selectors.to_vec() }
}

/// What [`espial_image_check`] says.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
struct Said {
    octets: usize,
    tunnels: u32,
    children: u32,
}

fn said_of(image: *const c_void, len: usize) -> Option<Said> {
    let mut said = Said { octets: 0, tunnels: 0, children: 0 };
    call(&mut said, |out| unsafe {
        let (octets, tunnels, children) =
            (&raw mut (*out).octets, &raw mut (*out).tunnels, &raw mut (*out).children);
        espial_image_check(image, len, octets, tunnels, children)
    })
    .then_some(said)
}

/// Damages a copy of an image: it is refused, wherever it was hit.
fn damage(choices: &mut Choices<'_>, made: &Made) -> Option<(Vec<Line>, usize)> {
    let mut room = made.room.clone();
    let mut len = made.octets;
    match choices.octet() % 4 {
        0 => len = choices.number() as usize % made.octets,
        _ => {
            let at =
                (usize::from(choices.octet()) << 8 | usize::from(choices.octet())) % made.octets;
            let change = choices.octet();
            room[at / 64].0[at % 64] ^= change;
            if change == 0 {
                return None;
            }
        }
    }
    Some((room, len))
}

/// A gateway over an image, and what is known of it.
struct Over<'m> {
    gateway: *mut espial_gateway,
    worker: *mut espial_worker,
    /// In use.
    made: &'m Made,
    /// SAs that live, and the number of the Child SA of each.
    sas: Vec<(espial_sa, usize)>,
    spi: u32,
}

impl<'m> Over<'m> {
    fn child(&self, number: u32) -> Option<espial_child> {
        let mut child: espial_child = unsafe { zeroed() };
        call(&mut child, |out| unsafe { espial_gateway_image_child(self.gateway, number, out) })
            .then_some(child)
    }

    /// Numbers and names lead to the same Child SAs, and to none that there is not.
    fn find(&self, choices: &mut Choices<'_>) {
        let number = choices.number() as u32;
        let by_number = self.child(number);
        let count = self.made.selectors.len();
        assert_eq!(by_number.is_some(), (number as usize) < count);
        let mut tunnel: espial_tunnel = unsafe { zeroed() };
        let is_one = call(&mut tunnel, |out| unsafe {
            espial_gateway_image_tunnel(self.gateway, number, out)
        });
        assert_eq!(is_one, number < 2);
        let (which, tunnel) = (usize::from(choices.octet() % 4), usize::from(choices.octet() % 2));
        let name = |name: &str| (name.as_ptr().cast(), name.len());
        let ((hub, hub_len), (a, mut a_len)) = (name(TUNNELS[tunnel]), name(CHILDREN[which]));
        let cut = choices.octet() % 8 == 7;
        if cut {
            a_len = 0;
        }
        let mut found: espial_child = unsafe { zeroed() };
        let is_found = call(&mut found, |out| unsafe {
            espial_gateway_image_find(self.gateway, hub, hub_len, a, a_len, out)
        });
        assert_eq!(is_found, !cut && which / 2 == tunnel && which < count);
        if is_found {
            let same = self.child(which as u32).expect("found by name");
            assert_eq!((found.index, found.generation), (same.index, same.generation));
        }
    }

    fn add(&mut self, choices: &mut Choices<'_>) {
        let number = u32::from(choices.octet() % 4);
        let Some(child) = self.child(number) else { return };
        let child = choices.spoil(child);
        self.spi += 1;
        let params = plausible_sa(0x100 + self.spi);
        let mut sa: espial_sa = unsafe { zeroed() };
        let add = |out| unsafe { espial_sa_add(self.gateway, child, &params, out) };
        if call(&mut sa, add) {
            let number = (0..4).find(|number| {
                self.child(*number).is_some_and(|one| {
                    (one.index, one.generation) == (child.index, child.generation)
                })
            });
            self.sas.push((sa, number.expect("an SA of a Child SA that is there") as usize));
        }
    }

    fn delete(&mut self, choices: &mut Choices<'_>) {
        if self.sas.is_empty() {
            return;
        }
        let at = usize::from(choices.octet()) % self.sas.len();
        let (sa, _) = self.sas[at];
        let spoilt = choices.spoil(sa);
        if call(&mut (), |_| unsafe { espial_sa_delete(self.gateway, spoilt, 1) }) {
            assert_eq!((spoilt.slot, spoilt.spi), (sa.slot, sa.spi));
            self.sas.swap_remove(at);
        }
    }

    /// A packet is judged by the selectors of its SA in the image that is in use.
    fn judge(&self, choices: &mut Choices<'_>) {
        let packet = chosen_packet(choices);
        let Some((sa, number)) = self.sas.get(usize::from(choices.octet()) % self.sas.len().max(1))
        else {
            return;
        };
        let verdict = ask_headers(self.worker, *sa, &packet);
        if let Ok(known) = convert::inner(&packet) {
            let covers = self.made.selectors[*number].iter().any(|one| one.covers(&known));
            assert_eq!(verdict.unwrap() == ESPIAL_VERDICT_ACCEPT, covers);
        }
    }

    /// Another image, a damaged one or none in the place of this one.
    fn swap(&mut self, choices: &mut Choices<'_>, all: &'m [Made]) {
        let next = &all[usize::from(choices.octet()) % all.len()];
        let swap = |image, len| unsafe { espial_gateway_swap_image(self.gateway, image, len) };
        match choices.octet() % 4 {
            0 => {
                assert_eq!(swap(null(), next.octets), ESPIAL_ENULL);
                let odd = unsafe { next.at().cast::<u8>().add(4) }.cast();
                assert_eq!(swap(odd, next.octets), ESPIAL_EALIGN);
            }
            1 => {
                if let Some((room, len)) = damage(choices, next) {
                    let status = swap(room.as_ptr().cast(), len);
                    assert!([ESPIAL_EWORDS, ESPIAL_ENULL].contains(&status), "status {status}");
                }
            }
            _ => match swap(next.at(), next.octets) {
                ESPIAL_OK => {
                    // Who has an SA is in both, with the same selectors.
                    for (_, number) in &self.sas {
                        assert!(self.made.selectors.get(*number) == next.selectors.get(*number));
                    }
                    self.made = next;
                }
                ESPIAL_EINUSE => assert!(!self.sas.is_empty()),
                status => assert_eq!(status, ESPIAL_EBUSY),
            },
        }
    }

    fn rest(&self, choices: &mut Choices<'_>) {
        let quiescent = choices.octet().is_multiple_of(2);
        let status = unsafe {
            match quiescent {
                true => espial_worker_quiescent(self.worker),
                false => espial_worker_idle(self.worker),
            }
        };
        assert_eq!(status, ESPIAL_OK);
        // Nobody reads the image before this one any more.
        assert_eq!(unsafe { espial_gateway_image_settled(self.gateway) }, ESPIAL_OK);
    }
}

/// Runs calls that the input chooses; true if packets were judged.
pub(crate) fn calls(input: &[u8]) -> bool {
    let mut choices = Choices(input);
    let all = images(&mut choices);
    for one in &all {
        let children = one.selectors.len() as u32;
        let said = Said { octets: one.octets, tunnels: 2, children };
        assert_eq!(said_of(one.at(), one.octets + usize::from(choices.octet() % 64)), Some(said));
        if let Some((room, len)) = damage(&mut choices, one) {
            assert_eq!(said_of(room.as_ptr().cast(), len), None, "a damaged image was taken");
        }
    }
    let Some(first) = all.first() else { return false };
    let plausible = espial_capacity {
        size: size_of::<espial_capacity>() as u32,
        tunnels: 2,
        children: 4,
        selectors: 0,
        sas: 4,
        sas_dst: 0,
        sas_dst_src: 0,
        workers: 1,
        sas_allocated: 0,
        replay_window: 0,
    };
    let mut memory = vec![Line([0; 64]); 1024];
    let mem = memory.as_mut_ptr().cast::<c_void>();
    let mut gateway: *mut espial_gateway = null_mut();
    // The gateway is its caller's between two calls.
    let init =
        |gateway: &mut *mut espial_gateway, capacity: &espial_capacity, len, (image, image_len)| {
            call(gateway, |out| unsafe {
                espial_gateway_init_image(mem, len, capacity, 1, 2, image, image_len, out)
            })
        };
    let whole = (first.at(), first.octets);
    if let Some((room, len)) = damage(&mut choices, first) {
        assert!(!init(&mut gateway, &plausible, memory.len() * 64, (room.as_ptr().cast(), len)));
    }
    // Room that is said to be too small is too small.
    let capacity = choices.spoil(plausible);
    let mut size = 0;
    let sized = call(&mut size, |out| unsafe { espial_gateway_image_size(&capacity, out) });
    let len = usize::from(choices.octet()) * 64;
    let made = init(&mut gateway, &capacity, len, whole);
    assert!(!made || (sized && size <= len && capacity.tunnels >= 2));
    if made {
        assert_eq!(unsafe { espial_gateway_release(gateway) }, ESPIAL_OK);
    }
    assert!(
        init(&mut gateway, &plausible, memory.len() * 64, whole),
        "the plausible capacity fits"
    );

    let mut worker_memory = [Line([0; 64]); 8];
    let mut worker: *mut espial_worker = null_mut();
    assert!(call(&mut worker, |out| unsafe {
        let mem = worker_memory.as_mut_ptr().cast::<c_void>();
        espial_quiet_worker_init(mem, size_of_val(&worker_memory), gateway, 0, out)
    }));
    let mut over = Over { gateway, worker, made: first, sas: Vec::new(), spi: 0 };
    let mut judged = false;
    while !choices.0.is_empty() {
        match choices.octet() % 8 {
            0 => over.find(&mut choices),
            1 => over.add(&mut choices),
            2 => over.delete(&mut choices),
            3 => over.swap(&mut choices, &all),
            4 => over.rest(&mut choices),
            5 => {
                let status = unsafe { espial_gateway_image_settled(gateway) };
                assert!([ESPIAL_OK, ESPIAL_EBUSY].contains(&status));
                // What an image says is not changed by calls.
                let mut tunnel: espial_tunnel = unsafe { zeroed() };
                assert!(!call(&mut tunnel, |out| unsafe { espial_tunnel_add(gateway, 0, 0, out) }));
            }
            _ => {
                judged |= !over.sas.is_empty();
                over.judge(&mut choices);
            }
        }
    }
    assert_eq!(unsafe { espial_gateway_release(gateway) }, ESPIAL_EATTACHED);
    assert_eq!(unsafe { espial_worker_release(worker) }, ESPIAL_OK);
    assert_eq!(unsafe { espial_gateway_release(gateway) }, ESPIAL_OK);
    judged
}

#[test]
fn hostile_calls_of_images_keep_their_word() {
    let mut judged = 0;
    for seed in 0..2000 {
        judged += u32::from(calls(&crate::hostile::tests::seeded(seed, 900)));
    }
    assert!(judged > 500, "packets were judged in {judged} runs");
}
