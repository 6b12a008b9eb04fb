/* What a compiler expects of a freestanding program. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
    uint8_t *t = to; const uint8_t *f = from;
    while (n--) *t++ = *f++;
    return to;
}
void *memset(void *to, int octet, size_t n) {
    uint8_t *t = to;
    while (n--) *t++ = (uint8_t)octet;
    return to;
}
