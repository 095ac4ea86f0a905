// Entry point of the addon: makes the state of one JavaScript environment and exports every part.
// Loaded once per thread that asks for it; nothing here is shared between threads.
#include "environment.h"

namespace {

void finalizeEnvironment(napi_env, void* data, void*) { delete static_cast<millrace::Environment*>(data); }

}  // namespace

NAPI_MODULE_INIT() {
  auto* environment = new millrace::Environment();
  millrace::must(napi_set_instance_data(env, environment, finalizeEnvironment, nullptr), "cannot keep instance data");
  millrace::defineBytes(env, exports, environment);
  millrace::defineFiles(env, exports, environment);
  millrace::defineMemory(env, exports, environment);
  millrace::defineSockets(env, exports, environment);
  millrace::defineDoorbells(env, exports, environment);
  millrace::defineSocketLoop(env, exports, environment);
  // Raised whenever a signature changes, so that a binary of another build is refused instead of crashing.
  millrace::must(napi_set_named_property(env, exports, "version", millrace::number(env, 4)), "cannot export");
  return exports;
}
