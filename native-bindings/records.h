// Structure check of the records of one uncompressed batch, message format 2.
#pragma once

#include <cstdint>

namespace millrace {

// Reasons of a refusal; the values are part of the contract with the portable walk.
enum class RecordFault : int {
  kTruncated = 1,
  kBadLength = 2,
  kBadAttributes = 3,
  kBadOffsetDelta = 4,
  kNullKey = 5,
  kTrailingBytes = 6,
};

constexpr uint32_t kKeysRequired = 1;  // flag bit 0

// Returns 0 when [position, end) holds exactly recordCount well-formed records with offset deltas 0, 1, 2 …,
// else -(index * 16 + reason), index being the failing record's (the record count for trailing bytes).
int64_t walkRecords(const uint8_t* position, const uint8_t* end, int64_t recordCount, uint32_t flags);

}  // namespace millrace
