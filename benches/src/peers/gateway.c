/*
 * The whole inbound check as DPDK's own gateway (examples/ipsec-secgw) puts it together: rte_ipsec_sad from SPI
 * to SA, rte_acl from the opened packet to a verdict, counters of the SA. As there, SAs lie in an array, what
 * the SAD holds are pointers into it, and rte_acl reads the inner packet where it lies. IPv4 only.
 *
 * Callers: `gateway.rs` alone; it says what each function may be given.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <rte_acl.h>
#include <rte_byteorder.h>
#include <rte_errno.h>
#include <rte_ip.h>
#include <rte_ipsec_sad.h>
#include <rte_prefetch.h>

#include "dpdk.h"

#define BURST 64
#define ESP_OCTETS 8 /* SPI and sequence number */
#define TUPLE_OCTETS 15 /* of an IPv4 header from its protocol on, and the ports behind it */

enum way { OWN, ALL };
enum verdict { ACCEPT, NO_SA, NOT_COVERED };

struct packet {
	const uint8_t *outer, *inner;
	uint16_t outer_octets, inner_octets;
	uint8_t next_header;
};

struct sa {
	const struct rte_acl_ctx *own; /* the selectors of this SA alone */
	uint32_t child;                /* what the list of all selectors says of this SA's */
	uint64_t packets, octets, drops;
} __attribute__((aligned(64)));

struct gateway {
	struct rte_ipsec_sad *sad;
	struct sa *sas;
	const struct rte_acl_ctx *all;
	uint64_t unknown;
};

/* Room for the tuple of a packet that rte_acl cannot read where it lies. */
struct tuple {
	uint8_t octets[16];
};

void espial_peer_gateway_free(void *table)
{
	struct gateway *gateway = table;

	rte_ipsec_sad_destroy(gateway->sad);
	free(gateway->sas);
	free(gateway);
}

/* SPIs are host integers. `octets` is the SAD's share of DPDK's heap. NULL with an errno in `error`. */
void *espial_peer_gateway_new(uint32_t n, const uint32_t *spis, const uint32_t *children, size_t *octets, int *error)
{
	struct rte_ipsec_sad_conf conf = { .socket_id = SOCKET_ID_ANY };
	size_t before = espial_peer_heap();
	char name[32];

	/* An eighth more, as in dpdk.c; of the longer keys none. */
	for (int kind = 0; kind < RTE_IPSEC_SAD_KEY_TYPE_MASK; kind++)
		conf.max_sa[kind] = kind == RTE_IPSEC_SAD_SPI_ONLY ? n + n / 8 + 8 : 8;
	struct gateway *gateway = calloc(1, sizeof *gateway);
	struct sa *sas = aligned_alloc(64, n * sizeof *sas);
	struct rte_ipsec_sad *sad = rte_ipsec_sad_create(espial_peer_fresh_name(name), &conf);
	int done = sad == NULL ? -rte_errno : gateway && sas ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < n && done == 0; i++) {
		union rte_ipsec_sad_key key;

		memset(&key, 0, sizeof key);
		key.v4.spi = rte_cpu_to_be_32(spis[i]);
		sas[i] = (struct sa){ .child = children[i] };
		done = rte_ipsec_sad_add(sad, &key, RTE_IPSEC_SAD_SPI_ONLY, &sas[i]);
	}
	if (done != 0) {
		*error = -done;
		if (sad != NULL)
			rte_ipsec_sad_destroy(sad);
		free(sas);
		free(gateway);
		return NULL;
	}
	*gateway = (struct gateway){ .sad = sad, .sas = sas };
	*octets = espial_peer_heap() - before;
	return gateway;
}

/* A table for each SA; or one for all, whose answers are the numbers of their Child SAs. */
void espial_peer_gateway_own(void *table, uint32_t n, const void *const *contexts)
{
	struct gateway *gateway = table;

	for (uint32_t i = 0; i < n; i++)
		gateway->sas[i].own = contexts[i];
}

void espial_peer_gateway_all(void *table, const void *context)
{
	((struct gateway *)table)->all = context;
}

/* Accepted packets, their octets, drops; of an SA, or for `sa` beyond the last one the packets of no SA. */
void espial_peer_gateway_counted(const void *table, uint32_t n, uint32_t sa, uint64_t counted[3])
{
	const struct gateway *gateway = table;

	counted[0] = sa < n ? gateway->sas[sa].packets : 0;
	counted[1] = sa < n ? gateway->sas[sa].octets : 0;
	counted[2] = sa < n ? gateway->sas[sa].drops : gateway->unknown;
}

static inline uint16_t be16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof value);
	return rte_be_to_cpu_16(value);
}

/* Octets of the header, and in `total` what the packet claims; 0 if it is no IPv4 packet that is there in full. */
static inline uint32_t ipv4(const uint8_t *packet, uint32_t octets, uint32_t *total)
{
	if (unlikely(octets < sizeof(struct rte_ipv4_hdr) || packet[0] >> 4 != 4))
		return 0;
	uint32_t header = (packet[0] & 15u) * 4;

	*total = be16(packet + offsetof(struct rte_ipv4_hdr, total_length));
	return header >= sizeof(struct rte_ipv4_hdr) && *total >= header && *total <= octets ? header : 0;
}

static inline uint16_t fragment(const uint8_t *packet)
{
	return be16(packet + offsetof(struct rte_ipv4_hdr, fragment_offset));
}

/* The SPI in network order, 0 if it is not ESP in IPv4. */
static inline uint32_t spi(const struct packet *packet)
{
	uint32_t total, spi, header = ipv4(packet->outer, packet->outer_octets, &total);

	if (unlikely(header == 0 || total < header + ESP_OCTETS ||
		     packet->outer[offsetof(struct rte_ipv4_hdr, next_proto_id)] != IPPROTO_ESP ||
		     (fragment(packet->outer) & (RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG)) != 0))
		return 0;
	memcpy(&spi, packet->outer + header, sizeof spi);
	return spi;
}

/* What rte_acl reads, in the packet or in `room`; NULL if the packet is malformed. */
static inline const uint8_t *tuple(const struct packet *packet, struct tuple *room)
{
	const uint32_t from = offsetof(struct rte_ipv4_hdr, next_proto_id);
	uint32_t total, header = ipv4(packet->inner, packet->inner_octets, &total);

	if (unlikely(header == 0 || packet->next_header != IPPROTO_IPIP))
		return NULL;
	int first = (fragment(packet->inner) & RTE_IPV4_HDR_OFFSET_MASK) == 0;

	if (likely(header == sizeof(struct rte_ipv4_hdr) && first && total >= from + TUPLE_OCTETS))
		return packet->inner + from;
	memset(room, 0, sizeof *room);
	memcpy(room->octets, packet->inner + from, sizeof(struct rte_ipv4_hdr) - from);
	if (first) {
		if (total < header + 4)
			return NULL;
		memcpy(room->octets + sizeof(struct rte_ipv4_hdr) - from, packet->inner + header, 4);
	}
	return room->octets;
}

/* A call for all packets, or one for each row of packets of one SA. */
static inline void classify(const struct gateway *gateway, enum way way, uint32_t n, struct sa *const *sas,
			    const uint8_t **tuples, uint32_t *results, enum rte_acl_classify_alg algorithm)
{
	if (way == ALL) {
		rte_acl_classify_alg(gateway->all, tuples, results, n, 1, algorithm);
		return;
	}
	for (uint32_t from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && sas[to]->own == sas[from]->own;)
			to++;
		rte_acl_classify_alg(sas[from]->own, tuples + from, results + from, to - from, 1, algorithm);
	}
}

/*
 * Inner parse, selectors, counters; `places` says where in `packets` and `verdicts` each is. How many are
 * accepted. With one list the first policy that covers a packet must be of the packet's SA, as inbound_sp_sa
 * of secgw has it.
 */
static inline uint32_t judge(struct gateway *gateway, enum way way, uint32_t n, struct sa *const *found,
			     const struct packet *packets, const uint8_t *places, uint8_t *verdicts,
			     enum rte_acl_classify_alg algorithm)
{
	const uint8_t *tuples[BURST];
	struct tuple room[BURST];
	struct sa *sas[BURST];
	uint32_t results[BURST], octets[BURST], asked = 0, accepted = 0;
	uint8_t at[BURST];

	for (uint32_t i = 0; i < n; i++) {
		const struct packet *packet = &packets[places[i]];

		if (way == OWN)
			rte_prefetch0(found[i]->own);
		tuples[asked] = tuple(packet, &room[asked]);
		if (unlikely(tuples[asked] == NULL)) {
			found[i]->drops++;
			verdicts[places[i]] = NOT_COVERED;
			continue;
		}
		sas[asked] = found[i];
		octets[asked] = packet->inner_octets;
		at[asked++] = places[i];
	}
	if (asked == 0)
		return 0;
	classify(gateway, way, asked, sas, tuples, results, algorithm);
	for (uint32_t i = 0; i < asked; i++) {
		int covered = way == OWN ? results[i] != 0 : results[i] == sas[i]->child;

		verdicts[at[i]] = covered ? ACCEPT : NOT_COVERED;
		if (covered) {
			sas[i]->packets++;
			sas[i]->octets += octets[i];
			accepted++;
		} else {
			sas[i]->drops++;
		}
	}
	return accepted;
}

static inline uint32_t whole_burst(struct gateway *gateway, enum way way, uint32_t n, const struct packet *packets,
				   uint8_t *verdicts, enum rte_acl_classify_alg algorithm)
{
	/* Not zeroed: without longer keys in the table nothing but the SPI is read. */
	union rte_ipsec_sad_key keys[BURST];
	const union rte_ipsec_sad_key *pointers[BURST];
	void *values[BURST];
	struct sa *sas[BURST];
	uint8_t asked[BURST], places[BURST];
	uint32_t spis = 0, found = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t one = spi(&packets[i]);

		verdicts[i] = NO_SA;
		if (unlikely(one == 0)) {
			gateway->unknown++;
			continue;
		}
		keys[spis].v4.spi = one;
		pointers[spis] = &keys[spis];
		asked[spis++] = (uint8_t)i;
	}
	if (spis == 0)
		return 0;
	rte_ipsec_sad_lookup(gateway->sad, pointers, values, spis);
	for (uint32_t i = 0; i < spis; i++) {
		if (unlikely(values[i] == NULL)) {
			gateway->unknown++;
			continue;
		}
		rte_prefetch0(values[i]);
		sas[found] = values[i];
		places[found++] = asked[i];
	}
	return judge(gateway, way, found, sas, packets, places, verdicts, algorithm);
}

static inline uint32_t check_burst(struct gateway *gateway, enum way way, uint32_t n, const struct packet *packets,
				   const uint32_t *numbers, uint8_t *verdicts, enum rte_acl_classify_alg algorithm)
{
	struct sa *sas[BURST];
	uint8_t places[BURST];

	for (uint32_t i = 0; i < n; i++) {
		sas[i] = &gateway->sas[numbers[i]];
		rte_prefetch0(sas[i]);
		places[i] = (uint8_t)i;
	}
	return judge(gateway, way, n, sas, packets, places, verdicts, algorithm);
}

static inline uint32_t pass(struct gateway *gateway, enum way way, uint32_t n, const struct packet *packets,
			    const uint32_t *sas, uint32_t burst, uint8_t *verdicts, enum rte_acl_classify_alg algorithm)
{
	uint8_t overwritten[BURST];
	uint32_t accepted = 0;

	for (uint32_t from = 0; from < n; from += burst) {
		uint32_t some = n - from < burst ? n - from : burst;
		uint8_t *out = verdicts ? verdicts + from : overwritten;

		accepted += sas ? check_burst(gateway, way, some, packets + from, sas + from, out, algorithm) :
				  whole_burst(gateway, way, some, packets + from, out, algorithm);
	}
	return accepted;
}

/*
 * Packets from their arrival on; or, if `sas` says on which SAs they came, from their opening on. How many are
 * accepted. `verdicts` holds n, or is NULL: then each burst's are written over the last one's.
 */
uint32_t espial_peer_gateway_pass(void *gateway, int way, uint32_t n, const struct packet *packets,
				  const uint32_t *sas, uint32_t burst, uint8_t *verdicts, int algorithm)
{
	return way == OWN ? pass(gateway, OWN, n, packets, sas, burst, verdicts, algorithm) :
			    pass(gateway, ALL, n, packets, sas, burst, verdicts, algorithm);
}

/* Tuples as `pass` would find them in the packets; 0 if one is malformed, or cannot be read where it lies. */
int espial_peer_gateway_tuples(uint32_t n, const struct packet *packets, const uint8_t **tuples)
{
	struct tuple room;

	for (uint32_t i = 0; i < n; i++) {
		tuples[i] = tuple(&packets[i], &room);
		if (tuples[i] == NULL || tuples[i] == room.octets)
			return 0;
	}
	return 1;
}

/*
 * The selectors of each SA alone: nothing read from packets but their tuples, nothing counted. `results` holds
 * n, or is NULL.
 */
void espial_peer_gateway_ask(uint32_t n, const void *const *contexts, const uint8_t **tuples, uint32_t burst,
			     uint32_t *results, int algorithm)
{
	uint32_t overwritten[BURST];

	for (uint32_t first = 0; first < n; first += burst) {
		uint32_t end = n - first < burst ? n : first + burst;
		uint32_t *out = results ? results + first : overwritten;

		for (uint32_t from = first, to; from < end; from = to) {
			for (to = from + 1; to < end && contexts[to] == contexts[from];)
				to++;
			rte_acl_classify_alg(contexts[from], tuples + from, out + (from - first), to - from, 1,
					     (enum rte_acl_classify_alg)algorithm);
		}
	}
}
