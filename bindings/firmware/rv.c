/* RV32 `virt`: UART, test device, machine timer of the CLINT (10 MHz: a tick is 100 instructions). */
#include "platform.h"

#define UART (*(volatile uint8_t *)0x10000000)
#define TEST (*(volatile uint32_t *)0x100000)
#define TIME (*(volatile uint64_t *)0x200bff8)
#define COMPARE (*(volatile uint64_t *)0x2004000)

int main(void);
static int ticking;

__attribute__((naked, section(".start"), used)) void start(void) {
    __asm__ volatile("la sp, stack_top\n la t0, bss_start\n la t1, bss_end\n"
                     "1: bgeu t0, t1, 2f\n sw zero, 0(t0)\n addi t0, t0, 4\n j 1b\n2: call main\n call finish\n");
}

void out(const char *text) { while (*text) UART = (uint8_t)*text++; }

void finish(int code) {
    TEST = code == 0 ? 0x5555 : (uint32_t)code << 16 | 0x3333;
    for (;;) {}
}

__attribute__((interrupt, aligned(4))) static void trap(void) {
    uint32_t cause;
    __asm__ volatile("csrr %0, mcause" : "=r"(cause));
    if (cause != 0x80000007) { out("fault\n"); finish(3); }
    COMPARE = TIME + 200;
    if (ticking) on_tick();
}

void start_ticks(void) {
    ticking = 1;
    COMPARE = TIME + 200;
    __asm__ volatile("csrw mtvec, %0\n csrw mie, %1\n csrsi mstatus, 8" : : "r"(trap), "r"(1 << 7));
}

void stop_ticks(void) {
    __asm__ volatile("csrci mstatus, 8");
    ticking = 0;
}

uint32_t instructions(void) {
    uint32_t count;
    __asm__ volatile("csrr %0, minstret" : "=r"(count));
    return count;
}
