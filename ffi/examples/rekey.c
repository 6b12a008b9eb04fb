/*
 * Two threads judge packets in bursts while a third rekeys: it adds the new SA, lets the old one live on
 * for a while, deletes it, and now and then publishes another Child SA. No packet of a live SA may be
 * dropped, no packet on the wrong SA accepted.
 *
 *     rekey [ROUNDS]          2000, or as many as two seconds allow
 *
 * C11 and POSIX threads.
 */
#define _POSIX_C_SOURCE 200809L
#include <espial.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { READERS = 2, BURST = 32, FIRST_SPI = 0x10000, EXTRA = 4 };

static espial_gateway *gateway;
static espial_child inside, beside; /* two Child SAs of one tunnel */
static _Atomic uint32_t newest;     /* the SPI that the peer uses now */
static _Atomic uint32_t oldest;     /* SPIs below are deleted, or about to be */
static _Atomic int done;
static _Atomic uint32_t reading;    /* readers that have judged a burst */

struct reader {
    pthread_t thread;
    uint32_t index;
    uint64_t accepted, wrong, gone;
};

static void must(int32_t status, const char *what) {
    if (status != ESPIAL_OK) {
        fprintf(stderr, "%s: %s\n", what, espial_status_text(status));
        exit(1);
    }
}

static void claim(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        exit(1);
    }
}

/* 28 octets: IPv4 with the head of an ESP packet. */
static void esp_packet(uint8_t octets[28], uint32_t spi) {
    static const uint8_t head[20] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 50, 0, 0, 198, 51, 100, 1, 203, 0, 113, 2};
    memcpy(octets, head, sizeof head);
    octets[20] = (uint8_t)(spi >> 24);
    octets[21] = (uint8_t)(spi >> 16);
    octets[22] = (uint8_t)(spi >> 8);
    octets[23] = (uint8_t)spi;
    memset(octets + 24, 0, 4);
}

static void *judge(void *argument) {
    static const uint8_t good[20] = {0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 10, 2, 0, 5, 10, 1, 0, 5};
    static const uint8_t stray[20] = {0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 10, 2, 1, 5, 10, 1, 1, 5};
    struct reader *reader = argument;
    size_t size = espial_worker_size(), i, n;
    void *memory = aligned_alloc(espial_worker_align(), size);
    espial_worker *worker;
    uint8_t octets[BURST][28];
    espial_packet packets[BURST];
    espial_arrival arrivals[BURST];
    espial_opened opened[BURST];
    espial_verdict verdicts[BURST];
    int begun = 0;

    claim(memory != NULL, "memory");
    must(espial_worker_init(memory, size, gateway, reader->index, &worker), "worker");
    while (!atomic_load(&done)) {
        uint32_t spi = atomic_load(&newest);
        size_t live;
        for (i = 0; i < BURST; i++) {
            /* Every fourth packet is on an SA that was deleted long ago. */
            esp_packet(octets[i], i % 4 == 3 ? FIRST_SPI - 1 : spi);
            packets[i].octets = octets[i];
            packets[i].len = sizeof octets[i];
        }
        must(espial_worker_arrive_burst(worker, packets, BURST, 0, 0, arrivals), "arrive");
        for (n = 0, i = 0; i < BURST; i++) {
            if (i % 4 == 3) {
                claim(arrivals[i].verdict == ESPIAL_VERDICT_DROP, "an SPI that was never in use");
                claim(arrivals[i].reason == ESPIAL_DROP_UNKNOWN_SPI, "its reason");
                continue;
            }
            if (arrivals[i].verdict != ESPIAL_VERDICT_OPEN) {
                /* Only if the writer has moved on twice meanwhile. */
                claim(atomic_load(&oldest) > spi, "a live SA was not found");
                claim(arrivals[i].reason == ESPIAL_DROP_UNKNOWN_SPI, "the reason of a deleted SA");
                reader->gone++;
                continue;
            }
            memset(&opened[n], 0, sizeof opened[n]);
            opened[n].outer = &arrivals[i].outer;
            opened[n].sa = arrivals[i].sa;
            opened[n].next_header = 4;
            opened[n].payload = n % 2 == 0 ? good : stray;
            opened[n].len = sizeof good;
            n++;
        }
        must(espial_worker_check_burst(worker, opened, n, 0, 0, verdicts), "check");
        live = n;
        for (i = 0; i < live; i++) {
            if (verdicts[i].reason == ESPIAL_DROP_UNKNOWN_SPI) {
                claim(atomic_load(&oldest) > spi, "a live SA was gone at the check");
                reader->gone++;
            } else if (i % 2 == 0) {
                claim(verdicts[i].verdict == ESPIAL_VERDICT_ACCEPT, "a false drop");
                claim(verdicts[i].child.index == inside.index, "the Child SA");
                reader->accepted++;
            } else {
                claim(verdicts[i].verdict == ESPIAL_VERDICT_DROP, "a false accept");
                claim(verdicts[i].reason == ESPIAL_DROP_WRONG_SA, "the reason of a stray packet");
                claim(verdicts[i].belongs_to.index == beside.index, "whose it is");
                reader->wrong++;
            }
        }
        must(espial_worker_quiescent(worker), "quiescent");
        if (!begun) {
            begun = 1;
            atomic_fetch_add(&reading, 1);
        }
    }
    must(espial_worker_release(worker), "release");
    free(memory);
    return NULL;
}

/* The writer waits for the readers only when it needs their memory back. */
#define RETRY(call)                                                                                        \
    do {                                                                                                   \
        int32_t status_;                                                                                   \
        while ((status_ = (call)) == ESPIAL_EBUSY) {                                                       \
            sched_yield();                                                                                 \
        }                                                                                                  \
        must(status_, #call);                                                                              \
    } while (0)

static espial_child child(espial_tunnel tunnel, uint8_t net) {
    espial_ts local = {ESPIAL_FAMILY_V4, 0, 0, 65535, 0, {10, 1}, {10, 1}};
    espial_ts remote = {ESPIAL_FAMILY_V4, 0, 0, 65535, 0, {10, 2}, {10, 2}};
    espial_child made;
    local.addr_lo[2] = local.addr_hi[2] = remote.addr_lo[2] = remote.addr_hi[2] = net;
    local.addr_hi[3] = remote.addr_hi[3] = 255;
    RETRY(espial_child_add(gateway, tunnel, &local, 1, &remote, 1, &made));
    return made;
}

static espial_sa sa(espial_child owner, uint32_t spi) {
    espial_sa_params params;
    espial_sa made;
    memset(&params, 0, sizeof params);
    params.size = sizeof params;
    params.mode = ESPIAL_SA_TUNNEL;
    params.key.spi = spi;
    params.key.ipsec = ESPIAL_IPSEC_ESP;
    params.key.scope = ESPIAL_SCOPE_SPI;
    RETRY(espial_sa_add(gateway, owner, &params, &made));
    return made;
}

int main(int argc, char **argv) {
    espial_capacity capacity = {
        sizeof capacity, .tunnels = 1, .children = 2 + EXTRA, .selectors = 2 + EXTRA, .sas = 8, .workers = READERS,
    };
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000, round;
    struct reader readers[READERS];
    espial_tunnel tunnel;
    espial_child extra = {0, 0};
    espial_sa old, new;
    espial_counts counts;
    uint64_t accepted = 0, wrong = 0, gone = 0;
    uint32_t i;
    time_t start;
    size_t size;
    void *memory;

    must(espial_gateway_size(&capacity, &size), "size");
    memory = aligned_alloc(espial_gateway_align(), size);
    claim(memory != NULL, "memory");
    must(espial_gateway_init(memory, size, &capacity, 0x5eed, 0xf00d, &gateway), "gateway");
    must(espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel), "tunnel");
    inside = child(tunnel, 0);
    beside = child(tunnel, 1);
    must(espial_gateway_publish(gateway), "publish");
    old = sa(inside, FIRST_SPI);
    sa(beside, 0xb0000000);
    atomic_store(&newest, FIRST_SPI);
    atomic_store(&oldest, FIRST_SPI);

    for (i = 0; i < READERS; i++) {
        memset(&readers[i], 0, sizeof readers[i]);
        readers[i].index = i;
        claim(pthread_create(&readers[i].thread, NULL, judge, &readers[i]) == 0, "thread");
    }
    while (atomic_load(&reading) < READERS) {
        sched_yield();
    }
    start = time(NULL);
    for (round = 1; round <= rounds && difftime(time(NULL), start) < 2.0; round++) {
        uint32_t spi = FIRST_SPI + (uint32_t)round;
        /* RFC 7296 section 2.8: both answer while the peer moves. */
        new = sa(inside, spi);
        atomic_store(&newest, spi);
        if (round % 16 == 0) {
            if (extra.generation != 0) {
                must(espial_child_remove(gateway, extra), "remove");
            }
            extra = child(tunnel, 7);
            RETRY(espial_gateway_publish(gateway));
        }
        atomic_store(&oldest, spi);
        must(espial_sa_delete(gateway, old, round), "delete");
        old = new;
    }
    atomic_store(&done, 1);
    for (i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        accepted += readers[i].accepted;
        wrong += readers[i].wrong;
        gone += readers[i].gone;
    }
    counts.size = sizeof counts;
    must(espial_gateway_counts(gateway, &counts), "counts");
    claim(counts.packets == accepted, "the counts are exact");
    claim(counts.drops[ESPIAL_DROP_WRONG_SA] == wrong, "the counts are exact");
    claim(accepted > 0 && wrong > 0, "something was judged");
    printf("%lu rekeys: %llu accepted, %llu on the wrong SA, %llu on an SA just deleted\n", round - 1,
           (unsigned long long)accepted, (unsigned long long)wrong, (unsigned long long)gone);
    must(espial_gateway_release(gateway), "release");
    free(memory);
    return 0;
}
