// A uv_poll handle in the loop of the calling thread, with a JavaScript callback.
//
// States:   open ──close()──► closing ──(libuv)──► freed
//             └──environment ends──► closing ──(libuv)──► freed, and only then the environment goes on
//
// A worker may be terminated at any moment. libuv aborts the process when a loop is closed with live handles,
// so each watcher holds an asynchronous cleanup hook from its creation until its handle is closed.
// JavaScript names a watcher by number: a number of a closed one finds nothing, and nothing depends on
// when garbage is collected. A watcher keeps its loop alive unless it is unreferenced.
#pragma once

#include <uv.h>

#include "environment.h"

namespace millrace {

struct Watcher {
  napi_env env = nullptr;
  Environment* environment = nullptr;
  uint32_t id = 0;
  int fd = -1;
  uv_poll_t poll;
  napi_ref callback = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  void (*onReadable)(Watcher*) = nullptr;
  void (*onClose)(Watcher*) = nullptr;  // runs once, when no more events can come
  void (*onFreed)(Watcher*) = nullptr;  // runs once, when libuv has let go of the handle
  int reserveFd = -1;                   // acceptors only
  void* data = nullptr;                 // socket loops only
  bool closing = false;
  bool paused = false;
};

// Returns the new watcher, already polling, or -errno in `error`. The callback is held until it is closed.
Watcher* openWatcher(napi_env env, Environment* environment, int fd, napi_value callback,
                     void (*onReadable)(Watcher*), int& error);
Watcher* findWatcher(Environment* environment, uint32_t id);
void closeWatcher(Watcher* watcher);

// Returns 0 or -errno.
int pauseWatcher(Watcher* watcher);
int resumeWatcher(Watcher* watcher);

// Calls the callback from the loop, with ticks and promises run afterwards. An exception thrown there takes the
// road of every uncaught exception. False when the environment can no longer run JavaScript: nothing was called.
bool callBack(Watcher* watcher, size_t count, const napi_value* arguments);

}  // namespace millrace
