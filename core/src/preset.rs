//! What the documents say that a FortiOS version does (seeds 000 and 003; A2, D3), and no more.
//!
//! ```text
//! mode       7.4.1 and earlier, 7.2 up to .11    any-selector
//!            7.4.2 to 7.4.11, 7.2 from .12       strict-sa
//!            7.6.0 to 7.6.6                      strict-sa     inferred: later than 7.4.2, fixed in 7.6.7
//!            7.4 from .12, 7.6 from .7           any-source
//! tcp_reply  7.4 up to .8, 7.6 up to .3          unpinned      inferred: before the fix
//!            7.4 from .9, 7.6 from .4, 8.0.0 on  pinned
//! ```
//! Of all else they say nothing: `None`, and whoever asks has to say what he wants. Nobody says whether
//! 8.0 has the fix of 7.6.7, nor since when IKE over TCP was at fault, nor what branches do that never
//! were (7.3, 7.5).

use core::fmt;
use core::str::FromStr;

use crate::verdict::Mode;

/// A FortiOS version: three numbers, such as 7.4.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FortiOs {
    /// The first number.
    pub major: u16,
    /// The second: with the first one, the branch.
    pub minor: u16,
    /// The third.
    pub patch: u16,
}

/// Not a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionError;

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a FortiOS version is three numbers, such as 7.4.2")
    }
}

impl core::error::Error for VersionError {}

impl fmt::Display for FortiOs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Also with a `v` before it, as the documents have it.
impl FromStr for FortiOs {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        // By octets: `str::split` brings the code of a panic along, which small targets keep.
        let octets = text.as_bytes();
        let mut rest = octets.strip_prefix(b"v").unwrap_or(octets);
        let major = number(&mut rest)?;
        let minor = number(skip_dot(&mut rest)?)?;
        let patch = number(skip_dot(&mut rest)?)?;
        if rest.is_empty() { Ok(Self { major, minor, patch }) } else { Err(VersionError) }
    }
}

/// Takes a decimal number off the front.
fn number(rest: &mut &[u8]) -> Result<u16, VersionError> {
    let mut value: Option<u16> = None;
    while let [digit @ b'0'..=b'9', after @ ..] = *rest {
        let next = value.unwrap_or(0).checked_mul(10);
        let next = next.and_then(|next| next.checked_add(u16::from(digit.wrapping_sub(b'0'))));
        value = Some(next.ok_or(VersionError)?);
        *rest = after;
    }
    value.ok_or(VersionError)
}

/// Takes a dot off the front.
fn skip_dot<'r, 't>(rest: &'r mut &'t [u8]) -> Result<&'r mut &'t [u8], VersionError> {
    *rest = rest.strip_prefix(b".").ok_or(VersionError)?;
    Ok(rest)
}

/// Where the answer to a connection on the IKE TCP port leaves (D1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TcpReply {
    /// Where the routes say: the fault of seed 003.
    Unpinned,
    /// By the interface that the SYN came in on.
    Pinned,
}

impl TcpReply {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unpinned => "unpinned",
            Self::Pinned => "pinned",
        }
    }
}

/// Whether a document has the sentence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Basis {
    /// It names the version, or a range that it is in.
    Stated,
    /// It follows from what is said of others.
    Inferred,
}

impl Basis {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stated => "stated",
            Self::Inferred => "inferred",
        }
    }
}

/// Something that is known of a version, and whence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Known<T> {
    /// What.
    pub value: T,
    /// Whence.
    pub basis: Basis,
}

const fn stated<T: Copy>(value: T) -> Option<Known<T>> {
    Some(Known { value, basis: Basis::Stated })
}

const fn inferred<T: Copy>(value: T) -> Option<Known<T>> {
    Some(Known { value, basis: Basis::Inferred })
}

impl FortiOs {
    /// How it judges decrypted packets; `None`: the documents do not say.
    ///
    /// # Examples
    /// ```
    /// use espial::Mode;
    /// use espial::preset::FortiOs;
    ///
    /// let mode = |text: &str| Some(text.parse::<FortiOs>().unwrap().mode()?.value);
    /// assert_eq!(mode("7.4.1"), Some(Mode::AnySelector));
    /// assert_eq!(mode("7.4.2"), Some(Mode::StrictSa));
    /// assert_eq!(mode("7.4.12"), Some(Mode::AnySource));
    /// assert_eq!(mode("8.0.0"), None);
    /// ```
    pub const fn mode(self) -> Option<Known<Mode>> {
        match (self.major, self.minor, self.patch) {
            (7, 2, 12..) => stated(Mode::StrictSa),
            (..=6, _, _) | (7, 0..=2, _) | (7, 4, ..=1) => stated(Mode::AnySelector),
            (7, 4, ..=11) => stated(Mode::StrictSa),
            (7, 6, ..=6) => inferred(Mode::StrictSa),
            (7, 4 | 6, _) => stated(Mode::AnySource),
            _ => None,
        }
    }

    /// Where its answers on the IKE TCP port leave; `None`: the documents do not say.
    pub const fn tcp_reply(self) -> Option<Known<TcpReply>> {
        match (self.major, self.minor, self.patch) {
            (7, 4, ..=8) | (7, 6, ..=3) => inferred(TcpReply::Unpinned),
            (7, 4 | 6, _) | (8.., _, _) => stated(TcpReply::Pinned),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn version(text: &str) -> FortiOs {
        text.parse().unwrap()
    }

    fn mode(text: &str) -> Option<(Mode, Basis)> {
        version(text).mode().map(|known| (known.value, known.basis))
    }

    #[test]
    fn a2_the_mode_of_a_version_is_what_seed_000_says() {
        for (texts, value) in [
            (
                &["6.4.15", "7.0.0", "7.0.17", "7.2.0", "7.2.11", "7.4.0", "7.4.1"][..],
                Mode::AnySelector,
            ),
            (&["7.2.12", "7.2.13", "7.4.2", "7.4.3", "7.4.11"], Mode::StrictSa),
            (&["7.4.12", "7.4.13", "7.6.7", "7.6.8"], Mode::AnySource),
        ] {
            for text in texts {
                assert_eq!(mode(text), Some((value, Basis::Stated)), "{text}");
            }
        }
    }

    #[test]
    fn a2_7_6_0_to_7_6_6_are_inferred_and_others_are_not_guessed() {
        for patch in 0..=6 {
            let text = std::format!("7.6.{patch}");
            assert_eq!(mode(&text), Some((Mode::StrictSa, Basis::Inferred)), "{text}");
        }
        for text in ["7.3.0", "7.5.0", "7.7.0", "8.0.0", "8.0.1", "8.2.0", "65535.65535.65535"] {
            assert_eq!(mode(text), None, "{text}");
        }
    }

    #[test]
    fn d3_replies_are_pinned_from_the_fixed_versions_on() {
        let reply = |text: &str| version(text).tcp_reply().map(|known| (known.value, known.basis));
        for text in ["7.4.9", "7.4.12", "7.6.4", "7.6.7", "8.0.0", "8.0.1", "8.2.0"] {
            assert_eq!(reply(text), Some((TcpReply::Pinned, Basis::Stated)), "{text}");
        }
        for text in ["7.4.0", "7.4.8", "7.6.0", "7.6.3"] {
            assert_eq!(reply(text), Some((TcpReply::Unpinned, Basis::Inferred)), "{text}");
        }
        for text in ["7.2.13", "7.0.0", "6.4.0", "7.5.0"] {
            assert_eq!(reply(text), None, "{text}");
        }
    }

    #[test]
    fn versions_are_three_numbers() {
        assert_eq!(version("v7.4.2"), FortiOs { major: 7, minor: 4, patch: 2 });
        assert_eq!(version("7.4.12").to_string(), "7.4.12");
        assert!(version("7.4.12") > version("7.4.2"));
        for text in
            ["", "7", "7.4", "7.4.", "7.4.2.1", "7.4.x", "7.4.-1", "7.4.+1", "7.4.65536", " 7.4.2"]
        {
            assert_eq!(text.parse::<FortiOs>(), Err(VersionError), "{text}");
        }
    }
}
