/*
 * A standby takes over: SAs with their windows, lifetimes and counts, sessions, pins and flows of one node go as octets
 * to another of other sizes, seeds, order and clock, which from then on judges every packet as the first one does.
 * Then a status for octets that are damaged, for a wrong order, for too little room, and for every wrong argument.
 *
 * With STATIC_ONLY it is linked with the static library, where rules of a firewall are not compiled: no flows.
 */
#include "claims.h"

enum { RECORD = ESPIAL_RECORD_OCTETS, PORT = 4500, SYN = 2, ACK = 16 };
enum { KEY0 = 0x5ec2, KEY1 = 0xe7, ID = 77 };
static const uint64_t NAMES[2] = {100, 200}; /* of the Child SAs, on both nodes */
static const uint64_t HERE_MS = 5000000, ELAPSED_MS = 700, THERE_MS = 40;

typedef struct {
    espial_gateway *gateway;
    espial_worker *worker;
    espial_child children[2];  /* by name: 100, 200 */
    uint64_t names[8];         /* by index */
    size_t children_count;
    espial_sessions *sessions;
    espial_reply_path *pins;
#ifndef STATIC_ONLY
    espial_passthrough *firewall;
    espial_passthrough_rules *rules;
#endif
} node;

static void *memory(size_t size) {
    void *at = aligned_alloc(64, (size + 63) / 64 * 64);
    CLAIM(at != NULL);
    return at;
}

static espial_ts addresses(uint8_t second, uint8_t third) {
    espial_ts made = {.family = ESPIAL_FAMILY_V4, .port_hi = 65535, .addr_lo = {10, second, third, 0},
                      .addr_hi = {10, second, third, 255}};
    return made;
}

#define HOST(n) {n, n, n, n}
#ifndef STATIC_ONLY
#define RULE(number, of, from, to, port)                                                                              \
    {.id = number, .context = ESPIAL_CONTEXT_GLOBAL, .action = ESPIAL_RULE_ACCEPT_DECISIVELY,                         \
     .family = ESPIAL_FAMILY_V4, .protocol = of, .src_port_hi = 65535, .dst_port_lo = port,                           \
     .dst_port_hi = port == 0 ? 65535 : port, .src_lo = HOST(from), .src_hi = HOST(from), .dst_lo = HOST(to),         \
     .dst_hi = HOST(to)}
static const espial_passthrough_rule RULES[] = {RULE(11, 17, 1, 2, 500), RULE(12, 50, 1, 2, 0)};
#endif

/* A node; the second one has other sizes and seeds, a tunnel more, and its Child SAs in the other order. */
static node made(int second) {
    const espial_capacity capacity = {
        sizeof capacity, .tunnels = 2, .children = second ? 8 : 2, .selectors = 8, .sas = second ? 9 : 4, .workers = 1,
        .sas_allocated = second ? 0 : 2, .replay_window = second ? 128 : 64};
    const espial_session_limits limits = {sizeof limits, .capacity = second ? 20 : 6, .own = 1};
    const espial_reply_limits reply_limits = {sizeof reply_limits, .capacity = second ? 16 : 4, .addresses = 1};
    const espial_reply_config reply_config = {sizeof reply_config, .port = PORT, .mode = ESPIAL_TCP_REPLY_PINNED};
    const espial_addr address = {.family = ESPIAL_FAMILY_V4, .addr = {203, 0, 113, 2}};
    const uint64_t seed = second ? 17 : 4;
    node n;
    espial_tunnel tunnel;
    size_t size;

    memset(&n, 0, sizeof n);
    n.children_count = capacity.children;
    GIVES(ESPIAL_OK, espial_gateway_size(&capacity, &size));
    GIVES(ESPIAL_OK, espial_gateway_init(memory(size), size, &capacity, seed, 2, &n.gateway));
    if (second) {
        GIVES(ESPIAL_OK, espial_tunnel_add(n.gateway, ESPIAL_MODE_ANY_SOURCE, 0, &tunnel));
    }
    GIVES(ESPIAL_OK, espial_tunnel_add(n.gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel));
    for (int i = 0; i < 2; i++) {
        const int which = second ? 1 - i : i;
        const espial_ts local = addresses(1, 0), remote = addresses(2, (uint8_t)which);
        GIVES(ESPIAL_OK, espial_child_add(n.gateway, tunnel, &local, 1, &remote, 1, &n.children[which]));
        CLAIM(n.children[which].index < 8);
        n.names[n.children[which].index] = NAMES[which];
    }
    GIVES(ESPIAL_OK, espial_gateway_publish(n.gateway));
    size = espial_worker_size();
    GIVES(ESPIAL_OK, espial_worker_init(memory(size), size, n.gateway, 0, &n.worker));
    GIVES(ESPIAL_OK, espial_sessions_size(&limits, &size));
    GIVES(ESPIAL_OK, espial_sessions_init(memory(size), size, &limits, seed, 2, &n.sessions));
    GIVES(ESPIAL_OK, espial_reply_path_size(&reply_limits, &size));
    GIVES(ESPIAL_OK, espial_reply_path_init(memory(size), size, &reply_limits, &reply_config, &address, 1, NULL, 0, seed, 2,
                                            &n.pins));
#ifndef STATIC_ONLY
    {
        const espial_passthrough_config config = {sizeof config, .flows = second ? 30 : 14, .lookupspi = 1};
        GIVES(ESPIAL_OK, espial_passthrough_size(&config, &size));
        GIVES(ESPIAL_OK, espial_passthrough_init(memory(size), size, &config, seed, 2, &n.firewall));
        GIVES(ESPIAL_OK, espial_passthrough_rules_new(ESPIAL_RULE_DROP, RULES, 2, &n.rules));
    }
#endif
    return n;
}

static void given_back(node *n) {
    GIVES(ESPIAL_OK, espial_worker_release(n->worker));
    GIVES(ESPIAL_OK, espial_gateway_release(n->gateway));
    GIVES(ESPIAL_OK, espial_sessions_release(n->sessions));
    GIVES(ESPIAL_OK, espial_reply_path_release(n->pins));
#ifndef STATIC_ONLY
    GIVES(ESPIAL_OK, espial_passthrough_release(n->firewall));
    GIVES(ESPIAL_OK, espial_passthrough_rules_free(n->rules));
    free(n->firewall);
#endif
    free(n->worker), free(n->gateway), free(n->sessions), free(n->pins);
}

/* An ESP packet with this SPI and number, from host 10.2.net.5: what the check says. */
static espial_verdict judged(node *n, uint32_t spi, uint32_t sequence, uint8_t net, uint64_t now) {
    uint8_t esp[28] = {0x45, [3] = 28, [9] = 50, [12] = 198, 51, 100, 1, 203, 0, 113, 2};
    const uint8_t plain[20] = {0x45, [3] = 20, [9] = 253, [12] = 10, 2, net, 5, 10, 1, 0, 5};
    espial_arrival arrival;
    espial_verdict verdict;
    espial_opened opened;

    for (int i = 0; i < 4; i++) {
        esp[20 + i] = (uint8_t)(spi >> (24 - 8 * i));
        esp[24 + i] = (uint8_t)(sequence >> (24 - 8 * i));
    }
    memset(&verdict, 0, sizeof verdict);
    GIVES(ESPIAL_OK, espial_worker_arrive(n->worker, esp, sizeof esp, now, 0, &arrival));
    if (arrival.verdict != ESPIAL_VERDICT_OPEN) {
        verdict.reason = arrival.reason;
        return verdict;
    }
    memset(&opened, 0, sizeof opened);
    opened.outer = &arrival.outer, opened.payload = plain, opened.len = sizeof plain;
    opened.sa = arrival.sa, opened.next_header = 4;
    GIVES(ESPIAL_OK, espial_worker_check(n->worker, &opened, now, 0, &verdict));
    return verdict;
}

/* The same packet at both nodes, at the same moment: the same answer. */
static espial_verdict alike(node *here, node *there, uint32_t spi, uint32_t sequence, uint8_t net, uint64_t since) {
    const espial_verdict a = judged(here, spi, sequence, net, HERE_MS + ELAPSED_MS + since);
    const espial_verdict b = judged(there, spi, sequence, net, THERE_MS + since);
    CLAIM(a.verdict == b.verdict && a.reason == b.reason && a.field == b.field);
    CLAIM((a.belongs_to.generation == 0) == (b.belongs_to.generation == 0));
    return a;
}

static espial_local_packet ike(uint32_t from, uint8_t n, uint16_t port) {
    const uint8_t us[4] = {192, 0, 2, 1}, them[4] = {203, 0, 113, n};
    espial_local_packet of = {.headers = {.family = ESPIAL_FAMILY_V4, .protocol = 17, .next_layer = ESPIAL_NEXT_LAYER_PORTS,
                                          .sport = port, .dport = port},
                              .traffic = ESPIAL_TRAFFIC_IKE};
    memcpy(of.headers.src, from == ESPIAL_SIDE_LOCAL ? us : them, 4);
    memcpy(of.headers.dst, from == ESPIAL_SIDE_LOCAL ? them : us, 4);
    return of;
}

static espial_segment segment(int from_peer, uint8_t n, uint8_t flags, uint32_t seq, uint32_t ack) {
    const uint8_t us[4] = {203, 0, 113, 2}, them[4] = {198, 51, 100, n};
    espial_segment of = {.flow = {.family = ESPIAL_FAMILY_V4, .protocol = 6}, .seq = seq, .ack = ack, .flags = flags};
    memcpy(of.flow.src, from_peer ? them : us, 4);
    memcpy(of.flow.dst, from_peer ? us : them, 4);
    of.flow.sport = from_peer ? 40000 : PORT;
    of.flow.dport = from_peer ? PORT : 40000;
    return of;
}

/* What goes on at a node before it is lost. */
static void lives(node *n) {
    espial_sa_params params = {sizeof params, ESPIAL_SA_TUNNEL, .key = {0x1111, ESPIAL_IPSEC_ESP, ESPIAL_SCOPE_SPI}};
    espial_local_packet packet;
    espial_segment of;
    espial_reply reply;
    espial_session session;
    espial_session_end ended;
    espial_sa sa;
    uint32_t outcome, own;

    /* A window, a limit in packets and one in time, extended numbers, and an SPI of the gateway's own. */
    params.replay_window = 64;
    GIVES(ESPIAL_OK, espial_sa_add(n->gateway, n->children[0], &params, &sa));
    params.key.spi = 0x2222, params.hard_packets = 6, params.soft_ms = HERE_MS + 60000;
    GIVES(ESPIAL_OK, espial_sa_add(n->gateway, n->children[1], &params, &sa));
    params.key.spi = 0x3333, params.esn = 1, params.replay_value = 9, params.hard_packets = 0;
    params.hard_ms = HERE_MS + ELAPSED_MS + 1000;
    GIVES(ESPIAL_OK, espial_sa_add(n->gateway, n->children[1], &params, &sa));
    GIVES(ESPIAL_OK, espial_spi_reserve(n->gateway, ESPIAL_IPSEC_ESP, HERE_MS, &own));
    GIVES(ESPIAL_OK, espial_spi_reserve(n->gateway, ESPIAL_IPSEC_ESP, HERE_MS, &params.key.spi));
    params.esn = 0, params.replay_value = 0, params.hard_ms = 0;
    GIVES(ESPIAL_OK, espial_sa_add(n->gateway, n->children[0], &params, &sa));
    for (uint32_t sequence = 1; sequence <= 20; sequence += 1 + sequence % 3) {
        CLAIM(judged(n, 0x1111, sequence, 0, HERE_MS).verdict == ESPIAL_VERDICT_ACCEPT);
    }
    CLAIM(judged(n, 0x1111, 30, 1, HERE_MS).reason == ESPIAL_DROP_WRONG_SA);
    CLAIM(judged(n, 0x1111, 1, 0, HERE_MS).reason == ESPIAL_DROP_REPLAY);
    for (uint32_t sequence = 1; sequence <= 3; sequence++) {
        CLAIM(judged(n, 0x2222, sequence, 1, HERE_MS).verdict == ESPIAL_VERDICT_ACCEPT);
    }
    CLAIM(judged(n, 0x3333, 40, 1, HERE_MS).verdict == ESPIAL_VERDICT_ACCEPT);
    CLAIM(judged(n, own, 1, 1, HERE_MS).reason == ESPIAL_DROP_UNKNOWN_SPI);

    packet = ike(ESPIAL_SIDE_LOCAL, 7, 500);
    GIVES(ESPIAL_OK, espial_sessions_open(n->sessions, &packet, ESPIAL_SIDE_LOCAL, HERE_MS - 9000, &outcome, &session, &ended));
    packet = ike(ESPIAL_SIDE_REMOTE, 8, 4500);
    GIVES(ESPIAL_OK, espial_sessions_open(n->sessions, &packet, ESPIAL_SIDE_REMOTE, HERE_MS - 10, &outcome, &session, &ended));

    of = segment(1, 1, SYN, 999, 0);
    GIVES(ESPIAL_OK, espial_reply_path_received(n->pins, &of, 5, 6, HERE_MS, &reply));
    of = segment(0, 1, SYN | ACK, 5000, 1000);
    GIVES(ESPIAL_OK, espial_reply_path_sent(n->pins, &of, 6, HERE_MS, &reply));
    of = segment(1, 1, ACK, 1000, 5001);
    GIVES(ESPIAL_OK, espial_reply_path_received(n->pins, &of, 5, 6, HERE_MS, &reply));
    of = segment(1, 2, SYN, 77, 0); /* half open */
    GIVES(ESPIAL_OK, espial_reply_path_received(n->pins, &of, 5, 6, HERE_MS, &reply));
#ifndef STATIC_ONLY
    {
        espial_passthrough_packet passing = {.family = ESPIAL_FAMILY_V4, .kind = ESPIAL_PASSTHROUGH_UDP, .sport = 500,
                                             .dport = 500, .src = HOST(1), .dst = HOST(2)};
        espial_passthrough_answer answer;
        GIVES(ESPIAL_OK, espial_passthrough_check(n->firewall, n->rules, &passing, HERE_MS, &answer));
        CLAIM(answer.verdict == ESPIAL_PASS_ACCEPT);
        passing.kind = ESPIAL_PASSTHROUGH_ESP, passing.spi = 0x0aca846d;
        GIVES(ESPIAL_OK, espial_passthrough_check(n->firewall, n->rules, &passing, HERE_MS, &answer));
        CLAIM(answer.verdict == ESPIAL_PASS_ACCEPT);
    }
#endif
}

static uint8_t stream[64 * RECORD + 1];
static size_t stream_octets;

/* A piece goes into the channel. */
static void sent(const uint8_t *piece, size_t octets) {
    CLAIM(octets % RECORD == 0 && stream_octets + octets <= sizeof stream - 1);
    memcpy(stream + 1 + stream_octets, piece, octets);
    stream_octets += octets;
}

/* Goes through one table of a node in pieces, and says how many records that were. */
#define WRITE(call)                                                                                                   \
    do {                                                                                                              \
        espial_snapshot_pass pass = {0, 0, 0};                                                                        \
        while (!(pass.flags & ESPIAL_SNAPSHOT_DONE)) {                                                                \
            memset(piece, 0xaa, sizeof piece);                                                                        \
            GIVES(ESPIAL_OK, call);                                                                                   \
            for (size_t octet = written; octet < sizeof piece; octet++) {                                             \
                CLAIM(piece[octet] == 0xaa);                                                                          \
            }                                                                                                         \
            sent(piece, written);                                                                                     \
        }                                                                                                             \
        CLAIM(!(pass.flags & ESPIAL_SNAPSHOT_MISSED));                                                                \
    } while (0)

static void written_as(node *n, uint32_t slots, uint64_t id) {
    espial_snapshot_writer writer;
    uint8_t piece[2 * RECORD + 9];
    size_t written;

    stream_octets = 0;
    GIVES(ESPIAL_OK, espial_snapshot_writer_init(&writer, KEY0, KEY1, id));
    WRITE(espial_snapshot_write_sas(&writer, n->gateway, n->names, n->children_count, &pass, slots, HERE_MS, piece,
                                    sizeof piece, &written));
    WRITE(espial_snapshot_write_sessions(&writer, n->sessions, &pass, slots, HERE_MS, piece, sizeof piece, &written));
    WRITE(espial_snapshot_write_pins(&writer, n->pins, &pass, slots, HERE_MS, piece, sizeof piece, &written));
#ifndef STATIC_ONLY
    WRITE(espial_snapshot_write_flows(&writer, n->firewall, &pass, slots, HERE_MS, piece, sizeof piece, &written));
#endif
    GIVES(ESPIAL_OK, espial_snapshot_write_end(&writer, piece, sizeof piece, &written));
    sent(piece, written);
}

/* Restores the record that was read last to the table that it names. */
static int32_t restored(node *n, espial_snapshot_reader *reader, const espial_record *record) {
    espial_session session;
    espial_session_end ended;
    espial_sa sa;
    uint32_t outcome;
    int32_t status;

    switch (record->kind) {
    case ESPIAL_RECORD_SA:
        CLAIM(record->key.spi != 0 && record->key.ipsec == ESPIAL_IPSEC_ESP && record->flow.family == 0);
        CLAIM(record->child == 100 || record->child == 200);
        return espial_snapshot_restore_sa(reader, n->gateway, n->children[record->child == 200], 0, THERE_MS, &sa);
    case ESPIAL_RECORD_SESSION:
        CLAIM(record->flow.protocol == 17 && record->flow.src[0] == 192 && record->key.spi == 0);
        CLAIM(record->origin == (record->flow.sport == 500 ? ESPIAL_SIDE_LOCAL : ESPIAL_SIDE_REMOTE));
        CLAIM(record->idle_ms == (record->flow.sport == 500 ? 9000u : 10u) + ELAPSED_MS);
        status = espial_snapshot_restore_session(reader, n->sessions, THERE_MS, &outcome, &session, &ended);
        CLAIM(status != ESPIAL_OK || (outcome != ESPIAL_SESSION_NONE && session.serial != 0 && ended.serial == 0));
        return status;
    case ESPIAL_RECORD_PIN:
        CLAIM(record->interface == 5 && record->flow.sport == PORT && record->idle_ms == ELAPSED_MS);
        return espial_snapshot_restore_pin(reader, n->pins, record->interface + 100, THERE_MS);
#ifndef STATIC_ONLY
    case ESPIAL_RECORD_FLOW:
        CLAIM(record->by == ESPIAL_PASS_BY_RULE && record->age_ms == ELAPSED_MS && record->packet.src[0] == 1);
        CLAIM(record->rule == (record->packet.kind == ESPIAL_PASSTHROUGH_UDP ? 11u : 12u));
        CLAIM(record->packet.spi == (record->packet.kind == ESPIAL_PASSTHROUGH_UDP ? 0u : 0x0aca846du));
        return espial_snapshot_restore_flow(reader, n->firewall, n->rules, THERE_MS);
#endif
    default:
        CLAIM(record->kind == ESPIAL_RECORD_END);
        return ESPIAL_OK;
    }
}

/* All of the stream, from an odd address, cut into pieces that end within records. */
static void taken_over(node *n) {
    espial_snapshot_reader reader;
    espial_record record;
    const uint8_t *at = stream + 1;
    size_t held = 0, records[256] = {0};
    uint32_t missed;
    uint8_t complete;

    GIVES(ESPIAL_OK, espial_snapshot_reader_init(&reader, KEY0, KEY1, ID, ELAPSED_MS));
    for (size_t come = 0; come < stream_octets;) {
        const size_t more = stream_octets - come < 100 ? stream_octets - come : 100;
        int32_t status;
        come += more;
        held += more;
        for (;;) {
            memset(&record, 0x55, sizeof record);
            record.size = sizeof record;
            status = espial_snapshot_read(&reader, &at, &held, &record);
            if (status == ESPIAL_MORE) {
                break;
            }
            CLAIM(status == ESPIAL_OK && record.size == sizeof record && record.reserved == 0);
            records[record.kind]++;
            GIVES(ESPIAL_OK, restored(n, &reader, &record));
        }
        CLAIM(held < RECORD);
    }
    CLAIM(held == 0 && at == stream + 1 + stream_octets);
    GIVES(ESPIAL_OK, espial_snapshot_missed(&reader, &missed, &complete));
    CLAIM(missed == 0 && complete == 1);
    CLAIM(records[ESPIAL_RECORD_SA] == 4 && records[ESPIAL_RECORD_SESSION] == 2 && records[ESPIAL_RECORD_PIN] == 2);
    CLAIM(records[ESPIAL_RECORD_END] == 1);
#ifndef STATIC_ONLY
    CLAIM(records[ESPIAL_RECORD_FLOW] == 2);
#endif
}

/* The standby's answers are the first node's, for numbers above those that were seen; and below, where it drops all. */
static void same_answers(node *here, node *there) {
    espial_counts a = {.size = sizeof a}, b = {.size = sizeof b};
    espial_sa_state seen = {.size = sizeof seen}, also = {.size = sizeof also};
    espial_sa sa, theirs;

    GIVES(ESPIAL_OK, espial_worker_find_spi(here->worker, ESPIAL_IPSEC_ESP, 0x1111, &sa));
    GIVES(ESPIAL_OK, espial_worker_find_spi(there->worker, ESPIAL_IPSEC_ESP, 0x1111, &theirs));
    GIVES(ESPIAL_OK, espial_sa_counts(here->gateway, sa, &a));
    GIVES(ESPIAL_OK, espial_sa_counts(there->gateway, theirs, &b));
    CLAIM(a.packets == b.packets && a.octets == b.octets && a.packets > 5);
    GIVES(ESPIAL_OK, espial_sa_state_of(here->gateway, sa, &seen));
    GIVES(ESPIAL_OK, espial_sa_state_of(there->gateway, theirs, &also));
    CLAIM(seen.top == 30 && also.top == 30);
    /* What was seen is a replay at both; what fell through the window's holes is one at the standby only. */
    alike(here, there, 0x1111, 30, 0, 0);
    CLAIM(alike(here, there, 0x1111, 1, 0, 0).reason == ESPIAL_DROP_REPLAY);
    CLAIM(judged(there, 0x1111, 29, 0, THERE_MS).reason == ESPIAL_DROP_REPLAY);
    for (uint32_t sequence = 31; sequence < 200; sequence += 1 + sequence % 7) {
        const espial_verdict verdict = alike(here, there, 0x1111, sequence, sequence % 5 == 0, sequence);
        CLAIM((verdict.verdict == ESPIAL_VERDICT_ACCEPT) == (sequence % 5 != 0));
    }
    alike(here, there, 0x1111, 32, 0, 300);
    /* Three of six packets were used, and the time goes on where it was: 1000 ms are left. */
    for (uint32_t sequence = 4; sequence < 9; sequence++) {
        const espial_verdict verdict = alike(here, there, 0x2222, sequence, 1, 500);
        CLAIM(verdict.reason == (sequence < 7 ? ESPIAL_DROP_NONE : ESPIAL_DROP_SA_EXPIRED));
    }
    CLAIM(alike(here, there, 0x3333, 41, 1, 999).verdict == ESPIAL_VERDICT_ACCEPT);
    CLAIM(alike(here, there, 0x3333, 42, 1, 1000).reason == ESPIAL_DROP_SA_EXPIRED);
    CLAIM(alike(here, there, 0x4444, 1, 1, 1000).reason == ESPIAL_DROP_UNKNOWN_SPI);

    for (uint8_t n = 6; n < 10; n++) {
        for (uint16_t port = 500; port <= 4500; port = (uint16_t)(port + 4000)) {
            const espial_local_packet of = ike(ESPIAL_SIDE_REMOTE, n, port);
            espial_session one, other;
            GIVES(ESPIAL_OK, espial_sessions_peek(here->sessions, &of, ESPIAL_SIDE_REMOTE, HERE_MS + ELAPSED_MS, &one));
            GIVES(ESPIAL_OK, espial_sessions_peek(there->sessions, &of, ESPIAL_SIDE_REMOTE, THERE_MS, &other));
            CLAIM((one.serial == 0) == (other.serial == 0) && one.left_ms == other.left_ms);
            CLAIM(one.origin == other.origin && one.duration_ms == other.duration_ms);
            CLAIM((one.serial != 0) == ((n == 7 && port == 500) || (n == 8 && port == 4500)));
        }
    }
    for (uint8_t n = 1; n < 4; n++) {
        for (uint32_t number = 999; number < 1002; number++) {
            const espial_segment of = segment(1, n, ACK, number, 5001);
            espial_reply one, other;
            GIVES(ESPIAL_OK, espial_reply_path_received(here->pins, &of, 9, 6, HERE_MS + ELAPSED_MS, &one));
            GIVES(ESPIAL_OK, espial_reply_path_received(there->pins, &of, 9, 6, THERE_MS, &other));
            CLAIM(one.answer == other.answer && one.chosen == other.chosen && one.ack == other.ack);
            CLAIM(one.interface == 0 || one.interface + 100 == other.interface);
        }
    }
#ifndef STATIC_ONLY
    for (uint32_t i = 0; i < 12; i++) {
        const uint8_t from = 1 + (i & 1), to = 2 - (i & 1);
        espial_passthrough_packet of = {.family = ESPIAL_FAMILY_V4, .kind = (uint8_t)(1 + i / 4), .src = HOST(from),
                                        .dst = HOST(to)};
        espial_passthrough_answer one, other;
        if (of.kind == ESPIAL_PASSTHROUGH_UDP) {
            of.sport = of.dport = i & 2 ? 4500 : 500;
        } else {
            of.spi = i & 2 ? 0x0aca846d : 77;
        }
        GIVES(ESPIAL_OK, espial_passthrough_check(here->firewall, here->rules, &of, HERE_MS + ELAPSED_MS, &one));
        GIVES(ESPIAL_OK, espial_passthrough_check(there->firewall, there->rules, &of, THERE_MS, &other));
        CLAIM(memcmp(&one, &other, sizeof one) == 0);
    }
#endif
}

/* What is not restored says why, and the tables are as they were. */
static void refusals(node *here, node *there) {
    espial_snapshot_reader reader;
    espial_snapshot_writer writer;
    espial_record record = {.size = sizeof record};
    espial_session session;
    espial_session_end ended;
    espial_session_limits limits = {sizeof limits, .capacity = 1, .own = 1};
    espial_sessions *small;
    espial_counts counts = {.size = sizeof counts};
    espial_sa sa = {9, 9};
    const espial_child stale = {0, 99};
    const uint8_t *at;
    uint8_t copy[RECORD], complete;
    size_t len, size;
    uint32_t outcome = 77, missed, i;

    /* Each SA again: it is there. Nothing but a record of its kind is restored. */
    GIVES(ESPIAL_OK, espial_snapshot_reader_init(&reader, KEY0, KEY1, ID, 0));
    GIVES(ESPIAL_EORDER, espial_snapshot_restore_sa(&reader, there->gateway, there->children[0], 0, 0, &sa));
    at = stream + 1, len = stream_octets;
    GIVES(ESPIAL_OK, espial_snapshot_read(&reader, &at, &len, &record));
    CLAIM(record.kind == ESPIAL_RECORD_SA);
    GIVES(ESPIAL_EDUPLICATE, espial_snapshot_restore_sa(&reader, there->gateway, there->children[0], 0, 0, &sa));
    GIVES(ESPIAL_EORDER, espial_snapshot_restore_session(&reader, there->sessions, 0, &outcome, &session, &ended));
    GIVES(ESPIAL_EORDER, espial_snapshot_restore_pin(&reader, there->pins, 0, 0));
    GIVES(ESPIAL_EHANDLE, espial_snapshot_restore_sa(&reader, (espial_gateway *)(void *)there->worker, stale, 0, 0, &sa));
    while (record.kind != ESPIAL_RECORD_SESSION) {
        GIVES(ESPIAL_OK, espial_snapshot_read(&reader, &at, &len, &record));
    }
    GIVES(ESPIAL_EORDER, espial_snapshot_restore_sa(&reader, there->gateway, there->children[0], 0, 0, &sa));
    GIVES(ESPIAL_OK, espial_snapshot_restore_session(&reader, there->sessions, THERE_MS, &outcome, &session, &ended));
    CLAIM(outcome == ESPIAL_SESSION_EXISTING && ended.serial == 0);
    /* A table of one session, and that is for those of its own side. */
    GIVES(ESPIAL_OK, espial_sessions_size(&limits, &size));
    {
        void *room = memory(size);
        GIVES(ESPIAL_OK, espial_sessions_init(room, size, &limits, 1, 2, &small));
        for (;;) {
            const int32_t status = espial_snapshot_restore_session(&reader, small, 0, &outcome, &session, &ended);
            CLAIM(status == (record.origin == ESPIAL_SIDE_LOCAL ? ESPIAL_OK : ESPIAL_EFULL));
            GIVES(ESPIAL_OK, espial_snapshot_read(&reader, &at, &len, &record));
            if (record.kind != ESPIAL_RECORD_SESSION) {
                break;
            }
        }
        GIVES(ESPIAL_OK, espial_sessions_release(small));
        free(room);
    }
    /* Written so long ago that it has ended. */
    GIVES(ESPIAL_OK, espial_snapshot_reader_init(&reader, KEY0, KEY1, ID, UINT64_MAX));
    at = stream + 1, len = stream_octets;
    for (i = 0; i < stream_octets / RECORD; i++) {
        GIVES(ESPIAL_OK, espial_snapshot_read(&reader, &at, &len, &record));
        if (record.kind == ESPIAL_RECORD_SESSION) {
            CLAIM(record.idle_ms == UINT64_MAX);
            GIVES(ESPIAL_EENDED, espial_snapshot_restore_session(&reader, here->sessions, 0, &outcome, &session, &ended));
        } else if (record.kind == ESPIAL_RECORD_PIN) {
            GIVES(ESPIAL_EENDED, espial_snapshot_restore_pin(&reader, here->pins, 0, 0));
        }
#ifndef STATIC_ONLY
        else if (record.kind == ESPIAL_RECORD_FLOW) {
            espial_passthrough_rules *none;
            GIVES(ESPIAL_EENDED, espial_snapshot_restore_flow(&reader, here->firewall, here->rules, 0));
            GIVES(ESPIAL_OK, espial_passthrough_rules_new(ESPIAL_RULE_DROP, NULL, 0, &none));
            GIVES(ESPIAL_EADMITTED, espial_snapshot_restore_flow(&reader, here->firewall, none, 0));
            GIVES(ESPIAL_OK, espial_passthrough_rules_free(none));
            GIVES(ESPIAL_EORDER, espial_snapshot_restore_pin(&reader, here->pins, 0, 0));
        }
#endif
    }
    /* A window that is wider than this node's, a Child SA that is none, and no room. */
    {
        const espial_capacity tiny = {sizeof tiny, .tunnels = 1, .children = 1, .selectors = 1, .sas = 1, .workers = 1};
        const espial_ts any = addresses(1, 0);
        espial_gateway *gateway;
        espial_tunnel tunnel;
        espial_child child;
        void *room;
        GIVES(ESPIAL_OK, espial_gateway_size(&tiny, &size));
        room = memory(size);
        GIVES(ESPIAL_OK, espial_gateway_init(room, size, &tiny, 1, 2, &gateway));
        GIVES(ESPIAL_OK, espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel));
        GIVES(ESPIAL_OK, espial_child_add(gateway, tunnel, &any, 1, &any, 1, &child));
        GIVES(ESPIAL_OK, espial_snapshot_reader_init(&reader, KEY0, KEY1, ID, 0));
        at = stream + 1, len = stream_octets;
        GIVES(ESPIAL_OK, espial_snapshot_read(&reader, &at, &len, &record));
        GIVES(ESPIAL_EUNPUBLISHED, espial_snapshot_restore_sa(&reader, gateway, child, 0, 0, &sa));
        GIVES(ESPIAL_OK, espial_gateway_publish(gateway));
        GIVES(ESPIAL_EWINDOW, espial_snapshot_restore_sa(&reader, gateway, child, 0, 0, &sa));
        GIVES(ESPIAL_ESTALE, espial_snapshot_restore_sa(&reader, gateway, stale, 0, 0, &sa));
        GIVES(ESPIAL_OK, espial_gateway_release(gateway));
        free(room);
    }
    CLAIM(sa.slot == 9 && sa.spi == 9);
    GIVES(ESPIAL_OK, espial_gateway_counts(there->gateway, &counts));

    /* Damage of any octet, another key, another snapshot, twice, too late, behind the end. */
    for (i = 0; i < RECORD; i++) {
        memcpy(copy, stream + 1, RECORD);
        copy[i] ^= (uint8_t)(1u << i % 8);
        GIVES(ESPIAL_OK, espial_snapshot_reader_init(&reader, KEY0, KEY1, ID, 0));
        at = copy, len = RECORD;
        memset(&record, 0x55, sizeof record), record.size = sizeof record;
        GIVES(ESPIAL_EDAMAGED, espial_snapshot_read(&reader, &at, &len, &record));
        CLAIM(at == copy + RECORD && len == 0 && record.kind == 0x55);
        GIVES(ESPIAL_EORDER, espial_snapshot_restore_sa(&reader, there->gateway, there->children[0], 0, 0, &sa));
    }
    GIVES(ESPIAL_OK, espial_snapshot_reader_init(&reader, KEY0 + 1, KEY1, ID, 0));
    at = stream + 1, len = stream_octets;
    GIVES(ESPIAL_EDAMAGED, espial_snapshot_read(&reader, &at, &len, &record));
    GIVES(ESPIAL_OK, espial_snapshot_reader_init(&reader, KEY0, KEY1, ID + 1, 0));
    at = stream + 1, len = stream_octets;
    GIVES(ESPIAL_ESNAPSHOT, espial_snapshot_read(&reader, &at, &len, &record));
    GIVES(ESPIAL_OK, espial_snapshot_reader_init(&reader, KEY0, KEY1, ID, 0));
    at = stream + 1 + RECORD, len = RECORD;
    GIVES(ESPIAL_OK, espial_snapshot_read(&reader, &at, &len, &record));
    at = stream + 1, len = 2 * RECORD;
    GIVES(ESPIAL_EORDER, espial_snapshot_read(&reader, &at, &len, &record));
    GIVES(ESPIAL_EORDER, espial_snapshot_read(&reader, &at, &len, &record));
    GIVES(ESPIAL_MORE, espial_snapshot_read(&reader, &at, &len, &record));
    at = stream + 1 + stream_octets - RECORD, len = RECORD;
    GIVES(ESPIAL_OK, espial_snapshot_read(&reader, &at, &len, &record));
    CLAIM(record.kind == ESPIAL_RECORD_END);
    GIVES(ESPIAL_EORDER, espial_snapshot_restore_sa(&reader, there->gateway, there->children[0], 0, 0, &sa));
    GIVES(ESPIAL_OK, espial_snapshot_missed(&reader, &missed, &complete));
    CLAIM(missed == stream_octets / RECORD - 2 && complete == 0);

    /* One SA by itself, with the index for a name; then it is gone. */
    GIVES(ESPIAL_OK, espial_worker_find_spi(here->worker, ESPIAL_IPSEC_ESP, 0x1111, &sa));
    GIVES(ESPIAL_OK, espial_snapshot_writer_init(&writer, KEY0, KEY1, ID));
    GIVES(ESPIAL_OK, espial_snapshot_write_sa(&writer, here->gateway, sa, NULL, 0, HERE_MS, copy, RECORD, &size));
    CLAIM(size == RECORD);
    GIVES(ESPIAL_OK, espial_snapshot_reader_init(&reader, KEY0, KEY1, ID, 0));
    at = copy, len = RECORD;
    GIVES(ESPIAL_OK, espial_snapshot_read(&reader, &at, &len, &record));
    CLAIM(record.key.spi == 0x1111 && record.child == here->children[0].index);
    GIVES(ESPIAL_OK, espial_sa_delete(here->gateway, sa, HERE_MS));
    GIVES(ESPIAL_ESTALE, espial_snapshot_write_sa(&writer, here->gateway, sa, NULL, 0, HERE_MS, copy, RECORD, &size));
    /* It comes back with a margin: so many numbers are given up. */
    GIVES(ESPIAL_OK, espial_worker_quiescent(here->worker));
    GIVES(ESPIAL_OK, espial_snapshot_restore_sa(&reader, here->gateway, here->children[0], 50, HERE_MS, &sa));
    CLAIM(judged(here, 0x1111, 248, 0, HERE_MS).reason == ESPIAL_DROP_REPLAY);
    CLAIM(judged(here, 0x1111, 251, 0, HERE_MS).verdict == ESPIAL_VERDICT_ACCEPT);
}

static void misuse(node *n) {
    static uint64_t zero[32];
    espial_snapshot_writer writer, *no_writer = (espial_snapshot_writer *)(void *)zero;
    espial_snapshot_reader reader, *no_reader = (espial_snapshot_reader *)(void *)zero;
    espial_snapshot_pass pass = {0, 0, 0};
    espial_record record = {.size = sizeof record, .kind = 77};
    espial_session session;
    espial_session_end ended;
    espial_sa sa = {9, 9};
    uint8_t octets[2 * RECORD];
    const uint8_t *at = stream + 1;
    size_t written = 77, len = stream_octets;
    uint32_t outcome = 77, missed = 77;
    uint8_t complete = 77;

    NULLS(espial_snapshot_writer_init(NULL, 1, 2, 3));
    NULLS(espial_snapshot_reader_init(NULL, 1, 2, 3, 0));
    GIVES(ESPIAL_EALIGN, espial_snapshot_writer_init(ODD(espial_snapshot_writer, &writer), 1, 2, 3));
    GIVES(ESPIAL_EALIGN, espial_snapshot_reader_init(ODD(espial_snapshot_reader, &reader), 1, 2, 3, 0));
    GIVES(ESPIAL_OK, espial_snapshot_writer_init(&writer, KEY0, KEY1, ID));
    GIVES(ESPIAL_OK, espial_snapshot_reader_init(&reader, KEY0, KEY1, ID, 0));

#define TABLE(call, table)                                                                                            \
    NULLS(call(NULL, table, &pass, 8, 0, octets, sizeof octets, &written));                                           \
    NULLS(call(&writer, NULL, &pass, 8, 0, octets, sizeof octets, &written));                                         \
    NULLS(call(&writer, table, NULL, 8, 0, octets, sizeof octets, &written));                                         \
    NULLS(call(&writer, table, &pass, 8, 0, NULL, sizeof octets, &written));                                          \
    NULLS(call(&writer, table, &pass, 8, 0, octets, sizeof octets, NULL));                                            \
    GIVES(ESPIAL_EHANDLE, call(no_writer, table, &pass, 8, 0, octets, sizeof octets, &written));                      \
    GIVES(ESPIAL_EHANDLE, call(&writer, (void *)n->gateway, &pass, 8, 0, octets, sizeof octets, &written));           \
    GIVES(ESPIAL_EALIGN, call(&writer, table, ODD(espial_snapshot_pass, &pass), 8, 0, octets, sizeof octets, &written)); \
    GIVES(ESPIAL_EROOM, call(&writer, table, &pass, 8, 0, octets, RECORD - 1, &written));                             \
    GIVES(ESPIAL_EROOM, call(&writer, table, &pass, 8, 0, NULL, 0, &written));                                        \
    GIVES(ESPIAL_ERANGE, call(&writer, table, &pass, 8, 0, octets, SIZE_MAX, &written));                              \
    pass.flags = 8;                                                                                                   \
    GIVES(ESPIAL_EVALUE, call(&writer, table, &pass, 8, 0, octets, sizeof octets, &written));                         \
    pass.flags = 0
    TABLE(espial_snapshot_write_sessions, n->sessions);
    TABLE(espial_snapshot_write_pins, n->pins);
#ifndef STATIC_ONLY
    TABLE(espial_snapshot_write_flows, n->firewall);
    NULLS(espial_snapshot_restore_flow(NULL, n->firewall, n->rules, 0));
    GIVES(ESPIAL_EHANDLE, espial_snapshot_restore_flow(no_reader, n->firewall, n->rules, 0));
    GIVES(ESPIAL_EORDER, espial_snapshot_restore_flow(&reader, n->firewall, n->rules, 0));
#else
    NULLS(espial_snapshot_write_flows(&writer, NULL, &pass, 8, 0, octets, sizeof octets, &written));
    GIVES(ESPIAL_EORDER, espial_snapshot_restore_flow(&reader, NULL, NULL, 0));
#endif
#define SAS(writer, gateway, names, count, pass, octets, room, written)                                               \
    espial_snapshot_write_sas(writer, gateway, names, count, pass, 8, 0, octets, room, written)
    NULLS(SAS(NULL, n->gateway, n->names, 8, &pass, octets, sizeof octets, &written));
    NULLS(SAS(&writer, NULL, n->names, 8, &pass, octets, sizeof octets, &written));
    NULLS(SAS(&writer, n->gateway, NULL, 8, &pass, octets, sizeof octets, &written));
    NULLS(SAS(&writer, n->gateway, n->names, 8, NULL, octets, sizeof octets, &written));
    NULLS(SAS(&writer, n->gateway, n->names, 8, &pass, NULL, sizeof octets, &written));
    NULLS(SAS(&writer, n->gateway, n->names, 8, &pass, octets, sizeof octets, NULL));
    GIVES(ESPIAL_EALIGN, SAS(&writer, n->gateway, ODD(uint64_t, n->names), 2, &pass, octets, sizeof octets, &written));
    GIVES(ESPIAL_ERANGE, SAS(&writer, n->gateway, n->names, n->children_count - 1, &pass, octets, sizeof octets, &written));
    GIVES(ESPIAL_EROOM, SAS(&writer, n->gateway, n->names, 8, &pass, octets, RECORD - 1, &written));
    GIVES(ESPIAL_EHANDLE, SAS(&writer, (espial_gateway *)(void *)n->sessions, n->names, 8, &pass, octets, sizeof octets,
                              &written));
    GIVES(ESPIAL_EHANDLE, SAS(no_writer, n->gateway, n->names, 8, &pass, octets, sizeof octets, &written));
    GIVES(ESPIAL_EHANDLE, SAS((espial_snapshot_writer *)(void *)&reader, n->gateway, n->names, 8, &pass, octets,
                              sizeof octets, &written));
    NULLS(espial_snapshot_write_sa(NULL, n->gateway, sa, NULL, 0, 0, octets, sizeof octets, &written));
    GIVES(ESPIAL_ESTALE, espial_snapshot_write_sa(&writer, n->gateway, sa, NULL, 0, 0, octets, sizeof octets, &written));
    GIVES(ESPIAL_ERANGE, espial_snapshot_write_sa(&writer, n->gateway, sa, n->names, 1, 0, octets, sizeof octets, &written));
    NULLS(espial_snapshot_write_end(NULL, octets, sizeof octets, &written));
    NULLS(espial_snapshot_write_end(&writer, NULL, sizeof octets, &written));
    NULLS(espial_snapshot_write_end(&writer, octets, sizeof octets, NULL));
    GIVES(ESPIAL_EHANDLE, espial_snapshot_write_end(no_writer, octets, sizeof octets, &written));
    GIVES(ESPIAL_EROOM, espial_snapshot_write_end(&writer, octets, RECORD - 1, &written));
    CLAIM(written == 77 && pass.next == 0 && pass.flags == 0);

    NULLS(espial_snapshot_read(NULL, &at, &len, &record));
    NULLS(espial_snapshot_read(&reader, NULL, &len, &record));
    NULLS(espial_snapshot_read(&reader, &at, NULL, &record));
    NULLS(espial_snapshot_read(&reader, &at, &len, NULL));
    GIVES(ESPIAL_EHANDLE, espial_snapshot_read(no_reader, &at, &len, &record));
    record.size = sizeof record - 1;
    GIVES(ESPIAL_ESIZE, espial_snapshot_read(&reader, &at, &len, &record));
    record.size = sizeof record;
    len = SIZE_MAX;
    GIVES(ESPIAL_ERANGE, espial_snapshot_read(&reader, &at, &len, &record));
    len = RECORD - 1;
    GIVES(ESPIAL_MORE, espial_snapshot_read(&reader, &at, &len, &record));
    at = NULL, len = 0;
    GIVES(ESPIAL_MORE, espial_snapshot_read(&reader, &at, &len, &record));
    len = RECORD;
    NULLS(espial_snapshot_read(&reader, &at, &len, &record));
    CLAIM(at == NULL && len == RECORD && record.kind == 77);

    NULLS(espial_snapshot_restore_sa(NULL, n->gateway, n->children[0], 0, 0, &sa));
    GIVES(ESPIAL_EHANDLE, espial_snapshot_restore_sa(no_reader, n->gateway, n->children[0], 0, 0, &sa));
    NULLS(espial_snapshot_restore_session(NULL, n->sessions, 0, &outcome, &session, &ended));
    GIVES(ESPIAL_EHANDLE, espial_snapshot_restore_session(no_reader, n->sessions, 0, &outcome, &session, &ended));
    NULLS(espial_snapshot_restore_pin(NULL, n->pins, 0, 0));
    GIVES(ESPIAL_EHANDLE, espial_snapshot_restore_pin(no_reader, n->pins, 0, 0));
    NULLS(espial_snapshot_missed(NULL, &missed, &complete));
    NULLS(espial_snapshot_missed(&reader, NULL, &complete));
    NULLS(espial_snapshot_missed(&reader, &missed, NULL));
    GIVES(ESPIAL_EHANDLE, espial_snapshot_missed(no_reader, &missed, &complete));
    CLAIM(missed == 77 && complete == 77 && outcome == 77 && sa.slot == 9);
    /* With a record of the right kind at hand, too. */
    at = stream + 1, len = stream_octets;
    do {
        GIVES(ESPIAL_OK, espial_snapshot_read(&reader, &at, &len, &record));
        if (record.kind == ESPIAL_RECORD_SA) {
            NULLS(espial_snapshot_restore_sa(&reader, NULL, n->children[0], 0, 0, &sa));
            NULLS(espial_snapshot_restore_sa(&reader, n->gateway, n->children[0], 0, 0, NULL));
        } else if (record.kind == ESPIAL_RECORD_SESSION) {
            NULLS(espial_snapshot_restore_session(&reader, NULL, 0, &outcome, &session, &ended));
            NULLS(espial_snapshot_restore_session(&reader, n->sessions, 0, NULL, &session, &ended));
            NULLS(espial_snapshot_restore_session(&reader, n->sessions, 0, &outcome, NULL, &ended));
            NULLS(espial_snapshot_restore_session(&reader, n->sessions, 0, &outcome, &session, NULL));
        } else if (record.kind == ESPIAL_RECORD_PIN) {
            NULLS(espial_snapshot_restore_pin(&reader, NULL, 0, 0));
            GIVES(ESPIAL_EHANDLE, espial_snapshot_restore_pin(&reader, (espial_reply_path *)(void *)n->sessions, 0, 0));
        }
#ifndef STATIC_ONLY
        else if (record.kind == ESPIAL_RECORD_FLOW) {
            NULLS(espial_snapshot_restore_flow(&reader, NULL, n->rules, 0));
            NULLS(espial_snapshot_restore_flow(&reader, n->firewall, NULL, 0));
        }
#endif
    } while (record.kind != ESPIAL_RECORD_END);
}

int main(void) {
    node here = made(0), there = made(1);

    lives(&here);
    /* Slot by slot, and as one: the same records. */
    written_as(&here, 1, ID);
    {
        static uint8_t first[sizeof stream];
        const size_t octets = stream_octets;
        memcpy(first, stream, sizeof first);
        written_as(&here, UINT32_MAX, ID);
        CLAIM(octets == stream_octets && memcmp(first, stream, octets) == 0);
    }
    taken_over(&there);
    same_answers(&here, &there);
    refusals(&here, &there);
    misuse(&here);
    given_back(&here);
    given_back(&there);
    return all_hold();
}
