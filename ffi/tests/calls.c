/* Every call where it succeeds, with the exact outputs: the values that cross the border are the right ones. */
#include "claims.h"

#define DONE(call) GIVES(ESPIAL_OK, call)

static _Alignas(64) uint8_t memory[1 << 18], more[1 << 14];

static const uint8_t V6_SRC[16] = {0x20, 1, 0x0d, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5};
static const uint8_t V6_DST[16] = {0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
static const uint8_t PEER[4] = {198, 51, 100, 1}, HERE[4] = {203, 0, 113, 2};

static espial_ts net(uint8_t second, uint8_t third) {
    espial_ts ts;
    memset(&ts, 0, sizeof ts);
    ts.family = ESPIAL_FAMILY_V4;
    ts.port_hi = 65535;
    ts.addr_lo[0] = ts.addr_hi[0] = 10;
    ts.addr_lo[1] = ts.addr_hi[1] = second;
    ts.addr_lo[2] = ts.addr_hi[2] = third;
    ts.addr_hi[3] = 255;
    return ts;
}

static espial_sa_params esp(uint32_t spi) {
    espial_sa_params params;
    memset(&params, 0, sizeof params);
    params.size = sizeof params;
    params.mode = ESPIAL_SA_TUNNEL;
    params.key.spi = spi;
    params.key.ipsec = ESPIAL_IPSEC_ESP;
    params.key.scope = ESPIAL_SCOPE_SPI;
    return params;
}

/* IPv4 from PEER to HERE. */
static size_t ipv4(uint8_t *out, uint8_t protocol, const uint8_t *body, size_t len) {
    memset(out, 0, 20);
    out[0] = 0x45;
    out[2] = (uint8_t)((20 + len) >> 8);
    out[3] = (uint8_t)(20 + len);
    out[8] = 64;
    out[9] = protocol;
    memcpy(out + 12, PEER, 4);
    memcpy(out + 16, HERE, 4);
    memcpy(out + 20, body, len);
    return 20 + len;
}

static espial_outer headers(uint32_t spi, uint32_t sequence) {
    espial_outer outer;
    memset(&outer, 0, sizeof outer);
    outer.family = ESPIAL_FAMILY_V4;
    outer.ipsec = ESPIAL_IPSEC_ESP;
    outer.spi = spi;
    outer.sequence = sequence;
    return outer;
}

/* SPIs that the gateway chooses, replay windows, lifetimes, growth. */
static void chosen(void) {
    static _Alignas(64) uint8_t grown[1 << 17];
    espial_capacity capacity = {
        sizeof capacity, .tunnels = 1, .children = 1, .selectors = 1, .sas = 2, .workers = 1, .sas_allocated = 2,
        .replay_window = 128,
    };
    espial_gateway *gateway;
    espial_worker *worker;
    espial_tunnel tunnel;
    espial_child child;
    espial_ts local = net(1, 0), remote = net(2, 0);
    espial_sa_params params;
    espial_sa sa, second, plain, found, sas[4];
    espial_sa_state state;
    espial_arrival arrival, arrivals[3];
    espial_outer outer, outers[4];
    espial_inner inner;
    espial_verdict verdict;
    espial_event events[4];
    uint32_t spi, other, none, spis[4], from, due, limits[4];
    size_t size, count;
    uint64_t now = 1000;

    DONE(espial_gateway_init(memory, sizeof memory, &capacity, 7, 8, &gateway));
    DONE(espial_worker_init(more, sizeof more, gateway, 0, &worker));
    DONE(espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel));
    DONE(espial_child_add(gateway, tunnel, &local, 1, &remote, 1, &child));
    DONE(espial_gateway_publish(gateway));
    memset(&inner, 0, sizeof inner);
    inner.family = ESPIAL_FAMILY_V4;
    memcpy(inner.src, remote.addr_lo, 4);
    memcpy(inner.dst, local.addr_lo, 4);

    /* Reserved, and larval; then an SA with 64-bit numbers, taken over from a node that saw 0x7fffffff0. */
    DONE(espial_spi_set_quarantine(gateway, 500));
    DONE(espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, now, &spi));
    outer = headers(spi, 0xfffffff1);
    DONE(espial_worker_lookup(worker, &outer, now, 3, &arrival));
    CLAIM(arrival.reason == ESPIAL_DROP_UNKNOWN_SPI && arrival.spi_class == ESPIAL_SPI_CLASS_LARVAL);
    DONE(espial_worker_find_spi(worker, ESPIAL_IPSEC_ESP, spi, &found));
    CLAIM(found.spi == 0 && espial_worker_find_esp(worker, spi) == 0);
    params = esp(spi);
    params.replay_window = 128;
    params.esn = 1;
    params.replay_start = ESPIAL_REPLAY_START_TOP;
    params.replay_value = 0x7fffffff0;
    params.soft_packets = 2;
    params.hard_packets = 3;
    DONE(espial_sa_add(gateway, child, &params, &sa));
    DONE(espial_worker_find_spi(worker, ESPIAL_IPSEC_ESP, spi, &found));
    CLAIM(found.slot == sa.slot && found.spi == sa.spi && espial_worker_find_esp(worker, spi) == sa.slot);
    DONE(espial_worker_find_spi(worker, ESPIAL_IPSEC_AH, spi, &found));
    CLAIM(found.spi == 0);
    state.size = sizeof state;
    DONE(espial_sa_state_of(gateway, sa, &state));
    CLAIM(state.size == sizeof state && state.reserved == 0 && state.top == 0x7fffffff0 && state.packets == 0);

    /* The high half is guessed, and goes over when the low one does; what was seen is a replay. */
    DONE(espial_worker_lookup(worker, &outer, now, 3, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_OPEN && arrival.outer.sequence_high == 7);
    DONE(espial_worker_check_headers(worker, sa, &arrival.outer, &inner, 100, now, 3, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_ACCEPT);
    DONE(espial_worker_lookup(worker, &outer, now, 3, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_DROP && arrival.reason == ESPIAL_DROP_REPLAY);
    outers[0] = headers(spi, 2);
    outers[1] = headers(spi, 0xfffffff2);
    outers[2] = headers(spi, 0xfffffff1);
    DONE(espial_worker_lookup_burst(worker, outers, 3, now, 3, arrivals));
    CLAIM(arrivals[0].verdict == ESPIAL_VERDICT_OPEN && arrivals[0].outer.sequence_high == 8);
    CLAIM(arrivals[1].verdict == ESPIAL_VERDICT_OPEN && arrivals[1].outer.sequence_high == 7);
    CLAIM(arrivals[2].verdict == ESPIAL_VERDICT_DROP && arrivals[2].reason == ESPIAL_DROP_REPLAY);
    DONE(espial_worker_set_event_budget(worker, 100, 100));
    for (count = 1; count != 0;) {
        events[0].size = sizeof events[0];
        DONE(espial_worker_events(worker, events, 4, &count));
    }

    /* The second packet reaches the soft limit, and is told of once; the third is the last. */
    DONE(espial_worker_check_headers(worker, sa, &arrivals[0].outer, &inner, 60, now, 3, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_ACCEPT);
    DONE(espial_worker_check_headers(worker, sa, &arrivals[1].outer, &inner, 40, now, 3, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_ACCEPT);
    outer = headers(spi, 3);
    DONE(espial_worker_lookup(worker, &outer, now, 3, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_DROP && arrival.reason == ESPIAL_DROP_SA_EXPIRED);
    memset(events, 0x55, sizeof events);
    events[0].size = sizeof events[0];
    DONE(espial_worker_events(worker, events, 4, &count));
    CLAIM(count == 2 && events[0].notice == ESPIAL_NOTICE_SOFT_PACKETS && events[0].reason == ESPIAL_DROP_NONE);
    CLAIM(events[0].sa.slot == sa.slot && events[0].child.index == child.index && events[0].field == 0);
    CLAIM(events[0].outer.spi == spi && events[0].outer.sequence_high == 8 && events[0].inner.family == 0);
    CLAIM(events[0].time_ms == now && events[0].interface == 3 && events[0].nearest.family == 0);
    CLAIM(events[1].notice == ESPIAL_NOTICE_NONE && events[1].reason == ESPIAL_DROP_SA_EXPIRED);
    DONE(espial_sa_state_of(gateway, sa, &state));
    CLAIM(state.top == 0x800000002 && state.packets == 3 && state.octets == 200);

    /* Limits in time, for an SA on which nothing arrives. */
    DONE(espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, now, &other));
    params = esp(other);
    params.soft_ms = 2000;
    params.hard_ms = 3000;
    DONE(espial_sa_add(gateway, child, &params, &second));
    CLAIM(second.slot != sa.slot);
    for (now = 1999; now <= 3000; now += now == 1999 ? 1 : 1000) {
        uint32_t soft = 0, hard = 0;
        for (from = 0; from != UINT32_MAX;) {
            DONE(espial_sa_next_due(gateway, 1, now, &from, &found, &due));
            CLAIM((due == ESPIAL_DUE_NONE) == (found.spi == 0));
            if (due != ESPIAL_DUE_NONE && found.slot == second.slot) {
                CLAIM(found.spi == second.spi);
                soft += due == ESPIAL_DUE_SOFT;
                hard += due == ESPIAL_DUE_HARD;
            } else if (due != ESPIAL_DUE_NONE) { /* the one that has had its packets */
                CLAIM(found.slot == sa.slot && due == ESPIAL_DUE_HARD);
            }
        }
        CLAIM(soft == (now == 2000) && hard == (now == 3000));
    }
    outer = headers(other, 1);
    DONE(espial_worker_lookup(worker, &outer, 2500, 3, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_OPEN && arrival.outer.sequence_high == 0);
    events[0].size = sizeof events[0];
    DONE(espial_worker_events(worker, events, 4, &count));
    CLAIM(count == 1 && events[0].notice == ESPIAL_NOTICE_SOFT_TIME && events[0].sa.slot == second.slot);
    DONE(espial_worker_lookup(worker, &outer, 3000, 3, &arrival));
    CLAIM(arrival.reason == ESPIAL_DROP_SA_EXPIRED);

    /* Full; then larger. The SAs stay, and so do their windows and counts. */
    GIVES(ESPIAL_EFULL, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, now, &none));
    DONE(espial_sa_delete(gateway, second, now));
    DONE(espial_worker_quiescent(worker));
    GIVES(ESPIAL_EQUARANTINE, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, now + 499, &none));
    capacity.sas = 40;
    capacity.sas_allocated = 16;
    DONE(espial_gateway_growth_size(gateway, &capacity, &size));
    CLAIM(size <= sizeof grown);
    DONE(espial_gateway_grow(gateway, grown, size, &capacity));
    DONE(espial_gateway_sa_limits(gateway, &limits[0], &limits[1], &limits[2], &limits[3]));
    CLAIM(limits[0] == 40 && limits[1] == 0 && limits[2] == 0 && limits[3] == 16);
    DONE(espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, now + 499, &none)); /* a new slot, not the quarantined one */
    params = esp(0x1111);
    DONE(espial_sa_add(gateway, child, &params, &plain));
    spis[0] = 0x1111;
    spis[1] = other;
    spis[2] = spi;
    spis[3] = none;
    DONE(espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 4, sas, &count));
    CLAIM(count == 2 && sas[0].slot == plain.slot && sas[0].spi == plain.spi);
    CLAIM(sas[1].spi == 0 && sas[2].slot == sa.slot && sas[2].spi == sa.spi);
    CLAIM(sas[3].spi == 0);
    for (size_t i = 0; i < 4; i++) {
        outers[i] = headers(spis[i], 1);
    }
    DONE(espial_worker_find_sas(worker, outers, 4, sas, &count));
    CLAIM(count == 2 && sas[0].slot == plain.slot && sas[1].spi == 0 && sas[2].slot == sa.slot && sas[3].spi == 0);
    DONE(espial_sa_state_of(gateway, sa, &state));
    CLAIM(state.top == 0x800000002 && state.packets == 3);
    outers[0] = headers(0x1111, 5);
    outers[0].sequence_high = 0x55555555; /* whatever it holds, this SA has no 64-bit numbers */
    DONE(espial_worker_lookup_burst(worker, outers, 1, now, 3, arrivals));
    CLAIM(arrivals[0].verdict == ESPIAL_VERDICT_OPEN && arrivals[0].outer.sequence_high == 0);
    DONE(espial_worker_lookup(worker, outers, now, 3, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_OPEN && arrival.outer.sequence_high == 0);
    DONE(espial_worker_lookup(worker, &outer, now + 499, 3, &arrival));
    CLAIM(arrival.spi_class == ESPIAL_SPI_CLASS_RECENTLY_DELETED && arrival.deleted_ago_ms == 499);
    DONE(espial_spi_release(gateway, ESPIAL_IPSEC_ESP, none, now));
    outer = headers(none, 1);
    DONE(espial_worker_lookup(worker, &outer, now, 3, &arrival));
    CLAIM(arrival.reason == ESPIAL_DROP_UNKNOWN_SPI && arrival.spi_class != ESPIAL_SPI_CLASS_LARVAL);

    CLAIM(strcmp(espial_notice_name(ESPIAL_NOTICE_SOFT_OCTETS), "soft_octets") == 0);
    DONE(espial_worker_release(worker));
    DONE(espial_gateway_release(gateway));
}

int main(void) {
    espial_capacity capacity = {
        sizeof capacity, .tunnels = 2, .children = 6, .selectors = 12, .sas = 8, .sas_dst = 4, .sas_dst_src = 4,
        .workers = 1,
    };
    espial_gateway *gateway;
    espial_worker *worker;
    espial_tunnel office, other;
    espial_child a, b, mixed;
    espial_sa sa_a, sa_b, sa_dst, sa_far, found;
    espial_sa_params params;
    espial_sa_key key;
    espial_ts local = net(1, 0), remote = net(2, 0), locals[2], remotes[2];
    espial_arrival arrival;
    espial_verdict verdict;
    espial_opened opened;
    espial_outer outer;
    espial_inner inner;
    espial_class class;
    espial_event events[4];
    espial_counts counts;
    espial_endpoints ends;
    espial_ike ike;
    uint8_t packet[128], inside[128], body[64];
    uint32_t mode, shadow, total, up, i;
    size_t len, count, size;

    DONE(espial_gateway_size(&capacity, &size));
    CLAIM(size <= sizeof memory && size % espial_gateway_align() == 0 && espial_worker_size() <= sizeof more);
    DONE(espial_gateway_init(memory, sizeof memory, &capacity, 7, 8, &gateway));
    DONE(espial_worker_init(more, sizeof more, gateway, 0, &worker));

    /* Tunnels. */
    DONE(espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 1u << ESPIAL_MODE_ANY_SELECTOR, &office));
    DONE(espial_tunnel_add(gateway, ESPIAL_MODE_ORDERED_SPD, 0, &other));
    DONE(espial_tunnel_mode(gateway, office, &mode, &shadow));
    CLAIM(mode == ESPIAL_MODE_STRICT_SA && shadow == 1u << ESPIAL_MODE_ANY_SELECTOR);
    DONE(espial_tunnel_mode(gateway, other, &mode, &shadow));
    CLAIM(mode == ESPIAL_MODE_ORDERED_SPD && shadow == 0 && office.index != other.index);
    DONE(espial_tunnel_remove(gateway, other));
    GIVES(ESPIAL_ESTALE, espial_tunnel_mode(gateway, other, &mode, &shadow));

    /* Child SAs: one pair each, and a cross product of two families of which two pairs of four go together. */
    DONE(espial_child_add(gateway, office, &local, 1, &remote, 1, &a));
    local = net(1, 1);
    remote = net(2, 1);
    DONE(espial_child_add(gateway, office, &local, 1, &remote, 1, &b));
    locals[0] = net(1, 2);
    remotes[0] = net(2, 2);
    locals[1] = remotes[1] = net(0, 0);
    locals[1].family = remotes[1].family = ESPIAL_FAMILY_V6;
    memcpy(locals[1].addr_lo, V6_DST, 16);
    memcpy(locals[1].addr_hi, V6_DST, 16);
    memcpy(remotes[1].addr_lo, V6_SRC, 16);
    memcpy(remotes[1].addr_hi, V6_SRC, 16);
    DONE(espial_child_add(gateway, office, locals, 2, remotes, 2, &mixed));
    DONE(espial_ts_check(&remotes[1]));
    DONE(espial_gateway_publish(gateway));

    /* SAs of each scope; the longest key that fits wins, and find asks for exactly one. */
    params = esp(0x1111);
    DONE(espial_sa_add(gateway, a, &params, &sa_a));
    params.key.scope = ESPIAL_SCOPE_DST;
    params.key.family = ESPIAL_FAMILY_V4;
    memcpy(params.key.dst, HERE, 4);
    DONE(espial_sa_add(gateway, b, &params, &sa_dst));
    key = params.key;
    params.key.scope = ESPIAL_SCOPE_DST_SRC;
    params.key.dst[3] = 99;
    memcpy(params.key.src, PEER, 4);
    DONE(espial_sa_add(gateway, mixed, &params, &sa_far));
    DONE(espial_sa_find(gateway, &key, &found));
    CLAIM(found.slot == sa_dst.slot && found.spi == sa_dst.spi);
    memset(&key, 0xff, sizeof key);
    DONE(espial_sa_key_of(gateway, sa_far, &key));
    CLAIM(memcmp(&key, &params.key, sizeof key) == 0);
    DONE(espial_tunnel_children(gateway, office, &total, &up));
    CLAIM(total == 3 && up == 3);

    /* Arrival: every header field. */
    memset(body, 0, sizeof body);
    body[2] = body[3] = 0x11; /* SPI 0x1111 */
    body[7] = 5;
    len = ipv4(packet, 50, body, 16);
    DONE(espial_worker_arrive(worker, packet, len, 1000, 3, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_OPEN && arrival.traffic == ESPIAL_TRAFFIC_IPSEC);
    CLAIM(arrival.sa.slot == sa_dst.slot && arrival.sa.spi == sa_dst.spi);
    outer = arrival.outer;
    CLAIM(outer.family == ESPIAL_FAMILY_V4 && outer.ipsec == ESPIAL_IPSEC_ESP && outer.encap == ESPIAL_ENCAP_NONE);
    CLAIM(outer.spi == 0x1111 && outer.sequence == 5 && outer.offset == 20 && outer.octets == 16);
    CLAIM(outer.sport == 0 && outer.dport == 0 && outer.flow_label == 0);
    CLAIM(memcmp(outer.src, PEER, 4) == 0 && memcmp(outer.dst, HERE, 4) == 0 && outer.src[4] == 0);
    DONE(espial_classify(packet, len, &class));
    CLAIM(class.traffic == ESPIAL_TRAFFIC_IPSEC && class.reason == 0 && memcmp(&class.outer, &outer, sizeof outer) == 0);
    DONE(espial_worker_lookup(worker, &outer, 1000, 3, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_OPEN && arrival.sa.slot == sa_dst.slot);
    outer.dst[3] = 98;
    DONE(espial_worker_lookup(worker, &outer, 1000, 3, &arrival));
    CLAIM(arrival.sa.slot == sa_a.slot);
    outer.dst[3] = 99;
    DONE(espial_worker_lookup(worker, &outer, 1000, 3, &arrival));
    CLAIM(arrival.sa.slot == sa_far.slot);
    outer.spi = 0x1112;
    DONE(espial_worker_lookup(worker, &outer, 1000, 3, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_DROP && arrival.reason == ESPIAL_DROP_UNKNOWN_SPI);
    CLAIM(arrival.spi_class == ESPIAL_SPI_CLASS_NEVER_SEEN && arrival.sa.spi == 0);
    memcpy(outer.dst, HERE, 4);
    outer.spi = 0x1111;

    /* A drop: SA b, packet of child a; and the event that tells of it. */
    DONE(espial_worker_set_event_budget(worker, 100, 100));
    for (;;) {
        events[0].size = sizeof events[0];
        DONE(espial_worker_events(worker, events, 4, &count));
        if (count == 0) {
            break;
        }
    }
    memset(inside, 0, sizeof inside);
    body[0] = 0;
    len = ipv4(inside, 17, (const uint8_t[]){0x30, 0x39, 0, 53, 0, 8, 0, 0}, 8);
    memcpy(inside + 12, (const uint8_t[]){10, 2, 0, 5, 10, 1, 0, 9}, 8);
    memset(&opened, 0, sizeof opened);
    opened.outer = &outer;
    opened.sa = sa_dst;
    opened.next_header = 4;
    opened.payload = inside;
    opened.len = len;
    DONE(espial_worker_check(worker, &opened, 2000, 3, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.reason == ESPIAL_DROP_WRONG_SA);
    CLAIM(verdict.field == ESPIAL_FIELD_SRC && verdict.spi_class == ESPIAL_SPI_CLASS_NONE);
    CLAIM(verdict.shadow_asked == 1u << ESPIAL_MODE_ANY_SELECTOR && verdict.shadow_accepts == verdict.shadow_asked);
    CLAIM(verdict.tunnel.index == office.index && verdict.tunnel.generation == office.generation);
    CLAIM(verdict.child.index == b.index && verdict.child.generation == b.generation);
    CLAIM(verdict.belongs_to.index == a.index && verdict.belongs_to.generation == a.generation);
    memset(events, 0x55, sizeof events);
    events[0].size = sizeof events[0];
    DONE(espial_worker_events(worker, events, 4, &count));
    CLAIM(count == 1 && events[0].reason == ESPIAL_DROP_WRONG_SA && events[0].field == ESPIAL_FIELD_SRC);
    CLAIM(events[0].time_ms == 2000 && events[0].interface == 3 && events[0].sa.slot == sa_dst.slot);
    CLAIM(events[0].tunnel.index == office.index && events[0].child.index == b.index);
    CLAIM(events[0].belongs_to.index == a.index && events[0].suppressed == 0 && events[0].spi_class == 0);
    CLAIM(memcmp(&events[0].outer, &outer, sizeof outer) == 0);
    inner = events[0].inner;
    CLAIM(inner.family == ESPIAL_FAMILY_V4 && inner.protocol == 17 && inner.next_layer == ESPIAL_NEXT_LAYER_PORTS);
    CLAIM(inner.sport == 12345 && inner.dport == 53 && inner.fragment == ESPIAL_FRAGMENT_NONE);
    CLAIM(memcmp(inner.src, inside + 12, 4) == 0 && memcmp(inner.dst, inside + 16, 4) == 0);
    CLAIM(events[0].nearest.family == ESPIAL_FAMILY_V4 && events[0].nearest_index == 0);
    CLAIM(memcmp(events[0].nearest.remote_lo, remote.addr_lo, 16) == 0);
    CLAIM(memcmp(events[0].nearest.local_hi, local.addr_hi, 16) == 0 && events[0].nearest.local_port_hi == 65535);

    /* The same headers, read by the host: dropped on SA b, accepted on SA a. */
    DONE(espial_worker_check_headers(worker, sa_dst, &outer, &inner, 28, 2000, 3, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.reason == ESPIAL_DROP_WRONG_SA);
    DONE(espial_worker_check_headers(worker, sa_a, &outer, &inner, 28, 2000, 3, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_ACCEPT && verdict.reason == 0 && verdict.belongs_to.index == a.index);
    opened.sa = sa_a;
    DONE(espial_worker_check(worker, &opened, 2000, 3, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_ACCEPT && verdict.field == ESPIAL_FIELD_NONE);
    DONE(espial_worker_report(worker, sa_a, &outer, ESPIAL_DROP_AUTH_FAILED, 2000, 3, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.reason == ESPIAL_DROP_AUTH_FAILED);

    /* IPv6 inside, on the SA whose Child SA has both families. */
    memset(&inner, 0, sizeof inner);
    inner.family = ESPIAL_FAMILY_V6;
    inner.protocol = 58;
    inner.next_layer = ESPIAL_NEXT_LAYER_ICMP;
    inner.sport = 128 * 256;
    memcpy(inner.src, V6_SRC, 16);
    memcpy(inner.dst, V6_DST, 16);
    DONE(espial_worker_check_headers(worker, sa_far, &outer, &inner, 48, 2000, 3, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_ACCEPT && verdict.child.index == mixed.index);
    inner.dst[15] = 10;
    DONE(espial_worker_check_headers(worker, sa_far, &outer, &inner, 48, 2000, 3, &verdict));
    CLAIM(verdict.reason == ESPIAL_DROP_NO_SELECTOR && verdict.field == ESPIAL_FIELD_DST);

    /* Modes switch live: what was wrong_sa is welcome, and no shadow is asked any more. */
    opened.sa = sa_dst;
    DONE(espial_tunnel_set_mode(gateway, office, ESPIAL_MODE_ANY_SELECTOR, 0));
    DONE(espial_worker_check(worker, &opened, 2000, 3, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_ACCEPT && verdict.belongs_to.index == a.index && verdict.shadow_asked == 0);
    DONE(espial_tunnel_set_mode(gateway, office, ESPIAL_MODE_STRICT_SA, 0));

    /* Counts are exact. */
    memset(&counts, 0x55, sizeof counts);
    counts.size = sizeof counts;
    DONE(espial_sa_counts(gateway, sa_a, &counts));
    CLAIM(counts.size == sizeof counts && counts.packets == 2 && counts.octets == 56 && counts.dropped == 1);
    CLAIM(counts.drops[ESPIAL_DROP_AUTH_FAILED] == 1 && counts.drops[ESPIAL_DROP_WRONG_SA] == 0 && counts.drops[0] == 0);
    DONE(espial_sa_counts(gateway, sa_dst, &counts));
    CLAIM(counts.packets == 1 && counts.octets == 28 && counts.drops[ESPIAL_DROP_WRONG_SA] == 2);
    CLAIM(counts.shadow_accepts[ESPIAL_MODE_ANY_SELECTOR] == 2 && counts.shadow_drops[ESPIAL_MODE_ANY_SELECTOR] == 0);
    DONE(espial_tunnel_counts(gateway, office, &counts));
    CLAIM(counts.packets == 4 && counts.dropped == 4 && counts.drops[ESPIAL_DROP_NO_SELECTOR] == 1);
    CLAIM(counts.shadow_drops[ESPIAL_MODE_ANY_SELECTOR] == 1);
    DONE(espial_gateway_counts(gateway, &counts));
    CLAIM(counts.packets == 4 && counts.dropped == 5 && counts.drops[ESPIAL_DROP_UNKNOWN_SPI] == 1 && counts.passed == 0);

    /* Rekey: replaced in place, and the old handle is stale; deleted, and remembered. */
    params = esp(0x1111);
    DONE(espial_sa_replace(gateway, sa_a, a, &params, 3000, &found));
    GIVES(ESPIAL_ESTALE, espial_sa_delete(gateway, sa_a, 3000));
    sa_a = found;
    params = esp(0x3333);
    DONE(espial_sa_add(gateway, a, &params, &sa_b));
    DONE(espial_sa_delete(gateway, sa_b, 5000));
    outer.spi = 0x3333;
    DONE(espial_worker_lookup(worker, &outer, 5250, 3, &arrival));
    CLAIM(arrival.spi_class == ESPIAL_SPI_CLASS_RECENTLY_DELETED && arrival.deleted_ago_ms == 250);
    DONE(espial_worker_quiescent(worker));
    DONE(espial_worker_idle(worker));
    DONE(espial_sa_delete(gateway, sa_dst, 6000));
    DONE(espial_child_remove(gateway, b));
    DONE(espial_gateway_publish(gateway));
    DONE(espial_tunnel_children(gateway, office, &total, &up));
    CLAIM(total == 2 && up == 2);

    /* What needs no gateway. */
    memset(&ends, 0, sizeof ends);
    ends.family = ESPIAL_FAMILY_V6;
    memcpy(ends.src, V6_SRC, 16);
    memcpy(ends.dst, V6_DST, 16);
    memset(body, 0, sizeof body);
    body[3] = 0x77;
    DONE(espial_classify_udp(&ends, 40001, 4500, body, 16, 48, &class));
    CLAIM(class.traffic == ESPIAL_TRAFFIC_IPSEC && class.outer.encap == ESPIAL_ENCAP_UDP && class.outer.spi == 0x77);
    CLAIM(class.outer.sport == 40001 && class.outer.dport == 4500 && class.outer.offset == 48 && class.outer.octets == 16);
    CLAIM(memcmp(class.outer.src, V6_SRC, 16) == 0 && memcmp(class.outer.dst, V6_DST, 16) == 0);
    DONE(espial_classify_udp(&ends, 500, 500, body, 16, 48, &class));
    CLAIM(class.traffic == ESPIAL_TRAFFIC_IKE && class.outer.family == 0);
    DONE(espial_classify_udp(&ends, 4500, 4500, (const uint8_t[]){0xff}, 1, 48, &class));
    CLAIM(class.traffic == ESPIAL_TRAFFIC_NAT_KEEPALIVE);
    DONE(espial_classify_udp(&ends, 4500, 53, body, 16, 48, &class));
    CLAIM(class.traffic == ESPIAL_TRAFFIC_OTHER);
    DONE(espial_classify_udp(&ends, 1, 4500, body, 2, 48, &class));
    CLAIM(class.traffic == ESPIAL_TRAFFIC_NONE && class.reason == ESPIAL_DROP_MALFORMED_NAT_T);
    DONE(espial_classify_tcp_frame(&ends, 1, 2, body, 16, &class));
    CLAIM(class.outer.encap == ESPIAL_ENCAP_TCP && class.outer.offset == 0 && class.outer.dport == 2);
    DONE(espial_classify_ipsec(&ends, ESPIAL_IPSEC_ESP, body, 16, 40, &class));
    CLAIM(class.outer.ipsec == ESPIAL_IPSEC_ESP && class.outer.offset == 40 && class.outer.encap == ESPIAL_ENCAP_NONE);
    memset(body, 0, sizeof body);
    body[0] = 4;
    body[1] = 4; /* 24 octets */
    body[7] = 0x88;
    DONE(espial_classify_ipsec(&ends, ESPIAL_IPSEC_AH, body, 44, 40, &class));
    CLAIM(class.outer.ipsec == ESPIAL_IPSEC_AH && class.outer.spi == 0x88 && class.outer.octets == 44);
    DONE(espial_classify_ipsec(&ends, ESPIAL_IPSEC_AH, body, 11, 40, &class));
    CLAIM(class.reason == ESPIAL_DROP_MALFORMED_AH);

    for (i = 0; i < 28; i++) {
        body[i] = (uint8_t)(i + 1);
    }
    DONE(espial_ike_header(body, 28, &ike));
    CLAIM(ike.initiator_spi == 0x0102030405060708 && ike.responder_spi == 0x090a0b0c0d0e0f10);
    CLAIM(ike.next_payload == 17 && ike.version == 18 && ike.exchange_type == 19 && ike.flags == 20);
    CLAIM(ike.message_id == 0x15161718 && ike.length == 0x191a1b1c);
    DONE(espial_notify_invalid_spi(0x36123e0e, body, sizeof body, &count));
    CLAIM(count == 8 && memcmp(body, (const uint8_t[]){0, 0, 0, 11, 0x36, 0x12, 0x3e, 0x0e}, 8) == 0);
    DONE(espial_notify_invalid_selectors(ESPIAL_IPSEC_AH, 0x100, inside, 28, body, sizeof body, &count));
    CLAIM(count == 36 && memcmp(body, (const uint8_t[]){2, 4, 0, 39, 0, 0, 1, 0, 0x45}, 9) == 0);

    CLAIM(strcmp(espial_reason_name(ESPIAL_DROP_WRONG_SA), "wrong_sa") == 0);
    CLAIM(strcmp(espial_mode_name(ESPIAL_MODE_STRICT_SA), "strict-sa") == 0);
    CLAIM(strcmp(espial_field_name(ESPIAL_FIELD_SPORT), "sport") == 0);
    CLAIM(strcmp(espial_spi_class_name(ESPIAL_SPI_CLASS_NEVER_SEEN), "never_seen") == 0);
    CLAIM(strcmp(espial_status_text(ESPIAL_OK), "done") == 0);

    /* What was suppressed is told by kind and by source; a program of before has smaller events. */
    do {
        events[0].size = sizeof events[0];
        DONE(espial_worker_events(worker, events, 4, &count));
    } while (count != 0);
    for (i = 0; i < 40; i++) {
        DONE(espial_worker_report(worker, sa_a, &outer, ESPIAL_DROP_AUTH_FAILED, 500000, 3, &verdict));
    }
    do {
        events[0].size = sizeof events[0];
        DONE(espial_worker_events(worker, events, 4, &count));
    } while (count != 0);
    for (i = 0; i < 2; i++) {
        const uint32_t older = 248;
        DONE(espial_worker_report(worker, sa_a, &outer, ESPIAL_DROP_AUTH_FAILED, 600000 + i, 3, &verdict));
        memset(events, 0x55, sizeof events);
        events[0].size = i == 0 ? (uint32_t)sizeof events[0] : older;
        DONE(espial_worker_events(worker, events, 4, &count));
        CLAIM(count == 1 && events[0].time_ms == 600000 + i && events[0].reason == ESPIAL_DROP_AUTH_FAILED);
        CLAIM(i == 0 ? events[0].suppressed > 0 && events[0].suppressed_of_source == events[0].suppressed
                     : events[0].size == older && events[0].suppressed_of_source == 0x55555555);
        CLAIM(i == 1 || (events[0].reserved_more == 0 && events[0].size == sizeof events[0]));
        CLAIM(events[1].size == 0x55555555);
    }
    memset(events, 0x55, sizeof events);
    events[0].size = 252;
    GIVES(ESPIAL_ESIZE, espial_worker_events(worker, events, 4, &count));

    DONE(espial_worker_release(worker));
    /* A worker without events: smaller, the same verdict, and what it does not tell is counted. */
    {
        static _Alignas(64) unsigned char quiet[512];
        uint64_t untold;
        CLAIM(espial_quiet_worker_size() <= sizeof quiet && espial_quiet_worker_size() < espial_worker_size());
        GIVES(ESPIAL_EROOM, espial_quiet_worker_init(quiet, espial_quiet_worker_size() - 1, gateway, 0, &worker));
        DONE(espial_quiet_worker_init(quiet, espial_quiet_worker_size(), gateway, 0, &worker));
        DONE(espial_gateway_counts(gateway, &counts));
        untold = counts.events_suppressed;
        DONE(espial_worker_report(worker, sa_a, &outer, ESPIAL_DROP_AUTH_FAILED, 700000, 3, &verdict));
        CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.reason == ESPIAL_DROP_AUTH_FAILED);
        events[0].size = sizeof events[0];
        DONE(espial_worker_events(worker, events, 4, &count));
        DONE(espial_gateway_counts(gateway, &counts));
        CLAIM(count == 0 && counts.events_suppressed == untold + 1);
        DONE(espial_worker_release(worker));
    }
    DONE(espial_gateway_release(gateway));
    /* The memory may be used again. */
    DONE(espial_gateway_init(memory, sizeof memory, &capacity, 7, 8, &gateway));
    DONE(espial_gateway_counts(gateway, &counts));
    CLAIM(counts.packets == 0 && counts.dropped == 0);
    DONE(espial_gateway_release(gateway));
    chosen();
    return all_hold();
}
