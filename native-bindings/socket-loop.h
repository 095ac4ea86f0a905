// One epoll instance with the sockets of one JavaScript thread: reads, cuts and writes for all of them, and talks to
// JavaScript once a turn.
//
//   turn:   epoll_wait ─► one bounded read for each socket that is ready ─► ONE call with a row for each of them
//
//   a socket's bytes, by its mode:
//     cut      into the loop's slice of the arena, whole small frames one behind the other; the beginning of a frame that
//              has not arrived whole is kept in the connection's stash and put in front of the next read
//     raw      into the slice as they are: JavaScript takes them apart. A frame that is too large or too small to be cut
//              here brings the connection into this mode by itself
//     target   into the piece of the arena that JavaScript named, for one read; then raw again
//
// Level-triggered: what was not read in this turn is ready in the next, and the kernel moves a served socket to the end of
// its list, so that one that always has more cannot keep others from being served; those that a turn had no room for are the
// next turn's first.
//
// Ownership: a descriptor belongs to its connection from openSocket until closeSocket, which closes it. Memory outside of
// the arena is copied before a call returns; arena memory that is being sent is JavaScript's to keep until it has been taken.
//
// Bounds: `kEventsPerTurn` sockets and one slice of bytes a turn; a stash of one small frame a connection; queued answers
// are bounded by JavaScript, which stops asking.
#pragma once

#include <memory>

#include "watcher.h"

namespace millrace {

constexpr int kEventsPerTurn = 128;
constexpr size_t kCutFrameBytesMax = 16 * 1024;  // as landingBytesMin in net/frame-receiver.ts
constexpr size_t kFrameBytesMin = 8;
constexpr size_t kCutReadBytes = 32 * 1024;
constexpr size_t kRawReadBytes = 128 * 1024;
constexpr size_t kTargetReadBytes = 1024 * 1024;
constexpr size_t kSendBytesPerTurn = 1024 * 1024;
constexpr size_t kSliceBytesMin = 32 * 1024;
constexpr size_t kRoomMin = 2 * 1024;  // a slice with less is used up

// A row of the table of events: uint32 words.
constexpr size_t kRowWords = 6;  // slot, what happened, position, bytes of whole small frames, bytes as they are, errno
enum Happened : uint32_t {
  kBytes = 1,     // position and lengths are set; whole frames come first
  kTarget = 2,    // the bytes as they are lie in the target
  kEnd = 4,       // the peer sends nothing more
  kFailed = 8,    // errno is set; nothing more is read or written
  kTaken = 16,    // the kernel took some of what was queued
  kStarved = 32,  // it has bytes and there is no slice
  kPartial = 64,  // the beginning of a frame lies in the stash
};

enum class Mode : uint8_t { cut = 0, raw = 1, target = 2 };

// Bytes on their way out. `owned` is set where they were copied.
struct Outgoing {
  const uint8_t* data;
  size_t length;
  std::unique_ptr<uint8_t[]> owned;
};

struct SocketConnection {
  int fd = -1;
  uint32_t slot = 0;
  uint32_t interest = 0;  // what epoll was asked for
  Mode mode = Mode::cut;
  bool paused = false;
  bool over = false;  // ended or failed: out of epoll, waits to be closed
  size_t targetPosition = 0;
  size_t targetLength = 0;
  std::vector<uint8_t> stash;
  std::vector<Outgoing> queue;
  size_t queueHead = 0;
  double taken = 0;  // bytes that the kernel has taken
};

struct SocketLoop {
  Watcher* watcher = nullptr;
  Environment* environment = nullptr;
  uint32_t arena = 0;  // handle of the registered arena
  napi_ref tableOwner = nullptr;
  uint32_t* table = nullptr;
  uint32_t rows = 0;
  std::vector<std::unique_ptr<SocketConnection>> connections;  // by slot; null = free
  std::vector<uint32_t> freeSlots;
  std::vector<uint32_t> leftSlots;  // closed during a turn: rows may still name them
  std::vector<uint32_t> unserved;   // slots that the last turn had no room for
  bool inTurn = false;
  size_t next = 0;  // slice [next, end)
  size_t end = 0;
  bool keep = false;  // this turn put a frame into the slice that may be kept
  bool wantsSlice = false;
};

SocketLoop* loopOf(Watcher* watcher);
const Arena& arenaOf(const SocketLoop* loop);
SocketLoop* findLoop(const Environment* environment, int64_t id);
SocketConnection* findConnection(SocketLoop* loop, int64_t slot);

// Tells epoll what the connection waits for.
void watchFor(SocketLoop* loop, SocketConnection* connection);
// Nothing more is read or written: without this a failed socket would be ready for ever.
void leave(SocketLoop* loop, SocketConnection* connection);

// socket-send.cc: sends what is queued. False when the connection has failed, with errno in `error`.
bool drainQueue(SocketLoop* loop, SocketConnection* connection, int& error);
napi_value sendSockets(napi_env env, napi_callback_info info);

}  // namespace millrace
