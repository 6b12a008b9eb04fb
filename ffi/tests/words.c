/* The words that examples/classify.c has written, in a program without an allocator: words FILE. */
#include "claims.h"

static _Alignas(64) uint8_t memory[512], other[512];
static uint64_t words[1024];

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    espial_matcher *matcher = NULL, *second;
    espial_inner packets[ESPIAL_BURST_MAX];
    uint32_t first[ESPIAL_BURST_MAX], index;
    uint64_t covered;
    uint8_t any;
    const uint64_t *same;
    size_t count, i;

    CLAIM(file != NULL);
    count = fread(words, 8, sizeof words / 8, file);
    fclose(file);
    CLAIM(count > 0 && count < sizeof words / 8 && espial_matcher_size() <= sizeof memory);

    /* Packets of which selector 0, 1, 3 and none is the first. */
    memset(packets, 0, sizeof packets);
    for (i = 0; i < ESPIAL_BURST_MAX; i++) {
        packets[i].family = ESPIAL_FAMILY_V4;
        packets[i].protocol = 6;
        packets[i].next_layer = ESPIAL_NEXT_LAYER_PORTS;
        packets[i].dport = i % 4 == 0 ? 443 : 80;
        packets[i].src[0] = packets[i].dst[0] = 10;
        packets[i].src[1] = 2;
        packets[i].dst[1] = 1;
        packets[i].src[2] = packets[i].dst[2] = i % 4 == 2 ? 2 : 0;
    }
    for (i = 3; i < ESPIAL_BURST_MAX; i += 4) {
        packets[i].protocol = 17;
    }
    static const uint32_t EXPECTED[4] = {0, 1, 3, ESPIAL_MATCHER_NONE};
    GIVES(ESPIAL_OK, espial_matcher_init(memory, sizeof memory, words, count, &matcher));
    GIVES(ESPIAL_OK, espial_matcher_init(other, sizeof other, words, sizeof words / 8, &second));
    GIVES(ESPIAL_OK, espial_matcher_first_burst(matcher, packets, ESPIAL_BURST_MAX, first));
    GIVES(ESPIAL_OK, espial_matcher_any_burst(second, packets, ESPIAL_BURST_MAX, &covered));
    CLAIM(covered == 0x7777777777777777);
    for (i = 0; i < ESPIAL_BURST_MAX; i++) {
        CLAIM(first[i] == EXPECTED[i % 4]);
        GIVES(ESPIAL_OK, espial_matcher_first(second, &packets[i], &index));
        GIVES(ESPIAL_OK, espial_matcher_any(matcher, &packets[i], &any));
        CLAIM(index == first[i] && any == (index != ESPIAL_MATCHER_NONE));
        GIVES(ESPIAL_OK, espial_matcher_first_source(matcher, &packets[i], &index));
        CLAIM(index == (i % 4 == 2 ? 3 : 0));
    }

    /* A bad packet at any place: nothing is written. Good ones, as many as they are. */
    memset(first, 0x55, sizeof first);
    covered = 77;
    for (i = 0; i < ESPIAL_BURST_MAX; i++) {
        espial_inner good = packets[i];
        for (int field = 0; field < 3; field++) {
            *(field == 0 ? &packets[i].family : field == 1 ? &packets[i].next_layer : &packets[i].fragment) = 9;
            GIVES(ESPIAL_EVALUE, espial_matcher_first_burst(matcher, packets, ESPIAL_BURST_MAX, first));
            GIVES(ESPIAL_EVALUE, espial_matcher_any_burst(matcher, packets, ESPIAL_BURST_MAX, &covered));
            GIVES(ESPIAL_EVALUE, espial_matcher_first(matcher, &packets[i], first));
            GIVES(ESPIAL_EVALUE, espial_matcher_first_source(matcher, &packets[i], first));
            GIVES(ESPIAL_EVALUE, espial_matcher_any(matcher, &packets[i], (uint8_t *)first));
            packets[i] = good;
        }
    }
    GIVES(ESPIAL_ERANGE, espial_matcher_first_burst(matcher, packets, ESPIAL_BURST_MAX + 1, first));
    GIVES(ESPIAL_ERANGE, espial_matcher_any_burst(matcher, packets, SIZE_MAX, &covered));
    NULLS(espial_matcher_first_burst(matcher, NULL, 1, first));
    NULLS(espial_matcher_first_burst(matcher, packets, 1, NULL));
    NULLS(espial_matcher_any_burst(matcher, NULL, 1, &covered));
    NULLS(espial_matcher_any_burst(matcher, packets, 1, NULL));
    NULLS(espial_matcher_first(matcher, NULL, first));
    NULLS(espial_matcher_first(matcher, packets, NULL));
    NULLS(espial_matcher_any(matcher, packets, NULL));
    NULLS(espial_matcher_first_source(matcher, packets, NULL));
    NULLS(espial_matcher_words(matcher, NULL, &i));
    NULLS(espial_matcher_words(matcher, &same, NULL));
    CLAIM(first[0] == 0x55555555 && covered == 77);
    GIVES(ESPIAL_OK, espial_matcher_first_burst(matcher, NULL, 0, NULL));
    GIVES(ESPIAL_OK, espial_matcher_any_burst(matcher, NULL, 0, &covered));
    CLAIM(covered == 0);
    GIVES(ESPIAL_OK, espial_matcher_words(second, &same, &i));
    CLAIM(same == words && i == count);

    /* Each has its own memory; the words are the caller's in the end. */
    GIVES(ESPIAL_OK, espial_matcher_release(matcher));
    GIVES(ESPIAL_EHANDLE, espial_matcher_any_burst(matcher, packets, 1, &covered));
    GIVES(ESPIAL_OK, espial_matcher_any_burst(second, packets, 1, &covered));
    GIVES(ESPIAL_OK, espial_matcher_release(second));

    /* Any one octet changed: refused, or a matcher all the same, which answers within the list. */
    for (i = 0; i < count * 8; i++) {
        ((uint8_t *)words)[i] ^= 0x55;
        int status = espial_matcher_init(memory, sizeof memory, words, count, &matcher);
        CLAIM(status == ESPIAL_OK || status == ESPIAL_EWORDS);
        if (status == ESPIAL_OK) {
            GIVES(ESPIAL_OK, espial_matcher_first_burst(matcher, packets, ESPIAL_BURST_MAX, first));
            GIVES(ESPIAL_OK, espial_matcher_any_burst(matcher, packets, ESPIAL_BURST_MAX, &covered));
            GIVES(ESPIAL_OK, espial_matcher_release(matcher));
        }
        ((uint8_t *)words)[i] ^= 0x55;
    }
    return all_hold();
}
