// Sending for the connections of a socket loop: at once as far as the kernel takes it, the rest when epoll says so.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>

#include "socket-loop.h"

namespace millrace {
namespace {

constexpr size_t kVectorsPerCall = 1024;  // IOV_MAX of Linux

// Sends vectors until the kernel takes no more. Returns bytes taken, or -errno when the connection has failed.
int64_t sendVectors(int fd, iovec* vectors, size_t count, size_t bytesMax) {
  int64_t total = 0;
  size_t first = 0;
  if (count == 1) {
    // Most answers: spares the kernel the copy of a header and a vector.
    ssize_t sent;
    do sent = send(fd, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? 0 : -errno;
    vectors[0].iov_base = static_cast<uint8_t*>(vectors[0].iov_base) + sent;
    vectors[0].iov_len -= static_cast<size_t>(sent);
    return sent;
  }
  while (first < count && static_cast<size_t>(total) < bytesMax) {
    msghdr message{};
    message.msg_iov = vectors + first;
    message.msg_iovlen = std::min(count - first, kVectorsPerCall);
    const ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) break;
      return -errno;
    }
    total += sent;
    auto left = static_cast<size_t>(sent);
    while (first < count && left >= vectors[first].iov_len) left -= vectors[first++].iov_len;
    if (left > 0) {
      // A short write: the buffer is full, and epoll says when it is not.
      vectors[first].iov_base = static_cast<uint8_t*>(vectors[first].iov_base) + left;
      vectors[first].iov_len -= left;
      break;
    }
  }
  return total;
}

enum Source : uint32_t { kFromArena = 0, kFromStaging = 1, kFromOutside = 2 };
enum Outcome : uint32_t { kAllTaken = 0, kSomeQueued = 1, kSendFailed = 2, kBadEntry = 3 };
constexpr size_t kEntryWords = 4;  // slot, source or number of the outside buffer + kFromOutside, position, length

struct Sending {
  napi_env env;
  SocketLoop* loop;
  Bytes staging;
  napi_value outside;
};

// Adds the entry's bytes to the vectors; false where it lies outside of its memory.
bool vectorOf(const Sending& sending, const uint32_t* entry, iovec& vector) {
  Bytes memory{nullptr, 0};
  if (entry[1] == kFromArena) {
    const Arena& arena = arenaOf(sending.loop);
    memory = {arena.data, arena.length};
  } else if (entry[1] == kFromStaging) {
    memory = sending.staging;
  } else {
    napi_value buffer;
    must(napi_get_element(sending.env, sending.outside, entry[1] - kFromOutside, &buffer), "no such buffer");
    memory = bytesOf(sending.env, buffer);
  }
  const size_t position = entry[2];
  const size_t length = entry[3];
  if (position > memory.length || length > memory.length - position) return false;
  vector = {memory.data + position, length};
  return true;
}

void enqueue(SocketConnection* connection, const iovec& vector, bool inArena) {
  const auto* data = static_cast<const uint8_t*>(vector.iov_base);
  const size_t length = vector.iov_len;
  if (length == 0) return;
  std::unique_ptr<uint8_t[]> owned;
  if (!inArena) {
    owned.reset(new uint8_t[length]);
    memcpy(owned.get(), data, length);
    data = owned.get();
  }
  connection->queue.push_back({data, length, std::move(owned)});
}

// The entries [first, end) belong to one connection.
Outcome sendGroup(const Sending& sending, const uint32_t* table, size_t first, size_t end, int& error) {
  SocketConnection* connection = findConnection(sending.loop, table[kEntryWords * first]);
  if (connection == nullptr || connection->over) {
    error = EPIPE;
    return kSendFailed;
  }
  std::vector<iovec>& vectors = sending.loop->environment->vectors;
  vectors.clear();
  for (size_t i = first; i < end; i++) {
    iovec vector;
    if (!vectorOf(sending, table + kEntryWords * i, vector)) return kBadEntry;
    vectors.push_back(vector);
  }
  size_t left = 0;
  if (connection->queue.empty()) {
    size_t bytes = 0;
    for (const iovec& vector : vectors) bytes += vector.iov_len;
    // The vectors are changed as they are taken: what is left of them is queued below.
    const int64_t sent = sendVectors(connection->fd, vectors.data(), vectors.size(), bytes);
    if (sent < 0) {
      error = static_cast<int>(-sent);
      leave(sending.loop, connection);
      return kSendFailed;
    }
    connection->taken += static_cast<double>(sent);
    if (static_cast<size_t>(sent) == bytes) return kAllTaken;
    // Vectors before the first that is not taken keep their lengths: skip them by count of bytes.
    size_t skipped = 0;
    for (size_t i = first; i < end && left < vectors.size(); i++) {
      const size_t length = table[kEntryWords * i + 3];
      if (skipped + length > static_cast<size_t>(sent)) break;
      skipped += length;
      left++;
    }
  }
  for (size_t i = left; i < vectors.size(); i++) {
    enqueue(connection, vectors[i], table[kEntryWords * (first + i) + 1] == kFromArena);
  }
  watchFor(sending.loop, connection);
  return kSomeQueued;
}

}  // namespace

// Sends what is queued. Returns false when the connection has failed, with errno in `error`.
bool drainQueue(SocketLoop* loop, SocketConnection* connection, int& error) {
  std::vector<iovec>& vectors = loop->environment->vectors;
  vectors.clear();
  for (size_t i = connection->queueHead; i < connection->queue.size(); i++) {
    const Outgoing& outgoing = connection->queue[i];
    vectors.push_back({const_cast<uint8_t*>(outgoing.data), outgoing.length});
  }
  const int64_t sent = sendVectors(connection->fd, vectors.data(), vectors.size(), kSendBytesPerTurn);
  if (sent < 0) {
    error = static_cast<int>(-sent);
    return false;
  }
  connection->taken += static_cast<double>(sent);
  auto left = static_cast<size_t>(sent);
  while (connection->queueHead < connection->queue.size()) {
    Outgoing& outgoing = connection->queue[connection->queueHead];
    if (left < outgoing.length) {
      outgoing.data += left;
      outgoing.length -= left;
      break;
    }
    left -= outgoing.length;
    outgoing.owned.reset();
    connection->queueHead++;
  }
  if (connection->queueHead == connection->queue.size()) {
    connection->queue.clear();
    connection->queueHead = 0;
  } else if (connection->queueHead > 64 && connection->queueHead * 2 > connection->queue.size()) {
    connection->queue.erase(connection->queue.begin(),
                            connection->queue.begin() + static_cast<ptrdiff_t>(connection->queueHead));
    connection->queueHead = 0;
  }
  return true;
}

// (loop, Uint32Array of entries, count, staging, [outside buffers]): sends the entries, those of one connection one behind
// the other as one write. The first entry of each connection gets the outcome (word 1) and errno (word 2).
napi_value sendSockets(napi_env env, napi_callback_info info) {
  const Call<5> call(env, info);
  SocketLoop* loop = findLoop(call.environment, integerOf(env, call[0]));
  if (loop == nullptr) return number(env, -EBADF);
  auto* table = reinterpret_cast<uint32_t*>(bytesOf(env, call[1]).data);
  const auto count = static_cast<size_t>(integerOf(env, call[2]));
  const Sending sending{env, loop, bytesOf(env, call[3]), call[4]};
  for (size_t first = 0; first < count;) {
    size_t end = first + 1;
    while (end < count && table[kEntryWords * end] == table[kEntryWords * first]) end++;
    int error = 0;
    const Outcome outcome = sendGroup(sending, table, first, end, error);
    table[kEntryWords * first + 1] = outcome;
    table[kEntryWords * first + 2] = static_cast<uint32_t>(error);
    first = end;
  }
  return number(env, 0);
}

}  // namespace millrace
