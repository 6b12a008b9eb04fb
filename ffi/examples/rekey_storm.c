/*
 * A gateway that chooses its SPIs itself, in static memory: a few thousand SAs, all of them rekeyed several
 * times over while another thread looks them up in bursts and must never miss a live one. In the middle of
 * it the gateway grows, and takes more SAs.
 *
 *     rekey_storm [STORMS]          6
 *
 * The clock is simulated: it moves when SPIs are quarantined. C11 and POSIX threads; no allocator.
 */
#define _POSIX_C_SOURCE 200809L
#include <espial.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAS = 3000,        /* at first */
    SAS_GROWN = 4000,  /* behind the growth */
    SLOTS = 2 * SAS,   /* two SAs each while they are rekeyed, and those in quarantine */
    SLOTS_GROWN = 2 * SAS_GROWN,
    BATCH = 500,       /* rekeyed at once */
    CHILDREN = 4,
    FAILING = 97,      /* every so many negotiations fail */
    QUARANTINE_MS = 2000,
    BURST = ESPIAL_BURST_MAX,
};

/* What espial_gateway_size(), espial_gateway_growth_size() and espial_worker_size() say, and some more. */
static _Alignas(64) uint8_t memory[4 << 20], grown[2 << 20], worker_memory[2][1 << 14];

static espial_gateway *gateway;
static espial_child children[CHILDREN];

/* By number of the peer's SA. Written by the main thread only. */
static _Atomic uint32_t spi_in_use[SAS_GROWN]; /* the peer sends on it */
static _Atomic uint32_t spi_to_come[SAS_GROWN]; /* reserved, or alive beside the one in use; 0 = none */
static espial_sa handle[SAS_GROWN], new_handle[SAS_GROWN];
/* By index of an SA: when the one before it was deleted. */
static uint64_t deleted_at[SLOTS_GROWN + 64];

static _Atomic uint32_t peers; /* numbers in use */
static _Atomic uint64_t now_ms;
static _Atomic uint32_t turns; /* of the reader */
static _Atomic int done;

static struct { uint64_t lookups, found, judged, larval, larval_alive; } reader_saw;
static struct { uint64_t rekeys, failed, waits, busy, gone; } writer_did;

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

/* What the host's own parser has read of a packet from 198.51.100.1 to 203.0.113.2. */
static espial_outer headers(uint32_t spi, uint32_t sequence) {
    espial_outer outer = {
        .family = ESPIAL_FAMILY_V4, .ipsec = ESPIAL_IPSEC_ESP, .spi = spi, .sequence = sequence, .offset = 20, .octets = 100,
        .src = {198, 51, 100, 1}, .dst = {203, 0, 113, 2},
    };
    return outer;
}

/* ---- the reader: packets ---------------------------------------------------------------------------- */

static void *look_up(void *worker_of_this_thread) {
    espial_worker *worker = worker_of_this_thread;
    uint32_t spis[BURST], at = 0, sequence = 0, i, n, larval;
    espial_outer outers[BURST];
    espial_arrival arrivals[BURST];
    espial_sa sas[BURST];
    size_t found;

    while (!atomic_load(&done)) {
        uint32_t limit = atomic_load(&peers);
        uint64_t now = atomic_load(&now_ms);
        sequence++; /* another one each time: nothing is a replay */
        /* SPIs that the peer uses now: their SAs stay at least until this turn is over. */
        for (i = 0; i < BURST; i++) {
            spis[i] = atomic_load(&spi_in_use[(at + i) % limit]);
        }
        must(espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, BURST, sas, &found), "find");
        claim(found == BURST, "a live SA was not found");
        for (i = 0; i < BURST; i++) {
            outers[i] = headers(spis[i], sequence);
        }
        must(espial_worker_lookup_burst(worker, outers, BURST, now, 0, arrivals), "look up");
        for (i = 0; i < BURST; i++) {
            claim(arrivals[i].verdict == ESPIAL_VERDICT_OPEN, "a packet on a live SA was dropped");
            claim(arrivals[i].sa.slot == sas[i].slot && arrivals[i].sa.spi == sas[i].spi,
                  "both ways lead to the same SA");
        }
        /* A packet on each, opened by the host's crypto: the SA is the right one for it. */
        for (i = 0; i < BURST; i += 16) {
            uint8_t net = (uint8_t)((at + i) % limit % CHILDREN);
            espial_inner inner = {
                .family = ESPIAL_FAMILY_V4, .protocol = 17, .next_layer = ESPIAL_NEXT_LAYER_PORTS, .sport = 5000,
                .dport = 53, .src = {10, 2, net, 5}, .dst = {10, 1, net, 9},
            };
            espial_verdict verdict;
            must(espial_worker_check_headers(worker, sas[i], &arrivals[i].outer, &inner, 60, now, 0, &verdict), "check");
            claim(verdict.verdict == ESPIAL_VERDICT_ACCEPT, "a false drop");
            reader_saw.judged++;
        }
        /* Packets that are too early: larval, or their SA lives by now. */
        for (n = 0, i = 0; i < BURST; i++) {
            uint32_t early = atomic_load(&spi_to_come[(at + i) % limit]);
            if (early != 0) {
                outers[n++] = headers(early, 1);
            }
        }
        must(espial_worker_lookup_burst(worker, outers, n, now, 0, arrivals), "look up early ones");
        for (larval = 0, i = 0; i < n; i++) {
            if (arrivals[i].verdict == ESPIAL_VERDICT_OPEN) {
                reader_saw.larval_alive++;
            } else if (arrivals[i].spi_class == ESPIAL_SPI_CLASS_LARVAL) {
                larval++;
            } else {
                /* Given back: the negotiation failed meanwhile. */
                claim(arrivals[i].reason == ESPIAL_DROP_UNKNOWN_SPI, "the reason of an early packet");
            }
        }
        reader_saw.larval += larval;
        reader_saw.lookups += 2 * BURST + n;
        reader_saw.found += BURST;
        at = (at + BURST) % limit;
        must(espial_worker_quiescent(worker), "quiescent");
        atomic_fetch_add(&turns, 1);
    }
    must(espial_worker_release(worker), "release the reader");
    return NULL;
}

/* ---- the writer: key management --------------------------------------------------------------------- */

/* Every packet that arrived before this call has been judged: the peers have moved. */
static void wait_for_the_reader(void) {
    uint32_t turn = atomic_load(&turns);
    while (atomic_load(&turns) == turn) {
        sched_yield();
    }
}

static uint32_t reserve(void) {
    for (;;) {
        uint32_t spi;
        int32_t status = espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, atomic_load(&now_ms), &spi);
        if (status == ESPIAL_EQUARANTINE) { /* a real one would wait, or have more slots */
            atomic_fetch_add(&now_ms, QUARANTINE_MS / 4);
            writer_did.waits++;
        } else if (status == ESPIAL_EBUSY) { /* the reader has not been quiescent since they were deleted */
            writer_did.busy++;
            sched_yield();
        } else {
            must(status, "reserve");
            claim(spi >= 256, "a reserved SPI");
            return spi;
        }
    }
}

static espial_sa activate(uint32_t number, uint32_t spi) {
    espial_sa_params params = {
        sizeof params, .mode = ESPIAL_SA_TUNNEL, .replay_window = 64,
        .key = {.spi = spi, .ipsec = ESPIAL_IPSEC_ESP, .scope = ESPIAL_SCOPE_SPI},
    };
    uint64_t now = atomic_load(&now_ms);
    espial_sa sa;
    must(espial_sa_add(gateway, children[number % CHILDREN], &params, &sa), "activate");
    const uint32_t index = sa.slot & ESPIAL_SA_INDEX;
    claim(index < sizeof deleted_at / sizeof *deleted_at, "an index");
    claim(deleted_at[index] == 0 || now - deleted_at[index] >= QUARANTINE_MS, "the quarantine");
    return sa;
}

/* Rekeys numbers first to end - 1 (RFC 7296 section 2.8): the old SAs answer until the peers have moved. */
static void rekey(espial_worker *own, uint32_t first, uint32_t end) {
    static uint32_t old_spi[BATCH];
    uint32_t number;
    for (number = first; number < end; number++) {
        atomic_store(&spi_to_come[number], reserve());
        if (number % FAILING == 0) { /* the peer does not answer: give it back, and try again */
            uint32_t spi = atomic_load(&spi_to_come[number]);
            espial_sa none;
            atomic_store(&spi_to_come[number], 0);
            must(espial_spi_release(gateway, ESPIAL_IPSEC_ESP, spi, atomic_load(&now_ms)), "give back");
            claim(espial_spi_release(gateway, ESPIAL_IPSEC_ESP, spi, 0) == ESPIAL_ESTALE, "given back once");
            must(espial_worker_find_spi(own, ESPIAL_IPSEC_ESP, spi, &none), "find");
            claim(none.spi == 0, "an SPI that was given back");
            must(espial_worker_idle(own), "idle"); /* or its slot would stay busy */
            writer_did.failed++;
            atomic_store(&spi_to_come[number], reserve());
        }
    }
    wait_for_the_reader(); /* early packets arrive */
    for (number = first; number < end; number++) {
        new_handle[number] = activate(number, atomic_load(&spi_to_come[number]));
    }
    wait_for_the_reader(); /* both are valid */
    for (number = first; number < end; number++) {
        old_spi[number - first] = atomic_load(&spi_in_use[number]);
        atomic_store(&spi_in_use[number], atomic_load(&spi_to_come[number]));
        atomic_store(&spi_to_come[number], 0);
    }
    wait_for_the_reader(); /* nobody sends on the old ones any more */
    for (number = first; number < end; number++) {
        uint64_t now = atomic_load(&now_ms);
        espial_outer late = headers(old_spi[number - first], 1);
        espial_arrival arrival;
        must(espial_sa_delete(gateway, handle[number], now), "delete");
        deleted_at[handle[number].slot & ESPIAL_SA_INDEX] = now;
        handle[number] = new_handle[number];
        must(espial_worker_lookup(own, &late, now, 0, &arrival), "look up a late packet");
        claim(arrival.reason == ESPIAL_DROP_UNKNOWN_SPI, "a deleted SA");
        writer_did.gone++;
    }
    must(espial_worker_idle(own), "idle");
    writer_did.rekeys += end - first;
    atomic_fetch_add(&now_ms, 10);
}

/* New peers: numbers first to end - 1. */
static void add(uint32_t first, uint32_t end) {
    uint32_t number;
    for (number = first; number < end; number++) {
        uint32_t spi = reserve();
        handle[number] = activate(number, spi);
        atomic_store(&spi_in_use[number], spi);
    }
    atomic_store(&peers, end);
}

static void add_children(void) {
    espial_tunnel tunnel;
    uint8_t net;
    must(espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel), "tunnel");
    for (net = 0; net < CHILDREN; net++) {
        espial_ts local = {ESPIAL_FAMILY_V4, .port_hi = 65535, .addr_lo = {10, 1, net, 0}, .addr_hi = {10, 1, net, 255}};
        espial_ts remote = {ESPIAL_FAMILY_V4, .port_hi = 65535, .addr_lo = {10, 2, net, 0}, .addr_hi = {10, 2, net, 255}};
        must(espial_child_add(gateway, tunnel, &local, 1, &remote, 1, &children[net]), "Child SA");
    }
    must(espial_gateway_publish(gateway), "publish");
}

int main(int argc, char **argv) {
    espial_capacity capacity = {
        sizeof capacity, .tunnels = 1, .children = CHILDREN, .selectors = CHILDREN, .workers = 2, .sas_allocated = SLOTS,
        .replay_window = 64,
    };
    espial_capacity larger = capacity;
    unsigned long storms = argc > 1 ? strtoul(argv[1], NULL, 10) : 6, storm;
    uint32_t limits[4], number, sas = 0;
    espial_worker *own, *reading;
    espial_counts counts;
    pthread_t reader;
    size_t size, growth;

    larger.sas_allocated = SLOTS_GROWN;
    must(espial_gateway_size(&capacity, &size), "size");
    claim(size <= sizeof memory && espial_worker_size() <= sizeof worker_memory[0], "memory");
    must(espial_gateway_init(memory, sizeof memory, &capacity, 0x5eed, 0xf00d /* random in earnest */, &gateway), "gateway");
    must(espial_worker_init(worker_memory[0], sizeof worker_memory[0], gateway, 0, &own), "worker");
    must(espial_worker_init(worker_memory[1], sizeof worker_memory[1], gateway, 1, &reading), "second worker");
    must(espial_spi_set_quarantine(gateway, QUARANTINE_MS), "quarantine");
    atomic_store(&now_ms, 1000);
    add_children();
    add(0, SAS);
    claim(pthread_create(&reader, NULL, look_up, reading) == 0, "thread");

    growth = 0;
    for (storm = 0; storm < storms; storm++) {
        for (number = 0; number < atomic_load(&peers); number += BATCH) {
            rekey(own, number, number + BATCH);
            if (growth == 0 && storm == storms / 2 && number >= SAS / 2) {
                must(espial_gateway_growth_size(gateway, &larger, &growth), "growth size");
                claim(growth <= sizeof grown, "more memory");
                must(espial_gateway_grow(gateway, grown, sizeof grown, &larger), "grow");
                wait_for_the_reader();
                add(SAS, SAS_GROWN);
            }
        }
    }
    wait_for_the_reader();
    atomic_store(&done, 1);
    pthread_join(reader, NULL);

    /* What there is now is what there should be. */
    for (number = 0; number < atomic_load(&peers); number++) {
        espial_sa found;
        must(espial_worker_find_spi(own, ESPIAL_IPSEC_ESP, atomic_load(&spi_in_use[number]), &found), "find");
        claim(found.slot == handle[number].slot && found.spi == handle[number].spi, "an SA at the end");
        sas++;
    }
    must(espial_gateway_sa_limits(gateway, &limits[0], &limits[1], &limits[2], &limits[3]), "limits");
    counts.size = sizeof counts;
    must(espial_gateway_counts(gateway, &counts), "counts");
    claim(limits[3] == (growth != 0 ? SLOTS_GROWN : SLOTS), "the limits");
    claim(counts.packets == reader_saw.judged, "the counts are exact, those of deleted SAs too");
    claim(storms == 0 || (growth != 0 && sas == SAS_GROWN && reader_saw.found > 0), "all of it happened");
    claim(storms == 0 || (reader_saw.larval > 0 && writer_did.failed > 0), "early packets were seen");
    claim(storms < 2 || writer_did.waits > 0, "SPIs were quarantined");

    printf("rekeys             %8llu   in %lu storms, %llu negotiations failed\n", (unsigned long long)writer_did.rekeys,
           storms, (unsigned long long)writer_did.failed);
    printf("lookups            %8llu   by the reader, of live SAs missed: 0\n", (unsigned long long)reader_saw.lookups);
    printf("larval packets     %8llu   and %llu on SAs that had come to life\n", (unsigned long long)reader_saw.larval,
           (unsigned long long)reader_saw.larval_alive);
    printf("late packets       %8llu   unknown_spi, each\n", (unsigned long long)writer_did.gone);
    printf("quarantine waits   %8llu   of %d ms simulated, %llu for the reader\n", (unsigned long long)writer_did.waits,
           QUARANTINE_MS / 4, (unsigned long long)writer_did.busy);
    printf("SAs at the end     %8lu   of %lu slots\n", (unsigned long)sas, (unsigned long)limits[3]);
    printf("growth             %8lu   octets behind %lu\n", (unsigned long)growth, (unsigned long)size);
    must(espial_worker_release(own), "release");
    must(espial_gateway_release(gateway), "release the gateway");
    return 0;
}
