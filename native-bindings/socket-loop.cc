// The loop over a shard's plain sockets; modes, ownership and bounds are drawn in socket-loop.h.
#include "socket-loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace millrace {

SocketLoop* loopOf(Watcher* watcher) { return static_cast<SocketLoop*>(watcher->data); }

const Arena& arenaOf(const SocketLoop* loop) { return loop->environment->arenas[loop->arena]; }

// ── Interest ────────────────────────────────────────────────────────────────────────────────────────────────────────

void watchFor(SocketLoop* loop, SocketConnection* connection) {
  uint32_t wanted = 0;
  if (!connection->paused) wanted |= EPOLLIN;
  if (connection->queueHead < connection->queue.size()) wanted |= EPOLLOUT;
  if (connection->over || wanted == connection->interest) return;
  epoll_event event{};
  event.events = wanted;
  event.data.u32 = connection->slot;
  if (epoll_ctl(loop->watcher->fd, EPOLL_CTL_MOD, connection->fd, &event) != 0) broken("epoll lost a socket");
  connection->interest = wanted;
}

void leave(SocketLoop* loop, SocketConnection* connection) {
  if (connection->over) return;
  connection->over = true;
  epoll_ctl(loop->watcher->fd, EPOLL_CTL_DEL, connection->fd, nullptr);
}

SocketLoop* findLoop(const Environment* environment, int64_t id) {
  Watcher* watcher = findWatcher(const_cast<Environment*>(environment), static_cast<uint32_t>(id));
  return watcher == nullptr ? nullptr : loopOf(watcher);
}

SocketConnection* findConnection(SocketLoop* loop, int64_t slot) {
  if (loop == nullptr || slot < 0 || static_cast<size_t>(slot) >= loop->connections.size()) return nullptr;
  return loop->connections[static_cast<size_t>(slot)].get();
}

namespace {

constexpr uint16_t kProduceKey = 0;  // frames that are kept beyond the call

uint32_t bigEndian32(const uint8_t* bytes) {
  return static_cast<uint32_t>(bytes[0]) << 24 | static_cast<uint32_t>(bytes[1]) << 16 |
         static_cast<uint32_t>(bytes[2]) << 8 | bytes[3];
}

uint16_t bigEndian16(const uint8_t* bytes) { return static_cast<uint16_t>(bytes[0] << 8 | bytes[1]); }

// ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

struct Row {
  uint32_t happened = 0;
  size_t position = 0;
  size_t frames = 0;
  size_t raw = 0;
  int error = 0;
};

// One read. Returns its bytes; 0 with the row's flags set where there were none.
size_t readInto(SocketConnection* connection, uint8_t* data, size_t length, Row& row) {
  ssize_t got;
  do got = recv(connection->fd, data, length, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (got > 0) return static_cast<size_t>(got);
  if (got == 0) {
    row.happened |= kEnd;
  } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
    row.happened |= kFailed;
    row.error = errno;
  }
  return 0;
}

// Finds the whole small frames at the beginning of [data, data + length) and returns their bytes. `odd`: what follows
// begins with a frame that is not to be cut here.
size_t cutFrames(const uint8_t* data, size_t length, bool& keep, bool& odd) {
  size_t at = 0;
  while (length - at >= 4) {
    const size_t size = bigEndian32(data + at);
    if (size < kFrameBytesMin || size > kCutFrameBytesMax) {
      odd = true;
      break;
    }
    if (length - at - 4 < size) break;
    if (bigEndian16(data + at + 4) == kProduceKey) keep = true;
    at += 4 + size;
  }
  return at;
}

// False: the slice has no room for it; nothing was read.
bool readCut(SocketLoop* loop, SocketConnection* connection, Row& row) {
  std::vector<uint8_t>& stash = connection->stash;
  const size_t have = stash.size();
  const size_t whole = have >= 4 ? 4 + static_cast<size_t>(bigEndian32(stash.data())) : 0;
  const size_t room = std::min(loop->end - loop->next, kCutReadBytes);
  if (room < std::max(whole, have + kRoomMin)) return false;
  uint8_t* const data = arenaOf(loop).data + loop->next;
  if (have > 0) memcpy(data, stash.data(), have);
  const size_t got = readInto(connection, data + have, room - have, row);
  if (got == 0) return true;
  const size_t length = have + got;
  bool odd = false;
  const size_t frames = cutFrames(data, length, loop->keep, odd);
  row.happened |= kBytes;
  row.position = loop->next;
  row.frames = frames;
  if (odd) {
    connection->mode = Mode::raw;
    row.raw = length - frames;
    loop->next += length;
    std::vector<uint8_t>().swap(stash);
    return true;
  }
  loop->next += frames;
  if (frames == length) {
    if (have > 0) std::vector<uint8_t>().swap(stash);
  } else {
    stash.assign(data + frames, data + length);
    row.happened |= kPartial;
  }
  return true;
}

bool readRaw(SocketLoop* loop, SocketConnection* connection, Row& row) {
  const size_t room = std::min(loop->end - loop->next, kRawReadBytes);
  if (room < kRoomMin) return false;
  const size_t got = readInto(connection, arenaOf(loop).data + loop->next, room, row);
  if (got == 0) return true;
  row.happened |= kBytes;
  row.position = loop->next;
  row.raw = got;
  loop->next += got;
  return true;
}

void readTarget(SocketLoop* loop, SocketConnection* connection, Row& row) {
  const size_t position = connection->targetPosition;
  const size_t length = std::min(connection->targetLength, kTargetReadBytes);
  const size_t got = readInto(connection, arenaOf(loop).data + position, length, row);
  if (got == 0) return;
  connection->mode = Mode::raw;  // until JavaScript names the next one
  row.happened |= kBytes | kTarget;
  row.position = position;
  row.raw = got;
}

// False: it is to be served again once there is a new slice.
bool readSocket(SocketLoop* loop, SocketConnection* connection, Row& row) {
  if (connection->mode == Mode::target) {
    readTarget(loop, connection, row);
    return true;
  }
  if (loop->end == 0) {
    row.happened |= kStarved;
    return true;
  }
  const bool had = connection->mode == Mode::cut ? readCut(loop, connection, row) : readRaw(loop, connection, row);
  if (!had) loop->wantsSlice = true;
  return had;
}

// ── The turn ────────────────────────────────────────────────────────────────────────────────────────────────────────

int pendingError(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error != 0 ? error : ECONNRESET;
}

// False: no room in the slice; the others wait for the next turn too.
bool serve(SocketLoop* loop, SocketConnection* connection, uint32_t events) {
  Row row;
  if ((events & EPOLLOUT) != 0 && connection->queueHead < connection->queue.size()) {
    const double before = connection->taken;
    if (!drainQueue(loop, connection, row.error)) row.happened |= kFailed;
    if (connection->taken != before) row.happened |= kTaken;
  }
  bool served = true;
  if ((row.happened & kFailed) == 0) {
    if (connection->paused) {
      // Nothing is read, so only this tells of a reset.
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        row.happened |= kFailed;
        row.error = pendingError(connection->fd);
      }
    } else if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
      served = readSocket(loop, connection, row);
    }
  }
  if ((row.happened & (kEnd | kFailed)) != 0) {
    leave(loop, connection);
  } else {
    watchFor(loop, connection);
  }
  if (row.happened == 0) return served;
  uint32_t* const words = loop->table + kRowWords * loop->rows++;
  words[0] = connection->slot;
  words[1] = row.happened;
  words[2] = static_cast<uint32_t>(row.position);
  words[3] = static_cast<uint32_t>(row.frames);
  words[4] = static_cast<uint32_t>(row.raw);
  words[5] = static_cast<uint32_t>(row.error);
  return served;
}

// What the turn before had no room for comes first and alone: the kernel would name the others before it again, and none
// may be read twice in a turn.
int takeUnserved(SocketLoop* loop, epoll_event* events) {
  int count = 0;
  for (const uint32_t slot : loop->unserved) {
    events[count].events = EPOLLIN;  // all else is told again
    events[count++].data.u32 = slot;
  }
  loop->unserved.clear();
  return count;
}

void onSocketsReady(Watcher* watcher) {
  SocketLoop* loop = loopOf(watcher);
  epoll_event events[kEventsPerTurn];
  int count = takeUnserved(loop, events);
  if (count == 0) {
    do count = epoll_wait(watcher->fd, events, kEventsPerTurn, 0);
    while (count < 0 && errno == EINTR);
    if (count < 0) broken("epoll_wait failed");
  }
  loop->rows = 0;
  loop->keep = false;
  loop->wantsSlice = false;
  const size_t start = loop->next;
  const size_t end = loop->end;
  for (int i = 0; i < count; i++) {
    SocketConnection* connection = loop->connections[events[i].data.u32].get();
    if (connection == nullptr || connection->over) continue;  // left over from the turn before, and closed since
    if (serve(loop, connection, events[i].events)) continue;
    for (; i < count; i++) loop->unserved.push_back(events[i].data.u32);
  }
  if (loop->rows == 0 && !loop->wantsSlice) return;
  napi_env env = watcher->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value arguments[2] = {number(env, loop->rows), nullptr};
  must(napi_get_boolean(env, loop->wantsSlice, &arguments[1]), "no boolean");
  loop->inTurn = true;
  callBack(watcher, 2, arguments);
  napi_close_handle_scope(env, scope);
  loop->inTurn = false;
  for (const uint32_t slot : loop->leftSlots) loop->freeSlots.push_back(slot);
  loop->leftSlots.clear();
  // Nothing of this turn is kept, so the next one may have its room; JavaScript may have given another slice meanwhile.
  if (!loop->keep && loop->end == end && loop->next >= start) loop->next = start;
}

// ── Calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────

void freeLoop(Watcher* watcher) {
  SocketLoop* loop = loopOf(watcher);
  for (auto& connection : loop->connections) {
    if (connection != nullptr) close(connection->fd);
  }
  loop->connections.clear();
  close(watcher->fd);
}

// The turn may be on the stack when the loop is closed: freed only when libuv has let go of the handle.
void forgetLoop(Watcher* watcher) {
  SocketLoop* loop = loopOf(watcher);
  napi_delete_reference(watcher->env, loop->tableOwner);
  delete loop;
}

// (arena handle, Uint32Array table, callback(rows, wants a slice)) → watcher number, or -errno.
napi_value openSocketLoop(napi_env env, napi_callback_info info) {
  const Call<3> call(env, info);
  const Bytes table = bytesOf(env, call[1]);
  if (table.length < kRowWords * kEventsPerTurn) broken("the table of events is too short");
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return number(env, -errno);
  int error = 0;
  Watcher* watcher = openWatcher(env, call.environment, fd, call[2], onSocketsReady, error);
  if (watcher == nullptr) {
    close(fd);
    return number(env, error);
  }
  auto* loop = new SocketLoop();
  loop->watcher = watcher;
  loop->environment = call.environment;
  loop->arena = static_cast<uint32_t>(integerOf(env, call[0]));
  loop->table = reinterpret_cast<uint32_t*>(table.data);
  must(napi_create_reference(env, call[1], 1, &loop->tableOwner), "cannot hold the table");
  watcher->data = loop;
  watcher->onClose = freeLoop;
  watcher->onFreed = forgetLoop;
  return number(env, watcher->id);
}

// (loop, fd) → slot, or -errno: the descriptor is then still the caller's.
napi_value openSocket(napi_env env, napi_callback_info info) {
  const Call<2> call(env, info);
  SocketLoop* loop = findLoop(call.environment, integerOf(env, call[0]));
  if (loop == nullptr) return number(env, -EBADF);
  const int fd = static_cast<int>(integerOf(env, call[1]));
  const int on = 1;
  // Else an answer waits for the acknowledgement of the one before. Refused for what is not TCP, which is no matter.
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  uint32_t slot;
  if (!loop->freeSlots.empty()) {
    slot = loop->freeSlots.back();
    loop->freeSlots.pop_back();
  } else {
    slot = static_cast<uint32_t>(loop->connections.size());
    loop->connections.emplace_back();
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = slot;
  if (epoll_ctl(loop->watcher->fd, EPOLL_CTL_ADD, fd, &event) != 0) {
    const int error = errno;
    loop->freeSlots.push_back(slot);
    return number(env, -error);
  }
  auto connection = std::make_unique<SocketConnection>();
  connection->fd = fd;
  connection->slot = slot;
  connection->interest = EPOLLIN;
  loop->connections[slot] = std::move(connection);
  return number(env, slot);
}

// (loop, slot): closes the descriptor and forgets what was queued.
napi_value closeSocket(napi_env env, napi_callback_info info) {
  const Call<2> call(env, info);
  SocketLoop* loop = findLoop(call.environment, integerOf(env, call[0]));
  SocketConnection* connection = findConnection(loop, integerOf(env, call[1]));
  if (connection == nullptr) return nullptr;
  leave(loop, connection);
  close(connection->fd);
  const uint32_t slot = connection->slot;
  loop->connections[slot].reset();
  (loop->inTurn ? loop->leftSlots : loop->freeSlots).push_back(slot);
  return nullptr;
}

// (loop, slot, paused)
napi_value pauseSocket(napi_env env, napi_callback_info info) {
  const Call<3> call(env, info);
  SocketLoop* loop = findLoop(call.environment, integerOf(env, call[0]));
  SocketConnection* connection = findConnection(loop, integerOf(env, call[1]));
  if (connection == nullptr) return nullptr;
  connection->paused = booleanOf(env, call[2]);
  watchFor(loop, connection);
  return nullptr;
}

// (loop, slot, mode, position, length) → 0 or -EFAULT; the last two for a target.
napi_value aimSocket(napi_env env, napi_callback_info info) {
  const Call<5> call(env, info);
  SocketLoop* loop = findLoop(call.environment, integerOf(env, call[0]));
  SocketConnection* connection = findConnection(loop, integerOf(env, call[1]));
  if (connection == nullptr) return number(env, 0);
  const auto mode = static_cast<Mode>(integerOf(env, call[2]));
  const int64_t position = integerOf(env, call[3]);
  const int64_t length = integerOf(env, call[4]);
  if (mode == Mode::target) {
    const auto arena = static_cast<int64_t>(arenaOf(loop).length);
    if (position < 0 || length <= 0 || position > arena || length > arena - position) return number(env, -EFAULT);
  }
  connection->mode = mode;
  connection->targetPosition = static_cast<size_t>(position);
  connection->targetLength = static_cast<size_t>(length);
  return number(env, 0);
}

// (loop, position, length) → 0 or -EFAULT. Length 0: there is none.
napi_value giveSlice(napi_env env, napi_callback_info info) {
  const Call<3> call(env, info);
  SocketLoop* loop = findLoop(call.environment, integerOf(env, call[0]));
  if (loop == nullptr) return number(env, 0);
  const int64_t position = integerOf(env, call[1]);
  const int64_t length = integerOf(env, call[2]);
  const auto arena = static_cast<int64_t>(arenaOf(loop).length);
  if (position < 0 || length < 0 || position > arena || length > arena - position) return number(env, -EFAULT);
  if (length != 0 && length < static_cast<int64_t>(kSliceBytesMin)) return number(env, -EFAULT);
  loop->next = static_cast<size_t>(position);
  loop->end = length == 0 ? 0 : static_cast<size_t>(position + length);
  return number(env, 0);
}

// (loop, slot) → bytes that the kernel has taken.
napi_value socketTaken(napi_env env, napi_callback_info info) {
  const Call<2> call(env, info);
  SocketLoop* loop = findLoop(call.environment, integerOf(env, call[0]));
  SocketConnection* connection = findConnection(loop, integerOf(env, call[1]));
  return number(env, connection == nullptr ? 0 : connection->taken);
}

constexpr Function kFunctions[] = {
    {"openSocketLoop", openSocketLoop}, {"openSocket", openSocket}, {"closeSocket", closeSocket},
    {"pauseSocket", pauseSocket},       {"aimSocket", aimSocket},   {"giveSlice", giveSlice},
    {"socketTaken", socketTaken},       {"sendSockets", sendSockets},
};

}  // namespace

void defineSocketLoop(napi_env env, napi_value exports, Environment* environment) {
  define(env, exports, environment, kFunctions, sizeof(kFunctions) / sizeof(kFunctions[0]));
}

}  // namespace millrace
