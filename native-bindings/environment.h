// What every part of the addon shares: the per-environment state and the argument helpers.
//
// One Environment exists per JavaScript environment (the main thread and each worker has its own), so nothing
// here needs a lock. The TypeScript side checks arguments; this side trusts them and stops the process when
// that trust is broken, because going on would mean reading or writing memory at random.
#pragma once

#ifndef NAPI_VERSION
#define NAPI_VERSION 8
#endif
#include <node_api.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace millrace {

struct Watcher;

// Memory registered once, so that hot calls name it by a small number instead of passing an object.
struct Arena {
  napi_ref owner = nullptr;  // keeps the memory alive until it is released
  uint8_t* data = nullptr;
  size_t length = 0;
};

struct Environment {
  std::vector<Arena> arenas;                        // released slots are reused; the TypeScript side bounds them
  std::vector<iovec> vectors;                       // scratch of the vectored write
  std::unordered_map<uint32_t, Watcher*> watchers;  // open watchers by the number JavaScript knows
  uint32_t nextWatcher = 1;
};

[[noreturn]] inline void broken(const char* what) {
  napi_fatal_error("millrace.node", NAPI_AUTO_LENGTH, what, NAPI_AUTO_LENGTH);
}

inline void must(napi_status status, const char* what) {
  if (status != napi_ok) broken(what);
}

struct Bytes {
  uint8_t* data;
  size_t length;  // in elements of the typed array
};

// Works for typed arrays over an ArrayBuffer and over a SharedArrayBuffer alike.
inline Bytes bytesOf(napi_env env, napi_value value) {
  Bytes bytes{nullptr, 0};
  void* data = nullptr;
  must(napi_get_typedarray_info(env, value, nullptr, &bytes.length, &data, nullptr, nullptr), "not a typed array");
  bytes.data = static_cast<uint8_t*>(data);
  return bytes;
}

inline int64_t integerOf(napi_env env, napi_value value) {
  int64_t number = 0;
  must(napi_get_value_int64(env, value, &number), "not a number");
  return number;
}

inline bool booleanOf(napi_env env, napi_value value) {
  bool flag = false;
  must(napi_get_value_bool(env, value, &flag), "not a boolean");
  return flag;
}

inline napi_value number(napi_env env, double value) {
  napi_value result;
  must(napi_create_double(env, value, &result), "cannot create a number");
  return result;
}

// The arguments of one call, and the environment the function was bound to.
template <size_t N>
struct Call {
  napi_value arguments[N > 0 ? N : 1];
  Environment* environment;

  Call(napi_env env, napi_callback_info info) {
    size_t count = N;
    void* data = nullptr;
    must(napi_get_cb_info(env, info, &count, arguments, nullptr, &data), "no call info");
    if (count < N) broken("too few arguments");
    environment = static_cast<Environment*>(data);
  }
  napi_value operator[](size_t index) const { return arguments[index]; }
};

struct Function {
  const char* name;
  napi_callback callback;
};

inline void define(napi_env env, napi_value exports, Environment* environment, const Function* functions, size_t count) {
  for (size_t i = 0; i < count; i++) {
    napi_value value;
    must(napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].callback, environment, &value),
         "cannot create a function");
    must(napi_set_named_property(env, exports, functions[i].name, value), "cannot export a function");
  }
}

// Each part exports its functions here.
void defineBytes(napi_env env, napi_value exports, Environment* environment);
void defineFiles(napi_env env, napi_value exports, Environment* environment);
void defineMemory(napi_env env, napi_value exports, Environment* environment);
void defineSockets(napi_env env, napi_value exports, Environment* environment);
void defineDoorbells(napi_env env, napi_value exports, Environment* environment);
void defineSocketLoop(napi_env env, napi_value exports, Environment* environment);

}  // namespace millrace
