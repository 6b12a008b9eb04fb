//! Images: octets at random, images with some words changed, and images beside what they were made of.

use espial::Capacity;

use crate::bodies::{self, Choices};

/// Room for any image that the octets of a run can hold.
const CAPACITY: Capacity = Capacity {
    tunnels: 64,
    children: 256,
    selectors: 0,
    sas: 256,
    sas_dst: 0,
    sas_dst_src: 0,
    sas_allocated: 0,
    replay_window: 0,
    workers: 1,
};

pub fn check(octets: &[u8]) {
    let Some((kind, rest)) = octets.split_first() else { return };
    match kind % 4 {
        // libFuzzer's own octets, with the checksum that they must have.
        0 => {
            let mut words: Vec<u64> = rest
                .chunks_exact(8)
                .map(|word| u64::from_le_bytes(word.try_into().expect("eight octets")))
                .collect();
            bodies::image::seal(&mut words);
            bodies::image::any_image(&words, CAPACITY, &mut Choices::new(rest));
        }
        1 => bodies::image::agree(rest),
        _ => {
            bodies::image::lie(rest);
        }
    }
}
