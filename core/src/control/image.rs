//! Images in place of what is staged: a gateway over one, another one in its place, and how one is made.
//!
//! The Child SAs of an image are there as long as it is. So one image takes the place of another only if every
//! Child SA that has SAs is the same in both (`control`, I2); and an SA is added to one that was not in the image before
//! only when no worker reads that any more (I3).

use super::Control;
use crate::control::{ChildId, TunnelId};
use crate::error::{SaError, SetupError};
use crate::gateway::{Shown, policy_of};
use crate::image::{Image, TUNNEL};
use crate::matcher::block::Block;
use crate::verdict::{Mode, Modes};

/// Why an image does not take the place of another one. The one before stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwapError {
    /// The gateway compiles what is staged; it has no image.
    NoImage,
    /// A worker has not been quiescent since the last image came. Try again.
    Busy,
    /// It has more tunnels or Child SAs than the capacity says.
    TooLarge {
        /// Name of the field of [`Capacity`](crate::Capacity).
        field: &'static str,
        /// The capacity.
        limit: u32,
    },
    /// A Child SA that has SAs is another one, or gone. Delete them first.
    InUse {
        /// Its number.
        child: u32,
    },
    /// Two different Child SAs look the same by number and generation: in 2^31 there is one such pair. Give one of
    /// them another name.
    Alike {
        /// Their number.
        child: u32,
    },
}

impl core::fmt::Display for SwapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoImage => f.write_str("the gateway was not made over an image"),
            Self::Busy => f.write_str("a worker may still read the image before the last one"),
            Self::TooLarge { field, limit } => write!(f, "more {field} than {limit}"),
            Self::InUse { child } => write!(f, "Child SA {child} changes and has SAs"),
            Self::Alike { child } => write!(f, "Child SA {child} changes and looks the same"),
        }
    }
}

impl core::error::Error for SwapError {}

/// What is in place of what is staged.
#[derive(Clone, Copy)]
pub(super) struct Images<'m> {
    now: Image<'m>,
    /// The block that workers may still read; none if there was none.
    before: &'m [u64],
}

impl<'m> Images<'m> {
    /// It was validated when it came.
    fn before(&self) -> Block<'m> {
        Block::open(self.before).unwrap_or_default()
    }
}

impl<'m> Control<'m> {
    /// The first image.
    pub(crate) fn show(&mut self, image: &Image<'m>) -> Result<(), SetupError> {
        self.fits(image).map_err(|(field, limit)| SetupError::Image { field, limit })?;
        for cell in self.tables.tunnels {
            cell.generation.set(TUNNEL);
        }
        self.images = Some(Images { now: *image, before: &[] });
        // Nobody reads yet.
        self.shown(image).map(|_| ()).ok_or(SetupError::TooLarge)
    }

    /// Puts an image in the place of the one that workers read, with one store: each packet is judged by the one or
    /// by the other. Returns the version.
    ///
    /// SAs stay, each with its Child SA: the same in both images, by number, names and selectors. Modes may differ.
    /// The image before is not read any more when [`Control::is_image_settled`]. Counts of tunnels, and their
    /// handles, go by the tunnel's number in either image.
    ///
    /// # Bound
    /// Linear in Child SAs and in the selectors of those that stay.
    ///
    /// # Errors
    /// [`SwapError`]; then nothing has changed.
    pub fn swap_image(&mut self, image: &Image<'m>) -> Result<u32, SwapError> {
        self.settle();
        let images = self.images.ok_or(SwapError::NoImage)?;
        self.fits(image).map_err(|(field, limit)| SwapError::TooLarge { field, limit })?;
        let (old, new) = (images.now.block(), image.block());
        for child in 0..old.children().max(new.children()) as u32 {
            let generation = |block: &Block<'_>| block.child(child).map(|one| one.generation);
            if generation(old) == generation(new) {
                if !old.has_same_child(new, child) {
                    return Err(SwapError::Alike { child });
                }
            } else if self.established(child) > 0 {
                return Err(SwapError::InUse { child });
            }
        }
        let version = self.shown(image).ok_or(SwapError::Busy)?;
        self.images = Some(Images { now: *image, before: images.now.words() });
        Ok(version)
    }

    /// The image that is in place of what is staged, if the gateway was made over one.
    pub fn image(&self) -> Option<&Image<'m>> {
        self.images.as_ref().map(|images| &images.now)
    }

    /// True if no worker reads an image that another one took the place of: it may be erased.
    pub fn is_image_settled(&self) -> bool {
        self.publisher.ready()
    }

    /// The image before may be gone once no worker reads it: from then on nothing here refers to it.
    pub(super) fn forget_image(&mut self) {
        if self.publisher.ready()
            && let Some(images) = &mut self.images
        {
            images.before = &[];
        }
    }

    fn shown(&mut self, image: &Image<'m>) -> Option<u32> {
        let words = Shown::image(image.words());
        self.publisher.publish(|_, _, shown| {
            *shown = words;
            true
        })
    }

    fn fits(&self, image: &Image<'_>) -> Result<(), (&'static str, u32)> {
        let (tunnels, children) =
            (self.tables.tunnels.len() as u32, self.tables.established.len() as u32);
        if image.tunnels() > tunnels {
            return Err(("tunnels", tunnels));
        }
        if image.children() > children {
            return Err(("children", children));
        }
        Ok(())
    }

    /// The tunnel of a Child SA of the image, to which an SA is added.
    pub(super) fn tunnel_in(&self, images: &Images<'m>, child: ChildId) -> Result<u32, SaError> {
        let is_it = |block: &Block<'m>| {
            block.child(child.index).is_some_and(|one| one.generation == child.generation)
        };
        let now = images.now.block();
        let record = now.child(child.index).filter(|_| child.generation & 1 == 1 && is_it(now));
        let record = record.ok_or(SaError::StaleChild)?;
        // Once it is settled the image before may be gone: it is not looked at then.
        let is_read = !images.before.is_empty() && !self.publisher.ready();
        if is_read && !is_it(&images.before()) {
            return Err(SaError::Busy);
        }
        Ok(record.tunnel)
    }

    /// The image's block, if the tunnel is one of its.
    pub(super) fn image_of(&self, tunnel: TunnelId) -> Option<&Block<'m>> {
        let block = self.image()?.block();
        let is_one = (tunnel.index as usize) < block.tunnels() && tunnel.generation == TUNNEL;
        is_one.then_some(block)
    }

    /// The modes of a tunnel of an image: those of its first Child SA.
    pub(super) fn mode_in(block: &Block<'m>, tunnel: TunnelId) -> (Mode, Modes) {
        let first = block.children_of(tunnel.index).next();
        policy_of(first.map_or(0, |(_, record)| record.policy))
    }
}
