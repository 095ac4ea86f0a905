// Doorbells between threads: an eventfd rung from any thread, watched in the loop of one.
// A watcher answers any number of rings since its last turn with one callback.
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "watcher.h"

namespace millrace {
namespace {

napi_value createEventFd(napi_env env, napi_callback_info) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return number(env, fd >= 0 ? fd : -errno);
}

napi_value ringEventFd(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  const int fd = static_cast<int>(integerOf(env, call[0]));
  const uint64_t one = 1;
  ssize_t written;
  do written = write(fd, &one, sizeof(one));
  while (written < 0 && errno == EINTR);
  // A full counter is a bell that rings already.
  return number(env, written == sizeof(one) || errno == EAGAIN ? 0 : -errno);
}

void onRung(Watcher* watcher) {
  uint64_t rings = 0;
  ssize_t got;
  do got = read(watcher->fd, &rings, sizeof(rings));
  while (got < 0 && errno == EINTR);
  if (got != sizeof(rings)) return;  // somebody else emptied it: there is nothing to tell
  napi_handle_scope scope;
  if (napi_open_handle_scope(watcher->env, &scope) != napi_ok) return;
  napi_env env = watcher->env;
  callBack(watcher, 0, nullptr);
  napi_close_handle_scope(env, scope);
}

// (fd, callback) → watcher number, or -errno.
napi_value watchEventFd(napi_env env, napi_callback_info info) {
  const Call<2> call(env, info);
  const int fd = static_cast<int>(integerOf(env, call[0]));
  int error = 0;
  Watcher* watcher = openWatcher(env, call.environment, fd, call[1], onRung, error);
  return number(env, watcher != nullptr ? watcher->id : static_cast<double>(error));
}

// These serve every kind of watcher. A number that names none is a watcher closed before: nothing to do.
napi_value close(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  Watcher* watcher = findWatcher(call.environment, static_cast<uint32_t>(integerOf(env, call[0])));
  if (watcher != nullptr) closeWatcher(watcher);
  return nullptr;
}

napi_value reference(napi_env env, napi_callback_info info) {
  const Call<2> call(env, info);
  Watcher* watcher = findWatcher(call.environment, static_cast<uint32_t>(integerOf(env, call[0])));
  if (watcher == nullptr) return nullptr;
  auto* handle = reinterpret_cast<uv_handle_t*>(&watcher->poll);
  if (booleanOf(env, call[1])) {
    uv_ref(handle);
  } else {
    uv_unref(handle);
  }
  return nullptr;
}

constexpr Function kFunctions[] = {
    {"createEventFd", createEventFd}, {"ringEventFd", ringEventFd},          {"watchEventFd", watchEventFd},
    {"closeWatcher", close},          {"setWatcherReferenced", reference},
};

}  // namespace

void defineDoorbells(napi_env env, napi_value exports, Environment* environment) {
  define(env, exports, environment, kFunctions, sizeof(kFunctions) / sizeof(kFunctions[0]));
}

}  // namespace millrace
