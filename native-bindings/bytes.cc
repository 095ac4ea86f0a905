// Calls that read bytes in place: checksums and the walk over the records of a batch; and one that copies many ranges.
// Also the table of registered arenas. Positions are bytes, up to 2^53.
#include <errno.h>
#include <string.h>

#include "crc32c.h"
#include "environment.h"
#include "records.h"

namespace millrace {
namespace {

napi_value crcOfBuffer(napi_env env, napi_callback_info info) {
  const Call<4> call(env, info);
  const Bytes bytes = bytesOf(env, call[0]);
  const int64_t position = integerOf(env, call[1]);
  const int64_t length = integerOf(env, call[2]);
  const auto seed = static_cast<uint32_t>(integerOf(env, call[3]));
  return number(env, crc32c(bytes.data + position, static_cast<size_t>(length), seed));
}

napi_value crcOfArena(napi_env env, napi_callback_info info) {
  const Call<4> call(env, info);
  const Arena& arena = call.environment->arenas[static_cast<size_t>(integerOf(env, call[0]))];
  const int64_t position = integerOf(env, call[1]);
  const int64_t length = integerOf(env, call[2]);
  const auto seed = static_cast<uint32_t>(integerOf(env, call[3]));
  return number(env, crc32c(arena.data + position, static_cast<size_t>(length), seed));
}

napi_value walk(napi_env env, napi_callback_info info) {
  const Call<6> call(env, info);
  const Bytes bytes = bytesOf(env, call[0]);
  const int64_t position = integerOf(env, call[1]);
  const int64_t length = integerOf(env, call[2]);
  const int64_t recordCount = integerOf(env, call[3]);
  const auto flags = static_cast<uint32_t>(integerOf(env, call[4]));
  const Bytes report = bytesOf(env, call[5]);
  auto* const places = reinterpret_cast<double*>(report.data);
  const uint8_t* start = bytes.data + position;
  const WalkResult result = walkRecords(start, start + length, recordCount, flags, places, report.length);
  return number(env, static_cast<int>(result));
}

napi_value registerArena(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  std::vector<Arena>& arenas = call.environment->arenas;
  size_t slot = 0;
  while (slot < arenas.size() && arenas[slot].owner != nullptr) slot++;
  if (slot == arenas.size()) arenas.emplace_back();
  const Bytes bytes = bytesOf(env, call[0]);
  Arena& arena = arenas[slot];
  arena.data = bytes.data;
  arena.length = bytes.length;
  must(napi_create_reference(env, call[0], 1, &arena.owner), "cannot hold the arena");
  return number(env, static_cast<double>(slot));
}

napi_value releaseArena(napi_env env, napi_callback_info info) {
  const Call<1> call(env, info);
  Arena& arena = call.environment->arenas[static_cast<size_t>(integerOf(env, call[0]))];
  must(napi_delete_reference(env, arena.owner), "cannot release the arena");
  arena = Arena();
  return nullptr;
}

constexpr size_t kCopyWords = 3;  // position in the source, position in the target, bytes

// (source, target, Uint32Array of triples, count) → 0, or -EFAULT with nothing copied: a triple lies outside.
napi_value copyRanges(napi_env env, napi_callback_info info) {
  const Call<4> call(env, info);
  const Bytes source = bytesOf(env, call[0]);
  const Bytes target = bytesOf(env, call[1]);
  const auto* table = reinterpret_cast<const uint32_t*>(bytesOf(env, call[2]).data);
  const auto words = kCopyWords * static_cast<size_t>(integerOf(env, call[3]));
  for (size_t i = 0; i < words; i += kCopyWords) {
    const size_t length = table[i + 2];
    if (length > source.length || table[i] > source.length - length) return number(env, -EFAULT);
    if (length > target.length || table[i + 1] > target.length - length) return number(env, -EFAULT);
  }
  for (size_t i = 0; i < words; i += kCopyWords) {
    memcpy(target.data + table[i + 1], source.data + table[i], table[i + 2]);
  }
  return number(env, 0);
}

constexpr Function kFunctions[] = {
    {"crc32c", crcOfBuffer},          {"crc32cAt", crcOfArena},         {"walkRecords", walk},
    {"copyRanges", copyRanges},
    {"registerArena", registerArena}, {"releaseArena", releaseArena},
};

}  // namespace

void defineBytes(napi_env env, napi_value exports, Environment* environment) {
  prepareCrc32c();
  define(env, exports, environment, kFunctions, sizeof(kFunctions) / sizeof(kFunctions[0]));
}

}  // namespace millrace
