/*
 * Where the answers of IKE over TCP leave (seed 003), how it stands with the IKE of a tunnel (C6), and a status for
 * every wrong argument.
 */
#include "claims.h"

enum { WAN1 = 1, WAN2 = 2, PORT = 4500, FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static _Alignas(64) uint8_t memory[16384], zero[2048];
static espial_reply_limits limits = {sizeof(espial_reply_limits), .capacity = 4, .half_open = 2, .addresses = 2,
                                     .routes = 2};
static espial_reply_config config = {sizeof(espial_reply_config), .port = PORT, .mode = ESPIAL_TCP_REPLY_PINNED};
static const espial_addr ADDRESSES[] = {{.family = ESPIAL_FAMILY_V4, .addr = {203, 0, 113, 2}},
                                        {.family = ESPIAL_FAMILY_V6, .addr = {0x20, 1}}};
/* D4: host bits under a mask do not count. */
static const espial_policy_route ROUTES[] = {
    {.output = 70, .family = ESPIAL_FAMILY_V6, .prefix_len = 64, .addr = {0x20, 1}},
    {.output = 71, .family = ESPIAL_FAMILY_V4, .prefix_len = 30, .addr = {203, 0, 113, 1}}};
#define GIVEN &config, ADDRESSES, 2, ROUTES, 2
static espial_reply marked;

/* A segment of host n's connection, from it or to it. */
static espial_segment segment(int from_peer, uint8_t n, uint8_t flags, uint32_t seq, uint32_t ack) {
    const uint8_t here[4] = {203, 0, 113, 2}, there[4] = {198, 51, 100, n};
    espial_segment made = {.flow = {.family = ESPIAL_FAMILY_V4, .protocol = 6}, .seq = seq, .ack = ack, .flags = flags};
    memcpy(made.flow.src, from_peer ? there : here, 4);
    memcpy(made.flow.dst, from_peer ? here : there, 4);
    made.flow.sport = from_peer ? 40000 : PORT;
    made.flow.dport = from_peer ? PORT : 40000;
    return made;
}

static espial_reply received(espial_reply_path *path, uint8_t n, uint8_t flags, uint32_t seq, uint32_t ack, uint64_t now) {
    espial_segment of = segment(1, n, flags, seq, ack);
    espial_reply reply = marked;
    GIVES(ESPIAL_OK, espial_reply_path_received(path, &of, WAN1, WAN2, now, &reply));
    return reply;
}

static espial_reply sent(espial_reply_path *path, uint8_t n, uint8_t flags, uint32_t seq, uint32_t ack, uint64_t now) {
    espial_segment of = segment(0, n, flags, seq, ack);
    espial_reply reply = marked;
    GIVES(ESPIAL_OK, espial_reply_path_sent(path, &of, WAN2, now, &reply));
    return reply;
}

static void handshake(espial_reply_path *path, uint8_t n, uint64_t now, uint32_t out, uint8_t chosen) {
    espial_reply reply = received(path, n, SYN, 999, 0, now);
    CLAIM(reply.answer == ESPIAL_SEGMENT_LEAVE && reply.interface == out && reply.chosen == chosen);
    CLAIM(reply.came_in == WAN1 && reply.flags == (SYN | ACK) && reply.ack == 1000 && reply.recorded == 1);
    reply = sent(path, n, SYN | ACK, 5000, 1000, now);
    CLAIM(reply.interface == out && reply.flags == 0);
    reply = received(path, n, ACK, 1000, 5001, now);
    CLAIM(reply.answer == ESPIAL_SEGMENT_LEAVE && reply.interface == out && reply.ack == 0);
}

/* D1 and D2: pinned to the interface of the SYN; D4: or as policy routes say; unpinned, the fault. */
static void modes(espial_reply_path *path) {
    static const struct {
        uint8_t mode, chosen;
        uint32_t out;
    } MODES[] = {{ESPIAL_TCP_REPLY_PINNED, ESPIAL_CHOSEN_PIN, WAN1},
                 {ESPIAL_TCP_REPLY_UNPINNED, ESPIAL_CHOSEN_ROUTE, WAN2},
                 {ESPIAL_TCP_REPLY_POLICY_ROUTE, ESPIAL_CHOSEN_ROUTE, WAN2},
                 {ESPIAL_TCP_REPLY_IKE_POLICY_ROUTE, ESPIAL_CHOSEN_POLICY_ROUTE, 71}};
    espial_segment of = segment(1, 200, SYN, 1, 0);
    espial_reply reply;
    espial_pin pins[4];
    size_t count;
    uint8_t closed;

    for (uint8_t i = 0; i < 4; i++) {
        config.mode = MODES[i].mode;
        GIVES(ESPIAL_OK, espial_reply_path_configure(path, GIVEN));
        handshake(path, i, 0, MODES[i].out, MODES[i].chosen);
        CLAIM(MODES[i].chosen != ESPIAL_CHOSEN_POLICY_ROUTE || sent(path, i, ACK, 1, 1, 0).route == 1);
    }
    GIVES(ESPIAL_OK, espial_reply_path_received(path, &of, WAN1, ESPIAL_INTERFACE_NONE, 0, &reply));
    CLAIM(reply.answer == ESPIAL_SEGMENT_LEAVE && reply.recorded == 0);
    config.mode = ESPIAL_TCP_REPLY_UNPINNED;
    GIVES(ESPIAL_OK, espial_reply_path_configure(path, GIVEN));
    GIVES(ESPIAL_OK, espial_reply_path_received(path, &of, WAN1, ESPIAL_INTERFACE_NONE, 0, &reply));
    CLAIM(reply.answer == ESPIAL_SEGMENT_NO_ROUTE && reply.interface == 0);
    /* Connections have stayed; after a reset only a SYN starts one (D5). */
    config.mode = ESPIAL_TCP_REPLY_PINNED;
    GIVES(ESPIAL_OK, espial_reply_path_configure(path, GIVEN));
    GIVES(ESPIAL_OK, espial_reply_path_list(path, 0, pins, 4, &count));
    CLAIM(count == 4 && pins[0].interface == WAN1 && pins[0].established == 1 && pins[0].flow.sport == PORT);
    CLAIM(received(path, 0, RST, 999, 0, 0).answer == ESPIAL_SEGMENT_LEAVE);
    CLAIM(received(path, 0, RST, 1000, 0, 0).answer == ESPIAL_SEGMENT_RESET);
    CLAIM(received(path, 0, ACK, 1000, 5001, 0).answer == ESPIAL_SEGMENT_NO_SESSION);
    CLAIM(sent(path, 0, ACK, 1000, 5001, 0).answer == ESPIAL_SEGMENT_NO_SESSION);
    GIVES(ESPIAL_OK, espial_reply_path_close(path, &(espial_flow){.family = 4}, 0, &closed));
    CLAIM(closed == 0);
    of = segment(0, 1, ACK, 0, 0);
    GIVES(ESPIAL_OK, espial_reply_path_close(path, &of.flow, 0, &closed));
    CLAIM(closed == 1 && received(path, 1, ACK, 1000, 5001, 0).answer == ESPIAL_SEGMENT_NO_SESSION);
    of.flow.sport = 443;
    GIVES(ESPIAL_OK, espial_reply_path_sent(path, &of, WAN2, 0, &reply));
    CLAIM(reply.answer == ESPIAL_SEGMENT_NOT_OURS);
}

/* Half open ones have a share of their own; a cookie vouches for others; what is idle is told. */
static void room(espial_reply_path *path) {
    const uint64_t HOUR = 3600000;
    espial_segment of = segment(0, 10, ACK, 0, 0);
    espial_pin pins[64], marked_pin;
    uint32_t used, slots;
    uint8_t recorded;
    size_t count;

    CLAIM(received(path, 11, SYN, 1, 0, 0).recorded == 1);
    CLAIM(received(path, 12, SYN, 1, 0, 0).recorded == 1);
    CLAIM(received(path, 13, SYN, 1, 0, 0).recorded == 0);
    GIVES(ESPIAL_OK, espial_reply_path_connected(path, &of.flow, WAN2, 0, &recorded));
    CLAIM(recorded == 1 && sent(path, 10, ACK, 1, 1, 0).interface == WAN2);
    of = segment(0, 14, ACK, 0, 0);
    GIVES(ESPIAL_OK, espial_reply_path_connected(path, &of.flow, WAN2, 0, &recorded));
    of = segment(0, 15, ACK, 0, 0);
    GIVES(ESPIAL_OK, espial_reply_path_connected(path, &of.flow, WAN2, 0, &recorded));
    CLAIM(recorded == 0);
    GIVES(ESPIAL_OK, espial_reply_path_slots(path, &used, &slots));
    CLAIM(used == 4 && slots >= 4 && slots <= 64);
    memset(&marked_pin, 0x55, sizeof marked_pin);
    memset(pins, 0x55, sizeof pins);
    GIVES(ESPIAL_OK, espial_reply_path_expire(path, 20001, slots, pins, 1, &count));
    CLAIM(count == 2 && pins[0].established == 0 && pins[0].idle_ms == 20001);
    CLAIM(memcmp(&pins[1], &marked_pin, sizeof marked_pin) == 0);
    GIVES(ESPIAL_OK, espial_reply_path_list(path, 20001, NULL, 0, &count));
    CLAIM(count == 2);
    GIVES(ESPIAL_OK, espial_reply_path_expire(path, HOUR, slots, NULL, 0, &count));
    CLAIM(count == 0);
    GIVES(ESPIAL_OK, espial_reply_path_expire(path, HOUR + 1, slots, pins, 64, &count));
    CLAIM(count == 2 && pins[1].established == 1 && pins[1].interface == WAN2);
}

static void misuse(espial_reply_path *path) {
    espial_segment of = segment(1, 1, SYN, 1, 0), wrong = of;
    espial_reply_config other = config;
    espial_addr address = ADDRESSES[0];
    espial_policy_route route = ROUTES[0];
    espial_reply reply = marked;
    espial_pin pin;
    uint32_t used = 77, slots = 77;
    size_t count = 77;
    uint8_t octet = 77;

    NULLS(espial_reply_path_received(path, NULL, 1, 2, 0, &reply));
    NULLS(espial_reply_path_received(path, &of, 1, 2, 0, NULL));
    NULLS(espial_reply_path_sent(path, NULL, 2, 0, &reply));
    NULLS(espial_reply_path_sent(path, &of, 2, 0, NULL));
    GIVES(ESPIAL_EALIGN, espial_reply_path_sent(path, ODD(espial_segment, &of), 2, 0, &reply));
    wrong.reserved[2] = 1;
    GIVES(ESPIAL_EVALUE, espial_reply_path_received(path, &wrong, 1, 2, 0, &reply));
    wrong = of, wrong.flow.family = 0;
    GIVES(ESPIAL_EVALUE, espial_reply_path_sent(path, &wrong, 2, 0, &reply));
    GIVES(ESPIAL_EVALUE, espial_reply_path_connected(path, &wrong.flow, 2, 0, &octet));
    wrong = of, wrong.flow.reserved = 1;
    GIVES(ESPIAL_EVALUE, espial_reply_path_close(path, &wrong.flow, 0, &octet));
    NULLS(espial_reply_path_connected(path, NULL, 2, 0, &octet));
    NULLS(espial_reply_path_connected(path, &of.flow, 2, 0, NULL));
    NULLS(espial_reply_path_close(path, NULL, 0, &octet));
    NULLS(espial_reply_path_close(path, &of.flow, 0, NULL));
    NULLS(espial_reply_path_expire(path, 0, 8, NULL, 1, &count));
    NULLS(espial_reply_path_expire(path, 0, 8, &pin, 1, NULL));
    NULLS(espial_reply_path_list(path, 0, NULL, 1, &count));
    NULLS(espial_reply_path_list(path, 0, &pin, 1, NULL));
    NULLS(espial_reply_path_slots(path, NULL, &slots));
    NULLS(espial_reply_path_slots(path, &used, NULL));
    NULLS(espial_reply_path_configure(path, NULL, ADDRESSES, 2, ROUTES, 2));
    NULLS(espial_reply_path_configure(path, &config, NULL, 2, ROUTES, 2));
    NULLS(espial_reply_path_configure(path, &config, ADDRESSES, 2, NULL, 2));
    other.size = 4, CLAIM(espial_reply_path_configure(path, &other, ADDRESSES, 2, ROUTES, 2) == ESPIAL_ESIZE);
    other = config, other.mode = ESPIAL_TCP_REPLY_UNKNOWN;
    GIVES(ESPIAL_EVALUE, espial_reply_path_configure(path, &other, ADDRESSES, 2, ROUTES, 2));
    other = config, other.mode = 5;
    GIVES(ESPIAL_EVALUE, espial_reply_path_configure(path, &other, ADDRESSES, 2, ROUTES, 2));
    other = config, other.reserved = 1;
    GIVES(ESPIAL_EVALUE, espial_reply_path_configure(path, &other, ADDRESSES, 2, ROUTES, 2));
    address.reserved[0] = 1;
    GIVES(ESPIAL_EVALUE, espial_reply_path_configure(path, &config, &address, 1, ROUTES, 2));
    address = ADDRESSES[0], address.family = 0;
    GIVES(ESPIAL_EVALUE, espial_reply_path_configure(path, &config, &address, 1, ROUTES, 2));
    route.reserved = 1;
    GIVES(ESPIAL_EVALUE, espial_reply_path_configure(path, &config, ADDRESSES, 2, &route, 1));
    route = ROUTES[1], route.prefix_len = 33;
    GIVES(ESPIAL_ERANGE, espial_reply_path_configure(path, &config, ADDRESSES, 2, &route, 1));
    {
        espial_addr three[3] = {ADDRESSES[0], ADDRESSES[0], ADDRESSES[0]};
        espial_policy_route too_many[3] = {ROUTES[0], ROUTES[0], ROUTES[0]};
        GIVES(ESPIAL_ERANGE, espial_reply_path_configure(path, &config, three, 3, ROUTES, 2));
        GIVES(ESPIAL_ERANGE, espial_reply_path_configure(path, &config, ADDRESSES, 2, too_many, 3));
    }
    CLAIM(used == 77 && slots == 77 && count == 77 && octet == 77 && memcmp(&reply, &marked, sizeof reply) == 0);
    /* After all of these the configuration is what it was: the address is still this gateway's. */
    CLAIM(received(path, 1, SYN, 1, 0, 0).interface == WAN1);
}

/* Pointers that are off by one octet, each in its turn, and lengths that no memory has. */
static void crooked(espial_reply_path *path) {
    espial_segment of = segment(1, 1, SYN, 1, 0);
    espial_reply reply = marked;
    espial_pin pin;
    uint32_t used = 77, slots = 77;
    size_t count = 77;
    uint8_t octet = 77;

    GIVES(ESPIAL_EALIGN, espial_reply_path_received(path, ODD(espial_segment, &of), 1, 2, 0, &reply));
    GIVES(ESPIAL_EALIGN, espial_reply_path_received(path, &of, 1, 2, 0, ODD(espial_reply, &reply)));
    GIVES(ESPIAL_EALIGN, espial_reply_path_sent(path, &of, 2, 0, ODD(espial_reply, &reply)));
    GIVES(ESPIAL_EALIGN, espial_reply_path_connected(path, ODD(espial_flow, &of.flow), 2, 0, &octet));
    GIVES(ESPIAL_EALIGN, espial_reply_path_close(path, ODD(espial_flow, &of.flow), 0, &octet));
    GIVES(ESPIAL_EALIGN, espial_reply_path_expire(path, 0, 8, ODD(espial_pin, &pin), 1, &count));
    GIVES(ESPIAL_EALIGN, espial_reply_path_expire(path, 0, 8, &pin, 1, ODD(size_t, &count)));
    GIVES(ESPIAL_EALIGN, espial_reply_path_list(path, 0, ODD(espial_pin, &pin), 1, &count));
    GIVES(ESPIAL_EALIGN, espial_reply_path_list(path, 0, &pin, 1, ODD(size_t, &count)));
    GIVES(ESPIAL_EALIGN, espial_reply_path_slots(path, ODD(uint32_t, &used), &slots));
    GIVES(ESPIAL_EALIGN, espial_reply_path_slots(path, &used, ODD(uint32_t, &slots)));
    GIVES(ESPIAL_EALIGN, espial_reply_path_configure(path, ODD(espial_reply_config, &config), ADDRESSES, 2, ROUTES, 2));
    GIVES(ESPIAL_EALIGN, espial_reply_path_configure(path, &config, ADDRESSES, 2, ODD(espial_policy_route, ROUTES), 2));
    GIVES(ESPIAL_ERANGE, espial_reply_path_configure(path, &config, ADDRESSES, SIZE_MAX, ROUTES, 2));
    GIVES(ESPIAL_ERANGE, espial_reply_path_configure(path, &config, ADDRESSES, 2, ROUTES, SIZE_MAX / 24 + 1));
    for (uint32_t size = 0; size < 64; size++) {
        espial_reply_config sized = config;
        sized.size = size;
        if (size != sizeof sized) {
            GIVES(ESPIAL_ESIZE, espial_reply_path_configure(path, &sized, ADDRESSES, 2, ROUTES, 2));
        }
    }
    for (uint32_t family = 0; family < 256; family++) {
        espial_segment wrong = of;
        wrong.flow.family = (uint8_t)family;
        if (family != ESPIAL_FAMILY_V4 && family != ESPIAL_FAMILY_V6) {
            GIVES(ESPIAL_EVALUE, espial_reply_path_received(path, &wrong, 1, 2, 0, &reply));
        }
    }
    CLAIM(used == 77 && slots == 77 && count == 77 && octet == 77 && memcmp(&reply, &marked, sizeof reply) == 0);
}

/* Inputs may overlap inputs, and are copied: the same octets are read as an address and as a policy route, and what
 * becomes of them afterwards does not matter. */
static void overlaps(espial_reply_path *path) {
    espial_reply_config of = {sizeof of, .port = PORT, .mode = ESPIAL_TCP_REPLY_IKE_POLICY_ROUTE};
    union {
        espial_addr address;        /* 4.0.0.0 */
        espial_policy_route route;  /* from 0.0.0.0/0, by whatever number the family and reserved octets are */
    } both;
    espial_segment syn = segment(1, 60, SYN, 1, 0);
    espial_reply reply;
    uint32_t output;
    uint8_t closed;

    memset(&both, 0, sizeof both);
    both.address.family = ESPIAL_FAMILY_V4;
    both.address.addr[0] = ESPIAL_FAMILY_V4;
    output = both.route.output;
    CLAIM(both.route.family == ESPIAL_FAMILY_V4 && both.route.prefix_len == 0);
    GIVES(ESPIAL_OK, espial_reply_path_configure(path, &of, &both.address, 1, &both.route, 1));
    memset(&both, 0xff, sizeof both);
    memset(syn.flow.dst, 0, sizeof syn.flow.dst);
    syn.flow.dst[0] = 4;
    GIVES(ESPIAL_OK, espial_reply_path_received(path, &syn, WAN1, WAN2, 0, &reply));
    CLAIM(reply.answer == ESPIAL_SEGMENT_LEAVE && reply.chosen == ESPIAL_CHOSEN_POLICY_ROUTE);
    CLAIM(reply.interface == output && reply.recorded == 1);
    {
        espial_flow own = syn.flow;
        memcpy(own.src, syn.flow.dst, 16), memcpy(own.dst, syn.flow.src, 16);
        own.sport = syn.flow.dport, own.dport = syn.flow.sport;
        GIVES(ESPIAL_OK, espial_reply_path_close(path, &own, 0, &closed));
        CLAIM(closed == 1);
    }
    GIVES(ESPIAL_OK, espial_reply_path_configure(path, GIVEN));
}

static void dead(espial_reply_path *path, int status) {
    espial_segment of = segment(1, 1, SYN, 1, 0);
    espial_reply reply;
    espial_pin pin;
    uint32_t used, slots;
    uint8_t octet;
    size_t count;
    GIVES(status, espial_reply_path_release(path));
    GIVES(status, espial_reply_path_configure(path, GIVEN));
    GIVES(status, espial_reply_path_received(path, &of, 1, 2, 0, &reply));
    GIVES(status, espial_reply_path_sent(path, &of, 2, 0, &reply));
    GIVES(status, espial_reply_path_connected(path, &of.flow, 2, 0, &octet));
    GIVES(status, espial_reply_path_close(path, &of.flow, 0, &octet));
    GIVES(status, espial_reply_path_expire(path, 0, 8, &pin, 1, &count));
    GIVES(status, espial_reply_path_list(path, 0, &pin, 1, &count));
    GIVES(status, espial_reply_path_slots(path, &used, &slots));
}

static void health(void) {
    static const char SAID[] = "peer 10.56.240.208 has live SAs and live ESP, its IKE session is gone, and no policy "
                               "admits IKE from 10.56.240.208 on UDP 4500";
    const espial_tunnel_facts good = {
        sizeof good, .live_sas = 1, .esp_idle_ms = 200, .left_500_ms = 100000, .left_4500_ms = ESPIAL_NEVER,
        .left_tcp_ms = ESPIAL_NEVER, .esp_live_ms = 10000, .session_ends_ms = 30000, .peer = {10, 56, 240, 208},
        .family = ESPIAL_FAMILY_V4, .in_use = ESPIAL_IKE_4500,
    };
    espial_tunnel_facts facts = good;
    espial_health found, marked_health;
    char text[200];
    size_t len = 0;

    memset(&marked_health, 0x55, sizeof marked_health);
    GIVES(ESPIAL_OK, espial_tunnel_health(&facts, &found, text, sizeof text, &len));
    CLAIM(found.state == ESPIAL_HEALTH_STARVED && found.alarm == 1 && found.esp_is_live == 1);
    CLAIM(found.left_ms == ESPIAL_NEVER && strcmp(text, SAID) == 0 && len == sizeof SAID - 1);
    for (size_t cut = 0; cut <= sizeof SAID; cut++) {
        memset(text, 0x55, sizeof text);
        GIVES(ESPIAL_OK, espial_tunnel_health(&facts, &found, cut == 0 ? NULL : text, cut, &len));
        CLAIM(len == sizeof SAID - 1 && text[cut] == 0x55);
        CLAIM(cut == 0 || (strlen(text) == (cut > len ? len : cut - 1) && strncmp(text, SAID, cut - 1) == 0));
    }
    facts.in_use = 0;
    GIVES(ESPIAL_OK, espial_tunnel_health(&facts, &found, text, sizeof text, &len));
    CLAIM(found.state == ESPIAL_HEALTH_HELD && found.alarm == 0 && found.left_ms == 100000);
    facts.admitted = ESPIAL_IKE_TCP;
    GIVES(ESPIAL_OK, espial_tunnel_health(&facts, &found, NULL, 0, &len));
    CLAIM(found.state == ESPIAL_HEALTH_ADMITTED && found.left_ms == ESPIAL_NEVER);
    facts.live_sas = 0;
    GIVES(ESPIAL_OK, espial_tunnel_health(&facts, &found, NULL, 0, &len));
    CLAIM(found.state == ESPIAL_HEALTH_DOWN && found.alarm == 0);

    found = marked_health, len = 77;
    NULLS(espial_tunnel_health(NULL, &found, text, sizeof text, &len));
    NULLS(espial_tunnel_health(&good, NULL, text, sizeof text, &len));
    NULLS(espial_tunnel_health(&good, &found, NULL, 1, &len));
    NULLS(espial_tunnel_health(&good, &found, text, sizeof text, NULL));
    facts = good, facts.size = 79, CLAIM(espial_tunnel_health(&facts, &found, NULL, 0, &len) == ESPIAL_ESIZE);
    facts = good, facts.family = 0, CLAIM(espial_tunnel_health(&facts, &found, NULL, 0, &len) == ESPIAL_EVALUE);
    facts = good, facts.admitted = 8, CLAIM(espial_tunnel_health(&facts, &found, NULL, 0, &len) == ESPIAL_EVALUE);
    facts = good, facts.in_use = 3, CLAIM(espial_tunnel_health(&facts, &found, NULL, 0, &len) == ESPIAL_EVALUE);
    facts = good, facts.reserved[4] = 1, CLAIM(espial_tunnel_health(&facts, &found, NULL, 0, &len) == ESPIAL_EVALUE);
    CLAIM(len == 77 && memcmp(&found, &marked_health, sizeof found) == 0);
}

static void presets(void) {
    static const struct {
        const char *version;
        uint32_t mode;
        uint8_t tcp_reply;
    } KNOWN[] = {
        {"7.4.1", ESPIAL_MODE_ANY_SELECTOR, ESPIAL_TCP_REPLY_UNPINNED},
        {"v7.4.2", ESPIAL_MODE_STRICT_SA, ESPIAL_TCP_REPLY_UNPINNED},
        {"7.4.12", ESPIAL_MODE_ANY_SOURCE, ESPIAL_TCP_REPLY_PINNED},
        {"8.0.0", ESPIAL_MODE_UNKNOWN, ESPIAL_TCP_REPLY_PINNED},
        {"7.2.11", ESPIAL_MODE_ANY_SELECTOR, ESPIAL_TCP_REPLY_UNKNOWN},
        {"v65535.65535.65535", ESPIAL_MODE_UNKNOWN, ESPIAL_TCP_REPLY_PINNED},
    };
    static const char *const NONE[] = {"", "7", "7.4", "7.4.2.1", "7.4.x", "7.4.65536", "v65535.65535.655350",
                                       "7.4.\xff", "no version at all, and a long text besides"};
    uint32_t mode;
    uint8_t tcp_reply;
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
        GIVES(ESPIAL_OK, espial_fortios_preset(KNOWN[i].version, &mode, &tcp_reply));
        CLAIM(mode == KNOWN[i].mode && tcp_reply == KNOWN[i].tcp_reply);
    }
    mode = 77, tcp_reply = 77;
    for (size_t i = 0; i < sizeof NONE / sizeof NONE[0]; i++) {
        GIVES(ESPIAL_EVALUE, espial_fortios_preset(NONE[i], &mode, &tcp_reply));
    }
    NULLS(espial_fortios_preset(NULL, &mode, &tcp_reply));
    NULLS(espial_fortios_preset("7.4.2", NULL, &tcp_reply));
    NULLS(espial_fortios_preset("7.4.2", &mode, NULL));
    CLAIM(mode == 77 && tcp_reply == 77);
}

int main(void) {
    espial_reply_path *path = NULL;
    espial_reply_limits wrong = limits;
    size_t size = 77;

    memset(&marked, 0x55, sizeof marked);
    health();
    presets();
    NULLS(espial_reply_path_size(NULL, &size));
    NULLS(espial_reply_path_size(&limits, NULL));
    wrong.size++, CLAIM(espial_reply_path_size(&wrong, &size) == ESPIAL_ESIZE);
    wrong = limits, wrong.capacity = 0, CLAIM(espial_reply_path_size(&wrong, &size) == ESPIAL_ERANGE);
    wrong.capacity = UINT32_MAX, CLAIM(espial_reply_path_new(&wrong, GIVEN, 1, 2, &path) == ESPIAL_ERANGE);
    CLAIM(size == 77);
    GIVES(ESPIAL_OK, espial_reply_path_size(&limits, &size));
    CLAIM(size <= sizeof memory && size % 64 == 0 && espial_reply_path_align() == 64);
    NULLS(espial_reply_path_init(NULL, size, &limits, GIVEN, 1, 2, &path));
    NULLS(espial_reply_path_init(memory, size, NULL, GIVEN, 1, 2, &path));
    NULLS(espial_reply_path_init(memory, size, &limits, NULL, ADDRESSES, 2, ROUTES, 2, 1, 2, &path));
    NULLS(espial_reply_path_init(memory, size, &limits, &config, NULL, 2, ROUTES, 2, 1, 2, &path));
    NULLS(espial_reply_path_init(memory, size, &limits, &config, ADDRESSES, 2, NULL, 2, 1, 2, &path));
    NULLS(espial_reply_path_init(memory, size, &limits, GIVEN, 1, 2, NULL));
    GIVES(ESPIAL_EALIGN, espial_reply_path_init(memory + 8, size, &limits, GIVEN, 1, 2, &path));
    GIVES(ESPIAL_EROOM, espial_reply_path_init(memory, size - 1, &limits, GIVEN, 1, 2, &path));
    wrong = limits, wrong.routes = 1;
    GIVES(ESPIAL_ERANGE, espial_reply_path_init(memory, size, &wrong, GIVEN, 1, 2, &path));
    CLAIM(path == NULL);
    memset(memory, 0xaa, sizeof memory);
    GIVES(ESPIAL_OK, espial_reply_path_init(memory, size, &limits, GIVEN, 1, 2, &path));
    for (size_t i = size; i < sizeof memory; i++) {
        CLAIM(memory[i] == 0xaa);
    }
    modes(path);
    crooked(path);
    overlaps(path);
    misuse(path);
    GIVES(ESPIAL_EHANDLE, espial_reply_path_free(path));
    GIVES(ESPIAL_OK, espial_reply_path_release(path));
    dead(path, ESPIAL_EHANDLE);
    dead((espial_reply_path *)(void *)zero, ESPIAL_EHANDLE);
    dead(ODD(espial_reply_path, memory), ESPIAL_EALIGN);
    dead(NULL, ESPIAL_ENULL);
    GIVES(ESPIAL_OK, espial_reply_path_new(&limits, GIVEN, 1, 2, &path));
    room(path);
    GIVES(ESPIAL_EHANDLE, espial_reply_path_release(path));
    GIVES(ESPIAL_OK, espial_reply_path_free(path));
    GIVES(ESPIAL_OK, espial_reply_path_free(NULL));
    return all_hold();
}
