//! An unknown SPI in the words of a FortiOS log (seed 001, B2), for tools that read those.
//!
//! Owns the form of the line. What the gateway does not know is what the document prints for it, `N/A`,
//! or left out where it names the device or the clock: nothing is made up.

use core::fmt::{self, Write};

use super::{Cause, Event};
use crate::headers::{Encap, OuterHeaders};
use crate::verdict::Reason;

/// What the host's clock showed when an event was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// Nanoseconds since 1970, UTC.
    pub unix_ns: u64,
    /// Minutes that local time is ahead of UTC.
    pub offset_minutes: i16,
}

/// The log line of an ESP packet with an unknown SPI, as seed 001 shows it; [`Display`](fmt::Display)
/// writes it, without a line end.
///
/// The event has the addresses, ports, SPI, sequence number and the number of the interface; the host
/// adds its clock and its names. Quotes and control characters in names become `_`.
///
/// # Examples
/// ```
/// use espial::event::FortiLine;
/// use espial::headers::{Encap, Endpoints, Ipsec, OuterHeaders, Spi};
///
/// let outer = OuterHeaders {
///     endpoints: Endpoints::V4 { src: 0x833e_1966, dst: 0xc09d_7458 },
///     flow_label: 0, ipsec: Ipsec::Esp, encap: Encap::None, spi: Spi(0xf6c9_e2a1),
///     sequence: 0x0200_0400, sequence_high: 0, sport: 0, dport: 0, offset: 20, octets: 100,
/// };
/// let line = FortiLine { interface: Some("wan1"), ..FortiLine::of(&outer).unwrap() }.to_string();
/// assert!(line.contains(r#"action="error" remip=131.62.25.102 locip=192.157.116.88 remport=N/A"#));
/// assert!(line.ends_with(r#"error_num="Received ESP packet with unknown SPI." spi="f6c9e2a1" seq="02000400""#));
///
/// // The documents show no line for AH.
/// assert!(FortiLine::of(&OuterHeaders { ipsec: Ipsec::Ah, ..outer }).is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FortiLine<'a> {
    /// The packet.
    pub outer: OuterHeaders,
    /// `date`, `time`, `eventtime` and `tz`.
    pub clock: Option<Clock>,
    /// `devname`.
    pub device_name: Option<&'a str>,
    /// `devid`.
    pub device_id: Option<&'a str>,
    /// `vd`.
    pub domain: Option<&'a str>,
    /// `outintf`, which the document prints for the interface the packet came in on.
    pub interface: Option<&'a str>,
    /// `vpntunnel`: the tunnel of the SA, if the event names one.
    pub tunnel: Option<&'a str>,
}

impl FortiLine<'_> {
    /// The line of an event; `None` unless it is a drop of ESP for its SPI.
    pub fn of_event(event: &Event) -> Option<Self> {
        match &event.cause {
            Cause::Drop(refusal) if refusal.reason == Reason::UnknownSpi => {
                Self::of(event.outer.as_ref()?)
            }
            _ => None,
        }
    }

    /// The line of a packet that was dropped for its SPI; `None` for AH.
    pub fn of(outer: &OuterHeaders) -> Option<Self> {
        outer.is_esp().then_some(Self {
            outer: *outer,
            clock: None,
            device_name: None,
            device_id: None,
            domain: None,
            interface: None,
            tunnel: None,
        })
    }
}

impl fmt::Display for FortiLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outer, clock, device_name, device_id, domain, interface, tunnel } = self;
        if let Some(clock) = clock {
            clock.write_local(f)?;
        }
        for (name, value) in [("devname", device_name), ("devid", device_id)] {
            if let Some(value) = value {
                write!(f, "{name}={} ", Plain(value))?;
            }
        }
        f.write_str(r#"logid="0101037131" type="event" subtype="vpn" level="error" "#)?;
        if let Some(domain) = domain {
            write!(f, r#"vd="{}" "#, Plain(domain))?;
        }
        if let Some(clock) = clock {
            clock.write_event_time(f)?;
        }
        f.write_str(r#"logdesc="IPsec ESP" msg="IPsec ESP" action="error" "#)?;
        write!(f, "remip={} locip={} ", outer.endpoints.src(), outer.endpoints.dst())?;
        match outer.encap {
            Encap::None => f.write_str("remport=N/A locport=N/A ")?,
            Encap::Udp | Encap::Tcp => {
                write!(f, "remport={} locport={} ", outer.sport, outer.dport)?;
            }
        }
        write!(f, r#"outintf="{}" "#, Plain(interface.unwrap_or("N/A")))?;
        f.write_str(r#"cookies="N/A" user="N/A" group="N/A" xauthuser="N/A" xauthgroup="N/A" "#)?;
        write!(
            f,
            r#"assignip=N/A vpntunnel="{}" status="esp_error" "#,
            Plain(tunnel.unwrap_or("N/A"))
        )?;
        f.write_str(r#"error_num="Received ESP packet with unknown SPI." "#)?;
        write!(f, r#"spi="{:08x}" seq="{:08x}""#, outer.spi.0, outer.sequence)
    }
}

impl Clock {
    fn write_local(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // At most 584 years of seconds, and a shift of less than 23 days.
        let seconds = (self.unix_ns / 1_000_000_000) as i64 + i64::from(self.offset_minutes) * 60;
        let (year, month, day) = date(seconds.div_euclid(86_400));
        let second = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "date={year}-{month:02}-{day:02} time={hour:02}:{minute:02}:{second:02} ")
    }

    fn write_event_time(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let minutes = self.offset_minutes.unsigned_abs();
        let (hours, minutes) = (minutes / 60, minutes % 60);
        write!(f, r#"eventtime={} tz="{sign}{hours:02}{minutes:02}" "#, self.unix_ns)
    }
}

/// Year, month and day of a day since 1970 in the Gregorian calendar: Hinnant's `civil_from_days`, in
/// which a year starts in March and 400 years are a cycle.
fn date(days: i64) -> (i64, i64, i64) {
    // 0000-03-01 is 719468 days before 1970.
    let days = days.saturating_add(719_468);
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next, month, day)
}

/// A name that cannot end its quotes or its line.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            f.write_char(if c == '"' || c == '\\' || c.is_control() { '_' } else { c })?;
        }
        Ok(())
    }
}
