//! SipHash 1-3 of whole words and a last one of up to seven octets (Aumasson and Bernstein 2012): what
//! `siphasher` gives for the same octets, without the buffer that it needs for messages of any length.
//!
//! One round for each word, three at the end. That is what a table needs whose keys strangers choose: they
//! see no hash, so all they can do is guess which keys collide.

/// SipHash 1-3 of `words`, octets in little-endian order, and `last`, keyed with `seed`. The last octet of `last` is
/// that of the length in octets, the others are those of the message's end.
#[inline(always)]
pub(super) fn hash<const N: usize>(seed: [u64; 2], words: [u64; N], last: u64) -> u64 {
    let [k0, k1] = seed;
    // "somepseudorandomlygeneratedbytes", as the paper has it.
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    for word in words {
        state = absorb(state, word);
    }
    let [v0, v1, v2, v3] = absorb(state, last);
    let [v0, v1, v2, v3] = round(round(round([v0, v1, v2 ^ 0xff, v3])));
    v0 ^ v1 ^ v2 ^ v3
}

#[inline(always)]
fn absorb([v0, v1, v2, v3]: [u64; 4], word: u64) -> [u64; 4] {
    let [v0, v1, v2, v3] = round([v0, v1, v2, v3 ^ word]);
    [v0 ^ word, v1, v2, v3]
}

#[inline(always)]
fn round([v0, v1, v2, v3]: [u64; 4]) -> [u64; 4] {
    let (v0, v2) = (v0.wrapping_add(v1), v2.wrapping_add(v3));
    let (v1, v3) = (v1.rotate_left(13) ^ v0, v3.rotate_left(16) ^ v2);
    let v0 = v0.rotate_left(32);
    let (v2, v0) = (v2.wrapping_add(v1), v0.wrapping_add(v3));
    let (v1, v3) = (v1.rotate_left(17) ^ v2, v3.rotate_left(21) ^ v0);
    [v0, v1, v2.rotate_left(32), v3]
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher;

    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    fn theirs(seed: [u64; 2], words: &[u64], end: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(seed[0], seed[1]);
        words.iter().for_each(|word| hasher.write(&word.to_le_bytes()));
        hasher.write(end);
        hasher.finish()
    }

    proptest! {
        #[test]
        fn agrees_with_the_crate(seed: [u64; 2], words: [u64; 4], end: [u8; 7], octets in 0..8_usize) {
            let [a, ..] = words;
            let end = &end[..octets];
            let last = |count: usize| {
                let octets = end.iter().rev().fold(0, |all, octet| all << 8 | u64::from(*octet));
                octets | ((8 * count + end.len()) as u64) << 56
            };
            prop_assert_eq!(super::hash(seed, words, last(4)), theirs(seed, &words, end));
            prop_assert_eq!(super::hash(seed, [a], last(1)), theirs(seed, &[a], end));
            prop_assert_eq!(super::hash(seed, [], last(0)), theirs(seed, &[], end));
        }
    }
}
