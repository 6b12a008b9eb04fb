/* Cortex-M: vectors, semihosting, SysTick. FREQUENCY is SysTick's, in MHz. */
#include "platform.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYST_CSR REGISTER(0xe000e010)
#define SYST_RVR REGISTER(0xe000e014)
#define SYST_CVR REGISTER(0xe000e018)

extern uint32_t stack_top, data_start, data_end, data_load, bss_start, bss_end;
int main(void);
void reset(void);
static void fault(void);
static void tick(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, tick};

static void semihost(uint32_t what, const void *argument) {
    register uint32_t r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void out(const char *text) { semihost(0x04, text); }

void finish(int code) {
    const uint32_t block[2] = {0x20026, (uint32_t)code};
    semihost(0x20, block);
    for (;;) {}
}

static void fault(void) { out("fault\n"); finish(3); }
static void tick(void) { on_tick(); }

static void count_down(uint32_t from, uint32_t control) {
    SYST_CSR = 0;
    SYST_RVR = from;
    SYST_CVR = 0;
    SYST_CSR = control;
}

void start_ticks(void) { count_down(20 * FREQUENCY, 7); }
void stop_ticks(void) { count_down(0xffffff, 5); }
uint32_t instructions(void) { return (uint32_t)((uint64_t)(0xffffff - SYST_CVR) * 1000 / FREQUENCY); }

void reset(void) {
    for (uint32_t *to = &data_start, *from = &data_load; to < &data_end;) *to++ = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end;) *to++ = 0;
#ifdef __ARM_FP
    REGISTER(0xe000ed88) |= 0xf << 20;
#endif
    stop_ticks();
    finish(main());
}
