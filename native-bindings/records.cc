// The walk over the records of one uncompressed batch. Every read is checked against the end of its record,
// and every record against the end of the batch; the bytes are a client's and may say anything.
//
//   record = length | attributes | timestamp delta | offset delta | key length, key | value length, value
//            | header count | (key length, key | value length, value) ...        lengths are zigzag varints
//
// A record's length counts the bytes behind its own field and must be met exactly. The same answers as the
// portable walk, to the last malformed byte: a test feeds both with the same noise.
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

inline bool skipVarlong(const uint8_t*& position, const uint8_t* end) {
  for (int i = 0; i < kVarlongBytesMax && position < end; i++) {
    if (*position++ < 0x80) return true;
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

WalkResult walkRecords(const uint8_t* position, const uint8_t* end, int64_t recordCount, uint32_t flags) {
  const bool keysRequired = (flags & kKeysRequired) != 0;
  for (int64_t index = 0; index < recordCount; index++) {
    const int32_t length = readVarint(position, end);
    if (length < kRecordLengthMin || length > end - position) return WalkResult::kMalformed;
    const uint8_t* const recordEnd = position + length;
    position++;  // attributes: no bit of them has a meaning yet
    if (!skipVarlong(position, recordEnd)) return WalkResult::kMalformed;
    const int32_t offsetDelta = readVarint(position, recordEnd);
    if (offsetDelta != index) return offsetDelta == kBroken ? WalkResult::kMalformed : WalkResult::kOffsetDelta;
    const int32_t keyLength = skipBytes(position, recordEnd);
    if (keyLength == kBroken) return WalkResult::kMalformed;
    if (keyLength == -1 && keysRequired) return WalkResult::kNullKey;
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
  return position == end ? WalkResult::kOk : WalkResult::kTrailingBytes;
}

}  // namespace millrace
