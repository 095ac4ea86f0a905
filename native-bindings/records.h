// Judgement of the plain records of one batch, message format 2.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace {

// Answers of the walk; the values are those of the portable walk.
enum class WalkResult : int {
  kOk = 0,
  kMalformed = 1,  // a varint or a length runs past its record or the batch
  kOffsetDelta = 2,  // offset deltas are not 0, 1, 2, ...
  kFaultyRecords = 3,  // well-formed, but some records are at fault: see the report
  kTrailingBytes = 4,
};

constexpr uint32_t kKeysRequired = 1;  // flag bit 0: null keys are a fault
constexpr uint32_t kTimesJudged = 2;   // flag bit 1: so is a timestamp outside the report's window, but for -1

// Places in the report, as the portable walk draws them.
constexpr size_t kBaseTimeHigh = 0;
constexpr size_t kBaseTimeLow = 1;
constexpr size_t kTimeMin = 2;
constexpr size_t kTimeMax = 3;
constexpr size_t kMaxTimestamp = 4;
constexpr size_t kFaults = 5;
constexpr size_t kEntries = 6;

// Whether [position, end) holds exactly recordCount well-formed records. The first fault of structure is the answer;
// faults of records are counted, and listed as far as the report of `places` doubles (kEntries or more) has room.
WalkResult walkRecords(const uint8_t* position, const uint8_t* end, int64_t recordCount, uint32_t flags,
                       double* report, size_t places);

}  // namespace millrace
