//! A gateway over an image beside the gateway that the image was made of; and images that lie.

use std::hash::Hasher;
use std::mem::MaybeUninit;

use espial::headers::{Encap, Endpoints, Fragment, InnerHeaders, Ipsec, NextLayer, OuterHeaders};
use espial::image::{Image, ImageOptions, Names, SwapError};
use espial::inbound::{Arrival, Ingress};
use espial::selector::{AddrRange, PortRange, Selector};
use espial::{
    Capacity, ChildId, Control, Decision, Gateway, Mode, Modes, Reason, SaId, SaKey, SaParams, Spi,
    TunnelId, Verdict, Worker, gateway,
};

use super::Choices;

const SEED: [u64; 2] = [0x1a6e, 0x0bad];
const ALWAYS: Ingress = Ingress { now_ms: 0, interface: 0 };

fn number(choices: &mut Choices<'_>) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|_| choices.octet()))
}

fn range(choices: &mut Choices<'_>, v6: bool) -> AddrRange {
    let (a, b) = (choices.octet(), choices.octet());
    // Narrow ones, or each would cover nearly all packets.
    let (lo, hi) = match choices.below(3) {
        0 => (a.min(b), a.max(b)),
        1 => (a, a),
        _ => (a & 0xf0, a | 0x0f),
    };
    match v6 {
        true => AddrRange::V6 { lo: u128::from(lo) << 60, hi: (u128::from(hi) + 1) << 60 },
        false => AddrRange::V4 { lo: lo.into(), hi: hi.into() },
    }
}

fn selector(choices: &mut Choices<'_>) -> Selector {
    let v6 = choices.below(3) == 0;
    let protocol = [0, 6, 17, 1][choices.below(4)];
    let mut ports = || match choices.below(4) {
        _ if protocol == 0 => PortRange::ANY,
        0 => PortRange::OPAQUE,
        1 => {
            let port = choices.octet().into();
            PortRange::new(port, port + 9).expect("in order")
        }
        _ => PortRange::ANY,
    };
    let (remote_ports, mut local_ports) = (ports(), ports());
    if protocol == 1 {
        local_ports = PortRange::ANY;
    }
    let (remote, local) = (range(choices, v6), range(choices, v6));
    Selector { remote, local, protocol, remote_ports, local_ports }
}

/// The name of a Child SA, and its selectors.
type Child = (String, Vec<Selector>);

/// Tunnels, each with a policy and Child SAs.
pub struct Scene {
    tunnels: Vec<(Mode, Modes, Vec<Child>)>,
}

impl Scene {
    pub fn new(choices: &mut Choices<'_>) -> Self {
        let tunnels = (0..1 + choices.below(3)).map(|nth| {
            let mode = Mode::ALL[choices.below(4)];
            let shadow = Modes::from_bits(choices.octet() % 16).expect("four modes");
            let children = (0..1 + choices.below(5)).map(|child| {
                // Lists, leaves, groups and fans.
                let most = [1, 3, 12, 40, 90][choices.below(5)];
                let selectors = (0..1 + choices.below(most)).map(|_| selector(choices)).collect();
                (format!("child {nth} {child}"), selectors)
            });
            let children = children.collect();
            (mode, shadow, children)
        });
        Self { tunnels: tunnels.collect() }
    }

    /// Some of it changed: what a second image is made of.
    fn edited(&self, choices: &mut Choices<'_>) -> Self {
        let mut tunnels = self.tunnels.clone();
        let of = choices.below(tunnels.len());
        let (mode, _, children) = &mut tunnels[of];
        match choices.below(4) {
            0 => *mode = Mode::ALL[choices.below(4)],
            1 => children.push((String::from("one more"), vec![selector(choices)])),
            2 => children.last_mut().expect("at least one").1.push(selector(choices)),
            _ => children.last_mut().expect("at least one").0.push('\''),
        }
        Self { tunnels }
    }

    fn capacity(&self) -> Capacity {
        let children = || self.tunnels.iter().flat_map(|tunnel| &tunnel.2);
        Capacity {
            tunnels: 4,
            // As many as edits may come to.
            children: children().count() as u32 + 2,
            selectors: children().map(|child| child.1.len() as u32).sum::<u32>() + 2,
            sas: 40,
            sas_dst: 0,
            sas_dst_src: 0,
            sas_allocated: 0,
            replay_window: 0,
            workers: 1,
        }
    }

    fn configure(&self, control: &mut Control<'_>) -> Vec<ChildId> {
        let mut children = Vec::new();
        for (mode, shadow, own) in &self.tunnels {
            let tunnel = control.add_tunnel(*mode, *shadow).expect("room");
            for (_, selectors) in own {
                children.push(control.add_child_selectors(tunnel, selectors).expect("room"));
            }
        }
        control.publish().expect("nobody reads");
        children
    }

    pub fn image(&self, control: &Control<'_>) -> Vec<u64> {
        let tunnels: Vec<String> =
            (0..self.tunnels.len()).map(|nth| format!("hub {nth}")).collect();
        let tunnels: Vec<&str> = tunnels.iter().map(String::as_str).collect();
        let children = self.tunnels.iter().flat_map(|tunnel| &tunnel.2);
        let children: Vec<&str> = children.map(|child| child.0.as_str()).collect();
        let options = ImageOptions {
            tunnels: &tunnels,
            children: &children,
            names: Names::Kept,
            ..ImageOptions::HOST
        };
        control.to_image(&options).expect("small enough").to_vec()
    }
}

fn packet(choices: &mut Choices<'_>) -> InnerHeaders {
    let (src, dst) = (choices.octet(), choices.octet());
    let protocol = [6, 17, 1, 47][choices.below(4)];
    let value = u16::from(choices.octet());
    let (fragment, next_layer) = match choices.below(8) {
        0 => (Fragment::NonInitial, NextLayer::Opaque),
        _ if protocol == 1 => (Fragment::None, NextLayer::Icmp(value)),
        _ if protocol == 47 => (Fragment::None, NextLayer::Opaque),
        _ => (Fragment::None, NextLayer::Ports { src: value, dst: choices.octet().into() }),
    };
    let endpoints = match choices.below(3) {
        0 => Endpoints::V6 { src: u128::from(src) << 60 | 7, dst: u128::from(dst) << 60 | 5 },
        _ => Endpoints::V4 { src: src.into(), dst: dst.into() },
    };
    InnerHeaders { endpoints, protocol, next_layer, fragment }
}

fn key(child: usize) -> SaKey {
    SaKey::new(Ipsec::Esp, Spi(0x1000 + child as u32), None, None).expect("an SPI")
}

fn judge(worker: &mut Worker<'_>, child: usize, inner: &InnerHeaders) -> Option<Verdict> {
    let outer = OuterHeaders {
        endpoints: Endpoints::V4 { src: 1, dst: 2 },
        flow_label: 0,
        ipsec: Ipsec::Esp,
        encap: Encap::None,
        spi: Spi(0x1000 + child as u32),
        sequence: 1,
        sequence_high: 0,
        sport: 0,
        dport: 0,
        offset: 20,
        octets: 100,
    };
    match worker.lookup(&outer, ALWAYS) {
        Arrival::Sa(sa, outer) => Some(worker.check_headers(sa, &outer, inner, 60, ALWAYS)),
        _ => None,
    }
}

/// What two gateways may not differ in: all but generations of Child SAs.
fn said(verdict: &Verdict) -> impl PartialEq + std::fmt::Debug + use<> {
    let by = match verdict.decision {
        Decision::Accept(by) => Ok(by.index()),
        Decision::Drop(refusal) => {
            let belongs_to = refusal.belongs_to.map(ChildId::index);
            Err((refusal.reason, belongs_to, refusal.field, refusal.nearest_index))
        }
    };
    let arrived = verdict.arrived.map(|(tunnel, child)| (tunnel.index(), child.index()));
    (by, arrived, verdict.shadow_asked, verdict.shadow_accepts)
}

/// A gateway and its image say the same of every packet, before and after a second image came.
pub fn agree(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let choices = &mut choices;
    let scene = Scene::new(choices);
    let capacity = scene.capacity();
    let mut compiled = Gateway::new(&capacity, SEED).expect("small");
    let (control, mut workers) = compiled.split();
    let ids = scene.configure(control);
    let words = scene.image(control);
    let image = Image::open(&words).expect("as it was made");

    // What comes later is there from the beginning, as in flash.
    let edited = scene.edited(choices);
    let mut other = Gateway::new(&edited.capacity(), SEED).expect("small");
    let (other_control, mut other_workers) = other.split();
    let other_ids = edited.configure(other_control);
    let other_words = edited.image(other_control);
    let other_image = Image::open(&other_words).expect("as it was made");

    let mut ram =
        vec![MaybeUninit::uninit(); gateway::octets_over_image(&capacity).expect("small")];
    let mut over = Gateway::over_image_in(&mut ram, &capacity, SEED, &image).expect("it fits");
    let (over_control, mut over_workers) = over.split();
    let (mut worker, mut over_worker) =
        (workers.take().expect("one"), over_workers.take().expect("one"));
    let mut other_worker = other_workers.take().expect("one");

    let mut up = Vec::new();
    for (nth, id) in ids.iter().enumerate() {
        let imaged = image.child_id(id.index()).expect("as many");
        assert_eq!(image.child_name(id.index()), Some(name(&scene, nth).as_bytes()));
        let selectors: Vec<Selector> = image.child_selectors(id.index()).collect();
        assert_eq!(selectors.len(), selectors_of(&scene, nth).len());
        if choices.below(4) > 0 {
            let sa = control.add_sa(*id, &SaParams::new(key(nth))).expect("room");
            let over = over_control.add_sa(imaged, &SaParams::new(key(nth))).expect("room");
            assert_eq!(sa, over);
            up.push((nth, sa));
        }
    }
    for _ in 0..60 {
        let (inner, child) = (packet(choices), choices.below(ids.len()));
        let (one, two) =
            (judge(&mut worker, child, &inner), judge(&mut over_worker, child, &inner));
        assert_eq!(one.as_ref().map(said), two.as_ref().map(said), "{inner:?}");
    }
    assert_eq!(control.total_counts(), over_control.total_counts());
    for nth in 0..scene.tunnels.len() as u32 {
        let (id, imaged) = (tunnel_of(control, nth), image.tunnel_id(nth).expect("as many"));
        assert_eq!(control.child_counts(id), over_control.child_counts(imaged));
        assert_eq!(control.tunnel_counts(id), over_control.tunnel_counts(imaged));
        assert_eq!(control.mode(id), over_control.mode(imaged));
    }

    let changed = |nth: usize| image.child_id(nth as u32) != other_image.child_id(nth as u32);
    let in_the_way: Vec<(usize, SaId)> =
        up.iter().copied().filter(|(nth, _)| changed(*nth)).collect();
    if let Some((first, _)) = in_the_way.first() {
        let refused = over_control.swap_image(&other_image);
        assert_eq!(refused, Err(SwapError::InUse { child: *first as u32 }));
    }
    for (_, sa) in &in_the_way {
        over_control.delete_sa(*sa, 0).expect("it lives");
    }
    over_control.swap_image(&other_image).expect("nothing is in the way");
    assert!(!over_control.is_image_settled());
    assert_eq!(over_control.swap_image(&image), Err(SwapError::Busy));
    up.retain(|one| !in_the_way.contains(one));
    for (nth, _) in &up {
        other_control.add_sa(other_ids[*nth], &SaParams::new(key(*nth))).expect("room");
    }
    for (nth, id) in other_ids.iter().enumerate() {
        let imaged = other_image.child_id(id.index()).expect("as many");
        if up.iter().any(|(other, _)| *other == nth) {
            continue;
        }
        let is_early = changed(nth) && !over_control.is_image_settled();
        let over = over_control.add_sa(imaged, &SaParams::new(key(nth)));
        if is_early {
            assert_eq!(over, Err(espial::error::SaError::Busy), "a worker may read the old image");
            over_worker.quiescent();
            assert!(over_control.is_image_settled());
            over_control.add_sa(imaged, &SaParams::new(key(nth))).expect("nobody reads it now");
        } else {
            over.expect("nobody reads an image without it");
        }
        other_control.add_sa(*id, &SaParams::new(key(nth))).expect("room");
    }
    for _ in 0..60 {
        let (inner, child) = (packet(choices), choices.below(other_ids.len()));
        let (one, two) =
            (judge(&mut other_worker, child, &inner), judge(&mut over_worker, child, &inner));
        assert_eq!(one.as_ref().map(said), two.as_ref().map(said), "{inner:?}");
    }
}

fn name(scene: &Scene, nth: usize) -> &str {
    &scene.tunnels.iter().flat_map(|tunnel| &tunnel.2).nth(nth).expect("as many").0
}

fn selectors_of(scene: &Scene, nth: usize) -> &[Selector] {
    &scene.tunnels.iter().flat_map(|tunnel| &tunnel.2).nth(nth).expect("as many").1
}

fn tunnel_of(control: &Control<'_>, nth: u32) -> TunnelId {
    let id = (0..9).map(|generation| TunnelId::from_raw(nth, generation));
    id.into_iter().find(|id| control.mode(*id).is_ok()).expect("it lives")
}

/// Writes the checksum that an image must have.
pub fn seal(words: &mut [u64]) {
    let octets: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut hasher = siphasher::sip::SipHasher24::new_with_keys(0, 0);
    hasher.write(&octets[..56.min(octets.len())]);
    hasher.write(octets.get(64..).unwrap_or(&[]));
    if let Some(slot) = words.get_mut(7) {
        *slot = hasher.finish();
    }
}

/// An image with some words changed: refused, or every packet has an answer, the same each time, and a Child SA
/// that accepts it.
pub fn lie(octets: &[u8]) -> bool {
    let mut choices = Choices::new(octets);
    let choices = &mut choices;
    let scene = Scene::new(choices);
    let capacity = scene.capacity();
    let mut compiled = Gateway::new(&capacity, SEED).expect("small");
    let (control, _) = compiled.split();
    scene.configure(control);
    let mut words = scene.image(control);
    for _ in 0..1 + choices.below(5) {
        let all = number(choices) as usize;
        let at = all % [24, words.len()][choices.below(8).min(1)];
        let value = u64::from(number(choices)) << (32 * choices.below(2));
        match choices.below(6) {
            0 => words[at] = value,
            1 => words[at] ^= 1 << (value % 64),
            2 => words[at] = words[at].wrapping_add(value % 5).wrapping_sub(2),
            3 => words[at] = words[value as usize % words.len()],
            4 => words[at] ^= value,
            _ => words[at] = words[at].swap_bytes(),
        }
    }
    if choices.below(8) == 0 {
        words.truncate(number(choices) as usize % (words.len() + 1));
    }
    if choices.below(8) > 0 {
        seal(&mut words);
    }
    any_image(&words, capacity, choices)
}

/// Octets that may be an image.
pub fn any_image(words: &[u64], capacity: Capacity, choices: &mut Choices<'_>) -> bool {
    let Ok(image) = Image::open(words) else { return false };
    let mut ram =
        vec![MaybeUninit::uninit(); gateway::octets_over_image(&capacity).expect("small")];
    let Ok(mut over) = Gateway::over_image_in(&mut ram, &capacity, SEED, &image) else {
        return false;
    };
    let (control, mut workers) = over.split();
    let mut worker = workers.take().expect("one");
    for child in 0..image.children() {
        let _ = image.child_selectors(child).count();
        let _ = (image.child_name(child), image.tunnel_name(child));
        if let Some(id) = image.child_id(child) {
            control.add_sa(id, &SaParams::new(key(child as usize))).expect("a Child SA of it");
        }
    }
    for _ in 0..40 {
        let (inner, child) = (packet(choices), choices.below(image.children() as usize));
        let (one, two) = (judge(&mut worker, child, &inner), judge(&mut worker, child, &inner));
        assert_eq!(one, two);
        if let Some(Verdict { decision: Decision::Accept(by), .. }) = one {
            assert!(by.index() < image.children());
        }
        let malformed = one.and_then(|verdict| verdict.reason());
        assert!(!matches!(malformed, Some(Reason::Malformed(_))), "the packet is right");
    }
    control
        .swap_image(&image)
        .map_or_else(|error| assert_eq!(error, SwapError::Busy), |_| worker.quiescent());
    true
}
