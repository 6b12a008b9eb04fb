#include <espial.h>
#include <stdio.h>

static _Alignas(64) uint8_t memory[1 << 16], more[1 << 14]; /* espial_gateway_size(), espial_worker_size() */

int main(void) {
    espial_capacity capacity = {sizeof capacity, .tunnels = 1, .children = 1, .selectors = 1, .sas = 1, .workers = 1};
    espial_ts local = {ESPIAL_FAMILY_V4, .port_hi = 65535, .addr_lo = {10, 1, 0, 0}, .addr_hi = {10, 1, 0, 255}};
    espial_ts remote = {ESPIAL_FAMILY_V4, .port_hi = 65535, .addr_lo = {10, 2, 0, 0}, .addr_hi = {10, 2, 0, 255}};
    espial_sa_params params = {sizeof params, ESPIAL_SA_TUNNEL, .key = {0x1111, ESPIAL_IPSEC_ESP, ESPIAL_SCOPE_SPI}};
    espial_gateway *gateway; espial_tunnel tunnel; espial_child child; espial_sa sa; espial_worker *worker;
    if (espial_gateway_init(memory, sizeof memory, &capacity, 17, 4 /* seed: random in earnest */, &gateway)
        || espial_tunnel_add(gateway, ESPIAL_MODE_STRICT_SA, 0, &tunnel)
        || espial_child_add(gateway, tunnel, &local, 1, &remote, 1, &child) || espial_gateway_publish(gateway)
        || espial_sa_add(gateway, child, &params, &sa)
        || espial_worker_init(more, sizeof more, gateway, 0, &worker)) return 1;
    const uint8_t esp[28] = {0x45, [3] = 28, [9] = 50, [12] = 198, 51, 100, 1, 203, 0, 113, 2, [22] = 0x11, 0x11};
    const uint8_t plain[20] = {0x45, [3] = 20, [9] = 253, [12] = 10, 2, 7, 5, 10, 1, 0, 5}; /* from 10.2.7.5 */
    espial_arrival arrival;
    if (espial_worker_arrive(worker, esp, sizeof esp, 0, 0, &arrival) || arrival.verdict != ESPIAL_VERDICT_OPEN) return 1;
    espial_opened opened = {&arrival.outer, plain, sizeof plain, arrival.sa, 4, {0}}; /* what your crypto gave */
    espial_verdict verdict;
    if (espial_worker_check(worker, &opened, 0, 0, &verdict)) return 1;
    printf("%s: %s, %s\n", verdict.verdict == ESPIAL_VERDICT_ACCEPT ? "accept" : "drop",
           espial_reason_name(verdict.reason), espial_field_name(verdict.field));
}
