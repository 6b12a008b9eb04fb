//! What the examples' options have in common.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::exit;

use espial::headers::Family;

/// A number of things: `16`, `1k`, `4M`.
#[derive(Clone, Debug)]
pub struct Size {
    /// As it was given.
    pub text: String,
    digits: usize,
    thousands: u32,
}

impl Size {
    /// How many, if `k` is 1000; `M` is as much as `k` of `k`.
    pub fn decimal(&self) -> usize {
        self.digits * 1000_usize.pow(self.thousands)
    }

    /// How many, if `k` is 1024.
    pub fn binary(&self) -> usize {
        self.digits * 1024_usize.pow(self.thousands)
    }
}

/// Reads a [`Size`].
///
/// # Errors
/// Says what would be one.
pub fn size(text: &str) -> Result<Size, String> {
    let (digits, thousands) = match (text.strip_suffix('k'), text.strip_suffix('M')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 2),
        (None, None) => (text, 0),
    };
    match digits.parse::<u32>() {
        Ok(digits @ 1..) => Ok(Size { text: text.to_owned(), digits: digits as usize, thousands }),
        _ => Err("wanted: 1k, 1M or another number that is not 0".to_owned()),
    }
}

/// Sizes that count if none are given.
///
/// # Panics
/// If one of them is none.
pub fn sizes<const N: usize>(given: Vec<Size>, usual: [&str; N]) -> Vec<Size> {
    if given.is_empty() { usual.map(|text| size(text).expect(text)).to_vec() } else { given }
}

/// Reads a family of addresses.
///
/// # Errors
/// Says which there are.
pub fn family(text: &str) -> Result<Family, String> {
    named([("v4", Family::V4), ("v6", Family::V6)], text)
}

/// Which of these has the name.
///
/// # Errors
/// Says which names there are.
pub fn named<T, const N: usize>(all: [(&str, T); N], name: &str) -> Result<T, String> {
    let names = all.each_ref().map(|(name, _)| *name).join(", ");
    let one = all.into_iter().find(|(listed, _)| *listed == name);
    one.map(|(_, one)| one).ok_or_else(|| format!("wanted: one of {names}"))
}

/// A file for figures, if there is to be one. Where it cannot be written the program ends.
pub fn json(path: Option<&Path>) -> Option<BufWriter<File>> {
    path.map(|path| {
        let file = File::create(path).unwrap_or_else(|error| {
            eprintln!("{}: {error}", path.display());
            exit(2)
        });
        BufWriter::new(file)
    })
}
