//! Names of the numbers around the check: local-in policy, sessions, passthrough, reply path, health, snapshots.
#![allow(unsafe_code, reason = "exported names")]

use core::ffi::{CStr, c_char};

use crate::types::*;

/// Numbers and their names.
type Names = [(u32, &'static CStr)];

const UNKNOWN: &CStr = c"unknown";

fn named(number: u32, names: &Names) -> &'static CStr {
    let found = names.iter().find(|(known, _)| *known == number);
    found.map_or(UNKNOWN, |(_, name)| *name)
}

/// The name of an ESPIAL_LOCAL_IN_DENY or ESPIAL_LOCAL_IN_ACCEPT action; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_local_in_action_name(action: u32) -> *const c_char {
    named(action, LOCAL_IN_ACTIONS).as_ptr()
}

const LOCAL_IN_ACTIONS: &Names =
    &[(ESPIAL_LOCAL_IN_DENY as u32, c"deny"), (ESPIAL_LOCAL_IN_ACCEPT as u32, c"accept")];

/// The name of who decided, ESPIAL_LOCAL_IN_BY_*; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_local_in_by_name(by: u32) -> *const c_char {
    named(by, LOCAL_IN_BY).as_ptr()
}

const LOCAL_IN_BY: &Names = &[
    (ESPIAL_LOCAL_IN_BY_NOBODY as u32, c"nobody"),
    (ESPIAL_LOCAL_IN_BY_POLICY as u32, c"policy"),
    (ESPIAL_LOCAL_IN_BY_DEFAULT as u32, c"default"),
];

/// The name of an ESPIAL_SIDE_* side; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_side_name(side: u32) -> *const c_char {
    named(side, SIDES).as_ptr()
}

const SIDES: &Names = &[
    (ESPIAL_SIDE_LOCAL as u32, c"local"),
    (ESPIAL_SIDE_REMOTE as u32, c"remote"),
    (ESPIAL_SIDE_ANSWER as u32, c"answer"),
];

/// The name of an ESPIAL_SESSION_* outcome; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_session_outcome_name(outcome: u32) -> *const c_char {
    named(outcome, SESSIONS).as_ptr()
}

const SESSIONS: &Names = &[
    (ESPIAL_SESSION_NONE, c"none"),
    (ESPIAL_SESSION_NEW, c"new"),
    (ESPIAL_SESSION_EXISTING, c"existing"),
    (ESPIAL_SESSION_FULL, c"full"),
];

/// The name of an ESPIAL_CONTEXT_* context, as logs write it; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_context_name(context: u32) -> *const c_char {
    named(context, CONTEXTS).as_ptr()
}

const CONTEXTS: &Names = &[
    (ESPIAL_CONTEXT_NONE as u32, c"none"),
    (ESPIAL_CONTEXT_GLOBAL as u32, c"Global"),
    (ESPIAL_CONTEXT_ROUTE_DOMAIN as u32, c"Route Domain"),
    (ESPIAL_CONTEXT_VIRTUAL_SERVER as u32, c"Virtual Server"),
];

/// The name of an ESPIAL_RULE_* action, as a configuration spells it; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_rule_action_name(action: u32) -> *const c_char {
    named(action, RULE_ACTIONS).as_ptr()
}

const RULE_ACTIONS: &Names = &[
    (ESPIAL_RULE_DROP as u32, c"drop"),
    (ESPIAL_RULE_REJECT as u32, c"reject"),
    (ESPIAL_RULE_ACCEPT as u32, c"accept"),
    (ESPIAL_RULE_ACCEPT_DECISIVELY as u32, c"accept-decisively"),
];

/// The name of an ESPIAL_SERVER_* virtual server; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_server_name(server: u32) -> *const c_char {
    named(server, SERVERS).as_ptr()
}

const SERVERS: &Names = &[
    (ESPIAL_SERVER_FASTL4 as u32, c"fastl4"),
    (ESPIAL_SERVER_STANDARD as u32, c"standard"),
    (ESPIAL_SERVER_STANDARD_ALG as u32, c"standard with ALG"),
];

/// The name of an ESPIAL_PASSTHROUGH_ESP, _AH, _UDP or _FRAGMENT packet; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_passthrough_kind_name(kind: u32) -> *const c_char {
    named(kind, PASSTHROUGH_KINDS).as_ptr()
}

const PASSTHROUGH_KINDS: &Names = &[
    (ESPIAL_PASSTHROUGH_ESP as u32, c"esp"),
    (ESPIAL_PASSTHROUGH_AH as u32, c"ah"),
    (ESPIAL_PASSTHROUGH_UDP as u32, c"udp"),
    (ESPIAL_PASSTHROUGH_FRAGMENT as u32, c"fragment"),
];

/// The name of an ESPIAL_PASS_* verdict; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_pass_name(verdict: u32) -> *const c_char {
    named(verdict, PASS_VERDICTS).as_ptr()
}

const PASS_VERDICTS: &Names = &[
    (ESPIAL_PASS_DROP as u32, c"drop"),
    (ESPIAL_PASS_REJECT as u32, c"reject"),
    (ESPIAL_PASS_ACCEPT as u32, c"accept"),
    (ESPIAL_PASS_ACCEPT_FLOW as u32, c"accept_flow"),
    (ESPIAL_PASS_ACCEPT_ALG as u32, c"accept_alg"),
];

/// The name of an ESPIAL_PASS_DROP_* reason; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_pass_drop_name(reason: u32) -> *const c_char {
    named(reason, PASS_DROPS).as_ptr()
}

const PASS_DROPS: &Names = &[
    (ESPIAL_PASS_DROP_NONE as u32, c"none"),
    (ESPIAL_PASS_DROP_DECIDED as u32, c"decided"),
    (ESPIAL_PASS_DROP_ALG_NEEDS_LOOKUPSPI as u32, c"alg_needs_lookupspi"),
    (ESPIAL_PASS_DROP_TABLE_FULL as u32, c"table_full"),
    (ESPIAL_PASS_DROP_SPI_ZERO as u32, c"spi_zero"),
    (ESPIAL_PASS_DROP_FRAGMENT as u32, c"fragment"),
];

/// The name of who admitted or decided, ESPIAL_PASS_BY_*; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_pass_by_name(by: u32) -> *const c_char {
    named(by, PASS_BY).as_ptr()
}

const PASS_BY: &Names = &[
    (ESPIAL_PASS_BY_NONE as u32, c"none"),
    (ESPIAL_PASS_BY_RULE as u32, c"rule"),
    (ESPIAL_PASS_BY_DEFAULT as u32, c"default"),
    (ESPIAL_PASS_BY_ALG as u32, c"alg"),
];

/// The name of an ESPIAL_TEARDOWN_* event; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_teardown_name(kind: u32) -> *const c_char {
    named(kind, TEARDOWNS).as_ptr()
}

const TEARDOWNS: &Names = &[
    (ESPIAL_TEARDOWN_AH as u32, c"ah"),
    (ESPIAL_TEARDOWN_IKE as u32, c"ike"),
    (ESPIAL_TEARDOWN_ESP as u32, c"esp"),
];

/// The name of an ESPIAL_TCP_REPLY_* mode; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_tcp_reply_name(mode: u32) -> *const c_char {
    named(mode, TCP_REPLIES).as_ptr()
}

const TCP_REPLIES: &Names = &[
    (ESPIAL_TCP_REPLY_UNKNOWN as u32, c"unknown"),
    (ESPIAL_TCP_REPLY_UNPINNED as u32, c"unpinned"),
    (ESPIAL_TCP_REPLY_PINNED as u32, c"pinned"),
    (ESPIAL_TCP_REPLY_POLICY_ROUTE as u32, c"policy-route"),
    (ESPIAL_TCP_REPLY_IKE_POLICY_ROUTE as u32, c"ike-policy-route"),
];

/// The name of an ESPIAL_SEGMENT_* answer; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_segment_name(answer: u32) -> *const c_char {
    named(answer, SEGMENTS).as_ptr()
}

const SEGMENTS: &Names = &[
    (ESPIAL_SEGMENT_NO_SESSION as u32, c"no_session"),
    (ESPIAL_SEGMENT_NOT_OURS as u32, c"not_ours"),
    (ESPIAL_SEGMENT_RESET as u32, c"reset"),
    (ESPIAL_SEGMENT_NO_ROUTE as u32, c"no_route"),
    (ESPIAL_SEGMENT_LEAVE as u32, c"leave"),
];

/// The name of who chose an interface, ESPIAL_CHOSEN_*; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_chosen_name(chosen: u32) -> *const c_char {
    named(chosen, CHOSEN).as_ptr()
}

const CHOSEN: &Names = &[
    (ESPIAL_CHOSEN_NONE as u32, c"none"),
    (ESPIAL_CHOSEN_PIN as u32, c"pin"),
    (ESPIAL_CHOSEN_POLICY_ROUTE as u32, c"policy_route"),
    (ESPIAL_CHOSEN_ROUTE as u32, c"route"),
];

/// The name of an ESPIAL_IKE_* port, one of them alone; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_ike_port_name(port: u32) -> *const c_char {
    named(port, IKE_PORTS).as_ptr()
}

const IKE_PORTS: &Names = &[
    (ESPIAL_IKE_500 as u32, c"UDP 500"),
    (ESPIAL_IKE_4500 as u32, c"UDP 4500"),
    (ESPIAL_IKE_TCP as u32, c"TCP"),
];

/// The name of an ESPIAL_HEALTH_* state; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_health_name(state: u32) -> *const c_char {
    named(state, HEALTH).as_ptr()
}

const HEALTH: &Names = &[
    (ESPIAL_HEALTH_DOWN as u32, c"down"),
    (ESPIAL_HEALTH_ADMITTED as u32, c"admitted"),
    (ESPIAL_HEALTH_HELD as u32, c"held"),
    (ESPIAL_HEALTH_STARVED as u32, c"starved"),
];

/// The name of an ESPIAL_RECORD_* kind; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_record_name(kind: u32) -> *const c_char {
    named(kind, RECORDS).as_ptr()
}

const RECORDS: &Names = &[
    (ESPIAL_RECORD_SA as u32, c"sa"),
    (ESPIAL_RECORD_SESSION as u32, c"session"),
    (ESPIAL_RECORD_PIN as u32, c"pin"),
    (ESPIAL_RECORD_FLOW as u32, c"flow"),
    (ESPIAL_RECORD_END as u32, c"end"),
];

/// The name of an ESPIAL_INITIATOR_* peer; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_initiator_name(initiator: u32) -> *const c_char {
    named(initiator, INITIATORS).as_ptr()
}

const INITIATORS: &Names = &[
    (ESPIAL_INITIATOR_INSIDE as u32, c"inside"),
    (ESPIAL_INITIATOR_OUTSIDE as u32, c"outside"),
    (ESPIAL_INITIATOR_EITHER as u32, c"either"),
];

/// The name of whether there is NAT, ESPIAL_NAT_T_*; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_nat_t_name(nat_t: u32) -> *const c_char {
    named(nat_t, NAT_T).as_ptr()
}

const NAT_T: &Names = &[
    (ESPIAL_NAT_T_NEVER as u32, c"never"),
    (ESPIAL_NAT_T_ALWAYS as u32, c"always"),
    (ESPIAL_NAT_T_POSSIBLE as u32, c"possible"),
];

/// The name of an ESPIAL_WAY_* way, as names of rules start with it; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_way_name(way: u32) -> *const c_char {
    named(way, WAYS).as_ptr()
}

const WAYS: &Names = &[(ESPIAL_WAY_OUT as u32, c"OUT"), (ESPIAL_WAY_IN as u32, c"IN")];

/// The name of an ESPIAL_NEEDED_* service, as names of rules end with it; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_needed_service_name(service: u32) -> *const c_char {
    named(service, NEEDED_SERVICES).as_ptr()
}

const NEEDED_SERVICES: &Names = &[
    (ESPIAL_NEEDED_IKE as u32, c"500"),
    (ESPIAL_NEEDED_NAT_T as u32, c"4500"),
    (ESPIAL_NEEDED_ESP as u32, c"_ESP"),
    (ESPIAL_NEEDED_AH as u32, c"_AH"),
];

/// The name of an ESPIAL_OUTCOME_* outcome; "unknown" for others; static, never NULL.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_outcome_name(outcome: u32) -> *const c_char {
    named(outcome, OUTCOMES).as_ptr()
}

const OUTCOMES: &Names = &[
    (ESPIAL_OUTCOME_WORKS as u32, c"works"),
    (ESPIAL_OUTCOME_RETURN_DROPPED as u32, c"return_dropped"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use espial::gate::health::IkePort;
    use espial::gate::local_in::Action;
    use espial::gate::passthrough::{Context, RuleAction, TeardownKind};
    use espial::preset::TcpReply;

    use super::*;

    const ALL: &[(&str, &Names)] = &[
        ("LOCAL_IN", LOCAL_IN_ACTIONS),
        ("LOCAL_IN_BY", LOCAL_IN_BY),
        ("SIDE", SIDES),
        ("SESSION", SESSIONS),
        ("CONTEXT", CONTEXTS),
        ("RULE", RULE_ACTIONS),
        ("SERVER", SERVERS),
        ("PASSTHROUGH", PASSTHROUGH_KINDS),
        ("PASS", PASS_VERDICTS),
        ("PASS_DROP", PASS_DROPS),
        ("PASS_BY", PASS_BY),
        ("TEARDOWN", TEARDOWNS),
        ("TCP_REPLY", TCP_REPLIES),
        ("SEGMENT", SEGMENTS),
        ("CHOSEN", CHOSEN),
        ("IKE", IKE_PORTS),
        ("HEALTH", HEALTH),
        ("RECORD", RECORDS),
        ("INITIATOR", INITIATORS),
        ("NAT_T", NAT_T),
        ("WAY", WAYS),
        ("NEEDED", NEEDED_SERVICES),
        ("OUTCOME", OUTCOMES),
    ];
    /// What starts like a list and is none of it: limits.
    const OTHERS: [&str; 6] = [
        "LOCAL_IN_SELECTORS_MAX",
        "SESSION_TTL_MS",
        "PASSTHROUGH_IDLE_MS",
        "RECORD_OCTETS",
        "NEEDED_RULES",
        "PASS_DROP",
    ];

    /// Each number of the header's that belongs to one of the lists has a name, and no other has.
    #[test]
    fn every_number_of_these_lists_has_a_name() {
        let mut wanted: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for line in include_str!("types/numbers.rs").lines() {
            let Some(rest) = line.strip_prefix("pub const ESPIAL_") else { continue };
            let (name, rest) = rest.split_once(':').unwrap();
            let value = rest.split_once("= ").unwrap().1.trim_end_matches(';');
            let lists = ALL.iter().map(|(list, _)| *list);
            let of = lists
                .filter(|list| name.strip_prefix(list).is_some_and(|rest| rest.starts_with('_')));
            let Some(list) = of.max_by_key(|list| list.len()) else { continue };
            // That of the verdicts, whose name others start with.
            let list = if name == "PASS_DROP" { "PASS" } else { list };
            if name == "PASS_DROP" || !OTHERS.contains(&name) {
                wanted.entry(list).or_default().push(value.replace('_', "").parse().unwrap());
            }
        }
        for (list, names) in ALL {
            let mut known: Vec<u32> = names.iter().map(|(number, _)| *number).collect();
            let wanted = wanted.get_mut(list).unwrap();
            known.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(&known, wanted, "{list}");
            let mut words: Vec<_> = names.iter().map(|(_, name)| *name).collect();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), names.len(), "{list}: a name twice");
            for number in (0..300).chain([u32::MAX]) {
                let name = named(number, names);
                let is_known = known.contains(&number);
                assert!(is_known || name == UNKNOWN, "{list} {number}");
            }
        }
    }

    /// The names here need a NUL at the end, so they are written again; they must not drift.
    #[test]
    fn names_are_the_cores() {
        let name = |number: u32, names: &Names| -> String {
            let found = names.iter().find(|(known, _)| *known == number).unwrap();
            found.1.to_str().unwrap().to_string()
        };
        for action in RuleAction::ALL {
            assert_eq!(name(action as u32, RULE_ACTIONS), action.name());
        }
        for context in Context::ALL {
            assert_eq!(name(context as u32 + 1, CONTEXTS), context.name());
        }
        for action in Action::ALL {
            assert_eq!(name(action as u32, LOCAL_IN_ACTIONS), action.name());
        }
        for (number, port) in [(1, IkePort::Udp500), (2, IkePort::Udp4500), (4, IkePort::Tcp)] {
            assert_eq!(name(number, IKE_PORTS), port.name());
        }
        for (number, mode) in [(1, TcpReply::Unpinned), (2, TcpReply::Pinned)] {
            assert_eq!(name(number, TCP_REPLIES), mode.name());
        }
        assert_eq!(TEARDOWNS.len(), TeardownKind::ALL.len());
    }
}
