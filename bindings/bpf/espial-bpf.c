/* espial in the kernel, from user space:

     espial-bpf test OBJECT IMAGE SAS PACKETS      each packet in the kernel and in the library
     espial-bpf damage OBJECT IMAGE SAS PACKETS    damaged images in the map
     espial-bpf programs OBJECT                    what the verifier says of them
     espial-bpf load OBJECT IMAGE SAS DIR          programs and maps pinned below DIR, to be attached
     espial-bpf swap IMAGE DIR                     another image in the place of the first
     espial-bpf counts DIR                         what the programs counted

   `load` takes the octets of the link layer where check stands from the environment: INNER_LINK, 0 if it is not set. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tables.h"

enum { LINK = 14, LARGEST = 3000, TIMED = 64, REPEAT = 4000 };

struct packet {
    uint32_t wire_octets, opened_octets;
    uint8_t next_header;
    /* What is known of it: 'a' it is to be accepted, 'd' dropped, '-' nothing. */
    char known;
    uint8_t *wire, *opened;
};

static struct packet *packets;
static uint32_t packet_count;
static struct tables tables;
static int arrive, arrive_xdp, check;

/* As they are counted. */
static const struct { const char *name; int *fd; } programs[ESPIAL_BPF_STEPS] = {
    {"arrive_xdp", &arrive_xdp}, {"arrive", &arrive}, {"check", &check},
};

static uint8_t *unhex(const char *text, uint32_t *octets) {
    uint8_t *all = malloc(strlen(text) / 2 + 1);
    *octets = 0;
    if (!all) fail("no memory");
    for (; text[0] && text[1]; text += 2) {
        unsigned octet;
        if (sscanf(text, "%2x", &octet) != 1) fail("packets: no octet: %.2s", text);
        all[(*octets)++] = (uint8_t)octet;
    }
    return all;
}

/* Lines of next header, known verdict (accept, drop, -), packet and what was opened of it or -, in hexadecimal; tabs between. */
static void read_packets(const char *path) {
    static char line[4 * LARGEST + 100];
    FILE *file = fopen(path, "r");
    if (!file) fail("%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *rest = line, *next = strsep(&rest, "\t"), *known = strsep(&rest, "\t"), *wire = strsep(&rest, "\t");
        if (!rest) fail("%s: line %u is not a packet", path, packet_count + 1);
        if (!(packet_count & (packet_count - 1))) {
            packets = realloc(packets, 2 * (packet_count + 1) * sizeof *packets);
            if (!packets) fail("no memory");
        }
        struct packet *packet = &packets[packet_count++];
        *packet = (struct packet){.next_header = (uint8_t)atoi(next), .known = *known};
        packet->wire = unhex(wire, &packet->wire_octets);
        if (strcmp(rest, "-")) packet->opened = unhex(rest, &packet->opened_octets);
        if (packet->wire_octets > LARGEST || packet->opened_octets > LARGEST) fail("%s: a packet is too long", path);
    }
    fclose(file);
}

/* What a program did with a packet, by what it counted: -1 passed, 0 accepted, else the reason of the drop. */
static int counted(uint32_t step) {
    static struct espial_bpf_counts before[ESPIAL_BPF_STEPS];
    struct espial_bpf_counts now, *last = &before[step];
    int what = -2, changes = 0;
    read_counts(tables.counts, step, &now);
    if (now.accepted != last->accepted) what = 0, changes += (int)(now.accepted - last->accepted);
    if (now.passed != last->passed) what = -1, changes += (int)(now.passed - last->passed);
    for (uint32_t reason = 0; reason < ESPIAL_BPF_REASONS; reason++)
        if (now.drops[reason] != last->drops[reason]) what = (int)reason, changes += (int)(now.drops[reason] - last->drops[reason]);
    *last = now;
    if (changes != 1) fail("a packet was counted %d times", changes);
    return what;
}

/* Runs a program on a packet behind an Ethernet header. Returns what it returned; `mark` goes in and comes out. */
static uint32_t run(int program, uint16_t ethertype, const uint8_t *octets, uint32_t length, uint32_t *mark, uint32_t repeat,
                    uint32_t *ns) {
    static uint8_t frame[LINK + LARGEST] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
    struct __sk_buff in, out;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = LINK + length, .repeat = (int)repeat);
    frame[12] = (uint8_t)(ethertype >> 8);
    frame[13] = (uint8_t)ethertype;
    if (length) memcpy(frame + LINK, octets, length);
    if (mark) {
        memset(&in, 0, sizeof in);
        in.mark = *mark;
        options.ctx_in = &in;
        options.ctx_size_in = sizeof in;
        options.ctx_out = &out;
        options.ctx_size_out = sizeof out;
    }
    if (bpf_prog_test_run_opts(program, &options)) fail("test run of %u octets: %s", LINK + length, strerror(errno));
    if (mark) *mark = out.mark;
    if (ns) *ns = options.duration;
    return options.retval;
}

static uint16_t ethertype_of(uint8_t next_header) {
    return next_header == 4 ? 0x0800 : next_header == 41 ? 0x86dd : 0x88b5;
}

/* A test run at tc takes nothing shorter than its IP header; a kernel hands nothing shorter on. */
static int is_runnable(uint16_t ethertype, uint32_t octets) {
    return octets >= (ethertype == 0x0800 ? 20u : ethertype == 0x86dd ? 40u : 0u);
}

/* What the library does with a packet, as counted() says it; and the SA it is on, and what came out of it. */
struct judged {
    int arrival, verdict;
    uint32_t mark;
};

static struct judged judge(espial_worker *worker, const struct packet *packet) {
    struct judged judged = {0, -2, 0};
    espial_arrival arrival;
    espial_verdict verdict;
    if (espial_worker_arrive(worker, packet->wire, packet->wire_octets, 0, 0, &arrival) != ESPIAL_OK) fail("espial_worker_arrive");
    judged.arrival = arrival.verdict == ESPIAL_VERDICT_OPEN ? 0 : arrival.verdict == ESPIAL_VERDICT_PASS ? -1 : arrival.reason;
    if (judged.arrival) return judged;
    for (uint32_t nth = 0; nth < tables.sa_count; nth++)
        if (!memcmp(&tables.sa[nth].handle, &arrival.sa, sizeof arrival.sa)) judged.mark = nth + 1;
    /* xfrm hands on no dummy packets (RFC 4303 section 2.6), and nothing that it could not open. */
    if (!packet->opened || packet->next_header == 59) return judged;
    const espial_opened opened = {.outer = &arrival.outer, .payload = packet->opened, .len = packet->opened_octets,
                                  .sa = arrival.sa, .next_header = packet->next_header};
    if (espial_worker_check(worker, &opened, 0, 0, &verdict) != ESPIAL_OK) fail("espial_worker_check");
    judged.verdict = verdict.verdict == ESPIAL_VERDICT_ACCEPT ? 0 : verdict.reason;
    return judged;
}

static const char *name_of(int what) {
    return what == -2 ? "nothing" : what == -1 ? "pass" : what == 0 ? "accept" : reason_name((uint32_t)what);
}

static uint32_t differences;

static void compare(const char *step, uint32_t nth, int kernel, int library) {
    if (kernel == library) return;
    if (differences++ < 20) printf("  packet %u: %s: kernel %s, library %s\n", nth + 1, step, name_of(kernel), name_of(library));
}

static espial_worker *open_all(char *const *argument, const struct espial_bpf_options *options) {
    espial_worker *worker;
    size_t octets = espial_quiet_worker_size();
    load_programs(&tables, argument[0], options);
    open_gateway(&tables, argument[1], argument[2]);
    fill_sas(&tables);
    put_image(tables.images, tables.image, tables.octets);
    void *memory = aligned_alloc(64, (octets + 63) / 64 * 64);
    if (espial_quiet_worker_init(memory, octets, tables.gateway, 0, &worker) != ESPIAL_OK) fail("espial_quiet_worker_init");
    for (int nth = 0; nth < ESPIAL_BPF_STEPS; nth++)
        *programs[nth].fd = bpf_program__fd(bpf_object__find_program_by_name(tables.object, programs[nth].name));
    return worker;
}

static const struct espial_bpf_options test_options = {.outer_link = LINK, .inner_link = LINK, .wants_xfrm = 0};

/* Nanoseconds of a run of check, of which the test run's own take as many as those of a packet without a mark. */
static uint32_t time_of(const struct packet *packet, uint32_t mark) {
    uint32_t ns = 0;
    static const uint8_t nothing[20];
    if (packet) run(check, ethertype_of(packet->next_header), packet->opened, packet->opened_octets, &mark, REPEAT, &ns);
    else run(check, ethertype_of(4), nothing, sizeof nothing, &mark, REPEAT, &ns);
    return ns;
}

/* Another image in the place of this one: the SAs of Child SAs that it changes are dead, and none other. */
static void test_swap(const struct packet *accepted, uint32_t mark) {
    const uint32_t sa = mark - 1;
    uint8_t *other = malloc(tables.octets);
    if (!other) fail("no memory");
    memcpy(other, tables.image, tables.octets);
    const struct espial_block_header *block = (const void *)(other + ESPIAL_IMAGE_BLOCK);
    struct espial_child_record *child = (void *)(other + ESPIAL_IMAGE_BLOCK + block->children.offset);
    static const int reasons[] = {0, ESPIAL_DROP_UNKNOWN_SPI, ESPIAL_BPF_DROP_IMAGE, 0};
    for (uint32_t turn = 0; turn < 4; turn++) {
        /* As it is, with another Child SA in that place, none at all, as it was. */
        child[tables.sa[sa].child.index].generation += turn == 1 ? 2 : 0;
        put_image(tables.images, turn == 1 ? other : tables.image, turn == 2 ? 0 : tables.octets);
        run(check, ethertype_of(accepted->next_header), accepted->opened, accepted->opened_octets, &mark, 1, NULL);
        const int verdict = counted(ESPIAL_BPF_CHECK);
        if (verdict != reasons[turn]) fail("after a swap: %s", name_of(verdict));
    }
    free(other);
}

/* The programs as `load` loads them: a mark alone opens nothing. */
static void test_mark_alone(const char *object, const struct packet *accepted, uint32_t mark) {
    const struct espial_bpf_options options = {.outer_link = LINK, .inner_link = LINK, .wants_xfrm = 1};
    struct espial_bpf_counts sum;
    struct tables other = tables;
    load_programs(&other, object, &options);
    fill_sas(&other);
    put_image(other.images, tables.image, tables.octets);
    int program = bpf_program__fd(bpf_object__find_program_by_name(other.object, "check"));
    run(program, ethertype_of(accepted->next_header), accepted->opened, accepted->opened_octets, &mark, 1, NULL);
    read_counts(other.counts, ESPIAL_BPF_CHECK, &sum);
    if (sum.accepted || sum.drops[ESPIAL_DROP_NOT_OPENED] != 1) fail("a mark was believed");
    bpf_object__close(other.object);
}

/* Each packet in the kernel and in the library. */
static void test(char *const *argument) {
    espial_worker *worker = open_all(argument, &test_options);
    uint32_t by_verdict[ESPIAL_BPF_REASONS] = {0}, checked = 0, known = 0, timed[2] = {0};
    static const struct packet *shown[2][TIMED];
    static uint32_t shown_mark[2][TIMED];
    read_packets(argument[3]);
    for (uint32_t nth = 0; nth < packet_count; nth++) {
        const struct packet *packet = &packets[nth];
        const struct judged library = judge(worker, packet);
        const uint16_t outer = packet->wire_octets && packet->wire[0] >> 4 == 6 ? 0x86dd : 0x0800;
        uint32_t mark = library.mark, returned;
        int what;
        if (is_runnable(outer, packet->wire_octets)) {
            mark = 0;
            returned = run(arrive, outer, packet->wire, packet->wire_octets, &mark, 1, NULL);
            what = counted(ESPIAL_BPF_ARRIVE);
            compare("arrive", nth, what, library.arrival);
            if (returned != (what > 0 ? 2u : 0u)) fail("packet %u: arrive returned %u", nth + 1, returned);
            if (mark != library.mark) fail("packet %u: arrive found SA %u, not %u", nth + 1, mark, library.mark);
        }
        returned = run(arrive_xdp, outer, packet->wire, packet->wire_octets, NULL, 1, NULL);
        what = counted(ESPIAL_BPF_ARRIVE_XDP);
        compare("arrive_xdp", nth, what, library.arrival);
        if (returned != (what > 0 ? 1u : 2u)) fail("packet %u: arrive_xdp returned %u", nth + 1, returned);
        int verdict = library.arrival;
        if (library.verdict != -2 && is_runnable(ethertype_of(packet->next_header), packet->opened_octets)) {
            returned = run(check, ethertype_of(packet->next_header), packet->opened, packet->opened_octets, &mark, 1, NULL);
            verdict = counted(ESPIAL_BPF_CHECK);
            compare("check", nth, verdict, library.verdict);
            if (returned != (verdict ? 2u : 0u)) fail("packet %u: check returned %u", nth + 1, returned);
            checked++;
            /* Refused by a selector, or not. */
            const int is_drop = verdict != 0;
            if (timed[is_drop] < TIMED && verdict < ESPIAL_DROP_OUTER_FRAGMENT) {
                shown[is_drop][timed[is_drop]] = packet;
                shown_mark[is_drop][timed[is_drop]++] = mark;
            }
        }
        if (packet->known != '-') {
            known++;
            if ((packet->known == 'a') != (verdict == 0)) fail("packet %u: known to be another verdict than %s", nth + 1, name_of(verdict));
        }
        if (verdict >= 0) by_verdict[verdict]++;
    }
    printf("%u packets, %u of them opened and checked, %u with a known verdict: %u differences\n ", packet_count, checked, known, differences);
    for (uint32_t reason = 0; reason < ESPIAL_BPF_REASONS; reason++)
        if (by_verdict[reason]) printf(" %s %u", name_of((int)reason), by_verdict[reason]);
    if (timed[0]) {
        test_swap(shown[0][0], shown_mark[0][0]);
        test_mark_alone(argument[0], shown[0][0], shown_mark[0][0]);
    }
    printf("\n  ns a run of check, beside the test run's own %u:", time_of(NULL, 0));
    for (int nth = 0; nth < 2; nth++) {
        uint64_t sum = 0;
        for (uint32_t one = 0; one < timed[nth]; one++) sum += time_of(shown[nth][one], shown_mark[nth][one]);
        if (timed[nth]) printf(" %s %.0f", nth ? "dropped" : "accepted", (double)sum / timed[nth] - time_of(NULL, 0));
    }
    printf("\n");
    if (differences) fail("kernel and library differ");
}

static uint64_t random_state = 1;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1dull;
}

/* Images that the loader would refuse, put in the map all the same: the programs end and stay in their map. They cannot tell
   what a damaged selector was meant to say, which is why the loader does; noise and nothing at all open nothing. */
static void damage(char *const *argument) {
    espial_worker *worker = open_all(argument, &test_options);
    uint8_t *bad = malloc(tables.octets);
    const struct espial_block_header *block = (const void *)(tables.image + ESPIAL_IMAGE_BLOCK);
    uint32_t accepted[3] = {0}, runs[3] = {0}, tried = 0, refused = 0;
    read_packets(argument[3]);
    if (!bad) fail("no memory");
    for (uint32_t turn = 0; turn < 300; turn++) {
        const uint32_t kind = turn % 3;
        size_t at = ESPIAL_IMAGE_BLOCK + next_random() % (tables.octets - ESPIAL_IMAGE_BLOCK), length;
        uint32_t ignored[2];
        memcpy(bad, tables.image, tables.octets);
        if (kind == 0) { /* some octets */
            for (int nth = 0; nth < 8; nth++) {
                const uint64_t random = next_random();
                bad[ESPIAL_IMAGE_BLOCK + (nth & 1 ? random % 1024 : random) % (tables.octets - ESPIAL_IMAGE_BLOCK)] ^= (uint8_t)(1 + (random >> 40) % 255);
            }
        } else if (kind == 1) { /* the end */
            memset(bad + at, 0, tables.octets - at);
        } else { /* all but the header of the block */
            for (size_t to = ESPIAL_IMAGE_BLOCK + sizeof *block; to < tables.octets; to++) bad[to] = (uint8_t)(next_random() >> 32);
        }
        tried++;
        refused += memcmp(bad, tables.image, tables.octets) == 0 || espial_image_check(bad, tables.octets, &length, ignored, ignored + 1) != ESPIAL_OK;
        put_image(tables.images, bad, tables.octets);
        for (uint32_t nth = 0; nth < packet_count && nth < 200; nth++) {
            const struct packet *packet = &packets[nth];
            const struct judged library = judge(worker, packet);
            uint32_t mark = library.mark;
            if (library.verdict == -2 || !is_runnable(ethertype_of(packet->next_header), packet->opened_octets)) continue;
            run(check, ethertype_of(packet->next_header), packet->opened, packet->opened_octets, &mark, 1, NULL);
            const int verdict = counted(ESPIAL_BPF_CHECK);
            runs[kind]++;
            accepted[kind] += verdict == 0;
        }
    }
    printf("%u damaged images, %u refused by the library; put in the map all the same, accepted:\n"
           "  some octets %u of %u, no end %u of %u, noise %u of %u\n",
           tried, refused, accepted[0], runs[0], accepted[1], runs[1], accepted[2], runs[2]);
    if (refused != tried || accepted[2]) fail("a damaged image opened something");
}

static void tell_programs(char *const *argument) {
    load_programs(&tables, argument[0], &test_options);
    for (int nth = 0; nth < ESPIAL_BPF_STEPS; nth++) {
        struct bpf_prog_info info = {0};
        uint32_t octets = sizeof info;
        int fd = bpf_program__fd(bpf_object__find_program_by_name(tables.object, programs[nth].name));
        if (bpf_obj_get_info_by_fd(fd, &info, &octets)) fail("%s: %s", programs[nth].name, strerror(errno));
        printf("%s: %u instructions, %u looked at by the verifier, %u octets of machine code\n", programs[nth].name,
               info.xlated_prog_len / 8, info.verified_insns, info.jited_prog_len);
    }
}

static int pinned(const char *directory, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = bpf_obj_get(path);
    if (fd < 0) fail("%s: %s", path, strerror(errno));
    return fd;
}

static void load(char *const *argument) {
    const char *inner = getenv("INNER_LINK");
    const struct espial_bpf_options options = {.outer_link = LINK, .inner_link = inner ? (uint32_t)atoi(inner) : 0, .wants_xfrm = 1};
    open_all(argument, &options);
    if (mkdir(argument[3], 0700) && errno != EEXIST) fail("%s: %s (is there a bpf file system?)", argument[3], strerror(errno));
    int error = bpf_object__pin(tables.object, argument[3]);
    if (error) fail("%s: %s", argument[3], strerror(-error));
}

static void swap(char *const *argument) {
    size_t octets;
    const uint8_t *image = read_file(argument[0], ESPIAL_BPF_IMAGE_OCTETS, &octets);
    check_image(argument[0], image, octets);
    put_image(pinned(argument[1], "images"), image, octets);
}

static void tell_counts(char *const *argument) {
        int counts = pinned(argument[0], "counts");
    for (uint32_t step = 0; step < ESPIAL_BPF_STEPS; step++) {
        struct espial_bpf_counts sum;
        read_counts(counts, step, &sum);
        printf("%s accepted %llu passed %llu", programs[step].name, (unsigned long long)sum.accepted, (unsigned long long)sum.passed);
        for (uint32_t reason = 0; reason < ESPIAL_BPF_REASONS; reason++)
            if (sum.drops[reason]) printf(" %s %llu", reason_name(reason), (unsigned long long)sum.drops[reason]);
        printf("\n");
    }
}

int main(int count, char **argument) {
    static const struct { const char *name; int arguments; void (*run)(char *const *); } commands[] = {
        {"test", 4, test}, {"damage", 4, damage}, {"programs", 1, tell_programs}, {"load", 4, load}, {"swap", 2, swap}, {"counts", 1, tell_counts},
    };
    for (size_t nth = 0; nth < sizeof commands / sizeof *commands; nth++)
        if (count == commands[nth].arguments + 2 && !strcmp(argument[1], commands[nth].name)) {
            commands[nth].run(argument + 2);
            return 0;
        }
    fputs("usage: espial-bpf test|damage|load OBJECT IMAGE SAS PACKETS|DIR, programs OBJECT, swap IMAGE DIR, counts DIR\n", stderr);
    return 2;
}
