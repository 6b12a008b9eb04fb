/*
 * Mistakes with packets, for a worker of a gateway with one SA: a burst is judged whole or not at all, and good
 * packets pass after all of them.
 */
#include "gateway.h"

static const uint8_t INNER[20] = {0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 10, 2, 0, 5, 10, 1, 0, 5};

static uint64_t dropped(void) {
    espial_counts counts;
    counts.size = sizeof counts;
    GIVES(ESPIAL_OK, espial_gateway_counts(gateway, &counts));
    return counts.dropped;
}

static void packets(void) {
    espial_packet burst[65];
    espial_arrival arrivals[65], arrival;
    espial_opened opened[65];
    espial_verdict verdicts[65], verdict, zero;
    espial_inner inner;
    espial_plain_verdict short_verdict;
    espial_outer outer;
    espial_event events[2];
    espial_outer outers[65];
    espial_sa sas[65];
    uint32_t spis[65];
    size_t made = 77;
    uint64_t before;
    uint32_t i;
    const espial_sa stale = {sa.slot ^ 1 << 24, sa.spi}, far_sa = {UINT32_MAX, 1};

    memset(&zero, 0, sizeof zero);
    CLAIM(zero.verdict == ESPIAL_VERDICT_DROP);
    GIVES(ESPIAL_OK, espial_worker_arrive(worker, ESP, sizeof ESP, 0, 0, &arrival));
    CLAIM(arrival.verdict == ESPIAL_VERDICT_OPEN && arrival.sa.slot == sa.slot);
    for (i = 0; i < 65; i++) {
        burst[i].octets = ESP;
        burst[i].len = sizeof ESP;
        memset(&opened[i], 0, sizeof opened[i]);
        opened[i].outer = &arrival.outer;
        opened[i].payload = INNER;
        opened[i].len = sizeof INNER;
        opened[i].sa = sa;
        opened[i].next_header = 4;
    }
    before = dropped();
    memset(arrivals, 0x55, sizeof arrivals);
    memset(verdicts, 0x55, sizeof verdicts);
    memset(sas, 0x55, sizeof sas);
    for (i = 0; i < 65; i++) {
        outers[i] = arrival.outer;
        spis[i] = i % 2 == 0 ? 0x1111 : i;
    }

    /* Bursts: too many, none, NULL, one bad element at every place: no packet is judged. */
    GIVES(ESPIAL_ERANGE, espial_worker_arrive_burst(worker, burst, 65, 0, 0, arrivals));
    GIVES(ESPIAL_ERANGE, espial_worker_arrive_burst(worker, burst, SIZE_MAX, 0, 0, arrivals));
    GIVES(ESPIAL_ERANGE, espial_worker_check_burst(worker, opened, 65, 0, 0, verdicts));
    GIVES(ESPIAL_ERANGE, espial_worker_check_burst(worker, opened, SIZE_MAX, 0, 0, verdicts));
    GIVES(ESPIAL_OK, espial_worker_arrive_burst(worker, NULL, 0, 0, 0, NULL));
    GIVES(ESPIAL_OK, espial_worker_check_burst(worker, NULL, 0, 0, 0, NULL));
    NULLS(espial_worker_arrive_burst(NULL, burst, 1, 0, 0, arrivals));
    NULLS(espial_worker_arrive_burst(worker, NULL, 1, 0, 0, arrivals));
    NULLS(espial_worker_arrive_burst(worker, burst, 1, 0, 0, NULL));
    NULLS(espial_worker_check_burst(NULL, opened, 1, 0, 0, verdicts));
    NULLS(espial_worker_check_burst(worker, NULL, 1, 0, 0, verdicts));
    NULLS(espial_worker_check_burst(worker, opened, 1, 0, 0, NULL));
    GIVES(ESPIAL_EALIGN, espial_worker_arrive_burst(worker, ODD(espial_packet, burst), 1, 0, 0, arrivals));
    GIVES(ESPIAL_EALIGN, espial_worker_arrive_burst(worker, burst, 1, 0, 0, ODD(espial_arrival, arrivals)));
    GIVES(ESPIAL_EALIGN, espial_worker_check_burst(worker, opened, 1, 0, 0, ODD(espial_verdict, verdicts)));
    GIVES(ESPIAL_ERANGE, espial_worker_lookup_burst(worker, outers, 65, 0, 0, arrivals));
    GIVES(ESPIAL_ERANGE, espial_worker_lookup_burst(worker, outers, SIZE_MAX, 0, 0, arrivals));
    GIVES(ESPIAL_ERANGE, espial_worker_find_sas(worker, outers, 65, sas, &made));
    GIVES(ESPIAL_ERANGE, espial_worker_find_sas(worker, outers, SIZE_MAX, sas, &made));
    GIVES(ESPIAL_ERANGE, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 65, sas, &made));
    GIVES(ESPIAL_ERANGE, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, SIZE_MAX, sas, &made));
    for (i = 0; i < 600; i++) {
        if (i != ESPIAL_IPSEC_ESP && i != ESPIAL_IPSEC_AH) {
            GIVES(ESPIAL_EVALUE, espial_worker_find_spis(worker, i, spis, 1, sas, &made));
            GIVES(ESPIAL_EVALUE, espial_worker_find_spi(worker, i, 0x1111, sas));
        }
    }
    NULLS(espial_worker_lookup_burst(NULL, outers, 1, 0, 0, arrivals));
    NULLS(espial_worker_lookup_burst(worker, NULL, 1, 0, 0, arrivals));
    NULLS(espial_worker_lookup_burst(worker, outers, 1, 0, 0, NULL));
    NULLS(espial_worker_find_sas(NULL, outers, 1, sas, &made));
    NULLS(espial_worker_find_sas(worker, NULL, 1, sas, &made));
    NULLS(espial_worker_find_sas(worker, outers, 1, NULL, &made));
    NULLS(espial_worker_find_sas(worker, outers, 1, sas, NULL));
    NULLS(espial_worker_find_spis(NULL, ESPIAL_IPSEC_ESP, spis, 1, sas, &made));
    NULLS(espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, NULL, 1, sas, &made));
    NULLS(espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 1, NULL, &made));
    NULLS(espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 1, sas, NULL));
    NULLS(espial_worker_find_spi(NULL, ESPIAL_IPSEC_ESP, 0x1111, sas));
    NULLS(espial_worker_find_spi(worker, ESPIAL_IPSEC_ESP, 0x1111, NULL));
    CLAIM(espial_worker_find_esp(worker, 0x1111) == sa.slot && espial_worker_find_esp(worker, 0x7777) == 0);
    CLAIM(espial_worker_find_esp(NULL, 0x1111) == 0 && espial_worker_find_esp(ODD(espial_worker, worker), 0x1111) == 0);
    GIVES(ESPIAL_EALIGN, espial_worker_lookup_burst(worker, ODD(espial_outer, outers), 1, 0, 0, arrivals));
    GIVES(ESPIAL_EALIGN, espial_worker_lookup_burst(worker, outers, 1, 0, 0, ODD(espial_arrival, arrivals)));
    GIVES(ESPIAL_EALIGN, espial_worker_find_sas(worker, ODD(espial_outer, outers), 1, sas, &made));
    GIVES(ESPIAL_EALIGN, espial_worker_find_sas(worker, outers, 1, ODD(espial_sa, sas), &made));
    GIVES(ESPIAL_EALIGN, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, ODD(uint32_t, spis), 1, sas, &made));
    GIVES(ESPIAL_EALIGN, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 1, ODD(espial_sa, sas), &made));
    for (i = 0; i < 64; i++) {
        outers[i].family = 5;
        GIVES(ESPIAL_EVALUE, espial_worker_lookup_burst(worker, outers, 64, 0, 0, arrivals));
        GIVES(ESPIAL_EVALUE, espial_worker_find_sas(worker, outers, 64, sas, &made));
        outers[i].family = ESPIAL_FAMILY_V4;
    }
    CLAIM(made == 77 && sas[0].slot == 0x55555555);
    GIVES(ESPIAL_OK, espial_worker_lookup_burst(worker, NULL, 0, 0, 0, NULL));
    GIVES(ESPIAL_OK, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, NULL, 0, NULL, &made));
    CLAIM(made == 0);
    made = 77;
    GIVES(ESPIAL_OK, espial_worker_find_sas(worker, NULL, 0, NULL, &made));
    CLAIM(made == 0);
    made = 77;
    for (i = 0; i < 64; i++) {
        burst[i].octets = NULL;
        NULLS(espial_worker_arrive_burst(worker, burst, 64, 0, 0, arrivals));
        burst[i].octets = ESP;
        burst[i].len = SIZE_MAX;
        GIVES(ESPIAL_ERANGE, espial_worker_arrive_burst(worker, burst, 64, 0, 0, arrivals));
        burst[i].len = sizeof ESP;
        opened[i].outer = NULL;
        NULLS(espial_worker_check_burst(worker, opened, 64, 0, 0, verdicts));
        opened[i].outer = ODD(espial_outer, &arrival.outer);
        GIVES(ESPIAL_EALIGN, espial_worker_check_burst(worker, opened, 64, 0, 0, verdicts));
        opened[i].outer = &arrival.outer;
        opened[i].payload = NULL;
        NULLS(espial_worker_check_burst(worker, opened, 64, 0, 0, verdicts));
        opened[i].payload = INNER;
    }
    CLAIM(arrivals[0].verdict == 0x55 && verdicts[0].verdict == 0x55 && dropped() == before);

    /* Good ones still pass, and write exactly as many as they should. */
    GIVES(ESPIAL_OK, espial_worker_arrive_burst(worker, burst, 64, 0, 0, arrivals));
    GIVES(ESPIAL_OK, espial_worker_check_burst(worker, opened, 64, 0, 0, verdicts));
    for (i = 0; i < 64; i++) {
        CLAIM(arrivals[i].verdict == ESPIAL_VERDICT_OPEN && verdicts[i].verdict == ESPIAL_VERDICT_ACCEPT);
    }
    CLAIM(arrivals[64].verdict == 0x55 && verdicts[64].verdict == 0x55);
    memset(arrivals, 0x55, sizeof arrivals);
    GIVES(ESPIAL_OK, espial_worker_lookup_burst(worker, outers, 64, 0, 0, arrivals));
    GIVES(ESPIAL_OK, espial_worker_find_sas(worker, outers, 64, sas, &made));
    CLAIM(made == 64 && sas[63].spi == sa.spi && sas[64].slot == 0x55555555);
    GIVES(ESPIAL_OK, espial_worker_find_spis(worker, ESPIAL_IPSEC_ESP, spis, 64, sas, &made));
    CLAIM(made == 32 && arrivals[64].verdict == 0x55 && sas[64].slot == 0x55555555);
    for (i = 0; i < 64; i++) {
        CLAIM(arrivals[i].verdict == ESPIAL_VERDICT_OPEN && arrivals[i].sa.slot == sa.slot);
        CLAIM(i % 2 == 0 ? sas[i].spi == sa.spi : sas[i].spi == 0);
    }
    made = 77;

    /* Every truncation of a packet is a drop or, as a whole, opened. */
    for (i = 0; i < sizeof ESP; i++) {
        GIVES(ESPIAL_OK, espial_worker_arrive(worker, i == 0 ? NULL : ESP, i, 0, 0, &arrival));
        CLAIM(arrival.verdict == ESPIAL_VERDICT_DROP && arrival.reason != ESPIAL_DROP_NONE);
    }
    GIVES(ESPIAL_OK, espial_worker_arrive(worker, ESP, sizeof ESP, 0, 0, &arrival));
    outer = arrival.outer;
    NULLS(espial_worker_arrive(NULL, ESP, sizeof ESP, 0, 0, &arrival));
    NULLS(espial_worker_arrive(worker, NULL, 1, 0, 0, &arrival));
    NULLS(espial_worker_arrive(worker, ESP, sizeof ESP, 0, 0, NULL));
    GIVES(ESPIAL_ERANGE, espial_worker_arrive(worker, ESP, SIZE_MAX, 0, 0, &arrival));
    GIVES(ESPIAL_EALIGN, espial_worker_arrive(ODD(espial_worker, worker), ESP, sizeof ESP, 0, 0, &arrival));

    /* Handles that are none are drops, not errors: the SA may be gone any time. */
    opened[0].sa = stale;
    GIVES(ESPIAL_OK, espial_worker_check(worker, &opened[0], 0, 0, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.reason == ESPIAL_DROP_UNKNOWN_SPI);
    opened[0].sa = far_sa;
    GIVES(ESPIAL_OK, espial_worker_check(worker, &opened[0], 0, 0, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.tunnel.generation == 0);
    opened[0].sa = sa;
    for (i = 0; i < sizeof INNER; i++) {
        opened[0].len = i;
        opened[0].payload = i == 0 ? NULL : INNER;
        GIVES(ESPIAL_OK, espial_worker_check(worker, &opened[0], 0, 0, &verdict));
        CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.reason >= ESPIAL_DROP_MALFORMED_IP_VERSION);
    }
    NULLS(espial_worker_check_plain(NULL, &opened[1], &verdict));
    NULLS(espial_worker_check_plain(worker, NULL, &verdict));
    NULLS(espial_worker_check_plain(worker, &opened[1], NULL));
    NULLS(espial_worker_check_plain_headers(NULL, sa, &inner, 20, &short_verdict));
    NULLS(espial_worker_check_plain_headers(worker, sa, NULL, 20, &short_verdict));
    NULLS(espial_worker_check_plain_headers(worker, sa, &inner, 20, NULL));
    GIVES(ESPIAL_EALIGN, espial_worker_check_plain_headers(worker, sa, ODD(espial_inner, &inner), 20, &short_verdict));
    NULLS(espial_worker_check(NULL, &opened[1], 0, 0, &verdict));
    NULLS(espial_worker_check(worker, NULL, 0, 0, &verdict));
    NULLS(espial_worker_check(worker, &opened[1], 0, 0, NULL));

    /* Hostile enums in the headers. */
    memset(&inner, 0, sizeof inner);
    GIVES(ESPIAL_EVALUE, espial_worker_check_headers(worker, sa, &outer, &inner, 20, 0, 0, &verdict));
    inner.family = ESPIAL_FAMILY_V4;
    inner.protocol = 253;
    memcpy(inner.src, INNER + 12, 4);
    memcpy(inner.dst, INNER + 16, 4);
    GIVES(ESPIAL_OK, espial_worker_check_headers(worker, sa, &outer, &inner, SIZE_MAX, 0, 0, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_ACCEPT);
    for (i = 0; i < 256; i++) {
        espial_outer bad = outer;
        espial_inner worse = inner;
        bad.family = (uint8_t)i;
        GIVES(i == 4 || i == 6 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_lookup(worker, &bad, 0, 0, &arrival));
        bad = outer;
        bad.ipsec = (uint8_t)i;
        GIVES(i == 50 || i == 51 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_lookup(worker, &bad, 0, 0, &arrival));
        bad = outer;
        bad.encap = (uint8_t)i;
        GIVES(i <= 2 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_lookup(worker, &bad, 0, 0, &arrival));
        worse.next_layer = (uint8_t)i;
        GIVES(i <= 3 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_check_headers(worker, sa, &outer, &worse, 0, 0, 0, &verdict));
        worse = inner;
        worse.fragment = (uint8_t)i;
        GIVES(i <= 2 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_check_headers(worker, sa, &outer, &worse, 0, 0, 0, &verdict));
        worse.next_layer = ESPIAL_NEXT_LAYER_PORTS;
        GIVES(i <= 2 ? ESPIAL_OK : ESPIAL_EVALUE, espial_worker_check_headers(worker, sa, &outer, &worse, 0, 0, 0, &verdict));
        GIVES((i >= 1 && i <= 12) || (i >= 32 && i <= 46) ? ESPIAL_OK : ESPIAL_EVALUE,
              espial_worker_report(worker, sa, &outer, i, 0, 0, &verdict));
    }
    GIVES(ESPIAL_EVALUE, espial_worker_report(worker, sa, &outer, 256 + ESPIAL_DROP_REPLAY, 0, 0, &verdict));
    GIVES(ESPIAL_EVALUE, espial_worker_report(worker, sa, &outer, UINT32_MAX, 0, 0, &verdict));
    NULLS(espial_worker_lookup(NULL, &outer, 0, 0, &arrival));
    NULLS(espial_worker_lookup(worker, NULL, 0, 0, &arrival));
    NULLS(espial_worker_lookup(worker, &outer, 0, 0, NULL));
    NULLS(espial_worker_check_headers(NULL, sa, &outer, &inner, 0, 0, 0, &verdict));
    NULLS(espial_worker_check_headers(worker, sa, NULL, &inner, 0, 0, 0, &verdict));
    NULLS(espial_worker_check_headers(worker, sa, &outer, NULL, 0, 0, 0, &verdict));
    NULLS(espial_worker_check_headers(worker, sa, &outer, &inner, 0, 0, 0, NULL));
    NULLS(espial_worker_report(NULL, sa, &outer, ESPIAL_DROP_REPLAY, 0, 0, &verdict));
    NULLS(espial_worker_report(worker, sa, NULL, ESPIAL_DROP_REPLAY, 0, 0, &verdict));
    NULLS(espial_worker_report(worker, sa, &outer, ESPIAL_DROP_REPLAY, 0, 0, NULL));
    NULLS(espial_worker_quiescent(NULL));
    NULLS(espial_worker_idle(NULL));
    NULLS(espial_worker_set_event_budget(NULL, 1, 1));

    /* Events: a room that is none, sizes that are none; then one comes at a time. */
    NULLS(espial_worker_events(NULL, events, 2, &made));
    NULLS(espial_worker_events(worker, NULL, 1, &made));
    events[0].size = sizeof events[0];
    NULLS(espial_worker_events(worker, events, 2, NULL));
    for (i = 0; i < 2 * sizeof events[0]; i++) {
        /* 248: the first size that was published. */
        if (i != sizeof events[0] && i != 248) {
            events[0].size = i;
            GIVES(ESPIAL_ESIZE, espial_worker_events(worker, events, 2, &made));
        }
    }
    CLAIM(made == 77);
    GIVES(ESPIAL_OK, espial_worker_events(worker, NULL, 0, &made));
    CLAIM(made == 0);
    memset(events, 0x55, sizeof events);
    events[0].size = sizeof events[0];
    GIVES(ESPIAL_OK, espial_worker_events(worker, events, 1, &made));
    CLAIM(made == 1 && events[0].size == sizeof events[0] && events[0].reason != 0 && events[1].size == 0x55555555);
    GIVES(ESPIAL_OK, espial_worker_set_event_budget(worker, UINT32_MAX, UINT32_MAX));
    GIVES(ESPIAL_OK, espial_worker_set_event_budget(worker, 0, 0));
}

int main(void) {
    prepare();
    make();
    packets();
    release();
    give_back();
    return all_hold();
}
