//! What local-in policies and idle sessions do to a tunnel that looks sound (C5, C6).
//!
//! ESP is judged by the SPI table alone and does not keep an IKE session alive. So a tunnel can carry
//! packets while the peer's IKE is dropped: its liveness checks go unanswered, its delete is not heard, and
//! the two ends differ until this box sends IKE again. All facts lie in different tables, and whoever owns
//! them can see it coming.

use core::fmt;
use core::net::IpAddr;

/// Where IKE comes in. A session or policy for one says nothing of the others (C3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IkePort {
    /// UDP 500.
    Udp500,
    /// UDP 4500, behind the non-ESP marker (RFC 3948).
    Udp4500,
    /// The configured TCP port (RFC 9329).
    Tcp,
}

impl IkePort {
    /// `UDP 500`, `UDP 4500` or `TCP`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp500 => "UDP 500",
            Self::Udp4500 => "UDP 4500",
            Self::Tcp => "TCP",
        }
    }
}

impl fmt::Display for IkePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What lets the peer's IKE in on one port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IkeWay {
    /// Milliseconds that a session with the peer lives on without a match
    /// ([`Session::left_ms`](super::session::Session::left_ms)); `None` without one.
    pub session_left_ms: Option<u64>,
    /// A policy accepts IKE from the peer here.
    pub admitted: bool,
}

/// What the tables say of one tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunnelFacts {
    /// The peer's address.
    pub peer: IpAddr,
    /// Inbound SAs of the tunnel.
    pub live_sas: u32,
    /// Milliseconds since the last packet that authenticated on one of them; `None` if there was none.
    pub esp_idle_ms: Option<u64>,
    /// UDP 500.
    pub udp_500: IkeWay,
    /// UDP 4500.
    pub udp_4500: IkeWay,
    /// TCP.
    pub tcp: IkeWay,
    /// The port that the tunnel's IKE SA uses, where known: then the other two do not help it.
    pub in_use: Option<IkePort>,
}

/// From when on a fact counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// ESP is live if a packet authenticated within these milliseconds.
    pub esp_live_ms: u64,
    /// An IKE session is about to go if it has no more than these milliseconds left.
    pub session_ends_ms: u64,
}

/// How it stands with the IKE of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Health {
    /// No SA lives: no tunnel, nothing to keep.
    Down,
    /// A policy admits the peer's IKE.
    Admitted,
    /// No policy does; a session that is not about to go lets it in.
    Held {
        /// Milliseconds that the session lives on without a match.
        left_ms: u64,
    },
    /// No policy does, and the session is gone or about to go (C6).
    Starved {
        /// Milliseconds that the session lives on without a match; `None`: it is gone.
        left_ms: Option<u64>,
        /// ESP is live, so this box sees no reason to send IKE and heal the tunnel.
        esp_is_live: bool,
    },
}

/// The health of one tunnel; prints as a sentence for the operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunnelHealth {
    /// The peer's address.
    pub peer: IpAddr,
    /// The port that was looked at; `None`: all of them.
    pub port: Option<IkePort>,
    /// What was found.
    pub health: Health,
}

impl TunnelHealth {
    /// True if an operator has to add a policy that admits IKE from the peer.
    pub fn is_alarm(&self) -> bool {
        matches!(self.health, Health::Starved { .. })
    }
}

/// Joins what the tables say of a tunnel.
pub fn tunnel_health(facts: &TunnelFacts, thresholds: &Thresholds) -> TunnelHealth {
    TunnelHealth { peer: facts.peer, port: facts.in_use, health: health(facts, thresholds) }
}

fn health(facts: &TunnelFacts, thresholds: &Thresholds) -> Health {
    let TunnelFacts { udp_500, udp_4500, tcp, in_use, .. } = *facts;
    let none = IkeWay::default();
    let ways = match in_use {
        None => [udp_500, udp_4500, tcp],
        Some(IkePort::Udp500) => [udp_500, none, none],
        Some(IkePort::Udp4500) => [none, udp_4500, none],
        Some(IkePort::Tcp) => [none, none, tcp],
    };
    if facts.live_sas == 0 {
        return Health::Down;
    }
    if ways.iter().any(|way| way.admitted) {
        return Health::Admitted;
    }
    match ways.iter().filter_map(|way| way.session_left_ms).max() {
        Some(left_ms) if left_ms > thresholds.session_ends_ms => Health::Held { left_ms },
        left_ms => Health::Starved {
            left_ms,
            esp_is_live: facts.esp_idle_ms.is_some_and(|idle_ms| idle_ms <= thresholds.esp_live_ms),
        },
    }
}

/// A part of the sentence about a tunnel, for hosts that write numbers and addresses themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Words; some are empty.
    Text(&'static str),
    /// An address.
    Addr(IpAddr),
    /// A decimal number.
    Number(u64),
}

impl TunnelHealth {
    /// What [`Display`](fmt::Display) writes, in its parts.
    pub fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        use Part::{Addr, Number, Text};
        const NONE: Part = Text("");
        const SECONDS: Part = Text(" s");
        let (is, seconds, unit) = match self.health {
            Health::Down => ("has no live SAs", NONE, NONE),
            Health::Admitted => ("has live SAs, and a policy admits its IKE", NONE, NONE),
            Health::Held { left_ms } => {
                ("has live SAs, its IKE session lasts ", Number(left_ms / 1000), SECONDS)
            }
            Health::Starved { left_ms, esp_is_live } => {
                let is = match (esp_is_live, left_ms) {
                    (true, Some(_)) => "has live SAs and live ESP, its IKE session ends in ",
                    (true, None) => "has live SAs and live ESP, its IKE session is gone",
                    (false, Some(_)) => "has live SAs but no ESP of late, its IKE session ends in ",
                    (false, None) => "has live SAs but no ESP of late, its IKE session is gone",
                };
                match left_ms {
                    Some(left_ms) => (is, Number(left_ms / 1000), SECONDS),
                    None => (is, NONE, NONE),
                }
            }
        };
        let peer = Addr(self.peer);
        let policy = match self.health {
            Health::Down | Health::Admitted => [NONE; 4],
            Health::Held { .. } | Health::Starved { .. } => {
                let no_policy = Text(", and no policy admits IKE from ");
                let on = |port: IkePort| [no_policy, peer, Text(" on "), Text(port.name())];
                self.port.map_or([no_policy, peer, NONE, NONE], on)
            }
        };
        let state = [Text("peer "), peer, Text(" "), Text(is), seconds, unit];
        state.into_iter().chain(policy)
    }
}

impl fmt::Display for TunnelHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Addr(addr) => addr.fmt(f),
            Part::Number(number) => number.fmt(f),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { esp_live_ms: 10_000, session_ends_ms: 30_000 };

    fn facts() -> TunnelFacts {
        TunnelFacts {
            peer: "10.56.240.208".parse().unwrap(),
            live_sas: 1,
            esp_idle_ms: Some(200),
            udp_500: IkeWay::default(),
            udp_4500: IkeWay::default(),
            tcp: IkeWay::default(),
            in_use: None,
        }
    }

    fn said(facts: &TunnelFacts) -> String {
        tunnel_health(facts, &THRESHOLDS).to_string()
    }

    fn session(left_ms: u64) -> IkeWay {
        IkeWay { session_left_ms: Some(left_ms), admitted: false }
    }

    const ADMITTED: IkeWay = IkeWay { session_left_ms: None, admitted: true };

    #[test]
    fn c6_is_said_aloud() {
        assert_eq!(
            said(&facts()),
            "peer 10.56.240.208 has live SAs and live ESP, its IKE session is gone, and no policy admits \
             IKE from 10.56.240.208"
        );
        assert_eq!(
            said(&TunnelFacts { udp_500: session(12_900), ..facts() }),
            "peer 10.56.240.208 has live SAs and live ESP, its IKE session ends in 12 s, and no policy \
             admits IKE from 10.56.240.208"
        );
        assert_eq!(
            said(&TunnelFacts { in_use: Some(IkePort::Udp4500), esp_idle_ms: None, ..facts() }),
            "peer 10.56.240.208 has live SAs but no ESP of late, its IKE session is gone, and no policy \
             admits IKE from 10.56.240.208 on UDP 4500"
        );
    }

    #[test]
    fn c6_ends_where_a_session_has_time_left() {
        let of = |udp_500| tunnel_health(&TunnelFacts { udp_500, ..facts() }, &THRESHOLDS);
        let starved = |left_ms| Health::Starved { left_ms, esp_is_live: true };
        assert_eq!(of(session(30_001)).health, Health::Held { left_ms: 30_001 });
        assert_eq!(of(session(30_000)).health, starved(Some(30_000)));
        assert_eq!(of(session(0)).health, starved(Some(0)));
        assert_eq!(of(IkeWay::default()).health, starved(None));
        assert!(of(session(30_000)).is_alarm());
        assert!(!of(session(30_001)).is_alarm());
    }

    #[test]
    fn c6_asks_whether_esp_is_live() {
        let of = |esp_idle_ms| {
            let facts = TunnelFacts { esp_idle_ms, ..facts() };
            tunnel_health(&facts, &THRESHOLDS).health
        };
        let starved = |esp_is_live| Health::Starved { left_ms: None, esp_is_live };
        assert_eq!(of(Some(10_000)), starved(true));
        assert_eq!(of(Some(10_001)), starved(false));
        assert_eq!(of(None), starved(false));
    }

    /// Where the port is known, a session or policy for another one does not help (C3).
    #[test]
    fn c3_c6_ports_are_apart() {
        let ports = [IkePort::Udp500, IkePort::Udp4500, IkePort::Tcp];
        let at = |port, way| match port {
            IkePort::Udp500 => TunnelFacts { udp_500: way, ..facts() },
            IkePort::Udp4500 => TunnelFacts { udp_4500: way, ..facts() },
            IkePort::Tcp => TunnelFacts { tcp: way, ..facts() },
        };
        for way in [ADMITTED, session(100_000)] {
            for helped in ports {
                for used in ports {
                    let facts = TunnelFacts { in_use: Some(used), ..at(helped, way) };
                    let alarm = tunnel_health(&facts, &THRESHOLDS).is_alarm();
                    assert_eq!(alarm, helped != used, "{helped} for {used}");
                }
                assert!(!tunnel_health(&at(helped, way), &THRESHOLDS).is_alarm());
            }
        }
    }

    #[test]
    fn a_tunnel_without_sas_does_not_starve() {
        let facts = TunnelFacts { live_sas: 0, ..facts() };
        assert_eq!(tunnel_health(&facts, &THRESHOLDS).health, Health::Down);
        assert_eq!(said(&facts), "peer 10.56.240.208 has no live SAs");
    }
}
