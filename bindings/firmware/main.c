/* espial in firmware: selectors in flash, as images of `espial compile`. Judges packets of captures, rekeys SAs and puts one
   image in the place of another in the main loop while an interrupt reads, and counts instructions and stack. Says what it
   found in lines of `name value`; its exit code is 0 if all is as it should be.

   GATEWAY_OCTETS, WORKER_OCTETS: what the tables and the worker get of the RAM. MANY: the most selectors that are measured. */
#include <espial.h>
#include "packets.h"
#include "platform.h"
#include <set_1.h>
#include <strict.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The images, written by run: GATEWAY.toml, the same in any-selector mode with one Child SA more, and those of sets.py. */
#define IMAGE(name) extern const uint8_t name[]; extern const size_t name##_octets
IMAGE(strict);
IMAGE(any);
IMAGE(set_1);
IMAGE(set_8);
IMAGE(set_8_ports);
IMAGE(set_64);
IMAGE(set_64_v6);
IMAGE(set_1000);

static _Alignas(64) uint8_t tables[GATEWAY_OCTETS];
static _Alignas(64) uint8_t quiet[WORKER_OCTETS];
static espial_gateway *gateway;
static espial_worker *worker;
static uint32_t failures;

static void out_number(const char *name, uint32_t number) {
    char digits[12];
    char *at = digits + sizeof digits;
    *--at = 0;
    *--at = '\n';
    do *--at = (char)('0' + number % 10); while (number /= 10);
    out(name);
    out(" ");
    out(at);
}

static void expect(int so, const char *what, uint32_t number) {
    if (so) return;
    if (failures++ > 20) finish(1);
    out("FAILED ");
    out_number(what, number);
}

#define DONE(call) do { int32_t status = (call); expect(status == ESPIAL_OK, #call, (uint32_t)status); } while (0)

/* 1. Real packets. */

static espial_child children[FW_CHILDREN];
_Static_assert((int)FW_TUNNELS == (int)strict_tunnels && (int)FW_CHILDREN == (int)strict_children, "packets.h is of another GATEWAY.toml");

static espial_sa_params sa_params(uint32_t spi, uint8_t ipsec, uint8_t mode) {
    espial_sa_params params = {.size = sizeof params, .mode = mode, .key = {.spi = spi, .ipsec = ipsec, .scope = ESPIAL_SCOPE_SPI}};
    return params;
}

static void open_gateway(const espial_capacity *capacity, const uint8_t *image, size_t image_octets) {
    size_t octets = 0;
    DONE(espial_gateway_image_size(capacity, &octets));
    out_number("gateway-octets", (uint32_t)octets);
    /* The seed must be one that peers cannot know: README.md says where from. */
    DONE(espial_gateway_init_image(tables, sizeof tables, capacity, 0x5eed, 0x5eed, image, image_octets, &gateway));
}

static void open_worker(void) {
    DONE(espial_quiet_worker_init(quiet, sizeof quiet, gateway, 0, &worker));
}

static void close(void) {
    DONE(espial_worker_release(worker));
    DONE(espial_gateway_release(gateway));
}

static void configure(void) {
    /* One Child SA more in the other image; one SA more at a time while one is rekeyed. */
    espial_capacity capacity = {.size = sizeof capacity, .tunnels = FW_TUNNELS, .children = FW_CHILDREN + 1, .sas = FW_SAS + 2, .workers = 1};
    espial_sa sa;
    open_gateway(&capacity, strict, strict_octets);
    for (uint32_t i = 0; i < FW_CHILDREN; i++) DONE(espial_gateway_image_child(gateway, i, &children[i]));
    for (uint32_t i = 0; i < FW_SAS; i++) {
        espial_sa_params params = sa_params(fw_sas[i].spi, fw_sas[i].ipsec, fw_sas[i].mode);
        DONE(espial_sa_add(gateway, children[fw_sas[i].child], &params, &sa));
    }
    open_worker();
}

/* What becomes of a packet: the reason of its drop, 0 = accepted, 255 = neither. */
static uint8_t judge(uint32_t number) {
    espial_arrival arrival;
    espial_verdict verdict;
    if (espial_worker_arrive(worker, fw_packets[number].wire, fw_packets[number].wire_len, 0, 0, &arrival)) return 255;
    if (arrival.verdict == ESPIAL_VERDICT_DROP) return arrival.reason;
    if (arrival.verdict != ESPIAL_VERDICT_OPEN) return 255;
    /* Here a device opens ESP or AH with the keys of arrival.sa, and verifies. */
    espial_opened opened = {.outer = &arrival.outer, .payload = fw_packets[number].opened,
                            .len = fw_packets[number].opened_len, .sa = arrival.sa,
                            .next_header = fw_packets[number].next_header};
    if (espial_worker_check(worker, &opened, 0, 0, &verdict)) return 255;
    return verdict.verdict == ESPIAL_VERDICT_ACCEPT ? 0 : verdict.reason;
}

/* The same with the fewest calls: what the packet is, its SA by SPI, a check that explains nothing. */
static uint8_t judge_plain(uint32_t number) {
    espial_class class;
    espial_verdict verdict;
    espial_opened opened = {.payload = fw_packets[number].opened, .len = fw_packets[number].opened_len, .next_header = fw_packets[number].next_header};
    if (espial_classify(fw_packets[number].wire, fw_packets[number].wire_len, &class)) return 255;
    if (class.traffic == ESPIAL_TRAFFIC_NONE) return class.reason;
    if (class.traffic != ESPIAL_TRAFFIC_IPSEC) return 255;
    if (espial_worker_find_spi(worker, class.outer.ipsec, class.outer.spi, &opened.sa)) return 255;
    if (espial_worker_check_plain(worker, &opened, &verdict)) return 255;
    return verdict.verdict == ESPIAL_VERDICT_ACCEPT ? 0 : verdict.reason;
}

static void judge_all(void) {
    for (uint32_t i = 0; i < FW_PACKETS; i++) {
        expect(judge(i) == fw_packets[i].strict, "strict-sa", i);
        expect(judge_plain(i) == fw_packets[i].strict, "strict-sa, plain", i);
    }
    DONE(espial_gateway_swap_image(gateway, any, any_octets));
    for (uint32_t i = 0; i < FW_PACKETS; i++) {
        expect(judge(i) == fw_packets[i].any, "any-selector", i);
        expect(judge_plain(i) == fw_packets[i].any, "any-selector, plain", i);
    }
    DONE(espial_worker_quiescent(worker));
    DONE(espial_gateway_swap_image(gateway, strict, strict_octets));
    static espial_counts counts = {.size = sizeof counts};
    DONE(espial_gateway_counts(gateway, &counts));
    expect(counts.packets + counts.dropped == 4 * FW_PACKETS, "counts", (uint32_t)counts.packets);
    out_number("packets-judged", (uint32_t)(counts.packets + counts.dropped));
}

/* 2. An interrupt reads while the main loop writes. */

/* Which image packets are judged by; while one takes the place of the other, by either. */
enum {BY_STRICT = 1, BY_ANY = 2};
static volatile uint32_t ticks, misjudged, lost, live_spi, judged_by = BY_STRICT;

void on_tick(void) {
    uint32_t number = ticks % FW_PACKETS;
    espial_sa sa;
    uint8_t reason = judge(number);
    if (!((judged_by & BY_STRICT && reason == fw_packets[number].strict) || (judged_by & BY_ANY && reason == fw_packets[number].any))) misjudged++;
    if (espial_worker_find_spi(worker, ESPIAL_IPSEC_ESP, live_spi, &sa) || sa.spi != live_spi) lost++;
    espial_worker_quiescent(worker);
    ticks++;
}

/* Runs a call of the writer until no worker is in its way any more. */
#define SOON(call) do { int32_t s; while ((s = (call)) == ESPIAL_EBUSY) {} expect(s == ESPIAL_OK, #call, (uint32_t)s); } while (0)

static void rekey_beside_an_interrupt(void) {
    espial_sa_params params = sa_params(0x10000, ESPIAL_IPSEC_ESP, ESPIAL_SA_TUNNEL);
    espial_sa old, new;
    uint32_t rounds = 200, swaps = 0;
    DONE(espial_sa_add(gateway, children[0], &params, &old));
    live_spi = 0x10000;
    start_ticks();
    for (uint32_t i = 1; i <= rounds; i++) {
        params.key.spi = 0x10000 + i;
        SOON(espial_sa_add(gateway, children[0], &params, &new));
        live_spi = 0x10000 + i;
        SOON(espial_sa_delete(gateway, old, i));
        old = new;
        if (i % 8) continue;
        /* The selectors change as well. */
        judged_by = BY_STRICT | BY_ANY;
        if (++swaps % 2) SOON(espial_gateway_swap_image(gateway, any, any_octets));
        else SOON(espial_gateway_swap_image(gateway, strict, strict_octets));
        judged_by = swaps % 2 ? BY_ANY : BY_STRICT;
    }
    stop_ticks();
    expect(ticks > rounds / 4, "interrupts", ticks);
    expect(misjudged == 0, "misjudged in the interrupt", misjudged);
    expect(lost == 0, "SA lost while it was rekeyed", lost);
    out_number("rekeyed", rounds);
    out_number("images-swapped", swaps);
    out_number("interrupts", ticks);
    close();
}

/* 3. Stack: paints what lies below, calls, and looks how far down it was written. */

static uint32_t probed;

__attribute__((noinline)) static uint32_t stack_of(uint8_t (*call)(uint32_t), uint32_t argument) {
    volatile uint8_t *here = __builtin_frame_address(0);
    volatile uint8_t *low = here - PROBE_OCTETS;
    for (volatile uint8_t *at = low; at < here - 64; at++) *at = 0xa5;
    probed = call(argument);
    while (*low == 0xa5) low++;
    return (uint32_t)(here - low);
}

__attribute__((noinline)) static uint8_t nothing(uint32_t number) { return (uint8_t)number; }

/* 4. Costs. */

#define TIMES 256

/* Instructions of one evaluation, rounded. */
#define COST(call) __extension__({ \
    uint32_t start = instructions(); \
    for (uint32_t i = 0; i < TIMES; i++) { __asm__ volatile("" : : : "memory"); (void)(call); } \
    uint32_t end = instructions(); \
    uint32_t empty = instructions(); \
    for (uint32_t i = 0; i < TIMES; i++) __asm__ volatile("" : : : "memory"); \
    (end - start - (instructions() - empty) + TIMES / 2) / TIMES; })

static espial_outer outer_of(uint32_t spi) {
    espial_outer outer = {.family = 4, .ipsec = ESPIAL_IPSEC_ESP, .spi = spi, .offset = 20, .octets = 100};
    return outer;
}

static const espial_opened *dropped;

__attribute__((noinline)) static uint8_t drop_plain(uint32_t number) {
    espial_verdict verdict;
    return (uint8_t)(number | (uint32_t)espial_worker_check_plain(worker, dropped, &verdict) | verdict.verdict);
}

static espial_inner beside;
static espial_sa of_headers;

__attribute__((noinline)) static uint8_t drop_headers(uint32_t number) {
    espial_plain_verdict verdict;
    return (uint8_t)(number | (uint32_t)espial_worker_check_plain_headers(worker, of_headers, &beside, 28, &verdict) | verdict.verdict);
}

/* What the packets of one set of sets.py cost. */
static void costs_of(const char *name, const uint8_t *image, size_t octets, uint32_t selectors, int by_port) {
    espial_capacity capacity = {.size = sizeof capacity, .tunnels = 2, .children = 2, .sas = 2, .workers = 1, .sas_allocated = 4};
    uint32_t last = selectors / (selectors > 250 ? 4 : 1) - 1;
    espial_child child, loose;
    espial_sa sa, any_sa;
    espial_verdict verdict;
    static uint8_t packet[28] = {0x45, [3] = 28, [8] = 64, 17, [16] = 10, 9, 1, 1, [25] = 8};
    out(name);
    out(" ");
    open_gateway(&capacity, image, octets);
    DONE(espial_gateway_image_find(gateway, "strict-sa", 9, "all", 3, &child));
    DONE(espial_gateway_image_find(gateway, "any-selector", 12, "all", 3, &loose));
    espial_sa_params params = sa_params(0xabcd1234, ESPIAL_IPSEC_ESP, ESPIAL_SA_TUNNEL);
    espial_sa_params other = sa_params(0xabcd5678, ESPIAL_IPSEC_ESP, ESPIAL_SA_TUNNEL);
    DONE(espial_sa_add(gateway, child, &params, &sa));
    DONE(espial_sa_add(gateway, loose, &other, &any_sa));
    open_worker();
    espial_outer outer = outer_of(0xabcd1234);
    espial_inner inner = {.family = 4, .protocol = 17, .next_layer = ESPIAL_NEXT_LAYER_PORTS, .sport = by_port ? (uint16_t)(1000 + 2 * last) : 0,
                          .dport = 53, .src = {10, 0, 0, 7}, .dst = {10, 9, 1, 1}};
    if (!by_port) {
        inner.src[1] = (uint8_t)(last >> 8);
        inner.src[2] = (uint8_t)last;
    }
    for (int i = 0; i < 4; i++) packet[12 + i] = inner.src[i];
    packet[20] = (uint8_t)(inner.sport >> 8);
    packet[21] = (uint8_t)inner.sport;
    packet[23] = 53;
    espial_opened opened = {.outer = &outer, .payload = packet, .len = sizeof packet, .sa = sa, .next_header = 4};
    DONE(espial_worker_check(worker, &opened, 0, 0, &verdict));
    expect(verdict.verdict == ESPIAL_VERDICT_ACCEPT, "last selector", selectors);
    uint32_t headers = COST(espial_worker_check_headers(worker, sa, &outer, &inner, 28, 0, 0, &verdict));
    expect(verdict.verdict == ESPIAL_VERDICT_ACCEPT, "last selector", selectors);
    espial_plain_verdict short_verdict = {0};
    uint32_t plain_headers = COST(espial_worker_check_plain_headers(worker, sa, &inner, 28, &short_verdict));
    expect(short_verdict.verdict == ESPIAL_VERDICT_ACCEPT, "plain, headers", selectors);
    uint32_t whole = COST(espial_worker_check(worker, &opened, 0, 0, &verdict));
    uint32_t plain = COST(espial_worker_check_plain(worker, &opened, &verdict));
    expect(verdict.verdict == ESPIAL_VERDICT_ACCEPT, "plain", selectors);
    uint32_t any_selector = COST(espial_worker_check_headers(worker, any_sa, &outer, &inner, 28, 0, 0, &verdict));
    expect(verdict.verdict == ESPIAL_VERDICT_ACCEPT, "any selector", selectors);
    inner.dst[0] = 11;
    uint32_t drop = COST(espial_worker_check_headers(worker, sa, &outer, &inner, 28, 0, 0, &verdict));
    expect(verdict.verdict == ESPIAL_VERDICT_DROP, "drop", selectors);
    packet[16] = 11;
    dropped = &opened;
    uint32_t stack = stack_of(drop_plain, 0) - stack_of(nothing, 0) - (uint32_t)sizeof(espial_verdict);
    expect(probed == ESPIAL_VERDICT_DROP, "drop, plain", selectors);
    packet[16] = 10;
    beside = inner;
    of_headers = sa;
    uint32_t stack_headers = stack_of(drop_headers, 0) - stack_of(nothing, 0) - (uint32_t)sizeof(espial_plain_verdict);
    expect(probed == ESPIAL_VERDICT_DROP, "drop, plain, headers", selectors);
    out(name); out_number(" stack-plain", stack);
    out(name); out_number(" stack-plain-headers", stack_headers);
    out(name); out_number(" image", (uint32_t)octets);
    out(name); out_number(" check-headers", headers);
    out(name); out_number(" check-plain-headers", plain_headers);
    out(name); out_number(" check", whole);
    out(name); out_number(" check-plain", plain);
    out(name); out_number(" any-selector", any_selector);
    out(name); out_number(" drop", drop);
    if (selectors == 1) {
        espial_arrival arrival;
        espial_sa found;
        espial_outer unknown = outer_of(0x77777777);
        static const uint8_t wire[36] = {0x45, [3] = 36, [8] = 64, 50, [12] = 203, 0, 113, 1, 198, 51, 100, 1, 0xab, 0xcd, 0x12, 0x34, [27] = 1};
        espial_sa_params chosen = params;
        DONE(espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 0, &chosen.key.spi));
        DONE(espial_sa_add(gateway, child, &chosen, &found));
        out_number("cost find-spi-direct", COST(espial_worker_find_spi(worker, ESPIAL_IPSEC_ESP, chosen.key.spi, &found)));
        expect(found.spi == chosen.key.spi, "find direct", found.spi);
        out_number("cost find-spi-hit", COST(espial_worker_find_spi(worker, ESPIAL_IPSEC_ESP, 0xabcd1234, &found)));
        expect(found.spi == 0xabcd1234, "find", found.spi);
        out_number("cost find-spi-miss", COST(espial_worker_find_spi(worker, ESPIAL_IPSEC_ESP, 0x77777777, &found)));
        expect(found.spi == 0, "find none", found.spi);
        out_number("cost find-esp-direct", COST(espial_worker_find_esp(worker, chosen.key.spi)));
        expect(espial_worker_find_esp(worker, chosen.key.spi) != 0, "find ESP, direct", 0);
        out_number("cost find-esp-hit", COST(espial_worker_find_esp(worker, 0xabcd1234)));
        expect(espial_worker_find_esp(worker, 0xabcd1234) == sa.slot, "find ESP", 0);
        out_number("cost find-esp-miss", COST(espial_worker_find_esp(worker, 0x77777777)));
        expect(espial_worker_find_esp(worker, 0x77777777) == 0, "find ESP, none", 0);
        out_number("cost lookup-hit", COST(espial_worker_lookup(worker, &outer, 0, 0, &arrival)));
        expect(arrival.verdict == ESPIAL_VERDICT_OPEN, "lookup", arrival.reason);
        out_number("cost lookup-miss", COST(espial_worker_lookup(worker, &unknown, 0, 0, &arrival)));
        expect(arrival.reason == ESPIAL_DROP_UNKNOWN_SPI, "lookup none", arrival.reason);
        out_number("cost arrive", COST(espial_worker_arrive(worker, wire, sizeof wire, 0, 0, &arrival)));
        expect(arrival.verdict == ESPIAL_VERDICT_OPEN, "arrive", arrival.reason);
        out_number("cost quiescent", COST(espial_worker_quiescent(worker)));
    }
    close();
}

#if MANY >= 64
/* SAs that the gateway has grown since are found as those are that it was made with. */
static void grown(void) {
    static _Alignas(64) uint8_t more[16384];
    espial_capacity capacity = {.size = sizeof capacity, .tunnels = 2, .children = 2, .sas = 1, .workers = 1, .sas_allocated = 1};
    espial_sa_params params = sa_params(0, ESPIAL_IPSEC_ESP, ESPIAL_SA_TUNNEL);
    espial_child child;
    espial_sa sas[12], found;
    open_gateway(&capacity, set_1, set_1_octets);
    open_worker();
    DONE(espial_gateway_image_child(gateway, set_1_child_strict_sa_all, &child));
    for (uint32_t i = 0; i < COUNT(sas); i++) {
        if (i == 2) {
            capacity.sas = capacity.sas_allocated = COUNT(sas) / 2;
            DONE(espial_gateway_grow(gateway, more, sizeof more, &capacity));
        }
        params.key.spi = 0xabcd0000 + i;
        if (i % 2) DONE(espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 0, &params.key.spi));
        DONE(espial_sa_add(gateway, child, &params, &sas[i]));
        for (uint32_t n = 0; n <= i; n++) {
            expect(espial_worker_find_esp(worker, sas[n].spi) == sas[n].slot, "find ESP, grown", i);
            DONE(espial_worker_find_spi(worker, ESPIAL_IPSEC_ESP, sas[n].spi, &found));
            expect(found.slot == sas[n].slot && found.spi == sas[n].spi, "find, grown", i);
        }
        expect(espial_worker_find_esp(worker, 0x77777777) == 0, "find none, grown", i);
    }
    close();
}

/* The stack of a packet of IPv6 that a tree does not cover. */
static void stack_v6(void) {
    espial_capacity capacity = {.size = sizeof capacity, .tunnels = 2, .children = 2, .sas = 2, .workers = 1};
    static uint8_t packet[48] = {0x60, [5] = 8, [6] = 17, [7] = 64, [8] = 0x20, 1, 0x0d, 0xb8, [15] = 63, [23] = 7,
                                 [24] = 0x20, 1, 0x0d, 0xb8, 0, 9, [39] = 1, [43] = 53, [45] = 8};
    espial_verdict verdict;
    espial_child child;
    espial_opened opened = {.payload = packet, .len = sizeof packet, .next_header = 41};
    open_gateway(&capacity, set_64_v6, set_64_v6_octets);
    DONE(espial_gateway_image_find(gateway, "strict-sa", 9, "all", 3, &child));
    espial_sa_params params = sa_params(0xabcd1234, ESPIAL_IPSEC_ESP, ESPIAL_SA_TUNNEL);
    DONE(espial_sa_add(gateway, child, &params, &opened.sa));
    open_worker();
    DONE(espial_worker_check_plain(worker, &opened, &verdict));
    expect(verdict.verdict == ESPIAL_VERDICT_ACCEPT, "last selector, IPv6", verdict.reason);
    packet[29] = 10;
    dropped = &opened;
    uint32_t octets = stack_of(drop_plain, 0) - stack_of(nothing, 0) - (uint32_t)sizeof(espial_verdict);
    expect(probed == ESPIAL_VERDICT_DROP, "drop, IPv6", 64);
    out_number("stack plain-v6", octets);
    close();
}
#endif

/* 5. What it takes. */

__attribute__((noinline)) static uint8_t start(uint32_t number) {
    (void)number;
    configure();
    return 0;
}

static void stack(void) {
    uint32_t most = 0, most_plain = 0, own = stack_of(nothing, 0);
    out_number("stack configuration", stack_of(start, 0) - own);
    for (uint32_t i = 0; i < FW_PACKETS; i++) {
        uint32_t octets = stack_of(judge, i) - own, plain = stack_of(judge_plain, i) - own;
        if (octets > most) most = octets;
        if (plain > most_plain) most_plain = plain;
    }
    /* The caller's own arrival, packet and verdict lie in it. */
    out_number("stack packet", most - (uint32_t)(sizeof(espial_arrival) + sizeof(espial_verdict) + sizeof(espial_opened)));
    out_number("stack plain", most_plain - (uint32_t)(sizeof(espial_class) + sizeof(espial_verdict) + sizeof(espial_opened)));
    close();
}

static void three_sizes(void) {
    static const struct { const char *name; espial_capacity capacity; } sizes[] = {
        {"1-tunnel-4-selectors-4-sas", {.size = sizeof(espial_capacity), .tunnels = 1, .children = 2, .selectors = 4, .sas = 4, .workers = 1}},
        {"4-tunnels-64-selectors-32-sas", {.size = sizeof(espial_capacity), .tunnels = 4, .children = 16, .selectors = 64, .sas = 32, .workers = 1}},
        {"16-tunnels-1000-selectors-256-sas", {.size = sizeof(espial_capacity), .tunnels = 16, .children = 128, .selectors = 1000, .sas = 256, .workers = 1}},
    };
    for (uint32_t i = 0; i < COUNT(sizes); i++) {
        size_t octets = 0;
        DONE(espial_gateway_image_size(&sizes[i].capacity, &octets));
        out("size ");
        out_number(sizes[i].name, (uint32_t)octets);
        DONE(espial_gateway_size(&sizes[i].capacity, &octets));
        out("compiled ");
        out_number(sizes[i].name, (uint32_t)octets);
    }
    out_number("size worker-without-events", (uint32_t)espial_quiet_worker_size());
    out_number("size worker-with-events", (uint32_t)espial_worker_size());
}

int main(void) {
    three_sizes();
    stack();
    configure();
    judge_all();
    rekey_beside_an_interrupt();
    costs_of("selectors-1", set_1, set_1_octets, 1, 0);
    costs_of("selectors-8", set_8, set_8_octets, 8, 0);
    costs_of("selectors-8-ports", set_8_ports, set_8_ports_octets, 8, 1);
#if MANY >= 64
    grown();
    costs_of("selectors-64", set_64, set_64_octets, 64, 0);
    stack_v6();
#endif
#if MANY >= 1000
    costs_of("selectors-1000", set_1000, set_1000_octets, 1000, 0);
#endif
    out(failures ? "RESULT FAIL\n" : "RESULT PASS\n");
    return failures ? 1 : 0;
}
