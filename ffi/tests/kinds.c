/*
 * Each kind of handle, given to the calls of each other kind: refused, and nothing outside of its
 * memory is read. Each lies right in front of a page that may not be touched. With the shared library.
 */
#define _DEFAULT_SOURCE 1 /* MAP_ANONYMOUS */
#include "claims.h"
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

enum {
    GATEWAY, WORKER, MATCHER, SPD, SPD_WORKER, LOCAL_IN, LOCAL_IN_WORKER, SESSIONS, RULES, PASSTHROUGH, REPLY_PATH,
    KINDS
};

/* size octets that end where memory does; the handles' sizes are multiples of their alignment. */
static void *at_the_edge(size_t size) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;
    uint8_t *at = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CLAIM(at != MAP_FAILED && size % 64 == 0);
    CLAIM(mprotect(at + whole, page, PROT_NONE) == 0);
    return at + whole - size;
}

/* Calls that take a handle of this kind, with arguments that are right but for it. */
static void refused_as(int kind, void *handle) {
    static _Alignas(64) uint8_t memory[1 << 14];
    espial_capacity capacity = {sizeof capacity, .tunnels = 1, .children = 1, .selectors = 1, .sas = 1, .workers = 1};
    const uint64_t *words = NULL;
    uint64_t covered = 77, unmatched = 77;
    uint32_t index = 77;
    size_t count = 77;
    espial_inner packet = {.family = ESPIAL_FAMILY_V4};
    espial_spd_answer answer = {.id = 77};
    espial_counts counts = {sizeof counts, .packets = 77};
    espial_tunnel tunnel = {77, 77};
    espial_worker *worker = NULL;
    espial_spd_worker *spd_worker = NULL;
    espial_local_in_worker *local_in_worker = NULL;
    espial_event event = {sizeof event, .reason = 77};
    espial_sa sa = {77, 77};
    espial_endpoints endpoints = {.family = ESPIAL_FAMILY_V4};
    espial_local_packet local_packet = {.interface = 1};
    espial_local_in_answer local_in_answer = {.policy = 77};
    espial_session session = {.serial = 77};
    espial_passthrough_packet passing = {.family = ESPIAL_FAMILY_V4, .kind = ESPIAL_PASSTHROUGH_ESP, .spi = 300};
    espial_passthrough_answer pass_answer = {.rule = 77};
    espial_segment segment = {.flow = {.family = ESPIAL_FAMILY_V4}};
    espial_reply_config reply_config = {sizeof reply_config, .mode = ESPIAL_TCP_REPLY_PINNED};
    espial_reply reply = {.interface = 77};
    espial_session_end session_end = {.serial = 77};
    espial_pin pin = {.interface = 77};
    espial_snapshot_writer writer;
    espial_snapshot_pass pass = {0, 0, 0};
    uint8_t piece[ESPIAL_RECORD_OCTETS] = {77}, octet = 77;

    GIVES(ESPIAL_OK, espial_snapshot_writer_init(&writer, 1, 2, 3));
    switch (kind) {
    case GATEWAY:
        GIVES(ESPIAL_EHANDLE, espial_tunnel_add(handle, ESPIAL_MODE_STRICT_SA, 0, &tunnel));
        GIVES(ESPIAL_EHANDLE, espial_gateway_publish(handle));
        GIVES(ESPIAL_EHANDLE,
              espial_snapshot_write_sas(&writer, handle, NULL, 0, &pass, 8, 0, piece, sizeof piece, &count));
        GIVES(ESPIAL_EHANDLE, espial_snapshot_write_sa(&writer, handle, sa, NULL, 0, 0, piece, sizeof piece, &count));
        GIVES(ESPIAL_EHANDLE, espial_gateway_counts(handle, &counts));
        GIVES(ESPIAL_EHANDLE, espial_gateway_growth_size(handle, &capacity, &count));
        GIVES(ESPIAL_EHANDLE, espial_gateway_grow_alloc(handle, &capacity));
        GIVES(ESPIAL_EHANDLE, espial_worker_init(memory, sizeof memory, handle, 0, &worker));
        GIVES(ESPIAL_EHANDLE, espial_worker_new(handle, 0, &worker));
        GIVES(ESPIAL_EHANDLE, espial_gateway_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_gateway_free(handle));
        break;
    case WORKER:
        GIVES(ESPIAL_EHANDLE, espial_worker_find_spi(handle, ESPIAL_IPSEC_ESP, 256, &sa));
        CLAIM(espial_worker_find_esp(handle, 256) == 0);
        GIVES(ESPIAL_EHANDLE, espial_worker_events(handle, &event, 1, &count));
        GIVES(ESPIAL_EHANDLE, espial_worker_set_event_budget(handle, 1, 1));
        GIVES(ESPIAL_EHANDLE, espial_worker_quiescent(handle));
        GIVES(ESPIAL_EHANDLE, espial_worker_idle(handle));
        GIVES(ESPIAL_EHANDLE, espial_worker_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_worker_free(handle));
        break;
    case MATCHER:
        GIVES(ESPIAL_EHANDLE, espial_matcher_words(handle, &words, &count));
        GIVES(ESPIAL_EHANDLE, espial_matcher_first(handle, &packet, &index));
        GIVES(ESPIAL_EHANDLE, espial_matcher_any_burst(handle, &packet, 1, &covered));
        GIVES(ESPIAL_EHANDLE, espial_matcher_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_matcher_free(handle));
        break;
    case SPD:
        GIVES(ESPIAL_EHANDLE, espial_spd_words(handle, &words, &count));
        GIVES(ESPIAL_EHANDLE, espial_spd_direction(handle, &index));
        GIVES(ESPIAL_EHANDLE, espial_spd_first(handle, &packet, &answer));
        GIVES(ESPIAL_EHANDLE, espial_spd_worker_size(handle, &count));
        GIVES(ESPIAL_EHANDLE, espial_spd_worker_init(memory, sizeof memory, handle, &spd_worker));
        GIVES(ESPIAL_EHANDLE, espial_spd_worker_new(handle, &spd_worker));
        GIVES(ESPIAL_EHANDLE, espial_spd_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_spd_free(handle));
        break;
    case LOCAL_IN:
        GIVES(ESPIAL_EHANDLE, espial_local_in_words(handle, &words, &count));
        GIVES(ESPIAL_EHANDLE, espial_local_in_first(handle, &local_packet, 0, &local_in_answer));
        GIVES(ESPIAL_EHANDLE, espial_local_in_first_burst(handle, &local_packet, 1, 0, &local_in_answer));
        GIVES(ESPIAL_EHANDLE, espial_local_in_ike(handle, &endpoints, 0, 0, &local_in_answer, &local_in_answer));
        GIVES(ESPIAL_EHANDLE, espial_local_in_policies(handle, &local_in_answer, 1, &count));
        GIVES(ESPIAL_EHANDLE, espial_local_in_worker_size(handle, &count));
        GIVES(ESPIAL_EHANDLE, espial_local_in_worker_init(memory, sizeof memory, handle, &local_in_worker));
        GIVES(ESPIAL_EHANDLE, espial_local_in_worker_new(handle, &local_in_worker));
        GIVES(ESPIAL_EHANDLE, espial_local_in_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_local_in_free(handle));
        break;
    case LOCAL_IN_WORKER:
        GIVES(ESPIAL_EHANDLE, espial_local_in_worker_check(handle, &local_packet, 0, &local_in_answer));
        GIVES(ESPIAL_EHANDLE, espial_local_in_worker_check_burst(handle, &local_packet, 1, 0, &local_in_answer));
        GIVES(ESPIAL_EHANDLE, espial_local_in_worker_counts(handle, &covered, 1, &count, &unmatched));
        GIVES(ESPIAL_EHANDLE, espial_local_in_worker_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_local_in_worker_free(handle));
        break;
    case SESSIONS:
        GIVES(ESPIAL_EHANDLE, espial_sessions_open(handle, &local_packet, 0, 0, &index, &session, &session_end));
        GIVES(ESPIAL_EHANDLE, espial_sessions_find(handle, &local_packet, 0, 0, &session));
        GIVES(ESPIAL_EHANDLE, espial_sessions_find_burst(handle, &local_packet, 1, 0, 0, &session));
        GIVES(ESPIAL_EHANDLE, espial_sessions_expire(handle, 0, 8, &session_end, 1, &count));
        GIVES(ESPIAL_EHANDLE, espial_snapshot_write_sessions(&writer, handle, &pass, 8, 0, piece, sizeof piece, &count));
        GIVES(ESPIAL_EHANDLE, espial_sessions_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_sessions_free(handle));
        break;
    case RULES:
        GIVES(ESPIAL_EHANDLE, espial_passthrough_rules_words(handle, &words, &count));
        GIVES(ESPIAL_EHANDLE, espial_passthrough_rules_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_passthrough_rules_free(handle));
        break;
    case PASSTHROUGH:
        GIVES(ESPIAL_EHANDLE, espial_passthrough_check(handle, handle, &passing, 0, &pass_answer));
        GIVES(ESPIAL_EHANDLE, espial_passthrough_check_burst(handle, handle, &passing, 1, 0, &pass_answer));
        GIVES(ESPIAL_EHANDLE, espial_passthrough_expire(handle, 0, 8, &index));
        GIVES(ESPIAL_EHANDLE, espial_passthrough_slots(handle, &index));
        GIVES(ESPIAL_EHANDLE, espial_snapshot_write_flows(&writer, handle, &pass, 8, 0, piece, sizeof piece, &count));
        GIVES(ESPIAL_EHANDLE, espial_passthrough_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_passthrough_free(handle));
        break;
    case REPLY_PATH:
        GIVES(ESPIAL_EHANDLE, espial_reply_path_received(handle, &segment, 0, 0, 0, &reply));
        GIVES(ESPIAL_EHANDLE, espial_reply_path_sent(handle, &segment, 0, 0, &reply));
        GIVES(ESPIAL_EHANDLE, espial_reply_path_configure(handle, &reply_config, NULL, 0, NULL, 0));
        GIVES(ESPIAL_EHANDLE, espial_reply_path_slots(handle, &index, &index));
        GIVES(ESPIAL_EHANDLE, espial_reply_path_connected(handle, &segment.flow, 0, 0, &octet));
        GIVES(ESPIAL_EHANDLE, espial_reply_path_close(handle, &segment.flow, 0, &octet));
        GIVES(ESPIAL_EHANDLE, espial_reply_path_expire(handle, 0, 8, &pin, 1, &count));
        GIVES(ESPIAL_EHANDLE, espial_reply_path_list(handle, 0, &pin, 1, &count));
        GIVES(ESPIAL_EHANDLE, espial_snapshot_write_pins(&writer, handle, &pass, 8, 0, piece, sizeof piece, &count));
        GIVES(ESPIAL_EHANDLE, espial_reply_path_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_reply_path_free(handle));
        break;
    default:
        GIVES(ESPIAL_EHANDLE, espial_spd_worker_check(handle, &packet, &answer));
        GIVES(ESPIAL_EHANDLE, espial_spd_worker_check_burst(handle, &packet, 1, &answer));
        GIVES(ESPIAL_EHANDLE, espial_spd_worker_counts(handle, &covered, 1, &count, &unmatched));
        GIVES(ESPIAL_EHANDLE, espial_spd_worker_release(handle));
        GIVES(ESPIAL_EHANDLE, espial_spd_worker_free(handle));
    }
    CLAIM(words == NULL && worker == NULL && spd_worker == NULL && local_in_worker == NULL);
    CLAIM(tunnel.index == 77 && sa.slot == 77);
    CLAIM(covered == 77 && unmatched == 77 && index == 77 && count == 77 && answer.id == 77 && counts.packets == 77);
    CLAIM(event.size == sizeof event && event.reason == 77 && local_in_answer.policy == 77);
    CLAIM(session.serial == 77 && session_end.serial == 77 && pass_answer.rule == 77 && reply.interface == 77);
    CLAIM(pin.interface == 77 && octet == 77 && piece[0] == 77 && pass.next == 0 && pass.flags == 0);
}

int main(void) {
    static uint64_t words[64];
    espial_capacity capacity = {sizeof capacity, .tunnels = 1, .children = 1, .selectors = 1, .sas = 1, .workers = 1};
    espial_spd *compiled;
    espial_gateway *gateway;
    espial_worker *worker;
    espial_matcher *matcher;
    espial_spd *spd;
    espial_spd_worker *spd_worker;
    espial_local_in *compiled_local_in, *local_in;
    espial_local_in_worker *local_in_worker;
    espial_session_limits session_limits = {sizeof session_limits, .capacity = 1};
    espial_sessions *sessions;
    espial_passthrough_config passthrough_config = {sizeof passthrough_config, .flows = 1};
    espial_passthrough_rules *compiled_rules, *rules;
    espial_passthrough *passthrough;
    espial_reply_limits reply_limits = {sizeof reply_limits, .capacity = 1};
    espial_reply_config reply_config = {sizeof reply_config, .mode = ESPIAL_TCP_REPLY_PINNED};
    espial_reply_path *reply_path;
    const uint64_t *spd_words, *local_in_words, *rules_words;
    void *handles[KINDS];
    size_t size, count, worker_size;

    /* Empty lists, so that the handles are as small as they can be. */
    GIVES(ESPIAL_OK, espial_gateway_size(&capacity, &size));
    GIVES(ESPIAL_OK, espial_gateway_init(at_the_edge(size), size, &capacity, 1, 2, &gateway));
    size = espial_worker_size();
    GIVES(ESPIAL_OK, espial_worker_init(at_the_edge(size), size, gateway, 0, &worker));
    GIVES(ESPIAL_OK, espial_matcher_compile(NULL, 0, words, sizeof words / sizeof *words, &count));
    size = espial_matcher_size();
    GIVES(ESPIAL_OK, espial_matcher_init(at_the_edge(size), size, words, count, &matcher));
    GIVES(ESPIAL_OK, espial_spd_new(ESPIAL_DIRECTION_INBOUND, ESPIAL_ORDER_PLACED, NULL, 0, NULL, 0, &compiled));
    GIVES(ESPIAL_OK, espial_spd_words(compiled, &spd_words, &count));
    size = espial_spd_size();
    GIVES(ESPIAL_OK, espial_spd_init(at_the_edge(size), size, spd_words, count, &spd));
    GIVES(ESPIAL_OK, espial_spd_worker_size(spd, &worker_size));
    GIVES(ESPIAL_OK, espial_spd_worker_init(at_the_edge(worker_size), worker_size, spd, &spd_worker));
    GIVES(ESPIAL_OK, espial_local_in_new(ESPIAL_LOCAL_IN_ACCEPT, NULL, 0, NULL, 0, NULL, 0, NULL, 0, &compiled_local_in));
    GIVES(ESPIAL_OK, espial_local_in_words(compiled_local_in, &local_in_words, &count));
    size = espial_local_in_size();
    GIVES(ESPIAL_OK, espial_local_in_init(at_the_edge(size), size, local_in_words, count, &local_in));
    GIVES(ESPIAL_OK, espial_local_in_worker_size(local_in, &worker_size));
    GIVES(ESPIAL_OK,
          espial_local_in_worker_init(at_the_edge(worker_size), worker_size, local_in, &local_in_worker));
    GIVES(ESPIAL_OK, espial_sessions_size(&session_limits, &size));
    GIVES(ESPIAL_OK, espial_sessions_init(at_the_edge(size), size, &session_limits, 1, 2, &sessions));
    GIVES(ESPIAL_OK, espial_passthrough_rules_new(ESPIAL_RULE_DROP, NULL, 0, &compiled_rules));
    GIVES(ESPIAL_OK, espial_passthrough_rules_words(compiled_rules, &rules_words, &count));
    size = espial_passthrough_rules_size();
    GIVES(ESPIAL_OK, espial_passthrough_rules_init(at_the_edge(size), size, rules_words, count, &rules));
    GIVES(ESPIAL_OK, espial_passthrough_size(&passthrough_config, &size));
    GIVES(ESPIAL_OK, espial_passthrough_init(at_the_edge(size), size, &passthrough_config, 1, 2, &passthrough));
    GIVES(ESPIAL_OK, espial_reply_path_size(&reply_limits, &size));
    GIVES(ESPIAL_OK, espial_reply_path_init(at_the_edge(size), size, &reply_limits, &reply_config, NULL, 0, NULL, 0, 1, 2,
                                            &reply_path));

    handles[REPLY_PATH] = reply_path;
    handles[RULES] = rules;
    handles[PASSTHROUGH] = passthrough;
    handles[SESSIONS] = sessions;
    handles[LOCAL_IN] = local_in;
    handles[LOCAL_IN_WORKER] = local_in_worker;
    handles[GATEWAY] = gateway;
    handles[WORKER] = worker;
    handles[MATCHER] = matcher;
    handles[SPD] = spd;
    handles[SPD_WORKER] = spd_worker;
    for (int given = 0; given < KINDS; given++) {
        for (int kind = 0; kind < KINDS; kind++) {
            if (kind != given) {
                refused_as(kind, handles[given]);
            }
        }
    }

    /* All of them are what they were. */
    GIVES(ESPIAL_OK, espial_reply_path_release(reply_path));
    GIVES(ESPIAL_OK, espial_passthrough_release(passthrough));
    GIVES(ESPIAL_OK, espial_passthrough_rules_release(rules));
    GIVES(ESPIAL_OK, espial_passthrough_rules_free(compiled_rules));
    GIVES(ESPIAL_OK, espial_sessions_release(sessions));
    GIVES(ESPIAL_OK, espial_local_in_worker_release(local_in_worker));
    GIVES(ESPIAL_OK, espial_local_in_release(local_in));
    GIVES(ESPIAL_OK, espial_local_in_free(compiled_local_in));
    GIVES(ESPIAL_OK, espial_spd_worker_release(spd_worker));
    GIVES(ESPIAL_OK, espial_spd_release(spd));
    GIVES(ESPIAL_OK, espial_spd_free(compiled));
    GIVES(ESPIAL_OK, espial_matcher_release(matcher));
    GIVES(ESPIAL_OK, espial_worker_release(worker));
    GIVES(ESPIAL_OK, espial_gateway_release(gateway));
    return all_hold();
}
