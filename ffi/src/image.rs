//! Gateways over images: compiled elsewhere, used where they lie.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use core::ffi::{c_char, c_void};

use espial::image::Image;

use crate::convert;
use crate::handle::{Caller, Plan, espial_gateway};
use crate::status::Status;
use crate::types::*;

/// Tests an image, of `espial compile` or of the library, of len octets at image: all of it, so that a gateway over
/// it comes to no harm, whoever made it. Says how many octets it has, and how many tunnels and Child SAs: what
/// espial_capacity has to say at least.
///
/// An image lies at a multiple of 8 octets, best of 64: in flash, in shared memory, in a mapped file. Octets behind its
/// end are not looked at.
///
/// Thread: any. Takes time linear in its octets.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ERANGE; ESPIAL_EWORDS: no image, damaged, cut short, of another format, or of
/// the other byte order (`espial compile --order`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_image_check(
    image: *const c_void,
    len: usize,
    octets: *mut usize,
    tunnels: *mut u32,
    children: *mut u32,
) -> i32 {
    call!(|c| {
        let (octets, tunnels, children) = (c.out(octets)?, c.out(tunnels)?, c.out(children)?);
        let image = c.image(image, len)?;
        octets.set(image.octets());
        tunnels.set(image.tunnels());
        children.set(image.children());
        Ok(())
    })
}

/// Octets of memory that a gateway over an image needs. Of the capacity selectors is not read; tunnels and children
/// are the most that any image of its has.
///
/// Thread: any.
/// Errors: those of espial_gateway_size().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_image_size(
    capacity: *const espial_capacity,
    size: *mut usize,
) -> i32 {
    call!(|c| {
        let capacity = convert::capacity(&c.read_versioned(capacity)?);
        let size = c.out(size)?;
        size.set(Plan::over_image(&capacity)?.total);
        Ok(())
    })
}

/// Makes a gateway whose tunnels, Child SAs and selectors are those of an image, in the caller's memory, of len
/// octets at mem. The image, of image_len octets, is tested as espial_image_check() does and used where it lies: it must not change
/// until the gateway is released, or until another one took its place and espial_gateway_image_settled().
///
/// SAs are added to its Child SAs (espial_gateway_image_child(), espial_gateway_image_find()) as in any other gateway, and all
/// calls of the packet path and of SAs are the same. Tunnels and Child SAs are not added or removed, and modes not switched:
/// ESPIAL_EFULL, ESPIAL_ERANGE, ESPIAL_ESTALE.
///
/// Thread: any. Takes time linear in the octets of the image.
/// Errors: those of espial_gateway_init() and of espial_image_check(); ESPIAL_ERANGE: it has more tunnels or
/// Child SAs than the capacity says too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_init_image(
    mem: *mut c_void,
    len: usize,
    capacity: *const espial_capacity,
    seed0: u64,
    seed1: u64,
    image: *const c_void,
    image_len: usize,
    gateway: *mut *mut espial_gateway,
) -> i32 {
    call!(|c| {
        let capacity = convert::capacity(&c.read_versioned(capacity)?);
        let gateway = c.out(gateway)?;
        let seed = [seed0, seed1];
        gateway.set(c.init_over_image((mem, len), &capacity, seed, (image, image_len))?);
        Ok(())
    })
}

/// Puts another image in the place of the one in use, with one store: each packet is judged by the one or by the
/// other. SAs stay with their Child SAs: those that are the same in both by number, names and selectors. Modes may differ.
///
/// Thread: one writer. Takes time linear in the octets of the image; workers do not wait.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EWORDS as espial_image_check(); ESPIAL_EHANDLE: not a gateway over an
/// image too; ESPIAL_ERANGE: more tunnels or Child SAs than the capacity says; ESPIAL_EINUSE: a Child SA that changes has SAs,
/// delete them first; ESPIAL_EDUPLICATE: two different Child SAs look the same, give one another name; ESPIAL_EBUSY: a
/// worker may still read the image before the last one. The image in use stays in use then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_swap_image(
    gateway: *mut espial_gateway,
    image: *const c_void,
    image_len: usize,
) -> i32 {
    call!(|c| {
        let writer = c.writer(gateway)?;
        let image = c.image(image, image_len)?;
        writer.control.swap_image(&image)?;
        Ok(())
    })
}

/// ESPIAL_OK if no worker reads an image that another one took the place of: its memory is the caller's.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE as espial_gateway_swap_image(); ESPIAL_EBUSY: not yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_image_settled(gateway: *mut espial_gateway) -> i32 {
    call!(|c| {
        image_of(&c, gateway)?;
        let is_settled = c.writer(gateway)?.control.is_image_settled();
        if is_settled { Ok(()) } else { Err(Status(ESPIAL_EBUSY)) }
    })
}

/// The tunnel with a number in the image in use, from 0 in the order of its configuration.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE as espial_gateway_swap_image(); ESPIAL_ESTALE: it has fewer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_image_tunnel(
    gateway: *mut espial_gateway,
    number: u32,
    tunnel: *mut espial_tunnel,
) -> i32 {
    call!(|c| {
        let tunnel = c.out(tunnel)?;
        let id = image_of(&c, gateway)?.tunnel_id(number).ok_or(Status(ESPIAL_ESTALE))?;
        tunnel.set(id.into());
        Ok(())
    })
}

/// The Child SA with a number in the image in use, from 0 in the order of its configuration.
///
/// Thread: one writer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE as espial_gateway_swap_image(); ESPIAL_ESTALE: it has fewer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_image_child(
    gateway: *mut espial_gateway,
    number: u32,
    child: *mut espial_child,
) -> i32 {
    call!(|c| {
        let child = c.out(child)?;
        let id = image_of(&c, gateway)?.child_id(number).ok_or(Status(ESPIAL_ESTALE))?;
        child.set(id.into());
        Ok(())
    })
}

/// The Child SA with a name in a tunnel with a name, in the image in use. Names are octets of UTF-8 without NUL.
///
/// Thread: one writer. Takes time linear in the Child SAs.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE as espial_gateway_swap_image(); ESPIAL_ERANGE; ESPIAL_ENOTFOUND: none, or
/// names were left out of the image.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_gateway_image_find(
    gateway: *mut espial_gateway,
    tunnel: *const c_char,
    tunnel_len: usize,
    name: *const c_char,
    name_len: usize,
    child: *mut espial_child,
) -> i32 {
    call!(|c| {
        let (tunnel, name) =
            (c.slice(tunnel.cast::<u8>(), tunnel_len)?, c.slice(name.cast(), name_len)?);
        let child = c.out(child)?;
        let found = image_of(&c, gateway)?.child_named(tunnel, name);
        child.set(found.ok_or(Status(ESPIAL_ENOTFOUND))?.into());
        Ok(())
    })
}

/// The image in use.
fn image_of<'c>(
    caller: &Caller<'c>,
    gateway: *mut espial_gateway,
) -> Result<&'c Image<'static>, Status> {
    caller.writer(gateway)?.control.image().ok_or(Status(ESPIAL_EHANDLE))
}
