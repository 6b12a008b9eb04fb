/*
 * A gateway that denies IKE from everybody but one peer, as the documents show: ESP goes on, the IKE session that the
 * gateway itself started goes on too, until it idles out; then the tunnel is starved, and the last line says so.
 *
 *     cc -o local_in local_in.c -lespial && ./local_in
 *
 * A packet to the gateway is asked about table by table: the SPI table has ESP and AH, then the sessions, then the
 * policies; what a policy accepts opens a session, and what is answered to it is none that the gateway started.
 */
#include <espial.h>
#include <stdio.h>
#include <string.h>

enum { WAN1 = 7 };
#define NOW(seconds) ((uint64_t)(seconds) * 1000)

/* All_exceptions: everybody but remote-vpn. */
static const espial_range RANGES[] = {
    {.family = ESPIAL_FAMILY_V4, .hi = {255, 255, 255, 255}},
    {.family = ESPIAL_FAMILY_V4, .exclude = 1, .lo = {203, 0, 113, 10}, .hi = {203, 0, 113, 10}},
};
static const espial_service IKE[] = {
    {.protocol = 17, .src_port_hi = 65535, .dst_port_lo = 500, .dst_port_hi = 500},
    {.protocol = 17, .src_port_hi = 65535, .dst_port_lo = 4500, .dst_port_hi = 4500},
};
static const uint32_t INTERFACES[] = {WAN1};
/* No action is written: it denies. */
static const espial_local_in_policy POLICIES[] = {
    {.id = 1, .interface_count = 1, .source_count = 2, .destination_count = 1, .service_count = 2},
};

static const uint8_t HERE[4] = {192, 0, 2, 1};

/* IPv4 and UDP 500, or ESP; from this gateway or to it. */
static size_t make(uint8_t *octets, int out, const uint8_t peer[4], uint8_t protocol) {
    static const uint8_t HEADER[20] = {0x45, 0, 0, 36, 0, 0, 0, 0, 64};
    static const uint8_t UDP[16] = {1, 0xf4, 1, 0xf4, 0, 16};
    memcpy(octets, HEADER, 20);
    octets[9] = protocol;
    memcpy(octets + 12, out ? HERE : peer, 4);
    memcpy(octets + 16, out ? peer : HERE, 4);
    memcpy(octets + 20, UDP, 16);
    return 36;
}

static int goes_in(espial_sessions *sessions, espial_local_in_worker *policies, uint64_t now, const uint8_t peer[4],
                   uint8_t protocol) {
    uint8_t octets[36], reason;
    espial_local_packet packet;
    espial_session session;
    espial_session_end ended;
    espial_local_in_answer answer;
    uint32_t outcome;
    size_t len = make(octets, 0, peer, protocol);

    if (espial_local_packet_read(octets, len, WAN1, &packet, &reason) != ESPIAL_OK) {
        return 1;
    }
    printf("%3u s, from %u.%u.%u.%u: ", (unsigned)(now / 1000), peer[0], peer[1], peer[2], peer[3]);
    if (packet.traffic == ESPIAL_TRAFFIC_IPSEC) {
        printf("ESP, to the SPI table\n");
        return 0;
    }
    if (espial_sessions_find(sessions, &packet, ESPIAL_SIDE_REMOTE, now, &session) != ESPIAL_OK) {
        return 1;
    }
    if (session.serial != 0) {
        printf("IKE, session %u, accepted\n", (unsigned)session.serial);
        return 0;
    }
    if (espial_local_in_worker_check(policies, &packet, 0, &answer) != ESPIAL_OK) {
        return 1;
    }
    if (answer.action == ESPIAL_LOCAL_IN_DENY) {
        printf("IKE, iprope_in_check() check failed on policy %u, drop\n", (unsigned)answer.policy);
        return 0;
    }
    if (espial_sessions_open(sessions, &packet, ESPIAL_SIDE_REMOTE, now, &outcome, &session, &ended) != ESPIAL_OK) {
        return 1;
    }
    printf("IKE, accepted by %s, session %u\n", answer.by == ESPIAL_LOCAL_IN_BY_DEFAULT ? "default" : "a policy",
           (unsigned)session.serial);
    /* Had there been no room, this would take none that is kept for what the gateway starts. */
    len = make(octets, 1, peer, protocol);
    return espial_local_packet_read(octets, len, WAN1, &packet, &reason) != ESPIAL_OK
           || espial_sessions_open(sessions, &packet, ESPIAL_SIDE_ANSWER, now, &outcome, &session, &ended) != ESPIAL_OK;
}

/* Packets by policy: what a session let in met none. */
static int say_counts(const espial_local_in *local_in, const espial_local_in_worker *policies) {
    espial_local_in_answer policy;
    uint64_t packets, unmatched;
    size_t count;

    if (espial_local_in_policies(local_in, &policy, 1, &count) != ESPIAL_OK
        || espial_local_in_worker_counts(policies, &packets, 1, &count, &unmatched) != ESPIAL_OK) {
        return 1;
    }
    printf("policy %u: %u packets, no policy: %u\n", (unsigned)policy.policy, (unsigned)packets, (unsigned)unmatched);
    return 0;
}

/* C6: what the tables say of the tunnel with a peer, taken together. */
static int say(espial_sessions *sessions, const espial_local_in *local_in, uint64_t now, const uint8_t peer[4]) {
    espial_tunnel_facts facts = {
        sizeof facts, .live_sas = 1, .esp_idle_ms = 200, .left_500_ms = ESPIAL_NEVER, .left_4500_ms = ESPIAL_NEVER,
        .left_tcp_ms = ESPIAL_NEVER, .esp_live_ms = 10000, .session_ends_ms = 30000, .family = ESPIAL_FAMILY_V4,
    };
    espial_endpoints between = {.family = ESPIAL_FAMILY_V4};
    espial_local_in_answer on_500, on_4500;
    espial_local_packet packet;
    espial_session session;
    espial_health health;
    uint8_t octets[36], reason;
    char text[200];
    size_t len = make(octets, 0, peer, 17);

    memcpy(facts.peer, peer, 4);
    memcpy(between.src, peer, 4);
    memcpy(between.dst, HERE, 4);
    if (espial_local_packet_read(octets, len, WAN1, &packet, &reason) != ESPIAL_OK
        || espial_sessions_peek(sessions, &packet, ESPIAL_SIDE_REMOTE, now, &session) != ESPIAL_OK
        || espial_local_in_ike(local_in, &between, WAN1, 0, &on_500, &on_4500) != ESPIAL_OK) {
        return 1;
    }
    facts.left_500_ms = session.serial != 0 ? session.left_ms : ESPIAL_NEVER;
    facts.admitted = (uint8_t)((on_500.action == ESPIAL_LOCAL_IN_ACCEPT ? ESPIAL_IKE_500 : 0)
                               | (on_4500.action == ESPIAL_LOCAL_IN_ACCEPT ? ESPIAL_IKE_4500 : 0));
    if (espial_tunnel_health(&facts, &health, text, sizeof text, &len) != ESPIAL_OK) {
        return 1;
    }
    printf("%3u s, %s: %s\n", (unsigned)(now / 1000), health.alarm ? "ALARM" : "fine", text);
    return 0;
}

int main(void) {
    const uint8_t peer[4] = {203, 0, 113, 10}, other[4] = {198, 51, 100, 7};
    espial_session_limits limits = {sizeof limits, .capacity = 100, .own = 25};
    espial_local_in *local_in;
    espial_local_in_worker *policies;
    espial_sessions *sessions;
    espial_local_packet packet;
    espial_session session;
    espial_session_end ended;
    uint8_t octets[36], reason;
    uint32_t outcome;

    int status = espial_local_in_new(ESPIAL_LOCAL_IN_ACCEPT, POLICIES, 1, INTERFACES, 1, RANGES, 2, IKE, 2, &local_in);
    if (status != ESPIAL_OK) {
        fprintf(stderr, "%s\n", espial_status_text(status));
        return 1;
    }
    /* The seed is to be random; here it is the same each time. */
    if (espial_sessions_new(&limits, 17, 4, &sessions) != ESPIAL_OK
        || espial_local_in_worker_new(local_in, &policies) != ESPIAL_OK) {
        return 1;
    }
    int failed = goes_in(sessions, policies, NOW(0), peer, 17) | goes_in(sessions, policies, NOW(1), other, 17);
    /* The tunnel with the other peer is up because this gateway spoke first (C2). */
    size_t len = make(octets, 1, other, 17);
    failed |= espial_local_packet_read(octets, len, WAN1, &packet, &reason) != ESPIAL_OK
              || espial_sessions_open(sessions, &packet, ESPIAL_SIDE_LOCAL, NOW(2), &outcome, &session, &ended)
                     != ESPIAL_OK;
    failed |= goes_in(sessions, policies, NOW(3), other, 17) | say(sessions, local_in, NOW(10), other);
    failed |= goes_in(sessions, policies, NOW(170), other, 50) | say(sessions, local_in, NOW(170), other);
    failed |= goes_in(sessions, policies, NOW(190), other, 50) | goes_in(sessions, policies, NOW(190), other, 17);
    failed |= say(sessions, local_in, NOW(190), other) | say(sessions, local_in, NOW(190), peer);
    failed |= say_counts(local_in, policies);
    return failed || espial_sessions_free(sessions) != ESPIAL_OK || espial_local_in_worker_free(policies) != ESPIAL_OK
           || espial_local_in_free(local_in) != ESPIAL_OK;
}
