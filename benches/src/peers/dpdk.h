/* What the shims share. */
#ifndef ESPIAL_PEERS_DPDK_H
#define ESPIAL_PEERS_DPDK_H

#include <stddef.h>

/* What is allocated of DPDK's heap, in octets. */
size_t espial_peer_heap(void);

/* A name that no table has had yet. */
const char *espial_peer_fresh_name(char name[32]);

#endif
