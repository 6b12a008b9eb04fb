//! The linear matcher: every question as a scan in configuration order.
//!
//! The structure of small tunnels, and the oracle of every cleverer one.
//!
//! # Bound
//! Each question visits each of the given boxes at most once.

use bytemuck::NoUninit;

use super::block::{ADMITS_OPAQUE, Boxed, Rest};
use super::group::{Address, Ask};
use crate::headers::{Fragment, InnerHeaders, NextLayer};
use crate::simd::COMPACT;
use crate::verdict::Field;

/// A packet as boxes are compared with it. Made by [`Question`](super::Question), where source
/// becomes remote and destination local.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct Key<A> {
    pub(crate) remote: A,
    pub(crate) local: A,
    pub(crate) values: Values,
}

impl<A: Address> Key<A> {
    /// That of an inbound packet, if it is of this family.
    #[inline(always)]
    pub(crate) fn of(packet: &InnerHeaders) -> Option<Self> {
        let (remote, local) = A::of(packet.endpoints)?;
        // Nearly all packets are whole and have ports.
        let values = match packet.next_layer {
            NextLayer::Ports { src, dst } if packet.fragment != Fragment::NonInitial => {
                Values::new(packet.protocol, Some([src, dst]))
            }
            // Part by part: what is read through a reference has to be in memory, where its parts have just been stored.
            other => Values::rarer(packet.protocol, other, packet.fragment),
        };
        Some(Self { remote, local, values })
    }
}

impl<A> Key<A> {
    /// What goes in registers: a key that has just been put together in memory cannot be read as a whole at once.
    #[inline(always)]
    pub(crate) fn parts(self) -> (A, A, u64) {
        (self.remote, self.local, self.values.packed())
    }

    /// A key of its [`Key::parts`].
    #[inline(always)]
    pub(crate) fn of_parts((remote, local, packed): (A, A, u64)) -> Self {
        Self { remote, local, values: Values::unpacked(packed) }
    }
}

/// Protocol and ports of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct Values {
    /// Source port, ICMP value or Mobility Header value.
    pub(crate) remote: u16,
    /// Destination port; 0 for ICMP and Mobility Header, whose boxes are ANY there.
    pub(crate) local: u16,
    pub(crate) protocol: u8,
    /// Once more: it is compared with both ends at once.
    again: u8,
    /// All ones if there are values, else 0.
    pub(crate) mask: u16,
}

impl Values {
    /// Those of a packet without ports. On microcontrollers a call would take more of the stack.
    #[cfg_attr(not(target_os = "none"), inline(never))]
    #[cfg_attr(target_os = "none", inline(always))]
    fn rarer(protocol: u8, next_layer: NextLayer, fragment: Fragment) -> Self {
        let values = match next_layer {
            NextLayer::Icmp(value) | NextLayer::Mobility(value)
                if fragment != Fragment::NonInitial =>
            {
                Some([value, 0])
            }
            // Whatever a host says its ports are, a later fragment does not hold them (T20).
            _ => None,
        };
        Self::new(protocol, values)
    }

    /// Remote and local, if there are any.
    #[inline(always)]
    pub(crate) fn new(protocol: u8, values: Option<[u16; 2]>) -> Self {
        match values {
            Some([remote, local]) => {
                Self { remote, local, protocol, again: protocol, mask: u16::MAX }
            }
            None => Self { remote: 0, local: 0, protocol, again: protocol, mask: 0 },
        }
    }

    /// In one register, put together there: compilers would do it in memory.
    #[inline(always)]
    fn packed(self) -> u64 {
        let Self { remote, local, protocol, mask, .. } = self;
        // As a packet has them, read as one number.
        let ports = u64::from(remote) << 16 | u64::from(local);
        ports | u64::from(protocol) << 32 | u64::from(mask) << 48
    }

    #[inline(always)]
    fn unpacked(packed: u64) -> Self {
        let protocol = (packed >> 32) as u8;
        Self {
            remote: (packed >> 16) as u16,
            local: packed as u16,
            protocol,
            again: protocol,
            mask: (packed >> 48) as u16,
        }
    }

    #[inline(always)]
    pub(crate) fn has_value(&self) -> bool {
        self.mask != 0
    }

    /// As it lies in memory.
    #[inline(always)]
    pub(super) fn words(self) -> [u32; 2] {
        bytemuck::cast(self)
    }
}

const _: () = assert!(size_of::<Key<u32>>() == 16);

// SAFETY: `repr(C)`, and its fields add up to its 8 octets: no padding.
#[allow(unsafe_code)]
unsafe impl NoUninit for Values {}

// SAFETY: `repr(C)`, and its fields add up to its 16 octets: no padding.
#[allow(unsafe_code)]
unsafe impl NoUninit for Key<u32> {}

impl<A: Copy + Ord> Boxed<A> {
    /// All of a key goes in registers.
    const IS_SHORT: bool = size_of::<A>() <= size_of::<u32>();

    #[inline]
    pub(super) fn remote_covers(&self, key: &Key<A>) -> bool {
        (self.remote_lo <= key.remote) & (key.remote <= self.remote_hi)
    }

    #[inline]
    fn local_covers(&self, key: &Key<A>) -> bool {
        (self.local_lo <= key.local) & (key.local <= self.local_hi)
    }

    /// Addresses and protocol cover the packet; ports are not looked at.
    #[inline]
    pub(super) fn covers_portless(&self, key: &Key<A>) -> bool {
        self.remote_covers(key) & self.local_covers(key) & self.rest.protocol_covers(&key.values)
    }

    /// The box covers the packet.
    #[inline]
    pub(super) fn covers(&self, key: &Key<A>) -> bool {
        self.covers_portless(key) & self.rest.values_cover(&key.values)
    }

    /// The box covers the packet, with a branch a field: for boxes that are expected to.
    #[inline(always)]
    pub(super) fn covers_in_turn(&self, key: &Key<A>) -> bool {
        self.remote_covers(key) && self.local_covers(key) && self.rest.covers(&key.values)
    }

    /// The box covers the packet in what is asked, with a branch for each end: most fail at the first ones.
    #[inline(always)]
    fn holds(&self, key: &Key<A>, ask: Ask) -> bool {
        if key.remote < self.remote_lo || self.remote_hi < key.remote {
            return false;
        }
        if ask == Ask::Source {
            return true;
        }
        if key.local < self.local_lo || self.local_hi < key.local {
            return false;
        }
        self.rest.holds(&key.values, ask)
    }

    /// The box covers the packet in what is asked. Of one place in the program.
    #[inline(never)]
    pub(super) fn covers_in(&self, key: &Key<A>, ask: Ask) -> bool {
        if COMPACT && Self::IS_SHORT {
            return from_first(core::slice::from_ref(self), key, ask).is_some();
        }
        match ask {
            _ if COMPACT => self.holds(key, ask),
            Ask::All => self.covers(key),
            Ask::Portless => self.covers_portless(key),
            Ask::Source => self.remote_covers(key),
        }
    }

    /// The first field that the box does not cover, in the order of [`Field`].
    pub(super) fn first_mismatch(&self, key: &Key<A>) -> Option<Field> {
        if !self.remote_covers(key) {
            return Some(Field::Src);
        }
        if !self.local_covers(key) {
            return Some(Field::Dst);
        }
        self.rest.first_mismatch(&key.values)
    }
}

impl Boxed<u32> {
    /// [`Boxed::holds`] of all that is asked, with one branch for both ends of the remote range: at most one subtraction more
    /// where that fails, as it does in most boxes, and one branch less.
    #[inline(always)]
    fn holds_v4(&self, key: &Key<u32>) -> bool {
        let Self { remote_lo, remote_hi, local_lo, local_hi, rest } = self;
        // No range is turned round: `lo <= hi` (`block`, I3).
        if key.remote.wrapping_sub(*remote_lo) > remote_hi.wrapping_sub(*remote_lo) {
            return false;
        }
        *local_lo <= key.local && key.local <= *local_hi && rest.holds(&key.values, Ask::All)
    }
}

/// The same for both families.
impl Rest {
    /// What is asked beside addresses covers the packet, with a branch for each end.
    #[inline(always)]
    fn holds(&self, values: &Values, ask: Ask) -> bool {
        if values.protocol < self.protocol_lo || self.protocol_hi < values.protocol {
            return false;
        }
        if ask == Ask::Portless {
            return true;
        }
        if !values.has_value() {
            return self.flags & ADMITS_OPAQUE != 0;
        }
        if values.remote < self.remote_port_lo || self.remote_port_hi < values.remote {
            return false;
        }
        self.local_port_lo <= values.local && values.local <= self.local_port_hi
    }

    /// What a box says beside addresses covers the packet.
    #[inline(always)]
    fn covers(&self, values: &Values) -> bool {
        self.protocol_covers(values)
            && match values.has_value() {
                true => self.remote_port_covers(values) && self.local_port_covers(values),
                false => self.flags & ADMITS_OPAQUE != 0,
            }
    }

    #[inline]
    fn protocol_covers(&self, values: &Values) -> bool {
        (self.protocol_lo <= values.protocol) & (values.protocol <= self.protocol_hi)
    }

    #[inline]
    fn remote_port_covers(&self, values: &Values) -> bool {
        (self.remote_port_lo <= values.remote) & (values.remote <= self.remote_port_hi)
    }

    #[inline]
    fn local_port_covers(&self, values: &Values) -> bool {
        (self.local_port_lo <= values.local) & (values.local <= self.local_port_hi)
    }

    /// A packet without a value needs ANY or OPAQUE on both sides (RFC 4301 section 7, T20).
    #[inline]
    fn values_cover(&self, values: &Values) -> bool {
        let ports = self.remote_port_covers(values) & self.local_port_covers(values);
        let opaque = self.flags & ADMITS_OPAQUE != 0;
        (values.has_value() & ports) | (!values.has_value() & opaque)
    }

    /// The first field that does not cover the packet's, in the order of [`Field`].
    #[inline(never)]
    fn first_mismatch(&self, values: &Values) -> Option<Field> {
        // Without a value the port fields fail together; the one to name is the first that
        // a selector restricts.
        let opaque = |lo: u16, hi: u16| (lo, hi) == (0, u16::MAX) || lo > hi;
        let (remote_port, local_port) = if values.has_value() {
            (self.remote_port_covers(values), self.local_port_covers(values))
        } else {
            (
                opaque(self.remote_port_lo, self.remote_port_hi),
                opaque(self.local_port_lo, self.local_port_hi),
            )
        };
        match (self.protocol_covers(values), remote_port, local_port) {
            (false, ..) => Some(Field::Protocol),
            (_, false, _) => Some(Field::of_value(values.protocol)),
            (.., false) => Some(Field::DestinationPort),
            _ => None,
        }
    }
}

/// True if a box covers the packet.
#[inline(always)]
pub(super) fn any<A: Address>(boxes: &[Boxed<A>], key: Key<A>) -> bool {
    first_of_all(boxes, key).is_some()
}

/// The first box that covers the packet.
#[inline(always)]
pub(super) fn first_of_all<A: Address>(boxes: &[Boxed<A>], key: Key<A>) -> Option<&Boxed<A>> {
    // Most Child SAs have one selector.
    match boxes {
        [one] => one.covers_in_turn(&key).then_some(one),
        several => {
            let (remote, local, packed) = key.parts();
            first_of_several(several, remote, local, packed)
        }
    }
}

/// The boxes from the first one on that covers the packet in what is asked. In the least code: one after the other, with
/// a branch a field, as most fail on an address. A slice that shrinks, not an iterator: of that compilers keep two
/// pointers, which is two instructions a box.
#[inline(never)]
pub(super) fn from_first<'b, A: Copy + Ord>(
    mut boxes: &'b [Boxed<A>],
    key: &Key<A>,
    ask: Ask,
) -> Option<&'b [Boxed<A>]> {
    let copied;
    let key = match Boxed::<A>::IS_SHORT {
        true => {
            copied = *key;
            &copied
        }
        false => key,
    };
    while let [one, behind @ ..] = boxes {
        // What of a long key is kept is more of the stack, and its comparison more code.
        let is_one = match Boxed::<A>::IS_SHORT {
            true => one.holds(key, ask),
            false => one.covers_in(key, ask),
        };
        if is_one {
            return Some(boxes);
        }
        boxes = behind;
    }
    None
}

/// [`any`] as [`from_first`] asks, with nothing to look up but the boxes.
#[inline(never)]
pub(super) fn any_in_turn<A: Copy + Ord>(mut boxes: &[Boxed<A>], key: &Key<A>) -> bool {
    let key = *key;
    while let [one, behind @ ..] = boxes {
        if one.holds(&key, Ask::All) {
            return true;
        }
        boxes = behind;
    }
    false
}

/// [`any_in_turn`], two boxes a turn: 7 instructions instead of 10 for a box that fails on an address (Cortex-M4).
#[inline(always)]
pub(super) fn any_in_pairs(mut boxes: &[Boxed<u32>], key: &Key<u32>) -> bool {
    while let [one, other, behind @ ..] = boxes {
        if one.holds_v4(key) || other.holds_v4(key) {
            return true;
        }
        boxes = behind;
    }
    matches!(boxes, [one] if one.holds_v4(key))
}

/// The parts of a key go in registers: one that has just been put together in memory cannot be read at once.
#[inline(never)]
fn first_of_several<A: Address>(
    boxes: &[Boxed<A>],
    remote: A,
    local: A,
    packed: u64,
) -> Option<&Boxed<A>> {
    first(boxes, &Key::of_parts((remote, local, packed)), |_| true)
}

/// The first box that covers the packet and that `accept` takes.
///
/// Which addresses hold the packet's is looked at first, without a branch that cannot be foreseen; usually one box or
/// none is left to be compared.
#[inline(always)]
pub(super) fn first<'b, A: Address>(
    boxes: &'b [Boxed<A>],
    key: &Key<A>,
    accept: impl Fn(u32) -> bool,
) -> Option<&'b Boxed<A>> {
    for boxes in boxes.chunks(16) {
        // Four bits a box, the first one lowest; what is behind the last one is outside.
        let (fours, rest) = boxes.as_chunks();
        let outside = rest
            .iter()
            .rev()
            .fold(u64::MAX, |outside, one| outside << 4 | u64::from(A::outside(one, key)));
        let outside = fours
            .iter()
            .rev()
            .fold(outside, |outside, four| outside << 16 | u64::from(A::outside_four(four, key)));
        let pairs = outside | outside >> 1;
        let mut inside = !(pairs | pairs >> 2) & 0x1111_1111_1111_1111;
        while inside != 0 {
            let one = boxes.get(inside.trailing_zeros() as usize / 4)?;
            // All of an address of IPv6 is compared only here.
            let is_one =
                if A::WHOLE { one.rest.covers(&key.values) } else { one.covers_in_turn(key) };
            if is_one && accept(one.child()) {
                return Some(one);
            }
            inside &= inside - 1;
        }
    }
    None
}

/// The first box whose remote range holds the packet's source and that `accept` takes.
#[inline]
pub(super) fn first_source<'b, A: Copy + Ord>(
    boxes: &'b [Boxed<A>],
    key: &Key<A>,
    accept: impl Fn(u32) -> bool,
) -> Option<&'b Boxed<A>> {
    boxes.iter().find(|one| one.remote_covers(key) && accept(one.child()))
}

/// The box whose first failing field comes latest, and that field; of several the first. Boxes that
/// cover the packet fail nowhere and are left out.
pub(super) fn nearest<A: Copy + Ord>(boxes: &[Boxed<A>], key: &Key<A>) -> Option<(usize, Field)> {
    let mut best: Option<(usize, Field)> = None;
    for (index, one) in boxes.iter().enumerate() {
        if let Some(field) = one.first_mismatch(key)
            && best.is_none_or(|(_, nearest)| field > nearest)
        {
            best = Some((index, field));
        }
    }
    best
}
