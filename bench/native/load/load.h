// A light Kafka client that only makes load: one thread, one epoll, requests from templates, no decoding but of what is
// counted. The harness writes a plan (lines "key value"), and the two talk by lines:
//
//   harness → load    go · mark · end (of the window, before its time) · stop
//   load → harness    ready · begin · end · snapshot {json} · result {json} · failed text
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

// ---- time, in nanoseconds of the monotonic clock, which all processes of a machine share

uint64_t nowNanos(void);
double cpuSeconds(void);

// ---- histogram: 128 steps to each power of two, so within 0.8 %

enum { histogramSteps = 128, histogramSlots = 58 * histogramSteps };

struct histogram {
  uint64_t counts[histogramSlots];
  uint64_t count;
};

void histogramAdd(struct histogram *histogram, uint64_t nanos);
// Writes [[nanos,count],…].
void histogramPrint(const struct histogram *histogram);

// ---- checksums

uint32_t crc32c(uint32_t seed, const uint8_t *bytes, size_t length);

// ---- big-endian numbers

static inline uint16_t read16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }
static inline uint32_t read32(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}
static inline uint64_t read64(const uint8_t *at) { return (uint64_t)read32(at) << 32 | read32(at + 4); }
static inline void write16(uint8_t *at, uint16_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}
static inline void write32(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (24 - 8 * i));
}
static inline void write64(uint8_t *at, uint64_t value) {
  write32(at, (uint32_t)(value >> 32));
  write32(at + 4, (uint32_t)value);
}
// Returns how many bytes it took, at most 5.
int writeVarint(uint8_t *at, uint32_t value);

// A place in an answer; `bad` once it would have left it.
struct cursor {
  const uint8_t *at, *end;
  bool bad;
};
uint32_t take32(struct cursor *cursor);
uint64_t take64(struct cursor *cursor);
uint16_t take16(struct cursor *cursor);
uint32_t takeVarint(struct cursor *cursor);
void skip(struct cursor *cursor, size_t bytes);
void skipTags(struct cursor *cursor);

// ---- where things lie in a record batch

enum {
  batchLengthAt = 8,
  batchOverhead = 12,
  batchCrcAt = 17,
  batchCrcStart = 21,
  batchLastDeltaAt = 23,
  batchBaseTimeAt = 27,
  batchMaxTimeAt = 35,
  batchHeaderBytes = 61,
  // An uncompressed batch ends with the last value's 8 bytes of counter and the record's count of headers.
  batchTrailer = 9,
};

// ---- plan

struct plan {
  char mode[16];  // produce, request, consume
  char host[64];
  int port;
  int connections;
  int depth;
  int partitions;
  double rate;  // requests a second; 0 = as answers come
  double leadSeconds, seconds;
  uint64_t bytesMax;  // the window ends with so many acknowledged; 0 = no bound
  char topic[250];
  char pool[512];      // file of batches
  char ledger[512];    // file of acknowledged batches' CRCs
  uint32_t recordsPerBatch;
  uint8_t *head, *tail;  // around the records of a produce request; of a plain request all is head
  size_t headBytes, tailBytes;
  int correlationAt, partitionAt, errorAt;
  bool split;  // consume: partitions are shared among the consumers instead of read by each
  int maxWaitMs, minBytes;
  uint32_t fetchBytes, partitionBytes;
  bool verify;   // consume: compare with the ledger, and each batch with its CRC
  bool toEnd;    // consume: each partition ends where the ledger does
  uint32_t lastBatches;  // consume to the end: begins so many batches before it; 0 = at the beginning
  bool endToEnd;  // batches carry the time they were due
};

void readPlan(const char *path, struct plan *plan);

// ---- CRCs of acknowledged batches, by partition and number of the batch in it (offset ÷ records per batch)

struct ledger {
  int partitions;
  uint32_t **crcs;  // 0 = not acknowledged
  uint32_t *counts, *capacities;
};
void openLedger(struct ledger *ledger, const char *path, int partitions);
void ledgerPut(struct ledger *ledger, int partition, uint64_t number, uint32_t crc);
uint32_t ledgerGet(const struct ledger *ledger, int partition, uint64_t number);
void saveLedger(const struct ledger *ledger, const char *path);

// ---- sockets

struct input {
  uint8_t *bytes;
  size_t capacity, start, end;
};
int connectTo(const struct plan *plan);
// Reads what is there. False = the other side closed.
bool receive(int fd, struct input *input);
// The next whole frame behind its size field, or NULL.
uint8_t *nextFrame(struct input *input, size_t *length);

// ---- commands

// Waits for one line of the harness; exits when there is nobody any more.
void awaitCommand(const char *wanted);
// A command that has come, without waiting: 'g', 'm', 'e', 's', or 0.
char pollCommand(void);
void say(const char *line);
_Noreturn void failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

void runProduce(const struct plan *plan);
void runConsume(const struct plan *plan);
