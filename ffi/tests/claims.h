/* What the test programs share: a claim that does not hold is named with its file and line and ends the program. */
#ifndef CLAIMS_H
#define CLAIMS_H

#include <espial.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long claims;

static inline void claim_(int holds, const char *what, const char *file, int line) {
    claims++;
    if (!holds) {
        fprintf(stderr, "%s:%d: %s\n", file, line, what);
        exit(1);
    }
}
#define CLAIM(holds) claim_((holds) != 0, #holds, __FILE__, __LINE__)
#define GIVES(status, call) claim_((call) == (status), #call " gives " #status, __FILE__, __LINE__)
/* Every pointer in its turn is NULL. */
#define NULLS(call) GIVES(ESPIAL_ENULL, call)

/* A pointer that is off by one octet: never dereferenced by the library. */
#define ODD(type, at) ((type *)(uintptr_t)((uintptr_t)(at) + 1))

/* What main() returns: as many claims were looked at, and all of them hold. */
static inline int all_hold(void) {
    printf("%lu claims hold\n", claims);
    return claims == 0;
}

#endif
