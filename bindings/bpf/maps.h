/* What the programs and whoever fills their maps share. */
#ifndef ESPIAL_BPF_MAPS_H
#define ESPIAL_BPF_MAPS_H

#include <espial.h>
#include "layout.h"

/* Octets of the largest image. A map's value has a fixed size, and more of it than an image's last record needs, so
   that one comparison bounds each access. */
#ifndef ESPIAL_BPF_IMAGE_OCTETS
#define ESPIAL_BPF_IMAGE_OCTETS (1u << 20)
#endif
#define ESPIAL_BPF_SLACK 512u

/* `.rodata.options`, before the programs are loaded. */
struct espial_bpf_options {
    /* Octets of the link layer's header where `arrive` and where `check` stands: 14 on Ethernet, 0 on an xfrm interface. */
    __u32 outer_link;
    __u32 inner_link;
    /* `check` believes a mark only if xfrm opened the packet, with that SPI. 0 for test runs, which have no xfrm. */
    __u32 wants_xfrm;
};

/* `images`[0]: the one in force, an array map of one value. Put another in its place to swap them. */
struct espial_bpf_image {
    __u8 octets[ESPIAL_BPF_IMAGE_OCTETS + ESPIAL_BPF_SLACK];
};

/* `spis`: espial_sa_key (RFC 4301 section 4.1; SPI in host order, unused octets 0) to the SA's number. */
#define ESPIAL_BPF_SAS 4096u

/* `sas`[number]. A packet's mark is the number of its SA and 1. */
struct espial_bpf_sa {
    __u32 child;
    /* As in the image: after a swap that changes the Child SA its SAs are dead. */
    __u32 generation;
    __u32 spi;
    /* ESPIAL_ENCAP_*. */
    __u8 encap;
    /* 0: no SA. */
    __u8 is_live;
    __u16 reserved;
};

/* `established`[child]: its SAs, as any-selector and any-source ask only Child SAs that have one. */
#define ESPIAL_BPF_CHILDREN 4096u

/* Reasons of the programs' own behind ESPIAL_DROP_*. */
#define ESPIAL_BPF_DROP_IMAGE 64u /* there is no image, or none of this format */
#define ESPIAL_BPF_DROP_BOUND 65u /* a search or a packet was beyond a bound, or an image damaged */
#define ESPIAL_BPF_REASONS 66u

_Static_assert(ESPIAL_BPF_DROP_IMAGE >= ESPIAL_REASONS, "codes are apart");

/* `counts`, by program, each CPU its own. */
enum { ESPIAL_BPF_ARRIVE_XDP, ESPIAL_BPF_ARRIVE, ESPIAL_BPF_CHECK, ESPIAL_BPF_STEPS };

struct espial_bpf_counts {
    /* Before check: on a known SA, to be opened. */
    __u64 accepted;
    __u64 passed;
    __u64 drops[ESPIAL_BPF_REASONS];
};

#endif
