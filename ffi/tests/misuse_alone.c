/* Mistakes with the calls that need no gateway: matchers, classification, names, streams. */
#include "claims.h"

static const uint8_t ESP[28] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 50, 0, 0, 198, 51, 100, 1, 203, 0, 113, 2, 0, 0, 0x11, 0x11, 0, 0, 0, 1};

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

    espial_selector pair[2] = {good, bad};
    NULLS(espial_selectors_merge(NULL, 1, &count));
    NULLS(espial_selectors_merge(pair, 1, NULL));
    GIVES(ESPIAL_EALIGN, espial_selectors_merge(ODD(espial_selector, pair), 1, &count));
    GIVES(ESPIAL_EALIGN, espial_selectors_merge(pair, 1, ODD(size_t, &count)));
    GIVES(ESPIAL_ERANGE, espial_selectors_merge(pair, SIZE_MAX, &count));
    GIVES(ESPIAL_ERANGE, espial_selectors_merge(pair, UINT32_MAX, &count));
    GIVES(ESPIAL_ESELECTOR, espial_selectors_merge(pair, 2, &count));
    CLAIM(count == 77 && memcmp(pair, &good, sizeof good) == 0 && memcmp(pair + 1, &bad, sizeof bad) == 0);

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

int main(void) {
    matchers();
    stateless();
    streams();
    return all_hold();
}
