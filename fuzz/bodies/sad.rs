//! The SPI table beside a map: keys of all lengths, both families, ESP and AH, SPIs that the gateway
//! chose and SPIs that others chose, in a world so small that SPIs and addresses meet, and that
//! grows. `bodies::model` judges selectors and finds its SAs by SPI alone.
//!
//! The twin knows what may happen and what must not: every refusal, and when it must come.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use espial::error::{SaError, SetupError};
use espial::headers::{Encap, Endpoints, Ipsec, OuterHeaders, Spi};
use espial::inbound::{Arrival, Ingress};
use espial::sad::{SaKey, Scope};
use espial::selector::{AddrRange, TrafficSelector};
use espial::verdict::{Mode, Modes, Reason, SpiClass};
use espial::{Capacity, ChildId, Control, Gateway, SaId, SaParams, Worker};

use crate::bodies::Choices;

/// Protocol (true: AH), SPI, destination, source.
type Key = (bool, u32, Option<IpAddr>, Option<IpAddr>);

const CAPACITY: Capacity = Capacity {
    tunnels: 1,
    children: 1,
    selectors: 2,
    sas: 4,
    sas_dst: 3,
    sas_dst_src: 3,
    sas_allocated: 4,
    replay_window: 0,
    workers: 1,
};

/// Slots that SPIs chosen here can name, once the gateway has grown: eight for each at the start. The
/// low bits of such an SPI are its slot.
const SLOTS: u32 = 8 * CAPACITY.sas_allocated;

/// A live SA.
#[derive(Clone, Copy)]
struct Held {
    id: SaId,
    /// The slot that its SPI names, if the gateway chose that.
    slot: Option<u32>,
}

/// A slot whose SPI is no longer in use.
#[derive(Clone, Copy)]
struct Freed {
    at_ms: u64,
    /// The worker has not been quiescent since.
    unsettled: bool,
}

struct Twin {
    sas: BTreeMap<Key, Held>,
    /// Reserved SPIs without an SA.
    larval: BTreeSet<(bool, u32)>,
    freed: BTreeMap<u32, Freed>,
    /// Every key that was deleted once.
    deleted: BTreeSet<Key>,
    /// Every handle that was given out, by its index.
    ids: BTreeMap<u32, Vec<SaId>>,
    /// SPIs that keys and packets have, oldest first.
    spis: Vec<u32>,
    /// Places of SAs whose SPIs others chose, and how many of them no SA has and the worker may hold.
    places: u64,
    unsettled: u64,
    capacity: Capacity,
    quarantine_ms: u64,
    now_ms: u64,
}

impl Twin {
    fn new() -> Self {
        Self {
            sas: BTreeMap::new(),
            larval: BTreeSet::new(),
            freed: BTreeMap::new(),
            deleted: BTreeSet::new(),
            ids: BTreeMap::new(),
            spis: vec![256, 257, 258, 259],
            places: Self::places(&CAPACITY),
            unsettled: 0,
            capacity: CAPACITY,
            quarantine_ms: 10_000,
            now_ms: 0,
        }
    }

    fn places(capacity: &Capacity) -> u64 {
        capacity.sa_slots() - u64::from(capacity.sas_allocated)
    }

    /// The keys that would fit a packet, longest first.
    fn fitting(outer: &OuterHeaders) -> [Key; 3] {
        let (ah, spi) = (!outer.is_esp(), outer.spi.0);
        let (dst, src) = (outer.endpoints.dst(), outer.endpoints.src());
        [(ah, spi, Some(dst), Some(src)), (ah, spi, Some(dst), None), (ah, spi, None, None)]
    }

    fn in_use(&self, ah: bool, spi: u32) -> bool {
        self.sas.keys().any(|key| (key.0, key.1) == (ah, spi))
    }

    /// The SA of an SPI alone that no longer key shares.
    fn alone(&self, ah: bool, spi: u32) -> SaId {
        let longer = |key: &Key| (key.0, key.1) == (ah, spi) && key.2.is_some();
        match self.sas.get(&(ah, spi, None, None)) {
            Some(held) if !self.sas.keys().any(longer) => held.id,
            _ => SaId::NONE,
        }
    }

    fn slots_in_use(&self) -> BTreeSet<u32> {
        let live = self.sas.values().filter_map(|held| held.slot);
        live.chain(self.larval.iter().map(|(_, spi)| spi % SLOTS)).collect()
    }

    fn may_reserve(&self) -> Result<(), SaError> {
        let (limit, in_use) = (self.capacity.sas_allocated, self.slots_in_use().len());
        if in_use + self.freed.len() < limit as usize {
            return Ok(());
        }
        let settled = self.freed.values().filter(|freed| !freed.unsettled);
        match settled.map(|freed| self.now_ms - freed.at_ms).max() {
            Some(since) if since < self.quarantine_ms => {
                Err(SaError::Quarantine { left_ms: self.quarantine_ms - since })
            }
            Some(_) => Ok(()),
            None if self.freed.is_empty() => Err(SaError::Full { limit }),
            None => Err(SaError::Busy),
        }
    }

    /// Whether there is a place for one more SA with an SPI that others chose.
    fn may_place(&self) -> Result<(), SaError> {
        let placed = self.sas.values().filter(|held| held.slot.is_none()).count() as u64;
        if placed + self.unsettled == self.places { Err(SaError::Busy) } else { Ok(()) }
    }

    fn has_room(&self, key: &Key) -> Result<(), SaError> {
        let shape = |key: &Key| (key.2.is_some(), key.3.is_some());
        let limit = match shape(key) {
            (false, _) => self.capacity.sas,
            (true, false) => self.capacity.sas_dst,
            (true, true) => self.capacity.sas_dst_src,
        };
        let same =
            |(other, held): &(&Key, &Held)| shape(other) == shape(key) && held.slot.is_none();
        let full = self.sas.iter().filter(same).count() == limit as usize;
        if full { Err(SaError::Full { limit }) } else { Ok(()) }
    }

    fn may_add(&self, key: &Key) -> Result<(), SaError> {
        if self.sas.contains_key(key) {
            return Err(SaError::Duplicate);
        }
        if self.is_larval(key) {
            return Ok(());
        }
        self.has_room(key)?;
        self.may_place()
    }

    /// The new SA goes where SPIs that others chose are, whoever chose this one.
    fn may_replace(&self, key: &Key) -> Result<(), SaError> {
        if self.sas[key].slot.is_some() {
            self.has_room(key)?;
        }
        self.may_place()
    }

    fn is_larval(&self, key: &Key) -> bool {
        key.2.is_none() && self.larval.contains(&(key.0, key.1))
    }

    fn added(&mut self, key: Key, id: SaId) {
        // The bound that `SaId` states.
        let before = self.ids.entry(id.index()).or_default();
        assert!(!before.iter().rev().take(6).any(|old| *old == id), "{id:?} again");
        before.push(id);
        let slot = self.is_larval(&key).then_some(key.1 % SLOTS);
        if slot.is_some() {
            self.larval.remove(&(key.0, key.1));
        }
        assert!(self.sas.insert(key, Held { id, slot }).is_none());
    }

    fn gone(&mut self, held: Held) {
        match held.slot {
            Some(slot) => self.free(slot),
            None => self.unsettled += 1,
        }
    }

    fn free(&mut self, slot: u32) {
        let freed = Freed { at_ms: self.now_ms, unsettled: true };
        assert!(self.freed.insert(slot, freed).is_none());
    }

    fn settle(&mut self) {
        self.unsettled = 0;
        self.freed.values_mut().for_each(|freed| freed.unsettled = false);
    }

    fn ingress(&self) -> Ingress {
        Ingress { now_ms: self.now_ms, interface: 0 }
    }
}

fn ipsec(ah: bool) -> Ipsec {
    if ah { Ipsec::Ah } else { Ipsec::Esp }
}

fn addr(choices: &mut Choices<'_>, v6: bool) -> IpAddr {
    let n = choices.below(3) as u8;
    // Addresses of both families whose last words are equal must not be mistaken for each other.
    if v6 { Ipv6Addr::from(u128::from(n)).into() } else { Ipv4Addr::from(u32::from(n)).into() }
}

/// The SPIs that others chose, or those chosen here last.
fn spi(choices: &mut Choices<'_>, twin: &Twin) -> u32 {
    let nth = choices.below(8);
    if nth < 4 { twin.spis[nth] } else { twin.spis[(twin.spis.len() + 3 - nth).max(3)] }
}

fn key(choices: &mut Choices<'_>, twin: &Twin) -> Key {
    let (kind, spi) = (choices.below(12), spi(choices, twin));
    let v6 = kind & 1 == 1;
    let dst = (kind >= 4).then(|| addr(choices, v6));
    let src = (kind >= 8).then(|| addr(choices, v6));
    (kind & 2 == 2, spi, dst, src)
}

/// The key of a live SA, if there is one.
fn live_key(choices: &mut Choices<'_>, twin: &Twin) -> Option<Key> {
    twin.sas.keys().nth(choices.below(twin.sas.len())).copied()
}

fn params(key: &Key) -> SaParams {
    let key = SaKey::new(ipsec(key.0), Spi(key.1), key.2, key.3).unwrap();
    SaParams::new(key)
}

fn reserve(control: &mut Control<'_>, twin: &mut Twin, ah: bool) {
    let reserved = control.reserve_spi(ipsec(ah), twin.now_ms);
    assert_eq!(reserved.map(|_| ()), twin.may_reserve());
    let Ok(Spi(spi)) = reserved else { return };
    let slot = spi % SLOTS;
    assert!(spi > 255 && slot < twin.capacity.sas_allocated, "{spi}");
    assert!(!twin.in_use(ah, spi) && !twin.slots_in_use().contains(&slot), "{spi}");
    if let Some(freed) = twin.freed.remove(&slot) {
        assert!(!freed.unsettled && twin.now_ms - freed.at_ms >= twin.quarantine_ms);
    }
    assert!(twin.larval.insert((ah, spi)));
    twin.spis.push(spi);
}

fn release(control: &mut Control<'_>, twin: &mut Twin, ah: bool, spi: u32) {
    let released = control.release_spi(ipsec(ah), Spi(spi), twin.now_ms);
    let was_larval = twin.larval.remove(&(ah, spi));
    assert_eq!(released, if was_larval { Ok(()) } else { Err(SaError::NotFound) });
    if was_larval {
        twin.free(spi % SLOTS);
    }
}

fn add(control: &mut Control<'_>, twin: &mut Twin, child: ChildId, key: Key) {
    let added = control.add_sa(child, &params(&key));
    assert_eq!(added.map(|_| ()), twin.may_add(&key));
    if let Ok(id) = added {
        twin.added(key, id);
    }
}

fn delete(control: &mut Control<'_>, twin: &mut Twin, key: Key) {
    let Some(held) = twin.sas.remove(&key) else { return };
    control.delete_sa(held.id, twin.now_ms).unwrap();
    twin.deleted.insert(key);
    twin.gone(held);
    assert_eq!(control.delete_sa(held.id, twin.now_ms), Err(SaError::NotFound));
    assert_eq!(control.sa_key(held.id), None);
}

/// Under the same key or another one.
fn replace(control: &mut Control<'_>, twin: &mut Twin, child: ChildId, key: Key, new: Key) {
    let expected = if key == new { twin.may_replace(&key) } else { twin.may_add(&new) };
    let old = twin.sas[&key];
    let replaced = control.replace_sa(old.id, child, &params(&new), twin.now_ms);
    assert_eq!(replaced.map(|_| ()), expected);
    let Ok(id) = replaced else { return };
    twin.sas.remove(&key);
    twin.gone(old);
    if key != new {
        twin.deleted.insert(key);
    }
    twin.added(new, id);
    assert_eq!(control.sa_key(old.id), None);
}

fn grow(control: &mut Control<'static>, twin: &mut Twin, choices: &mut Choices<'_>) {
    let old = twin.capacity;
    // Seldom less than there is.
    let mut more = |field: u32| match choices.below(12) as u32 {
        0 => field - 1,
        n => field + n % 4,
    };
    let wanted = Capacity {
        sas: more(old.sas),
        sas_dst: more(old.sas_dst),
        sas_dst_src: more(old.sas_dst_src),
        sas_allocated: more(old.sas_allocated),
        ..old
    };
    let field = if wanted.sas < old.sas {
        Some("sas")
    } else if wanted.sas_dst < old.sas_dst {
        Some("sas_dst")
    } else if wanted.sas_dst_src < old.sas_dst_src {
        Some("sas_dst_src")
    } else if !(old.sas_allocated..=SLOTS).contains(&wanted.sas_allocated) {
        Some("sas_allocated")
    } else {
        None
    };
    let expected = field.map_or(Ok(()), |field| Err(SetupError::CannotGrow { field }));
    assert_eq!(control.grow(&wanted), expected);
    if expected.is_ok() {
        twin.places = twin.places.max(Twin::places(&wanted));
        twin.capacity = wanted;
    }
    let Capacity { sas, sas_dst, sas_dst_src, sas_allocated, .. } = twin.capacity;
    assert_eq!(control.sa_limits(), [sas, sas_dst, sas_dst_src, sas_allocated]);
}

fn outer(choices: &mut Choices<'_>, ah: bool, spi: u32) -> OuterHeaders {
    let v6 = choices.below(2) == 1;
    OuterHeaders {
        endpoints: Endpoints::new(addr(choices, v6), addr(choices, v6)).unwrap(),
        flow_label: 0,
        ipsec: ipsec(ah),
        encap: Encap::None,
        spi: Spi(spi),
        sequence: 1,
        sequence_high: 0,
        sport: 0,
        dport: 0,
        offset: 20,
        octets: 100,
    }
}

fn lookup(worker: &mut Worker<'_>, twin: &Twin, choices: &mut Choices<'_>) {
    let (ah, spi) = (choices.below(2) == 1, spi(choices, twin));
    let outer = outer(choices, ah, spi);
    let fitting = Twin::fitting(&outer);
    let expected = fitting.iter().find_map(|key| twin.sas.get(key)).map(|held| held.id);
    let refusal = match worker.lookup(&outer, twin.ingress()) {
        Arrival::Sa(id, headers) => return assert_eq!((Some(id), headers), (expected, outer)),
        Arrival::Drop(refusal) => refusal,
        Arrival::Pass(other) => panic!("{other:?}"),
    };
    assert_eq!((expected, refusal.reason), (None, Reason::UnknownSpi));
    if twin.larval.contains(&(ah, spi)) {
        return assert_eq!(refusal.spi_class, Some(SpiClass::Larval));
    }
    match refusal.spi_class {
        Some(SpiClass::RecentlyDeleted { ago_ms }) => {
            assert!(u64::from(ago_ms) <= twin.now_ms);
            assert!(fitting.iter().any(|key| twin.deleted.contains(key)));
        }
        Some(SpiClass::OtherDestination) => assert!(twin.in_use(ah, spi)),
        class => {
            assert_eq!(class, Some(SpiClass::NeverSeen));
            assert!(!twin.in_use(ah, spi));
        }
    }
}

/// SPIs alone, in lists shorter and longer than a burst: what is found here is what a packet finds.
fn find(worker: &mut Worker<'_>, twin: &Twin, choices: &mut Choices<'_>) {
    let (ah, count, from) = (choices.below(2) == 1, choices.below(140), choices.below(8));
    let spis: Vec<_> = twin.spis.iter().cycle().skip(from).take(count).map(|n| Spi(*n)).collect();
    let expected: Vec<_> = spis.iter().map(|spi| twin.alone(ah, spi.0)).collect();
    let mut sas = vec![SaId::from_raw(7); count];
    let found = worker.find_spis(ipsec(ah), &spis, &mut sas);
    assert_eq!(sas, expected);
    assert_eq!(found, sas.iter().filter(|sa| **sa != SaId::NONE).count());
    for (spi, sa) in spis.iter().zip(sas).take(twin.spis.len()) {
        assert_eq!(worker.spi_table().find(ipsec(ah), *spi), sa);
        if sa != SaId::NONE {
            let outer = outer(choices, ah, spi.0);
            assert_eq!(worker.lookup(&outer, twin.ingress()), Arrival::Sa(sa, outer));
        }
    }
}

/// Runs the table and its twin on choices.
pub fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let mut gateway = Gateway::new(&CAPACITY, [u64::from(choices.octet()), 11]).unwrap();
    let (control, mut workers) = gateway.split();
    let mut worker = workers.take().unwrap();
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).unwrap();
    let any = [TrafficSelector::any(AddrRange::V4 { lo: 0, hi: u32::MAX })];
    let child = control.add_child(tunnel, &any, &any).unwrap();
    control.publish().unwrap();
    // From now on it holds what is deleted until it is quiescent.
    worker.spi_table();
    let mut twin = Twin::new();
    while !choices.done() {
        twin.now_ms += 1;
        match choices.below(16) {
            0 | 1 => {
                let key = key(&mut choices, &twin);
                add(control, &mut twin, child, key);
            }
            2 => {
                let larval = twin.larval.iter().nth(choices.below(twin.larval.len()));
                if let Some((ah, spi)) = larval.copied() {
                    add(control, &mut twin, child, (ah, spi, None, None));
                }
            }
            3 => {
                let key = key(&mut choices, &twin);
                delete(control, &mut twin, key);
            }
            4 => {
                if let Some(key) = live_key(&mut choices, &twin) {
                    delete(control, &mut twin, key);
                }
            }
            5 | 6 => {
                if let Some(old) = live_key(&mut choices, &twin) {
                    let other = choices.below(3) == 0;
                    let new = if other { key(&mut choices, &twin) } else { old };
                    replace(control, &mut twin, child, old, new);
                }
            }
            7 | 8 => reserve(control, &mut twin, choices.below(2) == 1),
            9 => {
                let (ah, spi) = (choices.below(2) == 1, spi(&mut choices, &twin));
                release(control, &mut twin, ah, spi);
            }
            10 => {
                worker.quiescent();
                twin.settle();
            }
            11 => match choices.below(4) {
                0 => grow(control, &mut twin, &mut choices),
                1 => {
                    twin.quarantine_ms = 7 * choices.below(4) as u64;
                    control.set_spi_quarantine(twin.quarantine_ms);
                }
                _ => twin.now_ms += choices.below(30) as u64,
            },
            12 => find(&mut worker, &twin, &mut choices),
            _ => lookup(&mut worker, &twin, &mut choices),
        }
        for (key, held) in &twin.sas {
            assert_eq!(control.find_sa(&params(key).key), Some(held.id));
        }
        for (ah, spi) in &twin.larval {
            assert_eq!(control.find_sa(&params(&(*ah, *spi, None, None)).key), None);
        }
        assert_eq!(control.child_counts(tunnel), Ok((1, u32::from(!twin.sas.is_empty()))));
    }
    for (key, held) in &twin.sas {
        let SaKey { spi, scope, .. } = control.sa_key(held.id).unwrap();
        assert_eq!((spi.0, scope == Scope::Spi), (key.1, key.2.is_none()));
    }
}
