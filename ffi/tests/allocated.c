/* The calls that only the shared library has: gateways and workers in memory of its own. */
#include <espial.h>
#include <stdio.h>

#define GIVES(status, call)                                                                                \
    do {                                                                                                   \
        if ((call) != (status)) {                                                                          \
            fprintf(stderr, "allocated.c:%d: %s\n", __LINE__, #call);                                      \
            return 1;                                                                                      \
        }                                                                                                  \
    } while (0)

static _Alignas(64) uint8_t memory[1 << 16], more[1 << 14];

int main(void) {
    espial_capacity capacity = {sizeof capacity, .tunnels = 1, .children = 1, .selectors = 1, .sas = 1, .workers = 2};
    espial_capacity huge = {
        sizeof huge, .tunnels = UINT32_MAX, .children = UINT32_MAX, .selectors = UINT32_MAX, .sas = 1, .workers = 1,
    };
    espial_capacity less = {sizeof less, .sas = 1}, larger = capacity;
    espial_gateway *gateway = NULL, *placed;
    espial_worker *worker = NULL, *second;
    espial_tunnel tunnel;
    uint32_t i, spi, sas, dst, dst_src, allocated;

    capacity.sas_allocated = 1;
    GIVES(ESPIAL_OK, espial_gateway_free(NULL));
    GIVES(ESPIAL_OK, espial_worker_free(NULL));
    GIVES(ESPIAL_ENULL, espial_gateway_new(NULL, 1, 2, &gateway));
    GIVES(ESPIAL_ENULL, espial_gateway_new(&capacity, 1, 2, NULL));
    if (espial_gateway_new(&huge, 1, 2, &gateway) == ESPIAL_OK || gateway != NULL) {
        return 1;
    }
    GIVES(ESPIAL_OK, espial_gateway_new(&capacity, 1, 2, &gateway));
    GIVES(ESPIAL_ENULL, espial_worker_new(NULL, 0, &worker));
    GIVES(ESPIAL_ENULL, espial_worker_new(gateway, 0, NULL));
    GIVES(ESPIAL_ERANGE, espial_worker_new(gateway, 2, &worker));
    GIVES(ESPIAL_OK, espial_worker_new(gateway, 0, &worker));
    GIVES(ESPIAL_EATTACHED, espial_worker_new(gateway, 0, &second));
    GIVES(ESPIAL_OK, espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel));
    GIVES(ESPIAL_EATTACHED, espial_gateway_free(gateway));

    /* It grows in memory that goes with it, again and again, and in the caller's as well. */
    for (i = 1; i < 7; i++) {
        larger.sas = 10 * i;
        larger.sas_allocated = i;
        GIVES(ESPIAL_OK, espial_gateway_grow_alloc(gateway, &larger));
        GIVES(ESPIAL_EGROW, espial_gateway_grow_alloc(gateway, &less));
        GIVES(ESPIAL_OK, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 0, &spi));
    }
    larger.sas_allocated = 8;
    GIVES(ESPIAL_ENULL, espial_gateway_grow_alloc(NULL, &larger));
    GIVES(ESPIAL_ENULL, espial_gateway_grow_alloc(gateway, NULL));
    GIVES(ESPIAL_OK, espial_gateway_grow(gateway, memory, sizeof memory, &larger));
    GIVES(ESPIAL_OK, espial_spi_reserve(gateway, ESPIAL_IPSEC_ESP, 0, &spi));
    GIVES(ESPIAL_OK, espial_gateway_sa_limits(gateway, &sas, &dst, &dst_src, &allocated));
    if (sas != 60 || dst != 0 || dst_src != 0 || allocated != 8) {
        return 1;
    }

    /* What was made in the caller's memory is released, what was allocated is freed: not the other way. */
    GIVES(ESPIAL_OK, espial_worker_init(more, sizeof more, gateway, 1, &second));
    GIVES(ESPIAL_EHANDLE, espial_worker_free(second));
    GIVES(ESPIAL_EHANDLE, espial_worker_release(worker));
    GIVES(ESPIAL_OK, espial_worker_release(second));
    GIVES(ESPIAL_OK, espial_worker_free(worker));
    GIVES(ESPIAL_EHANDLE, espial_gateway_release(gateway));
    GIVES(ESPIAL_OK, espial_gateway_free(gateway));
    GIVES(ESPIAL_OK, espial_gateway_init(memory, sizeof memory, &capacity, 1, 2, &placed));
    GIVES(ESPIAL_EHANDLE, espial_gateway_grow_alloc(placed, &larger));
    GIVES(ESPIAL_EHANDLE, espial_gateway_free(placed));
    GIVES(ESPIAL_OK, espial_gateway_release(placed));
    return 0;
}
