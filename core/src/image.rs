//! Image: compiled tunnels, Child SAs and selectors in one piece, used where it lies.
//!
//! What a server publishes, behind a header: a firmware keeps it in flash, processes share it, a file is mapped.
//! Made on a workstation (`espial compile`, or `Control::to_image` with `alloc`), for a target of
//! either byte order; loaded by [`Image::open`], which believes nothing; asked by
//! [`Gateway::over_image_in`](crate::Gateway::over_image_in), without a copy. SAs, their keys, counters and
//! replay windows are not in it: they lie in RAM and name its Child SAs by number.
//!
//! ```text
//! 0    "espimage"                             octets, whatever the order
//! 8    order       0x01020304                 from here on, all numbers in the image's byte order
//! 12   format      1
//! 16   octets      of the image, a multiple of 64
//! 20   block       octets of the block, which starts at 64 (matcher::block)
//! 24   names       where they start; their octets; 0 and 0: there are none
//! 32   reserved    24 octets, 0
//! 56   checksum    SipHash-2-4, key 0, of all octets but these 8
//! 64   block
//! ..   names       one u32 for each tunnel, then for each Child SA: where its name ends; then the names
//! ```
//!
//! The same configuration gives the same octets on every host. An image is fastest at a multiple of 64 octets,
//! as its arrays then start at cache lines; it must be at a multiple of 8 (of 4 where that is how `u64` is aligned).
//!
//! The checksum finds accidents. Against malice there is validation: whatever an image says, no search in it
//! panics, reads outside it or takes longer than the bounds of [`matcher`](crate::matcher). What it says is still believed:
//! who may write an image decides which packets are accepted.
//!
//! A Child SA has a number, and a generation that follows from its names, its tunnel's number and its
//! selectors: in two images it is the same Child SA if both are equal.

#[cfg(feature = "alloc")]
pub mod flip;

pub use crate::control::SwapError;
#[cfg(feature = "alloc")]
pub use crate::control::{ImageOptions, Names};

use core::hash::Hasher;
use core::mem::{offset_of, size_of};

use bytemuck::{Pod, Zeroable};
use siphasher::sip::SipHasher24;

use crate::control::{ChildId, TunnelId};
use crate::gateway::{policy_of, policy_word};
use crate::matcher::block::{Block, BlockError};
use crate::selector::Selector;
use crate::verdict::{Mode, Modes};

/// What an image starts with.
pub const MAGIC: [u8; 8] = *b"espimage";
/// Format of the header. A reader refuses any other, and any block of another format.
pub const FORMAT: u32 = 1;
/// Alignment at which an image is fastest, and of its length.
pub const ALIGNMENT: usize = 64;
/// Read in the wrong order, it is another number.
const ORDER: u32 = 0x0102_0304;

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: [u8; 8],
    pub(crate) order: u32,
    pub(crate) format: u32,
    pub(crate) octets: u32,
    pub(crate) block: u32,
    pub(crate) names: u32,
    pub(crate) names_octets: u32,
    pub(crate) reserved: [u32; 6],
    pub(crate) checksum: u64,
}

const _: () = assert!(size_of::<Header>() == 64);
const _: () = assert!(offset_of!(Header, checksum) == 56);

// SAFETY: `repr(C)` integers whose sizes add up to the struct's (asserted): no padding, every bit pattern is valid.
#[allow(unsafe_code)]
unsafe impl Zeroable for Header {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Pod for Header {}

impl Header {
    pub(crate) const OCTETS: usize = size_of::<Self>();
    #[cfg(feature = "alloc")]
    pub(crate) const NEW: Self = Self {
        magic: MAGIC,
        order: ORDER,
        format: FORMAT,
        octets: 0,
        block: 0,
        names: 0,
        names_octets: 0,
        reserved: [0; 6],
        checksum: 0,
    };

    /// The header at the start of `octets`, and they as far as they are the image's.
    ///
    /// # Errors
    /// [`ImageError::Short`], [`ImageError::Magic`], [`ImageError::Order`], [`ImageError::Format`],
    /// [`ImageError::Bounds`], [`ImageError::Checksum`].
    fn of(octets: &[u8]) -> Result<(&Self, &[u8]), ImageError> {
        let header = octets.get(..Self::OCTETS).ok_or(ImageError::Short)?;
        let header: &Self = bytemuck::try_from_bytes(header).map_err(|_| ImageError::Alignment)?;
        if !header.magic.iter().zip(&MAGIC).all(|(found, wanted)| found == wanted) {
            return Err(ImageError::Magic);
        }
        if header.order == ORDER.swap_bytes() {
            return Err(ImageError::Order);
        }
        if header.order != ORDER {
            return Err(ImageError::Magic);
        }
        if header.format != FORMAT {
            return Err(ImageError::Format { found: header.format });
        }
        let octets = octets.get(..header.octets as usize).ok_or(ImageError::Short)?;
        if !header.octets.is_multiple_of(ALIGNMENT as u32) {
            return Err(ImageError::Bounds);
        }
        if checksum(octets) != header.checksum {
            return Err(ImageError::Checksum);
        }
        Ok((header, octets))
    }
}

/// The checksum of an image, whatever its header says.
pub(crate) fn checksum(octets: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(0, 0);
    let (head, rest) = octets.split_at_checked(Header::OCTETS).unwrap_or((octets, &[]));
    hasher.write(head.get(..offset_of!(Header, checksum)).unwrap_or(head));
    hasher.write(rest);
    hasher.finish()
}

/// Writes the checksum of an image of the host's order.
#[cfg(feature = "alloc")]
pub(crate) fn seal(words: &mut [u64]) {
    let checksum = checksum(bytemuck::cast_slice(words));
    if let Some(slot) = words.get_mut(offset_of!(Header, checksum) / 8) {
        *slot = checksum;
    }
}

/// The byte order of an image.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Order {
    /// The usual one: x86-64, Arm, RISC-V.
    Little,
    /// Some network processors: MIPS, PowerPC; s390x.
    Big,
}

impl Order {
    /// That of the machine that this runs on.
    pub const HOST: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// The order of the image that starts with these octets; `None` if they are none.
    pub fn of(octets: &[u8]) -> Option<Self> {
        let (magic, rest) = octets.split_first_chunk::<8>()?;
        let order = rest.first_chunk::<4>()?;
        if *magic != MAGIC {
            return None;
        }
        match u32::from_le_bytes(*order) {
            ORDER => Some(Self::Little),
            order if order == ORDER.swap_bytes() => Some(Self::Big),
            _ => None,
        }
    }
}

/// Why an image is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// Shorter than it says, or than its header.
    Short,
    /// Not at a multiple of 8 octets.
    Alignment,
    /// Not an image.
    Magic,
    /// Of the other byte order: `flip` converts it, on a host.
    Order,
    /// A format that this version does not read.
    Format {
        /// The format found.
        found: u32,
    },
    /// A part reaches out of the image, or a length is wrong.
    Bounds,
    /// Octets are not what they were.
    Checksum,
    /// The block of selectors is not valid.
    Block(BlockError),
    /// A Child SA has no mode.
    Child {
        /// Its number.
        child: u32,
    },
    /// Names overlap or end behind the others.
    Names,
}

impl core::fmt::Display for ImageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Short => f.write_str("shorter than it says"),
            Self::Alignment => f.write_str("not at a multiple of 8 octets"),
            Self::Magic => f.write_str("not an image"),
            Self::Order => f.write_str("an image of the other byte order"),
            Self::Format { found } => write!(f, "format {found}, but this version reads {FORMAT}"),
            Self::Bounds => f.write_str("a part reaches out of the image"),
            Self::Checksum => f.write_str("damaged: the checksum is another one"),
            Self::Block(error) => write!(f, "selectors: {error}"),
            Self::Child { child } => write!(f, "Child SA {child} has no mode"),
            Self::Names => f.write_str("names that overlap"),
        }
    }
}

impl core::error::Error for ImageError {}

/// A valid image.
///
/// # Examples
/// ```
/// # #[cfg(feature = "alloc")] {
/// use espial::image::{Image, ImageError, ImageOptions};
/// use espial::selector::{AddrRange, PortRange, TrafficSelector};
/// use espial::{Capacity, Gateway, Mode, Modes, SaParams, image};
/// # use espial::{Ipsec, SaKey, Spi};
///
/// // On a workstation:
/// let mut capacity = Capacity {
///     tunnels: 1, children: 1, selectors: 1, sas: 4, sas_dst: 0, sas_dst_src: 0, sas_allocated: 0, replay_window: 0, workers: 1,
/// };
/// let mut gateway = Gateway::new(&capacity, [1, 2])?;
/// let (control, _) = gateway.split();
/// let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE)?;
/// let all = TrafficSelector { addrs: AddrRange::V4 { lo: 0, hi: u32::MAX }, protocol: 0, ports: PortRange::ANY };
/// control.add_child(tunnel, &[all], &[all])?;
/// let words = control.to_image(&ImageOptions { tunnels: &["hub"], children: &["office"], ..ImageOptions::HOST })?;
///
/// // On the target, where it lies:
/// let image = Image::open(&words)?;
/// capacity.selectors = 0;
/// let mut ram = vec![core::mem::MaybeUninit::uninit(); espial::gateway::octets_over_image(&capacity)?];
/// let mut gateway = Gateway::over_image_in(&mut ram, &capacity, [3, 4], &image)?;
/// let (control, _) = gateway.split();
/// let office = image.child_named(b"hub", b"office").unwrap();
/// control.add_sa(office, &SaParams::new(SaKey::new(Ipsec::Esp, Spi(0x1234), None, None)?))?;
///
/// let mut damaged = words.to_vec();
/// damaged[20] ^= 1;
/// assert_eq!(Image::open(&damaged).err(), Some(ImageError::Checksum));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Image<'b> {
    octets: u32,
    /// Of the block.
    words: &'b [u64],
    block: Block<'b>,
    /// Where each name ends, and all of them.
    ends: &'b [u32],
    names: &'b [u8],
}

impl<'b> Image<'b> {
    /// The image at the start of `words`, after all of it was tested.
    ///
    /// # Bound
    /// Linear in its octets, once for each image.
    ///
    /// # Errors
    /// [`ImageError`] says what is wrong; nothing of it is used then.
    pub fn open(words: &'b [u64]) -> Result<Self, ImageError> {
        let (header, octets) = Header::of(bytemuck::cast_slice(words))?;
        let end = Header::OCTETS as u64 + u64::from(header.block);
        if end > u64::from(header.octets) || !header.block.is_multiple_of(8) {
            return Err(ImageError::Bounds);
        }
        let words = words.get(Header::OCTETS / 8..(end / 8) as usize).ok_or(ImageError::Bounds)?;
        let block = Block::parse(words).map_err(ImageError::Block)?;
        let (ends, names) = names(header, octets, &block)?;
        let image = Self { octets: header.octets, words, block, ends, names };
        image.validate(header)?;
        Ok(image)
    }

    /// [`Image::open`] of octets, of a file or in flash.
    ///
    /// # Errors
    /// As [`Image::open`]; [`ImageError::Alignment`].
    pub fn of_octets(octets: &'b [u8]) -> Result<Self, ImageError> {
        let whole = octets.get(..octets.len() & !7).unwrap_or(&[]);
        let words = bytemuck::try_cast_slice(whole).map_err(|_| ImageError::Alignment)?;
        Self::open(words)
    }

    /// What a block need not be, and an image must.
    fn validate(&self, header: &Header) -> Result<(), ImageError> {
        let block = &self.block;
        let is_whole = block.octets() == header.block as usize;
        if !is_whole || block.owners() != self.children() || header.reserved != [0; 6] {
            return Err(ImageError::Bounds);
        }
        for child in 0..self.children() {
            let Some(record) = block.child(child) else { break };
            let (mode, shadow) = policy_of(record.policy);
            let is_one = record.policy == POLICY | policy_word(mode, shadow);
            if record.generation & 1 == 1 && !is_one {
                return Err(ImageError::Child { child });
            }
        }
        Ok(())
    }

    /// Words of the block: what is published.
    pub(crate) fn words(&self) -> &'b [u64] {
        self.words
    }

    /// The block.
    pub(crate) fn block(&self) -> &Block<'b> {
        &self.block
    }

    /// Octets of the image.
    pub fn octets(&self) -> usize {
        self.octets as usize
    }

    /// Tunnels are numbered below this: [`Capacity::tunnels`](crate::Capacity::tunnels) at least.
    pub fn tunnels(&self) -> u32 {
        self.block.tunnels() as u32
    }

    /// Child SAs are numbered below this: [`Capacity::children`](crate::Capacity::children) at least.
    pub fn children(&self) -> u32 {
        self.block.children() as u32
    }

    /// Selectors of both families.
    pub fn selectors(&self) -> usize {
        self.block.boxes()
    }

    /// A tunnel.
    pub fn tunnel_id(&self, tunnel: u32) -> Option<TunnelId> {
        (tunnel < self.tunnels()).then_some(TunnelId { index: tunnel, generation: TUNNEL })
    }

    /// A Child SA, to add SAs to.
    pub fn child_id(&self, child: u32) -> Option<ChildId> {
        let generation = self.block.child(child)?.generation;
        (generation & 1 == 1).then_some(ChildId { index: child, generation })
    }

    /// The tunnel of a Child SA, its enforced mode and its shadow modes.
    pub fn child_tunnel(&self, child: u32) -> Option<(TunnelId, Mode, Modes)> {
        self.child_id(child)?;
        let record = self.block.child(child)?;
        let (mode, shadow) = policy_of(record.policy);
        Some((self.tunnel_id(record.tunnel)?, mode, shadow))
    }

    /// The selectors of a Child SA: those of IPv4 and then those of IPv6, each in configuration order.
    pub fn child_selectors(&self, child: u32) -> impl Iterator<Item = Selector> + use<'b> {
        self.block.selectors_of(child)
    }

    /// The name of a tunnel, if the image has names: UTF-8 as compiled.
    pub fn tunnel_name(&self, tunnel: u32) -> Option<&'b [u8]> {
        if tunnel < self.tunnels() { self.name(tunnel) } else { None }
    }

    /// The name of a Child SA, if the image has names.
    pub fn child_name(&self, child: u32) -> Option<&'b [u8]> {
        if child < self.children() { self.name(self.tunnels().checked_add(child)?) } else { None }
    }

    fn name(&self, nth: u32) -> Option<&'b [u8]> {
        let end = *self.ends.get(nth as usize)?;
        let start = match nth.checked_sub(1) {
            Some(before) => *self.ends.get(before as usize)?,
            None => 0,
        };
        self.names.get(start as usize..end as usize)
    }

    /// The Child SA with this name in the tunnel with that name.
    ///
    /// # Bound
    /// Linear in the Child SAs.
    pub fn child_named(&self, tunnel: &[u8], child: &[u8]) -> Option<ChildId> {
        (0..self.children()).find_map(|nth| {
            let id = self.child_id(nth).filter(|_| self.child_name(nth).is_some_and(is(child)))?;
            let (of, ..) = self.child_tunnel(nth)?;
            self.tunnel_name(of.index()).is_some_and(is(tunnel)).then_some(id)
        })
    }
}

/// Not `==`, which calls `bcmp`: a library without libc has none.
fn is(name: &[u8]) -> impl Fn(&[u8]) -> bool {
    |other| name.len() == other.len() && name.iter().zip(other).all(|(one, other)| one == other)
}

/// Beside the policy of a Child SA in an image: a tunnel's cell is not asked.
pub(crate) const POLICY: u32 = 1 << 31;
/// The generation of all tunnels of images: what tells them from each other is their number.
pub(crate) const TUNNEL: u32 = 1;

/// Where names end, and all of them.
fn names<'b>(
    header: &Header,
    octets: &'b [u8],
    block: &Block<'_>,
) -> Result<(&'b [u32], &'b [u8]), ImageError> {
    if header.names_octets == 0 {
        return Ok((&[], &[]));
    }
    let start = header.names as usize;
    let end = start.checked_add(header.names_octets as usize).ok_or(ImageError::Bounds)?;
    let all = octets.get(start..end).ok_or(ImageError::Bounds)?;
    let count = block.tunnels().checked_add(block.children()).ok_or(ImageError::Bounds)?;
    let ends = count.checked_mul(size_of::<u32>()).ok_or(ImageError::Bounds)?;
    let (ends, names) = all.split_at_checked(ends).ok_or(ImageError::Bounds)?;
    let ends: &[u32] = bytemuck::try_cast_slice(ends).map_err(|_| ImageError::Bounds)?;
    let mut before = 0;
    for end in ends {
        if *end < before || *end as usize > names.len() {
            return Err(ImageError::Names);
        }
        before = *end;
    }
    Ok((ends, names))
}
