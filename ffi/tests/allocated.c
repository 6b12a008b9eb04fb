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
    espial_capacity huge = {sizeof huge, UINT32_MAX, UINT32_MAX, UINT32_MAX, 1, 0, 0, 1};
    espial_gateway *gateway = NULL, *placed;
    espial_worker *worker = NULL, *second;
    espial_tunnel tunnel;

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

    /* What was made in the caller's memory is released, what was allocated is freed: not the other way. */
    GIVES(ESPIAL_OK, espial_worker_init(more, sizeof more, gateway, 1, &second));
    GIVES(ESPIAL_EHANDLE, espial_worker_free(second));
    GIVES(ESPIAL_EHANDLE, espial_worker_release(worker));
    GIVES(ESPIAL_OK, espial_worker_release(second));
    GIVES(ESPIAL_OK, espial_worker_free(worker));
    GIVES(ESPIAL_OK, espial_gateway_init(memory, sizeof memory, &capacity, 1, 2, &placed));
    GIVES(ESPIAL_EHANDLE, espial_gateway_free(placed));
    GIVES(ESPIAL_EHANDLE, espial_gateway_release(gateway));
    GIVES(ESPIAL_OK, espial_gateway_release(placed));
    GIVES(ESPIAL_OK, espial_gateway_free(gateway));
    return 0;
}
