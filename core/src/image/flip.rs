//! Images in the other byte order: on a host, for targets that have it.

use super::{Header, Image, ImageError, Order, checksum};
use crate::matcher::flip::{flip_block, swap};

/// Converts an image to the other byte order, whichever it has. What it says stays the same.
///
/// # Bound
/// Linear in the octets.
///
/// # Errors
/// [`ImageError`]; the words are then unspecified.
pub fn flip(words: &mut [u64]) -> Result<(), ImageError> {
    let order = Order::of(bytemuck::cast_slice(words)).ok_or(ImageError::Magic)?;
    let is_host = order == Order::HOST;
    let head: &[Header] = bytemuck::cast_slice(words.get(..Header::OCTETS / 8).unwrap_or(&[]));
    let mut header = *head.first().ok_or(ImageError::Short)?;
    if !is_host {
        header = header.swapped();
    }
    let image = words.get_mut(..header.octets as usize / 8).ok_or(ImageError::Short)?;
    if checksum(bytemuck::cast_slice(image)) != header.checksum {
        return Err(ImageError::Checksum);
    }
    if is_host {
        Image::open(image)?;
    }
    let (start, octets) = (Header::OCTETS / 8, header.block as usize / 8);
    let block = image.get_mut(start..).and_then(|rest| rest.get_mut(..octets));
    let records =
        flip_block(block.ok_or(ImageError::Bounds)?, is_host).ok_or(ImageError::Bounds)?;
    let ends = if header.names_octets == 0 { 0 } else { records };
    let octets: &mut [u8] = bytemuck::cast_slice_mut(image);
    let names = octets.get_mut(header.names as usize..).ok_or(ImageError::Bounds)?;
    swap(names.get_mut(..4 * ends).ok_or(ImageError::Bounds)?, 4);
    put(image, if is_host { header.swapped() } else { header });
    header.checksum = checksum(bytemuck::cast_slice(image));
    put(image, if is_host { header.swapped() } else { header });
    if !is_host {
        Image::open(image)?;
    }
    Ok(())
}

fn put(image: &mut [u64], header: Header) {
    let head: &mut [Header] =
        bytemuck::cast_slice_mut(image.get_mut(..Header::OCTETS / 8).unwrap_or_default());
    head.iter_mut().for_each(|slot| *slot = header);
}

impl Header {
    fn swapped(self) -> Self {
        Self {
            magic: self.magic,
            order: self.order.swap_bytes(),
            format: self.format.swap_bytes(),
            octets: self.octets.swap_bytes(),
            block: self.block.swap_bytes(),
            names: self.names.swap_bytes(),
            names_octets: self.names_octets.swap_bytes(),
            reserved: self.reserved.map(u32::swap_bytes),
            checksum: self.checksum.swap_bytes(),
        }
    }
}
