/* Written by core/src/matcher/layout.rs from the types of the library; do not edit. Numbers are in the
   image's byte order. What the records mean: core/src/image.rs, core/src/matcher/block.rs. */
#ifndef ESPIAL_LAYOUT_H
#define ESPIAL_LAYOUT_H

#include <linux/types.h>

#define ESPIAL_IMAGE_BLOCK 64u
#define ESPIAL_BLOCK_MAGIC 1702064194u
#define ESPIAL_BLOCK_FORMAT 8u
#define ESPIAL_POLICY_IN_IMAGE 2147483648u
#define ESPIAL_ADMITS_OPAQUE 1u
#define ESPIAL_LEAF 128u
#define ESPIAL_WIDTH 16u
#define ESPIAL_DIMENSIONS 5u
#define ESPIAL_LIST 32u
#define ESPIAL_CUTS 64u
#define ESPIAL_WORDS 16u
#define ESPIAL_PROTOCOLS 16u
#define ESPIAL_WIDE 1u
#define ESPIAL_NO_FAN 4294967295u
#define ESPIAL_NO_GROUP 4294967295u

struct espial_section {
    __u32 offset;
    __u32 count;
};
_Static_assert(sizeof(struct espial_section) == 8, "section");

struct espial_block_header {
    __u32 magic;
    __u32 format;
    __u32 octets;
    __u32 version;
    struct espial_section tunnels;
    struct espial_section children;
    struct espial_section boxes4;
    struct espial_section boxes6;
    struct espial_section fans;
    struct espial_section rows;
    struct espial_section groups;
    __u32 owners;
    __u32 reserved[13];
};
_Static_assert(sizeof(struct espial_block_header) == 128, "block_header");

struct espial_span {
    __u32 first4;
    __u32 count4;
    __u32 first6;
    __u32 count6;
};
_Static_assert(sizeof(struct espial_span) == 16, "span");

struct espial_grown {
    __u32 first;
    __u32 groups;
    __u32 fan;
    __u32 changes;
    __u32 levels;
    __u32 reserved;
};
_Static_assert(sizeof(struct espial_grown) == 24, "grown");

struct espial_tunnel_record {
    struct espial_span span;
    struct espial_grown trees[2];
};
_Static_assert(sizeof(struct espial_tunnel_record) == 64, "tunnel_record");

struct espial_child_record {
    __u32 generation;
    __u32 tunnel;
    __u32 class;
    __u32 policy;
    struct espial_span span;
};
_Static_assert(sizeof(struct espial_child_record) == 32, "child_record");

struct espial_wide {
    __u64 high;
    __u64 low;
};
_Static_assert(sizeof(struct espial_wide) == 16, "wide");

struct espial_rest {
    __u16 remote_port_lo;
    __u16 remote_port_hi;
    __u16 local_port_lo;
    __u16 local_port_hi;
    __u8 protocol_lo;
    __u8 protocol_hi;
    __u8 flags;
    __u8 reserved;
    __u32 child;
};
_Static_assert(sizeof(struct espial_rest) == 16, "rest");

struct espial_box4 {
    __u32 remote_lo;
    __u32 remote_hi;
    __u32 local_lo;
    __u32 local_hi;
    struct espial_rest rest;
};
_Static_assert(sizeof(struct espial_box4) == 32, "box4");

struct espial_box6 {
    struct espial_wide remote_lo;
    struct espial_wide remote_hi;
    struct espial_wide local_lo;
    struct espial_wide local_hi;
    struct espial_rest rest;
};
_Static_assert(sizeof(struct espial_box6) == 80, "box6");

struct espial_frame {
    __u32 prefixes[2][3];
    __u8 shifts[2];
    __u16 beside;
};
_Static_assert(sizeof(struct espial_frame) == 28, "frame");

struct espial_group {
    __u32 remote_lo[ESPIAL_WIDTH];
    __u32 remote_hi[ESPIAL_WIDTH];
    __u32 local_lo[ESPIAL_WIDTH];
    __u32 local_hi[ESPIAL_WIDTH];
    __u16 ports_lo[ESPIAL_WIDTH][2];
    __u16 ports_hi[ESPIAL_WIDTH][2];
    __u8 protocol_lo[ESPIAL_WIDTH];
    __u8 protocol_hi[ESPIAL_WIDTH];
    __u32 index[ESPIAL_WIDTH + 1];
    struct espial_frame frame;
};
_Static_assert(sizeof(struct espial_group) == 512, "group");

struct espial_fan {
    __u32 rows;
    __u32 children;
    __u16 words;
    __u16 addresses;
    struct espial_frame frame;
};
_Static_assert(sizeof(struct espial_fan) == 40, "fan");

#endif
