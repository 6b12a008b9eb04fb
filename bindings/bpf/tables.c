#include "tables.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIELDS = 7, LAST = 3000 };

static char said[1 << 16];

_Noreturn void fail(const char *what, ...) {
    va_list arguments;
    /* The verifier's last words say why. */
    const size_t length = strlen(said);
    if (length) fprintf(stderr, "%s\n", said + (length > LAST ? length - LAST : 0));
    fputs("espial-bpf: ", stderr);
    va_start(arguments, what);
    vfprintf(stderr, what, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* What libbpf and the verifier say is told if they fail. */
static int keep(enum libbpf_print_level level, const char *format, va_list arguments) {
    size_t used = strlen(said);
    if (level == LIBBPF_DEBUG) return 0;
    return vsnprintf(said + used, sizeof said - used, format, arguments);
}

static void done(int32_t status, const char *what) {
    if (status != ESPIAL_OK) fail("%s: status %d", what, status);
}

static void *room(size_t octets) {
    void *memory = aligned_alloc(64, (octets + 63) / 64 * 64);
    if (!memory) fail("no memory");
    memset(memory, 0, (octets + 63) / 64 * 64);
    return memory;
}

uint8_t *read_file(const char *path, size_t most, size_t *octets) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("%s: %s", path, strerror(errno));
    uint8_t *all = room(most + 64);
    *octets = fread(all, 1, most + 1, file);
    fclose(file);
    if (*octets > most) fail("%s: larger than %zu octets", path, most);
    return all;
}

void check_image(const char *path, const uint8_t *image, size_t octets) {
    size_t length;
    uint32_t tunnels, children;
    int32_t status = espial_image_check(image, octets, &length, &tunnels, &children);
    if (status != ESPIAL_OK) fail("%s: not a valid image of this machine's byte order (status %d)", path, status);
    if (children > ESPIAL_BPF_CHILDREN) fail("%s: more than %u Child SAs", path, ESPIAL_BPF_CHILDREN);
    /* It is valid, so what it says lies in it. */
    const uint8_t *start = image + ESPIAL_IMAGE_BLOCK;
    const struct espial_block_header *block = (const void *)start;
    const struct espial_tunnel_record *records = (const void *)(start + block->tunnels.offset);
    for (uint32_t nth = 0; nth < tunnels; nth++)
        for (int family = 0; family < 2; family++) {
            const struct espial_grown *tree = &records[nth].trees[family];
            if (tree->fan == ESPIAL_NO_FAN) continue;
            if (tree->levels)
                fail("%s: tunnel %u has more than 15360 selectors of a family", path, nth);
        }
}

void load_programs(struct tables *tables, const char *object, const struct espial_bpf_options *options) {
    static const char *names[] = {"images", "spis", "sas", "established", "counts"};
    int *fds[] = {&tables->images, &tables->spis, &tables->sas, &tables->established, &tables->counts};
    libbpf_set_print(keep);
    tables->object = bpf_object__open_file(object, NULL);
    if (!tables->object) fail("%s: %s", object, strerror(errno));
    struct bpf_map *map = bpf_object__find_map_by_name(tables->object, ".rodata.options");
    if (!map || bpf_map__set_initial_value(map, options, sizeof *options)) fail("%s: no options", object);
    int error = bpf_object__load(tables->object);
    if (error) fail("%s: the kernel does not take it: %s", object, strerror(-error));
    said[0] = 0;
    for (size_t nth = 0; nth < sizeof names / sizeof *names; nth++) {
        map = bpf_object__find_map_by_name(tables->object, names[nth]);
        if (!map) fail("%s: no map %s", object, names[nth]);
        *fds[nth] = bpf_map__fd(map);
    }
}

/* One address of a list, or none; returns its family. */
static uint8_t address(const char *text, uint8_t *octets) {
    if (inet_pton(AF_INET, text, octets) == 1) return ESPIAL_FAMILY_V4;
    if (inet_pton(AF_INET6, text, octets) == 1) return ESPIAL_FAMILY_V6;
    return 0;
}

static void read_sa(struct tables *tables, const char *path, unsigned line, char *field[FIELDS]) {
    struct sa *sa = &tables->sa[tables->sa_count++];
    espial_sa_key *key = &sa->params.key;
    sa->params.size = sizeof sa->params;
    sa->params.mode = ESPIAL_SA_TUNNEL;
    sa->params.encap = strcmp(field[2], "udp") ? ESPIAL_ENCAP_NONE : ESPIAL_ENCAP_UDP;
    key->spi = (uint32_t)strtoul(field[0], NULL, 0);
    key->ipsec = strcmp(field[1], "ah") ? ESPIAL_IPSEC_ESP : ESPIAL_IPSEC_AH;
    key->scope = ESPIAL_SCOPE_SPI;
    if (strcmp(field[3], "-")) {
        key->scope = ESPIAL_SCOPE_DST;
        key->family = address(field[3], key->dst);
        if (!key->family) fail("%s:%u: no address: %s", path, line, field[3]);
        if (strcmp(field[4], "-")) {
            key->scope = ESPIAL_SCOPE_DST_SRC;
            if (address(field[4], key->src) != key->family) fail("%s:%u: no address of that family: %s", path, line, field[4]);
        }
    }
    int32_t status = espial_gateway_image_find(tables->gateway, field[5], strlen(field[5]), field[6], strlen(field[6]), &sa->child);
    if (status != ESPIAL_OK) fail("%s:%u: the image has no Child SA %s in %s", path, line, field[6], field[5]);
    done(espial_sa_add(tables->gateway, sa->child, &sa->params, &sa->handle), "espial_sa_add");
}

void open_gateway(struct tables *tables, const char *image, const char *sas) {
    size_t length, need;
    uint32_t tunnels, children;
    char line[1024];
    tables->image = read_file(image, ESPIAL_BPF_IMAGE_OCTETS, &tables->octets);
    check_image(image, tables->image, tables->octets);
    done(espial_image_check(tables->image, tables->octets, &length, &tunnels, &children), "espial_image_check");
    espial_capacity capacity = {.size = sizeof capacity, .tunnels = tunnels, .children = children, .workers = 1,
                                .sas = ESPIAL_BPF_SAS, .sas_dst = ESPIAL_BPF_SAS, .sas_dst_src = ESPIAL_BPF_SAS};
    done(espial_gateway_image_size(&capacity, &need), "espial_gateway_image_size");
    done(espial_gateway_init_image(room(need), need, &capacity, 0x5eed, 0x5eed, tables->image, tables->octets, &tables->gateway),
         "espial_gateway_init_image");
    tables->sa = calloc(ESPIAL_BPF_SAS, sizeof *tables->sa);
    FILE *file = fopen(sas, "r");
    if (!file || !tables->sa) fail("%s: %s", sas, strerror(errno));
    for (unsigned number = 1; fgets(line, sizeof line, file); number++) {
        char *field[FIELDS], *rest = line;
        int count = 0;
        line[strcspn(line, "\n")] = 0;
        if (!*line || *line == '#') continue;
        while (count < FIELDS && rest) field[count++] = strsep(&rest, "\t");
        if (count < FIELDS || rest) fail("%s:%u: not %d fields", sas, number, FIELDS);
        if (tables->sa_count == ESPIAL_BPF_SAS) fail("%s: more than %u SAs", sas, ESPIAL_BPF_SAS);
        read_sa(tables, sas, number, field);
    }
    fclose(file);
}

void fill_sas(const struct tables *tables) {
    for (uint32_t nth = 0; nth < tables->sa_count; nth++) {
        const struct sa *one = &tables->sa[nth];
        const struct espial_bpf_sa record = {.child = one->child.index, .generation = one->child.generation,
                                             .spi = one->params.key.spi, .encap = one->params.encap, .is_live = 1};
        uint32_t sas = 0;
        bpf_map_lookup_elem(tables->established, &one->child.index, &sas);
        sas++;
        /* The way to the SA last: whoever finds it finds all of it. */
        if (bpf_map_update_elem(tables->established, &one->child.index, &sas, BPF_ANY) ||
            bpf_map_update_elem(tables->sas, &nth, &record, BPF_ANY) ||
            bpf_map_update_elem(tables->spis, &one->params.key, &nth, BPF_NOEXIST))
            fail("SA %#x: %s", one->params.key.spi, strerror(errno));
    }
}

void put_image(int images, const uint8_t *image, size_t octets) {
    const uint32_t zero = 0;
    struct espial_bpf_image *whole = room(sizeof *whole);
    memcpy(whole->octets, image, octets);
    int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "espial_image", sizeof zero, sizeof *whole, 1, NULL);
    if (map < 0 || bpf_map_update_elem(map, &zero, whole, BPF_ANY) || bpf_map_update_elem(images, &zero, &map, BPF_ANY))
        fail("image: %s", strerror(errno));
    close(map);
    free(whole);
}

void read_counts(int counts, uint32_t step, struct espial_bpf_counts *sum) {
    static struct espial_bpf_counts *each;
    const int cpus = libbpf_num_possible_cpus();
    if (!each) each = room(sizeof *each * (size_t)cpus);
    if (bpf_map_lookup_elem(counts, &step, each)) fail("counts: %s", strerror(errno));
    memset(sum, 0, sizeof *sum);
    for (int cpu = 0; cpu < cpus; cpu++) {
        sum->accepted += each[cpu].accepted;
        sum->passed += each[cpu].passed;
        for (uint32_t reason = 0; reason < ESPIAL_BPF_REASONS; reason++) sum->drops[reason] += each[cpu].drops[reason];
    }
}

const char *reason_name(uint32_t reason) {
    if (reason == ESPIAL_BPF_DROP_IMAGE) return "image";
    if (reason == ESPIAL_BPF_DROP_BOUND) return "bound";
    return espial_reason_name(reason);
}
