/*
 * Local-in policy: compiled by the shared library, opened again in memory of this program; answers, counts, and a
 * status for every wrong argument.
 */
#include "claims.h"

enum { WAN1 = 7, WAN2 = 9, LAN = 1 };

static _Alignas(64) uint8_t memory[2048], row[2048], other_row[2048], zero[2048];
static uint64_t words[1024];

#define V4_ALL {255, 255, 255, 255}
static const espial_range RANGES[] = {
    /* 0 and 1: everybody but the peer, as the documents have it */
    {.family = ESPIAL_FAMILY_V4, .hi = V4_ALL},
    {.family = ESPIAL_FAMILY_V4, .exclude = 1, .lo = {203, 0, 113, 10}, .hi = {203, 0, 113, 10}},
    /* 2: this gateway */
    {.family = ESPIAL_FAMILY_V4, .lo = {192, 0, 2, 1}, .hi = {192, 0, 2, 1}},
    /* 3: all of IPv6 */
    {.family = ESPIAL_FAMILY_V6,
     .hi = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}},
};
static const uint32_t INTERFACES[] = {WAN1, WAN2};
static const espial_service SERVICES[] = {
    {.protocol = 17, .src_port_hi = 65535, .dst_port_lo = 500, .dst_port_hi = 500},
    {.protocol = 17, .src_port_hi = 65535, .dst_port_lo = 4500, .dst_port_hi = 4500},
    {.protocol = 6, .src_port_hi = 65535, .dst_port_lo = 443, .dst_port_hi = 443},
    {.protocol = 1, .src_port_lo = 0x800, .src_port_hi = 0x8ff},
    {.src_port_hi = 65535, .dst_port_hi = 65535},
};
static const espial_local_in_policy POLICIES[] = {
    {.id = 1, .interface_count = 1, .source_first = 0, .source_count = 2, .destination_first = 0,
     .destination_count = 1, .service_first = 0, .service_count = 2},
    {.id = 5, .any_interface = 1, .source_first = 0, .source_count = 1, .destination_first = 2, .destination_count = 1,
     .service_first = 2, .service_count = 2, .schedule = 3, .action = ESPIAL_LOCAL_IN_DENY},
    {.id = 6, .any_interface = 1, .source_first = 0, .source_count = 1, .destination_first = 2, .destination_count = 1,
     .service_first = 2, .service_count = 2, .action = ESPIAL_LOCAL_IN_ACCEPT},
    {.id = 7, .interface_count = 2, .source_first = 3, .source_count = 1, .destination_first = 3,
     .destination_count = 1, .service_first = 4, .service_count = 1},
};
enum { COUNT = sizeof POLICIES / sizeof POLICIES[0] };
#define LIST(policies, count) policies, count, INTERFACES, 2, RANGES, 4, SERVICES, 5

static espial_local_packet packet(uint32_t interface, uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint8_t protocol,
                                  uint16_t dport) {
    espial_local_packet made = {
        .headers = {.family = ESPIAL_FAMILY_V4, .protocol = protocol, .next_layer = ESPIAL_NEXT_LAYER_PORTS,
                    .sport = dport, .dport = dport, .src = {a, b, c, d}, .dst = {192, 0, 2, 1}},
        .interface = interface,
        .traffic = protocol == 17 ? ESPIAL_TRAFFIC_IKE : ESPIAL_TRAFFIC_OTHER,
    };
    return made;
}

static void is(const espial_local_in *local_in, espial_local_packet of, uint64_t schedules, uint8_t action, uint8_t by,
               uint32_t policy) {
    espial_local_in_answer answer, expected = {.policy = policy, .action = action, .by = by};
    memset(&answer, 0x55, sizeof answer);
    GIVES(ESPIAL_OK, espial_local_in_first(local_in, &of, schedules, &answer));
    CLAIM(memcmp(&answer, &expected, sizeof answer) == 0);
}

static void answers(const espial_local_in *local_in) {
    const uint8_t DENY = ESPIAL_LOCAL_IN_DENY, ACCEPT = ESPIAL_LOCAL_IN_ACCEPT;
    espial_local_in_answer on_500, on_4500;
    espial_endpoints from = {.family = ESPIAL_FAMILY_V4, .src = {10, 0, 0, 13}, .dst = {192, 0, 2, 1}};
    espial_local_packet esp = packet(WAN1, 203, 0, 113, 10, 50, 0), late;

    /* A group without its exceptions; and no action is a denial. */
    is(local_in, packet(WAN1, 10, 0, 0, 13, 17, 500), 0, DENY, ESPIAL_LOCAL_IN_BY_POLICY, 1);
    is(local_in, packet(WAN1, 10, 0, 0, 13, 17, 4500), 0, DENY, ESPIAL_LOCAL_IN_BY_POLICY, 1);
    is(local_in, packet(WAN1, 203, 0, 113, 10, 17, 500), 0, ACCEPT, ESPIAL_LOCAL_IN_BY_DEFAULT, 0);
    is(local_in, packet(WAN1, 203, 0, 113, 11, 17, 500), 0, DENY, ESPIAL_LOCAL_IN_BY_POLICY, 1);
    is(local_in, packet(WAN2, 10, 0, 0, 13, 17, 500), 0, ACCEPT, ESPIAL_LOCAL_IN_BY_DEFAULT, 0);
    is(local_in, packet(LAN, 10, 0, 0, 13, 17, 500), 0, ACCEPT, ESPIAL_LOCAL_IN_BY_DEFAULT, 0);
    /* A schedule is a bit of the call. */
    is(local_in, packet(LAN, 10, 0, 0, 13, 6, 443), 0, ACCEPT, ESPIAL_LOCAL_IN_BY_POLICY, 6);
    is(local_in, packet(LAN, 10, 0, 0, 13, 6, 443), ~(uint64_t)4, ACCEPT, ESPIAL_LOCAL_IN_BY_POLICY, 6);
    is(local_in, packet(LAN, 10, 0, 0, 13, 6, 443), 4, DENY, ESPIAL_LOCAL_IN_BY_POLICY, 5);
    is(local_in, packet(LAN, 10, 0, 0, 13, 6, 80), 4, ACCEPT, ESPIAL_LOCAL_IN_BY_DEFAULT, 0);
    late = packet(LAN, 10, 0, 0, 13, 1, 0);
    late.headers.next_layer = ESPIAL_NEXT_LAYER_ICMP;
    late.headers.sport = 0x801;
    is(local_in, late, 0, ACCEPT, ESPIAL_LOCAL_IN_BY_POLICY, 6);
    late.headers.sport = 0x900;
    is(local_in, late, 0, ACCEPT, ESPIAL_LOCAL_IN_BY_DEFAULT, 0);
    late.headers.family = ESPIAL_FAMILY_V6;
    late.interface = WAN2;
    is(local_in, late, 0, DENY, ESPIAL_LOCAL_IN_BY_POLICY, 7);
    /* ESP and AH are the SPI table's, in UDP too; and what is malformed is nobody's. */
    is(local_in, esp, ~(uint64_t)0, DENY, ESPIAL_LOCAL_IN_BY_NOBODY, 0);
    esp.headers.protocol = 51;
    is(local_in, esp, 0, DENY, ESPIAL_LOCAL_IN_BY_NOBODY, 0);
    esp = packet(WAN1, 203, 0, 113, 10, 17, 4500);
    esp.traffic = ESPIAL_TRAFFIC_IPSEC;
    is(local_in, esp, 0, DENY, ESPIAL_LOCAL_IN_BY_NOBODY, 0);
    memset(&esp, 0, sizeof esp);
    is(local_in, esp, 0, DENY, ESPIAL_LOCAL_IN_BY_NOBODY, 0);

    GIVES(ESPIAL_OK, espial_local_in_ike(local_in, &from, WAN1, 0, &on_500, &on_4500));
    CLAIM(on_500.policy == 1 && on_500.action == DENY && on_4500.policy == 1 && on_4500.action == DENY);
    memcpy(from.src, (uint8_t[]){203, 0, 113, 10}, 4);
    GIVES(ESPIAL_OK, espial_local_in_ike(local_in, &from, WAN1, 0, &on_500, &on_4500));
    CLAIM(on_500.action == ACCEPT && on_4500.by == ESPIAL_LOCAL_IN_BY_DEFAULT);
    from.family = 9;
    GIVES(ESPIAL_EVALUE, espial_local_in_ike(local_in, &from, WAN1, 0, &on_500, &on_4500));
    from.family = ESPIAL_FAMILY_V4;
    NULLS(espial_local_in_ike(local_in, NULL, WAN1, 0, &on_500, &on_4500));
    NULLS(espial_local_in_ike(local_in, &from, WAN1, 0, NULL, &on_4500));
    NULLS(espial_local_in_ike(local_in, &from, WAN1, 0, &on_500, NULL));
}

static espial_local_packet packets[ESPIAL_BURST_MAX + 1];

/* Of each kind in turn, so that those which are judged stand among those that are not. */
static void make_packets(void) {
    for (size_t i = 0; i <= ESPIAL_BURST_MAX; i++) {
        packets[i] = packet(i % 5 == 0 ? WAN1 : i % 5 == 1 ? WAN2 : LAN, 203, 0, 113, (uint8_t)(i % 12), 17, 500);
        if (i % 3 == 1) {
            packets[i].traffic = i % 2 == 0 ? ESPIAL_TRAFFIC_IPSEC : ESPIAL_TRAFFIC_NONE;
        } else if (i % 7 == 3) {
            packets[i] = packet(LAN, 10, 0, 0, 1, 6, 443);
        }
    }
}

static void bursts(const espial_local_in *local_in) {
    espial_local_in_answer found[ESPIAL_BURST_MAX + 1], one, marked;
    memset(&marked, 0x55, sizeof marked);
    for (size_t count = 0; count <= ESPIAL_BURST_MAX; count++) {
        memset(found, 0x55, sizeof found);
        GIVES(ESPIAL_OK, espial_local_in_first_burst(local_in, packets, count, count % 8, found));
        for (size_t i = 0; i < count; i++) {
            GIVES(ESPIAL_OK, espial_local_in_first(local_in, &packets[i], count % 8, &one));
            CLAIM(memcmp(&one, &found[i], sizeof one) == 0);
        }
        CLAIM(memcmp(&found[count], &marked, sizeof marked) == 0);
    }
    memset(found, 0x55, sizeof found);
    for (size_t i = 0; i < ESPIAL_BURST_MAX; i++) {
        espial_local_packet good = packets[i];
        packets[i].traffic = ESPIAL_TRAFFIC_OTHER + 1;
        GIVES(ESPIAL_EVALUE, espial_local_in_first(local_in, &packets[i], 0, found));
        GIVES(ESPIAL_EVALUE, espial_local_in_first_burst(local_in, packets, ESPIAL_BURST_MAX, 0, found));
        for (int field = 0; field < 3; field++) {
            packets[i].traffic = ESPIAL_TRAFFIC_OTHER;
            *(field == 0 ? &packets[i].headers.family
                         : field == 1 ? &packets[i].headers.next_layer : &packets[i].headers.fragment) = 9;
            GIVES(ESPIAL_EVALUE, espial_local_in_first(local_in, &packets[i], 0, found));
            GIVES(ESPIAL_EVALUE, espial_local_in_first_burst(local_in, packets, ESPIAL_BURST_MAX, 0, found));
            packets[i] = good;
        }
    }
    GIVES(ESPIAL_ERANGE, espial_local_in_first_burst(local_in, packets, ESPIAL_BURST_MAX + 1, 0, found));
    GIVES(ESPIAL_ERANGE, espial_local_in_first_burst(local_in, packets, SIZE_MAX, 0, found));
    NULLS(espial_local_in_first(local_in, NULL, 0, found));
    NULLS(espial_local_in_first(local_in, packets, 0, NULL));
    NULLS(espial_local_in_first_burst(local_in, NULL, 1, 0, found));
    NULLS(espial_local_in_first_burst(local_in, packets, 1, 0, NULL));
    GIVES(ESPIAL_EALIGN, espial_local_in_first(local_in, ODD(espial_local_packet, packets), 0, found));
    GIVES(ESPIAL_EALIGN, espial_local_in_first(local_in, packets, 0, ODD(espial_local_in_answer, found)));
    CLAIM(memcmp(found, &marked, sizeof marked) == 0);
}

static void policies_in_order(const espial_local_in *local_in) {
    espial_local_in_answer found[COUNT + 1], marked;
    size_t count;
    memset(&marked, 0x55, sizeof marked);
    for (size_t room = 0; room <= COUNT; room++) {
        memset(found, 0x55, sizeof found);
        count = 77;
        GIVES(ESPIAL_OK, espial_local_in_policies(local_in, room == 0 ? NULL : found, room, &count));
        CLAIM(count == COUNT);
        for (size_t i = 0; i < room; i++) {
            CLAIM(found[i].policy == POLICIES[i].id && found[i].action == POLICIES[i].action);
            CLAIM(found[i].by == ESPIAL_LOCAL_IN_BY_POLICY && found[i].reserved == 0);
        }
        CLAIM(memcmp(&found[room], &marked, sizeof marked) == 0);
    }
    NULLS(espial_local_in_policies(local_in, NULL, 1, &count));
    NULLS(espial_local_in_policies(local_in, found, 1, NULL));
}

static void counted(const espial_local_in_worker *worker, const uint64_t *by_place, uint64_t by_none) {
    for (size_t room = 0; room <= COUNT; room++) {
        uint64_t found[COUNT + 1], unmatched = 77;
        size_t count = 77;
        memset(found, 0x55, sizeof found);
        GIVES(ESPIAL_OK, espial_local_in_worker_counts(worker, room == 0 ? NULL : found, room, &count, &unmatched));
        CLAIM(count == COUNT && unmatched == by_none && memcmp(found, by_place, room * sizeof *found) == 0);
        CLAIM(found[room] == 0x5555555555555555);
    }
}

/* One by one and in bursts the same is counted, and nothing for the questions that go round the workers. */
static void counting(espial_local_in *local_in) {
    const struct {
        espial_local_packet packet;
        uint64_t schedules;
        size_t place;
    } by_hand[] = {
        {packet(WAN1, 10, 0, 0, 13, 17, 500), 0, 0},       {packet(LAN, 10, 0, 0, 13, 6, 443), 4, 1},
        {packet(LAN, 10, 0, 0, 13, 6, 443), 0, 2},         {packet(WAN2, 10, 0, 0, 13, 6, 443), 0, 2},
        {packet(WAN1, 203, 0, 113, 10, 17, 500), 0, COUNT}, {packet(WAN1, 203, 0, 113, 10, 50, 0), 0, COUNT + 1},
    };
    /* By place; then by no policy, and by nobody, which no worker counts. */
    uint64_t sums[COUNT + 2] = {1, 1, 2, 0, 1, 1}, unmatched = 77;
    espial_local_in_answer answers[ESPIAL_BURST_MAX + 1], one, marked;
    espial_local_in_worker *worker = NULL, *second = NULL;
    const uint64_t none[COUNT] = {0};
    size_t size = 77, count = 77;

    memset(&marked, 0x55, sizeof marked);
    GIVES(ESPIAL_OK, espial_local_in_worker_size(local_in, &size));
    CLAIM(size <= sizeof row && size % espial_local_in_align() == 0);
    GIVES(ESPIAL_EROOM, espial_local_in_worker_init(row, size - 1, local_in, &worker));
    GIVES(ESPIAL_EALIGN, espial_local_in_worker_init(row + 8, sizeof row - 8, local_in, &worker));
    NULLS(espial_local_in_worker_size(local_in, NULL));
    NULLS(espial_local_in_worker_init(NULL, size, local_in, &worker));
    NULLS(espial_local_in_worker_init(row, size, NULL, &worker));
    NULLS(espial_local_in_worker_init(row, size, local_in, NULL));
    CLAIM(worker == NULL);
    memset(row, 0xaa, sizeof row);
    GIVES(ESPIAL_OK, espial_local_in_worker_init(row, size, local_in, &worker));
    for (size_t i = size; i < sizeof row; i++) {
        CLAIM(row[i] == 0xaa);
    }
    GIVES(ESPIAL_OK, espial_local_in_worker_init(other_row, sizeof other_row, local_in, &second));
    GIVES(ESPIAL_EATTACHED, espial_local_in_release(local_in));
    counted(worker, none, 0);

    for (size_t i = 0; i < sizeof by_hand / sizeof by_hand[0]; i++) {
        const espial_local_packet *of = &by_hand[i].packet;
        uint32_t id = by_hand[i].place < COUNT ? POLICIES[by_hand[i].place].id : 0;
        GIVES(ESPIAL_OK, espial_local_in_worker_check(worker, of, by_hand[i].schedules, &one));
        GIVES(ESPIAL_OK, espial_local_in_worker_check_burst(second, of, 1, by_hand[i].schedules, answers));
        CLAIM(one.policy == id && memcmp(&one, answers, sizeof one) == 0);
    }
    counted(worker, sums, sums[COUNT]);
    counted(second, sums, sums[COUNT]);
    for (size_t burst = 0; burst <= ESPIAL_BURST_MAX; burst++) {
        memset(answers, 0x55, sizeof answers);
        GIVES(ESPIAL_OK, espial_local_in_worker_check_burst(worker, packets, burst, burst % 8, answers));
        CLAIM(memcmp(&answers[burst], &marked, sizeof marked) == 0);
        for (size_t i = 0; i < burst; i++) {
            size_t place = 0;
            GIVES(ESPIAL_OK, espial_local_in_first(local_in, &packets[i], burst % 8, &one));
            CLAIM(memcmp(&one, &answers[i], sizeof one) == 0);
            GIVES(ESPIAL_OK, espial_local_in_worker_check(second, &packets[i], burst % 8, &one));
            CLAIM(memcmp(&one, &answers[i], sizeof one) == 0);
            while (one.by == ESPIAL_LOCAL_IN_BY_POLICY && POLICIES[place].id != one.policy) {
                place++;
            }
            if (one.by != ESPIAL_LOCAL_IN_BY_POLICY) {
                place = one.by == ESPIAL_LOCAL_IN_BY_DEFAULT ? COUNT : COUNT + 1;
            }
            sums[place]++;
        }
    }
    CLAIM(sums[0] > 9 && sums[1] > 9 && sums[2] > 9 && sums[COUNT] > 9 && sums[COUNT + 1] > 9);
    counted(worker, sums, sums[COUNT]);
    counted(second, sums, sums[COUNT]);

    /* A bad packet at any place: nothing is written and nothing counted. */
    memset(answers, 0x55, sizeof answers);
    for (size_t i = 0; i < ESPIAL_BURST_MAX; i++) {
        espial_local_packet good = packets[i];
        packets[i].traffic = ESPIAL_TRAFFIC_OTHER + 1;
        GIVES(ESPIAL_EVALUE, espial_local_in_worker_check(worker, &packets[i], 0, answers));
        GIVES(ESPIAL_EVALUE, espial_local_in_worker_check_burst(worker, packets, ESPIAL_BURST_MAX, 0, answers));
        packets[i] = packet(LAN, 10, 0, 0, 1, 6, 443);
        packets[i].headers.family = 9;
        GIVES(ESPIAL_EVALUE, espial_local_in_worker_check(worker, &packets[i], 0, answers));
        GIVES(ESPIAL_EVALUE, espial_local_in_worker_check_burst(worker, packets, ESPIAL_BURST_MAX, 0, answers));
        packets[i] = good;
    }
    GIVES(ESPIAL_ERANGE, espial_local_in_worker_check_burst(worker, packets, ESPIAL_BURST_MAX + 1, 0, answers));
    GIVES(ESPIAL_ERANGE, espial_local_in_worker_check_burst(worker, packets, SIZE_MAX, 0, answers));
    NULLS(espial_local_in_worker_check(worker, NULL, 0, answers));
    NULLS(espial_local_in_worker_check(worker, packets, 0, NULL));
    NULLS(espial_local_in_worker_check_burst(worker, NULL, 1, 0, answers));
    NULLS(espial_local_in_worker_check_burst(worker, packets, 1, 0, NULL));
    NULLS(espial_local_in_worker_counts(worker, NULL, 1, &count, &unmatched));
    NULLS(espial_local_in_worker_counts(worker, sums, 1, NULL, &unmatched));
    NULLS(espial_local_in_worker_counts(worker, sums, 1, &count, NULL));
    GIVES(ESPIAL_EALIGN, espial_local_in_worker_check(worker, packets, 0, ODD(espial_local_in_answer, answers)));
    GIVES(ESPIAL_EALIGN, espial_local_in_worker_counts(worker, ODD(uint64_t, sums), 1, &count, &unmatched));
    CLAIM(memcmp(answers, &marked, sizeof marked) == 0 && count == 77 && unmatched == 77);
    counted(worker, sums, sums[COUNT]);

    GIVES(ESPIAL_EHANDLE, espial_local_in_worker_free(worker));
    GIVES(ESPIAL_OK, espial_local_in_worker_release(worker));
    GIVES(ESPIAL_EATTACHED, espial_local_in_release(local_in));
    GIVES(ESPIAL_OK, espial_local_in_worker_release(second));
    /* Made again, a worker counts from 0. */
    GIVES(ESPIAL_OK, espial_local_in_worker_init(row, size, local_in, &worker));
    counted(worker, none, 0);
    GIVES(ESPIAL_OK, espial_local_in_worker_release(worker));
}

/* The same in memory of the library's own. */
static void counting_allocated(espial_local_in *local_in) {
    const uint64_t one[COUNT] = {0, 0, 1, 0};
    espial_local_packet of = packet(LAN, 10, 0, 0, 13, 6, 443);
    espial_local_in_worker *worker = NULL;
    espial_local_in_answer answer;
    NULLS(espial_local_in_worker_new(NULL, &worker));
    NULLS(espial_local_in_worker_new(local_in, NULL));
    CLAIM(worker == NULL);
    GIVES(ESPIAL_OK, espial_local_in_worker_new(local_in, &worker));
    GIVES(ESPIAL_EATTACHED, espial_local_in_free(local_in));
    GIVES(ESPIAL_OK, espial_local_in_worker_check(worker, &of, 0, &answer));
    counted(worker, one, 0);
    GIVES(ESPIAL_EHANDLE, espial_local_in_worker_release(worker));
    GIVES(ESPIAL_OK, espial_local_in_worker_free(worker));
    GIVES(ESPIAL_OK, espial_local_in_worker_free(NULL));
}

static void refused(int status, espial_local_in_policy policy, espial_range range, espial_service service) {
    espial_local_in_policy two[2] = {policy, policy};
    espial_local_in *local_in = NULL;
    two[1].id++;
    GIVES(status, espial_local_in_new(ESPIAL_LOCAL_IN_ACCEPT, two, 2, INTERFACES, 2, &range, 1, &service, 1, &local_in));
    CLAIM((local_in == NULL) == (status != ESPIAL_OK));
    GIVES(ESPIAL_OK, espial_local_in_free(local_in));
}

static void lists(void) {
    espial_local_in *local_in = NULL;
    const espial_local_in_policy good = {.id = 1, .interface_count = 1, .source_count = 1, .destination_count = 1,
                                         .service_count = 1};
    const espial_range range = RANGES[0];
    const espial_service ike = SERVICES[0];
    espial_local_in_policy policy;
    espial_range ends;
    espial_service service;

    refused(ESPIAL_OK, good, range, ike);
    policy = good, policy.interface_count = 0, refused(ESPIAL_EEMPTY, policy, range, ike);
    policy.any_interface = 1, refused(ESPIAL_OK, policy, range, ike);
    policy = good, policy.any_interface = 1, refused(ESPIAL_EVALUE, policy, range, ike);
    policy = good, policy.any_interface = 2, refused(ESPIAL_EVALUE, policy, range, ike);
    policy = good, policy.reserved = 1, refused(ESPIAL_EVALUE, policy, range, ike);
    policy = good, policy.action = 2, refused(ESPIAL_EVALUE, policy, range, ike);
    policy = good, policy.schedule = ESPIAL_SCHEDULES, refused(ESPIAL_OK, policy, range, ike);
    policy = good, policy.schedule = ESPIAL_SCHEDULES + 1, refused(ESPIAL_EVALUE, policy, range, ike);
    policy = good, policy.source_count = 0, refused(ESPIAL_EEMPTY, policy, range, ike);
    policy = good, policy.destination_count = 0, refused(ESPIAL_EEMPTY, policy, range, ike);
    policy = good, policy.service_count = 0, refused(ESPIAL_EEMPTY, policy, range, ike);
    policy = good, policy.source_count = 2, refused(ESPIAL_ERANGE, policy, range, ike);
    policy = good, policy.destination_first = 1, refused(ESPIAL_ERANGE, policy, range, ike);
    policy = good, policy.service_first = UINT32_MAX, refused(ESPIAL_ERANGE, policy, range, ike);
    policy = good, policy.interface_first = 2, refused(ESPIAL_ERANGE, policy, range, ike);
    ends = range, ends.exclude = 1, refused(ESPIAL_EEMPTY, good, ends, ike);
    ends = range, ends.exclude = 2, refused(ESPIAL_EVALUE, good, ends, ike);
    ends = range, ends.reserved = 1, refused(ESPIAL_EVALUE, good, ends, ike);
    ends = range, ends.family = 5, refused(ESPIAL_EVALUE, good, ends, ike);
    ends = range, ends.lo[0] = 2, ends.hi[0] = 1, refused(ESPIAL_ESELECTOR, good, ends, ike);
    service = ike, service.reserved = 1, refused(ESPIAL_EVALUE, good, range, service);
    service = ike, service.protocol = 0, refused(ESPIAL_ESELECTOR, good, range, service);
    service = ike, service.dst_port_lo = 501, refused(ESPIAL_ESELECTOR, good, range, service);
    service = ike, service.protocol = 50, refused(ESPIAL_OK, good, range, service);

    GIVES(ESPIAL_EVALUE, espial_local_in_new(2, LIST(POLICIES, COUNT), &local_in));
    GIVES(ESPIAL_EVALUE, espial_local_in_new(256, LIST(POLICIES, COUNT), &local_in));
    {
        espial_local_in_policy same[2] = {POLICIES[0], POLICIES[0]};
        GIVES(ESPIAL_EDUPLICATE, espial_local_in_new(1, LIST(same, 2), &local_in));
    }
    {
        /* 300 apart at both sides: more selectors than a policy may have. */
        static espial_range apart[300];
        policy = good, policy.source_count = policy.destination_count = 300;
        for (int i = 0; i < 300; i++) {
            apart[i].family = ESPIAL_FAMILY_V4;
            apart[i].lo[2] = apart[i].hi[2] = (uint8_t)(i >> 7);
            apart[i].lo[3] = apart[i].hi[3] = (uint8_t)(i << 1);
        }
        GIVES(ESPIAL_ELIMIT, espial_local_in_new(1, &policy, 1, INTERFACES, 1, apart, 300, &ike, 1, &local_in));
    }
    NULLS(espial_local_in_new(1, NULL, 1, INTERFACES, 2, RANGES, 4, SERVICES, 5, &local_in));
    NULLS(espial_local_in_new(1, POLICIES, 1, NULL, 2, RANGES, 4, SERVICES, 5, &local_in));
    NULLS(espial_local_in_new(1, POLICIES, 1, INTERFACES, 2, NULL, 4, SERVICES, 5, &local_in));
    NULLS(espial_local_in_new(1, POLICIES, 1, INTERFACES, 2, RANGES, 4, NULL, 5, &local_in));
    NULLS(espial_local_in_new(1, LIST(POLICIES, COUNT), NULL));
    GIVES(ESPIAL_EALIGN, espial_local_in_new(1, LIST(ODD(espial_local_in_policy, POLICIES), COUNT), &local_in));
    CLAIM(local_in == NULL);
    /* No policies: the default is asked, denial too. */
    GIVES(ESPIAL_OK, espial_local_in_new(ESPIAL_LOCAL_IN_DENY, NULL, 0, NULL, 0, NULL, 0, NULL, 0, &local_in));
    is(local_in, packet(LAN, 10, 0, 0, 13, 17, 500), 0, ESPIAL_LOCAL_IN_DENY, ESPIAL_LOCAL_IN_BY_DEFAULT, 0);
    GIVES(ESPIAL_OK, espial_local_in_free(local_in));
}

/* From octets to what is asked about. */
static void read_packets(void) {
    uint8_t ike[] = {0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 203, 0, 113, 10, 192, 0, 2, 1,
                     1, 0xf4, 1, 0xf4, 0, 12, 0, 0, 1, 2, 3, 4};
    espial_local_packet found, marked;
    uint8_t reason = 77;
    memset(&marked, 0x55, sizeof marked);
    found = marked;
    GIVES(ESPIAL_OK, espial_local_packet_read(ike, sizeof ike, WAN1, &found, &reason));
    CLAIM(found.traffic == ESPIAL_TRAFFIC_IKE && found.interface == WAN1 && reason == ESPIAL_DROP_NONE);
    CLAIM(found.headers.family == 4 && found.headers.protocol == 17 && found.headers.dport == 500);
    CLAIM(found.headers.src[0] == 203 && found.headers.dst[3] == 1 && found.reserved[0] == 0);
    /* ESP in UDP: its headers alone would be IKE. */
    ike[20] = ike[22] = 0x11, ike[21] = ike[23] = 0x94;
    GIVES(ESPIAL_EALIGN, espial_local_packet_read(ike, sizeof ike, WAN1, ODD(espial_local_packet, &found), &reason));
    ike[9] = 50;
    GIVES(ESPIAL_OK, espial_local_packet_read(ike, sizeof ike, WAN1, &found, &reason));
    CLAIM(found.traffic == ESPIAL_TRAFFIC_IPSEC && reason == ESPIAL_DROP_NONE && found.headers.family == 0);
    GIVES(ESPIAL_OK, espial_local_packet_read(ike, 12, WAN1, &found, &reason));
    CLAIM(found.traffic == ESPIAL_TRAFFIC_NONE && reason == ESPIAL_DROP_MALFORMED_IP_HEADER);
    /* TCP that ends within its ports: no classification needs them, the headers do. */
    ike[9] = 6, ike[3] = 22;
    GIVES(ESPIAL_OK, espial_local_packet_read(ike, sizeof ike, WAN1, &found, &reason));
    CLAIM(found.traffic == ESPIAL_TRAFFIC_NONE && reason == ESPIAL_DROP_MALFORMED_NEXT_LAYER);
    GIVES(ESPIAL_OK, espial_local_packet_read(NULL, 0, WAN1, &found, &reason));
    CLAIM(found.traffic == ESPIAL_TRAFFIC_NONE && reason == ESPIAL_DROP_MALFORMED_IP_HEADER);
    found = marked, reason = 77;
    NULLS(espial_local_packet_read(NULL, 1, WAN1, &found, &reason));
    NULLS(espial_local_packet_read(ike, 20, WAN1, NULL, &reason));
    NULLS(espial_local_packet_read(ike, 20, WAN1, &found, NULL));
    GIVES(ESPIAL_ERANGE, espial_local_packet_read(ike, SIZE_MAX, WAN1, &found, &reason));
    CLAIM(memcmp(&found, &marked, sizeof found) == 0 && reason == 77);
}

static void dead(espial_local_in *local_in, espial_local_in_worker *worker, int status) {
    espial_endpoints from = {.family = ESPIAL_FAMILY_V4};
    espial_local_in_answer answer, other;
    espial_local_in_worker *made;
    const uint64_t *at;
    uint64_t counts[COUNT], unmatched;
    size_t count;
    GIVES(status, espial_local_in_release(local_in));
    GIVES(status, espial_local_in_policies(local_in, &answer, 1, &count));
    GIVES(status, espial_local_in_worker_size(local_in, &count));
    GIVES(status, espial_local_in_worker_init(row, sizeof row, local_in, &made));
    GIVES(status, espial_local_in_worker_release(worker));
    GIVES(status, espial_local_in_worker_check(worker, packets, 0, &answer));
    GIVES(status, espial_local_in_worker_check_burst(worker, packets, 1, 0, &answer));
    GIVES(status, espial_local_in_worker_counts(worker, counts, COUNT, &count, &unmatched));
    GIVES(status, espial_local_in_words(local_in, &at, &count));
    GIVES(status, espial_local_in_first(local_in, packets, 0, &answer));
    GIVES(status, espial_local_in_first_burst(local_in, packets, 1, 0, &answer));
    GIVES(status, espial_local_in_ike(local_in, &from, 0, 0, &answer, &other));
}

int main(int argc, char **argv) {
    espial_local_in *compiled, *local_in = NULL;
    const uint64_t *made, *same;
    size_t count, again;

    make_packets();
    read_packets();
    lists();
    GIVES(ESPIAL_OK, espial_local_in_new(ESPIAL_LOCAL_IN_ACCEPT, LIST(POLICIES, COUNT), &compiled));
    answers(compiled);
    bursts(compiled);
    counting_allocated(compiled);
    GIVES(ESPIAL_OK, espial_local_in_words(compiled, &made, &count));
    CLAIM(count < sizeof words / 8 && espial_local_in_size() <= sizeof memory && espial_local_in_align() == 64);
    memcpy(words, made, count * 8);
    GIVES(ESPIAL_EHANDLE, espial_local_in_release(compiled));
    GIVES(ESPIAL_OK, espial_local_in_free(compiled));
    GIVES(ESPIAL_OK, espial_local_in_free(NULL));
    if (argc == 2) {
        FILE *file = fopen(argv[1], "wb");
        CLAIM(file != NULL && fwrite(words, 8, count, file) == count && fclose(file) == 0);
    }

    NULLS(espial_local_in_init(NULL, sizeof memory, words, count, &local_in));
    NULLS(espial_local_in_init(memory, sizeof memory, NULL, count, &local_in));
    NULLS(espial_local_in_init(memory, sizeof memory, words, count, NULL));
    GIVES(ESPIAL_EALIGN, espial_local_in_init(memory + 8, sizeof memory - 8, words, count, &local_in));
    GIVES(ESPIAL_EALIGN, espial_local_in_init(memory, sizeof memory, ODD(uint64_t, words), count, &local_in));
    GIVES(ESPIAL_EROOM, espial_local_in_init(memory, espial_local_in_size() - 1, words, count, &local_in));
    GIVES(ESPIAL_ERANGE, espial_local_in_init(memory, sizeof memory, words, SIZE_MAX, &local_in));
    GIVES(ESPIAL_EWORDS, espial_local_in_init(memory, sizeof memory, NULL, 0, &local_in));
    for (size_t i = 0; i < count; i++) {
        GIVES(ESPIAL_EWORDS, espial_local_in_init(memory, sizeof memory, words, i, &local_in));
    }
    GIVES(ESPIAL_EWORDS, espial_matcher_init(memory, sizeof memory, words, count, (espial_matcher **)(void *)&local_in));
    CLAIM(local_in == NULL);

    GIVES(ESPIAL_OK, espial_local_in_init(memory, sizeof memory, words, sizeof words / 8, &local_in));
    GIVES(ESPIAL_OK, espial_local_in_words(local_in, &same, &again));
    CLAIM(same == words && again == count);
    NULLS(espial_local_in_words(local_in, NULL, &again));
    NULLS(espial_local_in_words(local_in, &same, NULL));
    answers(local_in);
    bursts(local_in);
    policies_in_order(local_in);
    counting(local_in);
    GIVES(ESPIAL_EHANDLE, espial_local_in_free(local_in));
    GIVES(ESPIAL_OK, espial_local_in_release(local_in));
    dead(local_in, (espial_local_in_worker *)(void *)row, ESPIAL_EHANDLE);
    dead((espial_local_in *)(void *)zero, (espial_local_in_worker *)(void *)zero, ESPIAL_EHANDLE);
    dead(ODD(espial_local_in, memory), ODD(espial_local_in_worker, row), ESPIAL_EALIGN);
    dead(NULL, NULL, ESPIAL_ENULL);

    /* Any one octet changed: refused, or policies all the same, which answer. */
    for (size_t i = 0; i < count * 8; i++) {
        espial_local_in_answer found[ESPIAL_BURST_MAX];
        ((uint8_t *)words)[i] ^= 0x55;
        int status = espial_local_in_init(memory, sizeof memory, words, count, &local_in);
        CLAIM(status == ESPIAL_OK || status == ESPIAL_EWORDS);
        if (status == ESPIAL_OK) {
            GIVES(ESPIAL_OK, espial_local_in_first_burst(local_in, packets, ESPIAL_BURST_MAX, 0, found));
            GIVES(ESPIAL_OK, espial_local_in_release(local_in));
        }
        ((uint8_t *)words)[i] ^= 0x55;
    }
    return all_hold();
}
