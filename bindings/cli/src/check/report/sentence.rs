//! What one cause of drops means, in a sentence that an operator understands.

use std::fmt;

use espial::verdict::{Field, Malformed, Reason};

use super::{Cause, Finding, Summary};
use crate::check::reason::{DropReason, GateReason};

/// What one cause of drops means, in a sentence.
pub(super) struct Sentence<'a> {
    pub(super) summary: &'a Summary,
    pub(super) cause: &'a Cause,
    pub(super) finding: &'a Finding,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { summary, cause, finding } = self;
        let packets = finding.packets;
        let noun = if packets == 1 { "packet" } else { "packets" };
        let line = cause.sa.and_then(|sa| summary.sas.get(sa));
        let child = line.map_or("?", |line| line.child.as_str());
        let tunnel = line.map_or("?", |line| line.tunnel.as_str());
        write!(f, "{packets} {noun}")?;
        if let Some(spi) = cause.spi {
            write!(f, " on SPI {spi}")?;
        }
        if line.is_some() {
            write!(f, " ({child} of {tunnel})")?;
        }
        f.write_str(": ")?;
        let example = &finding.example;
        let first = finding.first;
        let shown = match (&example.inner, &example.outer) {
            (Some(inner), _) => format!("first: packet {first}, {inner}"),
            (None, Some(outer)) => format!("first: packet {first}, {outer}"),
            (None, None) => format!("first: packet {first}"),
        };
        let reason = match cause.reason {
            DropReason::Ipsec(reason) => reason,
            DropReason::Gate(reason) => {
                self.gate(f, reason)?;
                return write!(f, " ({shown}).");
            }
        };
        match reason {
            Reason::WrongSa => {
                let belongs_to = cause.belongs_to.as_deref().unwrap_or("?");
                write!(f, "the peer used the wrong SA, this traffic belongs to {belongs_to}")?;
                self.field(f, &format!("{child}'s selector"))?;
            }
            Reason::NoSelector => {
                f.write_str("no selector of the tunnel covers this traffic")?;
                self.field(f, "the nearest selector")?;
            }
            Reason::FragmentNoPorts => f.write_str(
                "later fragments hold no ports, so only selectors with ports ANY or OPAQUE can \
                 cover them; or reassemble before the check",
            )?,
            Reason::UnknownSpi => self.unknown(f)?,
            Reason::OuterFragment => f.write_str(
                "ESP or AH in fragments, which must be reassembled before they are opened",
            )?,
            Reason::WrongEncap => f.write_str(
                "another encapsulation (none, UDP, TCP) than the SA's: a NAT between the peers \
                 appeared or went, or the packets are forged",
            )?,
            Reason::AuthFailed => f.write_str(
                "authentication failed: the key is another, or the packets were damaged or forged",
            )?,
            Reason::BadPadding => {
                f.write_str("wrong ESP padding: most likely the encryption key is another")?;
            }
            Reason::Replay => f.write_str("a replay, or left of the replay window")?,
            Reason::NotOpened => {
                f.write_str("not opened: the configuration gives no key or cipher for the SA")?;
            }
            Reason::SaExpired => f.write_str("after the SA's lifetime")?,
            Reason::Dummy => {
                f.write_str("dummy packets (next header 59), which RFC 4303 says to discard")?;
            }
            Reason::Malformed(what) => f.write_str(malformed(what))?,
        }
        write!(f, " ({shown}).")
    }
}

impl Sentence<'_> {
    fn field(&self, f: &mut fmt::Formatter<'_>, whose: &str) -> fmt::Result {
        let (Some(field), Some(nearest)) = (self.cause.field, self.finding.example.nearest) else {
            return Ok(());
        };
        match field {
            Field::Src => write!(f, "; the source is outside {whose}, remote {}", nearest.remote),
            Field::Dst => {
                write!(f, "; the destination is outside {whose}, local {}", nearest.local)
            }
            Field::Protocol => {
                write!(f, "; {whose} is for protocol {} only", nearest.protocol)
            }
            Field::SourcePort => {
                write!(f, "; the source port is outside {whose}, {}", nearest.remote_ports)
            }
            Field::DestinationPort => {
                write!(f, "; the destination port is outside {whose}, {}", nearest.local_ports)
            }
            Field::Icmp => write!(f, "; ICMP type and code are outside {whose}"),
            Field::Mobility => write!(f, "; the Mobility Header type is outside {whose}"),
        }
    }

    /// What the tables around the selector check say.
    fn gate(&self, f: &mut fmt::Formatter<'_>, reason: GateReason) -> fmt::Result {
        let policy = self.cause.policy.unwrap_or(0);
        let rule = self.cause.rule.as_deref().unwrap_or_default();
        match reason {
            GateReason::LocalInPolicy => write!(
                f,
                "local-in policy {policy} denies it, and no session of the gateway's own lets it in"
            ),
            GateReason::LocalInDefault => f.write_str(
                "no local-in policy covers it, local-in-default is deny, and there is no session",
            ),
            GateReason::TcpNoSession => f.write_str(
                "TCP segments to the IKE port without a connection: they belong to one from before the \
                 capture, or are forged",
            ),
            GateReason::PassthroughRule => write!(f, "rule {rule} drops it"),
            GateReason::PassthroughDefault => f.write_str("no rule covers it, and the default is drop"),
            GateReason::Rejected if rule.is_empty() => {
                f.write_str("no rule covers it and no flow is there: the default rejects it")
            }
            GateReason::Rejected => write!(f, "rule {rule} rejects it"),
            GateReason::AlgNeedsLookupSpi => f.write_str(
                "it answers a flow of the IPsec ALG, which relies on lookupspi: no rule helps, set \
                 lookupspi = true",
            ),
            GateReason::TableFull => f.write_str("there is no room for its flow"),
            GateReason::SpiZero => f.write_str("SPI 0, which is never on the wire"),
            GateReason::LaterFragment => {
                f.write_str("a later fragment, which has nothing to find its flow by")
            }
            GateReason::SpdDiscard if self.cause.policy.is_none() => {
                f.write_str("no security policy covers it, which is DISCARD")
            }
            GateReason::SpdDiscard => write!(f, "security policy {policy} says DISCARD"),
            GateReason::SpdProtect => {
                write!(f, "in the clear, but security policy {policy} says PROTECT")
            }
            GateReason::SpdOtherPolicy => f.write_str(
                "the first security policy that covers it is none that the SA was made for",
            ),
        }
    }

    fn unknown(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause.spi_class {
            Some("recently_deleted") => {
                let ago = self.finding.example.ago_ms.map_or(0.0, |ms| f64::from(ms) / 1000.0);
                write!(
                    f,
                    "the SA was deleted {ago} s before: late packets of a rekey, or the peer still \
                     uses it"
                )
            }
            Some("other_destination") => {
                f.write_str("this SPI is known at another destination or from another source only")
            }
            Some("larval") => f.write_str("the negotiation of this SA is not finished"),
            _ => f.write_str(
                "no SA with this SPI was ever seen: the peer's SA is unknown here (one-sided flush \
                 or reboot), or this is a probe",
            ),
        }
    }
}

fn malformed(what: Malformed) -> &'static str {
    match what {
        Malformed::IpVersion => "neither IPv4 nor IPv6",
        Malformed::IpHeader => "the IP header is cut off or too short",
        Malformed::IpLength => "the IP length and the octets there are do not fit",
        Malformed::Extension => "an IPv6 extension header runs past the end",
        Malformed::ExtensionOrder => "hop-by-hop options do not come first",
        Malformed::ExtensionLimit => "too many IPv6 extension headers",
        Malformed::Fragment => "a fragment of an impossible length or place",
        Malformed::Udp => "the UDP length is wrong",
        Malformed::Esp => "too short for ESP",
        Malformed::Ah => "the length of AH is wrong",
        Malformed::NatT => "neither ESP, IKE nor keepalive, but on UDP port 4500",
        Malformed::TcpFrame => "a TCP frame of an impossible length, or octets are missing",
        Malformed::NextHeader => "another protocol inside than the SA's mode demands",
        Malformed::NextLayer => "too short for the ports of their protocol",
        Malformed::RoutingHeader => "a routing header of type 0, which RFC 5095 forbids",
    }
}
