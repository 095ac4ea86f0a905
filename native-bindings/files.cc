// Files and block devices for the write-ahead log: direct opens, positional vectored writes, locks.
// Everything here blocks; it belongs on the log's own thread. Results are bytes or -errno, never exceptions.
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "environment.h"

namespace millrace {
namespace {

constexpr size_t kVectorsPerCall = 1024;  // IOV_MAX of Linux
constexpr mode_t kFileMode = 0640;

std::string textOf(napi_env env, napi_value value) {
  size_t length = 0;
  must(napi_get_value_string_utf8(env, value, nullptr, 0, &length), "not a string");
  std::string text(length, '\0');
  must(napi_get_value_string_utf8(env, value, text.data(), length + 1, &length), "not a string");
  return text;
}

int openRetrying(const char* path, int flags) {
  int fd;
  do fd = open(path, flags, kFileMode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

// (path, create, exclusive, sync) → fd, or -errno; the direct flag is asked for by `isDirect`.
napi_value openDirect(napi_env env, napi_callback_info info) {
  const Call<4> call(env, info);
  const std::string path = textOf(env, call[0]);
  const bool create = booleanOf(env, call[1]);
  const bool exclusive = booleanOf(env, call[2]);
  const bool sync = booleanOf(env, call[3]);
  int flags = O_RDWR | O_CLOEXEC | O_NOCTTY;
  if (create) flags |= O_CREAT;
  if (exclusive) flags |= O_EXCL;
  if (sync) flags |= O_DSYNC;

  int fd;
  if (create && exclusive) {
    // A file system without direct I/O creates the file and then fails the open, and a second exclusive open
    // would find it there. So create first and set the flag afterwards, where a refusal does no harm.
    fd = openRetrying(path.c_str(), flags);
    if (fd >= 0) {
      const int status = fcntl(fd, F_GETFL);
      if (status >= 0) fcntl(fd, F_SETFL, status | O_DIRECT);
    }
  } else {
    fd = openRetrying(path.c_str(), flags | O_DIRECT);
    if (fd < 0 && errno == EINVAL) fd = openRetrying(path.c_str(), flags);
  }
  return number(env, fd >= 0 ? fd : -errno);
}

napi_value isDirect(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  const int flags = fcntl(static_cast<int>(integerOf(env, call[0])), F_GETFL);
  return number(env, flags >= 0 && (flags & O_DIRECT) != 0 ? 1 : 0);
}

// Writes every vector at `offset`, however often the kernel stops short. Returns the total or -errno.
int64_t writeAll(int fd, iovec* vectors, size_t count, int64_t offset) {
  int64_t total = 0;
  size_t first = 0;
  while (first < count) {
    const auto batch = static_cast<int>(std::min(count - first, kVectorsPerCall));
    const ssize_t written = pwritev(fd, vectors + first, batch, offset + total);
    if (written < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    if (written == 0) return -EIO;  // vectors are never empty: no progress is an error, not a loop
    total += written;
    auto left = static_cast<size_t>(written);
    while (first < count && left >= vectors[first].iov_len) left -= vectors[first++].iov_len;
    if (left > 0) {
      vectors[first].iov_base = static_cast<uint8_t*>(vectors[first].iov_base) + left;
      vectors[first].iov_len -= left;
    }
  }
  return total;
}

// (fd, [Uint8Array], count, file position)
napi_value pwritevBuffers(napi_env env, napi_callback_info info) {
  const Call<4> call(env, info);
  const int fd = static_cast<int>(integerOf(env, call[0]));
  const auto count = static_cast<uint32_t>(integerOf(env, call[2]));
  std::vector<iovec>& vectors = call.environment->vectors;
  vectors.clear();
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    must(napi_get_element(env, call[1], i, &element), "no such buffer");
    const Bytes bytes = bytesOf(env, element);
    if (bytes.length > 0) vectors.push_back({bytes.data, bytes.length});
  }
  return number(env, static_cast<double>(writeAll(fd, vectors.data(), vectors.size(), integerOf(env, call[3]))));
}

// (fd, Float64Array of (arena, position, length) triples, count, file position); -EFAULT for a vector outside.
napi_value pwritevTable(napi_env env, napi_callback_info info) {
  const Call<4> call(env, info);
  const int fd = static_cast<int>(integerOf(env, call[0]));
  const Bytes bytes = bytesOf(env, call[1]);
  const auto* table = reinterpret_cast<const double*>(bytes.data);
  const auto count = static_cast<size_t>(integerOf(env, call[2]));
  const std::vector<Arena>& arenas = call.environment->arenas;
  std::vector<iovec>& vectors = call.environment->vectors;
  vectors.clear();
  for (size_t i = 0; i < count; i++) {
    const double slot = table[3 * i];
    const double position = table[3 * i + 1];
    const double length = table[3 * i + 2];
    // The table is filled far from here, so it is checked here: a wrong number must not reach foreign memory.
    if (!(slot >= 0 && slot < static_cast<double>(arenas.size()))) return number(env, -EFAULT);
    const Arena& arena = arenas[static_cast<size_t>(slot)];
    if (!(position >= 0 && length >= 0 && position + length <= static_cast<double>(arena.length))) {
      return number(env, -EFAULT);
    }
    if (length > 0) vectors.push_back({arena.data + static_cast<size_t>(position), static_cast<size_t>(length)});
  }
  return number(env, static_cast<double>(writeAll(fd, vectors.data(), vectors.size(), integerOf(env, call[3]))));
}

// (fd, buffer, position, length, file position) → bytes read, fewer only at the end of the file, or -errno.
napi_value readAt(napi_env env, napi_callback_info info) {
  const Call<5> call(env, info);
  const int fd = static_cast<int>(integerOf(env, call[0]));
  uint8_t* const target = bytesOf(env, call[1]).data + integerOf(env, call[2]);
  const int64_t length = integerOf(env, call[3]);
  const int64_t offset = integerOf(env, call[4]);
  int64_t total = 0;
  while (total < length) {
    const ssize_t got = pread(fd, target + total, static_cast<size_t>(length - total), offset + total);
    if (got < 0) {
      if (errno == EINTR) continue;
      // A direct read that goes on from an unaligned end of file is refused; what came is the answer.
      if (errno == EINVAL && total > 0) break;
      return number(env, -errno);
    }
    if (got == 0) break;
    total += got;
  }
  return number(env, static_cast<double>(total));
}

// 1 locked, 0 somebody else's, or -errno. Owned by the open file: the kernel drops it with the last descriptor.
napi_value lockFile(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  const int fd = static_cast<int>(integerOf(env, call[0]));
  int result;
  do result = flock(fd, LOCK_EX | LOCK_NB);
  while (result < 0 && errno == EINTR);
  if (result == 0) return number(env, 1);
  return number(env, errno == EWOULDBLOCK ? 0 : -errno);
}

napi_value syncData(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  const int fd = static_cast<int>(integerOf(env, call[0]));
  // Not retried on anything but EINTR: after a failed sync the kernel may have dropped the pages.
  int result;
  do result = fdatasync(fd);
  while (result < 0 && errno == EINTR);
  return number(env, result == 0 ? 0 : -errno);
}

// Bytes of a block device or a file, or -errno.
napi_value deviceSize(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  const int fd = static_cast<int>(integerOf(env, call[0]));
  struct stat status;
  if (fstat(fd, &status) < 0) return number(env, -errno);
  if (!S_ISBLK(status.st_mode)) return number(env, static_cast<double>(status.st_size));
  uint64_t bytes = 0;
  if (ioctl(fd, BLKGETSIZE64, &bytes) < 0) return number(env, -errno);
  return number(env, static_cast<double>(bytes));
}

napi_value closeFd(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  // Linux has released the number even when close says EINTR, so it is never called twice.
  return number(env, close(static_cast<int>(integerOf(env, call[0]))) == 0 || errno == EINTR ? 0 : -errno);
}

constexpr Function kFunctions[] = {
    {"openDirect", openDirect},     {"isDirect", isDirect}, {"pwritev", pwritevBuffers},
    {"pwritevTable", pwritevTable}, {"pread", readAt},      {"flock", lockFile},
    {"fdatasync", syncData},        {"deviceSize", deviceSize}, {"closeFd", closeFd},
};

}  // namespace

void defineFiles(napi_env env, napi_value exports, Environment* environment) {
  define(env, exports, environment, kFunctions, sizeof(kFunctions) / sizeof(kFunctions[0]));
}

}  // namespace millrace
