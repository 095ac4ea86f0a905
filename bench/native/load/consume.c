// Consumers without a group: each has a connection, one fetch under way and an incremental fetch session (KIP-227). They
// look at batch headers only; with `verify` each batch's CRC is taken and compared with that of the acknowledged one.
//
//   session   epoch 0 names all partitions; from then on only those whose offset has moved
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum { eventsAtOnce = 64, requestRoomPerPartition = 40, requestRoomFixed = 512 };

struct consumer {
  int fd;
  int first, step;      // partitions first, first + step, …
  int partitions, left;  // how many of them, and those not at their end
  uint64_t *offsets;    // by place among its own
  bool *moved, *ended;
  int32_t sessionId, sessionEpoch;
  uint32_t correlation;
  uint8_t *request;
  size_t requestBytes, sent;
  struct input input;
  uint64_t bytes, finishedAt;
};

static const struct plan *plan;
static struct consumer *consumers;
static struct ledger ledger;
static uint64_t totalBytes, totalBatches, answers, unacknowledged, checkedBatches, late, startedAt;
static int epollFd, unfinished;
static struct histogram endToEnd;

static uint64_t endOf(int partition) { return (uint64_t)ledger.counts[partition] * plan->recordsPerBatch; }

static void flush(struct consumer *consumer) {
  while (consumer->sent < consumer->requestBytes) {
    ssize_t sent =
        send(consumer->fd, consumer->request + consumer->sent, consumer->requestBytes - consumer->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) failed("send: %s", strerror(errno));
    if (sent > 0) consumer->sent += (size_t)sent;
    else break;
  }
  struct epoll_event event = {.events = EPOLLIN | (consumer->sent < consumer->requestBytes ? EPOLLOUT : 0)};
  event.data.u32 = (uint32_t)(consumer - consumers);
  epoll_ctl(epollFd, EPOLL_CTL_MOD, consumer->fd, &event);
}

// Fetch of version 12, header of version 2.
static void fetch(struct consumer *consumer) {
  uint8_t *at = consumer->request + 4;
  write16(at, 1);
  write16(at + 2, 12);
  write32(at + 4, ++consumer->correlation & 0x7fffffff);
  write16(at + 8, 4);
  memcpy(at + 10, "load", 4);
  at[14] = 0;
  at += 15;
  write32(at, (uint32_t)-1);
  write32(at + 4, (uint32_t)plan->maxWaitMs);
  write32(at + 8, (uint32_t)plan->minBytes);
  write32(at + 12, plan->fetchBytes);
  at[16] = 0;
  write32(at + 17, (uint32_t)consumer->sessionId);
  write32(at + 21, (uint32_t)consumer->sessionEpoch);
  at += 25;
  uint32_t moved = 0;
  for (int i = 0; i < consumer->partitions; i++) moved += consumer->moved[i];
  at += writeVarint(at, moved == 0 ? 1 : 2);
  if (moved > 0) {
    size_t name = strlen(plan->topic);
    at += writeVarint(at, (uint32_t)name + 1);
    memcpy(at, plan->topic, name);
    at += name;
    at += writeVarint(at, moved + 1);
    for (int i = 0; i < consumer->partitions; i++) {
      if (!consumer->moved[i]) continue;
      consumer->moved[i] = false;
      write32(at, (uint32_t)(consumer->first + i * consumer->step));
      write32(at + 4, (uint32_t)-1);
      write64(at + 8, consumer->offsets[i]);
      write32(at + 16, (uint32_t)-1);
      write64(at + 20, (uint64_t)-1);
      write32(at + 28, plan->partitionBytes);
      at[32] = 0;
      at += 33;
    }
    *at++ = 0;
  }
  *at++ = 1;  // nothing forgotten
  *at++ = 1;  // no rack
  *at++ = 0;
  consumer->requestBytes = (size_t)(at - consumer->request);
  write32(consumer->request, (uint32_t)consumer->requestBytes - 4);
  consumer->sent = 0;
  flush(consumer);
}

static void takeBatches(struct consumer *consumer, int partition, const uint8_t *bytes, size_t length, uint64_t now) {
  int own = (partition - consumer->first) / consumer->step;
  uint64_t due = consumer->offsets[own];
  while (length >= batchHeaderBytes) {
    size_t whole = (size_t)read32(bytes + batchLengthAt) + batchOverhead;
    if (whole > length) break;
    uint64_t base = read64(bytes), next = base + read32(bytes + batchLastDeltaAt) + 1;
    if (next > due) {
      if (base > due) failed("partition %d: a batch at %llu, %llu was due", partition, (unsigned long long)base,
                             (unsigned long long)due);
      due = next;
      consumer->bytes += whole;
      totalBytes += whole;
      totalBatches++;
      if (plan->endToEnd) {
        uint64_t since = read64(bytes + whole - batchTrailer);
        histogramAdd(&endToEnd, now > since ? now - since : 0);
      }
      if (plan->verify) {
        uint32_t stored = read32(bytes + batchCrcAt);
        if (crc32c(0, bytes + batchCrcStart, whole - batchCrcStart) != stored)
          failed("partition %d: the batch at %llu is not what its CRC says", partition, (unsigned long long)base);
        uint32_t acknowledged = ledgerGet(&ledger, partition, base / plan->recordsPerBatch);
        if (acknowledged == 0) unacknowledged++;
        else if (acknowledged != stored)
          failed("partition %d: the batch at %llu is not the one that was acknowledged", partition,
                 (unsigned long long)base);
        else checkedBatches++;
      }
    }
    bytes += whole;
    length -= whole;
  }
  consumer->moved[own] = true;
  consumer->offsets[own] = due;
  if (plan->toEnd && !consumer->ended[own] && due >= endOf(partition)) {
    consumer->ended[own] = true;
    consumer->left--;
  }
}

static void answered(struct consumer *consumer, const uint8_t *frame, size_t length, uint64_t now) {
  struct cursor cursor = {frame, frame + length, false};
  if (take32(&cursor) != (consumer->correlation & 0x7fffffff)) failed("an answer out of order");
  skipTags(&cursor);
  skip(&cursor, 4);
  int error = (int16_t)take16(&cursor);
  int32_t session = (int32_t)take32(&cursor);
  answers++;
  // FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH
  if (error == 70 || error == 71) {
    consumer->sessionId = consumer->sessionEpoch = 0;
    for (int i = 0; i < consumer->partitions; i++) consumer->moved[i] = true;
    return;
  }
  if (error != 0) failed("fetch was answered with error %d", error);
  for (uint32_t topics = takeVarint(&cursor); topics > 1 && !cursor.bad; topics--) {
    skip(&cursor, takeVarint(&cursor) - 1);
    for (uint32_t parts = takeVarint(&cursor); parts > 1 && !cursor.bad; parts--) {
      int partition = (int)take32(&cursor);
      int trouble = (int16_t)take16(&cursor);
      skip(&cursor, 24);
      for (uint32_t aborted = takeVarint(&cursor); aborted > 1 && !cursor.bad; aborted--) {
        skip(&cursor, 16);
        skipTags(&cursor);
      }
      skip(&cursor, 4);
      uint32_t records = takeVarint(&cursor);
      const uint8_t *at = cursor.at;
      if (records > 1) skip(&cursor, records - 1);
      skipTags(&cursor);
      if (cursor.bad) break;
      // KAFKA_STORAGE_ERROR: the store did not answer in time; asked again.
      if (trouble == 56) {
        late++;
        consumer->moved[(partition - consumer->first) / consumer->step] = true;
      } else if (trouble != 0) failed("partition %d was answered with error %d", partition, trouble);
      else if (records > 1) takeBatches(consumer, partition, at, records - 1, now);
    }
    skipTags(&cursor);
  }
  if (cursor.bad) failed("an answer that cannot be read");
  consumer->sessionId = session;
  if (session == 0) {
    for (int i = 0; i < consumer->partitions; i++) consumer->moved[i] = true;
  } else {
    consumer->sessionEpoch++;
  }
}

static void printState(const char *what, double cpu) {
  printf("%s {\"bytes\":%llu,\"batches\":%llu,\"answers\":%llu,\"late\":%llu,\"unacknowledged\":%llu,"
         "\"checked\":%llu,\"unfinished\":%d,\"cpuSeconds\":%.4f,\"nanos\":%llu",
         what, (unsigned long long)totalBytes, (unsigned long long)totalBatches, (unsigned long long)answers,
         (unsigned long long)late, (unsigned long long)unacknowledged, (unsigned long long)checkedBatches, unfinished,
         cpu, (unsigned long long)nowNanos());
  printf(",\"finishedSeconds\":[");
  if (plan->toEnd)
    for (int i = 0; i < plan->connections; i++)
      printf("%s%.4f", i == 0 ? "" : ",",
             consumers[i].finishedAt == 0 ? -1.0 : (double)(consumers[i].finishedAt - startedAt) / 1e9);
  printf("],\"endToEnd\":");
  histogramPrint(&endToEnd);
  say("}");
}

static void openAll(void) {
  consumers = calloc((size_t)plan->connections, sizeof *consumers);
  epollFd = epoll_create1(EPOLL_CLOEXEC);
  for (int c = 0; c < plan->connections; c++) {
    struct consumer *consumer = &consumers[c];
    consumer->first = plan->split ? c % plan->partitions : 0;
    consumer->step = plan->split ? plan->connections : 1;
    if (plan->split && plan->connections > plan->partitions) consumer->step = plan->partitions;
    consumer->partitions = (plan->partitions - consumer->first + consumer->step - 1) / consumer->step;
    size_t count = (size_t)consumer->partitions;
    consumer->offsets = calloc(count, sizeof *consumer->offsets);
    consumer->moved = malloc(count);
    consumer->ended = calloc(count, 1);
    memset(consumer->moved, 1, count);
    consumer->request = malloc(requestRoomFixed + count * requestRoomPerPartition);
    consumer->left = consumer->partitions;
    for (int i = 0; i < consumer->partitions && plan->toEnd; i++) {
      uint32_t batches = ledger.counts[consumer->first + i * consumer->step];
      if (plan->lastBatches > 0 && batches > plan->lastBatches)
        consumer->offsets[i] = (uint64_t)(batches - plan->lastBatches) * plan->recordsPerBatch;
      if (batches > 0) continue;
      consumer->ended[i] = true;
      consumer->left--;
    }
    consumer->fd = connectTo(plan);
    struct epoll_event event = {.events = EPOLLIN};
    event.data.u32 = (uint32_t)c;
    if (epoll_ctl(epollFd, EPOLL_CTL_ADD, consumer->fd, &event) != 0) failed("epoll: %s", strerror(errno));
  }
}

void runConsume(const struct plan *given) {
  plan = given;
  openLedger(&ledger, plan->ledger, plan->partitions);
  openAll();
  struct epoll_event input = {.events = EPOLLIN};
  input.data.u32 = UINT32_MAX;
  epoll_ctl(epollFd, EPOLL_CTL_ADD, 0, &input);
  say("ready");
  awaitCommand("g");
  startedAt = nowNanos();
  double cpuBegin = cpuSeconds();
  for (int c = 0; c < plan->connections; c++) {
    if (plan->toEnd && consumers[c].left == 0) continue;
    unfinished++;
    fetch(&consumers[c]);
  }
  while (!plan->toEnd || unfinished > 0) {
    struct epoll_event events[eventsAtOnce];
    int count = epoll_wait(epollFd, events, eventsAtOnce, -1);
    uint64_t now = nowNanos();
    for (int i = 0; i < count; i++) {
      if (events[i].data.u32 == UINT32_MAX) {
        char command = pollCommand();
        if (command == 's') exit(0);
        if (command == 'm') printState("snapshot", cpuSeconds() - cpuBegin);
        continue;
      }
      struct consumer *consumer = &consumers[events[i].data.u32];
      if (events[i].events & EPOLLOUT) flush(consumer);
      if ((events[i].events & ~(uint32_t)EPOLLOUT) == 0) continue;
      if (!receive(consumer->fd, &consumer->input)) failed("the broker closed a connection");
      size_t length;
      uint8_t *frame;
      while ((frame = nextFrame(&consumer->input, &length)) != NULL) {
        answered(consumer, frame, length, now);
        if (plan->toEnd && consumer->left == 0) {
          consumer->finishedAt = now;
          unfinished--;
          break;
        }
        fetch(consumer);
      }
    }
  }
  printState("result", cpuSeconds() - cpuBegin);
}
