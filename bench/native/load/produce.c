// Sends requests from a template over many connections: Produce requests with batches of a pool, or any other request as
// it is. Open loop (`rate` > 0): request k is due at start + k / rate, whether or not a connection is free, and its
// latency counts from there, so that a broker that stalls is charged for what it kept from being sent. Closed loop: each
// answer sends the next request, and latency counts from the sending.
//
//   connection   | answered | in flight … | being sent | free |      at most `depth`, in order
//   a batch belongs to one request from its sending to its answer, and then goes to the end of the free list
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "load.h"

enum { refusedPauseNanos = 20000000, drainSeconds = 10, eventsAtOnce = 256, piecesAtOnce = 48 };
// Below this distance due requests are sent together: a wake-up each would cost more than it tells.
enum { wakeNanosMin = 50000 };

struct batch {
  uint8_t *bytes;
  uint32_t length;
  uint32_t patch;  // 0 as it is, 1 counter at the end, 2 both timestamps
  uint32_t seed;   // CRC of what lies before the counter
  struct batch *next;
};

struct request {
  uint64_t since;
  struct batch *batch;
  uint32_t crc;
  int partition;
  size_t prefixBytes;
  uint8_t prefix[320];
};

struct connection {
  int fd;
  bool wantsWrite, idle;
  struct request *requests;  // ring of `depth`
  unsigned first, count;     // in flight, the ones being sent included
  unsigned unsent;           // of them, the last ones that are not sent whole
  size_t sentOfFirst;        // bytes of the first unsent one
  struct input input;
};

struct refused {
  uint64_t at, since;
  struct batch *batch;
  int partition;
};

static const struct plan *plan;
static struct connection *connections;
static int *idleRing, idleHead, idleCount;
static struct batch *freeFirst, *freeLast;
static uint64_t counter, timeBase;
static struct refused *refusedList;
static int refusedFirst, refusedCount, refusedRoom;
static int partitionNext, inFlight, epollFd;
static uint64_t begin, end, startAt, dueIndex, acknowledgedBytes, refusals;
static uint64_t windowRequests, windowBytes, allRequests, slipMax;
static bool sending = true, counting;
static struct histogram latency;
static struct ledger ledger;

static void loadPool(void) {
  FILE *file = fopen(plan->pool, "rb");
  if (file == NULL) failed("no batches at %s: %s", plan->pool, strerror(errno));
  uint32_t header[2];
  while (fread(header, 4, 2, file) == 2) {
    struct batch *batch = calloc(1, sizeof *batch);
    batch->length = header[0];
    batch->patch = header[1];
    batch->bytes = malloc(batch->length);
    if (fread(batch->bytes, 1, batch->length, file) != batch->length) failed("batches cut short");
    if (batch->patch == 1)
      batch->seed = crc32c(0, batch->bytes + batchCrcStart, batch->length - batchCrcStart - batchTrailer);
    if (batch->patch == 2) timeBase = read64(batch->bytes + batchBaseTimeAt);
    if (freeLast == NULL) freeFirst = batch;
    else freeLast->next = batch;
    freeLast = batch;
  }
  fclose(file);
}

static void giveBack(struct batch *batch) {
  if (batch == NULL) return;
  batch->next = NULL;
  if (freeFirst == NULL) freeFirst = batch;
  else freeLast->next = batch;
  freeLast = batch;
}

// Makes the batch unlike any other. What is due at the same nanosecond gets the next one.
static uint32_t stamp(struct batch *batch, uint64_t since) {
  if (batch->patch == 1) {
    counter = since > counter ? since : counter + 1;
    uint8_t *at = batch->bytes + batch->length - batchTrailer;
    write64(at, counter);
    write32(batch->bytes + batchCrcAt, crc32c(batch->seed, at, batchTrailer));
  } else if (batch->patch == 2) {
    uint64_t time = timeBase - counter++ % 1000000;
    write64(batch->bytes + batchBaseTimeAt, time);
    write64(batch->bytes + batchMaxTimeAt, time);
    write32(batch->bytes + batchCrcAt,
            crc32c(0, batch->bytes + batchCrcStart, batch->length - batchCrcStart));
  }
  return read32(batch->bytes + batchCrcAt);
}

static void watch(struct connection *connection, bool write) {
  if (connection->wantsWrite == write) return;
  connection->wantsWrite = write;
  struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0)};
  event.data.u32 = (uint32_t)(connection - connections);
  if (epoll_ctl(epollFd, EPOLL_CTL_MOD, connection->fd, &event) != 0) failed("epoll: %s", strerror(errno));
}

static int piecesOf(struct request *request, struct iovec *pieces) {
  int n = 0;
  pieces[n++] = (struct iovec){request->prefix, request->prefixBytes};
  if (request->batch != NULL) {
    pieces[n++] = (struct iovec){request->batch->bytes, request->batch->length};
    if (plan->tailBytes > 0) pieces[n++] = (struct iovec){plan->tail, plan->tailBytes};
  }
  return n;
}

static void flush(struct connection *connection) {
  while (connection->unsent > 0) {
    struct iovec pieces[piecesAtOnce];
    int count = 0;
    size_t total = 0;
    for (unsigned i = 0; i < connection->unsent && count + 3 <= piecesAtOnce; i++) {
      unsigned at = (connection->first + connection->count - connection->unsent + i) % (unsigned)plan->depth;
      count += piecesOf(&connection->requests[at], pieces + count);
    }
    size_t past = connection->sentOfFirst;
    struct iovec *from = pieces;
    for (; past >= from->iov_len; from++) past -= from->iov_len;
    from->iov_base = (uint8_t *)from->iov_base + past;
    from->iov_len -= past;
    for (struct iovec *piece = from; piece < pieces + count; piece++) total += piece->iov_len;
    struct msghdr message = {.msg_iov = from, .msg_iovlen = (size_t)(pieces + count - from)};
    ssize_t sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN) break;
      if (errno == EINTR) continue;
      failed("send: %s", strerror(errno));
    }
    connection->sentOfFirst += (size_t)sent;
    while (connection->unsent > 0) {
      unsigned at = (connection->first + connection->count - connection->unsent) % (unsigned)plan->depth;
      struct request *request = &connection->requests[at];
      size_t whole = request->prefixBytes + (request->batch == NULL ? 0 : request->batch->length + plan->tailBytes);
      if (connection->sentOfFirst < whole) break;
      connection->sentOfFirst -= whole;
      connection->unsent--;
    }
    if ((size_t)sent < total) break;
  }
  watch(connection, connection->unsent > 0);
}

static void sendRequest(struct connection *connection, uint64_t since, struct batch *batch, int partition) {
  unsigned at = (connection->first + connection->count) % (unsigned)plan->depth;
  struct request *request = &connection->requests[at];
  static uint32_t correlation;
  request->since = since;
  request->batch = batch;
  request->partition = partition;
  memcpy(request->prefix, plan->head, plan->headBytes);
  size_t bytes = plan->headBytes;
  if (batch != NULL) {
    request->crc = stamp(batch, since);
    write32(request->prefix + plan->partitionAt, (uint32_t)partition);
    bytes += (size_t)writeVarint(request->prefix + bytes, batch->length + 1);
  }
  request->prefixBytes = bytes;
  write32(request->prefix, (uint32_t)(bytes - 4 + (batch == NULL ? 0 : batch->length + plan->tailBytes)));
  write32(request->prefix + plan->correlationAt, correlation++ & 0x7fffffff);
  connection->count++;
  connection->unsent++;
  inFlight++;
  if (connection->unsent == 1) flush(connection);
}

static void sendNew(struct connection *connection, uint64_t since) {
  struct batch *batch = NULL;
  int partition = 0;
  if (plan->pool[0] != 0) {
    batch = freeFirst;
    if (batch == NULL) failed("too few batches for what is in flight");
    freeFirst = batch->next;
    if (freeFirst == NULL) freeLast = NULL;
    partition = partitionNext;
    partitionNext = (partitionNext + 1) % plan->partitions;
  }
  sendRequest(connection, since, batch, partition);
}

static void refuse(uint64_t since, struct batch *batch, int partition) {
  if (refusedCount == refusedRoom) failed("more than %d refused requests at once", refusedRoom);
  struct refused *entry = &refusedList[(refusedFirst + refusedCount++) % refusedRoom];
  *entry = (struct refused){.at = nowNanos() + refusedPauseNanos, .since = since, .batch = batch, .partition = partition};
  refusals++;
}

static void pushIdle(int index) {
  idleRing[(idleHead + idleCount++) % (plan->connections * plan->depth)] = index;
}

static struct connection *popIdle(void) {
  struct connection *connection = &connections[idleRing[idleHead]];
  idleHead = (idleHead + 1) % (plan->connections * plan->depth);
  idleCount--;
  return connection;
}

static bool isRefusal(int error) {
  // UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS: nothing was appended.
  // All else may be in the log, and would be there twice.
  return error == 3 || error == 5 || error == 6 || error == 19;
}

static void answered(struct connection *connection, const uint8_t *frame, size_t length, uint64_t now) {
  struct request *request = &connection->requests[connection->first];
  if (connection->count == connection->unsent) failed("an answer that nobody waits for");
  if (length < 4 || read32(frame) != read32(request->prefix + plan->correlationAt)) failed("an answer out of order");
  struct batch *batch = request->batch;
  connection->first = (connection->first + 1) % (unsigned)plan->depth;
  connection->count--;
  inFlight--;
  int error = 0;
  if (plan->errorAt > 0) {
    if (length < (size_t)plan->errorAt + 2) failed("an answer of %zu bytes", length);
    error = (int16_t)read16(frame + plan->errorAt);
  }
  if (error != 0) {
    if (!isRefusal(error) || batch == NULL) failed("the broker answered with error %d", error);
    refuse(request->since, batch, request->partition);
  } else {
    uint32_t bytes = batch == NULL ? (uint32_t)length : batch->length;
    allRequests++;
    acknowledgedBytes += bytes;
    if (batch != NULL && plan->ledger[0] != 0) {
      if (length < (size_t)plan->errorAt + 10) failed("an answer of %zu bytes", length);
      uint64_t offset = read64(frame + plan->errorAt + 2);
      if (offset % plan->recordsPerBatch != 0) failed("offset %llu", (unsigned long long)offset);
      ledgerPut(&ledger, request->partition, offset / plan->recordsPerBatch, request->crc);
    }
    if (counting) {
      windowRequests++;
      windowBytes += bytes;
    }
    bool inWindow = plan->rate > 0 ? request->since >= begin && request->since < end : counting;
    if (inWindow) histogramAdd(&latency, now > request->since ? now - request->since : 0);
    giveBack(batch);
  }
  // A refused request takes the place that it had, after its pause.
  if (plan->rate > 0 || !sending || error != 0) pushIdle((int)(connection - connections));
  else sendNew(connection, now);
}

static double intervalNanos(void) { return 1e9 / plan->rate; }
static uint64_t dueAt(uint64_t index) { return startAt + (uint64_t)((double)index * intervalNanos()); }

static void sendDue(uint64_t now) {
  while (refusedCount > 0 && idleCount > 0 && refusedList[refusedFirst].at <= now) {
    struct refused entry = refusedList[refusedFirst];
    refusedFirst = (refusedFirst + 1) % refusedRoom;
    refusedCount--;
    sendRequest(popIdle(), entry.since, entry.batch, entry.partition);
  }
  if (!sending || plan->rate <= 0) return;
  while (idleCount > 0) {
    uint64_t due = dueAt(dueIndex);
    if (due > now || due >= end) break;
    if (counting && now - due > slipMax) slipMax = now - due;
    dueIndex++;
    sendNew(popIdle(), due);
  }
}

// Connections are opened and the first requests come before anything is counted.
static void openAll(void) {
  connections = calloc((size_t)plan->connections, sizeof *connections);
  idleRing = calloc((size_t)plan->connections * (size_t)plan->depth, sizeof *idleRing);
  refusedRoom = plan->connections * plan->depth;
  refusedList = calloc((size_t)refusedRoom, sizeof *refusedList);
  epollFd = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < plan->connections; i++) {
    struct connection *connection = &connections[i];
    connection->fd = connectTo(plan);
    connection->requests = calloc((size_t)plan->depth, sizeof *connection->requests);
    struct epoll_event event = {.events = EPOLLIN};
    event.data.u32 = (uint32_t)i;
    if (epoll_ctl(epollFd, EPOLL_CTL_ADD, connection->fd, &event) != 0) failed("epoll: %s", strerror(errno));
  }
  // Neighbours in the list are on different connections.
  for (int d = 0; d < plan->depth; d++)
    for (int i = 0; i < plan->connections; i++) pushIdle(i);
}

static void setTimer(int fd, uint64_t at) {
  struct itimerspec when = {.it_value = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)}};
  timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static uint64_t nextWake(uint64_t now) {
  uint64_t wake = now + 100000000;
  if (!counting && sending && begin < wake) wake = begin;
  if (end > now && end < wake) wake = end;
  if (refusedCount > 0 && refusedList[refusedFirst].at < wake) wake = refusedList[refusedFirst].at;
  if (sending && plan->rate > 0 && idleCount > 0) {
    uint64_t due = dueAt(dueIndex);
    if (due < now + wakeNanosMin) due = now + wakeNanosMin;
    if (due < wake) wake = due;
  }
  return wake > now ? wake : now + 1000;
}

static void report(double cpu, uint64_t firstUnsent, double windowSeconds) {
  // What was due and never sent waits still.
  uint64_t unsent = 0;
  uint64_t now = nowNanos();
  if (plan->rate > 0) {
    for (; dueAt(firstUnsent + unsent) < end; unsent++) histogramAdd(&latency, now - dueAt(firstUnsent + unsent));
  }
  printf("result {\"requests\":%llu,\"bytes\":%llu,\"seconds\":%.6f,\"allRequests\":%llu,\"allBytes\":%llu,",
         (unsigned long long)windowRequests, (unsigned long long)windowBytes, windowSeconds,
         (unsigned long long)allRequests, (unsigned long long)acknowledgedBytes);
  printf("\"refused\":%llu,\"unsent\":%llu,\"unanswered\":%d,\"slipMs\":%.3f,\"cpuSeconds\":%.4f,\"latency\":",
         (unsigned long long)refusals, (unsigned long long)unsent, inFlight + refusedCount, (double)slipMax / 1e6, cpu);
  histogramPrint(&latency);
  say("}");
}

void runProduce(const struct plan *given) {
  plan = given;
  if (plan->headBytes + 5 > sizeof((struct request *)0)->prefix) failed("a head of %zu bytes", plan->headBytes);
  if (plan->pool[0] != 0) {
    loadPool();
    openLedger(&ledger, plan->ledger, plan->partitions);
  }
  openAll();
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  event.data.u32 = UINT32_MAX;
  epoll_ctl(epollFd, EPOLL_CTL_ADD, timer, &event);
  say("ready");
  awaitCommand("g");
  startAt = nowNanos();
  begin = startAt + (uint64_t)(plan->leadSeconds * 1e9);
  end = begin + (uint64_t)(plan->seconds * 1e9);
  if (plan->rate <= 0)
    while (idleCount > 0) sendNew(popIdle(), nowNanos());
  double cpuBegin = 0, cpu = 0, windowSeconds = plan->seconds;
  uint64_t firstUnsent = 0, lastCommand = startAt, countedFrom = 0;
  for (;;) {
    uint64_t now = nowNanos();
    if (sending && !counting && now >= begin) {
      counting = true;
      countedFrom = now;
      cpuBegin = cpuSeconds();
      say("begin");
    }
    bool full = plan->bytesMax > 0 && windowBytes >= plan->bytesMax;
    if (sending && counting && (now >= end || full)) {
      sending = counting = false;
      cpu = cpuSeconds() - cpuBegin;
      windowSeconds = (double)(now - countedFrom) / 1e9;
      firstUnsent = dueIndex;
      if (now < end) end = now;
      say("end");
    }
    if (!sending && ((inFlight == 0 && refusedCount == 0) || now > end + (uint64_t)drainSeconds * 1000000000u)) break;
    sendDue(now);
    setTimer(timer, nextWake(nowNanos()));
    struct epoll_event events[eventsAtOnce];
    int count = epoll_wait(epollFd, events, eventsAtOnce, 1000);
    now = nowNanos();
    for (int i = 0; i < count; i++) {
      if (events[i].data.u32 == UINT32_MAX) {
        uint64_t ticks;
        if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) failed("timer: %s", strerror(errno));
        continue;
      }
      struct connection *connection = &connections[events[i].data.u32];
      if (events[i].events & EPOLLOUT) flush(connection);
      if ((events[i].events & ~(uint32_t)EPOLLOUT) == 0) continue;
      if (!receive(connection->fd, &connection->input)) failed("the broker closed a connection");
      size_t length;
      uint8_t *frame;
      while ((frame = nextFrame(&connection->input, &length)) != NULL) answered(connection, frame, length, now);
    }
    if (now - lastCommand > 100000000u) {
      lastCommand = now;
      char command = pollCommand();
      if (command == 's') exit(0);
      if (command == 'e' && counting) end = now;
    }
  }
  if (plan->ledger[0] != 0) saveLedger(&ledger, plan->ledger);
  report(cpu, firstUnsent, windowSeconds);
}
