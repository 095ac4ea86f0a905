// The plan file, the ledger of acknowledged batches, connections and frames.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

static uint8_t *bytesOfHex(const char *hex, size_t *length) {
  *length = strlen(hex) / 2;
  uint8_t *bytes = malloc(*length + 1);
  for (size_t i = 0; i < *length; i++) {
    unsigned value = 0;
    sscanf(hex + 2 * i, "%2x", &value);
    bytes[i] = (uint8_t)value;
  }
  return bytes;
}

static void copyText(char *to, size_t room, const char *from) {
  if (strlen(from) >= room) failed("too long in the plan: %s", from);
  strcpy(to, from);
}

void readPlan(const char *path, struct plan *plan) {
  memset(plan, 0, sizeof *plan);
  FILE *file = fopen(path, "r");
  if (file == NULL) failed("no plan at %s: %s", path, strerror(errno));
  char *line = NULL;
  size_t room = 0;
  ssize_t length;
  while ((length = getline(&line, &room, file)) > 0) {
    if (line[length - 1] == '\n') line[length - 1] = 0;
    char *value = strchr(line, ' ');
    if (value == NULL) continue;
    *value++ = 0;
#define IS(name) (strcmp(line, name) == 0)
    if (IS("mode")) copyText(plan->mode, sizeof plan->mode, value);
    else if (IS("host")) copyText(plan->host, sizeof plan->host, value);
    else if (IS("port")) plan->port = atoi(value);
    else if (IS("connections")) plan->connections = atoi(value);
    else if (IS("depth")) plan->depth = atoi(value);
    else if (IS("partitions")) plan->partitions = atoi(value);
    else if (IS("rate")) plan->rate = atof(value);
    else if (IS("leadSeconds")) plan->leadSeconds = atof(value);
    else if (IS("seconds")) plan->seconds = atof(value);
    else if (IS("bytesMax")) plan->bytesMax = strtoull(value, NULL, 10);
    else if (IS("topic")) copyText(plan->topic, sizeof plan->topic, value);
    else if (IS("pool")) copyText(plan->pool, sizeof plan->pool, value);
    else if (IS("ledger")) copyText(plan->ledger, sizeof plan->ledger, value);
    else if (IS("recordsPerBatch")) plan->recordsPerBatch = (uint32_t)atol(value);
    else if (IS("head")) plan->head = bytesOfHex(value, &plan->headBytes);
    else if (IS("tail")) plan->tail = bytesOfHex(value, &plan->tailBytes);
    else if (IS("correlationAt")) plan->correlationAt = atoi(value);
    else if (IS("partitionAt")) plan->partitionAt = atoi(value);
    else if (IS("errorAt")) plan->errorAt = atoi(value);
    else if (IS("split")) plan->split = atoi(value) != 0;
    else if (IS("maxWaitMs")) plan->maxWaitMs = atoi(value);
    else if (IS("minBytes")) plan->minBytes = atoi(value);
    else if (IS("fetchBytes")) plan->fetchBytes = (uint32_t)atol(value);
    else if (IS("partitionBytes")) plan->partitionBytes = (uint32_t)atol(value);
    else if (IS("verify")) plan->verify = atoi(value) != 0;
    else if (IS("toEnd")) plan->toEnd = atoi(value) != 0;
    else if (IS("lastBatches")) plan->lastBatches = (uint32_t)atol(value);
    else if (IS("endToEnd")) plan->endToEnd = atoi(value) != 0;
    else failed("unknown in the plan: %s", line);
#undef IS
  }
  free(line);
  fclose(file);
}

// ---- ledger file: partitions, then for each its count and that many CRCs, all 32 bits in the machine's order

void openLedger(struct ledger *ledger, const char *path, int partitions) {
  ledger->partitions = partitions;
  ledger->crcs = calloc((size_t)partitions, sizeof *ledger->crcs);
  ledger->counts = calloc((size_t)partitions, sizeof *ledger->counts);
  ledger->capacities = calloc((size_t)partitions, sizeof *ledger->capacities);
  FILE *file = path[0] == 0 ? NULL : fopen(path, "rb");
  if (file == NULL) return;
  uint32_t stored = 0;
  if (fread(&stored, 4, 1, file) != 1 || stored != (uint32_t)partitions) failed("a ledger of %u partitions", stored);
  for (int p = 0; p < partitions; p++) {
    uint32_t count = 0;
    if (fread(&count, 4, 1, file) != 1) failed("a ledger cut short");
    if (count == 0) continue;
    ledger->crcs[p] = malloc((size_t)count * 4);
    ledger->capacities[p] = ledger->counts[p] = count;
    if (fread(ledger->crcs[p], 4, count, file) != count) failed("a ledger cut short");
  }
  fclose(file);
}

void ledgerPut(struct ledger *ledger, int partition, uint64_t number, uint32_t crc) {
  if (number >= UINT32_MAX / 8) failed("batch %llu of partition %d", (unsigned long long)number, partition);
  if (number >= ledger->capacities[partition]) {
    uint32_t capacity = (uint32_t)number * 2 + 64;
    ledger->crcs[partition] = realloc(ledger->crcs[partition], (size_t)capacity * 4);
    memset(ledger->crcs[partition] + ledger->capacities[partition], 0,
           (size_t)(capacity - ledger->capacities[partition]) * 4);
    ledger->capacities[partition] = capacity;
  }
  if (number >= ledger->counts[partition]) ledger->counts[partition] = (uint32_t)number + 1;
  if (ledger->crcs[partition][number] != 0) failed("offset of batch %llu was given twice", (unsigned long long)number);
  ledger->crcs[partition][number] = crc;
}

uint32_t ledgerGet(const struct ledger *ledger, int partition, uint64_t number) {
  return number < ledger->counts[partition] ? ledger->crcs[partition][number] : 0;
}

void saveLedger(const struct ledger *ledger, const char *path) {
  FILE *file = fopen(path, "wb");
  if (file == NULL) failed("cannot write %s: %s", path, strerror(errno));
  uint32_t partitions = (uint32_t)ledger->partitions;
  fwrite(&partitions, 4, 1, file);
  for (int p = 0; p < ledger->partitions; p++) {
    fwrite(&ledger->counts[p], 4, 1, file);
    fwrite(ledger->crcs[p], 4, ledger->counts[p], file);
  }
  if (fclose(file) != 0) failed("cannot write %s: %s", path, strerror(errno));
}

// ---- sockets

int connectTo(const struct plan *plan) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) failed("no socket: %s", strerror(errno));
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)plan->port)};
  if (inet_pton(AF_INET, plan->host, &address.sin_addr) != 1) failed("no address: %s", plan->host);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    failed("cannot connect to %s:%d: %s", plan->host, plan->port, strerror(errno));
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

enum { frameBytesMax = 256 * 1024 * 1024, readBytesMin = 4096 };

bool receive(int fd, struct input *input) {
  if (input->start == input->end) input->start = input->end = 0;
  size_t have = input->end - input->start;
  size_t wanted = have >= 4 ? (size_t)read32(input->bytes + input->start) + 4 : 0;
  if (wanted > frameBytesMax) failed("a frame of %zu bytes was announced", wanted);
  if (wanted < have + readBytesMin) wanted = have + readBytesMin;
  if (input->capacity - input->start < wanted) {
    if (input->capacity < wanted) {
      input->capacity = wanted + wanted / 4;
      uint8_t *larger = malloc(input->capacity);
      if (larger == NULL) failed("no memory for a frame of %zu bytes", wanted);
      if (have > 0) memcpy(larger, input->bytes + input->start, have);
      free(input->bytes);
      input->bytes = larger;
    } else {
      memmove(input->bytes, input->bytes + input->start, have);
    }
    input->start = 0;
    input->end = have;
  }
  ssize_t got = recv(fd, input->bytes + input->end, input->capacity - input->end, 0);
  if (got > 0) input->end += (size_t)got;
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

uint8_t *nextFrame(struct input *input, size_t *length) {
  size_t have = input->end - input->start;
  if (have < 4) return NULL;
  *length = read32(input->bytes + input->start);
  if (have - 4 < *length) return NULL;
  uint8_t *frame = input->bytes + input->start + 4;
  input->start += 4 + *length;
  return frame;
}
