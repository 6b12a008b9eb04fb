/*
 * A dataplane in miniature: reads a capture of ESP with NULL encryption and no integrity, judges it in
 * bursts and prints one line of JSON a packet, as `espial check --json` does.
 *
 *     dataplane CONFIG.txt CAPTURE.pcap
 *
 * CONFIG.txt:  tunnel NAME MODE
 *              child NAME LOCAL REMOTE [PROTOCOL LOCAL-PORT]      of the tunnel above; address/bits
 *              sa SPI [udp]                                       of the Child SA above
 *
 * C11 and POSIX (inet_pton). What a real one does otherwise is marked REAL.
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <espial.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BURST = 32, SNAP = 65535, TUNNELS = 8, CHILDREN = 64, SAS = 256, NAME = 64 };

static char child_names[CHILDREN][NAME]; /* by espial_child.index */

static _Noreturn void die(const char *what, ...) {
    va_list arguments;
    va_start(arguments, what);
    vfprintf(stderr, what, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

static void must(int32_t status, const char *what) {
    if (status != ESPIAL_OK) {
        die("%s: %s", what, espial_status_text(status));
    }
}

static void *memory(size_t align, size_t size) {
    void *at = aligned_alloc(align, size);
    if (at == NULL) {
        die("no memory");
    }
    return at;
}

/* ---- configuration: the one writer -------------------------------------------------------------- */

/* "10.1.0.0/24" or "2001:db8::/32" as a range of addresses. */
static espial_ts selector(char *text) {
    espial_ts ts;
    char *slash = strchr(text, '/');
    unsigned octets, bits, i;
    memset(&ts, 0, sizeof ts);
    ts.port_hi = 65535;
    if (slash == NULL) {
        die("`%s`: address/bits, please", text);
    }
    *slash = '\0';
    bits = (unsigned)strtoul(slash + 1, NULL, 10);
    if (inet_pton(AF_INET, text, ts.addr_lo) == 1) {
        ts.family = ESPIAL_FAMILY_V4;
        octets = 4;
    } else if (inet_pton(AF_INET6, text, ts.addr_lo) == 1) {
        ts.family = ESPIAL_FAMILY_V6;
        octets = 16;
    } else {
        die("`%s` is no address", text);
    }
    for (i = 0; i < octets; i++) {
        unsigned kept = bits >= 8 * (i + 1) ? 8 : bits > 8 * i ? bits - 8 * i : 0;
        uint8_t free_bits = (uint8_t)(0xff >> kept);
        ts.addr_hi[i] = (uint8_t)(ts.addr_lo[i] | free_bits);
        ts.addr_lo[i] = (uint8_t)(ts.addr_lo[i] & ~free_bits);
    }
    return ts;
}

/* Reads the file twice: Child SAs must be published before they get SAs. */
static void configure(espial_gateway *gateway, FILE *file, int sas) {
    static espial_child children[CHILDREN];
    espial_tunnel tunnel = {0, 0};
    char line[512], name[NAME], a[NAME], b[NAME];
    unsigned protocol, port, next = 0;

    rewind(file);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long spi;
        int fields;
        if (sscanf(line, "tunnel %63s %63s", name, a) == 2) {
            uint32_t mode = 0;
            while (mode < ESPIAL_MODES && strcmp(espial_mode_name(mode), a) != 0) {
                mode++;
            }
            if (!sas) {
                must(espial_tunnel_add(gateway, mode, 0, &tunnel), line);
            }
        } else if ((fields = sscanf(line, "child %63s %63s %63s %u %u", name, a, b, &protocol, &port)) >= 3) {
            if (next == CHILDREN) {
                die("more than %d Child SAs", CHILDREN);
            }
            if (!sas) {
                espial_ts local = selector(a), remote = selector(b);
                if (fields == 5) {
                    local.protocol = remote.protocol = (uint8_t)protocol;
                    local.port_lo = local.port_hi = (uint16_t)port;
                }
                must(espial_child_add(gateway, tunnel, &local, 1, &remote, 1, &children[next]), line);
                memcpy(child_names[children[next].index], name, sizeof name);
            }
            next++;
        } else if ((fields = sscanf(line, "sa %lx %63s", &spi, a)) >= 1) {
            espial_sa_params params;
            espial_sa sa;
            memset(&params, 0, sizeof params);
            params.size = sizeof params;
            params.mode = ESPIAL_SA_TUNNEL;
            params.encap = fields == 2 && strcmp(a, "udp") == 0 ? ESPIAL_ENCAP_UDP : ESPIAL_ENCAP_NONE;
            params.key.spi = (uint32_t)spi;
            params.key.ipsec = ESPIAL_IPSEC_ESP;
            params.key.scope = ESPIAL_SCOPE_SPI;
            if (sas) {
                /* REAL: keys[sa.slot & ESPIAL_SA_INDEX] = the keys of this SA. */
                must(espial_sa_add(gateway, children[next - 1], &params, &sa), line);
            }
        } else if (line[0] != '#' && line[0] != '\n') {
            die("what is `%s`?", line);
        }
    }
    if (!sas) {
        must(espial_gateway_publish(gateway), "publish");
    }
}

/* ---- capture: classic pcap, Ethernet or raw IP ---------------------------------------------------- */

struct capture {
    FILE *file;
    int swapped;
    uint32_t link;
};

static uint32_t field(const struct capture *capture, const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return capture->swapped ? htonl(1) == 1 ? value : (value >> 24) | (value >> 8 & 0xff00) | (value << 8 & 0xff0000) | (value << 24) : value;
}

static struct capture capture_open(const char *path) {
    struct capture capture = {fopen(path, "rb"), 0, 0};
    uint8_t header[24];
    uint32_t magic;
    if (capture.file == NULL || fread(header, sizeof header, 1, capture.file) != 1) {
        die("%s: no capture", path);
    }
    memcpy(&magic, header, sizeof magic);
    capture.swapped = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1;
    if (!capture.swapped && magic != 0xa1b2c3d4 && magic != 0xa1b23c4d) {
        die("%s: not a classic pcap file", path);
    }
    capture.link = field(&capture, header + 20) & 0xffff;
    if (capture.link != 1 && capture.link != 101) {
        die("%s: link type %u, not Ethernet or raw IP", path, (unsigned)capture.link);
    }
    return capture;
}

/* The next packet, from its IP header on; 0 at the end. len is 0 for frames that are not IP. */
static int capture_next(struct capture *capture, uint8_t *frame, espial_packet *packet) {
    uint8_t header[16];
    uint32_t len, skip = 0;
    if (fread(header, sizeof header, 1, capture->file) != 1) {
        return 0;
    }
    len = field(capture, header + 8);
    if (len > SNAP || (len > 0 && fread(frame, len, 1, capture->file) != 1)) {
        die("the capture is cut off");
    }
    if (capture->link == 1) {
        int ip = len >= 14 && ((frame[12] == 0x08 && frame[13] == 0x00) || (frame[12] == 0x86 && frame[13] == 0xdd));
        skip = ip ? 14 : len;
    }
    packet->octets = frame + skip;
    packet->len = len - skip;
    return 1;
}

/* ---- the packet path ------------------------------------------------------------------------------ */

/* Opens ESP with NULL encryption (RFC 2410) and no integrity: takes the header and the trailer off.
 * REAL: check the sequence number, authenticate, decrypt; report what fails. */
static int open_null(const espial_packet *packet, const espial_arrival *arrival, espial_opened *opened) {
    const uint8_t *esp = packet->octets + arrival->outer.offset;
    size_t len = arrival->outer.octets, padding, i;
    if (len < 8 + 2) {
        return 0;
    }
    padding = esp[len - 2];
    if (padding > len - 10) {
        return 0;
    }
    for (i = 0; i < padding; i++) {
        if (esp[len - 2 - padding + i] != i + 1) { /* RFC 4303 section 2.4 */
            return 0;
        }
    }
    memset(opened, 0, sizeof *opened);
    opened->outer = &arrival->outer;
    opened->sa = arrival->sa;
    opened->next_header = esp[len - 1];
    opened->payload = esp + 8;
    opened->len = len - 10 - padding;
    return 1;
}

static void print(unsigned long number, const char *verdict, unsigned reason, const espial_outer *outer,
                  const espial_verdict *checked) {
    printf("{\"packet\":%lu,\"verdict\":\"%s\"", number, verdict);
    if (reason != ESPIAL_DROP_NONE) {
        printf(",\"reason\":\"%s\"", espial_reason_name(reason));
    }
    if (outer->family != 0) {
        printf(",\"spi\":\"0x%08lx\"", (unsigned long)outer->spi);
    }
    if (checked != NULL && checked->verdict == ESPIAL_VERDICT_DROP) {
        if (checked->belongs_to.generation != 0) {
            printf(",\"belongs_to\":\"%s\"", child_names[checked->belongs_to.index]);
        }
        if (checked->field != ESPIAL_FIELD_NONE) {
            printf(",\"field\":\"%s\"", espial_field_name(checked->field));
        }
    }
    puts("}");
}

int main(int argc, char **argv) {
    static uint8_t frames[BURST][SNAP];
    static espial_packet packets[BURST];
    static espial_arrival arrivals[BURST];
    static espial_opened opened[BURST];
    static espial_verdict verdicts[BURST], refused[BURST];
    static espial_event events[16];
    espial_capacity capacity = {
        sizeof capacity, .tunnels = TUNNELS, .children = CHILDREN, .selectors = CHILDREN, .sas = SAS, .workers = 1,
    };
    espial_counts counts;
    espial_gateway *gateway;
    espial_worker *worker;
    struct capture capture;
    FILE *file;
    void *gateway_memory, *worker_memory;
    unsigned long first = 1;
    size_t size, n, i, made;

    if (argc != 3) {
        die("usage: dataplane CONFIG.txt CAPTURE.pcap");
    }
    if (espial_abi_version() != ESPIAL_ABI_VERSION) {
        die("the library is not the header's");
    }
    must(espial_gateway_size(&capacity, &size), "size");
    gateway_memory = memory(espial_gateway_align(), size);
    /* REAL: the seed is random, and peers do not know it. */
    must(espial_gateway_init(gateway_memory, size, &capacity, 0x5eed, 0xf00d, &gateway), "gateway");
    if ((file = fopen(argv[1], "r")) == NULL) {
        die("%s: cannot be read", argv[1]);
    }
    configure(gateway, file, 0);
    configure(gateway, file, 1);
    fclose(file);
    size = espial_worker_size();
    worker_memory = memory(espial_worker_align(), size);
    must(espial_worker_init(worker_memory, size, gateway, 0, &worker), "worker");

    capture = capture_open(argv[2]);
    do {
        size_t ready = 0, which[BURST];
        uint64_t now_ms = first; /* REAL: a monotonic clock. */
        for (n = 0; n < BURST && capture_next(&capture, frames[n], &packets[n]); n++) {
        }
        must(espial_worker_arrive_burst(worker, packets, n, now_ms, 1, arrivals), "arrive");
        for (i = 0; i < n; i++) {
            which[i] = BURST;
            memset(&refused[i], 0, sizeof refused[i]);
            if (arrivals[i].verdict != ESPIAL_VERDICT_OPEN) {
                continue;
            }
            if (open_null(&packets[i], &arrivals[i], &opened[ready])) {
                which[i] = ready++;
            } else {
                must(espial_worker_report(worker, arrivals[i].sa, &arrivals[i].outer, ESPIAL_DROP_BAD_PADDING,
                                          now_ms, 1, &refused[i]), "report");
            }
        }
        must(espial_worker_check_burst(worker, opened, ready, now_ms, 1, verdicts), "check");
        for (i = 0; i < n; i++) {
            const espial_verdict *verdict = which[i] < BURST ? &verdicts[which[i]] : &refused[i];
            espial_class class;
            must(espial_classify(packets[i].octets, packets[i].len, &class), "classify");
            if (arrivals[i].verdict == ESPIAL_VERDICT_OPEN) {
                int accept = verdict->verdict == ESPIAL_VERDICT_ACCEPT; /* REAL: forward it. */
                print(first + i, accept ? "accept" : "drop", verdict->reason, &class.outer, verdict);
            } else if (arrivals[i].verdict == ESPIAL_VERDICT_PASS) {
                print(first + i, "pass", 0, &class.outer, NULL);
            } else if (packets[i].len == 0 && capture.link == 1) {
                print(first + i, "pass", 0, &class.outer, NULL); /* not IP */
            } else {
                print(first + i, "drop", arrivals[i].reason, &class.outer, NULL);
            }
        }
        events[0].size = sizeof events[0];
        must(espial_worker_events(worker, events, 16, &made), "events");
        must(espial_worker_quiescent(worker), "quiescent");
        for (i = 0; i < made; i++) {
            fprintf(stderr, "event: %s, SPI 0x%08lx, %lu suppressed\n", espial_reason_name(events[i].reason),
                    (unsigned long)events[i].outer.spi, (unsigned long)events[i].suppressed);
        }
        first += n;
    } while (n == BURST);

    must(espial_worker_release(worker), "release");
    counts.size = sizeof counts;
    must(espial_gateway_counts(gateway, &counts), "counts");
    fprintf(stderr, "%llu accepted, %llu dropped, %llu passed\n", (unsigned long long)counts.packets,
            (unsigned long long)counts.dropped, (unsigned long long)counts.passed);
    must(espial_gateway_release(gateway), "release");
    fclose(capture.file);
    free(worker_memory);
    free(gateway_memory);
    return counts.dropped > 0;
}
