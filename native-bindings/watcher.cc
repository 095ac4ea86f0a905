// The life of a watcher; the states are drawn in watcher.h.
#include "watcher.h"

#include <errno.h>

namespace millrace {
namespace {

void onPoll(uv_poll_t* poll, int status, int) {
  auto* watcher = static_cast<Watcher*>(poll->data);
  // A poll error is found again, and named, by the system call that the reader makes.
  (void)status;
  if (!watcher->closing && !watcher->paused) watcher->onReadable(watcher);
}

void onClosed(uv_handle_t* handle) {
  auto* watcher = static_cast<Watcher*>(handle->data);
  if (watcher->onFreed != nullptr) watcher->onFreed(watcher);
  // The environment outlives its hooks, so the reference can still be dropped.
  napi_delete_reference(watcher->env, watcher->callback);
  napi_remove_async_cleanup_hook(watcher->hook);
  delete watcher;
}

void onEnvironmentEnd(napi_async_cleanup_hook_handle, void* data) { closeWatcher(static_cast<Watcher*>(data)); }

}  // namespace

Watcher* openWatcher(napi_env env, Environment* environment, int fd, napi_value callback,
                     void (*onReadable)(Watcher*), int& error) {
  uv_loop_t* loop = nullptr;
  must(napi_get_uv_event_loop(env, &loop), "no event loop");
  auto* watcher = new Watcher();
  watcher->env = env;
  watcher->environment = environment;
  watcher->fd = fd;
  watcher->onReadable = onReadable;
  error = uv_poll_init(loop, &watcher->poll, fd);
  if (error != 0) {
    delete watcher;
    return nullptr;
  }
  watcher->poll.data = watcher;
  watcher->id = environment->nextWatcher++;
  environment->watchers.emplace(watcher->id, watcher);
  must(napi_create_reference(env, callback, 1, &watcher->callback), "cannot hold the callback");
  must(napi_add_async_cleanup_hook(env, onEnvironmentEnd, watcher, &watcher->hook), "cannot add a cleanup hook");
  error = uv_poll_start(&watcher->poll, UV_READABLE, onPoll);
  if (error != 0) {
    closeWatcher(watcher);
    return nullptr;
  }
  return watcher;
}

Watcher* findWatcher(Environment* environment, uint32_t id) {
  const auto found = environment->watchers.find(id);
  return found == environment->watchers.end() ? nullptr : found->second;
}

void closeWatcher(Watcher* watcher) {
  if (watcher->closing) return;  // the environment may end while a close is under way
  watcher->closing = true;
  watcher->environment->watchers.erase(watcher->id);
  uv_poll_stop(&watcher->poll);
  if (watcher->onClose != nullptr) watcher->onClose(watcher);
  uv_close(reinterpret_cast<uv_handle_t*>(&watcher->poll), onClosed);
}

int pauseWatcher(Watcher* watcher) {
  watcher->paused = true;
  return uv_poll_stop(&watcher->poll);
}

int resumeWatcher(Watcher* watcher) {
  watcher->paused = false;
  return uv_poll_start(&watcher->poll, UV_READABLE, onPoll);
}

bool callBack(Watcher* watcher, size_t count, const napi_value* arguments) {
  napi_env env = watcher->env;
  napi_value callback;
  napi_value receiver;
  if (napi_get_reference_value(env, watcher->callback, &callback) != napi_ok) return false;
  // make_callback wants an object as its receiver.
  if (napi_get_global(env, &receiver) != napi_ok) return false;
  const napi_status status = napi_make_callback(env, nullptr, receiver, callback, count, arguments, nullptr);
  if (status == napi_ok) return true;
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
    return true;
  }
  return false;
}

}  // namespace millrace
