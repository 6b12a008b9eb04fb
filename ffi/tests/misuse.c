/*
 * Every mistake that a C caller can make and the library can see: it answers with a status, writes no
 * output, counts nothing and stays usable. Prints the number of claims.
 */
#include <espial.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long claims;

static void claim_(int holds, const char *what, int line) {
    claims++;
    if (!holds) {
        fprintf(stderr, "misuse.c:%d: %s\n", line, what);
        exit(1);
    }
}
#define CLAIM(holds) claim_((holds) != 0, #holds, __LINE__)
#define GIVES(status, call) claim_((call) == (status), #call " gives " #status, __LINE__)
/* Every pointer in its turn is NULL. */
#define NULLS(call) GIVES(ESPIAL_ENULL, call)

/* A pointer that is off by one octet: never dereferenced by the library. */
#define ODD(type, at) ((type *)(uintptr_t)((uintptr_t)(at) + 1))

static const uint8_t ESP[28] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 50, 0, 0, 198, 51, 100, 1, 203, 0, 113, 2, 0, 0, 0x11, 0x11, 0, 0, 0, 1};
static const uint8_t INNER[20] = {0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 10, 2, 0, 5, 10, 1, 0, 5};

static espial_capacity capacity = {
    sizeof(espial_capacity), .tunnels = 2, .children = 4, .selectors = 8, .sas = 4, .sas_dst = 2, .sas_dst_src = 2,
    .workers = 2, .sas_allocated = 2, .replay_window = 64,
};
enum { OLD_CAPACITY = 32, OLD_PARAMS = 48 }; /* sizes that programs were compiled with */
static espial_gateway *gateway;
static espial_worker *worker;
static espial_tunnel tunnel;
static espial_child child;
static espial_sa sa;
static espial_sa_params params;
static espial_ts local, remote;

static void *memory(size_t align, size_t size) {
    void *at = aligned_alloc(align, (size + align - 1) / align * align);
    CLAIM(at != NULL);
    return at;
}

static uint64_t dropped(void) {
    espial_counts counts;
    counts.size = sizeof counts;
    GIVES(ESPIAL_OK, espial_gateway_counts(gateway, &counts));
    return counts.dropped;
}

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

/* Selectors, and matchers that cannot be: nothing is compiled here (words.c, allocated.c). */
static void matchers(void) {
    static _Alignas(64) uint8_t mem[512];
    static uint64_t words[64];
    espial_selector good, bad;
    espial_inner inner;
    espial_matcher *matcher = NULL;
    const espial_matcher *none = (const espial_matcher *)mem; /* zeroed, never made */
    const uint64_t *at = words;
    uint64_t bits = 77;
    uint32_t index = 77, i;
    uint8_t any = 77;
    size_t count = 77;

    memset(&inner, 0, sizeof inner);
    inner.family = ESPIAL_FAMILY_V4;
    memset(&good, 0, sizeof good);
    good.family = ESPIAL_FAMILY_V4;
    good.protocol = 6;
    good.remote_port_hi = good.local_port_hi = 65535;
    good.remote_hi[3] = good.local_hi[3] = 255;
    GIVES(ESPIAL_OK, espial_selector_check(&good));
    NULLS(espial_selector_check(NULL));
    GIVES(ESPIAL_EALIGN, espial_selector_check(ODD(espial_selector, &good)));
    for (i = 0; i < 256; i++) {
        bad = good;
        bad.family = (uint8_t)i;
        GIVES(i == ESPIAL_FAMILY_V4 || i == ESPIAL_FAMILY_V6 ? ESPIAL_OK : ESPIAL_EVALUE, espial_selector_check(&bad));
        bad = good;
        bad.reserved = (uint16_t)(i << 7);
        GIVES(i == 0 ? ESPIAL_OK : ESPIAL_EVALUE, espial_selector_check(&bad));
        /* Ports of one side: any goes with every protocol, others need one. */
        bad = good;
        bad.protocol = (uint8_t)i;
        GIVES(ESPIAL_OK, espial_selector_check(&bad));
        bad.local_port_lo = 1;
        GIVES(i == 0 ? ESPIAL_ESELECTOR : ESPIAL_OK, espial_selector_check(&bad));
        bad.local_port_lo = 0;
        bad.remote_port_hi = 65534;
        GIVES(i == 0 ? ESPIAL_ESELECTOR : ESPIAL_OK, espial_selector_check(&bad));
        bad.remote_port_lo = 65535; /* OPAQUE only with 0 */
        GIVES(ESPIAL_ESELECTOR, espial_selector_check(&bad));
        bad.remote_port_hi = 0;
        GIVES(i == 0 ? ESPIAL_ESELECTOR : ESPIAL_OK, espial_selector_check(&bad));
    }
    bad = good;
    bad.remote_lo[2] = 1;
    GIVES(ESPIAL_ESELECTOR, espial_selector_check(&bad));
    bad = good;
    bad.local_lo[15] = 1; /* not a part of an IPv4 address */
    GIVES(ESPIAL_OK, espial_selector_check(&bad));
    bad.family = ESPIAL_FAMILY_V6;
    GIVES(ESPIAL_OK, espial_selector_check(&bad));
    bad.local_lo[3] = 255;
    GIVES(ESPIAL_ESELECTOR, espial_selector_check(&bad));

    NULLS(espial_matcher_compile_size(1, NULL));
    GIVES(ESPIAL_EALIGN, espial_matcher_compile_size(1, ODD(size_t, &count)));
    GIVES(ESPIAL_ERANGE, espial_matcher_compile_size(SIZE_MAX, &count));
    GIVES(ESPIAL_ERANGE, espial_matcher_compile_size(UINT32_MAX, &count));
    NULLS(espial_matcher_compile(NULL, 1, words, 64, &count));
    NULLS(espial_matcher_compile(&good, 1, NULL, 64, &count));
    NULLS(espial_matcher_compile(&good, 1, words, 64, NULL));
    GIVES(ESPIAL_EALIGN, espial_matcher_compile(ODD(espial_selector, &good), 1, words, 64, &count));
    GIVES(ESPIAL_EALIGN, espial_matcher_compile(&good, 1, ODD(uint64_t, words), 64, &count));
    GIVES(ESPIAL_EALIGN, espial_matcher_compile(&good, 1, words, 64, ODD(size_t, &count)));
    GIVES(ESPIAL_ERANGE, espial_matcher_compile(&good, SIZE_MAX, words, 64, &count));
    GIVES(ESPIAL_ERANGE, espial_matcher_compile(&good, UINT32_MAX, words, 64, &count));
    GIVES(ESPIAL_ERANGE, espial_matcher_compile(&good, 1, words, SIZE_MAX, &count));
    for (i = 0; i < 20; i++) {
        GIVES(ESPIAL_EROOM, espial_matcher_compile(&good, 1, i == 0 ? NULL : words, i, &count));
    }
    GIVES(ESPIAL_ESELECTOR, espial_matcher_compile(&bad, 1, words, 64, &count));
    CLAIM(count == 77);
    memset(words, 0, sizeof words);

    CLAIM(espial_matcher_size() <= sizeof mem && espial_matcher_size() % espial_matcher_align() == 0);
    NULLS(espial_matcher_init(NULL, sizeof mem, words, 64, &matcher));
    NULLS(espial_matcher_init(mem, sizeof mem, NULL, 64, &matcher));
    NULLS(espial_matcher_init(mem, sizeof mem, words, 64, NULL));
    GIVES(ESPIAL_EALIGN, espial_matcher_init(mem + 8, sizeof mem, words, 64, &matcher));
    GIVES(ESPIAL_EALIGN, espial_matcher_init(mem, sizeof mem, ODD(uint64_t, words), 64, &matcher));
    GIVES(ESPIAL_EALIGN, espial_matcher_init(mem, sizeof mem, words, 64, ODD(espial_matcher *, &matcher)));
    GIVES(ESPIAL_EROOM, espial_matcher_init(mem, espial_matcher_size() - 1, words, 64, &matcher));
    GIVES(ESPIAL_ERANGE, espial_matcher_init(mem, sizeof mem, words, SIZE_MAX, &matcher));
    GIVES(ESPIAL_ERANGE, espial_matcher_init(mem, sizeof mem, words, SIZE_MAX / 8, &matcher));
    GIVES(ESPIAL_EWORDS, espial_matcher_init(mem, sizeof mem, NULL, 0, &matcher));
    for (i = 0; i < 64; i++) {
        GIVES(ESPIAL_EWORDS, espial_matcher_init(mem, sizeof mem, words, i, &matcher));
        memset(words, (int)i * 4, sizeof words);
        GIVES(ESPIAL_EWORDS, espial_matcher_init(mem, sizeof mem, words, 64, &matcher));
    }
    CLAIM(matcher == NULL);

    NULLS(espial_matcher_release(NULL));
    NULLS(espial_matcher_words(NULL, &at, &count));
    NULLS(espial_matcher_first(NULL, &inner, &index));
    NULLS(espial_matcher_any(NULL, &inner, &any));
    NULLS(espial_matcher_first_source(NULL, &inner, &index));
    NULLS(espial_matcher_first_burst(NULL, &inner, 1, &index));
    NULLS(espial_matcher_any_burst(NULL, &inner, 1, &bits));
    GIVES(ESPIAL_EALIGN, espial_matcher_first(ODD(espial_matcher, mem), &inner, &index));
    GIVES(ESPIAL_EHANDLE, espial_matcher_release((espial_matcher *)mem));
    GIVES(ESPIAL_EHANDLE, espial_matcher_words(none, &at, &count));
    GIVES(ESPIAL_EHANDLE, espial_matcher_first(none, &inner, &index));
    GIVES(ESPIAL_EHANDLE, espial_matcher_any(none, &inner, &any));
    GIVES(ESPIAL_EHANDLE, espial_matcher_first_source(none, &inner, &index));
    GIVES(ESPIAL_EHANDLE, espial_matcher_first_burst(none, &inner, 1, &index));
    GIVES(ESPIAL_EHANDLE, espial_matcher_any_burst(none, &inner, 1, &bits));
    CLAIM(index == 77 && any == 77 && bits == 77 && count == 77 && at == words);
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

static void packets(void) {
    espial_packet burst[65];
    espial_arrival arrivals[65], arrival;
    espial_opened opened[65];
    espial_verdict verdicts[65], verdict, zero;
    espial_inner inner;
    espial_outer outer;
    espial_event events[2];
    espial_outer outers[65];
    espial_sa sas[65];
    uint32_t spis[65];
    size_t made = 77;
    uint64_t before;
    uint32_t i;
    const espial_sa stale = {sa.slot ^ 1 << 24, sa.spi}, far_sa = {UINT32_MAX, 1};

    memset(&zero, 0, sizeof zero);
    CLAIM(zero.verdict == ESPIAL_VERDICT_DROP);
    GIVES(ESPIAL_OK, espial_worker_arrive(worker, ESP, sizeof ESP, 0, 0, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_OPEN && arrival.sa.slot == sa.slot);
    for (i = 0; i < 65; i++) {
        burst[i].octets = ESP;
        burst[i].len = sizeof ESP;
        memset(&opened[i], 0, sizeof opened[i]);
        opened[i].outer = &arrival.outer;
        opened[i].payload = INNER;
        opened[i].len = sizeof INNER;
        opened[i].sa = sa;
        opened[i].next_header = 4;
    }
    before = dropped();
    memset(arrivals, 0x55, sizeof arrivals);
    memset(verdicts, 0x55, sizeof verdicts);
    memset(sas, 0x55, sizeof sas);
    for (i = 0; i < 65; i++) {
        outers[i] = arrival.outer;
        spis[i] = i % 2 == 0 ? 0x1111 : i;
    }

    /* Bursts: too many, none, NULL, one bad element at every place: no packet is judged. */
    GIVES(ESPIAL_ERANGE, espial_worker_arrive_burst(worker, burst, 65, 0, 0, arrivals));
    GIVES(ESPIAL_ERANGE, espial_worker_arrive_burst(worker, burst, SIZE_MAX, 0, 0, arrivals));
    GIVES(ESPIAL_ERANGE, espial_worker_check_burst(worker, opened, 65, 0, 0, verdicts));
    GIVES(ESPIAL_ERANGE, espial_worker_check_burst(worker, opened, SIZE_MAX, 0, 0, verdicts));
    GIVES(ESPIAL_OK, espial_worker_arrive_burst(worker, NULL, 0, 0, 0, NULL));
    GIVES(ESPIAL_OK, espial_worker_check_burst(worker, NULL, 0, 0, 0, NULL));
    NULLS(espial_worker_arrive_burst(NULL, burst, 1, 0, 0, arrivals));
    NULLS(espial_worker_arrive_burst(worker, NULL, 1, 0, 0, arrivals));
    NULLS(espial_worker_arrive_burst(worker, burst, 1, 0, 0, NULL));
    NULLS(espial_worker_check_burst(NULL, opened, 1, 0, 0, verdicts));
    NULLS(espial_worker_check_burst(worker, NULL, 1, 0, 0, verdicts));
    NULLS(espial_worker_check_burst(worker, opened, 1, 0, 0, NULL));
    GIVES(ESPIAL_EALIGN, espial_worker_arrive_burst(worker, ODD(espial_packet, burst), 1, 0, 0, arrivals));
    GIVES(ESPIAL_EALIGN, espial_worker_arrive_burst(worker, burst, 1, 0, 0, ODD(espial_arrival, arrivals)));
    GIVES(ESPIAL_EALIGN, espial_worker_check_burst(worker, opened, 1, 0, 0, ODD(espial_verdict, verdicts)));
    GIVES(ESPIAL_ERANGE, espial_worker_lookup_burst(worker, outers, 65, 0, 0, arrivals));
    GIVES(ESPIAL_ERANGE, espial_worker_lookup_burst(worker, outers, SIZE_MAX, 0, 0, arrivals));
    GIVES(ESPIAL_ERANGE, espial_worker_find_sas(worker, outers, 65, sas, &made));
    GIVES(ESPIAL_ERANGE, espial_worker_find_sas(worker, outers, SIZE_MAX, sas, &made));
    GIVES(ESPIAL_ERANGE, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 65, sas, &made));
    GIVES(ESPIAL_ERANGE, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, SIZE_MAX, sas, &made));
    for (i = 0; i < 600; i++) {
        if (i != ESPIAL_IPSEC_ESP && i != ESPIAL_IPSEC_AH) {
            GIVES(ESPIAL_EVALUE, espial_worker_find_spis(worker, i, spis, 1, sas, &made));
            GIVES(ESPIAL_EVALUE, espial_worker_find_spi(worker, i, 0x1111, sas));
        }
    }
    NULLS(espial_worker_lookup_burst(NULL, outers, 1, 0, 0, arrivals));
    NULLS(espial_worker_lookup_burst(worker, NULL, 1, 0, 0, arrivals));
    NULLS(espial_worker_lookup_burst(worker, outers, 1, 0, 0, NULL));
    NULLS(espial_worker_find_sas(NULL, outers, 1, sas, &made));
    NULLS(espial_worker_find_sas(worker, NULL, 1, sas, &made));
    NULLS(espial_worker_find_sas(worker, outers, 1, NULL, &made));
    NULLS(espial_worker_find_sas(worker, outers, 1, sas, NULL));
    NULLS(espial_worker_find_spis(NULL, ESPIAL_IPSEC_ESP, spis, 1, sas, &made));
    NULLS(espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, NULL, 1, sas, &made));
    NULLS(espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 1, NULL, &made));
    NULLS(espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 1, sas, NULL));
    NULLS(espial_worker_find_spi(NULL, ESPIAL_IPSEC_ESP, 0x1111, sas));
    NULLS(espial_worker_find_spi(worker, ESPIAL_IPSEC_ESP, 0x1111, NULL));
    GIVES(ESPIAL_EALIGN, espial_worker_lookup_burst(worker, ODD(espial_outer, outers), 1, 0, 0, arrivals));
    GIVES(ESPIAL_EALIGN, espial_worker_lookup_burst(worker, outers, 1, 0, 0, ODD(espial_arrival, arrivals)));
    GIVES(ESPIAL_EALIGN, espial_worker_find_sas(worker, ODD(espial_outer, outers), 1, sas, &made));
    GIVES(ESPIAL_EALIGN, espial_worker_find_sas(worker, outers, 1, ODD(espial_sa, sas), &made));
    GIVES(ESPIAL_EALIGN, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, ODD(uint32_t, spis), 1, sas, &made));
    GIVES(ESPIAL_EALIGN, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 1, ODD(espial_sa, sas), &made));
    for (i = 0; i < 64; i++) {
        outers[i].family = 5;
        GIVES(ESPIAL_EVALUE, espial_worker_lookup_burst(worker, outers, 64, 0, 0, arrivals));
        GIVES(ESPIAL_EVALUE, espial_worker_find_sas(worker, outers, 64, sas, &made));
        outers[i].family = ESPIAL_FAMILY_V4;
    }
    CLAIM(made == 77 && sas[0].slot == 0x55555555);
    GIVES(ESPIAL_OK, espial_worker_lookup_burst(worker, NULL, 0, 0, 0, NULL));
    GIVES(ESPIAL_OK, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, NULL, 0, NULL, &made));
    CLAIM(made == 0);
    made = 77;
    GIVES(ESPIAL_OK, espial_worker_find_sas(worker, NULL, 0, NULL, &made));
    CLAIM(made == 0);
    made = 77;
    for (i = 0; i < 64; i++) {
        burst[i].octets = NULL;
        NULLS(espial_worker_arrive_burst(worker, burst, 64, 0, 0, arrivals));
        burst[i].octets = ESP;
        burst[i].len = SIZE_MAX;
        GIVES(ESPIAL_ERANGE, espial_worker_arrive_burst(worker, burst, 64, 0, 0, arrivals));
        burst[i].len = sizeof ESP;
        opened[i].outer = NULL;
        NULLS(espial_worker_check_burst(worker, opened, 64, 0, 0, verdicts));
        opened[i].outer = ODD(espial_outer, &arrival.outer);
        GIVES(ESPIAL_EALIGN, espial_worker_check_burst(worker, opened, 64, 0, 0, verdicts));
        opened[i].outer = &arrival.outer;
        opened[i].payload = NULL;
        NULLS(espial_worker_check_burst(worker, opened, 64, 0, 0, verdicts));
        opened[i].payload = INNER;
    }
    CLAIM(arrivals[0].verdict == 0x55 && verdicts[0].verdict == 0x55 && dropped() == before);

    /* Good ones still pass, and write exactly as many as they should. */
    GIVES(ESPIAL_OK, espial_worker_arrive_burst(worker, burst, 64, 0, 0, arrivals));
    GIVES(ESPIAL_OK, espial_worker_check_burst(worker, opened, 64, 0, 0, verdicts));
    for (i = 0; i < 64; i++) {
        CLAIM(arrivals[i].verdict == ESPIAL_VERDICT_OPEN && verdicts[i].verdict == ESPIAL_VERDICT_ACCEPT);
    }
    CLAIM(arrivals[64].verdict == 0x55 && verdicts[64].verdict == 0x55);
    memset(arrivals, 0x55, sizeof arrivals);
    GIVES(ESPIAL_OK, espial_worker_lookup_burst(worker, outers, 64, 0, 0, arrivals));
    GIVES(ESPIAL_OK, espial_worker_find_sas(worker, outers, 64, sas, &made));
    CLAIM(made == 64 && sas[63].spi == sa.spi && sas[64].slot == 0x55555555);
    GIVES(ESPIAL_OK, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 64, sas, &made));
    CLAIM(made == 32 && arrivals[64].verdict == 0x55 && sas[64].slot == 0x55555555);
    for (i = 0; i < 64; i++) {
        CLAIM(arrivals[i].verdict == ESPIAL_VERDICT_OPEN && arrivals[i].sa.slot == sa.slot);
        CLAIM(i % 2 == 0 ? sas[i].spi == sa.spi : sas[i].spi == 0);
    }
    made = 77;

    /* Every truncation of a packet is a drop or, as a whole, opened. */
    for (i = 0; i < sizeof ESP; i++) {
        GIVES(ESPIAL_OK, espial_worker_arrive(worker, i == 0 ? NULL : ESP, i, 0, 0, &arrival));
        CLAIM(arrival.verdict == ESPIAL_VERDICT_DROP && arrival.reason != ESPIAL_DROP_NONE);
    }
    GIVES(ESPIAL_OK, espial_worker_arrive(worker, ESP, sizeof ESP, 0, 0, &arrival));
    outer = arrival.outer;
    NULLS(espial_worker_arrive(NULL, ESP, sizeof ESP, 0, 0, &arrival));
    NULLS(espial_worker_arrive(worker, NULL, 1, 0, 0, &arrival));
    NULLS(espial_worker_arrive(worker, ESP, sizeof ESP, 0, 0, NULL));
    GIVES(ESPIAL_ERANGE, espial_worker_arrive(worker, ESP, SIZE_MAX, 0, 0, &arrival));
    GIVES(ESPIAL_EALIGN, espial_worker_arrive(ODD(espial_worker, worker), ESP, sizeof ESP, 0, 0, &arrival));

    /* Handles that are none are drops, not errors: the SA may be gone any time. */
    opened[0].sa = stale;
    GIVES(ESPIAL_OK, espial_worker_check(worker, &opened[0], 0, 0, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.reason == ESPIAL_DROP_UNKNOWN_SPI);
    opened[0].sa = far_sa;
    GIVES(ESPIAL_OK, espial_worker_check(worker, &opened[0], 0, 0, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.tunnel.generation == 0);
    opened[0].sa = sa;
    for (i = 0; i < sizeof INNER; i++) {
        opened[0].len = i;
        opened[0].payload = i == 0 ? NULL : INNER;
        GIVES(ESPIAL_OK, espial_worker_check(worker, &opened[0], 0, 0, &verdict));
        CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.reason >= ESPIAL_DROP_MALFORMED_IP_VERSION);
    }
    NULLS(espial_worker_check(NULL, &opened[1], 0, 0, &verdict));
    NULLS(espial_worker_check(worker, NULL, 0, 0, &verdict));
    NULLS(espial_worker_check(worker, &opened[1], 0, 0, NULL));

    /* Hostile enums in the headers. */
    memset(&inner, 0, sizeof inner);
    GIVES(ESPIAL_EVALUE, espial_worker_check_headers(worker, sa, &outer, &inner, 20, 0, 0, &verdict));
    inner.family = ESPIAL_FAMILY_V4;
    inner.protocol = 253;
    memcpy(inner.src, INNER + 12, 4);
    memcpy(inner.dst, INNER + 16, 4);
    GIVES(ESPIAL_OK, espial_worker_check_headers(worker, sa, &outer, &inner, SIZE_MAX, 0, 0, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_ACCEPT);
    for (i = 0; i < 256; i++) {
        espial_outer bad = outer;
        espial_inner worse = inner;
        bad.family = (uint8_t)i;
        GIVES(i == 4 || i == 6 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_lookup(worker, &bad, 0, 0, &arrival));
        bad = outer;
        bad.ipsec = (uint8_t)i;
        GIVES(i == 50 || i == 51 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_lookup(worker, &bad, 0, 0, &arrival));
        bad = outer;
        bad.encap = (uint8_t)i;
        GIVES(i <= 2 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_lookup(worker, &bad, 0, 0, &arrival));
        worse.next_layer = (uint8_t)i;
        GIVES(i <= 3 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_check_headers(worker, sa, &outer, &worse, 0, 0, 0, &verdict));
        worse = inner;
        worse.fragment = (uint8_t)i;
        GIVES(i <= 2 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_check_headers(worker, sa, &outer, &worse, 0, 0, 0, &verdict));
        GIVES((i >= 1 && i <= 12) || (i >= 32 && i <= 46) ? ESPIAL_OK : ESPIAL_EVALUE,
              espial_worker_report(worker, sa, &outer, i, 0, 0, &verdict));
    }
    GIVES(ESPIAL_EVALUE, espial_worker_report(worker, sa, &outer, 256 + ESPIAL_DROP_REPLAY, 0, 0, &verdict));
    GIVES(ESPIAL_EVALUE, espial_worker_report(worker, sa, &outer, UINT32_MAX, 0, 0, &verdict));
    NULLS(espial_worker_lookup(NULL, &outer, 0, 0, &arrival));
    NULLS(espial_worker_lookup(worker, NULL, 0, 0, &arrival));
    NULLS(espial_worker_lookup(worker, &outer, 0, 0, NULL));
    NULLS(espial_worker_check_headers(NULL, sa, &outer, &inner, 0, 0, 0, &verdict));
    NULLS(espial_worker_check_headers(worker, sa, NULL, &inner, 0, 0, 0, &verdict));
    NULLS(espial_worker_check_headers(worker, sa, &outer, NULL, 0, 0, 0, &verdict));
    NULLS(espial_worker_check_headers(worker, sa, &outer, &inner, 0, 0, 0, NULL));
    NULLS(espial_worker_report(NULL, sa, &outer, ESPIAL_DROP_REPLAY, 0, 0, &verdict));
    NULLS(espial_worker_report(worker, sa, NULL, ESPIAL_DROP_REPLAY, 0, 0, &verdict));
    NULLS(espial_worker_report(worker, sa, &outer, ESPIAL_DROP_REPLAY, 0, 0, NULL));
    NULLS(espial_worker_quiescent(NULL));
    NULLS(espial_worker_idle(NULL));
    NULLS(espial_worker_set_event_budget(NULL, 1, 1));

    /* Events: a room that is none, sizes that are none; then one comes at a time. */
    NULLS(espial_worker_events(NULL, events, 2, &made));
    NULLS(espial_worker_events(worker, NULL, 1, &made));
    events[0].size = sizeof events[0];
    NULLS(espial_worker_events(worker, events, 2, NULL));
    for (i = 0; i < 2 * sizeof events[0]; i++) {
        if (i != sizeof events[0]) {
            events[0].size = i;
            GIVES(ESPIAL_ESIZE, espial_worker_events(worker, events, 2, &made));
        }
    }
    CLAIM(made == 77);
    GIVES(ESPIAL_OK, espial_worker_events(worker, NULL, 0, &made));
    CLAIM(made == 0);
    memset(events, 0x55, sizeof events);
    events[0].size = sizeof events[0];
    GIVES(ESPIAL_OK, espial_worker_events(worker, events, 1, &made));
    CLAIM(made == 1 && events[0].size == sizeof events[0] && events[0].reason != 0 && events[1].size == 0x55555555);
    GIVES(ESPIAL_OK, espial_worker_set_event_budget(worker, UINT32_MAX, UINT32_MAX));
    GIVES(ESPIAL_OK, espial_worker_set_event_budget(worker, 0, 0));
}

static void stateless(void) {
    espial_class class;
    espial_endpoints ends;
    espial_ike ike;
    uint8_t octets[64];
    size_t n = 77;
    uint32_t i;

    memset(octets, 0, sizeof octets);
    memset(&ends, 0, sizeof ends);
    class.traffic = 0x55;
    NULLS(espial_classify(NULL, 1, &class));
    NULLS(espial_classify(ESP, sizeof ESP, NULL));
    NULLS(espial_classify_udp(NULL, 1, 4500, octets, 8, 0, &class));
    GIVES(ESPIAL_EVALUE, espial_classify_udp(&ends, 1, 4500, octets, 8, 0, &class));
    GIVES(ESPIAL_EVALUE, espial_classify_tcp_frame(&ends, 1, 4500, octets, 8, &class));
    GIVES(ESPIAL_EVALUE, espial_classify_ipsec(&ends, ESPIAL_IPSEC_ESP, octets, 8, 0, &class));
    ends.family = ESPIAL_FAMILY_V6;
    NULLS(espial_classify_udp(&ends, 1, 4500, NULL, 8, 0, &class));
    NULLS(espial_classify_udp(&ends, 1, 4500, octets, 8, 0, NULL));
    NULLS(espial_classify_tcp_frame(NULL, 1, 4500, octets, 8, &class));
    NULLS(espial_classify_tcp_frame(&ends, 1, 4500, NULL, 8, &class));
    NULLS(espial_classify_tcp_frame(&ends, 1, 4500, octets, 8, NULL));
    NULLS(espial_classify_ipsec(NULL, ESPIAL_IPSEC_ESP, octets, 8, 0, &class));
    NULLS(espial_classify_ipsec(&ends, ESPIAL_IPSEC_ESP, NULL, 8, 0, &class));
    NULLS(espial_classify_ipsec(&ends, ESPIAL_IPSEC_ESP, octets, 8, 0, NULL));
    for (i = 0; i < 600; i++) {
        if (i != 50 && i != 51) {
            GIVES(ESPIAL_EVALUE, espial_classify_ipsec(&ends, i, octets, 8, 0, &class));
            GIVES(ESPIAL_EVALUE, espial_notify_invalid_selectors(i, 1, ESP, 8, octets, 64, &n));
        }
    }
    GIVES(ESPIAL_ERANGE, espial_classify(ESP, SIZE_MAX, &class));
    CLAIM(class.traffic == 0x55);
    GIVES(ESPIAL_OK, espial_classify(NULL, 0, &class));
    CLAIM(class.traffic == ESPIAL_TRAFFIC_NONE && class.reason != ESPIAL_DROP_NONE);

    NULLS(espial_ike_header(NULL, 28, &ike));
    NULLS(espial_ike_header(octets, 28, NULL));
    GIVES(ESPIAL_ERANGE, espial_ike_header(octets, 27, &ike));
    GIVES(ESPIAL_OK, espial_ike_header(octets, 28, &ike));

    for (i = 0; i < 8; i++) {
        GIVES(ESPIAL_EROOM, espial_notify_invalid_spi(1, i == 0 ? NULL : octets, i, &n));
        GIVES(ESPIAL_EROOM, espial_notify_invalid_selectors(50, 1, ESP, 8, i == 0 ? NULL : octets, i, &n));
    }
    NULLS(espial_notify_invalid_spi(1, NULL, 8, &n));
    NULLS(espial_notify_invalid_spi(1, octets, 8, NULL));
    NULLS(espial_notify_invalid_selectors(50, 1, NULL, 8, octets, 64, &n));
    NULLS(espial_notify_invalid_selectors(50, 1, ESP, 8, NULL, 64, &n));
    NULLS(espial_notify_invalid_selectors(50, 1, ESP, 8, octets, 64, NULL));
    CLAIM(n == 77);
    GIVES(ESPIAL_OK, espial_notify_invalid_selectors(50, 0x1111, ESP, sizeof ESP, octets, 12, &n));
    CLAIM(n == 12 && octets[0] == 3 && octets[3] == 39 && octets[8] == 0x45 && octets[12] == 0);

    for (i = 0; i < 300; i++) { /* names of anything are words */
        CLAIM(espial_reason_name(i)[0] != '\0' && espial_field_name(i)[0] != '\0');
        CLAIM(espial_mode_name(i)[0] != '\0' && espial_spi_class_name(i)[0] != '\0');
        CLAIM(espial_notice_name(i)[0] != '\0');
        CLAIM(espial_status_text((int32_t)i - 150)[0] != '\0');
    }
    CLAIM(strcmp(espial_reason_name(256 + ESPIAL_DROP_REPLAY), "unknown") == 0);
    CLAIM(espial_abi_version() == ESPIAL_ABI_VERSION);
    CLAIM(espial_version() == (ESPIAL_VERSION_MAJOR << 16 | ESPIAL_VERSION_MINOR << 8 | ESPIAL_VERSION_PATCH));
}

static void streams(void) {
    static const uint8_t wire[] = {'I', 'K', 'E', 'T', 'C', 'P', 0, 4, 'a', 'b', 0, 3, 0xff, 0, 1};
    espial_stream stream;
    espial_frame frame;
    uint8_t buffer[16];
    const uint8_t *at = wire;
    size_t left = sizeof wire, i, frames = 0;
    uint32_t role;

    memset(&stream, 0, sizeof stream);
    GIVES(ESPIAL_EHANDLE, espial_stream_next(&stream, &at, &left, buffer, sizeof buffer, &frame));
    memset(&stream, 0xff, sizeof stream);
    GIVES(ESPIAL_EHANDLE, espial_stream_next(&stream, &at, &left, buffer, sizeof buffer, &frame));
    for (role = 0; role < 300; role++) {
        GIVES(role == 1 || role == 2 ? ESPIAL_OK : ESPIAL_EVALUE, espial_stream_init(&stream, role));
    }
    NULLS(espial_stream_init(NULL, 1));
    GIVES(ESPIAL_EALIGN, espial_stream_init(ODD(espial_stream, &stream), 1));
    GIVES(ESPIAL_OK, espial_stream_init(&stream, ESPIAL_STREAM_FROM_INITIATOR));
    NULLS(espial_stream_next(NULL, &at, &left, buffer, 16, &frame));
    NULLS(espial_stream_next(&stream, NULL, &left, buffer, 16, &frame));
    NULLS(espial_stream_next(&stream, &at, NULL, buffer, 16, &frame));
    NULLS(espial_stream_next(&stream, &at, &left, NULL, 16, &frame));
    NULLS(espial_stream_next(&stream, &at, &left, buffer, 16, NULL));
    CLAIM(at == wire && left == sizeof wire);
    GIVES(ESPIAL_OK, espial_stream_next(&stream, &at, &left, buffer, 16, &frame));
    CLAIM(frame.number == 1 && frame.len == 2 && memcmp(frame.content, "ab", 2) == 0 && frame.stream_offset == 6);
    GIVES(ESPIAL_OK, espial_stream_next(&stream, &at, &left, buffer, 16, &frame));
    CLAIM(frame.number == 2 && frame.len == 1 && left == 2);
    GIVES(ESPIAL_ESTREAM, espial_stream_next(&stream, &at, &left, buffer, 16, &frame));
    GIVES(ESPIAL_ESTREAM, espial_stream_next(&stream, &at, &left, buffer, 16, &frame));

    /* Octet by octet, in one of two buffers that are too small and in one that is not. */
    for (role = 0; role < 3; role++) {
        static const int32_t ends[] = {ESPIAL_EROOM, ESPIAL_EROOM, ESPIAL_ESTREAM};
        int32_t status = ESPIAL_MORE;
        GIVES(ESPIAL_OK, espial_stream_init(&stream, ESPIAL_STREAM_FROM_INITIATOR));
        for (i = 0; i < sizeof wire && (status == ESPIAL_MORE || status == ESPIAL_OK); i++) {
            at = wire + i;
            left = 1;
            status = espial_stream_next(&stream, &at, &left, role == 0 ? NULL : buffer, role, &frame);
            frames += status == ESPIAL_OK;
            CLAIM(status == ESPIAL_ESTREAM || status == ESPIAL_EROOM || left == 0);
        }
        CLAIM(status == ends[role]);
    }
    CLAIM(frames == 2);
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
    size_t size = 0, worker_size = espial_worker_size();
    void *mem, *worker_mem, *zero_gateway, *zero_worker;

    local.family = remote.family = ESPIAL_FAMILY_V4;
    local.port_hi = remote.port_hi = 65535;
    local.addr_lo[0] = local.addr_hi[0] = remote.addr_lo[0] = remote.addr_hi[0] = 10;
    local.addr_lo[1] = local.addr_hi[1] = 1;
    remote.addr_lo[1] = remote.addr_hi[1] = 2;
    local.addr_hi[3] = remote.addr_hi[3] = 255;
    params.size = sizeof params;
    params.mode = ESPIAL_SA_TUNNEL;
    params.key.spi = 0x1111;
    params.key.ipsec = ESPIAL_IPSEC_ESP;
    params.key.scope = ESPIAL_SCOPE_SPI;

    GIVES(ESPIAL_OK, espial_gateway_size(&capacity, &size));
    mem = memory(espial_gateway_align(), size);
    worker_mem = memory(espial_worker_align(), worker_size);
    zero_gateway = memory(espial_gateway_align(), size);
    zero_worker = memory(espial_worker_align(), worker_size);
    memset(zero_gateway, 0, size);
    memset(zero_worker, 0, worker_size);

    setup(mem, size);
    dead(zero_gateway, zero_worker);
    GIVES(ESPIAL_OK, espial_gateway_init(mem, size, &capacity, 1, 2, &gateway));
    GIVES(ESPIAL_OK, espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel));
    GIVES(ESPIAL_OK, espial_child_add(gateway, tunnel, &local, 1, &remote, 1, &child));
    GIVES(ESPIAL_EUNPUBLISHED, espial_sa_add(gateway, child, &params, &sa));
    GIVES(ESPIAL_OK, espial_gateway_publish(gateway));
    GIVES(ESPIAL_OK, espial_sa_add(gateway, child, &params, &sa));
    GIVES(ESPIAL_OK, espial_worker_init(worker_mem, worker_size, gateway, 0, &worker));
    workers();
    configuration();
    reservations();
    growth();
    matchers();
    packets();
    stateless();
    streams();

    GIVES(ESPIAL_OK, espial_sa_delete(gateway, sa, 0));
    GIVES(ESPIAL_ESTALE, espial_sa_delete(gateway, sa, 0));
    GIVES(ESPIAL_OK, espial_worker_release(worker));
    GIVES(ESPIAL_OK, espial_gateway_release(gateway));
    dead(gateway, worker);
    dead(gateway, worker);

    free(zero_worker);
    free(zero_gateway);
    free(worker_mem);
    free(mem);
    printf("%lu claims hold\n", claims);
    return 0;
}
