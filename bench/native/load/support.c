// Clock, histogram, CRC-32C, varints and lines: what the load's modes share.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

uint64_t nowNanos(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

double cpuSeconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// ---- histogram

static int slotOf(uint64_t value) {
  if (value < histogramSteps) return (int)value;
  int shift = 56 - __builtin_clzll(value);
  return (shift + 1) * histogramSteps + (int)((value >> shift) - histogramSteps);
}

static uint64_t valueOf(int slot) {
  if (slot < histogramSteps) return (uint64_t)slot;
  int shift = slot / histogramSteps - 1;
  return ((uint64_t)(slot % histogramSteps) + histogramSteps) << shift;
}

void histogramAdd(struct histogram *histogram, uint64_t nanos) {
  histogram->counts[slotOf(nanos)]++;
  histogram->count++;
}

void histogramPrint(const struct histogram *histogram) {
  const char *comma = "";
  putchar('[');
  for (int i = 0; i < histogramSlots; i++) {
    if (histogram->counts[i] == 0) continue;
    printf("%s[%llu,%llu]", comma, (unsigned long long)valueOf(i), (unsigned long long)histogram->counts[i]);
    comma = ",";
  }
  putchar(']');
}

// ---- CRC-32C: the processor's instruction where it has one, else eight bytes a step by tables

static uint32_t tables[8][256];

static void makeTables(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    tables[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; i++)
    for (int t = 1; t < 8; t++) tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 0xff];
}

static uint32_t crcByTables(uint32_t crc, const uint8_t *bytes, size_t length) {
  if (tables[0][1] == 0) makeTables();
  for (; length >= 8; bytes += 8, length -= 8) {
    crc ^= (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    crc = tables[7][crc & 0xff] ^ tables[6][crc >> 8 & 0xff] ^ tables[5][crc >> 16 & 0xff] ^ tables[4][crc >> 24] ^
          tables[3][bytes[4]] ^ tables[2][bytes[5]] ^ tables[1][bytes[6]] ^ tables[0][bytes[7]];
  }
  while (length-- > 0) crc = crc >> 8 ^ tables[0][(crc ^ *bytes++) & 0xff];
  return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>
__attribute__((target("sse4.2"))) static uint32_t crcByInstruction(uint32_t crc, const uint8_t *bytes, size_t length) {
  uint64_t wide = crc;
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = (uint32_t)wide;
  while (length-- > 0) crc = _mm_crc32_u8(crc, *bytes++);
  return crc;
}
static bool hasInstruction(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
static uint32_t crcByInstruction(uint32_t crc, const uint8_t *bytes, size_t length) {
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    crc = __crc32cd(crc, word);
  }
  while (length-- > 0) crc = __crc32cb(crc, *bytes++);
  return crc;
}
static bool hasInstruction(void) { return true; }
#else
static uint32_t crcByInstruction(uint32_t crc, const uint8_t *bytes, size_t length) {
  return crcByTables(crc, bytes, length);
}
static bool hasInstruction(void) { return false; }
#endif

uint32_t crc32c(uint32_t seed, const uint8_t *bytes, size_t length) {
  static int chosen = -1;
  if (chosen < 0) chosen = hasInstruction();
  return ~(chosen ? crcByInstruction(~seed, bytes, length) : crcByTables(~seed, bytes, length));
}

// ---- varints and cursors

int writeVarint(uint8_t *at, uint32_t value) {
  int bytes = 0;
  for (; value >= 0x80; value >>= 7) at[bytes++] = (uint8_t)(value | 0x80);
  at[bytes++] = (uint8_t)value;
  return bytes;
}

void skip(struct cursor *cursor, size_t bytes) {
  if (cursor->bad || (size_t)(cursor->end - cursor->at) < bytes) cursor->bad = true;
  else cursor->at += bytes;
}

uint16_t take16(struct cursor *cursor) {
  const uint8_t *at = cursor->at;
  skip(cursor, 2);
  return cursor->bad ? 0 : read16(at);
}

uint32_t take32(struct cursor *cursor) {
  const uint8_t *at = cursor->at;
  skip(cursor, 4);
  return cursor->bad ? 0 : read32(at);
}

uint64_t take64(struct cursor *cursor) {
  const uint8_t *at = cursor->at;
  skip(cursor, 8);
  return cursor->bad ? 0 : read64(at);
}

uint32_t takeVarint(struct cursor *cursor) {
  uint32_t value = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    const uint8_t *at = cursor->at;
    skip(cursor, 1);
    if (cursor->bad) return 0;
    value |= (uint32_t)(*at & 0x7f) << shift;
    if (*at < 0x80) return value;
  }
  cursor->bad = true;
  return 0;
}

void skipTags(struct cursor *cursor) {
  for (uint32_t left = takeVarint(cursor); left > 0 && !cursor->bad; left--) {
    takeVarint(cursor);
    skip(cursor, takeVarint(cursor));
  }
}

// ---- lines

static char pending[256];
static size_t pendingBytes;

static char commandIn(void) {
  for (;;) {
    char *end = memchr(pending, '\n', pendingBytes);
    if (end == NULL) return 0;
    char first = pending[0];
    size_t taken = (size_t)(end - pending) + 1;
    memmove(pending, end + 1, pendingBytes - taken);
    pendingBytes -= taken;
    if (first != '\n') return first;
  }
}

char pollCommand(void) {
  char known = commandIn();
  if (known != 0) return known;
  struct pollfd in = {.fd = 0, .events = POLLIN, .revents = 0};
  if (poll(&in, 1, 0) <= 0) return 0;
  ssize_t bytes = read(0, pending + pendingBytes, sizeof pending - pendingBytes);
  // Nobody is there any more: there is nothing to measure for.
  if (bytes == 0) exit(0);
  if (bytes > 0) pendingBytes += (size_t)bytes;
  return commandIn();
}

void awaitCommand(const char *wanted) {
  for (;;) {
    char got = pollCommand();
    if (got == wanted[0]) return;
    if (got == 's') exit(0);
    struct pollfd in = {.fd = 0, .events = POLLIN, .revents = 0};
    poll(&in, 1, -1);
  }
}

void say(const char *line) {
  puts(line);
  fflush(stdout);
}

void failed(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("failed ", stdout);
  vprintf(format, arguments);
  putchar('\n');
  fflush(stdout);
  va_end(arguments);
  exit(1);
}
