/*
 * rte_acl: rules of five fields, IPv4 or IPv6. Callers: `acl.rs` alone; it says what each function
 * may be given, and lays out packets as `field_defs` describes them.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_acl.h>
#include <rte_errno.h>
#include <rte_memory.h>

#include "dpdk.h"

#define BURST 64

/* Addresses are words, the most significant one first. `to` is the last value, or the length of the mask. */
struct side {
	uint32_t from[4], to[4];
};

struct rule {
	struct side src, dst;
	uint32_t answer; /* never 0 */
	uint16_t sport[2], dport[2];
	uint8_t protocol; /* 0 is any */
};

/* How all rules of a table are written. */
struct form {
	uint32_t words;          /* of an address: 1 or 4 */
	uint32_t addresses;      /* octets from the protocol to the source */
	uint8_t src_is_range;    /* else a mask */
	uint8_t dst_is_range;
	uint8_t one_priority;    /* instead of one a rule, the first rule's the highest */
	size_t max_size;         /* octets of run-time table at most, 0 without a limit */
	size_t most_data;        /* RLIMIT_DATA while it builds, 0 for three quarters of the machine's memory */
};

/*
 * A packet: protocol, octets that nobody reads, source, destination, ports, in network order. rte_acl
 * takes the first field alone, then four octets a time.
 */
static void field_defs(struct rte_acl_config *config, const struct form *form)
{
	uint32_t n = 0, offset = form->addresses, input = 1;

	config->num_categories = 1;
	config->max_size = form->max_size;
	config->defs[n++] = (struct rte_acl_field_def){ RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, 0, 0 };
	for (int side = 0; side < 2; side++) {
		int range = side == 0 ? form->src_is_range : form->dst_is_range;

		for (uint32_t word = 0; word < form->words; word++, n++, input++, offset += 4)
			config->defs[n] = (struct rte_acl_field_def){
				range ? RTE_ACL_FIELD_TYPE_RANGE : RTE_ACL_FIELD_TYPE_MASK, 4, n, input, offset,
			};
	}
	for (int side = 0; side < 2; side++, n++, offset += 2)
		config->defs[n] = (struct rte_acl_field_def){ RTE_ACL_FIELD_TYPE_RANGE, 2, n, input, offset };
	config->num_fields = n;
}

static void fill(struct rte_acl_rule *out, const struct rule *rule, uint32_t place, uint32_t n, const struct form *form)
{
	struct rte_acl_field *field = out->field;

	out->data.category_mask = 1;
	out->data.priority = form->one_priority ? 1 : (int32_t)(n - place);
	out->data.userdata = rule->answer;
	field->value.u8 = rule->protocol;
	field++->mask_range.u8 = rule->protocol ? 0xff : 0;
	for (int side = 0; side < 2; side++) {
		const struct side *words = side == 0 ? &rule->src : &rule->dst;

		for (uint32_t word = 0; word < form->words; word++) {
			field->value.u32 = words->from[word];
			field++->mask_range.u32 = words->to[word];
		}
	}
	for (int side = 0; side < 2; side++) {
		const uint16_t *ports = side == 0 ? rule->sport : rule->dport;

		field->value.u16 = ports[0];
		field++->mask_range.u16 = ports[1];
	}
}

/* Builds within a limit of memory: rte_acl takes many times what the table does. */
static int build(struct rte_acl_ctx *acl, const struct rte_acl_config *config, size_t most_data)
{
	struct rlimit kept, less;
	rlim_t most = (rlim_t)sysconf(_SC_PHYS_PAGES) / 4 * 3 * (rlim_t)sysconf(_SC_PAGESIZE);
	int limited = getrlimit(RLIMIT_DATA, &kept) == 0;

	if (most_data != 0)
		most = most_data;
	less = kept;
	if (limited && (less.rlim_cur == RLIM_INFINITY || less.rlim_cur > most)) {
		less.rlim_cur = most;
		limited = setrlimit(RLIMIT_DATA, &less) == 0;
	}
	int built = rte_acl_build(acl, config);
	if (limited)
		setrlimit(RLIMIT_DATA, &kept);
	return built;
}

void espial_peer_acl_free(void *acl)
{
	rte_acl_free(acl);
}

/*
 * `octets` is the run-time table alone, without the rules that rte_acl keeps; NULL leaves out what it takes to
 * know it, a walk over the whole heap. NULL with an errno in `error`.
 */
void *espial_peer_acl_new(uint32_t n, const struct rule *rules, const struct form *form, size_t *octets, int *error)
{
	struct rte_acl_config config = { 0 };
	char name[32];

	field_defs(&config, form);
	size_t size = RTE_ACL_RULE_SZ(config.num_fields);
	struct rte_acl_param param = {
		.name = espial_peer_fresh_name(name),
		.socket_id = SOCKET_ID_ANY,
		.rule_size = (uint32_t)size,
		.max_rule_num = n,
	};
	char *filled = calloc(n, size);
	struct rte_acl_ctx *acl = filled ? rte_acl_create(&param) : NULL;
	if (acl == NULL) {
		*error = filled ? rte_errno : ENOMEM;
		free(filled);
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++)
		fill((struct rte_acl_rule *)(filled + i * size), &rules[i], i, n, form);
	int done = rte_acl_add_rules(acl, (const struct rte_acl_rule *)filled, n);
	free(filled);
	size_t before = octets ? espial_peer_heap() : 0;
	if (done == 0)
		done = build(acl, &config, form->most_data);
	if (done != 0) {
		*error = -done;
		rte_acl_free(acl);
		return NULL;
	}
	if (octets)
		*octets = espial_peer_heap() - before;
	return acl;
}

/* Whether this processor, and EAL's limit of vector width, allow the algorithm. */
int espial_peer_acl_can(void *acl, int algorithm)
{
	return rte_acl_set_ctx_classify(acl, (enum rte_acl_classify_alg)algorithm) == 0;
}

/* `burst` packets with each call, 64 at most; each answer goes to `results`. */
void espial_peer_acl_answers(const void *acl, uint32_t n, const uint8_t **packets, uint32_t burst, uint32_t *results,
			     int algorithm)
{
	for (uint32_t from = 0; from < n; from += burst) {
		uint32_t some = n - from < burst ? n - from : burst;

		rte_acl_classify_alg(acl, packets + from, results + from, some, 1, (enum rte_acl_classify_alg)algorithm);
	}
}

/* The same, each burst's answers written over the last one's. */
void espial_peer_acl_pass(const void *acl, uint32_t n, const uint8_t **packets, uint32_t burst, int algorithm)
{
	uint32_t results[BURST];

	for (uint32_t from = 0; from < n; from += burst) {
		uint32_t some = n - from < burst ? n - from : burst;

		rte_acl_classify_alg(acl, packets + from, results, some, 1, (enum rte_acl_classify_alg)algorithm);
	}
}
