/* Octets to fields, as core/src/wire: IPv4, IPv6 with its extension headers, the next layer's value. What is refused
   there is refused here, for the same reason. */
#ifndef ESPIAL_BPF_WIRE_H
#define ESPIAL_BPF_WIRE_H

#include "maps.h"

enum { HOP_BY_HOP = 0, ICMP = 1, IPV4 = 4, TCP = 6, UDP = 17, DCCP = 33, IPV6 = 41, ROUTING = 43, FRAGMENT = 44,
       ICMPV6 = 58, DESTINATION_OPTIONS = 60, SCTP = 132, MOBILITY = 135, UDP_LITE = 136 };

enum { EXTENSIONS = 8, EXTENSION_OCTETS = 2048, LARGEST = 65535 };

/* A packet up to what follows its IP and extension headers. */
struct packet {
    /* In: where the IP header is, and octets from there on. Out: of what follows the headers, to the IP length. */
    __u32 offset;
    __u32 octets;
    /* High and low half, host order; IPv4 in the low one. */
    __u64 src[2];
    __u64 dst[2];
    /* What selectors compare, if there is a value (else OPAQUE): ports, or the ICMP or Mobility Header value and 0. */
    __u16 src_value;
    __u16 dst_value;
    __u8 has_value;
    /* In: it lies in an ICMP error, its lengths are believed where they fit. */
    __u8 enclosed;
    __u8 family;
    __u8 protocol;
    /* ESPIAL_FRAGMENT_*. */
    __u8 fragment;
};

/* Octets of the packet, wherever they are; 0 if all are there. */
static __always_inline long load(void *context, const int xdp, __u32 offset, void *into, __u32 octets) {
    return xdp ? bpf_xdp_load_bytes(context, offset, into, octets) : bpf_skb_load_bytes(context, offset, into, octets);
}

static __always_inline __u16 be16(const __u8 *at) {
    return (__u16)(at[0] << 8 | at[1]);
}

static __always_inline __u32 be32(const __u8 *at) {
    return (__u32)at[0] << 24 | (__u32)at[1] << 16 | (__u32)at[2] << 8 | at[3];
}

static __always_inline __u64 be64(const __u8 *at) {
    return (__u64)be32(at) << 32 | be32(at + 4);
}

/* Which fragment it is, if its numbers can be true (wire::ip::Piece). `around`: what the length counts beside it. */
static __always_inline int set_fragment(struct packet *packet, __u32 place, int more, __u32 around) {
    if (!packet->enclosed && place + packet->octets + around > LARGEST) return ESPIAL_DROP_MALFORMED_FRAGMENT;
    if (place) packet->fragment = ESPIAL_FRAGMENT_NON_INITIAL;
    else if (more) packet->fragment = ESPIAL_FRAGMENT_FIRST;
    return 0;
}

/* RFC 791 section 3.1. */
static __always_inline int read_ipv4(void *context, const int xdp, struct packet *packet) {
    __u8 head[20];
    if (packet->octets < sizeof head) return ESPIAL_DROP_MALFORMED_IP_HEADER;
    if (load(context, xdp, packet->offset, head, sizeof head)) return ESPIAL_BPF_DROP_BOUND;
    __u32 header = (head[0] & 15u) * 4, total = be16(head + 2);
    if (header < sizeof head || header > packet->octets) return ESPIAL_DROP_MALFORMED_IP_HEADER;
    if (header > total || total > packet->octets) {
        if (!packet->enclosed) return ESPIAL_DROP_MALFORMED_IP_LENGTH;
        total = packet->octets;
    }
    packet->src[1] = be32(head + 12);
    packet->dst[1] = be32(head + 16);
    packet->protocol = head[9];
    packet->offset += header;
    packet->octets = total - header;
    __u32 place = be16(head + 6);
    if (!(place & 0x3fff)) return 0;
    return set_fragment(packet, (place & 0x1fff) << 3, place & 0x2000, header);
}

/* RFC 8200 section 4: to the first header that is no extension header. A later fragment ends the walk. */
static __always_inline int read_extensions(void *context, const int xdp, struct packet *packet) {
    __u32 walked = 0;
    for (int nth = 0; nth <= EXTENSIONS; nth++) {
        __u8 kind = packet->protocol, head[8];
        if (kind != HOP_BY_HOP && kind != ROUTING && kind != FRAGMENT && kind != DESTINATION_OPTIONS) return 0;
        if (kind == HOP_BY_HOP && nth) return ESPIAL_DROP_MALFORMED_EXTENSION_ORDER;
        if (nth == EXTENSIONS) break;
        if (packet->octets < sizeof head) return ESPIAL_DROP_MALFORMED_EXTENSION;
        if (load(context, xdp, packet->offset, head, sizeof head)) return ESPIAL_BPF_DROP_BOUND;
        __u32 octets = kind == FRAGMENT ? 8 : (head[1] + 1u) * 8, before = walked;
        if (octets > packet->octets) return ESPIAL_DROP_MALFORMED_EXTENSION;
        packet->protocol = head[0];
        packet->offset += octets;
        packet->octets -= octets;
        walked += octets;
        if (walked > EXTENSION_OCTETS) break;
        if (kind == ROUTING && !head[2] && head[3]) return ESPIAL_DROP_MALFORMED_ROUTING_HEADER;
        if (kind == FRAGMENT) {
            __u32 place = be16(head + 2);
            int reason = set_fragment(packet, place & 0xfff8, place & 1, before);
            if (reason || packet->fragment == ESPIAL_FRAGMENT_NON_INITIAL) return reason;
        }
    }
    return ESPIAL_DROP_MALFORMED_EXTENSION_LIMIT;
}

static __always_inline int read_ipv6(void *context, const int xdp, struct packet *packet) {
    __u8 head[40];
    if (packet->octets < sizeof head) return ESPIAL_DROP_MALFORMED_IP_HEADER;
    if (load(context, xdp, packet->offset, head, sizeof head)) return ESPIAL_BPF_DROP_BOUND;
    __u32 length = be16(head + 4), arrived = packet->octets - (__u32)sizeof head;
    if (!length && head[6] == HOP_BY_HOP) return ESPIAL_DROP_MALFORMED_IP_LENGTH;
    if (length > arrived) {
        if (!packet->enclosed) return ESPIAL_DROP_MALFORMED_IP_LENGTH;
        length = arrived;
    }
    packet->src[0] = be64(head + 8);
    packet->src[1] = be64(head + 16);
    packet->dst[0] = be64(head + 24);
    packet->dst[1] = be64(head + 32);
    packet->protocol = head[6];
    packet->offset += (__u32)sizeof head;
    packet->octets = length;
    return read_extensions(context, xdp, packet);
}

/* A packet's headers up to what follows them. Returns the reason of its drop, or 0. */
static __always_inline int read_ip(void *context, const int xdp, struct packet *packet) {
    __u8 first;
    packet->fragment = ESPIAL_FRAGMENT_NONE;
    packet->src[0] = packet->dst[0] = 0;
    if (!packet->octets) return ESPIAL_DROP_MALFORMED_IP_HEADER;
    if (load(context, xdp, packet->offset, &first, 1)) return ESPIAL_BPF_DROP_BOUND;
    packet->family = first >> 4;
    if (packet->family == ESPIAL_FAMILY_V4) return read_ipv4(context, xdp, packet);
    if (packet->family == ESPIAL_FAMILY_V6) return read_ipv6(context, xdp, packet);
    return ESPIAL_DROP_MALFORMED_IP_VERSION;
}

/* The value of the next layer protocol (RFC 4301 section 4.4.1.1), which a later fragment does not hold. */
static __always_inline int read_value(void *context, const int xdp, struct packet *packet) {
    __u8 head[4] = {0};
    __u32 octets;
    packet->src_value = packet->dst_value = packet->has_value = 0;
    if (packet->fragment == ESPIAL_FRAGMENT_NON_INITIAL) return 0;
    switch (packet->protocol) {
    case TCP: case UDP: case DCCP: case SCTP: case UDP_LITE: octets = 4; break;
    case ICMP: case ICMPV6: octets = 2; break;
    case MOBILITY: octets = 3; break;
    default: return 0;
    }
    if (packet->octets < octets) return ESPIAL_DROP_MALFORMED_NEXT_LAYER;
    if (octets == 4) {
        if (load(context, xdp, packet->offset, head, 4)) return ESPIAL_BPF_DROP_BOUND;
        packet->dst_value = be16(head + 2);
    } else if (octets == 2) {
        if (load(context, xdp, packet->offset, head, 2)) return ESPIAL_BPF_DROP_BOUND;
    } else {
        /* RFC 6275 section 6.1.1: payload protocol, header length, type. */
        if (load(context, xdp, packet->offset + 2, head, 1)) return ESPIAL_BPF_DROP_BOUND;
        head[1] = 0;
    }
    packet->src_value = be16(head);
    packet->has_value = 1;
    return 0;
}

/* ICMP 3, 4, 5, 11 and 12 (RFC 792), ICMPv6 below `most` (RFC 4443). */
static __always_inline int is_error(const struct packet *packet, __u8 most) {
    __u8 type = packet->src_value >> 8;
    if (!packet->has_value) return 0;
    if (packet->protocol == ICMP) return (type >= 3 && type <= 5) || type == 11 || type == 12;
    return packet->protocol == ICMPV6 && type < most;
}

#endif
