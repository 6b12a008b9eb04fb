//! The configuration flow: tunnels, Child SAs, SAs, publication and counts.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use espial::counters::Counts;
use espial::headers::Spi;
use espial::selector::TrafficSelector;

use crate::convert;
use crate::handle::{Caller, Out, espial_gateway};
use crate::status::Status;
use crate::types::*;

/// Adds a tunnel without Child SAs. mode is ESPIAL_MODE_*, shadow one bit 1 << ESPIAL_MODE_* for each
/// mode that is asked beside it and only counted.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EVALUE: no such mode; ESPIAL_EFULL;
/// ESPIAL_EBUSY: room will come when every worker has been quiescent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_tunnel_add(
    gateway: *mut espial_gateway,
    mode: u32,
    shadow: u32,
    tunnel: *mut espial_tunnel,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let tunnel = c.out(tunnel)?;
        let id = writer.control.add_tunnel(convert::mode(mode)?, convert::modes(shadow)?)?;
        tunnel.set(id.into());
        Ok(())
    })
}

/// Switches the mode and the shadow modes of a tunnel; the next packet is judged by them.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EVALUE: no such mode; ESPIAL_ESTALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_tunnel_set_mode(
    gateway: *mut espial_gateway,
    tunnel: espial_tunnel,
    mode: u32,
    shadow: u32,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let (mode, shadow) = (convert::mode(mode)?, convert::modes(shadow)?);
        Ok(writer.control.set_mode(tunnel.into(), mode, shadow)?)
    })
}

/// The mode and the shadow modes of a tunnel.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESTALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_tunnel_mode(
    gateway: *mut espial_gateway,
    tunnel: espial_tunnel,
    mode: *mut u32,
    shadow: *mut u32,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let (mode, shadow) = (c.out(mode)?, c.out(shadow)?);
        let (enforced, beside) = writer.control.mode(tunnel.into())?;
        mode.set(enforced as u32);
        shadow.set(beside.bits().into());
        Ok(())
    })
}

/// Removes a tunnel that has no Child SAs. Its counts go into those of the gateway.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESTALE, ESPIAL_EINUSE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_tunnel_remove(
    gateway: *mut espial_gateway,
    tunnel: espial_tunnel,
) -> i32 {
    call!(|c| { Ok(c.writer(gateway)?.control.remove_tunnel(tunnel.into())?) })
}

/// Counts of a tunnel: all its SAs, those that are gone included. counts->size is set by the caller.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESIZE, ESPIAL_ESTALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_tunnel_counts(
    gateway: *mut espial_gateway,
    tunnel: espial_tunnel,
    counts: *mut espial_counts,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let counts = CountsOut::new(&c, counts)?;
        counts.set(&writer.control.tunnel_counts(tunnel.into())?, 0, 0);
        Ok(())
    })
}

/// How many Child SAs a tunnel has, and how many of them have an SA: selectors(total, up).
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESTALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_tunnel_children(
    gateway: *mut espial_gateway,
    tunnel: espial_tunnel,
    total: *mut u32,
    up: *mut u32,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let (total, up) = (c.out(total)?, c.out(up)?);
        let counts = writer.control.child_counts(tunnel.into())?;
        total.set(counts.0);
        up.set(counts.1);
        Ok(())
    })
}

/// Tests a traffic selector by itself: to find the one that espial_child_add() refused.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EVALUE: no such family; ESPIAL_ESELECTOR: a reversed range
/// that is not OPAQUE, or ports other than any under protocol 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_ts_check(ts: *const espial_ts) -> i32 {
    call!(|c| {
        convert::traffic_selector(&c.read(ts)?)?;
        Ok(())
    })
}

/// Stages a Child SA behind the tunnel's others. Its selectors are every pair of a local and a remote
/// one whose families and protocols go together (RFC 7296 section 3.13). After espial_gateway_publish()
/// its SAs can be added. The arrays are not kept.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESTALE; ESPIAL_EVALUE, ESPIAL_ESELECTOR: as
/// espial_ts_check(); ESPIAL_ERANGE: more on one side than ESPIAL_TS_MAX or espial_capacity.selectors;
/// ESPIAL_EEMPTY: no pair; ESPIAL_EFULL; ESPIAL_EBUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_child_add(
    gateway: *mut espial_gateway,
    tunnel: espial_tunnel,
    local: *const espial_ts,
    local_count: usize,
    remote: *const espial_ts,
    remote_count: usize,
    child: *mut espial_child,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let child = c.out(child)?;
        let half = writer.scratch.len() / 2;
        let (locals, remotes) = writer.scratch.split_at_mut_checked(half).unwrap_or_default();
        let locals = selectors(&c, local, local_count, locals)?;
        let remotes = selectors(&c, remote, remote_count, remotes)?;
        child.set(writer.control.add_child(tunnel.into(), locals, remotes)?.into());
        Ok(())
    })
}

/// Removes a Child SA that has no SAs. It is gone from the packet path with the next publication.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESTALE, ESPIAL_EINUSE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_child_remove(
    gateway: *mut espial_gateway,
    child: espial_child,
) -> i32 {
    call!(|c| { Ok(c.writer(gateway)?.control.remove_child(child.into())?) })
}

/// Makes all staged tunnels and Child SAs visible at once. A packet is judged by the old ones or by the
/// new ones, never by a mix.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EBUSY: a worker was not quiescent since the
/// last publication; packets are judged as before, try again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_publish(gateway: *mut espial_gateway) -> i32 {
    call!(|c| {
        c.writer(gateway)?.control.publish()?;
        Ok(())
    })
}

/// Counts of everything: all tunnels that are or were, and packets that reached no SA. counts->size is
/// set by the caller.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESIZE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_counts(
    gateway: *mut espial_gateway,
    counts: *mut espial_counts,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let counts = CountsOut::new(&c, counts)?;
        let control = &writer.control;
        counts.set(&control.total_counts(), control.passed(), control.events_suppressed());
        Ok(())
    })
}

/// Chooses an SPI for an SA that is being negotiated, unpredictable and not below 256. Packets that come
/// before its SA are dropped as ESPIAL_SPI_CLASS_LARVAL. espial_sa_add() with this SPI, this protocol and
/// ESPIAL_SCOPE_SPI brings the SA to life; espial_spi_release() gives the SPI back instead. ipsec is
/// ESPIAL_IPSEC_*, now_ms the caller's clock.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE; ESPIAL_EFULL: as many as
/// espial_capacity.sas_allocated are in use; ESPIAL_EQUARANTINE: the others were a short time ago;
/// ESPIAL_EBUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spi_reserve(
    gateway: *mut espial_gateway,
    ipsec: u32,
    now_ms: u64,
    spi: *mut u32,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let ipsec = convert::protocol(ipsec)?;
        let spi = c.out(spi)?;
        spi.set(writer.control.reserve_spi(ipsec, now_ms)?.0);
        Ok(())
    })
}

/// Gives back a reserved SPI whose negotiation failed. It is quarantined too: the peer knows it.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE; ESPIAL_ESTALE: not reserved, or its
/// SA lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spi_release(
    gateway: *mut espial_gateway,
    ipsec: u32,
    spi: u32,
    now_ms: u64,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let ipsec = convert::protocol(ipsec)?;
        Ok(writer.control.release_spi(ipsec, Spi(spi), now_ms)?)
    })
}

/// How long an SPI that this gateway chose is not used again after its SA was deleted, in milliseconds;
/// 10000 until this is called. Longer than packets are on their way.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spi_set_quarantine(gateway: *mut espial_gateway, ms: u64) -> i32 {
    call!(|c| {
        c.writer(gateway)?.control.set_spi_quarantine(ms);
        Ok(())
    })
}

/// Adds an SA to a published Child SA; packets find it from now on.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESIZE, ESPIAL_EVALUE, ESPIAL_EKEY;
/// ESPIAL_ERANGE: replay_value is no high half; ESPIAL_EWINDOW: replay_window is above the capacity;
/// ESPIAL_ESTALE: the Child SA is gone; ESPIAL_EUNPUBLISHED; ESPIAL_EDUPLICATE; ESPIAL_EFULL;
/// ESPIAL_EBUCKET; ESPIAL_EBUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sa_add(
    gateway: *mut espial_gateway,
    child: espial_child,
    params: *const espial_sa_params,
    sa: *mut espial_sa,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let params = convert::sa_params(&c.read_versioned(params)?)?;
        let sa = c.out(sa)?;
        sa.set(writer.control.add_sa(child.into(), &params)?.into());
        Ok(())
    })
}

/// Deletes an SA at now_ms on the caller's clock. Packets that arrived on it and are not checked yet
/// will be dropped as ESPIAL_DROP_UNKNOWN_SPI.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESTALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sa_delete(
    gateway: *mut espial_gateway,
    sa: espial_sa,
    now_ms: u64,
) -> i32 {
    call!(|c| { Ok(c.writer(gateway)?.control.delete_sa(sa.into(), now_ms)?) })
}

/// Puts a new SA in the place of an old one; there is no moment in which neither answers. For a rekey
/// with overlap call espial_sa_add() now and espial_sa_delete() when the peer has moved.
///
/// Thread: one writer.
/// Errors: those of espial_sa_add() and espial_sa_delete(); the old SA stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sa_replace(
    gateway: *mut espial_gateway,
    old: espial_sa,
    child: espial_child,
    params: *const espial_sa_params,
    now_ms: u64,
    sa: *mut espial_sa,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let params = convert::sa_params(&c.read_versioned(params)?)?;
        let sa = c.out(sa)?;
        let new = writer.control.replace_sa(old.into(), child.into(), &params, now_ms)?;
        sa.set(new.into());
        Ok(())
    })
}

/// The SA with exactly this key: no longer and no shorter one.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_EKEY, ESPIAL_ENOTFOUND.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sa_find(
    gateway: *mut espial_gateway,
    key: *const espial_sa_key,
    sa: *mut espial_sa,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let key = convert::sa_key(&c.read(key)?)?;
        let sa = c.out(sa)?;
        sa.set(writer.control.find_sa(&key).ok_or(Status(ESPIAL_ENOTFOUND))?.into());
        Ok(())
    })
}

/// The key of a live SA.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESTALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sa_key_of(
    gateway: *mut espial_gateway,
    sa: espial_sa,
    key: *mut espial_sa_key,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let key = c.out(key)?;
        let found = writer.control.sa_key(sa.into()).ok_or(Status(ESPIAL_ESTALE))?;
        key.set(convert::sa_key_codes(&found));
        Ok(())
    })
}

/// Counts of a live SA. counts->size is set by the caller.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESIZE, ESPIAL_ESTALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sa_counts(
    gateway: *mut espial_gateway,
    sa: espial_sa,
    counts: *mut espial_counts,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let counts = CountsOut::new(&c, counts)?;
        counts.set(&writer.control.sa_counts(sa.into())?, 0, 0);
        Ok(())
    })
}

/// What a live SA has seen so far: for another node to take it over. state->size is set by the caller.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESIZE, ESPIAL_ESTALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sa_state_of(
    gateway: *mut espial_gateway,
    sa: espial_sa,
    state: *mut espial_sa_state,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let state = c.out(state)?;
        let size = state.size(&c)?;
        let seen = writer.control.sa_state(sa.into())?;
        state.set_versioned(size, &convert::sa_state_codes(&seen, size));
        Ok(())
    })
}

/// The next SA whose soft or hard limit in time has passed, or that has reached another hard limit: also
/// where no packets arrive. It looks at slots indexes from *from on, and moves *from on; *due is
/// ESPIAL_DUE_*, and *sa none if there was none among them. Begin with *from = 0 and go on until it is
/// UINT32_MAX. No event is made; an SA is named as ESPIAL_DUE_SOFT until an event has told of a soft limit.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sa_next_due(
    gateway: *mut espial_gateway,
    slots: u32,
    now_ms: u64,
    from: *mut u32,
    sa: *mut espial_sa,
    due: *mut u32,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let mut next = c.read(from.cast_const())?;
        let (from, sa, due) = (c.out(from)?, c.out(sa)?, c.out(due)?);
        let found = writer.control.next_due_sa(&mut next, slots, now_ms);
        let (found, how) = convert::due_codes(found);
        from.set(next);
        sa.set(found);
        due.set(how);
        Ok(())
    })
}

/// The caller's selectors of one side, in the gateway's scratch memory.
fn selectors<'s>(
    caller: &Caller<'_>,
    at: *const espial_ts,
    count: usize,
    scratch: &'s mut [TrafficSelector],
) -> Result<&'s [TrafficSelector], Status> {
    let scratch = scratch.get_mut(..count).ok_or(Status(ESPIAL_ERANGE))?;
    for (slot, ts) in scratch.iter_mut().zip(caller.slice(at, count)?) {
        *slot = convert::traffic_selector(ts)?;
    }
    Ok(scratch)
}

/// Room for counts whose size was tested.
struct CountsOut<'c> {
    out: Out<'c, espial_counts>,
    size: usize,
}

impl<'c> CountsOut<'c> {
    fn new(caller: &Caller<'c>, at: *mut espial_counts) -> Result<Self, Status> {
        let out = caller.out(at)?;
        let size = out.size(caller)?;
        Ok(Self { out, size })
    }

    fn set(self, counts: &Counts, passed: u64, events_suppressed: u64) {
        let counts = convert::counts_codes(counts, self.size);
        self.out.set_versioned(self.size, &espial_counts { passed, events_suppressed, ..counts });
    }
}
