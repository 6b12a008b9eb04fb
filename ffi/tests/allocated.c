/* The calls that only the shared library has: gateways, workers and matchers in memory of its own. */
#include "claims.h"

static _Alignas(64) uint8_t memory[1 << 16], more[1 << 14];

enum { SELECTORS = 500, PACKETS = 2000 };
static espial_selector selectors[SELECTORS];
static espial_inner packets[PACKETS];
static uint64_t copy[1 << 16];

static uint32_t random_below(uint32_t limit) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % limit;
}

/* Few values in each field, so that selectors overlap and packets meet several. */
static void make_lists(void) {
    static const uint8_t protocols[4] = {6, 17, 1, 0};
    for (uint32_t i = 0; i < SELECTORS; i++) {
        espial_selector *s = &selectors[i];
        uint32_t last = random_below(3) == 0 ? 0 : 3; /* of an IPv4 address, or beside it in an IPv6 one */
        s->family = random_below(3) == 0 ? ESPIAL_FAMILY_V6 : ESPIAL_FAMILY_V4;
        s->protocol = protocols[random_below(4)];
        s->remote_lo[last] = (uint8_t)random_below(60);
        s->remote_hi[last] = (uint8_t)(s->remote_lo[last] + random_below(20));
        s->local_lo[last] = (uint8_t)random_below(60);
        s->local_hi[last] = (uint8_t)(s->local_lo[last] + random_below(20));
        s->remote_port_hi = s->local_port_hi = 65535;
        if (s->protocol == 0) {
            continue;
        }
        if (random_below(2) == 0) {
            s->remote_port_lo = (uint16_t)random_below(8);
            s->remote_port_hi = (uint16_t)(s->remote_port_lo + random_below(8));
        }
        if (random_below(4) == 0) { /* OPAQUE */
            s->local_port_lo = 65535;
            s->local_port_hi = 0;
        }
    }
    for (uint32_t i = 0; i < PACKETS; i++) {
        espial_inner *p = &packets[i];
        uint32_t last = random_below(3) == 0 ? 0 : 3;
        p->family = random_below(3) == 0 ? ESPIAL_FAMILY_V6 : ESPIAL_FAMILY_V4;
        p->protocol = protocols[random_below(3)];
        p->next_layer = p->protocol == 1 ? ESPIAL_NEXT_LAYER_ICMP : ESPIAL_NEXT_LAYER_PORTS;
        p->fragment = random_below(4) == 0 ? ESPIAL_FRAGMENT_NON_INITIAL : ESPIAL_FRAGMENT_NONE;
        p->sport = (uint16_t)random_below(16);
        p->dport = (uint16_t)random_below(16);
        p->src[last] = (uint8_t)random_below(80);
        p->dst[last] = (uint8_t)random_below(80);
    }
}

static int within(const uint8_t *lo, const uint8_t *hi, const uint8_t *addr, uint8_t family) {
    size_t octets = family == ESPIAL_FAMILY_V4 ? 4 : 16;
    return memcmp(lo, addr, octets) <= 0 && memcmp(addr, hi, octets) <= 0;
}

static int ports_cover(uint16_t lo, uint16_t hi, uint16_t value, int has_value) {
    return has_value ? lo <= value && value <= hi : (lo == 0 && hi == 65535) || lo > hi;
}

/* RFC 4301 section 5.2 as a C programmer would write it down; source: the source address alone. */
static uint32_t naive(const espial_inner *p, size_t count, int source) {
    int has_value = p->fragment != ESPIAL_FRAGMENT_NON_INITIAL;
    for (uint32_t i = 0; i < count; i++) {
        const espial_selector *s = &selectors[i];
        if (s->family == p->family && within(s->remote_lo, s->remote_hi, p->src, p->family)
            && (source
                || (within(s->local_lo, s->local_hi, p->dst, p->family)
                    && (s->protocol == 0 || s->protocol == p->protocol)
                    && ports_cover(s->remote_port_lo, s->remote_port_hi, p->sport, has_value)
                    && (p->protocol == 1 || ports_cover(s->local_port_lo, s->local_port_hi, p->dport, has_value))))) {
            return i;
        }
    }
    return ESPIAL_MATCHER_NONE;
}

/* Every question about every packet, one by one and in bursts of every size, against the naive answer. */
static void asked(const espial_matcher *matcher, size_t count) {
    uint32_t found[ESPIAL_BURST_MAX + 1], index, covered_packets = 0;
    uint64_t bits;
    uint8_t covered;
    size_t size = 0;
    for (size_t at = 0; at + size <= PACKETS; at += size, size = (size + 1) % (ESPIAL_BURST_MAX + 1)) {
        memset(found, 0x55, sizeof found);
        GIVES(ESPIAL_OK, espial_matcher_first_burst(matcher, &packets[at], size, found));
        GIVES(ESPIAL_OK, espial_matcher_any_burst(matcher, &packets[at], size, &bits));
        CLAIM(found[size] == 0x55555555 && (size == 64 || bits >> size == 0));
        for (size_t i = 0; i < size; i++) {
            uint32_t first = naive(&packets[at + i], count, 0);
            GIVES(ESPIAL_OK, espial_matcher_first(matcher, &packets[at + i], &index));
            GIVES(ESPIAL_OK, espial_matcher_any(matcher, &packets[at + i], &covered));
            CLAIM(index == first && found[i] == first);
            CLAIM(covered == (first != ESPIAL_MATCHER_NONE) && (bits >> i & 1) == covered);
            GIVES(ESPIAL_OK, espial_matcher_first_source(matcher, &packets[at + i], &index));
            CLAIM(index == naive(&packets[at + i], count, 1));
            covered_packets += covered;
        }
    }
    CLAIM(count < SELECTORS || (covered_packets > 200 && covered_packets < PACKETS - 200));
}

/* The merged list says yes and no as the whole one does. */
static void merged(size_t count) {
    static espial_selector list[SELECTORS];
    espial_matcher *matcher = NULL;
    uint32_t source;
    uint8_t covered;
    size_t left = 77, again = 77;
    memcpy(list, selectors, count * sizeof *list);
    GIVES(ESPIAL_OK, espial_selectors_merge(count == 0 ? NULL : list, count, &left));
    CLAIM(left <= count && (count < SELECTORS || left < count) && (count == 0) == (left == 0));
    GIVES(ESPIAL_OK, espial_matcher_new(list, left, &matcher));
    for (size_t i = 0; i < PACKETS; i++) {
        GIVES(ESPIAL_OK, espial_matcher_any(matcher, &packets[i], &covered));
        GIVES(ESPIAL_OK, espial_matcher_first_source(matcher, &packets[i], &source));
        CLAIM(covered == (naive(&packets[i], count, 0) != ESPIAL_MATCHER_NONE));
        CLAIM((source != ESPIAL_MATCHER_NONE) == (naive(&packets[i], count, 1) != ESPIAL_MATCHER_NONE));
    }
    GIVES(ESPIAL_OK, espial_matcher_free(matcher));
    GIVES(ESPIAL_OK, espial_selectors_merge(list, left, &again));
    CLAIM(again == left);
}

static void matchers(void) {
    static const size_t COUNTS[] = {0, 1, 20, 33, SELECTORS};
    espial_matcher *matcher = NULL, *opened = NULL;
    const uint64_t *words;
    size_t count, i, room, used;
    uint32_t index = 77;
    espial_selector kept;

    make_lists();
    for (i = 0; i < sizeof COUNTS / sizeof COUNTS[0]; i++) {
        GIVES(ESPIAL_OK, espial_matcher_new(COUNTS[i] == 0 ? NULL : selectors, COUNTS[i], &matcher));
        asked(matcher, COUNTS[i]);
        merged(COUNTS[i]);
        /* The words are all that another process needs; more memory behind them is not looked at. */
        GIVES(ESPIAL_OK, espial_matcher_words(matcher, &words, &count));
        CLAIM(count < sizeof copy / 8);
        GIVES(ESPIAL_OK, espial_matcher_compile_size(COUNTS[i], &room));
        GIVES(ESPIAL_EROOM, espial_matcher_compile(selectors, COUNTS[i], copy, room - 1, &used));
        GIVES(ESPIAL_OK, espial_matcher_compile(selectors, COUNTS[i], copy, room, &used));
        CLAIM(room <= sizeof copy / 8 && used == count && memcmp(copy, words, count * 8) == 0);
        memset(copy, 0x55, sizeof copy);
        memcpy(copy, words, count * 8);
        CLAIM(espial_matcher_size() <= sizeof memory && espial_matcher_align() == 64);
        GIVES(ESPIAL_OK, espial_matcher_init(memory, sizeof memory, copy, count + i, &opened));
        GIVES(ESPIAL_EHANDLE, espial_matcher_release(matcher));
        GIVES(ESPIAL_EHANDLE, espial_matcher_free(opened));
        GIVES(ESPIAL_OK, espial_matcher_free(matcher));
        asked(opened, COUNTS[i]);
        GIVES(ESPIAL_OK, espial_matcher_words(opened, &words, &count));
        CLAIM(words == copy);
        GIVES(ESPIAL_OK, espial_matcher_release(opened));
        GIVES(ESPIAL_EHANDLE, espial_matcher_first(opened, packets, &index));
        GIVES(ESPIAL_EHANDLE, espial_matcher_release(opened));
        /* Cut short at any word. */
        for (size_t cut = 0; cut < count; cut++) {
            GIVES(ESPIAL_EWORDS, espial_matcher_init(memory, sizeof memory, copy, cut, &opened));
        }
    }

    /* Mistakes. */
    GIVES(ESPIAL_OK, espial_matcher_new(selectors, SELECTORS, &matcher));
    opened = matcher;
    GIVES(ESPIAL_OK, espial_matcher_free(NULL));
    NULLS(espial_matcher_new(NULL, 1, &opened));
    NULLS(espial_matcher_new(selectors, 1, NULL));
    GIVES(ESPIAL_EALIGN, espial_matcher_new(ODD(espial_selector, selectors), 1, &opened));
    GIVES(ESPIAL_EALIGN, espial_matcher_new(selectors, 1, ODD(espial_matcher *, &opened)));
    GIVES(ESPIAL_EALIGN, espial_matcher_free(ODD(espial_matcher, matcher)));
    GIVES(ESPIAL_ERANGE, espial_matcher_new(selectors, SIZE_MAX, &opened));
    GIVES(ESPIAL_ERANGE, espial_matcher_new(selectors, SIZE_MAX / sizeof selectors[0] + 1, &opened));
    GIVES(ESPIAL_ERANGE, espial_matcher_new(selectors, UINT32_MAX, &opened));
    for (i = 0; i < SELECTORS; i += 71) {
        kept = selectors[i];
        selectors[i].family = 5;
        GIVES(ESPIAL_EVALUE, espial_matcher_new(selectors, SELECTORS, &opened));
        selectors[i] = kept;
        selectors[i].reserved = 1;
        GIVES(ESPIAL_EVALUE, espial_matcher_new(selectors, SELECTORS, &opened));
        selectors[i] = kept;
        memset(selectors[i].local_lo, 255, 16);
        GIVES(ESPIAL_ESELECTOR, espial_matcher_new(selectors, SELECTORS, &opened));
        selectors[i] = kept;
    }
    CLAIM(opened == matcher && index == 77);

    /* Any octet of the first ones changed: refused, or a matcher that answers all the same. */
    GIVES(ESPIAL_OK, espial_matcher_words(matcher, &words, &count));
    for (i = 0; i < 128; i++) {
        memcpy(copy, words, count * 8);
        ((uint8_t *)copy)[i] ^= 0x81;
        if (espial_matcher_init(memory, sizeof memory, copy, count, &opened) == ESPIAL_OK) {
            GIVES(ESPIAL_OK, espial_matcher_first(opened, packets, &index));
            GIVES(ESPIAL_OK, espial_matcher_release(opened));
        }
    }
    GIVES(ESPIAL_OK, espial_matcher_free(matcher));
}

int main(void) {
    espial_capacity capacity = {sizeof capacity, .tunnels = 1, .children = 1, .selectors = 1, .sas = 1, .workers = 2};
    espial_capacity huge = {
        sizeof huge, .tunnels = UINT32_MAX, .children = UINT32_MAX, .selectors = UINT32_MAX, .sas = 1, .workers = 1,
    };
    espial_capacity less = {sizeof less, .sas = 1}, larger = capacity;
    espial_gateway *gateway = NULL, *placed;
    espial_worker *worker = NULL, *second;
    espial_tunnel tunnel;
    uint32_t i, spi, sas, dst, dst_src, allocated;

    capacity.sas_allocated = 1;
    GIVES(ESPIAL_OK, espial_gateway_free(NULL));
    GIVES(ESPIAL_OK, espial_worker_free(NULL));
    NULLS(espial_gateway_new(NULL, 1, 2, &gateway));
    NULLS(espial_gateway_new(&capacity, 1, 2, NULL));
    CLAIM(espial_gateway_new(&huge, 1, 2, &gateway) != ESPIAL_OK && gateway == NULL);
    GIVES(ESPIAL_OK, espial_gateway_new(&capacity, 1, 2, &gateway));
    NULLS(espial_worker_new(NULL, 0, &worker));
    NULLS(espial_worker_new(gateway, 0, NULL));
    GIVES(ESPIAL_ERANGE, espial_worker_new(gateway, 2, &worker));
    GIVES(ESPIAL_OK, espial_worker_new(gateway, 0, &worker));
    GIVES(ESPIAL_EATTACHED, espial_worker_new(gateway, 0, &second));
    GIVES(ESPIAL_OK, espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel));
    GIVES(ESPIAL_EATTACHED, espial_gateway_free(gateway));

    /* It grows in memory that goes with it, again and again, and in the caller's as well. */
    for (i = 1; i < 7; i++) {
        larger.sas = 10 * i;
        larger.sas_allocated = i;
        GIVES(ESPIAL_OK, espial_gateway_grow_alloc(gateway, &larger));
        GIVES(ESPIAL_EGROW, espial_gateway_grow_alloc(gateway, &less));
        GIVES(ESPIAL_OK, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 0, &spi));
    }
    larger.sas_allocated = 8;
    NULLS(espial_gateway_grow_alloc(NULL, &larger));
    NULLS(espial_gateway_grow_alloc(gateway, NULL));
    GIVES(ESPIAL_OK, espial_gateway_grow(gateway, memory, sizeof memory, &larger));
    GIVES(ESPIAL_OK, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 0, &spi));
    GIVES(ESPIAL_OK, espial_gateway_sa_limits(gateway, &sas, &dst, &dst_src, &allocated));
    CLAIM(sas == 60 && dst == 0 && dst_src == 0 && allocated == 8);

    /* What was made in the caller's memory is released, what was allocated is freed: not the other way. */
    GIVES(ESPIAL_OK, espial_worker_init(more, sizeof more, gateway, 1, &second));
    GIVES(ESPIAL_EHANDLE, espial_worker_free(second));
    GIVES(ESPIAL_EHANDLE, espial_worker_release(worker));
    GIVES(ESPIAL_OK, espial_worker_release(second));
    GIVES(ESPIAL_OK, espial_worker_free(worker));
    GIVES(ESPIAL_EHANDLE, espial_gateway_release(gateway));
    GIVES(ESPIAL_OK, espial_gateway_free(gateway));
    GIVES(ESPIAL_OK, espial_gateway_init(memory, sizeof memory, &capacity, 1, 2, &placed));
    GIVES(ESPIAL_EHANDLE, espial_gateway_grow_alloc(placed, &larger));
    GIVES(ESPIAL_EHANDLE, espial_gateway_free(placed));
    GIVES(ESPIAL_OK, espial_gateway_release(placed));
    matchers();
    return all_hold();
}
