/* A gateway with one SA and its worker, for programs that misuse them. */
#ifndef GATEWAY_H
#define GATEWAY_H

#include "claims.h"

static const uint8_t ESP[28] = {0x45, 0, 0, 28, 0, 0, 0, 0, 64, 50, 0, 0, 198, 51, 100, 1, 203, 0, 113, 2, 0, 0, 0x11, 0x11, 0, 0, 0, 1};

static espial_capacity capacity = {
    sizeof(espial_capacity), .tunnels = 2, .children = 4, .selectors = 8, .sas = 4, .sas_dst = 2, .sas_dst_src = 2,
    .workers = 2, .sas_allocated = 2, .replay_window = 64,
};
static espial_gateway *gateway;
static espial_worker *worker;
static espial_tunnel tunnel;
static espial_child child;
static espial_sa sa;
static espial_sa_params params;
static espial_ts local, remote;

static void *memory(size_t align, size_t size) {
    void *at = aligned_alloc(align, (size + align - 1) / align * align);
    CLAIM(at != NULL);
    return at;
}

static void *gateway_memory, *worker_memory;

/* The memory of both, and what the SA is to be; nothing is made yet. */
static void prepare(void) {
    size_t size;

    local.family = remote.family = ESPIAL_FAMILY_V4;
    local.port_hi = remote.port_hi = 65535;
    local.addr_lo[0] = local.addr_hi[0] = remote.addr_lo[0] = remote.addr_hi[0] = 10;
    local.addr_lo[1] = local.addr_hi[1] = 1;
    remote.addr_lo[1] = remote.addr_hi[1] = 2;
    local.addr_hi[3] = remote.addr_hi[3] = 255;
    params.size = sizeof params;
    params.mode = ESPIAL_SA_TUNNEL;
    params.key.spi = 0x1111;
    params.key.ipsec = ESPIAL_IPSEC_ESP;
    params.key.scope = ESPIAL_SCOPE_SPI;
    GIVES(ESPIAL_OK, espial_gateway_size(&capacity, &size));
    gateway_memory = memory(espial_gateway_align(), size);
    worker_memory = memory(espial_worker_align(), espial_worker_size());
}

static void make(void) {
    size_t size;

    GIVES(ESPIAL_OK, espial_gateway_size(&capacity, &size));
    GIVES(ESPIAL_OK, espial_gateway_init(gateway_memory, size, &capacity, 1, 2, &gateway));
    GIVES(ESPIAL_OK, espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel));
    GIVES(ESPIAL_OK, espial_child_add(gateway, tunnel, &local, 1, &remote, 1, &child));
    GIVES(ESPIAL_EUNPUBLISHED, espial_sa_add(gateway, child, &params, &sa));
    GIVES(ESPIAL_OK, espial_gateway_publish(gateway));
    GIVES(ESPIAL_OK, espial_sa_add(gateway, child, &params, &sa));
    GIVES(ESPIAL_OK, espial_worker_init(worker_memory, espial_worker_size(), gateway, 0, &worker));
}

/* Both are released, their memory is still there. */
static void release(void) {
    GIVES(ESPIAL_OK, espial_sa_delete(gateway, sa, 0));
    GIVES(ESPIAL_ESTALE, espial_sa_delete(gateway, sa, 0));
    GIVES(ESPIAL_OK, espial_worker_release(worker));
    GIVES(ESPIAL_OK, espial_gateway_release(gateway));
}

static void give_back(void) {
    free(worker_memory);
    free(gateway_memory);
}

#endif
