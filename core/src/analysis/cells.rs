//! Selectors as sets of packets that can be subtracted from each other.
//!
//! A packet of one family is a point: source, destination, protocol, and two values, which it has
//! both or neither of. "Neither" is one point more, behind 65535 on both axes:
//!
//! ```text
//! local value
//!  65536 .             + OPAQUE     ANY x ANY is the square and the point,
//!  65535 +-----------+              OPAQUE x ANY the point alone,
//!        |           |              443 x ANY a strip of the square,
//!      0 +-----------+              443 x OPAQUE nothing at all
//!        0      65535  remote value
//! ```
//!
//! ICMP, ICMPv6 and Mobility Header have one value, the remote side's: whatever a selector asks of
//! the local one, it does not restrict them (RFC 4301 section 4.4.1.3).
//!
//! # Subtraction
//! ```text
//! left <- the cell in question
//! while a piece is left:
//!     take the last one; if no earlier cell meets it, a packet is uncovered: done
//!     else put back what of it lies outside that cell, at most two pieces an axis, largest last
//! no piece is left: covered
//! ```
//! Taking the last piece, and not one of a level, finds an uncovered packet early and keeps at most
//! nine pieces waiting for each cell.

use crate::selector::{ANY_PROTOCOL, PortRange, Selector, has_one_value};

/// First and last value of an axis.
pub(super) type Span = (u128, u128);

/// Where OPAQUE lies on the axes of values.
const OPAQUE: Span = (1 << 16, 1 << 16);

/// Every protocol, cut so that those of one value stand alone.
const PROTOCOLS: [(u8, u8); 7] =
    [(0, 0), (1, 1), (2, 57), (58, 58), (59, 134), (135, 135), (136, 255)];

/// Work that is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps(pub(super) u64);

impl Steps {
    /// Takes one, or says that none was left.
    pub(super) fn take(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// Dimensions of a cell.
pub(super) const AXES: usize = 5;

/// Packets of one family: a box over remote, local, protocol, remote value, local value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Cell(pub(super) [Span; AXES]);

impl Cell {
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a.0 <= b.1 && b.0 <= a.1)
    }

    pub(super) fn is_inside(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| b.0 <= a.0 && a.1 <= b.1)
    }

    /// What lies outside `other`, which meets it: pieces that have no packet in common.
    fn outside(mut self, other: &Self, mut piece: impl FnMut(Self)) {
        for axis in 0..self.0.len() {
            let (Some(&(lo, hi)), Some(&cut)) = (self.0.get(axis), other.0.get(axis)) else {
                return;
            };
            let mut with = |span: Span| {
                if let Some(own) = self.0.get_mut(axis) {
                    *own = span;
                }
                self
            };
            if lo < cut.0 {
                piece(with((lo, cut.0.saturating_sub(1))));
            }
            if cut.1 < hi {
                piece(with((cut.1.saturating_add(1), hi)));
            }
            with((lo.max(cut.0), hi.min(cut.1)));
        }
    }
}

/// The packets of a selector, in cells that have none in common; none if no packet can match. At
/// most 2, but 14 where ports stand under protocol ANY, as no constructor lets them.
pub(super) fn cells(selector: &Selector, mut out: impl FnMut(Cell)) {
    let own = [(selector.protocol, selector.protocol)];
    let protocols: &[(u8, u8)] = match selector.protocol {
        ANY_PROTOCOL if selector.local_ports.is_any() && selector.remote_ports.is_any() => {
            &[(0, u8::MAX)]
        }
        ANY_PROTOCOL => &PROTOCOLS,
        _ => &own,
    };
    let (remote, local) = (selector.remote.bounds(), selector.local.bounds());
    if selector.remote.family() != selector.local.family()
        || remote.0 > remote.1
        || local.0 > local.1
    {
        return;
    }
    for &(lo, hi) in protocols {
        let one_value = lo == hi && has_one_value(lo);
        let ports = if one_value { PortRange::ANY } else { selector.local_ports };
        let remote_ports = selector.remote_ports;
        let protocol = (lo.into(), hi.into());
        if !remote_ports.is_opaque() && !ports.is_opaque() {
            let span = |ports: PortRange| (ports.lo().into(), ports.hi().into());
            out(Cell([remote, local, protocol, span(remote_ports), span(ports)]));
        }
        if remote_ports.admits_opaque() && ports.admits_opaque() {
            out(Cell([remote, local, protocol, OPAQUE, OPAQUE]));
        }
    }
}

/// True if each of `own` lies in a cell of `other`: if `other` alone covers all of it.
pub(super) fn hold(other: &Selector, own: &[Cell]) -> bool {
    own.iter().all(|cell| {
        let mut held = false;
        cells(other, |one| held |= cell.is_inside(&one));
        held
    })
}

/// Whether the cells that `met` finds, each by a piece of `cell` that it meets, together hold all
/// of it; `None` if `met` gives up.
pub(super) fn covered(
    cell: Cell,
    mut met: impl FnMut(&Cell) -> Option<Option<Cell>>,
) -> Option<bool> {
    let mut left = alloc::vec![cell];
    while let Some(piece) = left.pop() {
        let Some(met) = met(&piece)? else { return Some(false) };
        let waiting = left.len();
        piece.outside(&met, |rest| left.push(rest));
        left.get_mut(waiting..).unwrap_or_default().reverse();
    }
    Some(true)
}
