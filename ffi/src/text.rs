//! Versions and names: numbers to words, as static C strings.
#![allow(unsafe_code, reason = "exported names")]

use core::ffi::{CStr, c_char};

use crate::types::*;

/// ESPIAL_ABI_VERSION of the library at hand, to be compared with that of the header.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_abi_version() -> u32 {
    ESPIAL_ABI_VERSION
}

/// Version of the library at hand: major << 16 | minor << 8 | patch.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_version() -> u32 {
    ESPIAL_VERSION_MAJOR << 16 | ESPIAL_VERSION_MINOR << 8 | ESPIAL_VERSION_PATCH
}

/// A sentence about an ESPIAL_OK or ESPIAL_E* status; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_status_text(status: i32) -> *const c_char {
    status_text(status).as_ptr()
}

/// The name of an ESPIAL_DROP_* reason as `espial check` prints it, "none" for 0, "unknown" for numbers
/// that are no reason; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_reason_name(reason: u32) -> *const c_char {
    u8::try_from(reason).map_or(UNKNOWN, reason_name).as_ptr()
}

/// The name of an ESPIAL_FIELD_* field as `espial check` prints it; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_field_name(field: u32) -> *const c_char {
    u8::try_from(field).map_or(UNKNOWN, field_name).as_ptr()
}

/// The name of an ESPIAL_MODE_* mode as a configuration spells it; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_mode_name(mode: u32) -> *const c_char {
    mode_name(mode).as_ptr()
}

/// The name of an ESPIAL_SPI_CLASS_* class as `espial check` prints it; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_spi_class_name(spi_class: u32) -> *const c_char {
    u8::try_from(spi_class).map_or(UNKNOWN, spi_class_name).as_ptr()
}

/// The name of an ESPIAL_NOTICE_* notice; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_notice_name(notice: u32) -> *const c_char {
    u8::try_from(notice).map_or(UNKNOWN, notice_name).as_ptr()
}

const UNKNOWN: &CStr = c"unknown";

fn status_text(status: i32) -> &'static CStr {
    match status {
        ESPIAL_OK => c"done",
        ESPIAL_MORE => c"no whole frame yet",
        ESPIAL_ENULL => c"a pointer is NULL",
        ESPIAL_EALIGN => c"a pointer is not aligned",
        ESPIAL_ESIZE => c"the size field of a struct is not one that this library knows",
        ESPIAL_EVALUE => c"a number names nothing",
        ESPIAL_ERANGE => c"a count, length or capacity is out of range",
        ESPIAL_EROOM => c"the memory or array is too small",
        ESPIAL_ENOMEM => c"out of memory",
        ESPIAL_EHANDLE => c"not a live handle of this kind",
        ESPIAL_EATTACHED => c"the worker index is taken, or the gateway still has workers",
        ESPIAL_ESTALE => c"the tunnel, Child SA or SA is gone",
        ESPIAL_EFULL => c"the capacity is reached",
        ESPIAL_EBUSY => c"a worker has not reported a quiescent state yet",
        ESPIAL_EINUSE => c"still in use: remove its Child SAs or SAs first",
        ESPIAL_ESELECTOR => c"a traffic selector is wrong in itself",
        ESPIAL_EEMPTY => c"no local selector goes with any remote one",
        ESPIAL_EKEY => c"an SA key that cannot be",
        ESPIAL_EDUPLICATE => c"an SA with this key exists, or a policy with this id",
        ESPIAL_EBUCKET => c"both buckets of this key are full: choose another seed",
        ESPIAL_EUNPUBLISHED => c"publish the Child SA before its SAs",
        ESPIAL_ENOTFOUND => c"no SA has this key",
        ESPIAL_ESTREAM => c"the TCP stream breaks RFC 9329",
        ESPIAL_EQUARANTINE => c"all free SPIs were in use a short time ago",
        ESPIAL_EWINDOW => c"the replay window is above the capacity",
        ESPIAL_EGROW => c"the gateway cannot grow like that",
        ESPIAL_EWORDS => c"not words of this kind, or of another format",
        ESPIAL_ELIMIT => c"the result would be larger than the limit",
        ESPIAL_EDAMAGED => c"not a record of a snapshot: damaged, or of another key",
        ESPIAL_EVERSION => c"a record of another version of the format",
        ESPIAL_ESNAPSHOT => c"a record of another snapshot",
        ESPIAL_EORDER => c"records or calls in another order",
        ESPIAL_EENDED => c"not restored: it would have ended by now",
        ESPIAL_EFOREIGN => c"not restored: a table configured as this one never has such an entry",
        ESPIAL_EADMITTED => c"not restored: the rules of this node do not admit it",
        _ => UNKNOWN,
    }
}

fn reason_name(reason: u8) -> &'static CStr {
    match reason {
        ESPIAL_DROP_NONE => c"none",
        ESPIAL_DROP_UNKNOWN_SPI => c"unknown_spi",
        ESPIAL_DROP_WRONG_SA => c"wrong_sa",
        ESPIAL_DROP_NO_SELECTOR => c"no_selector",
        ESPIAL_DROP_FRAGMENT_NO_PORTS => c"fragment_no_ports",
        ESPIAL_DROP_OUTER_FRAGMENT => c"outer_fragment",
        ESPIAL_DROP_WRONG_ENCAP => c"wrong_encap",
        ESPIAL_DROP_AUTH_FAILED => c"auth_failed",
        ESPIAL_DROP_BAD_PADDING => c"bad_padding",
        ESPIAL_DROP_REPLAY => c"replay",
        ESPIAL_DROP_NOT_OPENED => c"not_opened",
        ESPIAL_DROP_SA_EXPIRED => c"sa_expired",
        ESPIAL_DROP_DUMMY => c"dummy",
        ESPIAL_DROP_MALFORMED_IP_VERSION => c"malformed_ip_version",
        ESPIAL_DROP_MALFORMED_IP_HEADER => c"malformed_ip_header",
        ESPIAL_DROP_MALFORMED_IP_LENGTH => c"malformed_ip_length",
        ESPIAL_DROP_MALFORMED_EXTENSION => c"malformed_extension",
        ESPIAL_DROP_MALFORMED_EXTENSION_ORDER => c"malformed_extension_order",
        ESPIAL_DROP_MALFORMED_EXTENSION_LIMIT => c"malformed_extension_limit",
        ESPIAL_DROP_MALFORMED_FRAGMENT => c"malformed_fragment",
        ESPIAL_DROP_MALFORMED_UDP => c"malformed_udp",
        ESPIAL_DROP_MALFORMED_ESP => c"malformed_esp",
        ESPIAL_DROP_MALFORMED_AH => c"malformed_ah",
        ESPIAL_DROP_MALFORMED_NAT_T => c"malformed_nat_t",
        ESPIAL_DROP_MALFORMED_TCP_FRAME => c"malformed_tcp_frame",
        ESPIAL_DROP_MALFORMED_NEXT_HEADER => c"malformed_next_header",
        ESPIAL_DROP_MALFORMED_NEXT_LAYER => c"malformed_next_layer",
        ESPIAL_DROP_MALFORMED_ROUTING_HEADER => c"malformed_routing_header",
        _ => UNKNOWN,
    }
}

fn field_name(field: u8) -> &'static CStr {
    match field {
        ESPIAL_FIELD_NONE => c"none",
        ESPIAL_FIELD_SRC => c"src",
        ESPIAL_FIELD_DST => c"dst",
        ESPIAL_FIELD_PROTO => c"proto",
        ESPIAL_FIELD_SPORT => c"sport",
        ESPIAL_FIELD_DPORT => c"dport",
        ESPIAL_FIELD_ICMP => c"icmp",
        ESPIAL_FIELD_MH => c"mh",
        _ => UNKNOWN,
    }
}

fn mode_name(mode: u32) -> &'static CStr {
    match mode {
        ESPIAL_MODE_STRICT_SA => c"strict-sa",
        ESPIAL_MODE_ANY_SELECTOR => c"any-selector",
        ESPIAL_MODE_ANY_SOURCE => c"any-source",
        ESPIAL_MODE_ORDERED_SPD => c"ordered-spd",
        _ => UNKNOWN,
    }
}

fn spi_class_name(class: u8) -> &'static CStr {
    match class {
        ESPIAL_SPI_CLASS_NONE => c"none",
        ESPIAL_SPI_CLASS_NEVER_SEEN => c"never_seen",
        ESPIAL_SPI_CLASS_RECENTLY_DELETED => c"recently_deleted",
        ESPIAL_SPI_CLASS_OTHER_DESTINATION => c"other_destination",
        ESPIAL_SPI_CLASS_LARVAL => c"larval",
        _ => UNKNOWN,
    }
}

fn notice_name(notice: u8) -> &'static CStr {
    match notice {
        ESPIAL_NOTICE_NONE => c"none",
        ESPIAL_NOTICE_SOFT_PACKETS => c"soft_packets",
        ESPIAL_NOTICE_SOFT_OCTETS => c"soft_octets",
        ESPIAL_NOTICE_SOFT_TIME => c"soft_time",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use espial::sad::LimitKind;
    use espial::verdict::{Field, Mode, Reason, SpiClass};

    use super::*;
    use crate::convert::{field_code, notice_code};

    /// The names here need a NUL at the end, so they are written again; they must not drift.
    #[test]
    fn names_are_the_cores() {
        for reason in Reason::all() {
            assert_eq!(reason_name(reason.code()).to_str(), Ok(reason.name()));
        }
        for code in 0..=u8::MAX {
            let known = code == 0 || Reason::from_code(code).is_some();
            assert_eq!(reason_name(code) != UNKNOWN, known, "{code}");
        }
        for mode in Mode::ALL {
            assert_eq!(mode_name(mode as u32).to_str(), Ok(mode.name()));
        }
        for field in [
            Field::Src,
            Field::Dst,
            Field::Protocol,
            Field::SourcePort,
            Field::DestinationPort,
            Field::Icmp,
            Field::Mobility,
        ] {
            assert_eq!(field_name(field_code(Some(field))).to_str(), Ok(field.name()));
        }
        for (class, code) in [
            (SpiClass::NeverSeen, 1),
            (SpiClass::RecentlyDeleted { ago_ms: 0 }, 2),
            (SpiClass::OtherDestination, 3),
            (SpiClass::Larval, 4),
        ] {
            assert_eq!(spi_class_name(code).to_str(), Ok(class.name()));
        }
        for kind in [LimitKind::Packets, LimitKind::Octets, LimitKind::Time] {
            let name = std::format!("soft_{}", kind.name());
            assert_eq!(notice_name(notice_code(kind)).to_str(), Ok(name.as_str()));
        }
        // Every status has a text of its own, and there is none behind the last.
        for status in 0..=ESPIAL_EADMITTED {
            assert_ne!(status_text(status), UNKNOWN, "{status}");
        }
        assert_eq!(status_text(ESPIAL_EADMITTED + 1), UNKNOWN);
    }
}
