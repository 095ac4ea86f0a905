// The walk over the plain records of one batch. Every read is checked against the end of its record,
// and every record against the end of the batch; the bytes are a client's and may say anything.
//
//   record = length | attributes | timestamp delta | offset delta | key length, key | value length, value
//            | header count | (key length, key | value length, value) ...        lengths are zigzag varints
//
// A record's length counts the bytes behind its own field and must be met exactly. The same answers as the
// portable walk, to the last malformed byte: a test feeds both with the same noise. Timestamps are added as Java adds
// them: in 64 bits, around the end.
#include "records.h"

namespace millrace {
namespace {

constexpr int64_t kRecordLengthMin = 6;  // one byte for each field behind the length
constexpr int32_t kBroken = INT32_MIN;   // a cut-off or overlong varint; no field may have this value
constexpr int kVarlongBytesMax = 10;

inline int32_t readVarint(const uint8_t*& position, const uint8_t* end) {
  if (position >= end) return kBroken;
  uint32_t byte = *position++;
  uint32_t raw = byte & 0x7f;
  for (int shift = 7; byte >= 0x80; shift += 7) {
    if (shift > 28 || position >= end) return kBroken;
    byte = *position++;
    raw |= (byte & 0x7f) << shift;
  }
  return static_cast<int32_t>((raw >> 1) ^ (0u - (raw & 1)));
}

// The zigzag is undone in unsigned arithmetic, so that adding it to a base cannot overflow.
inline bool readVarlong(const uint8_t*& position, const uint8_t* end, uint64_t& value) {
  uint64_t raw = 0;
  for (int i = 0; i < kVarlongBytesMax && position < end; i++) {
    const uint64_t byte = *position++;
    raw |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      value = (raw >> 1) ^ (0u - (raw & 1));
      return true;
    }
  }
  return false;
}

// Skips a length and that many bytes. Returns the length, -1 for null, kBroken for anything that does not fit.
inline int32_t skipBytes(const uint8_t*& position, const uint8_t* end) {
  const int32_t length = readVarint(position, end);
  if (length < -1 || length > end - position) return kBroken;
  if (length > 0) position += length;
  return length;
}

}  // namespace

WalkResult walkRecords(const uint8_t* position, const uint8_t* end, int64_t recordCount, uint32_t flags,
                       double* report, size_t places) {
  const bool keysRequired = (flags & kKeysRequired) != 0;
  const bool timesJudged = (flags & kTimesJudged) != 0;
  const uint64_t base = static_cast<uint64_t>(static_cast<int64_t>(report[kBaseTimeHigh])) << 32 |
                        static_cast<uint32_t>(report[kBaseTimeLow]);
  const int64_t timeMin = timesJudged ? static_cast<int64_t>(report[kTimeMin]) : INT64_MIN;
  const int64_t timeMax = timesJudged ? static_cast<int64_t>(report[kTimeMax]) : INT64_MAX;
  int64_t maxTimestamp = -1;
  size_t faults = 0;
  report[kMaxTimestamp] = -1;
  report[kFaults] = 0;
  const auto fault = [&](int64_t entry) {
    if (kEntries + faults < places) report[kEntries + faults] = static_cast<double>(entry);
    faults++;
  };
  for (int64_t index = 0; index < recordCount; index++) {
    const int32_t length = readVarint(position, end);
    if (length < kRecordLengthMin || length > end - position) return WalkResult::kMalformed;
    const uint8_t* const recordEnd = position + length;
    position++;  // attributes: no bit of them has a meaning yet
    uint64_t delta = 0;
    if (!readVarlong(position, recordEnd, delta)) return WalkResult::kMalformed;
    const auto timestamp = static_cast<int64_t>(base + delta);
    if (timestamp > maxTimestamp) maxTimestamp = timestamp;
    const int32_t offsetDelta = readVarint(position, recordEnd);
    if (offsetDelta != index) return offsetDelta == kBroken ? WalkResult::kMalformed : WalkResult::kOffsetDelta;
    const int32_t keyLength = skipBytes(position, recordEnd);
    if (keyLength == kBroken) return WalkResult::kMalformed;
    if (keyLength == -1 && keysRequired) fault(2 * index);
    else if ((timestamp < timeMin || timestamp > timeMax) && timestamp != -1) fault(2 * index + 1);
    if (skipBytes(position, recordEnd) == kBroken) return WalkResult::kMalformed;
    const int32_t headers = readVarint(position, recordEnd);
    // A header takes two bytes or more, so this bounds the loop by the record's own size.
    if (headers < 0 || 2 * static_cast<int64_t>(headers) > recordEnd - position) return WalkResult::kMalformed;
    for (int32_t i = 0; i < headers; i++) {
      if (skipBytes(position, recordEnd) < 0) return WalkResult::kMalformed;
      if (skipBytes(position, recordEnd) == kBroken) return WalkResult::kMalformed;
    }
    if (position != recordEnd) return WalkResult::kMalformed;
  }
  if (position != end) return WalkResult::kTrailingBytes;
  report[kMaxTimestamp] = static_cast<double>(maxTimestamp);
  report[kFaults] = static_cast<double>(faults);
  return faults == 0 ? WalkResult::kOk : WalkResult::kFaultyRecords;
}

}  // namespace millrace
