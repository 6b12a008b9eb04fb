//! Inputs and outputs: values that are copied or borrowed for the call, and room for those that are written.

use core::ffi::c_char;
use core::marker::PhantomData;
use core::mem::{MaybeUninit, offset_of, size_of};
use core::ptr::{NonNull, copy_nonoverlapping};
use core::slice::{from_raw_parts, from_raw_parts_mut};

use super::Caller;
use crate::status::Status;
use crate::types::*;

/// Values that C may hand over.
///
/// # Safety
/// Any octets are a valid value.
pub unsafe trait Plain: Copy {}

/// A struct that starts with its own size.
///
/// # Safety
/// `repr(C)` with a first field `size: u32`.
pub unsafe trait Versioned: Plain {
    /// Octets of each of its published forms; the last is this library's.
    const SIZES: &[usize];
}

macro_rules! plain {
    ($($name:ty),* $(,)?) => {$(
        // SAFETY: integers, or `repr(C)` structs of integers and raw pointers (types, I1).
        unsafe impl Plain for $name {}
    )*};
}
plain!(u8, u32, u64, usize, *const u8);
plain!(espial_tunnel, espial_child, espial_sa, espial_ts, espial_sa_key, espial_endpoints);
plain!(espial_outer, espial_inner, espial_packet, espial_class, espial_arrival, espial_opened);
plain!(espial_verdict, espial_plain_verdict, espial_ike, espial_frame, espial_selector);
plain!(espial_policy, espial_spd_answer, espial_disjoint);
plain!(espial_range, espial_service, espial_local_in_policy, espial_local_packet);
plain!(espial_passthrough_rule, espial_passthrough_packet, espial_passthrough_answer);
plain!(espial_passthrough_flow, espial_teardown, espial_addr, espial_policy_route);
plain!(espial_segment, espial_reply, espial_pin, espial_health, espial_snapshot_pass);
plain!(espial_local_in_answer, espial_flow, espial_session, espial_session_end);
plain!(espial_needed_rule, espial_needed);
plain!(espial_child_ts, espial_box, espial_overlap, espial_hidden, espial_supernet);

macro_rules! versioned {
    ($($name:ty: [$($size:literal),*]),* $(,)?) => {$(
        plain!($name);
        // SAFETY: the first field is `size: u32` (types, I2).
        unsafe impl Versioned for $name {
            const SIZES: &[usize] = &[$($size),*];
        }
        const _: () = {
            let [.., newest] = *<$name as Versioned>::SIZES else { panic!() };
            assert!(offset_of!($name, size) == 0 && newest == size_of::<$name>());
            $(assert!(size_of::<u32>() <= $size && $size <= newest);)*
        };
    )*};
}
versioned! {
    espial_capacity: [32, 40],
    espial_sa_params: [48, 112],
    espial_sa_state: [32],
    espial_event: [248, 256],
    espial_counts: [624],
    espial_session_limits: [16],
    espial_passthrough_config: [32],
    espial_passthrough_counts: [240],
    espial_reply_limits: [32],
    espial_reply_config: [8],
    espial_tunnel_facts: [80],
    espial_record: [168],
    espial_needed_config: [76],
}

impl<'c> Caller<'c> {
    /// A copy of an input.
    pub fn read<T: Plain>(&self, at: *const T) -> Result<T, Status> {
        let at = self.tested(at)?;
        // SAFETY: not NULL, aligned, and live by the contract of `new`; any octets are a T.
        Ok(unsafe { at.read() })
    }

    /// An input in the caller's memory.
    #[inline]
    pub fn borrow<T: Plain>(&self, at: *const T) -> Result<&'c T, Status> {
        let at = self.tested(at)?;
        // SAFETY: not NULL, aligned, and live by the contract of `new`; any octets are a T; H1.
        Ok(unsafe { at.as_ref() })
    }

    /// A copy of an input that says how long it is; fields that it does not have are zero. It need
    /// only be aligned for its size: an older form may have had no larger field.
    pub fn read_versioned<T: Versioned>(&self, at: *const T) -> Result<T, Status> {
        let at = self.tested(at.cast::<u32>())?.cast::<T>();
        let size = self.size_field(at)?;
        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: `size` octets are live by the contract of `new`, and at most those of a T.
        unsafe { copy_nonoverlapping(at.as_ptr().cast::<u8>(), value.as_mut_ptr().cast(), size) };
        // SAFETY: zeroed, then partly overwritten: any octets are a T.
        Ok(unsafe { value.assume_init() })
    }

    /// The size that a struct states, if this library knows it.
    fn size_field<T: Versioned>(&self, at: NonNull<T>) -> Result<usize, Status> {
        // SAFETY: a T starts with a u32, and at least that is live by the contract of `new`.
        let size = unsafe { at.cast::<u32>().read() } as usize;
        if T::SIZES.contains(&size) { Ok(size) } else { Err(Status(ESPIAL_ESIZE)) }
    }

    /// An array of inputs, in the caller's memory. (NULL, 0) is an empty one.
    pub fn slice<T: Plain>(&self, at: *const T, count: usize) -> Result<&'c [T], Status> {
        if count == 0 {
            return Ok(&[]);
        }
        let at = self.tested(at)?;
        if count > isize::MAX as usize / size_of::<T>() {
            return Err(Status(ESPIAL_ERANGE));
        }
        // SAFETY: not NULL, aligned, `count` live values by the contract of `new`; H1.
        Ok(unsafe { from_raw_parts(at.as_ptr(), count) })
    }

    /// A text that ends with a NUL, of `most` octets at most, of which no more than that and the NUL are read.
    pub fn text(&self, at: *const c_char, most: usize) -> Result<&'c str, Status> {
        let at = self.tested(at.cast::<u8>())?;
        for len in 0..=most {
            // SAFETY: a text is live up to its NUL by the contract of `new`, and none stands before this octet.
            let next = unsafe { at.add(len) };
            // SAFETY: the same.
            if unsafe { next.read() } == 0 {
                let text = self.slice(at.as_ptr(), len)?;
                return core::str::from_utf8(text).map_err(|_| Status(ESPIAL_EVALUE));
            }
        }
        Err(Status(ESPIAL_EVALUE))
    }

    /// Octets or words to be written. (NULL, 0) are none.
    pub fn slice_mut<T: Plain>(&self, at: *mut T, count: usize) -> Result<&'c mut [T], Status> {
        if count == 0 {
            return Ok(&mut []);
        }
        let at = self.tested(at)?;
        if count > isize::MAX as usize / size_of::<T>() {
            return Err(Status(ESPIAL_ERANGE));
        }
        // SAFETY: not NULL, aligned, `count` live values that nobody else uses by the contract of
        // `new`; H1.
        Ok(unsafe { from_raw_parts_mut(at.as_ptr(), count) })
    }

    /// Room for one output.
    pub fn out<T>(&self, at: *mut T) -> Result<Out<'c, T>, Status> {
        Ok(Out { at: self.tested(at)?, call: PhantomData })
    }

    /// Room for an array of outputs.
    pub fn outs<T: Plain>(&self, at: *mut T, count: usize) -> Result<Outs<'c, T>, Status> {
        if count == 0 {
            return Ok(Outs { next: NonNull::dangling(), stride: 0, left: 0, call: PhantomData });
        }
        let next = self.tested(at)?;
        Ok(Outs { next, stride: size_of::<T>(), left: count, call: PhantomData })
    }

    /// Room for an array of outputs whose first element says how long each is.
    pub fn outs_versioned<T: Versioned>(
        &self,
        at: *mut T,
        count: usize,
    ) -> Result<Outs<'c, T>, Status> {
        let mut outs = self.outs(at, count)?;
        if outs.left > 0 {
            outs.stride = self.size_field(outs.next)?;
        }
        Ok(outs)
    }
}

/// Room for one output, written at the end of a call that succeeds.
pub struct Out<'c, T> {
    at: NonNull<T>,
    call: PhantomData<&'c mut T>,
}

impl<T> Out<'_, T> {
    /// Writes it.
    pub fn set(self, value: T) {
        // SAFETY: not NULL and aligned (`Caller::out`), live by the contract of `Caller::new`.
        unsafe { self.at.write(value) };
    }
}

impl<T: Versioned> Out<'_, T> {
    /// The size that the caller's struct states, if this library knows it.
    pub fn size(&self, caller: &Caller<'_>) -> Result<usize, Status> {
        caller.size_field(self.at)
    }

    /// Writes its first `size` octets, where `size` came from [`Out::size`].
    pub fn set_versioned(self, size: usize, value: &T) {
        let from = core::ptr::from_ref(value).cast::<u8>();
        let size = size.min(size_of::<T>());
        // SAFETY: `size` octets are the caller's by its own word (`size_field`), and in a T.
        unsafe { copy_nonoverlapping(from, self.at.as_ptr().cast(), size) };
    }
}

/// Room for an array of outputs, written front to back.
pub struct Outs<'c, T> {
    next: NonNull<T>,
    stride: usize,
    left: usize,
    call: PhantomData<&'c mut T>,
}

impl<T: Plain> Outs<'_, T> {
    /// Octets of an element as the caller knows it.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Elements that there is room for.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Writes the next elements, as many as there is room for.
    pub fn fill(&mut self, values: impl Iterator<Item = T>) {
        values.take(self.left).for_each(|value| self.push(&value));
    }

    /// Writes the next element, if there is room.
    pub fn push(&mut self, value: &T) {
        let Some(left) = self.left.checked_sub(1) else { return };
        let from = core::ptr::from_ref(value).cast::<u8>();
        let to = self.next.cast::<u8>();
        let octets = self.stride.min(size_of::<T>());
        // SAFETY: `left` elements of `stride` octets are the caller's (`Caller::outs`, contract of
        // `Caller::new`), and `octets` are in a T.
        unsafe { copy_nonoverlapping(from, to.as_ptr(), octets) };
        self.left = left;
        if left > 0 {
            // SAFETY: another element follows in the caller's array.
            self.next = unsafe { to.add(self.stride) }.cast();
        }
    }
}
