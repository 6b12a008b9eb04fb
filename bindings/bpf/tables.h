/* The programs' maps, filled from an image and a list of SAs; and the library's gateway over the same. */
#ifndef ESPIAL_BPF_TABLES_H
#define ESPIAL_BPF_TABLES_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stddef.h>
#include <stdint.h>

#include "maps.h"

/* Says what is wrong, and ends the program. */
_Noreturn void fail(const char *what, ...) __attribute__((format(printf, 1, 2)));

/* An SA of the list. */
struct sa {
    espial_sa_params params;
    espial_child child;
    /* The library's. */
    espial_sa handle;
};

struct tables {
    struct bpf_object *object;
    int images, spis, sas, established, counts;
    /* The image, at a multiple of 64 octets. */
    uint8_t *image;
    size_t octets;
    espial_gateway *gateway;
    struct sa *sa;
    uint32_t sa_count;
};

/* A file's octets, at a multiple of 64; as many as `most`. */
uint8_t *read_file(const char *path, size_t most, size_t *octets);

/* Tests an image as the library does, and against the bounds of the programs. */
void check_image(const char *path, const uint8_t *image, size_t octets);

/* Opens the programs and has the verifier look at them. */
void load_programs(struct tables *tables, const char *object, const struct espial_bpf_options *options);

/* The gateway of the library over an image, with the SAs of a list: lines of SPI, protocol (esp, ah), encapsulation
   (none, udp), destination and source or -, tunnel, Child SA; tabs between. */
void open_gateway(struct tables *tables, const char *image, const char *sas);

/* The same SAs in the maps. */
void fill_sas(const struct tables *tables);

/* Puts an image in the place of the one in force: each packet is judged by the one or by the other. */
void put_image(int images, const uint8_t *image, size_t octets);

/* What was counted since the program was loaded, over all CPUs. */
void read_counts(int counts, uint32_t step, struct espial_bpf_counts *sum);

/* The name of a reason, the programs' own too. */
const char *reason_name(uint32_t reason);

#endif
