// Memory advice, aligned buffers, the processor time of the calling thread, and the end of the process.
#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "environment.h"

namespace millrace {
namespace {

uintptr_t pageSize() {
  static const auto size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// Gives advice on the whole pages inside a range. Returns the bytes concerned or -errno.
double adviseInside(uint8_t* data, size_t length, int advice) {
  const uintptr_t mask = pageSize() - 1;
  const uintptr_t start = (reinterpret_cast<uintptr_t>(data) + mask) & ~mask;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + length) & ~mask;
  if (end <= start) return 0;
  int result;
  do result = madvise(reinterpret_cast<void*>(start), end - start, advice);
  while (result < 0 && errno == EAGAIN);
  return result == 0 ? static_cast<double>(end - start) : -errno;
}

napi_value adviseHuge(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  const Bytes bytes = bytesOf(env, call[0]);
  return number(env, adviseInside(bytes.data, bytes.length, MADV_HUGEPAGE));
}

// The engine maps shared memory privately and anonymously, so MADV_DONTNEED gives the pages back at once and
// the next touch finds zeros; MADV_REMOVE is for real shared mappings and is refused here.
napi_value adviseFree(napi_env env, napi_callback_info info) {
  const Call<3> call(env, info);
  const Bytes bytes = bytesOf(env, call[0]);
  const int64_t position = integerOf(env, call[1]);
  const int64_t length = integerOf(env, call[2]);
  return number(env, adviseInside(bytes.data + position, static_cast<size_t>(length), MADV_DONTNEED));
}

struct Populating {
  napi_async_work work;
  napi_ref owner;  // keeps the memory alive meanwhile
  napi_ref done;
  uint8_t* data;
  size_t length;
};

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

// On a thread of libuv's pool. Whoever owns the bytes may be writing them: they stay what they are.
void populate(napi_env, void* data) {
  auto* populating = static_cast<Populating*>(data);
  const uintptr_t mask = pageSize() - 1;
  const uintptr_t start = reinterpret_cast<uintptr_t>(populating->data) & ~mask;
  const uintptr_t end = reinterpret_cast<uintptr_t>(populating->data) + populating->length;
  int result;
  do result = madvise(reinterpret_cast<void*>(start), end - start, MADV_POPULATE_WRITE);
  while (result < 0 && (errno == EINTR || errno == EAGAIN));
  if (result == 0) return;
  // Before Linux 5.14, and elsewhere.
  for (uintptr_t page = reinterpret_cast<uintptr_t>(populating->data); page < end; page += pageSize()) {
    __atomic_fetch_add(reinterpret_cast<uint8_t*>(page), 0, __ATOMIC_RELAXED);
  }
}

void populated(napi_env env, napi_status, void* data) {
  auto* populating = static_cast<Populating*>(data);
  napi_value done;
  napi_value receiver;
  if (napi_get_reference_value(env, populating->done, &done) == napi_ok && napi_get_global(env, &receiver) == napi_ok) {
    napi_call_function(env, receiver, done, 0, nullptr, nullptr);
  }
  napi_delete_reference(env, populating->owner);
  napi_delete_reference(env, populating->done);
  napi_delete_async_work(env, populating->work);
  delete populating;
}

// (buffer, position, length, callback)
napi_value populateLater(napi_env env, napi_callback_info info) {
  const Call<4> call(env, info);
  auto* populating = new Populating();
  populating->data = bytesOf(env, call[0]).data + integerOf(env, call[1]);
  populating->length = static_cast<size_t>(integerOf(env, call[2]));
  must(napi_create_reference(env, call[0], 1, &populating->owner), "cannot hold the memory");
  must(napi_create_reference(env, call[3], 1, &populating->done), "cannot hold the callback");
  napi_value name;
  must(napi_create_string_utf8(env, "populate", NAPI_AUTO_LENGTH, &name), "no name");
  must(napi_create_async_work(env, nullptr, name, populate, populated, populating, &populating->work), "no work");
  must(napi_queue_async_work(env, populating->work), "cannot queue work");
  return nullptr;
}

void unmap(napi_env, void* data, void* hint) { munmap(data, reinterpret_cast<size_t>(hint)); }

// Page-aligned zeroed Buffer, or undefined when memory is short.
napi_value alignedBuffer(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  const auto length = static_cast<size_t>(integerOf(env, call[0]));
  const size_t mapped = (length + pageSize() - 1) & ~(pageSize() - 1);
  void* data = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  napi_value buffer;
  if (napi_create_external_buffer(env, length, data, unmap, reinterpret_cast<void*>(mapped), &buffer) != napi_ok) {
    munmap(data, mapped);
    return nullptr;
  }
  return buffer;
}

napi_value threadCpuSeconds(napi_env env, napi_callback_info) {
  timespec time;
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) != 0) broken("no thread clock");
  return number(env, static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9);
}

// Milliseconds since the machine started, its sleep included.
napi_value bootTimeMs(napi_env env, napi_callback_info) {
#ifdef CLOCK_BOOTTIME
  constexpr clockid_t kClock = CLOCK_BOOTTIME;
#else
  constexpr clockid_t kClock = CLOCK_MONOTONIC;  // macOS: goes on during sleep
#endif
  timespec time;
  if (clock_gettime(kClock, &time) != 0) broken("no boot clock");
  return number(env, static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6);
}

// Ends the process without waiting for its threads: Node joins them first, and one inside a write never comes.
napi_value exitNow(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  _exit(static_cast<int>(integerOf(env, call[0])));
}

constexpr Function kFunctions[] = {
    {"madviseHuge", adviseHuge},
    {"madviseFree", adviseFree},
    {"populate", populateLater},
    {"alignedBuffer", alignedBuffer},
    {"threadCpuSeconds", threadCpuSeconds},
    {"bootTimeMs", bootTimeMs},
    {"exitNow", exitNow},
};

}  // namespace

void defineMemory(napi_env env, napi_value exports, Environment* environment) {
  define(env, exports, environment, kFunctions, sizeof(kFunctions) / sizeof(kFunctions[0]));
}

}  // namespace millrace
