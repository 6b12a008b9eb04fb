/*
 * A Security Policy Database of inbound packets (RFC 4301 section 4.4.1): policies are compiled, packets are
 * asked about and counted by policy, and the list is decorrelated.
 *
 *     cc -o policies policies.c -lespial && ./policies [WORDS]
 *
 * With WORDS the compiled form is written there too. A program without an allocator (tests/spd.c) opens it with
 * espial_spd_init(): from a file, from flash, from shared memory.
 */
#include <espial.h>
#include <stdio.h>

static const char *const ACTIONS[] = {"discard", "bypass", "protect"};

/* Where policy 3 stands: behind the two that make exceptions from it. */
static const espial_selector SELECTORS[] = {
    /* 0: IKE from anywhere to this gateway */
    {.family = ESPIAL_FAMILY_V4, .protocol = 17, .remote_port_hi = 65535, .local_port_lo = 500, .local_port_hi = 500,
     .remote_hi = {255, 255, 255, 255}, .local_lo = {192, 0, 2, 1}, .local_hi = {192, 0, 2, 1}},
    /* 1: the same on port 4500 */
    {.family = ESPIAL_FAMILY_V4, .protocol = 17, .remote_port_hi = 65535, .local_port_lo = 4500, .local_port_hi = 4500,
     .remote_hi = {255, 255, 255, 255}, .local_lo = {192, 0, 2, 1}, .local_hi = {192, 0, 2, 1}},
    /* 2: telnet from the other site */
    {.family = ESPIAL_FAMILY_V4, .protocol = 6, .remote_port_hi = 65535, .local_port_lo = 23, .local_port_hi = 23,
     .remote_lo = {10, 2, 0, 0}, .remote_hi = {10, 2, 255, 255}, .local_lo = {10, 1, 0, 0}, .local_hi = {10, 1, 255, 255}},
    /* 3: everything from there */
    {.family = ESPIAL_FAMILY_V4, .remote_port_hi = 65535, .local_port_hi = 65535, .remote_lo = {10, 2, 0, 0},
     .remote_hi = {10, 2, 255, 255}, .local_lo = {10, 1, 0, 0}, .local_hi = {10, 1, 255, 255}},
};
enum { SELECTOR_COUNT = sizeof SELECTORS / sizeof SELECTORS[0] };

static const espial_policy POLICIES[] = {
    {.id = 10, .action = ESPIAL_ACTION_BYPASS, .first = 0, .count = 2},
    {.id = 20, .action = ESPIAL_ACTION_DISCARD, .first = 2, .count = 1},
    {.id = 30, .action = ESPIAL_ACTION_PROTECT, .first = 3, .count = 1},
};
enum { POLICY_COUNT = sizeof POLICIES / sizeof POLICIES[0] };

static int save(const espial_spd *spd, const char *path) {
    const uint64_t *words;
    size_t count;
    FILE *file = fopen(path, "wb");
    if (file == NULL || espial_spd_words(spd, &words, &count) != ESPIAL_OK) {
        return 1;
    }
    size_t written = fwrite(words, sizeof *words, count, file);
    return fclose(file) != 0 || written != count;
}

static espial_inner packet(uint8_t protocol, uint16_t dport, uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    espial_inner inner = {
        .family = ESPIAL_FAMILY_V4, .protocol = protocol, .next_layer = ESPIAL_NEXT_LAYER_PORTS, .sport = 40000,
        .dport = dport, .src = {10, 2, 0, 5}, .dst = {a, b, c, d},
    };
    return inner;
}

int main(int argc, char **argv) {
    const espial_inner burst[] = {
        packet(17, 500, 192, 0, 2, 1), packet(17, 53, 192, 0, 2, 1), packet(6, 23, 10, 1, 0, 9),
        packet(6, 443, 10, 1, 0, 9), packet(17, 4500, 192, 0, 2, 1),
    };
    enum { COUNT = sizeof burst / sizeof burst[0] };
    espial_spd *spd;
    espial_spd_worker *worker;
    espial_spd_answer answers[COUNT];
    espial_disjoint entries[16];
    uint64_t packets[POLICY_COUNT], unmatched;
    size_t count, entry_count, selectors_in;

    int status = espial_spd_new(ESPIAL_DIRECTION_INBOUND, ESPIAL_ORDER_PLACED, POLICIES, POLICY_COUNT, SELECTORS,
                                SELECTOR_COUNT, &spd);
    if (status != ESPIAL_OK) {
        fprintf(stderr, "%s\n", espial_status_text(status));
        return 1;
    }
    if (argc > 1 && save(spd, argv[1]) != 0) {
        perror(argv[1]);
        return 1;
    }
    /* One worker for each thread that looks at packets. */
    if (espial_spd_worker_new(spd, &worker) != ESPIAL_OK
        || espial_spd_worker_check_burst(worker, burst, COUNT, answers) != ESPIAL_OK) {
        return 1;
    }
    for (size_t i = 0; i < COUNT; i++) {
        printf("to %d.%d.%d.%d protocol %d port %d: %s", burst[i].dst[0], burst[i].dst[1], burst[i].dst[2],
               burst[i].dst[3], burst[i].protocol, burst[i].dport, ACTIONS[answers[i].action]);
        if (answers[i].place == ESPIAL_SPD_NONE) {
            printf(", no policy\n");
        } else {
            printf(", policy %u\n", (unsigned)answers[i].id);
        }
    }
    /* Any thread may read the counts. */
    if (espial_spd_worker_counts(worker, packets, POLICY_COUNT, &count, &unmatched) != ESPIAL_OK
        || count != POLICY_COUNT) {
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        printf("policy %u: %llu packets\n", (unsigned)POLICIES[i].id, (unsigned long long)packets[i]);
    }
    printf("no policy: %llu packets\n", (unsigned long long)unmatched);

    /* Entries of which at most one covers a packet: their answers may be cached (RFC 4301 appendix B). */
    status = espial_spd_decorrelate_alloc(ESPIAL_DIRECTION_INBOUND, ESPIAL_ORDER_PLACED, POLICIES, POLICY_COUNT,
                                          SELECTORS, SELECTOR_COUNT, 1000, entries, 16, &entry_count, &selectors_in);
    if (status != ESPIAL_OK || entry_count > 16) {
        return 1;
    }
    printf("%u selectors, %u disjoint entries\n", (unsigned)selectors_in, (unsigned)entry_count);
    return espial_spd_worker_free(worker) == ESPIAL_OK && espial_spd_free(spd) == ESPIAL_OK ? 0 : 1;
}
