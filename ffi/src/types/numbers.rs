//! Versions, statuses, enumerations and limits.

/// Version of the header, major. Compare with espial_version() of the library at hand.
pub const ESPIAL_VERSION_MAJOR: u32 = 0;
/// Version of the header, minor.
pub const ESPIAL_VERSION_MINOR: u32 = 1;
/// Version of the header, patch.
pub const ESPIAL_VERSION_PATCH: u32 = 0;
/// Version of the binary interface, which is also the number in the SONAME. It changes only when
/// programs must be compiled again.
pub const ESPIAL_ABI_VERSION: u32 = 0;

/// Status: done.
pub const ESPIAL_OK: i32 = 0;
/// Status of espial_stream_next(): no whole frame yet, push more octets. Not an error.
pub const ESPIAL_MORE: i32 = 1;
/// Status: a pointer is NULL.
pub const ESPIAL_ENULL: i32 = 2;
/// Status: a pointer is not aligned for what it points to.
pub const ESPIAL_EALIGN: i32 = 3;
/// Status: the size field of a struct is not one that this library knows.
pub const ESPIAL_ESIZE: i32 = 4;
/// Status: a number names nothing: a family, mode, protocol, reason or reserved field.
pub const ESPIAL_EVALUE: i32 = 5;
/// Status: a count, length or capacity is above its limit, or zero where one is needed.
pub const ESPIAL_ERANGE: i32 = 6;
/// Status: the caller's memory or array is too small.
pub const ESPIAL_EROOM: i32 = 7;
/// Status: the allocator refused.
pub const ESPIAL_ENOMEM: i32 = 8;
/// Status: not a handle of the kind that the call takes: never made, or released.
pub const ESPIAL_EHANDLE: i32 = 9;
/// Status: the worker index is taken, or the gateway or SPD still has workers.
pub const ESPIAL_EATTACHED: i32 = 10;
/// Status: the tunnel, Child SA or SA is gone.
pub const ESPIAL_ESTALE: i32 = 11;
/// Status: the capacity is reached.
pub const ESPIAL_EFULL: i32 = 12;
/// Status: room will come when every worker has been quiescent; try again.
pub const ESPIAL_EBUSY: i32 = 13;
/// Status: the tunnel still has Child SAs, or the Child SA still has SAs.
pub const ESPIAL_EINUSE: i32 = 14;
/// Status: a traffic selector is wrong in itself: reversed range, or ports without a protocol.
pub const ESPIAL_ESELECTOR: i32 = 15;
/// Status: no local selector goes with any remote one, or a policy has no selectors, so no packet could ever
/// match.
pub const ESPIAL_EEMPTY: i32 = 16;
/// Status: an SA key that cannot be: SPI 0, or a source without a destination.
pub const ESPIAL_EKEY: i32 = 17;
/// Status: an SA with this key exists, or a policy with this id.
pub const ESPIAL_EDUPLICATE: i32 = 18;
/// Status: both buckets of this key are full below the capacity: make the gateway anew with another
/// seed. Not expected at the load factor in use.
pub const ESPIAL_EBUCKET: i32 = 19;
/// Status: the Child SA was added but not published.
pub const ESPIAL_EUNPUBLISHED: i32 = 20;
/// Status: no SA has this key.
pub const ESPIAL_ENOTFOUND: i32 = 21;
/// Status: the TCP stream breaks RFC 9329; close the connection.
pub const ESPIAL_ESTREAM: i32 = 22;
/// Status: every SPI that could be given out was in use a short time ago; try again later.
pub const ESPIAL_EQUARANTINE: i32 = 23;
/// Status: the replay window is larger than espial_capacity.replay_window.
pub const ESPIAL_EWINDOW: i32 = 24;
/// Status: a gateway cannot grow like that.
pub const ESPIAL_EGROW: i32 = 25;
/// Status: not the words of what they are opened as: damaged, cut short, or compiled by a library of another format or on
/// a machine of the other byte order.
pub const ESPIAL_EWORDS: i32 = 26;
/// Status: the result would be larger than the limit given.
pub const ESPIAL_ELIMIT: i32 = 27;
/// Status: not a record of a snapshot: octets are damaged, or were written with another key.
pub const ESPIAL_EDAMAGED: i32 = 28;
/// Status: a record of another version of the format.
pub const ESPIAL_EVERSION: i32 = 29;
/// Status: a record of another snapshot.
pub const ESPIAL_ESNAPSHOT: i32 = 30;
/// Status: not in this order: the record was read before, comes too late or behind the end; or the last one that was
/// read is not of the kind that is to be restored.
pub const ESPIAL_EORDER: i32 = 31;
/// Status: not restored: it would have ended by now.
pub const ESPIAL_EENDED: i32 = 32;
/// Status: not restored: a table configured as this one never has such an entry.
pub const ESPIAL_EFOREIGN: i32 = 33;
/// Status: not restored: the rules of this node do not admit it.
pub const ESPIAL_EADMITTED: i32 = 34;

/// Verdict: discard the packet. All-zero memory reads as this.
pub const ESPIAL_VERDICT_DROP: u8 = 0;
/// Verdict after opening: let the packet through.
pub const ESPIAL_VERDICT_ACCEPT: u8 = 1;
/// Verdict on arrival: not for this check; see espial_arrival.traffic.
pub const ESPIAL_VERDICT_PASS: u8 = 2;
/// Verdict on arrival: open it with the keys of espial_arrival.sa, then check what comes out.
pub const ESPIAL_VERDICT_OPEN: u8 = 3;

/// No reason: not a drop, or memory that nobody wrote.
pub const ESPIAL_DROP_NONE: u8 = 0;
/// No SA for this SPI (and destination and source); see espial_verdict.spi_class.
pub const ESPIAL_DROP_UNKNOWN_SPI: u8 = 1;
/// The SA's own selectors do not cover the packet, another Child SA's of the tunnel do.
pub const ESPIAL_DROP_WRONG_SA: u8 = 2;
/// No selector of the tunnel covers the packet.
pub const ESPIAL_DROP_NO_SELECTOR: u8 = 3;
/// A later fragment that only its missing ports keep from a selector (RFC 4301 section 7).
pub const ESPIAL_DROP_FRAGMENT_NO_PORTS: u8 = 4;
/// ESP or AH in a fragment: reassemble first.
pub const ESPIAL_DROP_OUTER_FRAGMENT: u8 = 5;
/// Known SA, but UDP or TCP encapsulation differs from the SA's.
pub const ESPIAL_DROP_WRONG_ENCAP: u8 = 6;
/// The integrity check failed (espial_worker_report).
pub const ESPIAL_DROP_AUTH_FAILED: u8 = 7;
/// The ESP padding is wrong (espial_worker_report).
pub const ESPIAL_DROP_BAD_PADDING: u8 = 8;
/// A replay, or left of the window: of the SA's own, or of the host's (espial_worker_report).
pub const ESPIAL_DROP_REPLAY: u8 = 9;
/// The host has no key or cipher for this SA (espial_worker_report).
pub const ESPIAL_DROP_NOT_OPENED: u8 = 10;
/// The SA's lifetime is over: its hard limit is reached, or the host says so (espial_worker_report).
pub const ESPIAL_DROP_SA_EXPIRED: u8 = 11;
/// A dummy packet, next header 59 (RFC 4303 section 2.6): counted, makes no event.
pub const ESPIAL_DROP_DUMMY: u8 = 12;
/// The IP version is neither 4 nor 6.
pub const ESPIAL_DROP_MALFORMED_IP_VERSION: u8 = 32;
/// The IP header is cut short or its length field is wrong.
pub const ESPIAL_DROP_MALFORMED_IP_HEADER: u8 = 33;
/// The IP length does not fit the octets that arrived.
pub const ESPIAL_DROP_MALFORMED_IP_LENGTH: u8 = 34;
/// An IPv6 extension header runs past the end.
pub const ESPIAL_DROP_MALFORMED_EXTENSION: u8 = 35;
/// Hop-by-hop options that do not come first.
pub const ESPIAL_DROP_MALFORMED_EXTENSION_ORDER: u8 = 36;
/// Too many extension headers, or too many octets of them.
pub const ESPIAL_DROP_MALFORMED_EXTENSION_LIMIT: u8 = 37;
/// A fragment that reaches past the largest IP packet.
pub const ESPIAL_DROP_MALFORMED_FRAGMENT: u8 = 38;
/// A UDP length that does not fit.
pub const ESPIAL_DROP_MALFORMED_UDP: u8 = 39;
/// Fewer octets than an SPI and a sequence number.
pub const ESPIAL_DROP_MALFORMED_ESP: u8 = 40;
/// An AH whose length field is wrong.
pub const ESPIAL_DROP_MALFORMED_AH: u8 = 41;
/// UDP 4500 that is neither keepalive, IKE nor ESP.
pub const ESPIAL_DROP_MALFORMED_NAT_T: u8 = 42;
/// A TCP stream that breaks RFC 9329.
pub const ESPIAL_DROP_MALFORMED_TCP_FRAME: u8 = 43;
/// The next header is not what the SA's mode or the inner IP version demands.
pub const ESPIAL_DROP_MALFORMED_NEXT_HEADER: u8 = 44;
/// Too short for ports, type or code.
pub const ESPIAL_DROP_MALFORMED_NEXT_LAYER: u8 = 45;
/// A Routing Header of type 0 with segments left (RFC 5095).
pub const ESPIAL_DROP_MALFORMED_ROUTING_HEADER: u8 = 46;
/// Length of espial_counts.drops; every reason is below it.
pub const ESPIAL_REASONS: usize = 64;

/// Traffic: nothing to say, or memory that nobody wrote.
pub const ESPIAL_TRAFFIC_NONE: u8 = 0;
/// Traffic: ESP or AH.
pub const ESPIAL_TRAFFIC_IPSEC: u8 = 1;
/// Traffic: IKE, for the key manager.
pub const ESPIAL_TRAFFIC_IKE: u8 = 2;
/// Traffic: a NAT keepalive, to be ignored.
pub const ESPIAL_TRAFFIC_NAT_KEEPALIVE: u8 = 3;
/// Traffic: anything else.
pub const ESPIAL_TRAFFIC_OTHER: u8 = 4;

/// SPI class: the reason is not ESPIAL_DROP_UNKNOWN_SPI.
pub const ESPIAL_SPI_CLASS_NONE: u8 = 0;
/// SPI class: nothing is known of it.
pub const ESPIAL_SPI_CLASS_NEVER_SEEN: u8 = 1;
/// SPI class: its SA was deleted deleted_ago_ms ago.
pub const ESPIAL_SPI_CLASS_RECENTLY_DELETED: u8 = 2;
/// SPI class: it has an SA at another destination or from another source.
pub const ESPIAL_SPI_CLASS_OTHER_DESTINATION: u8 = 3;
/// SPI class: reserved for an SA that is still being negotiated (espial_spi_reserve).
pub const ESPIAL_SPI_CLASS_LARVAL: u8 = 4;

/// Notice: the event is a drop, see espial_event.reason.
pub const ESPIAL_NOTICE_NONE: u8 = 0;
/// Notice: the SA has reached its soft limit in packets (RFC 4301 section 4.4.2.1): negotiate a new one.
/// No packet was dropped for it.
pub const ESPIAL_NOTICE_SOFT_PACKETS: u8 = 1;
/// Notice: its soft limit in octets.
pub const ESPIAL_NOTICE_SOFT_OCTETS: u8 = 2;
/// Notice: its soft limit in time.
pub const ESPIAL_NOTICE_SOFT_TIME: u8 = 3;

/// Due: no SA.
pub const ESPIAL_DUE_NONE: u32 = 0;
/// Due: the soft limit in time has passed: negotiate a new SA.
pub const ESPIAL_DUE_SOFT: u32 = 1;
/// Due: a hard limit, in time or another, is reached: delete the SA, its packets are dropped.
pub const ESPIAL_DUE_HARD: u32 = 2;

/// Field: none.
pub const ESPIAL_FIELD_NONE: u8 = 0;
/// Field: source address against the remote range.
pub const ESPIAL_FIELD_SRC: u8 = 1;
/// Field: destination address against the local range.
pub const ESPIAL_FIELD_DST: u8 = 2;
/// Field: next layer protocol.
pub const ESPIAL_FIELD_PROTO: u8 = 3;
/// Field: source port against the remote ports.
pub const ESPIAL_FIELD_SPORT: u8 = 4;
/// Field: destination port against the local ports.
pub const ESPIAL_FIELD_DPORT: u8 = 5;
/// Field: ICMP type and code.
pub const ESPIAL_FIELD_ICMP: u8 = 6;
/// Field: Mobility Header type.
pub const ESPIAL_FIELD_MH: u8 = 7;

/// Tunnel mode: the arriving SA's own selectors must cover the packet (RFC 4301 section 5.2).
pub const ESPIAL_MODE_STRICT_SA: u32 = 0;
/// Tunnel mode: any selector of the tunnel's Child SAs that have an SA. Gives up telling which SA
/// the peer should have used.
pub const ESPIAL_MODE_ANY_SELECTOR: u32 = 1;
/// Tunnel mode: the source address alone. Gives up destination, protocol and ports as well.
pub const ESPIAL_MODE_ANY_SOURCE: u32 = 2;
/// Tunnel mode: as strict-sa, and the first selector in configuration order that covers the packet
/// must belong to a Child SA with the same selectors.
pub const ESPIAL_MODE_ORDERED_SPD: u32 = 3;
/// Number of tunnel modes: the length of the shadow arrays of espial_counts.
pub const ESPIAL_MODES: usize = 4;

/// Address family: IPv4, in the first 4 octets of an address.
pub const ESPIAL_FAMILY_V4: u8 = 4;
/// Address family: IPv6.
pub const ESPIAL_FAMILY_V6: u8 = 6;
/// IPsec protocol: ESP.
pub const ESPIAL_IPSEC_ESP: u8 = 50;
/// IPsec protocol: AH.
pub const ESPIAL_IPSEC_AH: u8 = 51;
/// Encapsulation: directly in IP.
pub const ESPIAL_ENCAP_NONE: u8 = 0;
/// Encapsulation: UDP port 4500 (RFC 3948).
pub const ESPIAL_ENCAP_UDP: u8 = 1;
/// Encapsulation: a TCP stream (RFC 9329).
pub const ESPIAL_ENCAP_TCP: u8 = 2;
/// SA mode: the opened payload is an IP packet.
pub const ESPIAL_SA_TUNNEL: u8 = 1;
/// SA mode: the opened payload is the next layer of the packet that arrived.
pub const ESPIAL_SA_TRANSPORT: u8 = 2;
/// Scope of an SA key: the SPI alone.
pub const ESPIAL_SCOPE_SPI: u8 = 1;
/// Scope of an SA key: SPI and destination address.
pub const ESPIAL_SCOPE_DST: u8 = 2;
/// Scope of an SA key: SPI, destination and source address.
pub const ESPIAL_SCOPE_DST_SRC: u8 = 3;
/// Replay window: no packet was seen; with extended sequence numbers the first ones have the high half
/// replay_value.
pub const ESPIAL_REPLAY_START_HIGH: u8 = 0;
/// Replay window: replay_value was seen, and nothing of the window below it, so that such packets may
/// still come: state taken over from another node (espial_sa_state.top).
pub const ESPIAL_REPLAY_START_TOP: u8 = 1;
/// The largest replay window, in packets.
pub const ESPIAL_WINDOW_MAX: u32 = 4096;
/// Next layer of espial_inner: no value, because of the protocol or because it is a later fragment.
pub const ESPIAL_NEXT_LAYER_OPAQUE: u8 = 0;
/// Next layer: two ports.
pub const ESPIAL_NEXT_LAYER_PORTS: u8 = 1;
/// Next layer: sport holds ICMP type * 256 + code.
pub const ESPIAL_NEXT_LAYER_ICMP: u8 = 2;
/// Next layer: sport holds Mobility Header type * 256.
pub const ESPIAL_NEXT_LAYER_MOBILITY: u8 = 3;
/// Fragment of espial_inner: a whole packet.
pub const ESPIAL_FRAGMENT_NONE: u8 = 0;
/// Fragment: the first one.
pub const ESPIAL_FRAGMENT_FIRST: u8 = 1;
/// Fragment: a later one, without ports.
pub const ESPIAL_FRAGMENT_NON_INITIAL: u8 = 2;
/// Role of a TCP stream: from the side that opened the connection; it starts with "IKETCP".
pub const ESPIAL_STREAM_FROM_INITIATOR: u32 = 1;
/// Role of a TCP stream: towards the side that opened the connection.
pub const ESPIAL_STREAM_FROM_RESPONDER: u32 = 2;

/// Packets that a burst call takes at most.
pub const ESPIAL_BURST_MAX: usize = 64;
/// Traffic selectors that a Child SA has at most on one side (RFC 7296 section 3.13).
pub const ESPIAL_TS_MAX: usize = 255;
/// Answer of a matcher: no selector.
pub const ESPIAL_MATCHER_NONE: u32 = 0xffff_ffff;
/// Place in an SPD's answer: no policy covers the packet.
pub const ESPIAL_SPD_NONE: u32 = 0xffff_ffff;

/// Action: the packet may not cross the boundary (RFC 4301 section 4.4.1). All-zero memory reads as this.
pub const ESPIAL_ACTION_DISCARD: u8 = 0;
/// Action: it crosses without IPsec.
pub const ESPIAL_ACTION_BYPASS: u8 = 1;
/// Action: it crosses on an SA only.
pub const ESPIAL_ACTION_PROTECT: u8 = 2;
/// Direction of an SPD: towards the protected side; a packet's source is the remote side (SPD-I).
pub const ESPIAL_DIRECTION_INBOUND: u32 = 0;
/// Direction of an SPD: away from it; a packet's source is the local side (SPD-O, SPD-S).
pub const ESPIAL_DIRECTION_OUTBOUND: u32 = 1;
/// Order of policies: as in the array. Priorities are not looked at.
pub const ESPIAL_ORDER_PLACED: u32 = 0;
/// Order of policies: the highest priority first; of equal ones that which is later in the array.
pub const ESPIAL_ORDER_HIGHEST_FIRST: u32 = 1;
/// Order of policies: the lowest priority first; of equal ones that which is earlier in the array.
pub const ESPIAL_ORDER_LOWEST_FIRST: u32 = 2;
/// Order of policies: all PROTECT, then all BYPASS, then all DISCARD; in each as
/// ESPIAL_ORDER_HIGHEST_FIRST.
pub const ESPIAL_ORDER_PROTECT_FIRST: u32 = 3;

/// Hidden: no packet can match it: one side wants values that are not to be seen, the other some that are.
pub const ESPIAL_HIDDEN_NO_PACKET: u32 = 1;
/// Hidden: one earlier selector covers all of it; the first that does is named.
pub const ESPIAL_HIDDEN_SHADOWED: u32 = 2;
/// Hidden: no single one, but earlier selectors together cover all of it; some that do are named, not always the
/// fewest.
pub const ESPIAL_HIDDEN_UNREACHABLE: u32 = 3;
/// Hidden or not: the work ended before it was known.
pub const ESPIAL_HIDDEN_UNDECIDED: u32 = 4;

/// The bits of espial_sa.slot that are the index of the SA. It is good for an array of your own, such as
/// keys: sa.slot & ESPIAL_SA_INDEX.
pub const ESPIAL_SA_INDEX: u32 = 0x00ff_ffff;

/// Local-in policy: the packet is dropped. All-zero memory reads as this.
pub const ESPIAL_LOCAL_IN_DENY: u8 = 0;
/// Local-in policy: it may come in.
pub const ESPIAL_LOCAL_IN_ACCEPT: u8 = 1;
/// Local-in answer by nobody, and the action is ESPIAL_LOCAL_IN_DENY: ESP and AH, which the SPI table judges and
/// no policy (espial_worker_arrive()); a malformed packet; memory that nobody wrote.
pub const ESPIAL_LOCAL_IN_BY_NOBODY: u8 = 0;
/// Local-in answer by the first policy that covers the packet.
pub const ESPIAL_LOCAL_IN_BY_POLICY: u8 = 1;
/// Local-in answer by the default: no policy covers the packet.
pub const ESPIAL_LOCAL_IN_BY_DEFAULT: u8 = 2;
/// Selectors that one local-in policy comes to at most: source ranges, destination ranges and services
/// multiplied.
pub const ESPIAL_LOCAL_IN_SELECTORS_MAX: usize = 65536;
/// Schedules that there are: bits of the schedules given with each call.
pub const ESPIAL_SCHEDULES: u8 = 64;

/// A session that was not matched for longer than these milliseconds is gone, where nothing else is said.
pub const ESPIAL_SESSION_TTL_MS: u32 = 180_000;
/// Side: this gateway.
pub const ESPIAL_SIDE_LOCAL: u8 = 0;
/// Side: the other one.
pub const ESPIAL_SIDE_REMOTE: u8 = 1;
/// Side: this gateway, because of what the other one sent. Only espial_sessions_open() takes it, and nothing is told
/// with it: the session is the other side's.
pub const ESPIAL_SIDE_ANSWER: u8 = 2;
/// No session, and none was opened: IPsec, or a malformed packet.
pub const ESPIAL_SESSION_NONE: u32 = 0;
/// A session was opened.
pub const ESPIAL_SESSION_NEW: u32 = 1;
/// The session was there and is matched now.
pub const ESPIAL_SESSION_EXISTING: u32 = 2;
/// No session: there is no room for one more.
pub const ESPIAL_SESSION_FULL: u32 = 3;

/// Context of a rule: none, rules were not asked.
pub const ESPIAL_CONTEXT_NONE: u8 = 0;
/// Context of a rule: the whole firewall. Contexts are asked in the order of their numbers.
pub const ESPIAL_CONTEXT_GLOBAL: u8 = 1;
/// Context of a rule: one routing table.
pub const ESPIAL_CONTEXT_ROUTE_DOMAIN: u8 = 2;
/// Context of a rule: the virtual server that forwards the packet; only this one has a default.
pub const ESPIAL_CONTEXT_VIRTUAL_SERVER: u8 = 3;
/// Action of a rule: the packet goes no further and nobody is told. All-zero memory reads as this.
pub const ESPIAL_RULE_DROP: u8 = 0;
/// Action of a rule: the packet goes no further and its sender is told.
pub const ESPIAL_RULE_REJECT: u8 = 1;
/// Action of a rule: it passes this context; the next one is asked.
pub const ESPIAL_RULE_ACCEPT: u8 = 2;
/// Action of a rule: it passes all contexts; no other is asked.
pub const ESPIAL_RULE_ACCEPT_DECISIVELY: u8 = 3;
/// Virtual server: FastL4.
pub const ESPIAL_SERVER_FASTL4: u8 = 0;
/// Virtual server: standard, without an IPsec ALG profile.
pub const ESPIAL_SERVER_STANDARD: u8 = 1;
/// Virtual server: standard, with one.
pub const ESPIAL_SERVER_STANDARD_ALG: u8 = 2;
/// Milliseconds that a flow lives without a packet, where nothing else is said.
pub const ESPIAL_PASSTHROUGH_IDLE_MS: u32 = 300_000;
/// Packet to a firewall: ESP in IP.
pub const ESPIAL_PASSTHROUGH_ESP: u8 = 1;
/// Packet to a firewall: AH in IP.
pub const ESPIAL_PASSTHROUGH_AH: u8 = 2;
/// Packet to a firewall: UDP, whatever its ports.
pub const ESPIAL_PASSTHROUGH_UDP: u8 = 3;
/// Packet to a firewall: a later fragment, without SPI and ports.
pub const ESPIAL_PASSTHROUGH_FRAGMENT: u8 = 4;
/// Passthrough: the packet is dropped and its sender not told. All-zero memory reads as this.
pub const ESPIAL_PASS_DROP: u8 = 0;
/// Passthrough: it is dropped and its sender told, because a rule or the default says so.
pub const ESPIAL_PASS_REJECT: u8 = 1;
/// Passthrough: a rule or the default admitted it, and its flow was made.
pub const ESPIAL_PASS_ACCEPT: u8 = 2;
/// Passthrough: it belongs to a flow that a rule or the default admitted.
pub const ESPIAL_PASS_ACCEPT_FLOW: u8 = 3;
/// Passthrough: the ALG admitted its flow, before or now.
pub const ESPIAL_PASS_ACCEPT_ALG: u8 = 4;
/// Passthrough drop: none, or memory that nobody wrote.
pub const ESPIAL_PASS_DROP_NONE: u8 = 0;
/// Passthrough drop: a rule or the default says so.
pub const ESPIAL_PASS_DROP_DECIDED: u8 = 1;
/// Passthrough drop: it answers the ALG's flow of a host pair, and the ALG relies on lookupspi, which is off: no rule
/// helps.
pub const ESPIAL_PASS_DROP_ALG_NEEDS_LOOKUPSPI: u8 = 2;
/// Passthrough drop: it is admitted, but there is no room for its flow.
pub const ESPIAL_PASS_DROP_TABLE_FULL: u8 = 3;
/// Passthrough drop: SPI 0 is never on the wire.
pub const ESPIAL_PASS_DROP_SPI_ZERO: u8 = 4;
/// Passthrough drop: a later fragment has nothing to find its flow by: reassemble first.
pub const ESPIAL_PASS_DROP_FRAGMENT: u8 = 5;
/// Passthrough, decided by nobody: the packet's flow or the ALG said enough.
pub const ESPIAL_PASS_BY_NONE: u8 = 0;
/// Passthrough, decided by the rule named.
pub const ESPIAL_PASS_BY_RULE: u8 = 1;
/// Passthrough, decided by the default of the virtual server.
pub const ESPIAL_PASS_BY_DEFAULT: u8 = 2;
/// Passthrough, a flow that the IPsec ALG admitted.
pub const ESPIAL_PASS_BY_ALG: u8 = 3;
/// Teardown: the ALG's flow for AH.
pub const ESPIAL_TEARDOWN_AH: u8 = 1;
/// Teardown: a flow of IKE that the ALG looked at.
pub const ESPIAL_TEARDOWN_IKE: u8 = 2;
/// Teardown: the ALG's flow for ESP.
pub const ESPIAL_TEARDOWN_ESP: u8 = 3;

/// No interface: the routing table has no route.
pub const ESPIAL_INTERFACE_NONE: u32 = 0xffff_ffff;
/// Answers of IKE over TCP: not known how they leave.
pub const ESPIAL_TCP_REPLY_UNKNOWN: u8 = 0;
/// Answers of IKE over TCP leave as the routing table chooses for each packet: the fault, kept to reproduce it.
pub const ESPIAL_TCP_REPLY_UNPINNED: u8 = 1;
/// Answers of IKE over TCP leave by the interface that the SYN came in on.
pub const ESPIAL_TCP_REPLY_PINNED: u8 = 2;
/// There are policy routes, but what the gateway itself sends for IKE does not ask them (ike-policy-route disabled):
/// the routing table chooses.
pub const ESPIAL_TCP_REPLY_POLICY_ROUTE: u8 = 3;
/// It asks them: the first policy route of the answer's source, else the routing table (ike-policy-route enabled).
pub const ESPIAL_TCP_REPLY_IKE_POLICY_ROUTE: u8 = 4;
/// Segment: it starts no connection and belongs to none: drop it. All-zero memory reads as this.
pub const ESPIAL_SEGMENT_NO_SESSION: u8 = 0;
/// Segment: it is not IKE over TCP of this gateway.
pub const ESPIAL_SEGMENT_NOT_OURS: u8 = 1;
/// Segment: a reset; the connection is gone and there is nothing to answer.
pub const ESPIAL_SEGMENT_RESET: u8 = 2;
/// Segment: the routing table is to choose and has no route: it cannot be answered.
pub const ESPIAL_SEGMENT_NO_ROUTE: u8 = 3;
/// Segment: answers leave by espial_reply.interface.
pub const ESPIAL_SEGMENT_LEAVE: u8 = 4;
/// Interface chosen by nobody: there is none.
pub const ESPIAL_CHOSEN_NONE: u8 = 0;
/// Interface chosen by the connection: its SYN came in there.
pub const ESPIAL_CHOSEN_PIN: u8 = 1;
/// Interface chosen by a policy route.
pub const ESPIAL_CHOSEN_POLICY_ROUTE: u8 = 2;
/// Interface chosen by the routing table.
pub const ESPIAL_CHOSEN_ROUTE: u8 = 3;
/// A time that never was, or something that there is not.
pub const ESPIAL_NEVER: u64 = 0xffff_ffff_ffff_ffff;
/// Where IKE comes in: UDP 500.
pub const ESPIAL_IKE_500: u8 = 1;
/// Where IKE comes in: UDP 4500.
pub const ESPIAL_IKE_4500: u8 = 2;
/// Where IKE comes in: the TCP port that is configured.
pub const ESPIAL_IKE_TCP: u8 = 4;
/// Health: no SA lives; nothing to keep.
pub const ESPIAL_HEALTH_DOWN: u8 = 0;
/// Health: a policy admits the peer's IKE.
pub const ESPIAL_HEALTH_ADMITTED: u8 = 1;
/// Health: no policy does; a session that is not about to go lets it in.
pub const ESPIAL_HEALTH_HELD: u8 = 2;
/// Health: no policy does, and the session is gone or about to go.
pub const ESPIAL_HEALTH_STARVED: u8 = 3;
/// Tunnel mode of a version: the documents do not say.
pub const ESPIAL_MODE_UNKNOWN: u32 = 0xffff_ffff;

/// Octets of every record of a snapshot.
pub const ESPIAL_RECORD_OCTETS: usize = 160;
/// Record: an SA, for espial_snapshot_restore_sa().
pub const ESPIAL_RECORD_SA: u8 = 1;
/// Record: a session, for espial_snapshot_restore_session().
pub const ESPIAL_RECORD_SESSION: u8 = 2;
/// Record: a connection of IKE over TCP, for espial_snapshot_restore_pin().
pub const ESPIAL_RECORD_PIN: u8 = 3;
/// Record: a flow of a firewall, for espial_snapshot_restore_flow().
pub const ESPIAL_RECORD_FLOW: u8 = 4;
/// Record: the last one.
pub const ESPIAL_RECORD_END: u8 = 255;
/// Flag of espial_snapshot_pass: the whole table was gone through.
pub const ESPIAL_SNAPSHOT_DONE: u32 = 1;
/// Flag of espial_snapshot_pass: entries made room for others since the pass began, as they do in a table that is nearly
/// full; one of them may have been missed. Go through the table again.
pub const ESPIAL_SNAPSHOT_MISSED: u32 = 2;
/// Flag of espial_snapshot_pass: it has begun.
pub const ESPIAL_SNAPSHOT_BEGUN: u32 = 4;

/// Which peer may start a tunnel: the inside one.
pub const ESPIAL_INITIATOR_INSIDE: u8 = 0;
/// Which peer may start a tunnel: the outside one.
pub const ESPIAL_INITIATOR_OUTSIDE: u8 = 1;
/// Which peer may start a tunnel: either.
pub const ESPIAL_INITIATOR_EITHER: u8 = 2;
/// No NAT between the peers: IKE stays on UDP 500, ESP or AH is in IP.
pub const ESPIAL_NAT_T_NEVER: u8 = 0;
/// NAT between the peers: after the first exchange everything is on UDP 4500. AH does not pass it.
pub const ESPIAL_NAT_T_ALWAYS: u8 = 1;
/// There may be NAT one day: rules for both are wanted.
pub const ESPIAL_NAT_T_POSSIBLE: u8 = 2;
/// Way of a rule: from the inside peers to the outside ones.
pub const ESPIAL_WAY_OUT: u8 = 0;
/// Way of a rule: from the outside peers to the inside ones.
pub const ESPIAL_WAY_IN: u8 = 1;
/// What a rule admits: IKE, UDP to port 500.
pub const ESPIAL_NEEDED_IKE: u8 = 0;
/// What a rule admits: IKE and ESP in UDP, to port 4500.
pub const ESPIAL_NEEDED_NAT_T: u8 = 1;
/// What a rule admits: ESP in IP.
pub const ESPIAL_NEEDED_ESP: u8 = 2;
/// What a rule admits: AH in IP.
pub const ESPIAL_NEEDED_AH: u8 = 3;
/// Rules that espial_passthrough_rules_needed() names at most.
pub const ESPIAL_NEEDED_RULES: usize = 6;
/// What comes of the rules: tunnels come up and carry traffic both ways.
pub const ESPIAL_OUTCOME_WORKS: u8 = 0;
/// What comes of the rules: tunnels come up; ESP and AH of the peer that did not start are dropped, and no rule helps,
/// for the ALG relies on lookupspi. Only UDP 4500 works.
pub const ESPIAL_OUTCOME_RETURN_DROPPED: u8 = 1;
