/* Sessions that end on this gateway: their life, a flood, and a status for every wrong argument. */
#include "claims.h"

enum { OF_500 = 500, OF_4500 = 4500, CAPACITY = 8, OWN = 2, ROOM = 64 };
static const uint64_t TTL = ESPIAL_SESSION_TTL_MS;

static _Alignas(64) uint8_t memory[8192], zero[2048];
static espial_session_limits limits = {sizeof(espial_session_limits), .capacity = CAPACITY, .own = OWN};
static espial_session marked;
static espial_session_end marked_end;

/* From this gateway to host n, an answer too, or back. */
static espial_local_packet packet(uint32_t from, uint8_t n, uint16_t port) {
    const uint8_t here[4] = {192, 0, 2, 1}, there[4] = {203, 0, 113, n};
    espial_local_packet made = {
        .headers = {.family = ESPIAL_FAMILY_V4, .protocol = 17, .next_layer = ESPIAL_NEXT_LAYER_PORTS, .sport = port,
                    .dport = port},
        .traffic = ESPIAL_TRAFFIC_IKE,
    };
    memcpy(made.headers.src, from == ESPIAL_SIDE_REMOTE ? there : here, 4);
    memcpy(made.headers.dst, from == ESPIAL_SIDE_REMOTE ? here : there, 4);
    return made;
}

static uint32_t opened(espial_sessions *sessions, uint32_t from, uint8_t n, uint16_t port, uint64_t now,
                       uint32_t outcome) {
    espial_local_packet of = packet(from, n, port);
    espial_session session = marked;
    espial_session_end ended = marked_end;
    uint32_t found = 77;
    GIVES(ESPIAL_OK, espial_sessions_open(sessions, &of, from, now, &found, &session, &ended));
    CLAIM(found == outcome);
    CLAIM((session.serial == 0) == (outcome == ESPIAL_SESSION_FULL || outcome == ESPIAL_SESSION_NONE));
    if (session.serial != 0) {
        CLAIM(session.flow.src[0] == 192 && session.flow.dst[3] == n && session.flow.dport == port);
        CLAIM(session.left_ms == TTL && session.reserved[0] == 0);
    }
    return session.serial;
}

static uint32_t found(espial_sessions *sessions, uint32_t from, uint8_t n, uint16_t port, uint64_t now) {
    espial_local_packet of = packet(from, n, port);
    espial_session peeked = marked, session = marked;
    GIVES(ESPIAL_OK, espial_sessions_peek(sessions, &of, from, now, &peeked));
    GIVES(ESPIAL_OK, espial_sessions_find(sessions, &of, from, now, &session));
    CLAIM(peeked.serial == session.serial && (session.serial == 0 || session.left_ms == TTL));
    return session.serial;
}

static void life(espial_sessions *sessions) {
    espial_local_packet esp = packet(ESPIAL_SIDE_REMOTE, 7, OF_4500);
    espial_session session;
    espial_session_end ended[ROOM];
    uint32_t serial, outcome, used, slots;
    size_t count;
    uint8_t closed;

    GIVES(ESPIAL_OK, espial_sessions_slots(sessions, &used, &slots));
    CLAIM(used == 0 && slots >= CAPACITY && slots % 8 == 0 && slots <= ROOM);
    /* C2: what this gateway started is accepted, whatever the policies say; C3: the ports are apart. */
    serial = opened(sessions, ESPIAL_SIDE_LOCAL, 7, OF_500, 1000, ESPIAL_SESSION_NEW);
    CLAIM(serial == 1 && found(sessions, ESPIAL_SIDE_REMOTE, 7, OF_500, 2000) == serial);
    CLAIM(found(sessions, ESPIAL_SIDE_REMOTE, 7, OF_4500, 2000) == 0);
    CLAIM(found(sessions, ESPIAL_SIDE_REMOTE, 8, OF_500, 2000) == 0);
    CLAIM(opened(sessions, ESPIAL_SIDE_REMOTE, 7, OF_500, 3000, ESPIAL_SESSION_EXISTING) == serial);
    CLAIM(opened(sessions, ESPIAL_SIDE_LOCAL, 7, OF_4500, 4000, ESPIAL_SESSION_NEW) == 2);
    /* ESP keeps no session alive and has none (T28). */
    esp.traffic = ESPIAL_TRAFFIC_IPSEC;
    GIVES(ESPIAL_OK, espial_sessions_find(sessions, &esp, ESPIAL_SIDE_REMOTE, 5000, &session));
    CLAIM(session.serial == 0);
    for (uint32_t from = ESPIAL_SIDE_LOCAL; from <= ESPIAL_SIDE_ANSWER; from++) {
        GIVES(ESPIAL_OK, espial_sessions_open(sessions, &esp, from, 5000, &outcome, &session, ended));
        CLAIM(outcome == ESPIAL_SESSION_NONE && session.serial == 0 && ended[0].serial == 0);
    }
    esp = packet(ESPIAL_SIDE_REMOTE, 7, OF_4500);
    GIVES(ESPIAL_OK, espial_sessions_peek(sessions, &esp, ESPIAL_SIDE_REMOTE, 4000 + TTL, &session));
    CLAIM(session.serial == 2 && session.left_ms == 0 && session.duration_ms == TTL);
    CLAIM(session.origin == ESPIAL_SIDE_LOCAL);
    GIVES(ESPIAL_OK, espial_sessions_peek(sessions, &esp, ESPIAL_SIDE_REMOTE, 4001 + TTL, &session));
    CLAIM(session.serial == 0);
    /* The first ends at 183000; both are told of once, beyond the room for them too. */
    GIVES(ESPIAL_OK, espial_sessions_expire(sessions, 3001 + TTL, slots, ended, ROOM, &count));
    CLAIM(count == 1 && ended[0].serial == 1 && ended[0].idle_ms == TTL + 1 && ended[0].flow.dport == OF_500);
    GIVES(ESPIAL_OK, espial_sessions_expire(sessions, 3001 + TTL, slots, ended, ROOM, &count));
    CLAIM(count == 0);
    GIVES(ESPIAL_OK, espial_sessions_expire(sessions, 5000 + TTL, slots, NULL, 0, &count));
    CLAIM(count == 1);
    /* Closed by hand. */
    CLAIM(opened(sessions, ESPIAL_SIDE_REMOTE, 9, OF_500, 6000 + TTL, ESPIAL_SESSION_NEW) == 3);
    esp = packet(ESPIAL_SIDE_LOCAL, 9, OF_500);
    GIVES(ESPIAL_OK, espial_sessions_close(sessions, &esp, ESPIAL_SIDE_LOCAL, 6000 + TTL, &closed));
    CLAIM(closed == 1);
    GIVES(ESPIAL_OK, espial_sessions_close(sessions, &esp, ESPIAL_SIDE_LOCAL, 6000 + TTL, &closed));
    CLAIM(closed == 0);
    GIVES(ESPIAL_OK, espial_sessions_slots(sessions, &used, &slots));
    CLAIM(used == 0);
}

/* No flood from outside takes what this gateway will start, by being answered neither, nor what lives. */
static void flood(espial_sessions *sessions, uint64_t now) {
    espial_session list[CAPACITY + 1];
    size_t count;
    uint32_t serial;

    /* An answer whose packet found no session before: the other side's all the same. */
    serial = opened(sessions, ESPIAL_SIDE_ANSWER, 1, OF_500, now, ESPIAL_SESSION_NEW);
    CLAIM(found(sessions, ESPIAL_SIDE_REMOTE, 1, OF_500, now) == serial);
    CLAIM(found(sessions, ESPIAL_SIDE_LOCAL, 1, OF_500, now) == serial);
    GIVES(ESPIAL_OK, espial_sessions_list(sessions, now, list, CAPACITY, &count));
    CLAIM(count == 1 && list[0].serial == serial && list[0].origin == ESPIAL_SIDE_REMOTE);
    for (uint8_t n = 2; n < 200; n++) {
        uint32_t outcome = n <= CAPACITY - OWN ? ESPIAL_SESSION_NEW : ESPIAL_SESSION_FULL;
        opened(sessions, ESPIAL_SIDE_REMOTE, n, OF_500, now, outcome);
    }
    for (uint8_t n = 1; n < 200; n++) {
        uint32_t outcome = n <= CAPACITY - OWN ? ESPIAL_SESSION_EXISTING : ESPIAL_SESSION_FULL;
        opened(sessions, ESPIAL_SIDE_ANSWER, n, OF_500, now, outcome);
    }
    opened(sessions, ESPIAL_SIDE_LOCAL, 200, OF_500, now, ESPIAL_SESSION_NEW);
    opened(sessions, ESPIAL_SIDE_LOCAL, 201, OF_500, now, ESPIAL_SESSION_NEW);
    opened(sessions, ESPIAL_SIDE_LOCAL, 202, OF_500, now, ESPIAL_SESSION_FULL);
    CLAIM(found(sessions, ESPIAL_SIDE_REMOTE, 1, OF_500, now) == serial);
    /* In a session of this gateway's own an answer changes nothing. */
    opened(sessions, ESPIAL_SIDE_ANSWER, 200, OF_500, now, ESPIAL_SESSION_EXISTING);
    for (size_t room = 0; room <= CAPACITY; room++) {
        uint32_t seen = 0;
        memset(list, 0x55, sizeof list);
        GIVES(ESPIAL_OK, espial_sessions_list(sessions, now, room == 0 ? NULL : list, room, &count));
        CLAIM(count == CAPACITY && memcmp(&list[room], &marked, sizeof marked) == 0);
        for (size_t i = 0; i < room; i++) {
            CLAIM((seen >> list[i].serial % 32 & 1) == 0);
            seen |= (uint32_t)1 << list[i].serial % 32;
        }
    }
    GIVES(ESPIAL_OK, espial_sessions_list(sessions, now + TTL + 1, list, CAPACITY, &count));
    CLAIM(count == 0);
    {
        /* A newcomer takes the place of one that has ended and tells of it. */
        espial_local_packet of = packet(ESPIAL_SIDE_LOCAL, 203, OF_500);
        espial_session session;
        espial_session_end ended = marked_end;
        uint32_t outcome;
        GIVES(ESPIAL_OK,
              espial_sessions_open(sessions, &of, ESPIAL_SIDE_LOCAL, now + TTL + 1, &outcome, &session, &ended));
        CLAIM(outcome == ESPIAL_SESSION_NEW && ended.serial != 0 && ended.idle_ms == TTL + 1);
    }
}

static void bursts(espial_sessions *sessions, uint64_t now) {
    espial_local_packet packets[ESPIAL_BURST_MAX + 1];
    espial_session many[ESPIAL_BURST_MAX + 1], one;

    for (size_t i = 0; i <= ESPIAL_BURST_MAX; i++) {
        packets[i] = packet(ESPIAL_SIDE_REMOTE, (uint8_t)(i % 11), i % 13 == 0 ? OF_4500 : OF_500);
        if (i % 7 == 2) {
            packets[i].traffic = i % 2 == 0 ? ESPIAL_TRAFFIC_IPSEC : ESPIAL_TRAFFIC_NONE;
        }
    }
    for (size_t count = 0; count <= ESPIAL_BURST_MAX; count++) {
        memset(many, 0x55, sizeof many);
        GIVES(ESPIAL_OK, espial_sessions_find_burst(sessions, packets, count, ESPIAL_SIDE_REMOTE, now, many));
        for (size_t i = 0; i < count; i++) {
            GIVES(ESPIAL_OK, espial_sessions_find(sessions, &packets[i], ESPIAL_SIDE_REMOTE, now, &one));
            CLAIM(memcmp(&one, &many[i], sizeof one) == 0);
            CLAIM(one.serial == 0 || packets[i].traffic == ESPIAL_TRAFFIC_IKE);
        }
        CLAIM(memcmp(&many[count], &marked, sizeof marked) == 0);
    }
    memset(many, 0x55, sizeof many);
    for (size_t i = 0; i < ESPIAL_BURST_MAX; i++) {
        espial_local_packet good = packets[i];
        packets[i].traffic = 9;
        GIVES(ESPIAL_EVALUE,
              espial_sessions_find_burst(sessions, packets, ESPIAL_BURST_MAX, ESPIAL_SIDE_REMOTE, now + 1, many));
        packets[i] = packet(ESPIAL_SIDE_REMOTE, 1, OF_500);
        packets[i].headers.family = 0;
        GIVES(ESPIAL_EVALUE,
              espial_sessions_find_burst(sessions, packets, ESPIAL_BURST_MAX, ESPIAL_SIDE_REMOTE, now + 1, many));
        packets[i] = good;
    }
    GIVES(ESPIAL_EVALUE, espial_sessions_find_burst(sessions, packets, 1, ESPIAL_SIDE_ANSWER, now, many));
    GIVES(ESPIAL_ERANGE, espial_sessions_find_burst(sessions, packets, ESPIAL_BURST_MAX + 1, 0, now, many));
    NULLS(espial_sessions_find_burst(sessions, NULL, 1, 0, now, many));
    NULLS(espial_sessions_find_burst(sessions, packets, 1, 0, now, NULL));
    CLAIM(memcmp(many, &marked, sizeof marked) == 0);
    /* Nothing of these was a match. */
    GIVES(ESPIAL_OK, espial_sessions_peek(sessions, &packets[1], ESPIAL_SIDE_REMOTE, now + 1, &one));
    CLAIM(one.serial != 0 && one.left_ms == TTL - 1);
}

static void misuse(espial_sessions *sessions) {
    espial_local_packet of = packet(ESPIAL_SIDE_LOCAL, 1, OF_500);
    espial_session session = marked;
    espial_session_end ended = marked_end;
    uint32_t outcome = 77, used = 77, slots = 77;
    size_t count = 77;
    uint8_t closed = 77;

    NULLS(espial_sessions_open(sessions, NULL, 0, 0, &outcome, &session, &ended));
    NULLS(espial_sessions_open(sessions, &of, 0, 0, NULL, &session, &ended));
    NULLS(espial_sessions_open(sessions, &of, 0, 0, &outcome, NULL, &ended));
    NULLS(espial_sessions_open(sessions, &of, 0, 0, &outcome, &session, NULL));
    GIVES(ESPIAL_EVALUE, espial_sessions_open(sessions, &of, 3, 0, &outcome, &session, &ended));
    GIVES(ESPIAL_EVALUE, espial_sessions_open(sessions, &of, 256, 0, &outcome, &session, &ended));
    GIVES(ESPIAL_EVALUE, espial_sessions_open(sessions, &of, 256 + ESPIAL_SIDE_ANSWER, 0, &outcome, &session, &ended));
    NULLS(espial_sessions_find(sessions, NULL, 0, 0, &session));
    NULLS(espial_sessions_find(sessions, &of, 0, 0, NULL));
    /* Only what is recorded may be an answer. */
    GIVES(ESPIAL_EVALUE, espial_sessions_find(sessions, &of, ESPIAL_SIDE_ANSWER, 0, &session));
    GIVES(ESPIAL_EVALUE, espial_sessions_peek(sessions, &of, ESPIAL_SIDE_ANSWER, 0, &session));
    GIVES(ESPIAL_EVALUE, espial_sessions_close(sessions, &of, ESPIAL_SIDE_ANSWER, 0, &closed));
    GIVES(ESPIAL_EVALUE, espial_sessions_find(sessions, &of, 3, 0, &session));
    NULLS(espial_sessions_peek(sessions, NULL, 0, 0, &session));
    NULLS(espial_sessions_peek(sessions, &of, 0, 0, NULL));
    NULLS(espial_sessions_close(sessions, NULL, 0, 0, &closed));
    NULLS(espial_sessions_close(sessions, &of, 0, 0, NULL));
    NULLS(espial_sessions_expire(sessions, 0, 8, NULL, 1, &count));
    NULLS(espial_sessions_expire(sessions, 0, 8, &ended, 1, NULL));
    NULLS(espial_sessions_list(sessions, 0, NULL, 1, &count));
    NULLS(espial_sessions_list(sessions, 0, &session, 1, NULL));
    NULLS(espial_sessions_slots(sessions, NULL, &slots));
    NULLS(espial_sessions_slots(sessions, &used, NULL));
    GIVES(ESPIAL_EALIGN, espial_sessions_find(sessions, ODD(espial_local_packet, &of), 0, 0, &session));
    GIVES(ESPIAL_EALIGN, espial_sessions_list(sessions, 0, ODD(espial_session, &session), 1, &count));
    of.headers.next_layer = 9;
    GIVES(ESPIAL_EVALUE, espial_sessions_open(sessions, &of, 0, 0, &outcome, &session, &ended));
    GIVES(ESPIAL_EVALUE, espial_sessions_open(sessions, &of, ESPIAL_SIDE_ANSWER, 0, &outcome, &session, &ended));
    GIVES(ESPIAL_EVALUE, espial_sessions_find(sessions, &of, 0, 0, &session));
    GIVES(ESPIAL_EVALUE, espial_sessions_peek(sessions, &of, 0, 0, &session));
    GIVES(ESPIAL_EVALUE, espial_sessions_close(sessions, &of, 0, 0, &closed));
    CLAIM(outcome == 77 && used == 77 && slots == 77 && count == 77 && closed == 77);
    CLAIM(memcmp(&session, &marked, sizeof session) == 0 && memcmp(&ended, &marked_end, sizeof ended) == 0);
}

static void dead(espial_sessions *sessions, int status) {
    espial_local_packet of = packet(ESPIAL_SIDE_LOCAL, 1, OF_500);
    espial_session session;
    espial_session_end ended;
    uint32_t outcome, used;
    size_t count;
    uint8_t closed;
    GIVES(status, espial_sessions_release(sessions));
    GIVES(status, espial_sessions_open(sessions, &of, 0, 0, &outcome, &session, &ended));
    GIVES(status, espial_sessions_find(sessions, &of, 0, 0, &session));
    GIVES(status, espial_sessions_find_burst(sessions, &of, 1, 0, 0, &session));
    GIVES(status, espial_sessions_peek(sessions, &of, 0, 0, &session));
    GIVES(status, espial_sessions_close(sessions, &of, 0, 0, &closed));
    GIVES(status, espial_sessions_expire(sessions, 0, 8, &ended, 1, &count));
    GIVES(status, espial_sessions_list(sessions, 0, &session, 1, &count));
    GIVES(status, espial_sessions_slots(sessions, &used, &outcome));
}

int main(void) {
    espial_sessions *sessions = NULL;
    espial_session_limits wrong = limits;
    size_t size = 77;

    memset(&marked, 0x55, sizeof marked);
    memset(&marked_end, 0x55, sizeof marked_end);
    NULLS(espial_sessions_size(NULL, &size));
    NULLS(espial_sessions_size(&limits, NULL));
    wrong.size++;
    GIVES(ESPIAL_ESIZE, espial_sessions_size(&wrong, &size));
    GIVES(ESPIAL_ESIZE, espial_sessions_init(memory, sizeof memory, &wrong, 1, 2, &sessions));
    wrong = limits, wrong.capacity = 0;
    GIVES(ESPIAL_ERANGE, espial_sessions_size(&wrong, &size));
    wrong.capacity = UINT32_MAX;
    GIVES(ESPIAL_ERANGE, espial_sessions_size(&wrong, &size));
    GIVES(ESPIAL_ERANGE, espial_sessions_new(&wrong, 1, 2, &sessions));
    CLAIM(size == 77);
    GIVES(ESPIAL_OK, espial_sessions_size(&limits, &size));
    CLAIM(size <= sizeof memory && size % espial_sessions_align() == 0 && espial_sessions_align() == 64);
    NULLS(espial_sessions_init(NULL, size, &limits, 1, 2, &sessions));
    NULLS(espial_sessions_init(memory, size, NULL, 1, 2, &sessions));
    NULLS(espial_sessions_init(memory, size, &limits, 1, 2, NULL));
    GIVES(ESPIAL_EALIGN, espial_sessions_init(memory + 8, size, &limits, 1, 2, &sessions));
    GIVES(ESPIAL_EROOM, espial_sessions_init(memory, size - 1, &limits, 1, 2, &sessions));
    CLAIM(sessions == NULL);

    memset(memory, 0xaa, sizeof memory);
    GIVES(ESPIAL_OK, espial_sessions_init(memory, size, &limits, 1, 2, &sessions));
    for (size_t i = size; i < sizeof memory; i++) {
        CLAIM(memory[i] == 0xaa);
    }
    life(sessions);
    misuse(sessions);
    GIVES(ESPIAL_EHANDLE, espial_sessions_free(sessions));
    GIVES(ESPIAL_OK, espial_sessions_release(sessions));
    dead(sessions, ESPIAL_EHANDLE);
    dead((espial_sessions *)(void *)zero, ESPIAL_EHANDLE);
    dead(ODD(espial_sessions, memory), ESPIAL_EALIGN);
    dead(NULL, ESPIAL_ENULL);

    GIVES(ESPIAL_OK, espial_sessions_new(&limits, 3, 4, &sessions));
    flood(sessions, 5);
    GIVES(ESPIAL_EHANDLE, espial_sessions_release(sessions));
    GIVES(ESPIAL_OK, espial_sessions_free(sessions));
    GIVES(ESPIAL_OK, espial_sessions_free(NULL));
    GIVES(ESPIAL_OK, espial_sessions_new(&limits, 5, 6, &sessions));
    for (uint8_t n = 0; n < CAPACITY - OWN; n++) {
        opened(sessions, ESPIAL_SIDE_REMOTE, n, OF_500, 100, ESPIAL_SESSION_NEW);
    }
    bursts(sessions, 200);
    GIVES(ESPIAL_OK, espial_sessions_free(sessions));
    return all_hold();
}
