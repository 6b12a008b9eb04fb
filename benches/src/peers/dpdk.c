/*
 * rte_ipsec_sad and rte_hash behind the shape of the other peers: plain arrays of host integers
 * in, handles out. What their API wants in between, arrays of pointers to keys, is filled here
 * and so is timed. Each stored pointer is a handle: index << 2 | generation << 34, with a
 * generation of 1 to 2^30 - 1, so that it is neither NULL nor has its low two bits in use.
 *
 * Callers: `dpdk.rs` alone; it says what each function may be given.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_ipsec_sad.h>
#include <rte_malloc.h>

#include "dpdk.h"

#define BURST 64 /* RTE_HASH_LOOKUP_BULK_MAX, and what rte_ipsec_sad takes a pass */

struct handle {
	uint32_t index, generation;
};

static inline void *stored(uint32_t index)
{
	return (void *)((uintptr_t)index << 2 | (uintptr_t)1 << 34);
}

static inline struct handle handle(const void *stored)
{
	return (struct handle){ (uint32_t)((uintptr_t)stored >> 2), (uint32_t)((uintptr_t)stored >> 34) };
}

/* Once a process. 0 or an errno. Leaves the calling thread where it was allowed to run. */
int espial_peer_eal(void)
{
	char *arguments[] = { "espial", "--no-huge", "-m", "4096", "--no-pci", "--no-shconf", "--no-telemetry",
			      "-l", "0", "--force-max-simd-bitwidth=512", "--log-level=error", NULL };
	cpu_set_t cpus;
	int kept = pthread_getaffinity_np(pthread_self(), sizeof cpus, &cpus);
	int taken = rte_eal_init(sizeof arguments / sizeof *arguments - 1, arguments);

	if (kept == 0)
		pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
	return taken < 0 ? (rte_errno ? rte_errno : EINVAL) : 0;
}

size_t espial_peer_heap(void)
{
	struct rte_malloc_socket_stats stats;

	return rte_malloc_get_socket_stats(0, &stats) == 0 ? stats.heap_allocsz_bytes : 0;
}

/* An eighth more than the keys: cuckoo hashing does not fill a table to the last slot. */
static uint32_t room(uint32_t n)
{
	return n + n / 8 + 8;
}

const char *espial_peer_fresh_name(char name[32])
{
	static unsigned int tables;

	snprintf(name, 32, "espial-peer-%u", __atomic_fetch_add(&tables, 1, __ATOMIC_RELAXED));
	return name;
}

void espial_peer_sad_free(void *sad)
{
	rte_ipsec_sad_destroy(sad);
}

/* `kinds` NULL: all of SPI only, and `dsts` and `srcs` are not read. NULL with rte_errno in `error`. */
void *espial_peer_sad_new(uint32_t n, const uint8_t *kinds, const uint32_t *spis, const uint32_t *dsts,
			  const uint32_t *srcs, size_t *octets, int *error)
{
	struct rte_ipsec_sad_conf conf = { .socket_id = SOCKET_ID_ANY };
	size_t before = espial_peer_heap();
	char name[32];

	_Static_assert(RTE_IPSEC_SAD_SPI_ONLY == 0 && RTE_IPSEC_SAD_SPI_DIP == 1 && RTE_IPSEC_SAD_SPI_DIP_SIP == 2,
		       "the numbers of Kind");
	for (uint32_t i = 0; i < n; i++)
		conf.max_sa[kinds ? kinds[i] : RTE_IPSEC_SAD_SPI_ONLY]++;
	for (int kind = 0; kind < RTE_IPSEC_SAD_KEY_TYPE_MASK; kind++)
		conf.max_sa[kind] = room(conf.max_sa[kind]);
	struct rte_ipsec_sad *sad = rte_ipsec_sad_create(espial_peer_fresh_name(name), &conf);
	if (sad == NULL) {
		*error = rte_errno;
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++) {
		union rte_ipsec_sad_key key;
		int kind = kinds ? kinds[i] : RTE_IPSEC_SAD_SPI_ONLY;

		memset(&key, 0, sizeof key);
		key.v4.spi = spis[i];
		key.v4.dip = kinds ? dsts[i] : 0;
		key.v4.sip = kinds ? srcs[i] : 0;
		int added = rte_ipsec_sad_add(sad, &key, kind, stored(i));
		if (added != 0) {
			*error = -added;
			rte_ipsec_sad_destroy(sad);
			return NULL;
		}
	}
	*octets = espial_peer_heap() - before;
	return sad;
}

static inline uint32_t sad_burst(const struct rte_ipsec_sad *sad, uint32_t n, const uint32_t *spis,
				 const uint32_t *dsts, const uint32_t *srcs, struct handle *out, int mixed)
{
	/* Not zeroed: without longer keys in the table nothing but the SPI is read. */
	union rte_ipsec_sad_key keys[BURST];
	const union rte_ipsec_sad_key *pointers[BURST];
	void *sas[BURST];
	uint32_t hits = 0;

	for (uint32_t from = 0; from < n; from += BURST) {
		uint32_t some = n - from < BURST ? n - from : BURST;

		for (uint32_t i = 0; i < some; i++) {
			keys[i].v4.spi = spis[from + i];
			if (mixed) {
				keys[i].v4.dip = dsts[from + i];
				keys[i].v4.sip = srcs[from + i];
			}
			pointers[i] = &keys[i];
		}
		hits += (uint32_t)rte_ipsec_sad_lookup(sad, pointers, sas, some);
		for (uint32_t i = 0; i < some; i++)
			out[from + i] = handle(sas[i]);
	}
	return hits;
}

uint32_t espial_peer_sad_burst(const void *sad, uint32_t n, const uint32_t *spis, struct handle *out)
{
	return sad_burst(sad, n, spis, NULL, NULL, out, 0);
}

uint32_t espial_peer_sad_burst_mixed(const void *sad, uint32_t n, const uint32_t *spis, const uint32_t *dsts,
				     const uint32_t *srcs, struct handle *out)
{
	return sad_burst(sad, n, spis, dsts, srcs, out, 1);
}

void espial_peer_hash_free(void *hash)
{
	rte_hash_free(hash);
}

void *espial_peer_hash_new(uint32_t n, const uint32_t *spis, size_t *octets, int *error)
{
	char name[32];
	struct rte_hash_parameters parameters = {
		.name = espial_peer_fresh_name(name),
		.entries = room(n),
		.key_len = sizeof *spis,
		.hash_func = rte_hash_crc, /* from hash_func_init_val 0 */
		.socket_id = SOCKET_ID_ANY,
	};
	size_t before = espial_peer_heap();
	struct rte_hash *hash = rte_hash_create(&parameters);

	if (hash == NULL) {
		*error = rte_errno;
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++) {
		int added = rte_hash_add_key_data(hash, &spis[i], stored(i));
		if (added != 0) {
			*error = -added;
			rte_hash_free(hash);
			return NULL;
		}
	}
	*octets = espial_peer_heap() - before;
	return hash;
}

/* Hashes here, inline: a fifth faster than rte_hash_lookup_bulk_data, which calls a pointer for each key. */
uint32_t espial_peer_hash_burst(const void *hash, uint32_t n, const uint32_t *spis, struct handle *out)
{
	const void *keys[BURST];
	hash_sig_t hashes[BURST];
	void *data[BURST];
	uint64_t found;
	uint32_t hits = 0;

	for (uint32_t from = 0; from < n; from += BURST) {
		uint32_t some = n - from < BURST ? n - from : BURST;

		for (uint32_t i = 0; i < some; i++) {
			keys[i] = &spis[from + i];
			hashes[i] = rte_hash_crc_4byte(spis[from + i], 0);
		}
		hits += (uint32_t)rte_hash_lookup_with_hash_bulk_data(hash, keys, hashes, some, &found, data);
		for (uint32_t i = 0; i < some; i++)
			out[from + i] = found >> i & 1 ? handle(data[i]) : (struct handle){ 0, 0 };
	}
	return hits;
}

struct handle espial_peer_hash_one(const void *hash, uint32_t spi)
{
	void *data;

	if (rte_hash_lookup_with_hash_data(hash, &spi, rte_hash_crc_4byte(spi, 0), &data) < 0)
		return (struct handle){ 0, 0 };
	return handle(data);
}
