//! Gateways and workers: made in the caller's memory, or allocated, and released.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use core::ffi::c_void;

use espial::event::{Events, NoEvents};

use crate::convert;
use crate::handle::{
    ALIGNMENT, Plan, QUIET_WORKER_OCTETS, WORKER_OCTETS, espial_gateway, espial_worker,
};
use crate::types::*;

/// Octets of memory that a gateway of this capacity needs.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE; ESPIAL_ERANGE: tunnels, children, selectors or
/// workers are 0, or it does not fit this machine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_size(
    capacity: *const espial_capacity,
    size: *mut usize,
) -> i32 {
    call!(|c| {
        let capacity = convert::capacity(&c.read_versioned(capacity)?);
        let size = c.out(size)?;
        size.set(Plan::of(&capacity)?.total);
        Ok(())
    })
}

/// Alignment in octets of the memory of a gateway.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_gateway_align() -> usize {
    ALIGNMENT
}

/// Makes an empty gateway in the caller's memory, of len octets at mem.
///
/// The seed is 128 bits that peers do not know: it keys the hash of the SPI table, and the SPIs that the
/// gateway chooses follow from it. The memory is the
/// library's until espial_gateway_release(), and must not move. Nothing is allocated, now or later.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE, ESPIAL_ERANGE as espial_gateway_size();
/// ESPIAL_EROOM: len is smaller than that says. The content of mem is then unspecified.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_init(
    mem: *mut c_void,
    len: usize,
    capacity: *const espial_capacity,
    seed0: u64,
    seed1: u64,
    gateway: *mut *mut espial_gateway,
) -> i32 {
    call!(|c| {
        let capacity = convert::capacity(&c.read_versioned(capacity)?);
        let gateway = c.out(gateway)?;
        gateway.set(c.init_gateway(mem, len, &capacity, [seed0, seed1], 0)?);
        Ok(())
    })
}

/// Takes a gateway out of use: its memory is the caller's again, and the handle is refused from now
/// on while that memory is not used for something else.
///
/// Thread: one writer, after the last call of every other thread.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: no live gateway, or one of
/// espial_gateway_new(); ESPIAL_EATTACHED: it still has workers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_release(gateway: *mut espial_gateway) -> i32 {
    call!(|c| { c.release(gateway) })
}

/// Makes an empty gateway in memory of its own. The shared library has this; the static one, which
/// needs no allocator, has not.
///
/// Thread: any. Give it back with espial_gateway_free().
/// Errors: those of espial_gateway_init(); ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_new(
    capacity: *const espial_capacity,
    seed0: u64,
    seed1: u64,
    gateway: *mut *mut espial_gateway,
) -> i32 {
    call!(|c| {
        let capacity = convert::capacity(&c.read_versioned(capacity)?);
        let gateway = c.out(gateway)?;
        gateway.set(c.new_gateway(&capacity, [seed0, seed1])?);
        Ok(())
    })
}

/// Releases and frees a gateway of espial_gateway_new(). NULL is fine. Shared library only.
///
/// Thread: one writer, after the last call of every other thread.
/// Errors: those of espial_gateway_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_free(gateway: *mut espial_gateway) -> i32 {
    if gateway.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(gateway) })
}

/// Octets of memory that a gateway needs to grow to a capacity: to be aligned like that of the gateway.
/// capacity is the whole, not what is added.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESIZE; ESPIAL_ERANGE, ESPIAL_EGROW as
/// espial_gateway_grow().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_growth_size(
    gateway: *mut espial_gateway,
    capacity: *const espial_capacity,
    size: *mut usize,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let capacity = convert::capacity(&c.read_versioned(capacity)?);
        let size = c.out(size)?;
        size.set(writer.control.octets_to_grow(&capacity)?);
        Ok(())
    })
}

/// Makes room for as many SAs as a capacity says, in more memory of the caller's, of len octets at mem. SAs
/// stay where they are, handles stay valid and workers go on; packets find the larger tables with one
/// store. All memory stays in use, that of before too, until the gateway is released; mem is then the
/// caller's again, as it is if the call fails.
///
/// Of the capacity sas, sas_dst, sas_dst_src, sas_allocated and replay_window are read. None may be less
/// than it was; replay_window must be the same; sas_dst and sas_dst_src can grow only if one of them was
/// not 0 at first; sas_allocated to eight times its first value, as far as 2^22. Seven times in all.
///
/// Thread: one writer. Takes time linear in the SAs; workers do not wait.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESIZE; ESPIAL_ERANGE: it does not fit this
/// machine; ESPIAL_EGROW: not like that, or not again; ESPIAL_EROOM: len is smaller than
/// espial_gateway_growth_size() says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_grow(
    gateway: *mut espial_gateway,
    mem: *mut c_void,
    len: usize,
    capacity: *const espial_capacity,
) -> i32 {
    call!(|c| {
        let capacity = convert::capacity(&c.read_versioned(capacity)?);
        c.grow_gateway(gateway, mem, len, &capacity)
    })
}

/// espial_gateway_grow() of a gateway of espial_gateway_new(), into memory that espial_gateway_free()
/// frees. Shared library only.
///
/// Thread: one writer.
/// Errors: those of espial_gateway_growth_size(); ESPIAL_EHANDLE: one of espial_gateway_init() too;
/// ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_grow_alloc(
    gateway: *mut espial_gateway,
    capacity: *const espial_capacity,
) -> i32 {
    call!(|c| {
        let capacity = convert::capacity(&c.read_versioned(capacity)?);
        c.grow_gateway_alloc(gateway, &capacity)
    })
}

/// SAs that there is room for: those found by SPI alone, by SPI and destination, by SPI, destination and
/// source, and those whose SPIs are chosen here.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_sa_limits(
    gateway: *mut espial_gateway,
    sas: *mut u32,
    sas_dst: *mut u32,
    sas_dst_src: *mut u32,
    sas_allocated: *mut u32,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let (sas, sas_dst) = (c.out(sas)?, c.out(sas_dst)?);
        let (sas_dst_src, sas_allocated) = (c.out(sas_dst_src)?, c.out(sas_allocated)?);
        let [spi, dst, dst_src, allocated] = writer.control.sa_limits();
        sas.set(spi);
        sas_dst.set(dst);
        sas_dst_src.set(dst_src);
        sas_allocated.set(allocated);
        Ok(())
    })
}

/// Octets of memory that a worker needs.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_worker_size() -> usize {
    WORKER_OCTETS
}

/// Alignment in octets of the memory of a worker.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_worker_align() -> usize {
    ALIGNMENT
}

/// Makes worker index, from 0, of a gateway in the caller's memory, of len octets at mem.
///
/// The memory is the library's until espial_worker_release(), must not move, and is used by one
/// thread, the worker's owner. Each index is for one worker at a time.
///
/// Thread: any. On targets without atomic exchange (Cortex-M0) not two at once.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EROOM; ESPIAL_EHANDLE: no live gateway;
/// ESPIAL_ERANGE: index is not below espial_capacity.workers; ESPIAL_EATTACHED: index is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_init(
    mem: *mut c_void,
    len: usize,
    gateway: *mut espial_gateway,
    index: u32,
    worker: *mut *mut espial_worker,
) -> i32 {
    call!(|c| {
        let worker = c.out(worker)?;
        worker.set(c.init_worker::<Events>(mem, len, gateway, index, 0)?);
        Ok(())
    })
}

/// Octets of memory that espial_quiet_worker_init() needs.
///
/// Thread: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn espial_quiet_worker_size() -> usize {
    QUIET_WORKER_OCTETS
}

/// As espial_worker_init(), but the worker keeps no events: it counts them as suppressed, espial_worker_events()
/// has none, and a program whose workers are all like this links none of their code. For small devices.
///
/// Thread: any. Its gateway must not be released before it.
/// Errors: those of espial_worker_init().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_quiet_worker_init(
    mem: *mut c_void,
    len: usize,
    gateway: *mut espial_gateway,
    index: u32,
    worker: *mut *mut espial_worker,
) -> i32 {
    call!(|c| {
        let worker = c.out(worker)?;
        worker.set(c.init_worker::<NoEvents>(mem, len, gateway, index, 0)?);
        Ok(())
    })
}

/// Takes a worker out of use and frees its index. Events that were not drained are lost, counts are
/// not. The memory is the caller's again, and the handle is refused from now on.
///
/// Thread: owner only. Before its gateway is released.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: no live worker, or one of espial_worker_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_release(worker: *mut espial_worker) -> i32 {
    call!(|c| { c.release(worker) })
}

/// Makes worker index of a gateway in memory of its own. Shared library only.
///
/// Thread: any. Give it back with espial_worker_free().
/// Errors: those of espial_worker_init(); ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_new(
    gateway: *mut espial_gateway,
    index: u32,
    worker: *mut *mut espial_worker,
) -> i32 {
    call!(|c| {
        let worker = c.out(worker)?;
        worker.set(c.new_worker(gateway, index)?);
        Ok(())
    })
}

/// Releases and frees a worker of espial_worker_new(). NULL is fine. Shared library only.
///
/// Thread: owner only. Before its gateway is released.
/// Errors: those of espial_worker_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_free(worker: *mut espial_worker) -> i32 {
    if worker.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(worker) })
}
