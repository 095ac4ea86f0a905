// Structure check of the records of one uncompressed batch, message format 2.
#pragma once

#include <cstdint>

namespace millrace {

// Answers of the walk; the values are those of the portable walk.
enum class WalkResult : int {
  kOk = 0,
  kMalformed = 1,  // a varint or a length runs past its record or the batch
  kOffsetDelta = 2,  // offset deltas are not 0, 1, 2, ...
  kNullKey = 3,
  kTrailingBytes = 4,
};

constexpr uint32_t kKeysRequired = 1;  // flag bit 0

// Whether [position, end) holds exactly recordCount well-formed records. The first fault found is the answer.
WalkResult walkRecords(const uint8_t* position, const uint8_t* end, int64_t recordCount, uint32_t flags);

}  // namespace millrace
