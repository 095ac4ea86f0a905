// CRC-32C with the processor's instruction where it has one, else by tables of eight bytes at a step.
//
// The instruction takes three cycles but a new one can start in each, so three neighbouring blocks are
// computed side by side and joined:
//
//        | block a | block b | block c |          crc(abc) = shift2(crc a) ^ shift(crc b) ^ crc c
//
// shift(x) is the effect of one block of zero bytes on the register x. It is linear, so four tables of 256
// words give it with four look-ups. Long blocks amortise the join, short ones keep small requests fast.
//
// The binary is built for the plain architecture; the instruction is only reached after asking the processor.
#include "crc32c.h"

#include <cstring>
#include <mutex>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define MILLRACE_CRC_TARGET __attribute__((target("sse4.2")))
#elif defined(__aarch64__)
#include <sys/auxv.h>
#define MILLRACE_CRC_TARGET __attribute__((target("+crc")))
#endif

namespace millrace {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected
constexpr size_t kLongBlock = 4096;
constexpr size_t kShortBlock = 256;

struct Shift {
  uint32_t table[4][256];

  uint32_t operator()(uint32_t crc) const {
    return table[0][crc & 0xff] ^ table[1][(crc >> 8) & 0xff] ^ table[2][(crc >> 16) & 0xff] ^ table[3][crc >> 24];
  }
};

uint32_t byteTables[8][256];
Shift longShift;
Shift shortShift;
uint32_t (*implementation)(const uint8_t*, size_t, uint32_t) = nullptr;

inline uint64_t load64(const uint8_t* data) {
  uint64_t word;
  memcpy(&word, data, 8);
  return word;
}

void buildByteTables() {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    byteTables[0][i] = crc;
  }
  for (int k = 1; k < 8; k++) {
    for (uint32_t i = 0; i < 256; i++) {
      const uint32_t crc = byteTables[k - 1][i];
      byteTables[k][i] = (crc >> 8) ^ byteTables[0][crc & 0xff];
    }
  }
}

void buildShift(Shift& shift, size_t zeroBytes) {
  uint32_t ofBit[32];
  for (int bit = 0; bit < 32; bit++) {
    uint32_t crc = 1u << bit;
    for (size_t i = 0; i < zeroBytes; i++) crc = (crc >> 8) ^ byteTables[0][crc & 0xff];
    ofBit[bit] = crc;
  }
  for (int byte = 0; byte < 4; byte++) {
    for (uint32_t value = 0; value < 256; value++) {
      uint32_t crc = 0;
      for (int bit = 0; bit < 8; bit++) {
        if ((value & (1u << bit)) != 0) crc ^= ofBit[byte * 8 + bit];
      }
      shift.table[byte][value] = crc;
    }
  }
}

uint32_t byTables(const uint8_t* data, size_t length, uint32_t crc) {
  while (length >= 8) {
    const uint64_t word = load64(data) ^ crc;
    crc = byteTables[7][word & 0xff] ^ byteTables[6][(word >> 8) & 0xff] ^ byteTables[5][(word >> 16) & 0xff] ^
          byteTables[4][(word >> 24) & 0xff] ^ byteTables[3][(word >> 32) & 0xff] ^
          byteTables[2][(word >> 40) & 0xff] ^ byteTables[1][(word >> 48) & 0xff] ^ byteTables[0][word >> 56];
    data += 8;
    length -= 8;
  }
  while (length-- > 0) crc = (crc >> 8) ^ byteTables[0][(crc ^ *data++) & 0xff];
  return crc;
}

#ifdef MILLRACE_CRC_TARGET

#if defined(__x86_64__)
MILLRACE_CRC_TARGET inline uint64_t step8(uint64_t crc, uint64_t word) { return _mm_crc32_u64(crc, word); }
MILLRACE_CRC_TARGET inline uint64_t step1(uint64_t crc, uint8_t byte) {
  return _mm_crc32_u8(static_cast<uint32_t>(crc), byte);
}
bool processorHasIt() { return __builtin_cpu_supports("sse4.2"); }
#else
MILLRACE_CRC_TARGET inline uint64_t step8(uint64_t crc, uint64_t word) {
  uint32_t result;
  __asm__("crc32cx %w0, %w1, %x2" : "=r"(result) : "r"(static_cast<uint32_t>(crc)), "r"(word));
  return result;
}
MILLRACE_CRC_TARGET inline uint64_t step1(uint64_t crc, uint8_t byte) {
  uint32_t result;
  __asm__("crc32cb %w0, %w1, %w2" : "=r"(result) : "r"(static_cast<uint32_t>(crc)), "r"(static_cast<uint32_t>(byte)));
  return result;
}
bool processorHasIt() { return (getauxval(AT_HWCAP) & (1 << 7)) != 0; }  // HWCAP_CRC32
#endif

template <size_t Block>
MILLRACE_CRC_TARGET inline uint64_t threeBlocks(const uint8_t* data, uint64_t crc, const Shift& shift) {
  uint64_t b = 0;
  uint64_t c = 0;
  for (size_t i = 0; i < Block; i += 8) {
    crc = step8(crc, load64(data + i));
    b = step8(b, load64(data + Block + i));
    c = step8(c, load64(data + 2 * Block + i));
  }
  const uint32_t ab = shift(static_cast<uint32_t>(crc)) ^ static_cast<uint32_t>(b);
  return shift(ab) ^ static_cast<uint32_t>(c);
}

MILLRACE_CRC_TARGET uint32_t byInstruction(const uint8_t* data, size_t length, uint32_t seed) {
  uint64_t crc = seed;
  while (length >= 3 * kLongBlock) {
    crc = threeBlocks<kLongBlock>(data, crc, longShift);
    data += 3 * kLongBlock;
    length -= 3 * kLongBlock;
  }
  while (length >= 3 * kShortBlock) {
    crc = threeBlocks<kShortBlock>(data, crc, shortShift);
    data += 3 * kShortBlock;
    length -= 3 * kShortBlock;
  }
  while (length >= 8) {
    crc = step8(crc, load64(data));
    data += 8;
    length -= 8;
  }
  while (length-- > 0) crc = step1(crc, *data++);
  return static_cast<uint32_t>(crc);
}

#endif

}  // namespace

void prepareCrc32c() {
  static std::once_flag once;
  std::call_once(once, [] {
    buildByteTables();
    buildShift(longShift, kLongBlock);
    buildShift(shortShift, kShortBlock);
    implementation = byTables;
#ifdef MILLRACE_CRC_TARGET
    if (processorHasIt()) implementation = byInstruction;
#endif
  });
}

uint32_t crc32c(const uint8_t* data, size_t length, uint32_t seed) { return ~implementation(data, length, ~seed); }

}  // namespace millrace
