/*
 * The matcher alone, for a host that has SAs and policies of its own: a list of selectors is compiled, a burst
 * of packets is asked about, and the first selector that covers each is printed.
 *
 *     cc -o classify classify.c -lespial && ./classify [WORDS]
 *
 * With WORDS the compiled form is written there too. A program without an allocator (tests/words.c) opens it
 * with espial_matcher_init(): from a file, from flash, from shared memory.
 */
#include <espial.h>
#include <stdio.h>

/* 10.2.third.0/24 behind the peer, 10.1.third.0/24 here; ports are those of this side. */
static espial_selector v4(uint8_t third, uint8_t protocol, uint16_t port_lo, uint16_t port_hi) {
    espial_selector selector = {
        .family = ESPIAL_FAMILY_V4, .protocol = protocol, .remote_port_hi = 65535,
        .local_port_lo = port_lo, .local_port_hi = port_hi,
        .remote_lo = {10, 2, third, 0}, .remote_hi = {10, 2, third, 255},
        .local_lo = {10, 1, third, 0}, .local_hi = {10, 1, third, 255},
    };
    return selector;
}

static espial_inner packet(uint8_t third, uint8_t protocol, uint16_t dport) {
    espial_inner inner = {
        .family = ESPIAL_FAMILY_V4, .protocol = protocol, .next_layer = ESPIAL_NEXT_LAYER_PORTS, .sport = 40000,
        .dport = dport, .src = {10, 2, third, 5}, .dst = {10, 1, third, 9},
    };
    return inner;
}

static int save(const espial_matcher *matcher, const char *path) {
    const uint64_t *words;
    size_t count;
    FILE *file = fopen(path, "wb");
    if (file == NULL || espial_matcher_words(matcher, &words, &count) != ESPIAL_OK) {
        return 1;
    }
    size_t written = fwrite(words, sizeof *words, count, file);
    return fclose(file) != 0 || written != count;
}

int main(int argc, char **argv) {
    const espial_selector selectors[] = {
        v4(0, 6, 443, 443),    /* 0: TCP to port 443 */
        v4(0, 6, 0, 65535),    /* 1: other TCP between the same networks */
        v4(1, 17, 1000, 1999), /* 2: some UDP */
        v4(2, 0, 0, 65535),    /* 3: everything */
    };
    espial_inner burst[] = {
        packet(0, 6, 443), packet(0, 6, 80), packet(0, 17, 443), packet(1, 17, 1999),
        packet(1, 17, 2000), packet(2, 17, 53), packet(3, 6, 443), packet(0, 6, 443),
    };
    enum { COUNT = sizeof burst / sizeof burst[0] };
    espial_matcher *matcher;
    uint32_t first[COUNT], source;
    uint64_t covered;

    burst[7].fragment = ESPIAL_FRAGMENT_NON_INITIAL; /* holds no ports: only selectors with any ports cover it */
    int status = espial_matcher_new(selectors, sizeof selectors / sizeof selectors[0], &matcher);
    if (status != ESPIAL_OK) {
        fprintf(stderr, "%s\n", espial_status_text(status));
        return 1;
    }
    if (argc > 1 && save(matcher, argv[1]) != 0) {
        perror(argv[1]);
        return 1;
    }
    if (espial_matcher_first_burst(matcher, burst, COUNT, first) != ESPIAL_OK
        || espial_matcher_any_burst(matcher, burst, COUNT, &covered) != ESPIAL_OK) {
        return 1;
    }
    for (size_t i = 0; i < COUNT; i++) {
        printf("10.2.%d.5 > 10.1.%d.9 protocol %d port %d: ", burst[i].src[2], burst[i].dst[2], burst[i].protocol,
               burst[i].dport);
        if (first[i] != ESPIAL_MATCHER_NONE) {
            printf("selector %u\n", (unsigned)first[i]);
        } else if (espial_matcher_first_source(matcher, &burst[i], &source) == ESPIAL_OK
                   && source != ESPIAL_MATCHER_NONE) {
            printf("none, but selector %u has its source\n", (unsigned)source);
        } else {
            printf("none\n");
        }
    }
    printf("covered: 0x%02x\n", (unsigned)covered);
    return espial_matcher_free(matcher) == ESPIAL_OK ? 0 : 1;
}
