/* CRC32C by the processor's own instruction where it has one. See include/letterlock/base.h. */
#include "letterlock/base.h"

#define CRC32C_POLY 0x82f63b78u /* Castagnoli, reflected */

/* Eight bits at a time by a table that the compiler works out: no state, no start-up. */
#define STEP(c)   ((c) >> 1 ^ (CRC32C_POLY & (0u - ((c)&1u))))
#define STEP4(c)  STEP(STEP(STEP(STEP(c))))
#define NIBBLE(i) STEP4((uint32_t)(i))

static const uint32_t nibble[16] = {
    NIBBLE(0), NIBBLE(1), NIBBLE(2),  NIBBLE(3),  NIBBLE(4),  NIBBLE(5),  NIBBLE(6),  NIBBLE(7),
    NIBBLE(8), NIBBLE(9), NIBBLE(10), NIBBLE(11), NIBBLE(12), NIBBLE(13), NIBBLE(14), NIBBLE(15)};

static uint32_t crc_portable(uint32_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_hardware(uint32_t crc, const uint8_t *p,
                                                               size_t n)
{
    uint64_t wide = crc;

    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;

        memcpy(&v, p, 8);
        wide = __builtin_ia32_crc32di(wide, v);
    }
    crc = (uint32_t)wide;
    for (; n > 0; n--)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}
#endif

uint32_t ll_crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_hardware(~crc, p, n);
#endif
    return ~crc_portable(~crc, p, n);
}
