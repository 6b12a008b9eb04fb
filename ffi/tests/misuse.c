/*
 * Every mistake that a C caller can make with a gateway and the library can see: it answers with a status, writes
 * no output, counts nothing and stays usable. Packets are misuse_packets.c's, what needs no gateway is
 * misuse_alone.c's.
 */
#include "gateway.h"

enum { OLD_CAPACITY = 32, OLD_PARAMS = 48 }; /* sizes that programs were compiled with */

static void setup(void *mem, size_t size) {
    espial_gateway *none = NULL;
    espial_capacity bad;
    size_t out = 77, older;
    uint32_t i;

    /* Capacities: sizes that are none, zeros, numbers that fit no machine. */
    static const uint32_t sizes[] = {0, 1, 4, 31, 33, 36, 39, 41, 64, 0x7fffffff, 0x80000000, 0xffffffff};
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        bad = capacity;
        bad.size = sizes[i];
        GIVES(ESPIAL_ESIZE, espial_gateway_size(&bad, &out));
        GIVES(ESPIAL_ESIZE, espial_gateway_init(mem, size, &bad, 1, 2, &none));
    }
    memset(&bad, 0xff, sizeof bad);
    bad.size = sizeof bad;
    GIVES(ESPIAL_ERANGE, espial_gateway_size(&bad, &out));
    GIVES(ESPIAL_ERANGE, espial_gateway_init(mem, SIZE_MAX, &bad, 1, 2, &none));
    for (i = 0; i < 9; i++) {
        uint32_t numbers[sizeof capacity / 4];
        memcpy(numbers, &capacity, sizeof numbers);
        numbers[i + 1] = 0;
        memcpy(&bad, numbers, sizeof bad);
        if (i < 3 || i == 6) { /* tunnels, children, selectors, workers */
            GIVES(ESPIAL_ERANGE, espial_gateway_size(&bad, &out));
        }
        numbers[i + 1] = UINT32_MAX;
        memcpy(&bad, numbers, sizeof bad);
        CLAIM(espial_gateway_init(mem, size, &bad, 1, 2, &none) != ESPIAL_OK);
    }
    CLAIM(out == 77 && none == NULL);

    /* The size of before: its new fields are 0. */
    bad = capacity;
    bad.sas_allocated = bad.replay_window = UINT32_MAX;
    bad.size = OLD_CAPACITY;
    GIVES(ESPIAL_OK, espial_gateway_size(&bad, &out));
    CLAIM(out < size);
    bad.size = sizeof bad;
    bad.sas_allocated = bad.replay_window = 0;
    GIVES(ESPIAL_OK, espial_gateway_size(&bad, &older));
    CLAIM(out == older);

    NULLS(espial_gateway_size(NULL, &out));
    NULLS(espial_gateway_size(&capacity, NULL));
    NULLS(espial_gateway_init(NULL, size, &capacity, 1, 2, &none));
    NULLS(espial_gateway_init(mem, size, NULL, 1, 2, &none));
    NULLS(espial_gateway_init(mem, size, &capacity, 1, 2, NULL));
    GIVES(ESPIAL_EALIGN, espial_gateway_size(ODD(espial_capacity, &capacity), &out));
    GIVES(ESPIAL_EALIGN, espial_gateway_size(&capacity, ODD(size_t, &out)));
    for (i = 1; i < 64; i++) {
        GIVES(ESPIAL_EALIGN, espial_gateway_init((char *)mem + i, size, &capacity, 1, 2, &none));
    }
    GIVES(ESPIAL_EROOM, espial_gateway_init(mem, 0, &capacity, 1, 2, &none));
    GIVES(ESPIAL_EROOM, espial_gateway_init(mem, 63, &capacity, 1, 2, &none));
    GIVES(ESPIAL_EROOM, espial_gateway_init(mem, size - 1, &capacity, 1, 2, &none));
    CLAIM(none == NULL);
}

/* Replay windows and limits of an SA that could be added, but for its key; an older program has none. */
static void replays(void) {
    espial_sa_params bad;
    espial_sa s = {9, 9};
    uint32_t i;

    for (i = 0; i < 256; i++) {
        bad = params;
        bad.esn = (uint8_t)i;
        GIVES(i <= 1 ? ESPIAL_EDUPLICATE : ESPIAL_EVALUE, espial_sa_add(gateway, child, &bad, &s));
        bad = params;
        bad.replay_start = (uint8_t)i;
        GIVES(i <= 1 ? ESPIAL_EDUPLICATE : ESPIAL_EVALUE, espial_sa_add(gateway, child, &bad, &s));
        bad = params;
        bad.replay_reserved = (uint16_t)(i << 4);
        GIVES(i == 0 ? ESPIAL_EDUPLICATE : ESPIAL_EVALUE, espial_sa_add(gateway, child, &bad, &s));
    }
    bad = params;
    bad.replay_window = capacity.replay_window;
    GIVES(ESPIAL_EDUPLICATE, espial_sa_add(gateway, child, &bad, &s));
    for (i = 1; i != 0; i <<= 1) {
        bad.replay_window = capacity.replay_window + i;
        GIVES(ESPIAL_EWINDOW, espial_sa_add(gateway, child, &bad, &s));
        GIVES(ESPIAL_EWINDOW, espial_sa_replace(gateway, sa, child, &bad, 0, &s));
    }
    bad = params;
    bad.replay_value = UINT32_MAX;
    GIVES(ESPIAL_EDUPLICATE, espial_sa_add(gateway, child, &bad, &s));
    bad.replay_value++;
    GIVES(ESPIAL_ERANGE, espial_sa_add(gateway, child, &bad, &s));
    bad.replay_start = ESPIAL_REPLAY_START_TOP;
    bad.replay_value = UINT64_MAX;
    GIVES(ESPIAL_EDUPLICATE, espial_sa_add(gateway, child, &bad, &s));
    memset(&bad.soft_packets, 0xff, 6 * sizeof bad.soft_packets);
    GIVES(ESPIAL_EDUPLICATE, espial_sa_add(gateway, child, &bad, &s));
    /* What lies behind the older struct is not looked at. */
    bad = params;
    memset(&bad.replay_window, 0xff, sizeof bad - OLD_PARAMS);
    GIVES(ESPIAL_EVALUE, espial_sa_add(gateway, child, &bad, &s));
    bad.size = OLD_PARAMS;
    GIVES(ESPIAL_EDUPLICATE, espial_sa_add(gateway, child, &bad, &s));
    /* Nor is it aligned better than its size needs. */
    {
        uint32_t words[OLD_PARAMS / 4 + 1];
        memcpy(words + 1, &bad, OLD_PARAMS);
        GIVES(ESPIAL_EDUPLICATE, espial_sa_add(gateway, child, (const void *)(words + 1), &s));
        memmove(words, words + 1, OLD_PARAMS);
        GIVES(ESPIAL_EDUPLICATE, espial_sa_add(gateway, child, (const void *)words, &s));
        GIVES(ESPIAL_EALIGN, espial_sa_add(gateway, child, ODD(espial_sa_params, words), &s));
    }
    CLAIM(s.slot == 9 && s.spi == 9);
}

/* SPIs that the gateway chooses, what an SA has seen, and what is due. */
static void reservations(void) {
    espial_sa_state state;
    espial_sa s = {9, 9};
    espial_sa_params own = params;
    espial_arrival arrival;
    uint32_t spi = 9, first, second, from = 0, due = 9, i;
    uint8_t packet[sizeof ESP];
    const espial_sa no_sa = {0, 0};

    for (i = 0; i < 600; i++) {
        if (i != ESPIAL_IPSEC_ESP && i != ESPIAL_IPSEC_AH) {
            GIVES(ESPIAL_EVALUE, espial_spi_reserve(gateway, i, 0, &spi));
            GIVES(ESPIAL_EVALUE, espial_spi_release(gateway, i, 0x1111, 0));
        }
    }
    NULLS(espial_spi_reserve(NULL, ESPIAL_IPSEC_ESP, 0, &spi));
    NULLS(espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 0, NULL));
    NULLS(espial_spi_release(NULL, ESPIAL_IPSEC_ESP, 0x1111, 0));
    NULLS(espial_spi_set_quarantine(NULL, 0));
    GIVES(ESPIAL_ESTALE, espial_spi_release(gateway, ESPIAL_IPSEC_ESP, 0x1111, 0)); /* an SA, but not of ours */
    GIVES(ESPIAL_ESTALE, espial_spi_release(gateway, ESPIAL_IPSEC_ESP, 0, 0));
    GIVES(ESPIAL_ESTALE, espial_spi_release(gateway, ESPIAL_IPSEC_AH, UINT32_MAX, UINT64_MAX));
    CLAIM(spi == 9);
    GIVES(ESPIAL_OK, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 0, &first));
    GIVES(ESPIAL_OK, espial_spi_reserve(gateway, ESPIAL_IPSEC_AH, 0, &second));
    GIVES(ESPIAL_EFULL, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 0, &spi));
    CLAIM(spi == 9 && first >= 256 && second >= 256 && first != second);

    /* Larval until the SA is added, by this key and no other; given back once, and not while the SA lives. */
    memcpy(packet, ESP, sizeof packet);
    for (i = 0; i < 4; i++) {
        packet[20 + i] = (uint8_t)(first >> (24 - 8 * i));
    }
    GIVES(ESPIAL_OK, espial_worker_arrive(worker, packet, sizeof packet, 0, 0, &arrival));
    CLAIM(arrival.reason == ESPIAL_DROP_UNKNOWN_SPI && arrival.spi_class == ESPIAL_SPI_CLASS_LARVAL);
    own.key.spi = first;
    own.replay_window = 64;
    GIVES(ESPIAL_OK, espial_sa_add(gateway, child, &own, &s));
    GIVES(ESPIAL_EDUPLICATE, espial_sa_add(gateway, child, &own, &s));
    GIVES(ESPIAL_ESTALE, espial_spi_release(gateway, ESPIAL_IPSEC_ESP, first, 0));
    GIVES(ESPIAL_ESTALE, espial_spi_release(gateway, ESPIAL_IPSEC_ESP, second, 0)); /* it is AH's */
    GIVES(ESPIAL_OK, espial_worker_arrive(worker, packet, sizeof packet, 0, 0, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_OPEN && arrival.sa.slot == s.slot);

    for (i = 0; i < 4 * sizeof state; i++) {
        memset(&state, 0x55, sizeof state);
        state.size = i;
        GIVES(i == sizeof state ? ESPIAL_OK : ESPIAL_ESIZE, espial_sa_state_of(gateway, s, &state));
        CLAIM(i == sizeof state || state.top == 0x5555555555555555);
    }
    state.size = sizeof state;
    GIVES(ESPIAL_ESTALE, espial_sa_state_of(gateway, no_sa, &state));
    NULLS(espial_sa_state_of(NULL, s, &state));
    NULLS(espial_sa_state_of(gateway, s, NULL));
    NULLS(espial_sa_next_due(NULL, 1, 0, &from, &s, &due));
    NULLS(espial_sa_next_due(gateway, 1, 0, NULL, &s, &due));
    NULLS(espial_sa_next_due(gateway, 1, 0, &from, NULL, &due));
    NULLS(espial_sa_next_due(gateway, 1, 0, &from, &s, NULL));
    CLAIM(from == 0 && due == 9);
    from = UINT32_MAX;
    GIVES(ESPIAL_OK, espial_sa_next_due(gateway, UINT32_MAX, UINT64_MAX, &from, &s, &due));
    CLAIM(from == UINT32_MAX && s.spi == 0 && due == ESPIAL_DUE_NONE);
    from = UINT32_MAX - 1;
    GIVES(ESPIAL_OK, espial_sa_next_due(gateway, UINT32_MAX, UINT64_MAX, &from, &s, &due));
    CLAIM(from == UINT32_MAX && due == ESPIAL_DUE_NONE);

    /* Quarantined at a clock that stands still, and the other way round. */
    GIVES(ESPIAL_OK, espial_sa_delete(gateway, arrival.sa, 5));
    GIVES(ESPIAL_OK, espial_spi_release(gateway, ESPIAL_IPSEC_AH, second, UINT64_MAX));
    GIVES(ESPIAL_ESTALE, espial_spi_release(gateway, ESPIAL_IPSEC_AH, second, UINT64_MAX));
    GIVES(ESPIAL_EBUSY, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 5, &spi));
    GIVES(ESPIAL_OK, espial_worker_quiescent(worker));
    GIVES(ESPIAL_EQUARANTINE, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 5, &spi));
    GIVES(ESPIAL_OK, espial_spi_set_quarantine(gateway, UINT64_MAX));
    GIVES(ESPIAL_EQUARANTINE, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, UINT64_MAX - 1, &spi));
    GIVES(ESPIAL_OK, espial_spi_set_quarantine(gateway, 0));
    CLAIM(spi == 9);
    GIVES(ESPIAL_OK, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 5, &spi));
    GIVES(ESPIAL_OK, espial_spi_release(gateway, ESPIAL_IPSEC_ESP, spi, 5));
}

/* Growth that cannot be: nothing changes, and the memory is still the caller's. */
static void growth(void) {
    espial_capacity more = capacity, bad;
    uint32_t numbers[sizeof capacity / 4], sas = 9, dst = 9, dst_src = 9, allocated = 9, i;
    size_t size = 77, needed;
    uint8_t *mem;

    more.sas += 4;
    more.sas_allocated += 2;
    GIVES(ESPIAL_OK, espial_gateway_growth_size(gateway, &more, &needed));
    mem = memory(espial_gateway_align(), needed);
    memset(mem, 0x55, needed);
    for (i = 1; i < sizeof numbers / sizeof *numbers; i++) {
        memcpy(numbers, &capacity, sizeof numbers);
        numbers[i]--;
        memcpy(&bad, numbers, sizeof bad);
        /* tunnels, children, selectors and workers are not read */
        GIVES(i < 4 || i == 7 ? ESPIAL_OK : ESPIAL_EGROW, espial_gateway_growth_size(gateway, &bad, &size));
        numbers[i] = UINT32_MAX;
        memcpy(&bad, numbers, sizeof bad);
        if (i >= 4 && i != 7) {
            GIVES(ESPIAL_ERANGE, espial_gateway_grow(gateway, mem, needed, &bad));
        }
    }
    size = 77;
    bad = capacity;
    bad.sas_allocated = 17; /* of 2 at first */
    GIVES(ESPIAL_EGROW, espial_gateway_grow(gateway, mem, needed, &bad));
    bad = capacity;
    bad.replay_window++;
    GIVES(ESPIAL_EGROW, espial_gateway_grow(gateway, mem, needed, &bad));
    bad = more;
    bad.size = OLD_CAPACITY; /* has no SPIs of its own and no windows: less than there is */
    GIVES(ESPIAL_EGROW, espial_gateway_grow(gateway, mem, needed, &bad));
    bad.size = 39;
    GIVES(ESPIAL_ESIZE, espial_gateway_growth_size(gateway, &bad, &size));
    GIVES(ESPIAL_ESIZE, espial_gateway_grow(gateway, mem, needed, &bad));
    NULLS(espial_gateway_growth_size(NULL, &more, &size));
    NULLS(espial_gateway_growth_size(gateway, NULL, &size));
    NULLS(espial_gateway_growth_size(gateway, &more, NULL));
    NULLS(espial_gateway_grow(NULL, mem, needed, &more));
    NULLS(espial_gateway_grow(gateway, NULL, needed, &more));
    NULLS(espial_gateway_grow(gateway, mem, needed, NULL));
    GIVES(ESPIAL_EROOM, espial_gateway_grow(gateway, mem, needed - 1, &more));
    GIVES(ESPIAL_EROOM, espial_gateway_grow(gateway, mem, 0, &more));
    for (i = 1; i < 64; i++) {
        GIVES(ESPIAL_EALIGN, espial_gateway_grow(gateway, mem + i, needed, &more));
    }
    NULLS(espial_gateway_sa_limits(NULL, &sas, &dst, &dst_src, &allocated));
    NULLS(espial_gateway_sa_limits(gateway, NULL, &dst, &dst_src, &allocated));
    NULLS(espial_gateway_sa_limits(gateway, &sas, NULL, &dst_src, &allocated));
    NULLS(espial_gateway_sa_limits(gateway, &sas, &dst, NULL, &allocated));
    NULLS(espial_gateway_sa_limits(gateway, &sas, &dst, &dst_src, NULL));
    CLAIM(size == 77 && sas == 9 && dst == 9 && dst_src == 9 && allocated == 9);
    for (i = 0; i < needed; i++) {
        CLAIM(mem[i] == 0x55);
    }
    free(mem);
    GIVES(ESPIAL_OK, espial_gateway_sa_limits(gateway, &sas, &dst, &dst_src, &allocated));
    CLAIM(sas == capacity.sas && allocated == capacity.sas_allocated);
}

static void configuration(void) {
    espial_tunnel t = {9, 9};
    espial_child c = {9, 9};
    espial_sa s = {9, 9};
    espial_sa_key key;
    espial_counts counts;
    espial_ts many[9], one;
    uint32_t a = 9, b = 9, i;
    const espial_tunnel no_tunnel = {0, 0}, far_tunnel = {UINT32_MAX, 1};
    const espial_child no_child = {0, 0}, far_child = {UINT32_MAX, UINT32_MAX};
    const espial_sa no_sa = {0, 0}, far_sa = {UINT32_MAX, UINT32_MAX};

    for (i = 4; i != 0; i <<= 1) { /* every other mode */
        GIVES(ESPIAL_EVALUE, espial_tunnel_add(gateway, i, 0, &t));
        GIVES(ESPIAL_EVALUE, espial_tunnel_set_mode(gateway, tunnel, i, 0));
        GIVES(i < 16 ? ESPIAL_OK : ESPIAL_EVALUE, espial_tunnel_set_mode(gateway, tunnel, 0, i));
    }
    GIVES(ESPIAL_EVALUE, espial_tunnel_add(gateway, UINT32_MAX, UINT32_MAX, &t));
    GIVES(ESPIAL_OK, espial_tunnel_set_mode(gateway, tunnel, ESPIAL_MODE_STRICT_SA, 0));
    NULLS(espial_tunnel_add(NULL, 0, 0, &t));
    NULLS(espial_tunnel_add(gateway, 0, 0, NULL));
    NULLS(espial_tunnel_set_mode(NULL, tunnel, 0, 0));
    NULLS(espial_tunnel_mode(NULL, tunnel, &a, &b));
    NULLS(espial_tunnel_mode(gateway, tunnel, NULL, &b));
    NULLS(espial_tunnel_mode(gateway, tunnel, &a, NULL));
    NULLS(espial_tunnel_remove(NULL, tunnel));
    NULLS(espial_tunnel_children(NULL, tunnel, &a, &b));
    NULLS(espial_tunnel_children(gateway, tunnel, NULL, &b));
    NULLS(espial_tunnel_children(gateway, tunnel, &a, NULL));
    GIVES(ESPIAL_ESTALE, espial_tunnel_mode(gateway, no_tunnel, &a, &b));
    GIVES(ESPIAL_ESTALE, espial_tunnel_children(gateway, far_tunnel, &a, &b));
    GIVES(ESPIAL_ESTALE, espial_tunnel_set_mode(gateway, far_tunnel, 0, 0));
    GIVES(ESPIAL_ESTALE, espial_tunnel_remove(gateway, no_tunnel));
    GIVES(ESPIAL_EINUSE, espial_tunnel_remove(gateway, tunnel));
    CLAIM(a == 9 && b == 9 && t.index == 9 && t.generation == 9);

    /* Selectors. */
    for (i = 0; i < 256; i++) {
        one = local;
        one.family = (uint8_t)i;
        GIVES(i == 4 || i == 6 ? ESPIAL_OK : ESPIAL_EVALUE, espial_ts_check(&one));
    }
    one = local;
    one.reserved = 1;
    GIVES(ESPIAL_EVALUE, espial_ts_check(&one));
    one = local;
    one.port_lo = 443; /* ports, but any protocol */
    GIVES(ESPIAL_ESELECTOR, espial_ts_check(&one));
    one.protocol = 6;
    one.port_hi = 442; /* reversed, and not OPAQUE */
    GIVES(ESPIAL_ESELECTOR, espial_ts_check(&one));
    one = local;
    memcpy(one.addr_lo, remote.addr_hi, 16);
    GIVES(ESPIAL_ESELECTOR, espial_ts_check(&one));
    GIVES(ESPIAL_ESELECTOR, espial_child_add(gateway, tunnel, &one, 1, &remote, 1, &c));
    NULLS(espial_ts_check(NULL));
    GIVES(ESPIAL_EALIGN, espial_ts_check(ODD(espial_ts, &local)));
    memset(many, 0, sizeof many);
    GIVES(ESPIAL_EVALUE, espial_child_add(gateway, tunnel, many, 1, &remote, 1, &c));
    for (i = 0; i < 9; i++) {
        many[i] = local;
    }
    GIVES(ESPIAL_ERANGE, espial_child_add(gateway, tunnel, many, 9, &remote, 1, &c));
    GIVES(ESPIAL_ERANGE, espial_child_add(gateway, tunnel, many, SIZE_MAX, &remote, 1, &c));
    GIVES(ESPIAL_ERANGE, espial_child_add(gateway, tunnel, &local, 1, many, SIZE_MAX / 2, &c));
    GIVES(ESPIAL_EFULL, espial_child_add(gateway, tunnel, many, 8, many, 8, &c));
    GIVES(ESPIAL_EEMPTY, espial_child_add(gateway, tunnel, NULL, 0, &remote, 1, &c));
    GIVES(ESPIAL_EEMPTY, espial_child_add(gateway, tunnel, NULL, 0, NULL, 0, &c));
    NULLS(espial_child_add(NULL, tunnel, &local, 1, &remote, 1, &c));
    NULLS(espial_child_add(gateway, tunnel, NULL, 1, &remote, 1, &c));
    NULLS(espial_child_add(gateway, tunnel, &local, 1, NULL, 1, &c));
    NULLS(espial_child_add(gateway, tunnel, &local, 1, &remote, 1, NULL));
    GIVES(ESPIAL_EALIGN, espial_child_add(gateway, tunnel, ODD(espial_ts, many), 1, &remote, 1, &c));
    GIVES(ESPIAL_ESTALE, espial_child_add(gateway, no_tunnel, &local, 1, &remote, 1, &c));
    GIVES(ESPIAL_ESTALE, espial_child_remove(gateway, no_child));
    GIVES(ESPIAL_ESTALE, espial_child_remove(gateway, far_child));
    GIVES(ESPIAL_EINUSE, espial_child_remove(gateway, child));
    NULLS(espial_child_remove(NULL, child));
    NULLS(espial_gateway_publish(NULL));
    CLAIM(c.index == 9 && c.generation == 9);

    /* SAs: sizes, enums, keys, handles. */
    for (i = 0; i < 4 * sizeof params; i++) {
        espial_sa_params bad = params;
        bad.size = i;
        GIVES(i == sizeof params || i == OLD_PARAMS ? ESPIAL_EDUPLICATE : ESPIAL_ESIZE, espial_sa_add(gateway, child, &bad, &s));
    }
    for (i = 0; i < 256; i++) {
        espial_sa_params bad = params;
        bad.mode = (uint8_t)i;
        GIVES(i == 1 || i == 2 ? ESPIAL_EDUPLICATE : ESPIAL_EVALUE, espial_sa_add(gateway, child, &bad, &s));
        bad = params;
        bad.encap = (uint8_t)i;
        GIVES(i <= 2 ? ESPIAL_EDUPLICATE : ESPIAL_EVALUE, espial_sa_add(gateway, child, &bad, &s));
        if (i != ESPIAL_IPSEC_AH) {
            bad = params;
            bad.key.ipsec = (uint8_t)i;
            GIVES(i == 50 ? ESPIAL_EDUPLICATE : ESPIAL_EVALUE, espial_sa_add(gateway, child, &bad, &s));
        }
        if (i != 2 && i != 3) {
            bad = params;
            bad.key.scope = (uint8_t)i;
            GIVES(i == 1 ? ESPIAL_EDUPLICATE : ESPIAL_EVALUE, espial_sa_add(gateway, child, &bad, &s));
        }
        bad = params;
        bad.key.family = (uint8_t)i;
        GIVES(i == 0 ? ESPIAL_EDUPLICATE : ESPIAL_EVALUE, espial_sa_add(gateway, child, &bad, &s));
    }
    replays();
    params.key.reserved = 1;
    GIVES(ESPIAL_EVALUE, espial_sa_add(gateway, child, &params, &s));
    params.key.reserved = 0;
    params.key.spi = 0;
    GIVES(ESPIAL_EKEY, espial_sa_add(gateway, child, &params, &s));
    params.key.spi = 0x1111;
    NULLS(espial_sa_add(NULL, child, &params, &s));
    NULLS(espial_sa_add(gateway, child, NULL, &s));
    NULLS(espial_sa_add(gateway, child, &params, NULL));
    GIVES(ESPIAL_ESTALE, espial_sa_add(gateway, no_child, &params, &s));
    GIVES(ESPIAL_ESTALE, espial_sa_add(gateway, far_child, &params, &s));
    GIVES(ESPIAL_ESTALE, espial_sa_delete(gateway, no_sa, 0));
    GIVES(ESPIAL_ESTALE, espial_sa_delete(gateway, far_sa, UINT64_MAX));
    GIVES(ESPIAL_ESTALE, espial_sa_replace(gateway, far_sa, child, &params, 0, &s));
    GIVES(ESPIAL_ESTALE, espial_sa_replace(gateway, sa, no_child, &params, 0, &s));
    NULLS(espial_sa_delete(NULL, sa, 0));
    NULLS(espial_sa_replace(NULL, sa, child, &params, 0, &s));
    NULLS(espial_sa_replace(gateway, sa, child, NULL, 0, &s));
    NULLS(espial_sa_replace(gateway, sa, child, &params, 0, NULL));
    key = params.key;
    key.spi = 0x2222;
    GIVES(ESPIAL_ENOTFOUND, espial_sa_find(gateway, &key, &s));
    NULLS(espial_sa_find(NULL, &key, &s));
    NULLS(espial_sa_find(gateway, NULL, &s));
    NULLS(espial_sa_find(gateway, &key, NULL));
    NULLS(espial_sa_key_of(NULL, sa, &key));
    NULLS(espial_sa_key_of(gateway, sa, NULL));
    GIVES(ESPIAL_ESTALE, espial_sa_key_of(gateway, no_sa, &key));
    CLAIM(key.spi == 0x2222 && s.slot == 9 && s.spi == 9);

    for (i = 0; i < 2 * sizeof counts; i++) {
        memset(&counts, 0x55, sizeof counts);
        counts.size = i;
        GIVES(i == sizeof counts ? ESPIAL_OK : ESPIAL_ESIZE, espial_gateway_counts(gateway, &counts));
        CLAIM(i == sizeof counts || counts.packets == 0x5555555555555555);
    }
    counts.size = sizeof counts;
    GIVES(ESPIAL_ESTALE, espial_sa_counts(gateway, no_sa, &counts));
    GIVES(ESPIAL_ESTALE, espial_tunnel_counts(gateway, far_tunnel, &counts));
    NULLS(espial_gateway_counts(NULL, &counts));
    NULLS(espial_gateway_counts(gateway, NULL));
    NULLS(espial_sa_counts(gateway, sa, NULL));
    NULLS(espial_sa_counts(NULL, sa, &counts));
    NULLS(espial_tunnel_counts(gateway, tunnel, NULL));
    NULLS(espial_tunnel_counts(NULL, tunnel, &counts));
}

/* Handles whose memory is zero, or was released. */
static void dead(espial_gateway *no_gateway, espial_worker *no_worker) {
    espial_worker *made = NULL;
    espial_arrival arrival;
    espial_verdict verdict;
    espial_opened opened;
    espial_counts counts;
    espial_tunnel t;
    espial_sa s;
    espial_sa_state state;
    uint32_t spi = 9, from = 0, due;
    size_t size = 77;
    void *mem = memory(espial_worker_align(), espial_worker_size());

    memset(&opened, 0, sizeof opened);
    counts.size = sizeof counts;
    arrival.verdict = verdict.verdict = 0x55;
    GIVES(ESPIAL_EHANDLE, espial_tunnel_add(no_gateway, 0, 0, &t));
    GIVES(ESPIAL_EHANDLE, espial_gateway_publish(no_gateway));
    GIVES(ESPIAL_EHANDLE, espial_gateway_counts(no_gateway, &counts));
    GIVES(ESPIAL_EHANDLE, espial_sa_delete(no_gateway, sa, 0));
    GIVES(ESPIAL_EHANDLE, espial_spi_reserve(no_gateway, ESPIAL_IPSEC_ESP, 0, &spi));
    GIVES(ESPIAL_EHANDLE, espial_spi_release(no_gateway, ESPIAL_IPSEC_ESP, 256, 0));
    GIVES(ESPIAL_EHANDLE, espial_spi_set_quarantine(no_gateway, 0));
    GIVES(ESPIAL_EHANDLE, espial_gateway_growth_size(no_gateway, &capacity, &size));
    GIVES(ESPIAL_EHANDLE, espial_gateway_grow(no_gateway, mem, espial_worker_size(), &capacity));
    GIVES(ESPIAL_EHANDLE, espial_gateway_sa_limits(no_gateway, &spi, &spi, &spi, &spi));
    GIVES(ESPIAL_EHANDLE, espial_sa_state_of(no_gateway, sa, &state));
    GIVES(ESPIAL_EHANDLE, espial_sa_next_due(no_gateway, 1, 0, &from, &s, &due));
    GIVES(ESPIAL_EHANDLE, espial_worker_find_spi(no_worker, ESPIAL_IPSEC_ESP, 256, &s));
    CLAIM(espial_worker_find_esp(no_worker, 256) == 0);
    GIVES(ESPIAL_EHANDLE, espial_worker_find_sas(no_worker, NULL, 0, &s, &size));
    GIVES(ESPIAL_EHANDLE, espial_worker_find_spis(no_worker, ESPIAL_IPSEC_ESP, &spi, 1, &s, &size));
    GIVES(ESPIAL_EHANDLE, espial_worker_lookup_burst(no_worker, NULL, 0, 0, 0, NULL));
    CLAIM(spi == 9 && from == 0 && size == 77);
    GIVES(ESPIAL_EHANDLE, espial_gateway_release(no_gateway));
    GIVES(ESPIAL_EHANDLE, espial_worker_init(mem, espial_worker_size(), no_gateway, 0, &made));
    GIVES(ESPIAL_EHANDLE, espial_worker_arrive(no_worker, ESP, sizeof ESP, 0, 0, &arrival));
    GIVES(ESPIAL_EHANDLE, espial_worker_check(no_worker, &opened, 0, 0, &verdict));
    GIVES(ESPIAL_EHANDLE, espial_worker_quiescent(no_worker));
    GIVES(ESPIAL_EHANDLE, espial_worker_idle(no_worker));
    GIVES(ESPIAL_EHANDLE, espial_worker_release(no_worker));
    CLAIM(made == NULL && arrival.verdict == 0x55 && verdict.verdict == 0x55);
    free(mem);
}

static void workers(void) {
    espial_worker *none = NULL, *second = NULL;
    size_t size = espial_worker_size(), i;
    void *mem = memory(espial_worker_align(), size);

    NULLS(espial_worker_init(NULL, size, gateway, 1, &none));
    NULLS(espial_worker_init(mem, size, NULL, 1, &none));
    NULLS(espial_worker_init(mem, size, gateway, 1, NULL));
    NULLS(espial_worker_release(NULL));
    GIVES(ESPIAL_ERANGE, espial_worker_init(mem, size, gateway, 2, &none));
    GIVES(ESPIAL_ERANGE, espial_worker_init(mem, size, gateway, UINT32_MAX, &none));
    GIVES(ESPIAL_EATTACHED, espial_worker_init(mem, size, gateway, 0, &none));
    GIVES(ESPIAL_EROOM, espial_worker_init(mem, size - 1, gateway, 1, &none));
    for (i = 1; i < 64; i++) {
        GIVES(ESPIAL_EALIGN, espial_worker_init((char *)mem + i, size, gateway, 1, &none));
    }
    CLAIM(none == NULL);
    /* A failure takes no index. */
    GIVES(ESPIAL_OK, espial_worker_init(mem, size, gateway, 1, &second));
    GIVES(ESPIAL_EATTACHED, espial_gateway_release(gateway));
    GIVES(ESPIAL_OK, espial_worker_release(second));
    GIVES(ESPIAL_EHANDLE, espial_worker_release(second));
    GIVES(ESPIAL_OK, espial_worker_init(mem, size, gateway, 1, &second));
    GIVES(ESPIAL_OK, espial_worker_release(second));
    free(mem);
}

int main(void) {
    size_t size, worker_size = espial_worker_size();
    void *zero_gateway, *zero_worker;

    prepare();
    GIVES(ESPIAL_OK, espial_gateway_size(&capacity, &size));
    zero_gateway = memory(espial_gateway_align(), size);
    zero_worker = memory(espial_worker_align(), worker_size);
    memset(zero_gateway, 0, size);
    memset(zero_worker, 0, worker_size);

    setup(gateway_memory, size);
    dead(zero_gateway, zero_worker);
    make();
    workers();
    configuration();
    reservations();
    growth();
    release();
    dead(gateway, worker);
    dead(gateway, worker);

    free(zero_worker);
    free(zero_gateway);
    give_back();
    return all_hold();
}
