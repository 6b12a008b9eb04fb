/* The first box of an image that covers a packet, as core/src/matcher/{walk,fan,group}.rs find it: a list where the
   boxes are few, else the tree of the tunnel: a fan or one group over leaves, never more levels. */
#ifndef ESPIAL_BPF_SEARCH_H
#define ESPIAL_BPF_SEARCH_H

#include "maps.h"

enum { ASK_ALL, ASK_PORTLESS, ASK_SOURCE };

#define NONE 0xffffffffu
/* A bound was reached, or a record is not where it should be: drop. */
#define STUCK 0xfffffffeu

struct question {
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

struct search {
    const struct espial_bpf_image *image;
    const struct question *question;
    /* Of the packet's family, those of the tunnel or of the Child SA, and how many. */
    __u64 boxes;
    __u32 count;
    /* The first box so far, and its Child SA. */
    __u32 best;
    __u32 found;
    __u32 is_stuck;
    __u64 groups;
    __u32 groups_count;
    /* Of the top: its first child, the first box of each, words of children, those left of one word. */
    __u32 children;
    __u64 firsts;
    __u64 left;
    __u32 nth;
    __u32 words;
    /* The masks of the packet's interval in each dimension. */
    __u64 rows[ESPIAL_DIMENSIONS];
    __u64 fan;
    __u32 addresses;
    __u32 is_done;
};

static __always_inline int is_below(__u64 high, __u64 low, const __u64 *than) {
    return high < than[0] || (high == than[0] && low < than[1]);
}

static __always_inline int is_above(__u64 high, __u64 low, const __u64 *than) {
    return high > than[0] || (high == than[0] && low > than[1]);
}

/* matcher::linear::Boxed::covers_in */
static __always_inline int covers(const struct espial_bpf_image *image, __u64 box, const struct question *question) {
    const __u8 *octets = record(image, box);
    if (!octets) return 0;
    const __u8 ask = question->ask;
    const struct espial_rest *rest;
    if (question->is_v6) {
        const struct espial_box6 *six = (const void *)octets;
        if (is_above(six->remote_lo.high, six->remote_lo.low, question->remote)) return 0;
        if (is_below(six->remote_hi.high, six->remote_hi.low, question->remote)) return 0;
        if (ask == ASK_SOURCE) return 1;
        if (is_above(six->local_lo.high, six->local_lo.low, question->local)) return 0;
        if (is_below(six->local_hi.high, six->local_hi.low, question->local)) return 0;
        rest = &six->rest;
    } else {
        const struct espial_box4 *four = (const void *)octets;
        const __u64 remote = question->remote[1], local = question->local[1];
        if (four->remote_lo > remote || four->remote_hi < remote) return 0;
        if (ask == ASK_SOURCE) return 1;
        if (four->local_lo > local || four->local_hi < local) return 0;
        rest = &four->rest;
    }
    if (rest->protocol_lo > question->protocol || rest->protocol_hi < question->protocol) return 0;
    if (ask == ASK_PORTLESS) return 1;
    /* A packet without a value needs ANY or OPAQUE on both sides (RFC 4301 section 7). */
    if (!question->has_value) return rest->flags & ESPIAL_ADMITS_OPAQUE;
    return rest->remote_port_lo <= question->remote_value && question->remote_value <= rest->remote_port_hi &&
           rest->local_port_lo <= question->local_value && question->local_value <= rest->local_port_hi;
}

/* Asks one box; it is the first if it covers the packet and counts. */
static __always_inline int take(struct search *search, __u32 index) {
    const struct question *question = search->question;
    const __u32 octets = question->is_v6 ? sizeof(struct espial_box6) : sizeof(struct espial_box4);
    const __u64 box = search->boxes + (__u64)index * octets;
    if (index >= search->count || !covers(search->image, box, question)) return 0;
    const struct espial_rest *rest = record(search->image, box + octets - sizeof *rest);
    if (!rest) return 0;
    const __u32 child = rest->child;
    if (question->child != NONE && question->child != child) return 0;
    if (question->established) {
        const __u32 *sas = bpf_map_lookup_elem(&established, &child);
        if (!sas || !*sas) return 0;
    }
    search->best = index;
    search->found = child;
    return 1;
}

static long list_step(__u32 index, struct search *search) {
    return take(search, index);
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
static __always_inline void place(const struct question *question, const struct espial_frame *frame, __u64 *remote,
                                  __u64 *local) {
    *remote = question->remote[1];
    *local = question->local[1];
    if (question->is_v6) {
        *remote = shown(question->remote, frame->prefixes[0], frame->shifts[0] & ~ESPIAL_LEAF);
        *local = shown(question->local, frame->prefixes[1], frame->shifts[1]);
    }
}

static __always_inline const struct espial_group *group_at(const struct search *search, __u32 index) {
    if (index >= search->groups_count) return 0;
    return record(search->image, search->groups + (__u64)index * sizeof(struct espial_group));
}

/* A bit for each slot of a group that may hold the packet (group::Group::covering). Differences of numbers of 32 bits
   in 64: the sign of one of them says that it does not; no branch for the verifier to follow twice. */
static __always_inline __u32 slots(const struct espial_group *group, const struct question *question) {
    __u64 remote, local;
    __u32 held = 0;
    place(question, &group->frame, &remote, &local);
#pragma unroll
    for (int slot = 0; slot < (int)ESPIAL_WIDTH; slot++) {
        __u64 out = (remote - group->remote_lo[slot]) | (group->remote_hi[slot] - remote);
        held |= (__u32)(~out >> 63) << slot;
    }
    if (question->ask == ASK_SOURCE || !held) return held;
    __u64 protocol = question->protocol;
#pragma unroll
    for (int slot = 0; slot < (int)ESPIAL_WIDTH; slot++) {
        __u64 out = (local - group->local_lo[slot]) | (group->local_hi[slot] - local);
        out |= (protocol - group->protocol_lo[slot]) | (group->protocol_hi[slot] - protocol);
        held &= ~((__u32)(out >> 63) << slot);
    }
    if (question->ask == ASK_PORTLESS || !held) return held;
    if (!question->has_value) return held & group->frame.beside;
    remote = question->remote_value;
    local = question->local_value;
#pragma unroll
    for (int slot = 0; slot < (int)ESPIAL_WIDTH; slot++) {
        __u64 out = (remote - group->remote_port_lo[slot]) | (group->remote_port_hi[slot] - remote);
        out |= (local - group->local_port_lo[slot]) | (group->local_port_hi[slot] - local);
        held &= ~((__u32)(out >> 63) << slot);
    }
    return held;
}

/* The first box of a leaf that covers the packet, if it is before the best so far: the boxes themselves are asked. */
static __noinline int leaf(struct search *search, __u32 index) {
    const struct espial_group *group = group_at(search, index);
    if (!group) {
        search->is_stuck = 1;
        return 0;
    }
    __u32 held = slots(group, search->question);
    for (int slot = 0; slot < (int)ESPIAL_WIDTH; slot++) {
        if (!(held >> slot & 1)) continue;
        const __u32 box = group->index[slot];
        if (box >= search->best || take(search, box)) break;
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
static long tree_step(__u32 step, struct search *search) {
    (void)step;
    const struct espial_bpf_image *image = search->image;
    if (!search->left) {
        search->nth++;
        if (search->nth >= search->words) {
            search->is_done = 1;
            return 1;
        }
        __u64 left = ~0ull, at = 8ull * search->nth;
        for (int d = 0; d < (int)ESPIAL_DIMENSIONS; d++) left &= load64(image, search->rows[d] + at);
        search->left = left;
        return 0;
    }
    const __u32 child = (search->nth << 6) + lowest(search->left);
    search->left &= search->left - 1;
    const __u32 *first = record(image, search->firsts + 4ull * child);
    if (!first || *first >= search->best) {
        search->is_done = first != 0;
        search->is_stuck |= !first;
        return 1;
    }
    leaf(search, search->children + child);
    return search->is_stuck ? 1 : 0;
}

/* Intervals of the dimensions before (fan::Layout). */
static __always_inline __u32 before(__u32 dimension, __u32 addresses, __u32 ports) {
    return dimension < 2 ? dimension * addresses : 2 * addresses + (dimension - 2) * ports;
}

struct ranking {
    struct search *search;
    __u64 point[ESPIAL_DIMENSIONS];
    __u32 ports;
};

/* The packet's interval in one dimension: a search tree of cuts, each step twice as many. */
static long rank_step(__u32 dimension, struct ranking *ranking) {
    struct search *search = ranking->search;
    const __u32 addresses = search->addresses, ports = ranking->ports;
    if (dimension >= ESPIAL_DIMENSIONS) return 1;
    const __u32 intervals = dimension < 2 ? addresses : dimension < 4 ? ports : ESPIAL_CUTS;
    const __u32 start = before(dimension, addresses, ports);
    const __u64 value = ranking->point[dimension];
    __u32 at = 1;
    for (int step = 0; step < 10 && at < intervals; step++) {
        const __u32 *cut = record(search->image, search->fan + 4ull * (start + at));
        if (!cut) {
            search->is_stuck = 1;
            return 1;
        }
        at = 2 * at + (__u32)((*cut - value) >> 63);
    }
    const __u32 all = before(4, addresses, ports) + ESPIAL_CUTS;
    search->rows[dimension] = search->fan + 8ull * (all / 2 + (start + at - intervals) * search->words);
    return 0;
}

/* What a fan leaves to visit. Returns 0 if it is one that was built. */
static __always_inline int open_fan(struct search *search, __u64 rows, const struct espial_fan *fan) {
    const struct question *question = search->question;
    const __u32 words = fan->words, addresses = fan->addresses;
    if (!words || words > ESPIAL_WORDS || words & (words - 1)) return -1;
    if (addresses < ESPIAL_CUTS || addresses > 16 * ESPIAL_CUTS || addresses & (addresses - 1)) return -1;
    struct ranking ranking = {.search = search, .ports = addresses < 4 * ESPIAL_CUTS ? addresses : 4 * ESPIAL_CUTS};
    place(question, &fan->frame, &ranking.point[0], &ranking.point[1]);
    ranking.point[2] = question->remote_value;
    ranking.point[3] = question->local_value;
    ranking.point[4] = question->protocol;
    search->fan = rows + 8ull * fan->rows;
    search->addresses = addresses;
    search->words = words;
    search->children = fan->children;
    bpf_loop(ESPIAL_DIMENSIONS, rank_step, &ranking, 0);
    if (search->is_stuck) return -1;
    const __u32 all = before(4, addresses, ranking.ports) + ESPIAL_CUTS;
    const __u32 opaque = all / 2 + all * words;
    search->firsts = search->fan + 8ull * ((opaque + words + 7) & ~7u);
    if (question->ask == ASK_SOURCE) {
        search->rows[1] = search->rows[2] = search->rows[3] = search->rows[4] = search->rows[0];
    } else if (question->ask == ASK_PORTLESS) {
        search->rows[2] = search->rows[3] = search->rows[4];
    } else if (!question->has_value) {
        search->rows[2] = search->rows[3] = search->fan + 8ull * opaque;
    }
    search->nth = ~0u;
    search->left = 0;
    return 0;
}

/* The Child SA of the first box that covers the packet in what is asked and counts; NONE or STUCK. A function that the
   verifier looks at once, however often it is called. */
__noinline __u32 find(struct espial_bpf_image *image, struct question *question) {
    if (!image || !question) return STUCK;
    const struct espial_block_header *block = record(image, ESPIAL_IMAGE_BLOCK);
    if (!block) return STUCK;
    const struct espial_tunnel_record *tunnel =
        element(image, &block->tunnels, question->tunnel, sizeof(struct espial_tunnel_record));
    if (!tunnel) return STUCK;
    const int is_v6 = question->is_v6;
    const struct espial_section *all = is_v6 ? &block->boxes6 : &block->boxes4;
    const __u32 octets = is_v6 ? sizeof(struct espial_box6) : sizeof(struct espial_box4);
    const __u64 boxes = ESPIAL_IMAGE_BLOCK + (__u64)all->offset;
    struct search search = {.image = image, .question = question, .best = NONE, .found = NONE};
    __u32 first = is_v6 ? tunnel->span.first6 : tunnel->span.first4;
    __u32 count = is_v6 ? tunnel->span.count6 : tunnel->span.count4;
    search.boxes = boxes + (__u64)first * octets;
    search.count = count;
    if (question->child != NONE) {
        const struct espial_child_record *child =
            element(image, &block->children, question->child, sizeof(struct espial_child_record));
        if (!child) return STUCK;
        first = is_v6 ? child->span.first6 : child->span.first4;
        count = is_v6 ? child->span.count6 : child->span.count4;
    }
    if (count <= ESPIAL_LIST) {
        search.boxes = boxes + (__u64)first * octets;
        search.count = count;
        bpf_loop(count, list_step, &search, 0);
        return search.found;
    }
    const struct espial_grown *grown = is_v6 ? &tunnel->trees[1] : &tunnel->trees[0];
    if (!grown->groups) return STUCK;
    search.groups = ESPIAL_IMAGE_BLOCK + (__u64)block->groups.offset;
    search.groups_count = block->groups.count;
    if (grown->delta != ESPIAL_NO_GROUP) leaf(&search, grown->delta);
    if (grown->fan != ESPIAL_NO_FAN) {
        const struct espial_fan *fan = element(image, &block->fans, grown->fan, sizeof(struct espial_fan));
        if (!fan || grown->levels) return STUCK;
        if (open_fan(&search, ESPIAL_IMAGE_BLOCK + (__u64)block->rows.offset, fan)) return STUCK;
    } else if (!grown->levels) {
        leaf(&search, grown->first);
        return search.is_stuck ? STUCK : search.found;
    } else {
        const struct espial_group *top = group_at(&search, grown->first);
        if (!top || grown->levels > 1) return STUCK;
        search.left = slots(top, question);
        search.words = 1;
        search.children = top->below;
        search.firsts = search.groups + (__u64)grown->first * sizeof *top + __builtin_offsetof(struct espial_group, index);
    }
    bpf_loop(ESPIAL_WORDS * 65 + 1, tree_step, &search, 0);
    return search.is_stuck || !search.is_done ? STUCK : search.found;
}

#endif
