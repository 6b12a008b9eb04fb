/*
 * The words that examples/policies.c has written, in a program without an allocator: spd FILE. Answers, counts,
 * and a status for every wrong argument.
 */
#include "claims.h"

static _Alignas(64) uint8_t memory[2048], row[2048], other_row[2048], zero[2048];
static uint64_t words[1024];

static const espial_spd_answer EXPECTED[4] = {
    {10, 0, ESPIAL_ACTION_BYPASS, {0}},
    {20, 1, ESPIAL_ACTION_DISCARD, {0}},
    {30, 2, ESPIAL_ACTION_PROTECT, {0}},
    {0, ESPIAL_SPD_NONE, ESPIAL_ACTION_DISCARD, {0}},
};

/* One more packet than fits a burst: IKE, telnet, another site packet, and what no policy covers, in turn. */
static espial_inner packets[ESPIAL_BURST_MAX + 1];

static void make_packets(void) {
    for (size_t i = 0; i <= ESPIAL_BURST_MAX; i++) {
        espial_inner *p = &packets[i];
        memset(p, 0, sizeof *p);
        p->family = ESPIAL_FAMILY_V4;
        p->protocol = i % 4 == 0 || i % 4 == 3 ? 17 : 6;
        p->next_layer = ESPIAL_NEXT_LAYER_PORTS;
        p->dport = (uint16_t)(i % 4 == 0 ? (i % 8 == 0 ? 500 : 4500) : i % 4 == 1 ? 23 : 443);
        memcpy(p->src, (uint8_t[]){10, 2, 0, 5}, 4);
        memcpy(p->dst, i % 4 == 0 || i % 4 == 3 ? (uint8_t[]){192, 0, 2, 1} : (uint8_t[]){10, 1, 0, 9}, 4);
    }
}

static void answers_and_counts(espial_spd *spd) {
    espial_spd_answer answer, answers[ESPIAL_BURST_MAX + 1], marked;
    espial_spd_worker *worker, *second;
    uint64_t counts[4], unmatched;
    size_t size, count, total = 0;
    uint32_t direction;

    GIVES(ESPIAL_OK, espial_spd_direction(spd, &direction));
    CLAIM(direction == ESPIAL_DIRECTION_INBOUND);
    memset(&marked, 0x55, sizeof marked);
    for (size_t room = 0; room <= 4; room++) {
        memset(answers, 0x55, sizeof answers);
        GIVES(ESPIAL_OK, espial_spd_policies(spd, room == 0 ? NULL : answers, room, &count));
        CLAIM(count == 3);
        for (size_t i = 0; i < 5; i++) {
            CLAIM(memcmp(&answers[i], i < room && i < 3 ? &EXPECTED[i] : &marked, sizeof marked) == 0);
        }
    }
    GIVES(ESPIAL_OK, espial_spd_worker_size(spd, &size));
    CLAIM(size <= sizeof row && size % espial_spd_align() == 0);
    GIVES(ESPIAL_EROOM, espial_spd_worker_init(row, size - 1, spd, &worker));
    GIVES(ESPIAL_OK, espial_spd_worker_init(row, size, spd, &worker));
    GIVES(ESPIAL_OK, espial_spd_worker_init(other_row, sizeof other_row, spd, &second));
    GIVES(ESPIAL_EATTACHED, espial_spd_release(spd));
    for (size_t burst = 0; burst <= ESPIAL_BURST_MAX; burst++) {
        memset(answers, 0x55, sizeof answers);
        GIVES(ESPIAL_OK, espial_spd_first_burst(spd, packets, burst, answers));
        CLAIM(memcmp(&answers[burst], &marked, sizeof marked) == 0);
        for (size_t i = 0; i < burst; i++) {
            GIVES(ESPIAL_OK, espial_spd_first(spd, &packets[i], &answer));
            CLAIM(memcmp(&answer, &EXPECTED[i % 4], sizeof answer) == 0);
            CLAIM(memcmp(&answers[i], &answer, sizeof answer) == 0);
            GIVES(ESPIAL_OK, espial_spd_worker_check(second, &packets[i], &answer));
            CLAIM(memcmp(&answers[i], &answer, sizeof answer) == 0);
        }
        memset(answers, 0x55, sizeof answers);
        GIVES(ESPIAL_OK, espial_spd_worker_check_burst(worker, packets, burst, answers));
        CLAIM(memcmp(&answers[burst], &marked, sizeof marked) == 0);
        CLAIM(burst == 0 || memcmp(&answers[burst - 1], &EXPECTED[(burst - 1) % 4], sizeof marked) == 0);
        total += burst;
    }
    /* One by one and in bursts the same is counted, and nothing for the SPD's own questions. */
    for (int which = 0; which < 2; which++) {
        uint64_t sum = 0;
        memset(counts, 0x55, sizeof counts);
        GIVES(ESPIAL_OK, espial_spd_worker_counts(which == 0 ? worker : second, counts, 3, &count, &unmatched));
        CLAIM(count == 3 && counts[3] == 0x5555555555555555);
        for (size_t i = 0; i < 3; i++) {
            sum += counts[i];
        }
        CLAIM(sum + unmatched == total && counts[0] == 544 && counts[1] == 528 && counts[2] == 512 && unmatched == 496);
        GIVES(ESPIAL_OK, espial_spd_worker_counts(which == 0 ? worker : second, NULL, 0, &count, &unmatched));
        CLAIM(count == 3 && unmatched == 496);
    }

    /* A bad packet at any place: nothing is written and nothing counted. */
    memset(answers, 0x55, sizeof answers);
    for (size_t i = 0; i < ESPIAL_BURST_MAX; i++) {
        espial_inner good = packets[i];
        for (int field = 0; field < 3; field++) {
            *(field == 0 ? &packets[i].family : field == 1 ? &packets[i].next_layer : &packets[i].fragment) = 9;
            GIVES(ESPIAL_EVALUE, espial_spd_first(spd, &packets[i], answers));
            GIVES(ESPIAL_EVALUE, espial_spd_first_burst(spd, packets, ESPIAL_BURST_MAX, answers));
            GIVES(ESPIAL_EVALUE, espial_spd_worker_check(worker, &packets[i], answers));
            GIVES(ESPIAL_EVALUE, espial_spd_worker_check_burst(worker, packets, ESPIAL_BURST_MAX, answers));
            packets[i] = good;
        }
    }
    GIVES(ESPIAL_ERANGE, espial_spd_first_burst(spd, packets, ESPIAL_BURST_MAX + 1, answers));
    GIVES(ESPIAL_ERANGE, espial_spd_first_burst(spd, packets, SIZE_MAX, answers));
    GIVES(ESPIAL_ERANGE, espial_spd_worker_check_burst(worker, packets, ESPIAL_BURST_MAX + 1, answers));
    NULLS(espial_spd_first(spd, NULL, answers));
    NULLS(espial_spd_first(spd, packets, NULL));
    NULLS(espial_spd_first_burst(spd, NULL, 1, answers));
    NULLS(espial_spd_first_burst(spd, packets, 1, NULL));
    NULLS(espial_spd_worker_check(worker, NULL, answers));
    NULLS(espial_spd_worker_check(worker, packets, NULL));
    NULLS(espial_spd_worker_check_burst(worker, NULL, 1, answers));
    NULLS(espial_spd_worker_check_burst(worker, packets, 1, NULL));
    NULLS(espial_spd_worker_counts(worker, NULL, 1, &count, &unmatched));
    NULLS(espial_spd_worker_counts(worker, counts, 1, NULL, &unmatched));
    NULLS(espial_spd_worker_counts(worker, counts, 1, &count, NULL));
    GIVES(ESPIAL_EALIGN, espial_spd_first(spd, ODD(espial_inner, packets), answers));
    GIVES(ESPIAL_EALIGN, espial_spd_worker_check(worker, packets, ODD(espial_spd_answer, answers)));
    GIVES(ESPIAL_EALIGN, espial_spd_worker_counts(worker, ODD(uint64_t, counts), 1, &count, &unmatched));
    NULLS(espial_spd_direction(spd, NULL));
    NULLS(espial_spd_policies(spd, NULL, 1, &count));
    NULLS(espial_spd_policies(spd, answers, 1, NULL));
    NULLS(espial_spd_worker_size(spd, NULL));
    NULLS(espial_spd_worker_init(NULL, sizeof row, spd, &worker));
    NULLS(espial_spd_worker_init(row, sizeof row, NULL, &worker));
    NULLS(espial_spd_worker_init(row, sizeof row, spd, NULL));
    CLAIM(memcmp(answers, &marked, sizeof marked) == 0);
    GIVES(ESPIAL_OK, espial_spd_worker_counts(worker, counts, 3, &count, &unmatched));
    CLAIM(counts[0] == 544 && unmatched == 496);

    /* No handle of another kind is taken (kinds.c has all pairs), and none that is released. */
    GIVES(ESPIAL_EHANDLE, espial_spd_first((espial_spd *)(void *)worker, packets, answers));
    GIVES(ESPIAL_EHANDLE, espial_spd_worker_check((espial_spd_worker *)(void *)spd, packets, answers));
    GIVES(ESPIAL_EHANDLE, espial_matcher_release((espial_matcher *)(void *)spd));
    GIVES(ESPIAL_OK, espial_spd_worker_release(worker));
    GIVES(ESPIAL_EHANDLE, espial_spd_worker_release(worker));
    GIVES(ESPIAL_EHANDLE, espial_spd_worker_check(worker, packets, answers));
    GIVES(ESPIAL_EHANDLE, espial_spd_worker_counts(worker, counts, 3, &count, &unmatched));
    GIVES(ESPIAL_EATTACHED, espial_spd_release(spd));
    GIVES(ESPIAL_OK, espial_spd_worker_release(second));
    /* Made again, a worker counts from 0. */
    GIVES(ESPIAL_OK, espial_spd_worker_init(row, size, spd, &worker));
    GIVES(ESPIAL_OK, espial_spd_worker_counts(worker, counts, 3, &count, &unmatched));
    CLAIM(counts[0] == 0 && counts[1] == 0 && counts[2] == 0 && unmatched == 0);
    GIVES(ESPIAL_OK, espial_spd_worker_release(worker));
}

static void dead(espial_spd *spd, espial_spd_worker *worker, int status) {
    espial_spd_answer answer;
    espial_spd_worker *made;
    const uint64_t *at;
    uint64_t counts[3], unmatched;
    uint32_t direction;
    size_t count;
    GIVES(status, espial_spd_release(spd));
    GIVES(status, espial_spd_words(spd, &at, &count));
    GIVES(status, espial_spd_direction(spd, &direction));
    GIVES(status, espial_spd_policies(spd, &answer, 1, &count));
    GIVES(status, espial_spd_first(spd, packets, &answer));
    GIVES(status, espial_spd_first_burst(spd, packets, 1, &answer));
    GIVES(status, espial_spd_worker_size(spd, &count));
    GIVES(status, espial_spd_worker_init(row, sizeof row, spd, &made));
    GIVES(status, espial_spd_worker_release(worker));
    GIVES(status, espial_spd_worker_check(worker, packets, &answer));
    GIVES(status, espial_spd_worker_check_burst(worker, packets, 1, &answer));
    GIVES(status, espial_spd_worker_counts(worker, counts, 3, &count, &unmatched));
}

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    espial_spd *spd = NULL;
    const uint64_t *same;
    size_t count, again, i;

    CLAIM(file != NULL);
    count = fread(words, 8, sizeof words / 8, file);
    fclose(file);
    CLAIM(count > 0 && count < sizeof words / 8 && espial_spd_size() <= sizeof memory && espial_spd_align() == 64);
    make_packets();

    NULLS(espial_spd_init(NULL, sizeof memory, words, count, &spd));
    NULLS(espial_spd_init(memory, sizeof memory, NULL, count, &spd));
    NULLS(espial_spd_init(memory, sizeof memory, words, count, NULL));
    GIVES(ESPIAL_EALIGN, espial_spd_init(memory + 8, sizeof memory - 8, words, count, &spd));
    GIVES(ESPIAL_EALIGN, espial_spd_init(memory, sizeof memory, ODD(uint64_t, words), count, &spd));
    GIVES(ESPIAL_EALIGN, espial_spd_init(memory, sizeof memory, words, count, ODD(espial_spd *, &spd)));
    GIVES(ESPIAL_EROOM, espial_spd_init(memory, espial_spd_size() - 1, words, count, &spd));
    GIVES(ESPIAL_ERANGE, espial_spd_init(memory, sizeof memory, words, SIZE_MAX, &spd));
    GIVES(ESPIAL_EWORDS, espial_spd_init(memory, sizeof memory, NULL, 0, &spd));
    for (i = 0; i < count; i++) {
        GIVES(ESPIAL_EWORDS, espial_spd_init(memory, sizeof memory, words, i, &spd));
    }
    /* Words of an SPD are none of a matcher. */
    GIVES(ESPIAL_EWORDS, espial_matcher_init(memory, sizeof memory, words, count, (espial_matcher **)(void *)&spd));
    CLAIM(spd == NULL);

    GIVES(ESPIAL_OK, espial_spd_init(memory, sizeof memory, words, sizeof words / 8, &spd));
    GIVES(ESPIAL_OK, espial_spd_words(spd, &same, &again));
    CLAIM(same == words && again == count);
    NULLS(espial_spd_words(spd, NULL, &again));
    NULLS(espial_spd_words(spd, &same, NULL));
    answers_and_counts(spd);
    GIVES(ESPIAL_OK, espial_spd_release(spd));
    dead(spd, (espial_spd_worker *)(void *)row, ESPIAL_EHANDLE);
    dead((espial_spd *)(void *)zero, (espial_spd_worker *)(void *)zero, ESPIAL_EHANDLE);
    dead(ODD(espial_spd, memory), ODD(espial_spd_worker, row), ESPIAL_EALIGN);
    dead(NULL, NULL, ESPIAL_ENULL);

    /* Any one octet changed: refused, or an SPD all the same, which answers. */
    for (i = 0; i < count * 8; i++) {
        espial_spd_answer answers[ESPIAL_BURST_MAX];
        ((uint8_t *)words)[i] ^= 0x55;
        int status = espial_spd_init(memory, sizeof memory, words, count, &spd);
        CLAIM(status == ESPIAL_OK || status == ESPIAL_EWORDS);
        if (status == ESPIAL_OK) {
            GIVES(ESPIAL_OK, espial_spd_first_burst(spd, packets, ESPIAL_BURST_MAX, answers));
            GIVES(ESPIAL_OK, espial_spd_release(spd));
        }
        ((uint8_t *)words)[i] ^= 0x55;
    }
    return all_hold();
}
