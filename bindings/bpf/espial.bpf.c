// SPDX-License-Identifier: MIT OR Apache-2.0
/* The inbound check in the kernel, over the image that `espial compile` writes:

     arrive_xdp   XDP       which SA is an ESP or AH packet on? None: drop
     arrive       tc        the same, and the SA's number into the packet's mark
                            (the kernel opens the packet; the mark stays)
     check        tc        may the opened packet be on that SA?

   Verdicts and reasons are those of the library (core/src/wire, core/src/inbound); what it does beside, replay windows and
   lifetimes, is the kernel's own in xfrm. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"
#include "search.h"
#include "wire.h"

char LICENSE[] SEC("license") = "MIT";

/* In a section of its own: a map that the loader fills before the verifier sees the program. */
const volatile struct espial_bpf_options options SEC(".rodata.options") = {
    .outer_link = ETH_HLEN, .inner_link = ETH_HLEN, .wants_xfrm = 1,
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 1);
    __type(key, __u32);
    __array(values, struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __uint(value_size, sizeof(struct espial_bpf_image));
    });
} images SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, ESPIAL_BPF_SAS);
    __type(key, espial_sa_key);
    __type(value, __u32);
} spis SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, ESPIAL_BPF_SAS);
    __type(key, __u32);
    __type(value, struct espial_bpf_sa);
} sas SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, ESPIAL_BPF_STEPS);
    __type(key, __u32);
    __type(value, struct espial_bpf_counts);
} counts SEC(".maps");

/* What becomes of a packet, beside reasons for a drop. */
enum { ACCEPTED = 0, PASSED = -1 };

static __always_inline void count(__u32 step, int what) {
    struct espial_bpf_counts *cells = bpf_map_lookup_elem(&counts, &step);
    if (!cells) return;
    if (what == ACCEPTED) cells->accepted++;
    else if (what == PASSED) cells->passed++;
    __u32 reason = (__u32)what;
    /* The verifier must see a bound, whatever the compiler knows. */
    asm volatile("" : "+r"(reason));
    if (what > 0 && reason < ESPIAL_BPF_REASONS) cells->drops[reason]++;
}

/* Each is verified once. */
__noinline int read_skb(struct __sk_buff *skb, struct packet *packet) {
    return packet ? read_ip(skb, 0, packet) : ESPIAL_BPF_DROP_BOUND;
}

__noinline int read_xdp(struct xdp_md *xdp, struct packet *packet) {
    return packet ? read_ip(xdp, 1, packet) : ESPIAL_BPF_DROP_BOUND;
}

__noinline int read_value_skb(struct __sk_buff *skb, struct packet *packet) {
    return packet ? read_value(skb, 0, packet) : ESPIAL_BPF_DROP_BOUND;
}

/* 1. Which SA? */

/* An ESP header, directly in IP or in UDP. */
static __always_inline int read_esp(void *context, const int xdp, struct packet *packet, espial_sa_key *key) {
    __u8 head[4];
    if (packet->octets < 8) return ESPIAL_DROP_MALFORMED_ESP;
    if (load(context, xdp, packet->offset, head, sizeof head)) return ESPIAL_BPF_DROP_BOUND;
    key->ipsec = ESPIAL_IPSEC_ESP;
    key->spi = be32(head);
    return ACCEPTED;
}

/* RFC 4302 section 2; under IPv6 its length is a multiple of 8. */
static __always_inline int read_ah(void *context, const int xdp, struct packet *packet, espial_sa_key *key) {
    __u8 head[12];
    if (packet->octets < sizeof head) return ESPIAL_DROP_MALFORMED_AH;
    if (load(context, xdp, packet->offset, head, sizeof head)) return ESPIAL_BPF_DROP_BOUND;
    __u32 octets = (head[1] + 2u) * 4;
    if (octets < sizeof head || octets > packet->octets) return ESPIAL_DROP_MALFORMED_AH;
    if (packet->family == ESPIAL_FAMILY_V6 && octets & 7) return ESPIAL_DROP_MALFORMED_AH;
    key->ipsec = ESPIAL_IPSEC_AH;
    key->spi = be32(head + 4);
    return ACCEPTED;
}

/* RFC 3948: UDP to port 4500 holds ESP, IKE behind four zeros, or one octet 0xff. */
static __always_inline int read_udp(void *context, const int xdp, struct packet *packet, espial_sa_key *key) {
    __u8 head[8], first[4] = {0};
    if (packet->octets < sizeof head) return ESPIAL_DROP_MALFORMED_UDP;
    if (load(context, xdp, packet->offset, head, sizeof head)) return ESPIAL_BPF_DROP_BOUND;
    const __u16 from = be16(head), to = be16(head + 2);
    __u32 length = be16(head + 4), arrived = packet->octets - (__u32)sizeof head;
    if (to != 4500 && from != 500 && to != 500) return PASSED;
    packet->offset += (__u32)sizeof head;
    if (packet->fragment == ESPIAL_FRAGMENT_FIRST) {
        if (to != 4500) return PASSED;
        if (arrived < 4) return ESPIAL_DROP_OUTER_FRAGMENT;
        if (load(context, xdp, packet->offset, first, 4)) return ESPIAL_BPF_DROP_BOUND;
        return be32(first) ? ESPIAL_DROP_OUTER_FRAGMENT : PASSED;
    }
    if (length < sizeof head || length - sizeof head > arrived) return ESPIAL_DROP_MALFORMED_UDP;
    packet->octets = length - (__u32)sizeof head;
    if (to != 4500) return PASSED;
    if (packet->octets == 1) {
        if (load(context, xdp, packet->offset, first, 1)) return ESPIAL_BPF_DROP_BOUND;
        return first[0] == 0xff ? PASSED : ESPIAL_DROP_MALFORMED_NAT_T;
    }
    if (packet->octets < 4) return ESPIAL_DROP_MALFORMED_NAT_T;
    if (load(context, xdp, packet->offset, first, 4)) return ESPIAL_BPF_DROP_BOUND;
    if (!be32(first)) return PASSED;
    if (packet->octets < 8) return ESPIAL_DROP_MALFORMED_NAT_T;
    return read_esp(context, xdp, packet, key);
}

static __always_inline void put64(__u8 *at, __u64 value) {
    value = bpf_cpu_to_be64(value);
    __builtin_memcpy(at, &value, sizeof value);
}

/* As keys hold them: octets as on the wire, IPv4 in the first four. */
static __always_inline void put_address(__u8 *at, const __u64 *address, int is_v6) {
    put64(at, is_v6 ? address[0] : address[1] << 32);
    put64(at + 8, is_v6 ? address[1] : 0);
}

/* Of several keys that fit a packet the longest wins (RFC 4301 section 4.1). Returns the SA's number and 1, or 0. */
static __always_inline __u32 find_sa(const struct packet *packet, espial_sa_key *key) {
    const int is_v6 = packet->family == ESPIAL_FAMILY_V6;
    espial_sa_key shorter = {.spi = key->spi, .ipsec = key->ipsec, .scope = ESPIAL_SCOPE_SPI};
    key->family = packet->family;
    key->scope = ESPIAL_SCOPE_DST_SRC;
    put_address(key->dst, packet->dst, is_v6);
    put_address(key->src, packet->src, is_v6);
    const __u32 *number = bpf_map_lookup_elem(&spis, key);
    if (!number) {
        key->scope = ESPIAL_SCOPE_DST;
        __builtin_memset(key->src, 0, sizeof key->src);
        number = bpf_map_lookup_elem(&spis, key);
    }
    if (!number) number = bpf_map_lookup_elem(&spis, &shorter);
    return number ? *number + 1 : 0;
}

/* RFC 4301 section 5.2 steps 1 and 3a. Returns the reason of a drop, PASSED, or ACCEPTED with the mark. */
static __always_inline int arrived(void *context, const int xdp, int reason, struct packet *packet, __u32 *mark) {
    espial_sa_key key = {0};
    __u8 encap = ESPIAL_ENCAP_NONE;
    if (reason) return reason;
    const int is_fragment = packet->fragment != ESPIAL_FRAGMENT_NONE;
    if (packet->protocol == ESPIAL_IPSEC_ESP || packet->protocol == ESPIAL_IPSEC_AH) {
        if (is_fragment) return ESPIAL_DROP_OUTER_FRAGMENT;
        reason = packet->protocol == ESPIAL_IPSEC_ESP ? read_esp(context, xdp, packet, &key)
                                                      : read_ah(context, xdp, packet, &key);
    } else if (packet->protocol == UDP && packet->fragment != ESPIAL_FRAGMENT_NON_INITIAL) {
        encap = ESPIAL_ENCAP_UDP;
        reason = read_udp(context, xdp, packet, &key);
    } else {
        reason = PASSED;
    }
    if (reason != ACCEPTED) return reason;
    *mark = find_sa(packet, &key);
    const __u32 number = *mark - 1;
    const struct espial_bpf_sa *sa = bpf_map_lookup_elem(&sas, &number);
    if (!sa || !sa->is_live) return ESPIAL_DROP_UNKNOWN_SPI;
    return sa->encap == encap ? ACCEPTED : ESPIAL_DROP_WRONG_ENCAP;
}

static __always_inline int is_ip(__be16 ethertype) {
    return ethertype == bpf_htons(ETH_P_IP) || ethertype == bpf_htons(ETH_P_IPV6);
}

SEC("xdp")
int arrive_xdp(struct xdp_md *xdp) {
    struct packet packet = {.offset = ETH_HLEN};
    struct ethhdr ethernet;
    __u32 mark = 0;
    __u64 octets = bpf_xdp_get_buff_len(xdp);
    if (octets < ETH_HLEN || bpf_xdp_load_bytes(xdp, 0, &ethernet, sizeof ethernet)) return XDP_PASS;
    if (!is_ip(ethernet.h_proto)) return XDP_PASS;
    packet.octets = (__u32)octets - ETH_HLEN;
    int what = read_xdp(xdp, &packet);
    what = arrived(xdp, 1, what, &packet, &mark);
    count(ESPIAL_BPF_ARRIVE_XDP, what);
    return what > 0 ? XDP_DROP : XDP_PASS;
}

SEC("tc")
int arrive(struct __sk_buff *skb) {
    struct packet packet = {.offset = options.outer_link};
    __u32 mark = 0;
    if (!is_ip(skb->protocol)) return TC_ACT_OK;
    packet.octets = skb->len > packet.offset ? skb->len - packet.offset : 0;
    int what = read_skb(skb, &packet);
    what = arrived(skb, 0, what, &packet, &mark);
    count(ESPIAL_BPF_ARRIVE, what);
    if (what > 0) return TC_ACT_SHOT;
    if (what == ACCEPTED) skb->mark = mark;
    return TC_ACT_OK;
}

/* 2. May it be on that SA? */

/* Inbound: the packet's source is compared with the remote range (matcher::Question). */
static __always_inline void ask_about(struct search *search, const struct packet *packet) {
    search->remote[0] = packet->src[0];
    search->remote[1] = packet->src[1];
    search->local[0] = packet->dst[0];
    search->local[1] = packet->dst[1];
    search->remote_value = packet->src_value;
    search->local_value = packet->dst_value;
    search->protocol = packet->protocol;
    search->has_value = packet->has_value;
    search->is_v6 = packet->family == ESPIAL_FAMILY_V6;
}

/* The packet that an ICMP error is about, turned round (RFC 4301 section 6.2, wire::icmp_enclosed). `error` is what was
   read of the error. Returns 1 if there is one, and it came from whom the error goes to. */
__noinline int ask_about_enclosed(struct __sk_buff *skb, struct search *search, struct packet *error) {
    struct packet about = {.enclosed = 1};
    if (!search || !error) return 0;
    if (!is_error(error, 5) || (error->protocol == ICMPV6 && error->src_value < 0x100) || error->octets < 8) return 0;
    about.offset = error->offset + 8;
    about.octets = error->octets - 8;
    if (read_skb(skb, &about) || about.family != error->family) return 0;
    if (about.fragment == ESPIAL_FRAGMENT_NON_INITIAL || read_value_skb(skb, &about)) return 0;
    /* No error answers an error. */
    if (is_error(&about, 128)) return 0;
    if (about.src[0] != error->dst[0] || about.src[1] != error->dst[1]) return 0;
    ask_about(search, &about);
    search->remote[0] = about.dst[0];
    search->remote[1] = about.dst[1];
    search->local[0] = about.src[0];
    search->local[1] = about.src[1];
    if (about.protocol != ICMP && about.protocol != ICMPV6 && about.protocol != MOBILITY) {
        search->remote_value = about.dst_value;
        search->local_value = about.src_value;
    }
    return 1;
}

static __always_inline __u32 ask(struct espial_bpf_image *image, struct search *search, __u32 child, __u8 what,
                                 __u8 established) {
    search->child = child;
    search->ask = what;
    search->established = established;
    return find(image, search);
}

/* What the Child SA and its tunnel demand. */
struct scene {
    __u32 child;
    __u32 class;
    __u32 mode;
};

/* Returns ACCEPTED, -1, or ESPIAL_BPF_DROP_BOUND (inbound::scene::Scene::ask). */
static __always_inline int asks(struct espial_bpf_image *image, struct search *search, const struct scene *scene) {
    __u32 found;
    if (scene->mode == ESPIAL_MODE_ANY_SELECTOR) {
        found = ask(image, search, NONE, ASK_ALL, 1);
    } else if (scene->mode == ESPIAL_MODE_ANY_SOURCE) {
        found = ask(image, search, NONE, ASK_SOURCE, 1);
    } else {
        if (scene->mode == ESPIAL_MODE_ORDERED_SPD) {
            found = ask(image, search, NONE, ASK_ALL, 0);
            if (found == STUCK) return ESPIAL_BPF_DROP_BOUND;
            const struct espial_block_header *block = record(image, ESPIAL_IMAGE_BLOCK);
            if (!block) return ESPIAL_BPF_DROP_BOUND;
            const struct espial_child_record *first =
                element(image, &block->children, found, sizeof(struct espial_child_record));
            if (!first || first->class != scene->class) return -1;
        }
        found = ask(image, search, scene->child, ASK_ALL, 0);
    }
    return found == STUCK ? ESPIAL_BPF_DROP_BOUND : found == NONE ? -1 : ACCEPTED;
}

/* Why the packet was refused (inbound::scene::Scene::explain). */
static __always_inline int explain(struct espial_bpf_image *image, struct search *search, const struct scene *scene,
                                   int is_later_fragment) {
    const __u8 established = scene->mode != ESPIAL_MODE_ORDERED_SPD;
    if (scene->mode == ESPIAL_MODE_STRICT_SA || scene->mode == ESPIAL_MODE_ORDERED_SPD) {
        __u32 belongs_to = ask(image, search, NONE, ASK_ALL, established);
        if (belongs_to == STUCK) return ESPIAL_BPF_DROP_BOUND;
        if (belongs_to != NONE) return ESPIAL_DROP_WRONG_SA;
    }
    if (!is_later_fragment) return ESPIAL_DROP_NO_SELECTOR;
    __u32 portless = ask(image, search, NONE, ASK_PORTLESS, established);
    if (portless == STUCK) return ESPIAL_BPF_DROP_BOUND;
    return portless == NONE ? ESPIAL_DROP_NO_SELECTOR : ESPIAL_DROP_FRAGMENT_NO_PORTS;
}

/* RFC 4301 section 5.2 step 4 of an opened packet on one SA. */
static __always_inline int judge(struct __sk_buff *skb, struct espial_bpf_image *image, const struct espial_bpf_sa *sa) {
    const struct espial_block_header *block = record(image, ESPIAL_IMAGE_BLOCK);
    if (!block || block->magic != ESPIAL_BLOCK_MAGIC || block->format != ESPIAL_BLOCK_FORMAT) return ESPIAL_BPF_DROP_IMAGE;

    struct packet packet = {.offset = options.inner_link};
    packet.octets = skb->len > packet.offset ? skb->len - packet.offset : 0;
    int reason = read_skb(skb, &packet);
    /* What the trailer says is inside, xfrm has put there (RFC 4303 section 2.6). */
    const int is_v4 = skb->protocol == bpf_htons(ETH_P_IP), is_v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
    if (!is_v4 && !is_v6) return ESPIAL_DROP_MALFORMED_NEXT_HEADER;
    if (is_v4 && packet.family == ESPIAL_FAMILY_V6) return ESPIAL_DROP_MALFORMED_NEXT_HEADER;
    if (is_v6 && packet.family == ESPIAL_FAMILY_V4) return ESPIAL_DROP_MALFORMED_NEXT_HEADER;
    if (!reason) reason = read_value_skb(skb, &packet);
    if (reason) return reason;

    const struct espial_child_record *child =
        element(image, &block->children, sa->child, sizeof(struct espial_child_record));
    if (!child || child->generation != sa->generation) return ESPIAL_DROP_UNKNOWN_SPI;
    if (!(child->policy & ESPIAL_POLICY_IN_IMAGE)) return ESPIAL_BPF_DROP_IMAGE;
    const struct scene scene = {.child = sa->child, .class = child->class, .mode = child->policy & 0xff};
    struct search search = {.tunnel = child->tunnel};
    ask_about(&search, &packet);
    reason = asks(image, &search, &scene);
    if (reason >= 0) return reason;
    if (ask_about_enclosed(skb, &search, &packet)) {
        reason = asks(image, &search, &scene);
        if (reason >= 0) return reason;
        ask_about(&search, &packet);
    }
    return explain(image, &search, &scene, packet.fragment == ESPIAL_FRAGMENT_NON_INITIAL);
}

/* xfrm has opened the packet, with this SPI. A function of its own, so that the search has its stack. Returns 0 or why
   it is to be dropped. */
__noinline int opened_with(struct __sk_buff *skb, __u32 spi) {
    struct bpf_xfrm_state state = {0};
    if (bpf_skb_get_xfrm_state(skb, 0, &state, sizeof state, 0)) return ESPIAL_DROP_NOT_OPENED;
    return bpf_ntohl(state.spi) == spi ? ACCEPTED : ESPIAL_DROP_UNKNOWN_SPI;
}

static __always_inline int checked(struct __sk_buff *skb) {
    const __u32 number = skb->mark - 1, zero = 0;
    const struct espial_bpf_sa *sa = bpf_map_lookup_elem(&sas, &number);
    if (!sa || !sa->is_live) return ESPIAL_DROP_UNKNOWN_SPI;
    if (options.wants_xfrm) {
        int reason = opened_with(skb, sa->spi);
        if (reason) return reason;
    }
    void *images_now = bpf_map_lookup_elem(&images, &zero);
    struct espial_bpf_image *image = images_now ? bpf_map_lookup_elem(images_now, &zero) : 0;
    return image ? judge(skb, image, sa) : ESPIAL_BPF_DROP_IMAGE;
}

SEC("tc")
int check(struct __sk_buff *skb) {
    int what = checked(skb);
    count(ESPIAL_BPF_CHECK, what);
    return what == ACCEPTED ? TC_ACT_OK : TC_ACT_SHOT;
}
