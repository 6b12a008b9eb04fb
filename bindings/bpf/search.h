/* The first box of an image that covers a packet, as core/src/matcher/{walk,fan,group}.rs find it: a list where the
   boxes are few, else the tree of the tunnel: a fan over boxes or over leaves, never more levels, as up to 15 360 boxes
   have it, and no leaf beside it, which only a running gateway makes. */
#ifndef ESPIAL_BPF_SEARCH_H
#define ESPIAL_BPF_SEARCH_H

#include "maps.h"

enum { ASK_ALL, ASK_PORTLESS, ASK_SOURCE };

#define NONE 0xffffffffu
/* A bound was reached, or a record is not where it should be: drop. */
#define STUCK 0xfffffffeu

/* A question about a packet, and how far its answer is. No pointers: functions that the verifier looks at once take
   plain memory only. */
struct search {
    /* High and low half; IPv4 in the low one. */
    __u64 remote[2];
    __u64 local[2];
    __u32 remote_value;
    __u32 local_value;
    __u32 protocol;
    __u8 has_value;
    __u8 is_v6;
    /* ASK_*. */
    __u8 ask;
    /* Only boxes of Child SAs that have an SA. */
    __u8 established;
    __u32 tunnel;
    /* Only boxes of this Child SA, if it is not NONE. */
    __u32 child;
    /* Of the packet's family, those of the tunnel or of the Child SA, and how many. */
    __u64 boxes;
    __u32 count;
    /* The first box so far, and its Child SA. */
    __u32 best;
    __u32 found;
    __u32 groups_count;
    __u64 groups;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, ESPIAL_BPF_CHILDREN);
    __type(key, __u32);
    __type(value, __u32);
} established SEC(".maps");

/* A record of the image. One comparison, of a register the compiler cannot trade for another, is what the verifier
   bounds every access by. */
static __always_inline const void *record(const struct espial_bpf_image *image, __u64 offset) {
    asm volatile("" : "+r"(offset));
    if (offset > ESPIAL_BPF_IMAGE_OCTETS) return 0;
    return image->octets + offset;
}

static __always_inline const void *element(const struct espial_bpf_image *image, const struct espial_section *all,
                                           __u32 index, __u32 octets) {
    if (index >= all->count) return 0;
    return record(image, ESPIAL_IMAGE_BLOCK + (__u64)all->offset + (__u64)index * octets);
}

static __always_inline int is_below(__u64 high, __u64 low, const __u64 *than) {
    return high < than[0] || (high == than[0] && low < than[1]);
}

static __always_inline int is_above(__u64 high, __u64 low, const __u64 *than) {
    return high > than[0] || (high == than[0] && low > than[1]);
}

/* matcher::linear::Boxed::covers_in */
static __always_inline int covers(const struct espial_bpf_image *image, __u64 box, const struct search *search) {
    const __u8 *octets = record(image, box);
    if (!octets) return 0;
    const __u8 ask = search->ask;
    const struct espial_rest *rest;
    if (search->is_v6) {
        const struct espial_box6 *six = (const void *)octets;
        if (is_above(six->remote_lo.high, six->remote_lo.low, search->remote)) return 0;
        if (is_below(six->remote_hi.high, six->remote_hi.low, search->remote)) return 0;
        if (ask == ASK_SOURCE) return 1;
        if (is_above(six->local_lo.high, six->local_lo.low, search->local)) return 0;
        if (is_below(six->local_hi.high, six->local_hi.low, search->local)) return 0;
        rest = &six->rest;
    } else {
        const struct espial_box4 *four = (const void *)octets;
        const __u64 remote = search->remote[1], local = search->local[1];
        if (four->remote_lo > remote || four->remote_hi < remote) return 0;
        if (ask == ASK_SOURCE) return 1;
        if (four->local_lo > local || four->local_hi < local) return 0;
        rest = &four->rest;
    }
    if (rest->protocol_lo > search->protocol || rest->protocol_hi < search->protocol) return 0;
    if (ask == ASK_PORTLESS) return 1;
    /* A packet without a value needs ANY or OPAQUE on both sides (RFC 4301 section 7). */
    if (!search->has_value) return rest->flags & ESPIAL_ADMITS_OPAQUE;
    return rest->remote_port_lo <= search->remote_value && search->remote_value <= rest->remote_port_hi &&
           rest->local_port_lo <= search->local_value && search->local_value <= rest->local_port_hi;
}

/* Asks one box; it is the first if it covers the packet and counts. */
__noinline int take(struct espial_bpf_image *image, struct search *search, __u32 index) {
    if (!image || !search || index >= search->count) return 0;
    const __u32 octets = search->is_v6 ? sizeof(struct espial_box6) : sizeof(struct espial_box4);
    const __u64 box = search->boxes + (__u64)index * octets;
    if (!covers(image, box, search)) return 0;
    const struct espial_rest *rest = record(image, box + octets - sizeof *rest);
    if (!rest) return 0;
    const __u32 child = rest->child;
    if (search->child != NONE && search->child != child) return 0;
    if (search->established) {
        const __u32 *sas = bpf_map_lookup_elem(&established, &child);
        if (!sas || !*sas) return 0;
    }
    search->best = index;
    search->found = child;
    return 1;
}

/* What the steps of a walk share. */
struct walk {
    struct espial_bpf_image *image;
    struct search *search;
    /* Of the fan: the first box of each child that is a leaf, the first child, words of children, those left of one word. */
    __u64 firsts;
    __u64 left;
    __u32 children;
    __u32 nth;
    __u32 words;
    __u32 is_stuck;
    __u32 is_done;
    /* Its rows, its intervals, the cuts of whole addresses or 0, the masks of the packet's interval in each
       dimension. */
    __u32 addresses;
    __u64 fan;
    __u64 wide;
    __u64 rows[ESPIAL_DIMENSIONS];
};

/* What a step of bpf_loop returns: 1 to end. The verifier knows nothing of what the compiler knows of `so`. */
static __always_inline long ends(long so) {
    asm volatile("" : "+r"(so));
    return so ? 1 : 0;
}

static long list_step(__u32 index, struct walk *walk) {
    return ends(take(walk->image, walk->search, index));
}

/* What a window shows of an address (group::Address::project). */
static __always_inline __u64 shown(const __u64 *address, const __u32 *prefix, __u32 shift) {
    const __u64 base[2] = {(__u64)prefix[0] << 32 | prefix[1], (__u64)prefix[2] << 32};
    __u64 high = address[0] ^ base[0], low = address[1] ^ base[1];
    shift &= 127;
    if (shift >= 64) {
        low = high >> (shift & 63);
        high = 0;
    } else if (shift) {
        low = low >> shift | high << (64 - shift);
        high >>= shift;
    }
    if (!high && !(low >> 32)) return low;
    return is_above(base[0], base[1], address) ? 0 : 0xffffffff;
}

/* A packet's place in a window; `frame` of IPv4 says nothing. */
static __always_inline void place(const struct search *search, const struct espial_frame *frame, __u64 *remote,
                                  __u64 *local) {
    *remote = search->remote[1];
    *local = search->local[1];
    if (search->is_v6) {
        *remote = shown(search->remote, frame->prefixes[0], frame->shifts[0] & ~ESPIAL_LEAF);
        *local = shown(search->local, frame->prefixes[1], frame->shifts[1]);
    }
}

static __always_inline const struct espial_group *group_at(const struct espial_bpf_image *image,
                                                           const struct search *search, __u32 index) {
    if (index >= search->groups_count) return 0;
    return record(image, search->groups + (__u64)index * sizeof(struct espial_group));
}

/* 1 if one of the differences of numbers of 32 bits that `out` was put together of is below 0. Not a comparison: of that
   compilers make a branch, and the verifier follows each branch of sixteen slots in a row twice. */
static __always_inline __u32 sign(__u64 out) {
    out >>= 63;
    asm volatile("" : "+r"(out));
    return (__u32)out;
}

/* A bit for each slot of a group that may hold the packet (group::Group::covering). */
__noinline __u32 slots(struct espial_bpf_image *image, struct search *search, __u32 index) {
    if (!image || !search) return 0;
    const struct espial_group *group = group_at(image, search, index);
    __u64 remote, local;
    __u32 held = (1u << ESPIAL_WIDTH) - 1;
    if (!group) return 0;
    place(search, &group->frame, &remote, &local);
#pragma unroll
    for (int slot = 0; slot < (int)ESPIAL_WIDTH; slot++) {
        __u64 out = (remote - group->remote_lo[slot]) | (group->remote_hi[slot] - remote);
        held &= ~(sign(out) << slot);
    }
    if (search->ask == ASK_SOURCE || !held) return held;
    __u64 protocol = search->protocol;
#pragma unroll
    for (int slot = 0; slot < (int)ESPIAL_WIDTH; slot++) {
        __u64 out = (local - group->local_lo[slot]) | (group->local_hi[slot] - local);
        out |= (protocol - group->protocol_lo[slot]) | (group->protocol_hi[slot] - protocol);
        held &= ~(sign(out) << slot);
    }
    if (search->ask == ASK_PORTLESS || !held) return held;
    if (!search->has_value) return held & group->frame.beside;
    remote = search->remote_value;
    local = search->local_value;
#pragma unroll
    for (int slot = 0; slot < (int)ESPIAL_WIDTH; slot++) {
        const __u16 *lo = group->ports_lo[slot], *hi = group->ports_hi[slot];
        const __u64 out = (remote - lo[0]) | (hi[0] - remote) | (local - lo[1]) | (hi[1] - local);
        held &= ~(sign(out) << slot);
    }
    return held;
}

/* The first box of a leaf that covers the packet, if it is before the best so far: the boxes themselves are asked.
   Returns 1 if there is no such leaf. */
__noinline int leaf(struct espial_bpf_image *image, struct search *search, __u32 index) {
    if (!image || !search) return 1;
    const struct espial_group *group = group_at(image, search, index);
    if (!group) return 1;
    __u32 held = slots(image, search, index);
    for (int slot = 0; slot < (int)ESPIAL_WIDTH; slot++) {
        if (!(held >> slot & 1)) continue;
        const __u32 box = group->index[slot];
        if (box >= search->best || take(image, search, box)) break;
    }
    return 0;
}

static __always_inline __u64 load64(const struct espial_bpf_image *image, __u64 offset) {
    const __u64 *word = record(image, offset);
    return word ? *word : 0;
}

/* The lowest bit that is set. By hand: eBPF has no instruction for it, and what clang 14 makes of the builtin has no end. */
static __always_inline __u32 lowest(__u64 word) {
    __u32 at = 0;
    for (__u32 half = 32; half; half /= 2) {
        if (word & ((1ull << half) - 1)) continue;
        word >>= half;
        at += half;
    }
    return at;
}

/* The next word of children, or the next child of a word. */
static long tree_step(__u32 step, struct walk *walk) {
    (void)step;
    if (!walk->left) {
        walk->nth++;
        if (walk->nth >= walk->words) {
            walk->is_done = 1;
            return 1;
        }
        __u64 left = ~0ull, at = 8ull * walk->nth;
        for (int d = 0; d < (int)ESPIAL_DIMENSIONS; d++) left &= load64(walk->image, walk->rows[d] + at);
        walk->left = left;
        return 0;
    }
    const __u32 child = (walk->nth << 6) + lowest(walk->left);
    walk->left &= walk->left - 1;
    if (walk->children == ESPIAL_NO_GROUP) {
        /* Children are the boxes themselves, in their order. */
        walk->is_done = take(walk->image, walk->search, child);
        return ends(walk->is_done);
    }
    const __u32 *first = record(walk->image, walk->firsts + 4ull * child);
    if (!first) return 1;
    if (*first >= walk->search->best) {
        walk->is_done = 1;
        return 1;
    }
    return ends(leaf(walk->image, walk->search, walk->children + child));
}

/* Intervals of the dimensions before (fan::Layout). */
static __always_inline __u32 before(__u32 dimension, __u32 addresses, __u32 ports) {
    return dimension < 2 ? dimension * addresses : 2 * addresses + (dimension - 2) * ports;
}

/* Intervals of ports. */
static __always_inline __u32 ports_of(__u32 addresses) {
    return addresses < 4 * ESPIAL_CUTS ? ESPIAL_CUTS : 4 * ESPIAL_CUTS;
}

/* 1 if one number of 64 bits is below the other: the borrow of the difference. */
static __always_inline __u32 borrow(__u64 one, __u64 other) {
    return sign((~one & other) | ((~one | other) & (one - other)));
}

/* The packet's interval among so many whole addresses: high halves, then low ones; 0 if they are not there. */
static __always_inline __u32 wide_rank(const struct walk *walk, __u32 dimension) {
    const __u32 addresses = walk->addresses;
    const __u64 *value = dimension ? walk->search->local : walk->search->remote;
    const __u64 highs = walk->wide + 16ull * dimension * addresses;
    __u32 at = 1;
    for (int step = 0; step < 10 && at < addresses; step++) {
        const __u64 *high = record(walk->image, highs + 8ull * at);
        const __u64 *low = record(walk->image, highs + 8ull * (addresses + at));
        if (!high || !low) return 0;
        const __u64 differs = *high ^ value[0];
        at = 2 * at + (borrow(*high, value[0]) | ((1 ^ sign(differs | -differs)) & borrow(*low, value[1])));
    }
    return at;
}

/* The packet's interval in one dimension, of which rows[] has the packet's place until then: a search tree of cuts, each
   step twice as many. */
static long rank_step(__u32 dimension, struct walk *walk) {
    const __u32 addresses = walk->addresses, ports = ports_of(addresses);
    if (dimension >= ESPIAL_DIMENSIONS) return 1;
    /* Of protocols there are fewer intervals than cuts. */
    const __u32 intervals = dimension < 2 ? addresses : dimension < 4 ? ports : ESPIAL_CUTS;
    const __u32 start = before(dimension, addresses, ports);
    const __u64 value = walk->rows[dimension];
    __u32 at = 1;
    if (walk->wide && dimension < 2) {
        at = wide_rank(walk, dimension);
        walk->is_stuck |= !at;
    } else {
        for (int step = 0; step < 10 && at < intervals; step++) {
            const __u32 *cut = record(walk->image, walk->fan + 4ull * (start + at));
            if (!cut) {
                walk->is_stuck = 1;
                return 1;
            }
            at = 2 * at + sign(*cut - value);
        }
    }
    const __u32 cuts = before(4, addresses, ports) + ESPIAL_CUTS;
    walk->rows[dimension] = walk->fan + 8ull * (cuts / 2 + (start + at - intervals) * walk->words);
    return 0;
}

/* What a fan leaves to visit. Returns 0 if it is one that was built. */
static __always_inline int open_fan(struct walk *walk, __u64 rows, const struct espial_fan *fan) {
    const struct search *search = walk->search;
    const __u32 words = fan->words, addresses = fan->addresses;
    if (!words || words > ESPIAL_WORDS || words & (words - 1)) return -1;
    if (addresses < ESPIAL_CUTS || addresses > 16 * ESPIAL_CUTS || addresses & (addresses - 1)) return -1;
    place(search, &fan->frame, &walk->rows[0], &walk->rows[1]);
    walk->rows[2] = search->remote_value;
    walk->rows[3] = search->local_value;
    walk->rows[4] = search->protocol;
    walk->fan = rows + 8ull * fan->rows;
    walk->addresses = addresses;
    walk->words = words;
    walk->children = fan->children;
    const __u32 all = before(4, addresses, ports_of(addresses));
    const __u32 opaque = (all + ESPIAL_CUTS) / 2 + (all + ESPIAL_PROTOCOLS) * words;
    walk->firsts = walk->fan + 8ull * ((opaque + words + 7) & ~7u);
    /* A fan over boxes names no first ones: its whole addresses stand in their place. */
    walk->wide = search->is_v6 && fan->frame.beside == ESPIAL_WIDE ? walk->firsts : 0;
    bpf_loop(ESPIAL_DIMENSIONS, rank_step, walk, 0);
    if (walk->is_stuck) return -1;
    if (search->ask == ASK_SOURCE) {
        walk->rows[1] = walk->rows[2] = walk->rows[3] = walk->rows[4] = walk->rows[0];
    } else if (search->ask == ASK_PORTLESS) {
        walk->rows[2] = walk->rows[3] = walk->rows[4];
    } else if (!search->has_value) {
        walk->rows[2] = walk->rows[3] = walk->fan + 8ull * opaque;
    }
    walk->nth = ~0u;
    walk->left = 0;
    return 0;
}

/* The Child SA of the first box that covers the packet in what is asked and counts; NONE or STUCK. */
__noinline __u32 find(struct espial_bpf_image *image, struct search *search) {
    if (!image || !search) return STUCK;
    const struct espial_block_header *block = record(image, ESPIAL_IMAGE_BLOCK);
    if (!block) return STUCK;
    const struct espial_tunnel_record *tunnel =
        element(image, &block->tunnels, search->tunnel, sizeof(struct espial_tunnel_record));
    if (!tunnel) return STUCK;
    const int is_v6 = search->is_v6;
    const struct espial_section *all = is_v6 ? &block->boxes6 : &block->boxes4;
    const __u32 octets = is_v6 ? sizeof(struct espial_box6) : sizeof(struct espial_box4);
    const __u64 boxes = ESPIAL_IMAGE_BLOCK + (__u64)all->offset;
    struct walk walk = {.image = image, .search = search};
    __u32 first = is_v6 ? tunnel->span.first6 : tunnel->span.first4;
    __u32 count = is_v6 ? tunnel->span.count6 : tunnel->span.count4;
    search->best = search->found = NONE;
    search->boxes = boxes + (__u64)first * octets;
    search->count = count;
    if (search->child != NONE) {
        const struct espial_child_record *child =
            element(image, &block->children, search->child, sizeof(struct espial_child_record));
        if (!child) return STUCK;
        first = is_v6 ? child->span.first6 : child->span.first4;
        count = is_v6 ? child->span.count6 : child->span.count4;
    }
    if (count <= ESPIAL_LIST) {
        search->boxes = boxes + (__u64)first * octets;
        search->count = count;
        bpf_loop(count, list_step, &walk, 0);
        return search->found;
    }
    const struct espial_grown *grown = is_v6 ? &tunnel->trees[1] : &tunnel->trees[0];
    if (grown->levels) return STUCK;
    search->groups = ESPIAL_IMAGE_BLOCK + (__u64)block->groups.offset;
    search->groups_count = block->groups.count;
    const struct espial_fan *fan = element(image, &block->fans, grown->fan, sizeof(struct espial_fan));
    if (!fan || open_fan(&walk, ESPIAL_IMAGE_BLOCK + (__u64)block->rows.offset, fan)) return STUCK;
    bpf_loop(ESPIAL_WORDS * 65 + 1, tree_step, &walk, 0);
    return walk.is_done ? search->found : STUCK;
}

#endif
