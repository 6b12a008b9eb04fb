/* What a board brings: text out, an exit code, a periodic interrupt, and a count of instructions. */
#ifndef PLATFORM_H
#define PLATFORM_H
#include <stdint.h>

void out(const char *text);
_Noreturn void finish(int code);
/* Calls on_tick() from an interrupt, about every 20 000 instructions, until stop_ticks(). */
void start_ticks(void);
void stop_ticks(void);
void on_tick(void);
/* Instructions since the start, with ticks off. Under qemu -icount shift=0 one is a nanosecond. Wraps
   after 600 million of them on ARM. */
uint32_t instructions(void);

#endif
