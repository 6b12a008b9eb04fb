/*
 * IPsec of others through a firewall: which flows there are and what answers meet, with lookupspi on and off, with
 * and without the ALG; rules as words; events; and a status for every wrong argument.
 */
#include "claims.h"

enum { OUT500 = 11, OUT_ESP = 9, IN_ESP = 10, IDLE = ESPIAL_PASSTHROUGH_IDLE_MS };

static _Alignas(64) uint8_t memory[16384], rules_memory[2048], zero[2048];
static uint64_t words[512];
static espial_passthrough_answer marked;

#define HOST(n) {n, n, n, n}
#define RULE(number, of, from, to, port_lo, port_hi)                                                                  \
    {.id = number, .context = ESPIAL_CONTEXT_GLOBAL, .action = ESPIAL_RULE_ACCEPT_DECISIVELY,                         \
     .family = ESPIAL_FAMILY_V4, .protocol = of, .src_port_hi = 65535, .dst_port_lo = port_lo, .dst_port_hi = port_hi, \
     .src_lo = HOST(from), .src_hi = HOST(from), .dst_lo = HOST(to), .dst_hi = HOST(to)}
static const espial_passthrough_rule RULES[] = {
    RULE(OUT500, 17, 1, 2, 500, 500), RULE(OUT_ESP, 50, 1, 2, 0, 65535), RULE(IN_ESP, 50, 2, 1, 0, 65535)};

static espial_passthrough_packet packet(uint8_t kind, uint8_t from, uint8_t to, uint32_t spi) {
    espial_passthrough_packet made = {.family = ESPIAL_FAMILY_V4, .kind = kind, .src = HOST(from), .dst = HOST(to)};
    if (kind == ESPIAL_PASSTHROUGH_UDP) {
        made.sport = made.dport = (uint16_t)spi;
    } else {
        made.spi = spi;
    }
    return made;
}

static espial_passthrough_answer ask(espial_passthrough *firewall, const espial_passthrough_rules *rules, uint8_t kind,
                                     uint8_t from, uint8_t to, uint32_t spi, uint64_t now) {
    espial_passthrough_packet of = packet(kind, from, to, spi);
    espial_passthrough_answer answer = marked;
    GIVES(ESPIAL_OK, espial_passthrough_check(firewall, rules, &of, now, &answer));
    CLAIM(answer.reserved[0] == 0 && answer.flow.reserved == 0 && answer.is_new <= 1);
    CLAIM((answer.reason != 0) == (answer.verdict == ESPIAL_PASS_DROP));
    return answer;
}

static espial_passthrough_config config(uint8_t lookupspi, uint8_t server) {
    espial_passthrough_config made = {sizeof made, .flows = 14, .lookupspi = lookupspi, .server = server};
    return made;
}

static espial_passthrough_rules *compiled(size_t count) {
    espial_passthrough_rules *rules;
    GIVES(ESPIAL_OK, espial_passthrough_rules_new(ESPIAL_RULE_REJECT, RULES, count, &rules));
    return rules;
}

/* E2, line by line: what the answer to a tunnel's ESP meets. */
static void truth_table(void) {
    static const struct {
        uint8_t lookupspi, server;
        size_t rules;
        uint8_t out_esp, in_esp, reason;
    } LINES[] = {
        {1, ESPIAL_SERVER_FASTL4, 3, ESPIAL_PASS_ACCEPT, ESPIAL_PASS_ACCEPT, 0},
        {1, ESPIAL_SERVER_FASTL4, 2, ESPIAL_PASS_ACCEPT, ESPIAL_PASS_REJECT, 0},
        {0, ESPIAL_SERVER_STANDARD, 2, ESPIAL_PASS_ACCEPT, ESPIAL_PASS_ACCEPT_FLOW, 0},
        {1, ESPIAL_SERVER_STANDARD_ALG, 1, ESPIAL_PASS_ACCEPT_ALG, ESPIAL_PASS_ACCEPT_ALG, 0},
        {0, ESPIAL_SERVER_STANDARD_ALG, 3, ESPIAL_PASS_ACCEPT_ALG, ESPIAL_PASS_DROP,
         ESPIAL_PASS_DROP_ALG_NEEDS_LOOKUPSPI},
    };
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++) {
        espial_passthrough_config of = config(LINES[i].lookupspi, LINES[i].server);
        espial_passthrough_rules *rules = compiled(LINES[i].rules);
        espial_passthrough *firewall;
        espial_passthrough_answer said;

        GIVES(ESPIAL_OK, espial_passthrough_new(&of, 17, 4, &firewall));
        said = ask(firewall, rules, ESPIAL_PASSTHROUGH_UDP, 1, 2, 500, 0);
        CLAIM(said.verdict == ESPIAL_PASS_ACCEPT && said.by == ESPIAL_PASS_BY_RULE && said.rule == OUT500);
        CLAIM(said.context == ESPIAL_CONTEXT_GLOBAL && said.is_new == 1 && said.flow.dport == 500);
        said = ask(firewall, rules, ESPIAL_PASSTHROUGH_UDP, 2, 1, 500, 5);
        CLAIM(said.verdict == ESPIAL_PASS_ACCEPT_FLOW && said.context == ESPIAL_CONTEXT_NONE && said.is_new == 0);
        said = ask(firewall, rules, ESPIAL_PASSTHROUGH_ESP, 1, 2, 0x0aca846d, 10);
        CLAIM(said.verdict == LINES[i].out_esp);
        /* E5: the SPI in halves. */
        CLAIM(said.flow.sport == (of.lookupspi == 1 ? 2762 : 0) && said.flow.dport == (of.lookupspi == 1 ? 33901 : 0));
        said = ask(firewall, rules, ESPIAL_PASSTHROUGH_ESP, 2, 1, 0x0bf10f9e, 15);
        CLAIM(said.verdict == LINES[i].in_esp && said.reason == LINES[i].reason);
        if (said.verdict == ESPIAL_PASS_REJECT) {
            CLAIM(said.by == ESPIAL_PASS_BY_DEFAULT && said.context == ESPIAL_CONTEXT_VIRTUAL_SERVER);
        }
        GIVES(ESPIAL_OK, espial_passthrough_free(firewall));
        GIVES(ESPIAL_OK, espial_passthrough_rules_free(rules));
    }
}

/* Flows, events and counts of a firewall with the ALG. */
static void alg(void) {
    espial_passthrough_config of = config(1, ESPIAL_SERVER_STANDARD_ALG);
    espial_passthrough_rules *rules = compiled(1);
    espial_passthrough_flow flows[16], marked_flow;
    espial_teardown events[4];
    espial_passthrough_counts counts = {.size = sizeof counts};
    espial_endpoints between = {.family = ESPIAL_FAMILY_V4, .src = HOST(2), .dst = HOST(1)};
    espial_passthrough *firewall;
    uint32_t ended, slots, by_alg = 0;
    size_t count;

    GIVES(ESPIAL_OK, espial_passthrough_new(&of, 17, 4, &firewall));
    ask(firewall, rules, ESPIAL_PASSTHROUGH_UDP, 1, 2, 500, 100);
    ask(firewall, rules, ESPIAL_PASSTHROUGH_ESP, 1, 2, 300, 100);
    CLAIM(ask(firewall, rules, ESPIAL_PASSTHROUGH_ESP, 1, 2, 0, 100).reason == ESPIAL_PASS_DROP_SPI_ZERO);
    CLAIM(ask(firewall, rules, ESPIAL_PASSTHROUGH_FRAGMENT, 1, 2, 0, 100).reason == ESPIAL_PASS_DROP_FRAGMENT);
    CLAIM(ask(firewall, rules, ESPIAL_PASSTHROUGH_UDP, 1, 2, 4500, 100).verdict == ESPIAL_PASS_REJECT);
    memset(&marked_flow, 0x55, sizeof marked_flow);
    memset(flows, 0x55, sizeof flows);
    GIVES(ESPIAL_OK, espial_passthrough_flows(firewall, 150, flows, 15, &count));
    CLAIM(count == 4 && memcmp(&flows[4], &marked_flow, sizeof marked_flow) == 0);
    for (size_t i = 0; i < count; i++) {
        CLAIM(flows[i].made_ms == 100 && flows[i].idle_ms == 50 && flows[i].flow.src[0] == 1);
        CLAIM(flows[i].by == ESPIAL_PASS_BY_ALG ? flows[i].rule == 0 : flows[i].rule == OUT500);
        by_alg += flows[i].by == ESPIAL_PASS_BY_ALG;
    }
    CLAIM(by_alg == 3);
    GIVES(ESPIAL_OK, espial_passthrough_flows(firewall, 150, NULL, 0, &count));
    CLAIM(count == 4);
    GIVES(ESPIAL_OK, espial_passthrough_slots(firewall, &slots));
    CLAIM(slots >= 14 && slots % 8 == 0);
    GIVES(ESPIAL_OK, espial_passthrough_expire(firewall, 100 + IDLE, slots, &ended));
    CLAIM(ended == 0);
    /* E4: deleted, the ALG's flows are told as AH, IKE, ESP. */
    GIVES(ESPIAL_OK, espial_passthrough_delete_between(firewall, &between, 160, &ended));
    CLAIM(ended == 4);
    GIVES(ESPIAL_OK, espial_passthrough_teardowns(firewall, NULL, 0, &count));
    CLAIM(count == 0);
    GIVES(ESPIAL_OK, espial_passthrough_teardowns(firewall, events, 2, &count));
    CLAIM(count == 2 && events[0].kind == ESPIAL_TEARDOWN_AH && events[1].kind == ESPIAL_TEARDOWN_IKE);
    CLAIM(events[1].sport == 500 && events[1].age_ms == 60 && events[1].time_ms == 160 && events[1].family == 4 && events[1].src[0] == 1);
    GIVES(ESPIAL_OK, espial_passthrough_teardowns(firewall, events, 4, &count));
    CLAIM(count == 1 && events[0].kind == ESPIAL_TEARDOWN_ESP && events[0].suppressed == 0);
    /* Idle for too long. */
    ask(firewall, rules, ESPIAL_PASSTHROUGH_UDP, 1, 2, 500, 1000 + IDLE);
    GIVES(ESPIAL_OK, espial_passthrough_expire(firewall, 1001 + 2 * (uint64_t)IDLE, slots, &ended));
    CLAIM(ended == 3);
    GIVES(ESPIAL_OK, espial_passthrough_counts_of(firewall, &counts));
    CLAIM(counts.accepted == 2 && counts.accepted_alg == 1 && counts.rejected == 1 && counts.accepted_flow == 0);
    CLAIM(counts.drops[ESPIAL_PASS_DROP_SPI_ZERO] == 1 && counts.drops[ESPIAL_PASS_DROP_FRAGMENT] == 1);
    CLAIM(counts.teardowns[ESPIAL_TEARDOWN_AH] == 2 && counts.teardowns[ESPIAL_TEARDOWN_IKE] == 2
          && counts.teardowns[ESPIAL_TEARDOWN_ESP] == 2 && counts.teardowns[0] == 0 && counts.size == sizeof counts);
    GIVES(ESPIAL_EHANDLE, espial_passthrough_release(firewall));
    GIVES(ESPIAL_OK, espial_passthrough_free(firewall));
    GIVES(ESPIAL_OK, espial_passthrough_free(NULL));
    GIVES(ESPIAL_OK, espial_passthrough_rules_free(rules));
}

/* In bursts and one by one the same; full at 14 flows, which go on. */
static void bursts(espial_passthrough *firewall, const espial_passthrough_rules *rules) {
    espial_passthrough_packet packets[ESPIAL_BURST_MAX + 1];
    espial_passthrough_answer many[ESPIAL_BURST_MAX + 1];
    espial_passthrough_config of = config(1, ESPIAL_SERVER_FASTL4);
    espial_passthrough_counts before = {.size = sizeof before}, after = {.size = sizeof after};
    unsigned full = 0, flowing = 0;

    for (size_t i = 0; i <= ESPIAL_BURST_MAX; i++) {
        packets[i] = packet(i % 9 == 4 ? ESPIAL_PASSTHROUGH_UDP : ESPIAL_PASSTHROUGH_ESP, (uint8_t)(1 + i % 2),
                            (uint8_t)(2 - i % 2), (uint32_t)(300 + i % 19));
    }
    for (size_t count = 0; count <= ESPIAL_BURST_MAX; count++) {
        espial_passthrough *alone;
        GIVES(ESPIAL_OK, espial_passthrough_new(&of, 17, 4, &alone));
        memset(many, 0x55, sizeof many);
        GIVES(ESPIAL_OK, espial_passthrough_check_burst(firewall, rules, packets, count, 1 + count * IDLE * 2, many));
        for (size_t i = 0; i < count; i++) {
            espial_passthrough_answer one = marked;
            GIVES(ESPIAL_OK, espial_passthrough_check(alone, rules, &packets[i], 1 + count * IDLE * 2, &one));
            CLAIM(memcmp(&one, &many[i], sizeof one) == 0);
            full += one.reason == ESPIAL_PASS_DROP_TABLE_FULL;
            flowing += one.verdict == ESPIAL_PASS_ACCEPT_FLOW;
        }
        CLAIM(memcmp(&many[count], &marked, sizeof marked) == 0);
        GIVES(ESPIAL_OK, espial_passthrough_free(alone));
    }
    CLAIM(full > 0 && flowing > 0);

    memset(many, 0x55, sizeof many);
    GIVES(ESPIAL_OK, espial_passthrough_counts_of(firewall, &before));
    for (size_t i = 0; i < ESPIAL_BURST_MAX; i++) {
        espial_passthrough_packet good = packets[i];
        for (int field = 0; field < 4; field++) {
            *(field == 0 ? &packets[i].family : field == 1 ? &packets[i].kind
                                              : field == 2 ? &packets[i].protocol : &packets[i].reserved) = 9;
            GIVES(ESPIAL_EVALUE, espial_passthrough_check(firewall, rules, &packets[i], 0, many));
            GIVES(ESPIAL_EVALUE, espial_passthrough_check_burst(firewall, rules, packets, ESPIAL_BURST_MAX, 0, many));
            packets[i] = good;
        }
    }
    GIVES(ESPIAL_ERANGE, espial_passthrough_check_burst(firewall, rules, packets, ESPIAL_BURST_MAX + 1, 0, many));
    NULLS(espial_passthrough_check(firewall, NULL, packets, 0, many));
    NULLS(espial_passthrough_check(firewall, rules, NULL, 0, many));
    NULLS(espial_passthrough_check(firewall, rules, packets, 0, NULL));
    NULLS(espial_passthrough_check_burst(firewall, NULL, packets, 1, 0, many));
    NULLS(espial_passthrough_check_burst(firewall, rules, NULL, 1, 0, many));
    NULLS(espial_passthrough_check_burst(firewall, rules, packets, 1, 0, NULL));
    GIVES(ESPIAL_EALIGN, espial_passthrough_check(firewall, rules, ODD(espial_passthrough_packet, packets), 0, many));
    GIVES(ESPIAL_OK, espial_passthrough_counts_of(firewall, &after));
    CLAIM(memcmp(many, &marked, sizeof marked) == 0 && memcmp(&before, &after, sizeof before) == 0);
}

static void misuse(espial_passthrough *firewall) {
    espial_endpoints between = {.family = 9};
    espial_passthrough_counts counts = {.size = sizeof counts};
    espial_passthrough_flow flow;
    espial_teardown event;
    uint32_t number = 77;
    size_t count = 77;
    NULLS(espial_passthrough_expire(firewall, 0, 8, NULL));
    NULLS(espial_passthrough_slots(firewall, NULL));
    NULLS(espial_passthrough_teardowns(firewall, NULL, 1, &count));
    NULLS(espial_passthrough_teardowns(firewall, &event, 1, NULL));
    NULLS(espial_passthrough_delete_between(firewall, NULL, 0, &number));
    GIVES(ESPIAL_EVALUE, espial_passthrough_delete_between(firewall, &between, 0, &number));
    between.family = 4;
    NULLS(espial_passthrough_delete_between(firewall, &between, 0, NULL));
    NULLS(espial_passthrough_flows(firewall, 0, NULL, 1, &count));
    NULLS(espial_passthrough_flows(firewall, 0, &flow, 1, NULL));
    NULLS(espial_passthrough_counts_of(firewall, NULL));
    counts.size--;
    GIVES(ESPIAL_ESIZE, espial_passthrough_counts_of(firewall, &counts));
    CLAIM(number == 77 && count == 77);
}

/* A tunnel's packets go to one worker as long as they need one table. */
static void workers(void) {
    espial_passthrough_config of = config(0, ESPIAL_SERVER_FASTL4);
    espial_passthrough_packet there = packet(ESPIAL_PASSTHROUGH_ESP, 1, 2, 300);
    uint32_t one, other, by_spi, seen = 0;
    for (uint32_t spi = 256; spi < 512; spi++) {
        espial_passthrough_packet back = packet(ESPIAL_PASSTHROUGH_ESP, 2, 1, spi);
        GIVES(ESPIAL_OK, espial_passthrough_worker_of_spi(17, 4, spi, 8, &by_spi));
        CLAIM(by_spi < 8);
        seen |= (uint32_t)1 << by_spi;
        of.lookupspi = 1;
        GIVES(ESPIAL_OK, espial_passthrough_worker_of(&of, 17, 4, &back, 8, &one));
        CLAIM(one == by_spi);
        of.lookupspi = 0;
        GIVES(ESPIAL_OK, espial_passthrough_worker_of(&of, 17, 4, &there, 8, &one));
        GIVES(ESPIAL_OK, espial_passthrough_worker_of(&of, 17, 4, &back, 8, &other));
        CLAIM(one == other && one < 8);
    }
    CLAIM(seen == 255);
    one = 77;
    GIVES(ESPIAL_ERANGE, espial_passthrough_worker_of_spi(17, 4, 300, 0, &one));
    NULLS(espial_passthrough_worker_of_spi(17, 4, 300, 8, NULL));
    GIVES(ESPIAL_ERANGE, espial_passthrough_worker_of(&of, 17, 4, &there, 0, &one));
    NULLS(espial_passthrough_worker_of(NULL, 17, 4, &there, 8, &one));
    NULLS(espial_passthrough_worker_of(&of, 17, 4, NULL, 8, &one));
    NULLS(espial_passthrough_worker_of(&of, 17, 4, &there, 8, NULL));
    of.size = 0;
    GIVES(ESPIAL_ESIZE, espial_passthrough_worker_of(&of, 17, 4, &there, 8, &one));
    CLAIM(one == 77);
}

static void rule_gives(int status, espial_passthrough_rule rule) {
    espial_passthrough_rules *rules = NULL;
    GIVES(status, espial_passthrough_rules_new(ESPIAL_RULE_DROP, &rule, 1, &rules));
    CLAIM((rules == NULL) == (status != ESPIAL_OK));
    GIVES(ESPIAL_OK, espial_passthrough_rules_free(rules));
}

static void lists(void) {
    espial_passthrough_rule rule, two[2] = {RULES[0], RULES[0]};
    espial_passthrough_rules *rules = NULL;
    rule_gives(ESPIAL_OK, RULES[0]);
    rule = RULES[0], rule.context = 0, rule_gives(ESPIAL_EVALUE, rule);
    rule = RULES[0], rule.context = 4, rule_gives(ESPIAL_EVALUE, rule);
    rule = RULES[0], rule.action = 4, rule_gives(ESPIAL_EVALUE, rule);
    rule = RULES[0], rule.family = 0, rule_gives(ESPIAL_EVALUE, rule);
    rule = RULES[0], rule.src_lo[0] = 9, rule_gives(ESPIAL_ESELECTOR, rule);
    rule = RULES[0], rule.protocol = 50, rule_gives(ESPIAL_ESELECTOR, rule);
    rule = RULES[0], rule.protocol = 0, rule_gives(ESPIAL_ESELECTOR, rule);
    rule = RULES[0], rule.dst_port_lo = 501, rule_gives(ESPIAL_ESELECTOR, rule);
    two[1].action = ESPIAL_RULE_DROP;
    GIVES(ESPIAL_EVALUE, espial_passthrough_rules_new(ESPIAL_RULE_DROP, two, 2, &rules));
    GIVES(ESPIAL_EVALUE, espial_passthrough_rules_new(ESPIAL_RULE_ACCEPT_DECISIVELY, RULES, 3, &rules));
    GIVES(ESPIAL_EVALUE, espial_passthrough_rules_new(4, RULES, 3, &rules));
    NULLS(espial_passthrough_rules_new(ESPIAL_RULE_DROP, NULL, 1, &rules));
    NULLS(espial_passthrough_rules_new(ESPIAL_RULE_DROP, RULES, 3, NULL));
    GIVES(ESPIAL_EALIGN,
          espial_passthrough_rules_new(ESPIAL_RULE_DROP, ODD(espial_passthrough_rule, RULES), 1, &rules));
    CLAIM(rules == NULL);
    GIVES(ESPIAL_OK, espial_passthrough_rules_new(ESPIAL_RULE_DROP, NULL, 0, &rules));
    GIVES(ESPIAL_OK, espial_passthrough_rules_free(rules));
}

static void dead(espial_passthrough *firewall, espial_passthrough_rules *rules, int status) {
    espial_passthrough_packet of = packet(ESPIAL_PASSTHROUGH_ESP, 1, 2, 300);
    espial_endpoints between = {.family = 4};
    espial_passthrough_counts counts = {.size = sizeof counts};
    espial_passthrough_answer answer;
    espial_passthrough_flow flow;
    espial_teardown event;
    const uint64_t *at;
    uint32_t number;
    size_t count;
    GIVES(status, espial_passthrough_rules_release(rules));
    GIVES(status, espial_passthrough_rules_words(rules, &at, &count));
    GIVES(status, espial_passthrough_release(firewall));
    GIVES(status, espial_passthrough_check(firewall, rules, &of, 0, &answer));
    GIVES(status, espial_passthrough_check_burst(firewall, rules, &of, 1, 0, &answer));
    GIVES(status, espial_passthrough_expire(firewall, 0, 8, &number));
    GIVES(status, espial_passthrough_slots(firewall, &number));
    GIVES(status, espial_passthrough_teardowns(firewall, &event, 1, &count));
    GIVES(status, espial_passthrough_delete_between(firewall, &between, 0, &number));
    GIVES(status, espial_passthrough_flows(firewall, 0, &flow, 1, &count));
    GIVES(status, espial_passthrough_counts_of(firewall, &counts));
}

/* E1 and E2: the rules that a configuration needs are taken as they come, and then the tunnel works. */
static void needed(void) {
    const espial_needed_config good = {sizeof good, .lookupspi = 1, .server = ESPIAL_SERVER_FASTL4, .translate_address = 1,
                                       .initiator = ESPIAL_INITIATOR_INSIDE, .ipsec = ESPIAL_IPSEC_ESP,
                                       .nat_t = ESPIAL_NAT_T_NEVER, .family = ESPIAL_FAMILY_V4, .inside_lo = HOST(1),
                                       .inside_hi = HOST(1), .outside_lo = HOST(2), .outside_hi = HOST(2)};
    static const char *const NAMED[] = {"OUT500", "OUT_ESP", "IN_ESP"};
    espial_needed_config of = good;
    espial_needed_rule list[ESPIAL_NEEDED_RULES + 1], marked_rule;
    espial_passthrough_rule plain[3];
    espial_passthrough_config firewall_config = config(1, ESPIAL_SERVER_FASTL4);
    espial_passthrough_rules *rules;
    espial_passthrough *firewall;
    espial_needed found = {77, 77, 77};
    char name[16];
    size_t count = 77;

    memset(&marked_rule, 0x55, sizeof marked_rule);
    memset(list, 0x55, sizeof list);
    GIVES(ESPIAL_OK, espial_passthrough_rules_needed(&good, ESPIAL_CONTEXT_GLOBAL, list, 2, &count, &found));
    CLAIM(count == 3 && memcmp(&list[2], &marked_rule, sizeof marked_rule) == 0);
    GIVES(ESPIAL_OK, espial_passthrough_rules_needed(&good, ESPIAL_CONTEXT_GLOBAL, list, 7, &count, &found));
    CLAIM(count == 3 && found.outcome == ESPIAL_OUTCOME_WORKS && found.virtual_servers == 1 && found.reserved == 0);
    CLAIM(memcmp(&list[3], &marked_rule, sizeof marked_rule) == 0);
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", espial_way_name(list[i].way), espial_needed_service_name(list[i].service));
        CLAIM(strcmp(name, NAMED[i]) == 0 && list[i].reserved == 0 && list[i].rule.id == i);
        plain[i] = list[i].rule;
    }
    /* With them it works, without any one of them it does not. */
    for (size_t without = 0; without <= 3; without++) {
        espial_passthrough_rule some[3];
        size_t taken = 0;
        int works;
        for (size_t i = 0; i < 3; i++) {
            if (i != without) {
                some[taken++] = plain[i];
            }
        }
        GIVES(ESPIAL_OK, espial_passthrough_rules_new(ESPIAL_RULE_DROP, some, taken, &rules));
        GIVES(ESPIAL_OK, espial_passthrough_new(&firewall_config, 17, 4, &firewall));
        works = ask(firewall, rules, ESPIAL_PASSTHROUGH_UDP, 1, 2, 500, 0).verdict != ESPIAL_PASS_DROP
                && ask(firewall, rules, ESPIAL_PASSTHROUGH_UDP, 2, 1, 500, 0).verdict != ESPIAL_PASS_DROP
                && ask(firewall, rules, ESPIAL_PASSTHROUGH_ESP, 1, 2, 300, 0).verdict != ESPIAL_PASS_DROP
                && ask(firewall, rules, ESPIAL_PASSTHROUGH_ESP, 2, 1, 301, 0).verdict != ESPIAL_PASS_DROP;
        CLAIM(works == (without == 3));
        GIVES(ESPIAL_OK, espial_passthrough_free(firewall));
        GIVES(ESPIAL_OK, espial_passthrough_rules_free(rules));
    }
    of.lookupspi = 0, of.server = ESPIAL_SERVER_STANDARD_ALG, of.initiator = ESPIAL_INITIATOR_EITHER;
    of.nat_t = ESPIAL_NAT_T_POSSIBLE;
    GIVES(ESPIAL_OK, espial_passthrough_rules_needed(&of, ESPIAL_CONTEXT_VIRTUAL_SERVER, NULL, 0, &count, &found));
    CLAIM(count == 4 && found.outcome == ESPIAL_OUTCOME_RETURN_DROPPED && found.virtual_servers == 3);
    of.server = ESPIAL_SERVER_STANDARD, of.lookupspi = 1, of.ipsec = ESPIAL_IPSEC_AH;
    GIVES(ESPIAL_OK, espial_passthrough_rules_needed(&of, ESPIAL_CONTEXT_VIRTUAL_SERVER, list, 7, &count, &found));
    CLAIM(count == ESPIAL_NEEDED_RULES && list[5].service == ESPIAL_NEEDED_AH && list[5].way == ESPIAL_WAY_IN);
    CLAIM(list[5].rule.context == ESPIAL_CONTEXT_VIRTUAL_SERVER && list[3].rule.dst_port_lo == 4500);

    count = 77, found.reserved = 77;
#define NEEDED(config, context, rules, room, count, found)                                                            \
    espial_passthrough_rules_needed(config, context, rules, room, count, found)
    NULLS(NEEDED(NULL, 1, list, 7, &count, &found));
    NULLS(NEEDED(&good, 1, NULL, 7, &count, &found));
    NULLS(NEEDED(&good, 1, list, 7, NULL, &found));
    NULLS(NEEDED(&good, 1, list, 7, &count, NULL));
    GIVES(ESPIAL_EVALUE, NEEDED(&good, ESPIAL_CONTEXT_NONE, list, 7, &count, &found));
    GIVES(ESPIAL_EVALUE, NEEDED(&good, 4, list, 7, &count, &found));
#define WRONG(status, change)                                                                                         \
    of = good;                                                                                                        \
    change;                                                                                                           \
    GIVES(status, NEEDED(&of, 1, list, 7, &count, &found))
    WRONG(ESPIAL_ESIZE, of.size--);
    WRONG(ESPIAL_EVALUE, of.lookupspi = 2);
    WRONG(ESPIAL_EVALUE, of.server = 3);
    WRONG(ESPIAL_EVALUE, of.translate_address = 2);
    WRONG(ESPIAL_EVALUE, of.initiator = 3);
    WRONG(ESPIAL_EVALUE, of.ipsec = 0);
    WRONG(ESPIAL_EVALUE, of.nat_t = 3);
    WRONG(ESPIAL_EVALUE, of.family = 0);
    WRONG(ESPIAL_EVALUE, of.reserved = 1);
    WRONG(ESPIAL_ESELECTOR, of.inside_hi[3] = 0);
    WRONG(ESPIAL_ESELECTOR, of.outside_hi[0] = 0);
    CLAIM(count == 77 && found.reserved == 77);
}

/* Each list of numbers has names; that none is left out is tested in Rust. */
static void names(void) {
    CLAIM(strcmp(espial_local_in_action_name(ESPIAL_LOCAL_IN_ACCEPT), "accept") == 0 && strcmp(espial_local_in_action_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_local_in_by_name(ESPIAL_LOCAL_IN_BY_DEFAULT), "default") == 0 && strcmp(espial_local_in_by_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_side_name(ESPIAL_SIDE_REMOTE), "remote") == 0 && strcmp(espial_side_name(ESPIAL_SIDE_ANSWER), "answer") == 0 && strcmp(espial_side_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_session_outcome_name(ESPIAL_SESSION_FULL), "full") == 0 && strcmp(espial_session_outcome_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_context_name(ESPIAL_CONTEXT_VIRTUAL_SERVER), "Virtual Server") == 0 && strcmp(espial_context_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_rule_action_name(ESPIAL_RULE_ACCEPT_DECISIVELY), "accept-decisively") == 0 && strcmp(espial_rule_action_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_server_name(ESPIAL_SERVER_STANDARD_ALG), "standard with ALG") == 0 && strcmp(espial_server_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_passthrough_kind_name(ESPIAL_PASSTHROUGH_FRAGMENT), "fragment") == 0 && strcmp(espial_passthrough_kind_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_pass_name(ESPIAL_PASS_ACCEPT_ALG), "accept_alg") == 0 && strcmp(espial_pass_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_pass_drop_name(ESPIAL_PASS_DROP_FRAGMENT), "fragment") == 0 && strcmp(espial_pass_drop_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_pass_by_name(ESPIAL_PASS_BY_ALG), "alg") == 0 && strcmp(espial_pass_by_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_teardown_name(ESPIAL_TEARDOWN_ESP), "esp") == 0 && strcmp(espial_teardown_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_tcp_reply_name(ESPIAL_TCP_REPLY_IKE_POLICY_ROUTE), "ike-policy-route") == 0 && strcmp(espial_tcp_reply_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_segment_name(ESPIAL_SEGMENT_LEAVE), "leave") == 0 && strcmp(espial_segment_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_chosen_name(ESPIAL_CHOSEN_ROUTE), "route") == 0 && strcmp(espial_chosen_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_ike_port_name(ESPIAL_IKE_TCP), "TCP") == 0 && strcmp(espial_ike_port_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_health_name(ESPIAL_HEALTH_STARVED), "starved") == 0 && strcmp(espial_health_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_record_name(ESPIAL_RECORD_END), "end") == 0 && strcmp(espial_record_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_initiator_name(ESPIAL_INITIATOR_EITHER), "either") == 0 && strcmp(espial_initiator_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_nat_t_name(ESPIAL_NAT_T_POSSIBLE), "possible") == 0 && strcmp(espial_nat_t_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_way_name(ESPIAL_WAY_IN), "IN") == 0 && strcmp(espial_way_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_needed_service_name(ESPIAL_NEEDED_AH), "_AH") == 0 && strcmp(espial_needed_service_name(999), "unknown") == 0);
    CLAIM(strcmp(espial_outcome_name(ESPIAL_OUTCOME_RETURN_DROPPED), "return_dropped") == 0 && strcmp(espial_outcome_name(999), "unknown") == 0);
}

int main(void) {
    espial_passthrough_config of = config(1, ESPIAL_SERVER_FASTL4), wrong = of;
    espial_passthrough_rules *made, *rules = NULL;
    espial_passthrough *firewall = NULL;
    espial_passthrough_packet esp = packet(ESPIAL_PASSTHROUGH_ESP, 1, 2, 300);
    espial_passthrough_answer answer;
    const uint64_t *at;
    size_t size = 77, count, again;

    memset(&marked, 0x55, sizeof marked);
    truth_table();
    alg();
    workers();
    lists();
    needed();
    names();

    made = compiled(3);
    GIVES(ESPIAL_OK, espial_passthrough_rules_words(made, &at, &count));
    CLAIM(count < sizeof words / 8 && espial_passthrough_rules_size() <= sizeof rules_memory);
    CLAIM(espial_passthrough_rules_align() == 64 && espial_passthrough_align() == 64);
    memcpy(words, at, count * 8);
    GIVES(ESPIAL_EHANDLE, espial_passthrough_rules_release(made));
    GIVES(ESPIAL_OK, espial_passthrough_rules_free(made));
    GIVES(ESPIAL_OK, espial_passthrough_rules_free(NULL));
    NULLS(espial_passthrough_rules_init(NULL, sizeof rules_memory, words, count, &rules));
    NULLS(espial_passthrough_rules_init(rules_memory, sizeof rules_memory, NULL, count, &rules));
    NULLS(espial_passthrough_rules_init(rules_memory, sizeof rules_memory, words, count, NULL));
    GIVES(ESPIAL_EALIGN, espial_passthrough_rules_init(rules_memory + 8, 1024, words, count, &rules));
    GIVES(ESPIAL_EROOM,
          espial_passthrough_rules_init(rules_memory, espial_passthrough_rules_size() - 1, words, count, &rules));
    for (size_t i = 0; i < count; i++) {
        GIVES(ESPIAL_EWORDS, espial_passthrough_rules_init(rules_memory, sizeof rules_memory, words, i, &rules));
    }
    CLAIM(rules == NULL);
    GIVES(ESPIAL_OK, espial_passthrough_rules_init(rules_memory, sizeof rules_memory, words, sizeof words / 8, &rules));
    GIVES(ESPIAL_OK, espial_passthrough_rules_words(rules, &at, &again));
    CLAIM(at == words && again == count);
    NULLS(espial_passthrough_rules_words(rules, NULL, &again));
    NULLS(espial_passthrough_rules_words(rules, &at, NULL));
    GIVES(ESPIAL_EHANDLE, espial_passthrough_rules_free(rules));

    NULLS(espial_passthrough_size(NULL, &size));
    NULLS(espial_passthrough_size(&of, NULL));
    wrong = of, wrong.size = 8, CLAIM(espial_passthrough_size(&wrong, &size) == ESPIAL_ESIZE);
    wrong = of, wrong.flows = 0, CLAIM(espial_passthrough_size(&wrong, &size) == ESPIAL_ERANGE);
    wrong = of, wrong.flows = UINT32_MAX, CLAIM(espial_passthrough_size(&wrong, &size) == ESPIAL_ERANGE);
    wrong = of, wrong.lookupspi = 2, CLAIM(espial_passthrough_size(&wrong, &size) == ESPIAL_EVALUE);
    wrong = of, wrong.server = 3, CLAIM(espial_passthrough_new(&wrong, 1, 2, &firewall) == ESPIAL_EVALUE);
    wrong = of, wrong.reserved = 1, CLAIM(espial_passthrough_size(&wrong, &size) == ESPIAL_EVALUE);
    CLAIM(size == 77);
    GIVES(ESPIAL_OK, espial_passthrough_size(&of, &size));
    CLAIM(size <= sizeof memory && size % 64 == 0);
    NULLS(espial_passthrough_init(NULL, size, &of, 17, 4, &firewall));
    NULLS(espial_passthrough_init(memory, size, NULL, 17, 4, &firewall));
    NULLS(espial_passthrough_init(memory, size, &of, 17, 4, NULL));
    GIVES(ESPIAL_EALIGN, espial_passthrough_init(memory + 8, size, &of, 17, 4, &firewall));
    GIVES(ESPIAL_EROOM, espial_passthrough_init(memory, size - 1, &of, 17, 4, &firewall));
    GIVES(ESPIAL_EVALUE, espial_passthrough_init(memory, size, &wrong, 17, 4, &firewall));
    CLAIM(firewall == NULL);
    memset(memory, 0xaa, sizeof memory);
    GIVES(ESPIAL_OK, espial_passthrough_init(memory, size, &of, 17, 4, &firewall));
    for (size_t i = size; i < sizeof memory; i++) {
        CLAIM(memory[i] == 0xaa);
    }
    bursts(firewall, rules);
    misuse(firewall);
    /* Either of the two may be the wrong one. */
    GIVES(ESPIAL_EHANDLE, espial_passthrough_check(firewall, (espial_passthrough_rules *)(void *)firewall, &esp, 0, &answer));
    GIVES(ESPIAL_EHANDLE, espial_passthrough_check((espial_passthrough *)(void *)rules, rules, &esp, 0, &answer));
    GIVES(ESPIAL_EHANDLE, espial_passthrough_free(firewall));
    GIVES(ESPIAL_OK, espial_passthrough_release(firewall));
    GIVES(ESPIAL_OK, espial_passthrough_rules_release(rules));
    dead(firewall, rules, ESPIAL_EHANDLE);
    dead((espial_passthrough *)(void *)zero, (espial_passthrough_rules *)(void *)zero, ESPIAL_EHANDLE);
    dead(ODD(espial_passthrough, memory), ODD(espial_passthrough_rules, rules_memory), ESPIAL_EALIGN);
    dead(NULL, NULL, ESPIAL_ENULL);

    /* Any one octet changed: refused, or rules all the same. */
    for (size_t i = 0; i < count * 8; i++) {
        ((uint8_t *)words)[i] ^= 0x55;
        int status = espial_passthrough_rules_init(rules_memory, sizeof rules_memory, words, count, &rules);
        CLAIM(status == ESPIAL_OK || status == ESPIAL_EWORDS);
        if (status == ESPIAL_OK) {
            GIVES(ESPIAL_OK, espial_passthrough_init(memory, size, &of, 17, 4, &firewall));
            GIVES(ESPIAL_OK, espial_passthrough_check(firewall, rules, &esp, 0, &answer));
            GIVES(ESPIAL_OK, espial_passthrough_release(firewall));
            GIVES(ESPIAL_OK, espial_passthrough_rules_release(rules));
        }
        ((uint8_t *)words)[i] ^= 0x55;
    }
    return all_hold();
}
