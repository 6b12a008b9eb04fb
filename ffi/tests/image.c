/* A gateway over images that `espial compile` has made: packets, SAs, another image in the place of the first, and every
 * misuse of them. In a program without an allocator in the library. */
#include "claims.h"

#include "images/first.c"
#include "images/second.c"

enum { OFFICE, PLANT, SAS };

static _Alignas(64) uint8_t memory[16384], worker_memory[16384], spoilt[sizeof first];
/* The first image in memory that is used for something else later. */
static _Alignas(64) uint8_t erased[sizeof first];
static espial_capacity capacity = {
    sizeof(espial_capacity), .tunnels = 1, .children = 2, .sas = 4, .workers = 1, .replay_window = 64,
};
static espial_gateway *gateway;
static espial_worker *worker;
static espial_child children[SAS];
static espial_sa sas[SAS];

static espial_sa_params params(uint32_t spi) {
    espial_sa_params one;

    memset(&one, 0, sizeof one);
    one.size = sizeof one;
    one.mode = ESPIAL_SA_TUNNEL;
    one.key.spi = spi;
    one.key.ipsec = ESPIAL_IPSEC_ESP;
    one.key.scope = ESPIAL_SCOPE_SPI;
    one.replay_window = 64;
    return one;
}

/* From 10.2.net.5 to 10.1.to.5, TCP to local port 80 from 443, on an SA. */
static espial_verdict judge(int sa, uint8_t net, uint8_t to) {
    static uint8_t sequence;
    uint8_t packet[28] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 50, 0, 0, 198, 51, 100, 1, 203, 0, 113, 2, 0, 0, 0x11};
    uint8_t inner[40] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 2, 0, 5, 10, 1, 0, 5, 0x01, 0xbb, 0, 80};
    espial_arrival arrival;
    espial_opened opened;
    espial_verdict verdict;

    packet[23] = (uint8_t)sa;
    packet[27] = ++sequence;
    inner[14] = net;
    inner[18] = to;
    GIVES(ESPIAL_OK, espial_worker_arrive(worker, packet, sizeof packet, 0, 0, &arrival));
    memset(&verdict, 0, sizeof verdict);
    if (arrival.verdict != ESPIAL_VERDICT_OPEN) {
        verdict.reason = arrival.reason;
        return verdict;
    }
    memset(&opened, 0, sizeof opened);
    opened.sa = arrival.sa;
    opened.outer = &arrival.outer;
    opened.next_header = 4;
    opened.payload = inner;
    opened.len = sizeof inner;
    /* An SA with a replay window is not for the plain check. */
    GIVES(ESPIAL_EVALUE, espial_worker_check_plain(worker, &opened, &verdict));
    CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP);
    GIVES(ESPIAL_OK, espial_worker_check(worker, &opened, 0, 0, &verdict));
    return verdict;
}

static int accepted(int sa, uint8_t net, uint8_t to) {
    return judge(sa, net, to).verdict == ESPIAL_VERDICT_ACCEPT;
}

static void misuse(void) {
    espial_capacity small = capacity;
    espial_gateway *none = NULL;
    espial_child child;
    espial_tunnel tunnel;
    size_t size, octets;
    uint32_t tunnels, count;

    GIVES(ESPIAL_OK, espial_image_check(first, sizeof first, &octets, &tunnels, &count));
    CLAIM(octets == first_octets && tunnels == 1 && count == 2);
    NULLS(espial_image_check(NULL, sizeof first, &octets, &tunnels, &count));
    NULLS(espial_image_check(first, sizeof first, NULL, &tunnels, &count));
    NULLS(espial_image_check(first, sizeof first, &octets, NULL, &count));
    NULLS(espial_image_check(first, sizeof first, &octets, &tunnels, NULL));
    GIVES(ESPIAL_EALIGN, espial_image_check(first + 4, sizeof first - 8, &octets, &tunnels, &count));
    GIVES(ESPIAL_EWORDS, espial_image_check(first, sizeof first - 64, &octets, &tunnels, &count));
    GIVES(ESPIAL_EWORDS, espial_image_check(first, 0, &octets, &tunnels, &count));
    for (size_t at = 0; at < sizeof first; at++) {
        memcpy(spoilt, first, sizeof first);
        spoilt[at] ^= 0x10;
        GIVES(ESPIAL_EWORDS, espial_image_check(spoilt, sizeof spoilt, &octets, &tunnels, &count));
    }

    GIVES(ESPIAL_OK, espial_gateway_image_size(&capacity, &size));
    CLAIM(size <= sizeof memory);
    NULLS(espial_gateway_image_size(NULL, &size));
    NULLS(espial_gateway_image_size(&capacity, NULL));
    NULLS(espial_gateway_init_image(NULL, size, &capacity, 1, 2, first, sizeof first, &none));
    NULLS(espial_gateway_init_image(memory, size, NULL, 1, 2, first, sizeof first, &none));
    NULLS(espial_gateway_init_image(memory, size, &capacity, 1, 2, NULL, sizeof first, &none));
    NULLS(espial_gateway_init_image(memory, size, &capacity, 1, 2, first, sizeof first, NULL));
    GIVES(ESPIAL_EROOM, espial_gateway_init_image(memory, size - 1, &capacity, 1, 2, first, sizeof first, &none));
    GIVES(ESPIAL_EALIGN, espial_gateway_init_image(memory + 8, size, &capacity, 1, 2, first, sizeof first, &none));
    GIVES(ESPIAL_EWORDS, espial_gateway_init_image(memory, size, &capacity, 1, 2, spoilt, sizeof spoilt, &none));
    small.children = 1;
    GIVES(ESPIAL_ERANGE, espial_gateway_init_image(memory, size, &small, 1, 2, first, sizeof first, &none));
    CLAIM(none == NULL);

    /* A gateway that compiles has no image. */
    small.selectors = 1;
    GIVES(ESPIAL_OK, espial_gateway_size(&small, &size));
    CLAIM(size <= sizeof memory);
    GIVES(ESPIAL_OK, espial_gateway_init(memory, sizeof memory, &small, 1, 2, &gateway));
    GIVES(ESPIAL_EHANDLE, espial_gateway_swap_image(gateway, first, sizeof first));
    GIVES(ESPIAL_EHANDLE, espial_gateway_image_settled(gateway));
    GIVES(ESPIAL_EHANDLE, espial_gateway_image_tunnel(gateway, 0, &tunnel));
    GIVES(ESPIAL_EHANDLE, espial_gateway_image_child(gateway, 0, &child));
    GIVES(ESPIAL_EHANDLE, espial_gateway_image_find(gateway, "hub", 3, "office", 6, &child));
    GIVES(ESPIAL_OK, espial_gateway_release(gateway));
    GIVES(ESPIAL_EHANDLE, espial_gateway_swap_image(gateway, first, sizeof first));
}

static void made(void) {
    espial_tunnel tunnel;
    espial_sa_params office = params(0x1100 + OFFICE), plant = params(0x1100 + PLANT);
    uint32_t mode, shadow, total, up;

    memcpy(erased, first, sizeof first);
    GIVES(ESPIAL_OK,
          espial_gateway_init_image(memory, sizeof memory, &capacity, 1, 2, erased, sizeof erased, &gateway));
    GIVES(ESPIAL_OK, espial_worker_init(worker_memory, sizeof worker_memory, gateway, 0, &worker));
    GIVES(ESPIAL_OK, espial_gateway_image_tunnel(gateway, 0, &tunnel));
    GIVES(ESPIAL_ESTALE, espial_gateway_image_tunnel(gateway, 1, &tunnel));
    NULLS(espial_gateway_image_tunnel(gateway, 0, NULL));
    NULLS(espial_gateway_image_tunnel(NULL, 0, &tunnel));
    GIVES(ESPIAL_OK, espial_gateway_image_child(gateway, PLANT, &children[PLANT]));
    GIVES(ESPIAL_ESTALE, espial_gateway_image_child(gateway, 2, &children[OFFICE]));
    NULLS(espial_gateway_image_child(gateway, 0, NULL));
    NULLS(espial_gateway_image_child(NULL, 0, &children[OFFICE]));
    GIVES(ESPIAL_OK, espial_gateway_image_find(gateway, "hub", 3, "office", 6, &children[OFFICE]));
    GIVES(ESPIAL_ENOTFOUND, espial_gateway_image_find(gateway, "hub", 3, "offices", 7, &children[OFFICE]));
    GIVES(ESPIAL_ENOTFOUND, espial_gateway_image_find(gateway, NULL, 0, "office", 6, &children[OFFICE]));
    NULLS(espial_gateway_image_find(gateway, NULL, 3, "office", 6, &children[OFFICE]));
    NULLS(espial_gateway_image_find(gateway, "hub", 3, NULL, 6, &children[OFFICE]));
    NULLS(espial_gateway_image_find(gateway, "hub", 3, "office", 6, NULL));
    NULLS(espial_gateway_image_find(NULL, "hub", 3, "office", 6, &children[OFFICE]));
    CLAIM(children[OFFICE].index == OFFICE && children[PLANT].index == PLANT);

    /* What is in the image does not change but with it. */
    GIVES(ESPIAL_OK, espial_tunnel_mode(gateway, tunnel, &mode, &shadow));
    CLAIM(mode == ESPIAL_MODE_STRICT_SA && shadow == 1 << ESPIAL_MODE_ANY_SELECTOR);
    GIVES(ESPIAL_ESTALE, espial_tunnel_set_mode(gateway, tunnel, ESPIAL_MODE_ANY_SOURCE, 0));
    GIVES(ESPIAL_EFULL, espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel));
    GIVES(ESPIAL_ESTALE, espial_child_remove(gateway, children[OFFICE]));
    GIVES(ESPIAL_OK, espial_gateway_publish(gateway));

    GIVES(ESPIAL_OK, espial_sa_add(gateway, children[OFFICE], &office, &sas[OFFICE]));
    GIVES(ESPIAL_OK, espial_sa_add(gateway, children[PLANT], &plant, &sas[PLANT]));
    GIVES(ESPIAL_OK, espial_tunnel_children(gateway, tunnel, &total, &up));
    CLAIM(total == 2 && up == 2);
}

static void swapped(void) {
    espial_tunnel tunnel;
    espial_sa_params plant = params(0x1100 + PLANT);
    espial_child moved;
    espial_counts counts;
    espial_verdict verdict;
    uint32_t mode, shadow;

    CLAIM(accepted(OFFICE, 0, 0) && accepted(PLANT, 1, 1) && !accepted(PLANT, 7, 1));
    verdict = judge(OFFICE, 1, 1);
    CLAIM(verdict.verdict == ESPIAL_VERDICT_DROP && verdict.reason == ESPIAL_DROP_WRONG_SA);
    CLAIM(verdict.belongs_to.index == PLANT && verdict.belongs_to.generation == children[PLANT].generation);

    NULLS(espial_gateway_swap_image(NULL, second, sizeof second));
    NULLS(espial_gateway_swap_image(gateway, NULL, sizeof second));
    GIVES(ESPIAL_EALIGN, espial_gateway_swap_image(gateway, second + 1, sizeof second - 8));
    GIVES(ESPIAL_EWORDS, espial_gateway_swap_image(gateway, spoilt, sizeof spoilt));
    GIVES(ESPIAL_EINUSE, espial_gateway_swap_image(gateway, second, sizeof second));
    CLAIM(accepted(PLANT, 1, 1));
    GIVES(ESPIAL_OK, espial_sa_delete(gateway, sas[PLANT], 0));
    GIVES(ESPIAL_OK, espial_gateway_swap_image(gateway, second, sizeof second));
    NULLS(espial_gateway_image_settled(NULL));
    GIVES(ESPIAL_EBUSY, espial_gateway_image_settled(gateway));
    GIVES(ESPIAL_EBUSY, espial_gateway_swap_image(gateway, first, sizeof first));
    GIVES(ESPIAL_ESTALE, espial_sa_add(gateway, children[PLANT], &plant, &sas[PLANT]));
    GIVES(ESPIAL_OK, espial_gateway_image_find(gateway, "hub", 3, "plant", 5, &moved));
    CLAIM(moved.index == PLANT && moved.generation != children[PLANT].generation);
    GIVES(ESPIAL_EBUSY, espial_sa_add(gateway, moved, &plant, &sas[PLANT]));
    GIVES(ESPIAL_OK, espial_worker_quiescent(worker));
    GIVES(ESPIAL_OK, espial_gateway_image_settled(gateway));
    memset(erased, 0xff, sizeof erased);
    GIVES(ESPIAL_OK, espial_sa_add(gateway, moved, &plant, &sas[PLANT]));

    /* The SA of the office is still there, and any selector will do now. */
    CLAIM(accepted(OFFICE, 0, 0) && accepted(PLANT, 7, 1) && accepted(OFFICE, 7, 1) && !accepted(PLANT, 1, 1));
    GIVES(ESPIAL_OK, espial_gateway_image_tunnel(gateway, 0, &tunnel));
    GIVES(ESPIAL_OK, espial_tunnel_mode(gateway, tunnel, &mode, &shadow));
    CLAIM(mode == ESPIAL_MODE_ANY_SELECTOR && shadow == 1 << ESPIAL_MODE_STRICT_SA);
    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    GIVES(ESPIAL_OK, espial_tunnel_counts(gateway, tunnel, &counts));
    CLAIM(counts.packets == 6);
}

int main(void) {
    misuse();
    made();
    swapped();
    GIVES(ESPIAL_OK, espial_worker_release(worker));
    GIVES(ESPIAL_OK, espial_gateway_release(gateway));
    return all_hold();
}
