//! The layout that the C compiler sees is the one that Rust has, and the one that was published.

use std::fmt::Write as _;
use std::fs;
use std::mem::{align_of, offset_of, size_of};

use crate::{compile, ffi, scratch};

/// The library's own files: they know nothing of the core.
#[path = "../../src/types/mod.rs"]
#[allow(dead_code, reason = "the layout is looked at, nothing else")]
pub mod types;

use types::*;

/// Calls `field` for each field of each struct, `whole` for each struct.
macro_rules! structs {
    ($c:ident: $($name:ident { $($field:ident),* $(,)? })*) => {$(
        let (size, align) = (size_of::<$name>(), align_of::<$name>());
        writeln!($c, "CHECK(sizeof({0}) == {size}); CHECK(ALIGNOF({0}) == {align});", stringify!($name)).unwrap();
        $(
            let offset = offset_of!($name, $field);
            writeln!($c, "CHECK(offsetof({}, {}) == {offset});", stringify!($name), stringify!($field)).unwrap();
        )*
        // Every field is named above: the pattern has no `..`.
        let _ = |all: $name| { let $name { $($field: _),* } = all; };
        // I1 of types: no padding that C would leave unset.
        let fields: usize = [$({ let of = |all: &$name| size_of_val(&all.$field); size_by(of) }),*].iter().sum();
        assert_eq!(fields, size, "{} has hidden padding", stringify!($name));
    )*};
}

/// Size of a field without a value of its struct.
fn size_by<T>(size: impl Fn(&T) -> usize) -> usize {
    // Integers and raw pointers only, so zeros are a value; the test would not compile otherwise.
    let zeroed = std::mem::MaybeUninit::<T>::zeroed();
    #[allow(unsafe_code)]
    // SAFETY: every T here is a struct of integers and raw pointers (types, I1).
    size(unsafe { zeroed.assume_init_ref() })
}

#[test]
fn c_sees_the_same_layout() {
    let mut c = String::from(
        "#include <espial.h>\n#define CHECK(x) _Static_assert(x, #x)\n#define ALIGNOF(t) _Alignof(t)\n",
    );
    structs! { c:
        espial_tunnel { index, generation }
        espial_child { index, generation }
        espial_sa { slot, spi }
        espial_capacity {
            size, tunnels, children, selectors, sas, sas_dst, sas_dst_src, workers, sas_allocated, replay_window,
        }
        espial_ts { family, protocol, port_lo, port_hi, reserved, addr_lo, addr_hi }
        espial_selector {
            family, protocol, remote_port_lo, remote_port_hi, local_port_lo, local_port_hi, reserved,
            remote_lo, remote_hi, local_lo, local_hi,
        }
        espial_policy { priority, id, first, count, action, reserved }
        espial_spd_answer { id, place, action, reserved }
        espial_disjoint {
            id, action, family, protocol_lo, protocol_hi, remote_port_lo, remote_port_hi, local_port_lo,
            local_port_hi, remote_lo, remote_hi, local_lo, local_hi,
        }
        espial_range { family, exclude, reserved, lo, hi }
        espial_service { protocol, reserved, src_port_lo, src_port_hi, dst_port_lo, dst_port_hi }
        espial_local_in_policy {
            id, interface_first, interface_count, source_first, source_count, destination_first,
            destination_count, service_first, service_count, action, schedule, any_interface, reserved,
        }
        espial_local_packet { headers, interface, traffic, reserved }
        espial_local_in_answer { policy, action, by, reserved }
        espial_flow { family, protocol, sport, dport, reserved, src, dst }
        espial_session_limits { size, capacity, own, ttl_ms }
        espial_session { serial, origin, reserved, duration_ms, left_ms, flow }
        espial_session_end { serial, origin, reserved, idle_ms, flow }
        espial_passthrough_rule {
            id, context, action, family, protocol, src_port_lo, src_port_hi, dst_port_lo, dst_port_hi, src_lo, src_hi,
            dst_lo, dst_hi,
        }
        espial_passthrough_config {
            size, flows, lookupspi, server, reserved, ike_ms, nat_t_ms, esp_ms, ah_ms, other_ms,
        }
        espial_passthrough_packet { family, kind, protocol, reserved, spi, sport, dport, src, dst }
        espial_passthrough_answer { verdict, reason, by, context, rule, is_new, reserved, flow }
        espial_passthrough_flow { made_ms, idle_ms, rule, by, reserved, flow }
        espial_teardown { time_ms, age_ms, kind, family, sport, suppressed, src, dst }
        espial_passthrough_counts {
            size, reserved, accepted, accepted_flow, accepted_alg, rejected, alg_full, drops, teardowns,
        }
        espial_needed_config {
            size, lookupspi, server, translate_address, initiator, ipsec, nat_t, family, reserved, inside_lo, inside_hi,
            outside_lo, outside_hi,
        }
        espial_needed_rule { way, service, reserved, rule }
        espial_needed { outcome, virtual_servers, reserved }
        espial_addr { family, reserved, addr }
        espial_policy_route { output, family, prefix_len, reserved, addr }
        espial_reply_limits {
            size, capacity, half_open, addresses, routes, half_open_ms, established_ms, closed_ms,
        }
        espial_reply_config { size, port, mode, reserved }
        espial_segment { flow, seq, ack, payload_octets, flags, reserved }
        espial_reply { answer, chosen, recorded, flags, interface, came_in, ack, route }
        espial_pin { idle_ms, interface, established, reserved, flow }
        espial_tunnel_facts {
            size, live_sas, esp_idle_ms, left_500_ms, left_4500_ms, left_tcp_ms, esp_live_ms, session_ends_ms, peer,
            family, admitted, in_use, reserved,
        }
        espial_health { left_ms, state, alarm, esp_is_live, reserved }
        espial_child_ts { tunnel, local_first, local_count, remote_first, remote_count }
        espial_box { child, selector }
        espial_overlap { first, second, first_child, second_child, both }
        espial_hidden { index, why, by_first, by_count }
        espial_supernet { extra_high, extra_low, ranges, family, prefix_len, reserved, addr }
        espial_sa_key { spi, ipsec, scope, family, reserved, dst, src }
        espial_sa_params {
            size, mode, encap, reserved, key, replay_window, esn, replay_start, replay_reserved, replay_value,
            soft_packets, soft_octets, soft_ms, hard_packets, hard_octets, hard_ms,
        }
        espial_sa_state { size, reserved, top, packets, octets }
        espial_endpoints { family, reserved, src, dst }
        espial_outer {
            family, ipsec, encap, reserved, spi, sequence, sequence_high, sport, dport, offset, octets, flow_label, src, dst,
        }
        espial_inner { family, protocol, next_layer, fragment, sport, dport, src, dst }
        espial_packet { octets, len }
        espial_class { traffic, reason, reserved, outer }
        espial_arrival { verdict, reason, traffic, spi_class, deleted_ago_ms, sa, outer }
        espial_opened { outer, payload, len, sa, next_header, reserved }
        espial_verdict {
            verdict, reason, field, spi_class, shadow_asked, shadow_accepts, reserved, deleted_ago_ms,
            nearest_index, tunnel, child, belongs_to,
        }
        espial_plain_verdict { verdict, reason }
        espial_event {
            size, interface, time_ms, reason, field, spi_class, notice, suppressed, deleted_ago_ms,
            nearest_index, sa, tunnel, child, belongs_to, outer, inner, nearest, reserved, suppressed_of_source,
            reserved_more,
        }
        espial_counts {
            size, reserved, packets, octets, dropped, passed, events_suppressed, drops, shadow_accepts,
            shadow_drops,
        }
        espial_ike {
            initiator_spi, responder_spi, next_payload, version, exchange_type, flags, message_id, length,
            reserved,
        }
        espial_stream { state }
        espial_snapshot_writer { state }
        espial_snapshot_reader { state }
        espial_snapshot_pass { next, moved, flags }
        espial_record {
            size, kind, origin, by, reserved, interface, rule, child, age_ms, idle_ms, key, flow, packet, reserved_more,
        }
        espial_frame { number, stream_offset, content, len }
    }
    // Nothing of the header was forgotten.
    let header = crate::header::committed();
    for name in header.lines().filter_map(|line| line.strip_prefix("} ")?.strip_suffix(';')) {
        assert!(c.contains(&format!("sizeof({name})")), "{name} is not in the layout test");
    }
    c.push_str("int main(void) { return 0; }\n");
    let source = scratch().join("layout.c");
    fs::write(&source, c).expect("write");
    let object = scratch().join("layout.o");
    compile(
        "c11",
        &[&ffi("include")],
        &["-c", "-o", object.to_str().unwrap(), source.to_str().unwrap()],
    );
}

/// What programs were compiled with: none of these numbers may change without a new
/// `ESPIAL_ABI_VERSION` (but a struct with `size` may grow at its end).
#[cfg(target_pointer_width = "64")]
#[test]
fn published_sizes_stand() {
    assert_eq!(ESPIAL_ABI_VERSION, 0);
    let sizes = [
        size_of::<espial_capacity>(),
        size_of::<espial_ts>(),
        size_of::<espial_sa_params>(),
        size_of::<espial_sa_state>(),
        size_of::<espial_outer>(),
        size_of::<espial_inner>(),
        size_of::<espial_packet>(),
        size_of::<espial_arrival>(),
        size_of::<espial_opened>(),
        size_of::<espial_verdict>(),
        size_of::<espial_plain_verdict>(),
        size_of::<espial_event>(),
        size_of::<espial_counts>(),
        size_of::<espial_stream>(),
        size_of::<espial_policy>(),
        size_of::<espial_spd_answer>(),
        size_of::<espial_disjoint>(),
        size_of::<espial_child_ts>(),
        size_of::<espial_box>(),
        size_of::<espial_overlap>(),
        size_of::<espial_hidden>(),
        size_of::<espial_supernet>(),
    ];
    assert_eq!(
        sizes,
        [40, 40, 112, 32, 64, 40, 16, 80, 40, 40, 2, 256, 624, 64, 24, 12, 80, 20, 80, 92, 16, 40]
    );
    let local_in = [
        size_of::<espial_range>(),
        size_of::<espial_service>(),
        size_of::<espial_local_in_policy>(),
        size_of::<espial_local_packet>(),
        size_of::<espial_local_in_answer>(),
    ];
    assert_eq!(local_in, [36, 10, 40, 48, 8]);
    let sessions = [
        size_of::<espial_flow>(),
        size_of::<espial_session_limits>(),
        size_of::<espial_session>(),
        size_of::<espial_session_end>(),
    ];
    assert_eq!(sessions, [40, 16, 64, 56]);
    let passthrough = [
        size_of::<espial_passthrough_rule>(),
        size_of::<espial_passthrough_config>(),
        size_of::<espial_passthrough_packet>(),
        size_of::<espial_passthrough_answer>(),
        size_of::<espial_passthrough_flow>(),
        size_of::<espial_teardown>(),
        size_of::<espial_passthrough_counts>(),
        size_of::<espial_needed_config>(),
        size_of::<espial_needed_rule>(),
        size_of::<espial_needed>(),
    ];
    assert_eq!(passthrough, [80, 32, 44, 52, 64, 56, 240, 76, 84, 4]);
    let reply_path = [
        size_of::<espial_addr>(),
        size_of::<espial_policy_route>(),
        size_of::<espial_reply_limits>(),
        size_of::<espial_reply_config>(),
        size_of::<espial_segment>(),
        size_of::<espial_reply>(),
        size_of::<espial_pin>(),
        size_of::<espial_tunnel_facts>(),
        size_of::<espial_health>(),
    ];
    assert_eq!(reply_path, [20, 24, 32, 8, 56, 20, 56, 80, 16]);
    let snapshot = [
        size_of::<espial_snapshot_writer>(),
        size_of::<espial_snapshot_reader>(),
        size_of::<espial_snapshot_pass>(),
        size_of::<espial_record>(),
    ];
    assert_eq!(snapshot, [64, 256, 12, 168]);
}
