/* The calls that take a configuration apart, of the shared library only: a status for every wrong argument. */
#include "claims.h"

static _Alignas(64) uint8_t memory[1024], row[2048];

static espial_selector selector(uint8_t third) {
    espial_selector one = {
        .family = ESPIAL_FAMILY_V4, .protocol = 6, .remote_port_hi = 65535, .local_port_hi = 65535,
        .remote_lo = {10, 2, third, 0}, .remote_hi = {10, 2, third, 255},
        .local_lo = {10, 1, third, 0}, .local_hi = {10, 1, third, 255},
    };
    return one;
}

enum { POLICIES = 3, SELECTORS = 4 };
static espial_selector selectors[SELECTORS];
static espial_policy policies[POLICIES];

/* Both calls that take policies say the same of them. */
static int given(uint32_t direction, uint32_t order, const espial_policy *at, size_t count, const espial_selector *from,
                 size_t selector_count) {
    espial_spd *spd = NULL;
    espial_disjoint entries[8];
    size_t entry_count = 77, selectors_in = 77;
    int status = espial_spd_new(direction, order, at, count, from, selector_count, &spd);
    int other = espial_spd_decorrelate_alloc(direction, order, at, count, from, selector_count, 100, entries, 8,
                                             &entry_count, &selectors_in);
    if (status != other || (status == ESPIAL_OK) != (spd != NULL)
        || (status != ESPIAL_OK && (entry_count != 77 || selectors_in != 77))
        || espial_spd_free(spd) != ESPIAL_OK) {
        return -1;
    }
    return status;
}

static void lists(void) {
    espial_policy kept;
    espial_selector one;
    const uint32_t in = ESPIAL_DIRECTION_INBOUND, placed = ESPIAL_ORDER_PLACED;
    uint32_t i;

    for (i = 0; i < SELECTORS; i++) {
        selectors[i] = selector((uint8_t)i);
    }
    for (i = 0; i < POLICIES; i++) {
        policies[i] = (espial_policy){.priority = -(int64_t)i, .id = i, .first = i, .count = 2, .action = (uint8_t)i};
    }
    for (i = 0; i < 40; i++) {
        GIVES(i < 2 ? ESPIAL_OK : ESPIAL_EVALUE, given(i, placed, policies, POLICIES, selectors, SELECTORS));
        GIVES(i < 4 ? ESPIAL_OK : ESPIAL_EVALUE, given(in, i, policies, POLICIES, selectors, SELECTORS));
    }
    GIVES(ESPIAL_OK, given(in, placed, NULL, 0, NULL, 0));
    GIVES(ESPIAL_OK, given(in, placed, policies, 0, selectors, SELECTORS));
    NULLS(given(in, placed, NULL, 1, selectors, SELECTORS));
    NULLS(given(in, placed, policies, POLICIES, NULL, SELECTORS));
    GIVES(ESPIAL_EALIGN, given(in, placed, ODD(espial_policy, policies), 1, selectors, SELECTORS));
    GIVES(ESPIAL_EALIGN, given(in, placed, policies, 1, ODD(espial_selector, selectors), SELECTORS));
    GIVES(ESPIAL_ERANGE, given(in, placed, policies, SIZE_MAX, selectors, SELECTORS));
    GIVES(ESPIAL_ERANGE, given(in, placed, policies, POLICIES, selectors, SIZE_MAX));
    GIVES(ESPIAL_ERANGE, given(in, placed, policies, POLICIES, selectors, SELECTORS - 1));
    GIVES(ESPIAL_ERANGE, given(in, placed, policies, POLICIES, NULL, 0));
    for (i = 0; i < POLICIES; i++) {
        kept = policies[i];
        policies[i].action = 3;
        GIVES(ESPIAL_EVALUE, given(in, placed, policies, POLICIES, selectors, SELECTORS));
        policies[i] = kept;
        policies[i].reserved[i] = 1;
        GIVES(ESPIAL_EVALUE, given(in, placed, policies, POLICIES, selectors, SELECTORS));
        policies[i] = kept;
        policies[i].id = policies[(i + 1) % POLICIES].id;
        GIVES(ESPIAL_EDUPLICATE, given(in, placed, policies, POLICIES, selectors, SELECTORS));
        policies[i] = kept;
        policies[i].count = 0;
        GIVES(ESPIAL_EEMPTY, given(in, placed, policies, POLICIES, selectors, SELECTORS));
        policies[i].count = UINT32_MAX;
        GIVES(ESPIAL_ERANGE, given(in, placed, policies, POLICIES, selectors, SELECTORS));
        policies[i] = kept;
        policies[i].first = UINT32_MAX;
        GIVES(ESPIAL_ERANGE, given(in, placed, policies, POLICIES, selectors, SELECTORS));
        policies[i] = kept;
    }
    for (i = 0; i < SELECTORS; i++) {
        one = selectors[i];
        selectors[i].family = 5;
        GIVES(ESPIAL_EVALUE, given(in, placed, policies, POLICIES, selectors, SELECTORS));
        selectors[i] = one;
        selectors[i].reserved = 1;
        GIVES(ESPIAL_EVALUE, given(in, placed, policies, POLICIES, selectors, SELECTORS));
        selectors[i] = one;
        memset(selectors[i].local_lo, 255, 16);
        GIVES(ESPIAL_ESELECTOR, given(in, placed, policies, POLICIES, selectors, SELECTORS));
        selectors[i] = one;
    }
}

static void handles(void) {
    espial_spd *spd = NULL, *opened;
    espial_spd_worker *worker = NULL, *inited;
    espial_disjoint entries[8], marked;
    const uint64_t *words;
    size_t count, selectors_in, room;

    NULLS(espial_spd_new(0, 0, policies, POLICIES, selectors, SELECTORS, NULL));
    GIVES(ESPIAL_EALIGN, espial_spd_new(0, 0, policies, POLICIES, selectors, SELECTORS, ODD(espial_spd *, &spd)));
    GIVES(ESPIAL_OK, espial_spd_free(NULL));
    GIVES(ESPIAL_OK, espial_spd_worker_free(NULL));
    NULLS(espial_spd_worker_new(NULL, &worker));
    GIVES(ESPIAL_OK, espial_spd_new(0, 0, policies, POLICIES, selectors, SELECTORS, &spd));
    NULLS(espial_spd_worker_new(spd, NULL));
    CLAIM(worker == NULL);
    GIVES(ESPIAL_OK, espial_spd_worker_new(spd, &worker));
    GIVES(ESPIAL_EATTACHED, espial_spd_free(spd));
    /* What was made in the caller's memory is released, what was allocated is freed: not the other way. */
    GIVES(ESPIAL_OK, espial_spd_words(spd, &words, &count));
    GIVES(ESPIAL_OK, espial_spd_init(memory, sizeof memory, words, count, &opened));
    GIVES(ESPIAL_OK, espial_spd_worker_init(row, sizeof row, opened, &inited));
    GIVES(ESPIAL_EHANDLE, espial_spd_worker_free(inited));
    GIVES(ESPIAL_EHANDLE, espial_spd_worker_release(worker));
    GIVES(ESPIAL_OK, espial_spd_worker_release(inited));
    GIVES(ESPIAL_EHANDLE, espial_spd_free(opened));
    GIVES(ESPIAL_OK, espial_spd_release(opened));
    GIVES(ESPIAL_OK, espial_spd_worker_free(worker));
    GIVES(ESPIAL_EHANDLE, espial_spd_release(spd));
    GIVES(ESPIAL_OK, espial_spd_free(spd));

    /* 1 and 2 are shared by two policies: the later one has none of them left. */
    memset(&marked, 0x55, sizeof marked);
    for (room = 0; room < 8; room++) {
        memset(entries, 0x55, sizeof entries);
        GIVES(ESPIAL_OK, espial_spd_decorrelate_alloc(0, 0, policies, POLICIES, selectors, SELECTORS, 4,
                                                      room == 0 ? NULL : entries, room, &count, &selectors_in));
        CLAIM(count == 4 && selectors_in == 6);
        for (size_t i = 0; i < 8; i++) {
            CLAIM((memcmp(&entries[i], &marked, sizeof marked) == 0) == (i >= room || i >= 4));
        }
    }
    CLAIM(entries[0].id == 0 && entries[1].id == 0 && entries[2].id == 1 && entries[3].id == 2);
    CLAIM(entries[3].protocol_lo == 6 && entries[3].protocol_hi == 6 && entries[3].remote_hi[2] == 3);
    count = selectors_in = 77;
    GIVES(ESPIAL_ELIMIT, espial_spd_decorrelate_alloc(0, 0, policies, POLICIES, selectors, SELECTORS, 3, entries, 8,
                                                      &count, &selectors_in));
    NULLS(espial_spd_decorrelate_alloc(0, 0, policies, POLICIES, selectors, SELECTORS, 9, NULL, 1, &count, &selectors_in));
    NULLS(espial_spd_decorrelate_alloc(0, 0, policies, POLICIES, selectors, SELECTORS, 9, entries, 1, NULL, &selectors_in));
    NULLS(espial_spd_decorrelate_alloc(0, 0, policies, POLICIES, selectors, SELECTORS, 9, entries, 1, &count, NULL));
    CLAIM(count == 77 && selectors_in == 77);
}

/* What the four calls that take Child SAs or selectors say of them, if all say the same. */
static int analysed(const espial_child_ts *children, size_t child_count, const espial_ts *ts, size_t ts_count) {
    espial_box boxes[16];
    espial_overlap overlaps[16];
    espial_hidden hidden[16];
    uint32_t by[16];
    uint8_t complete;
    size_t count, by_count;
    int status = espial_analysis_boxes_alloc(children, child_count, ts, ts_count, boxes, 16, &count);
    if (status != espial_analysis_overlaps_alloc(children, child_count, ts, ts_count, 0, overlaps, 16, &count, &complete)
        || status != espial_analysis_hidden_alloc(children, child_count, ts, ts_count, 0, 0, hidden, 16, by, 16, &count,
                                                  &by_count)) {
        return -1;
    }
    return status;
}

static void analysis(void) {
    /* One network here; two behind the peer, of which the second is a part of the first. */
    espial_ts ts[3] = {
        {.family = ESPIAL_FAMILY_V4, .port_hi = 65535, .addr_lo = {10, 1, 0, 0}, .addr_hi = {10, 1, 255, 255}},
        {.family = ESPIAL_FAMILY_V4, .port_hi = 65535, .addr_lo = {10, 2, 0, 0}, .addr_hi = {10, 2, 255, 255}},
        {.family = ESPIAL_FAMILY_V4, .port_hi = 65535, .addr_lo = {10, 2, 9, 0}, .addr_hi = {10, 2, 9, 255}},
    };
    espial_child_ts children[2] = {{0, 0, 1, 1, 1}, {0, 0, 1, 2, 1}}, kept;
    espial_box boxes[2];
    espial_overlap overlaps[2];
    espial_hidden hidden[2];
    espial_supernet nets[2];
    uint32_t by[2], i;
    uint8_t complete = 77;
    size_t count = 77, by_count = 77;

    GIVES(ESPIAL_OK, analysed(children, 2, ts, 3));
    GIVES(ESPIAL_OK, analysed(NULL, 0, NULL, 0));
    NULLS(analysed(NULL, 1, ts, 3));
    NULLS(analysed(children, 2, NULL, 3));
    GIVES(ESPIAL_EALIGN, analysed(ODD(espial_child_ts, children), 1, ts, 3));
    GIVES(ESPIAL_EALIGN, analysed(children, 2, ODD(espial_ts, ts), 1));
    GIVES(ESPIAL_ERANGE, analysed(children, SIZE_MAX, ts, 3));
    GIVES(ESPIAL_ERANGE, analysed(children, 2, ts, SIZE_MAX));
    GIVES(ESPIAL_ERANGE, analysed(children, 2, ts, 2));
    for (i = 0; i < 2; i++) {
        kept = children[i];
        children[i].local_first = 4;
        GIVES(ESPIAL_ERANGE, analysed(children, 2, ts, 3));
        children[i] = kept;
        children[i].remote_count = UINT32_MAX;
        GIVES(ESPIAL_ERANGE, analysed(children, 2, ts, 3));
        children[i] = kept;
    }
    for (i = 0; i < 3; i++) {
        ts[i].family = 5;
        GIVES(ESPIAL_EVALUE, analysed(children, 2, ts, 3));
        GIVES(ESPIAL_EVALUE, espial_supernets_alloc(ts, 3, nets, 2, &count));
        ts[i].family = ESPIAL_FAMILY_V4;
        ts[i].port_lo = 1;
        GIVES(ESPIAL_ESELECTOR, analysed(children, 2, ts, 3));
        GIVES(ESPIAL_ESELECTOR, espial_supernets_alloc(ts, 3, nets, 2, &count));
        ts[i].port_lo = 0;
    }
    NULLS(espial_analysis_boxes_alloc(children, 2, ts, 3, NULL, 1, &count));
    NULLS(espial_analysis_boxes_alloc(children, 2, ts, 3, boxes, 2, NULL));
    NULLS(espial_analysis_overlaps_alloc(children, 2, ts, 3, 0, NULL, 1, &count, &complete));
    NULLS(espial_analysis_overlaps_alloc(children, 2, ts, 3, 0, overlaps, 2, NULL, &complete));
    NULLS(espial_analysis_overlaps_alloc(children, 2, ts, 3, 0, overlaps, 2, &count, NULL));
    NULLS(espial_analysis_hidden_alloc(children, 2, ts, 3, 0, 0, NULL, 1, by, 2, &count, &by_count));
    NULLS(espial_analysis_hidden_alloc(children, 2, ts, 3, 0, 0, hidden, 2, NULL, 2, &count, &by_count));
    NULLS(espial_analysis_hidden_alloc(children, 2, ts, 3, 0, 0, hidden, 2, by, 2, NULL, &by_count));
    NULLS(espial_analysis_hidden_alloc(children, 2, ts, 3, 0, 0, hidden, 2, by, 2, &count, NULL));
    GIVES(ESPIAL_EVALUE, espial_selectors_hidden_alloc(2, selectors, SELECTORS, 0, 0, hidden, 2, by, 2, &count, &by_count));
    NULLS(espial_selectors_hidden_alloc(0, NULL, 1, 0, 0, hidden, 2, by, 2, &count, &by_count));
    NULLS(espial_selectors_hidden_alloc(0, selectors, SELECTORS, 0, 0, NULL, 2, by, 2, &count, &by_count));
    GIVES(ESPIAL_ERANGE, espial_selectors_hidden_alloc(0, selectors, SIZE_MAX, 0, 0, hidden, 2, by, 2, &count, &by_count));
    NULLS(espial_supernets_alloc(NULL, 1, nets, 2, &count));
    NULLS(espial_supernets_alloc(ts, 3, NULL, 1, &count));
    NULLS(espial_supernets_alloc(ts, 3, nets, 2, NULL));
    CLAIM(count == 77 && by_count == 77 && complete == 77);

    GIVES(ESPIAL_OK, espial_analysis_boxes_alloc(children, 2, ts, 3, boxes, 2, &count));
    CLAIM(count == 2 && boxes[1].child == 1 && boxes[1].selector.remote_lo[2] == 9);
    GIVES(ESPIAL_OK, espial_analysis_overlaps_alloc(children, 2, ts, 3, 0, overlaps, 2, &count, &complete));
    CLAIM(count == 1 && complete == 1 && overlaps[0].first_child == 0 && overlaps[0].second_child == 1);
    CLAIM(memcmp(&overlaps[0].both, &boxes[1].selector, sizeof boxes[1].selector) == 0);
    GIVES(ESPIAL_OK, espial_analysis_hidden_alloc(children, 2, ts, 3, 0, 0, hidden, 2, by, 2, &count, &by_count));
    CLAIM(count == 1 && by_count == 1 && by[0] == 0 && hidden[0].index == 1 && hidden[0].why == ESPIAL_HIDDEN_SHADOWED);
    CLAIM(hidden[0].by_first == 0 && hidden[0].by_count == 1);
    GIVES(ESPIAL_OK, espial_analysis_hidden_alloc(children, 2, ts, 3, 0, 0, NULL, 0, NULL, 0, &count, &by_count));
    CLAIM(count == 1 && by_count == 1);
    GIVES(ESPIAL_OK, espial_selectors_hidden_alloc(0, selectors, SELECTORS, 0, 0, hidden, 2, by, 2, &count, &by_count));
    CLAIM(count == 0 && by_count == 0);
    GIVES(ESPIAL_OK, espial_supernets_alloc(&ts[1], 2, nets, 2, &count));
    CLAIM(count == 1 && nets[0].extra_low == 0 && nets[0].extra_high == 0 && nets[0].ranges == 2);
    CLAIM(nets[0].family == ESPIAL_FAMILY_V4 && nets[0].prefix_len == 16 && nets[0].addr[1] == 2);
    GIVES(ESPIAL_OK, espial_supernets_alloc(ts, 2, nets, 2, &count));
    CLAIM(count == 1 && nets[0].prefix_len == 14 && nets[0].addr[1] == 0 && nets[0].extra_low == 2 * 65536);
}

int main(void) {
    lists();
    handles();
    analysis();
    return all_hold();
}
