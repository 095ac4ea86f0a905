// The walk over the records of one uncompressed batch. Every read is checked against the end of its record,
// and every record against the end of the batch; the bytes are a client's and may say anything.
//
//   record = length | attributes 0 | timestamp delta | offset delta | key length, key | value length, value
//            | header count | (key length, key | value length, value) ...          all lengths zigzag varints
//
// A record that reaches past the batch is truncated; anything that does not fit inside its own record, an
// overlong varint, a negative length other than null, or bytes left over in a record is a bad length.
#include "records.h"

namespace millrace {
namespace {

constexpr int kVarintBytesMax = 5;
constexpr int kVarlongBytesMax = 10;

// Reads a zigzag varint of 32 bits. False when it is cut off or does not end in time.
inline bool readVarint(const uint8_t*& position, const uint8_t* end, int32_t& value) {
  if (position < end && *position < 0x80) {  // one byte, the common case
    const uint32_t byte = *position++;
    value = static_cast<int32_t>((byte >> 1) ^ (0u - (byte & 1)));
    return true;
  }
  uint32_t raw = 0;
  for (int i = 0; i < kVarintBytesMax && position < end; i++) {
    const uint32_t byte = *position++;
    // The fifth byte has four bits of the number; more would be lost without notice.
    if (i == kVarintBytesMax - 1 && byte > 0x0f) return false;
    raw |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      value = static_cast<int32_t>((raw >> 1) ^ (0u - (raw & 1)));
      return true;
    }
  }
  return false;
}

inline bool skipVarlong(const uint8_t*& position, const uint8_t* end) {
  for (int i = 0; i < kVarlongBytesMax && position < end; i++) {
    const uint8_t byte = *position++;
    if (i == kVarlongBytesMax - 1 && byte > 0x01) return false;
    if (byte < 0x80) return true;
  }
  return false;
}

// Skips a length and that many bytes; null (-1) is allowed where the caller says so and is reported back.
inline bool skipBytes(const uint8_t*& position, const uint8_t* end, bool nullAllowed, bool& isNull) {
  int32_t length = 0;
  if (!readVarint(position, end, length)) return false;
  isNull = length == -1;
  if (length < 0) return isNull && nullAllowed;
  if (end - position < length) return false;
  position += length;
  return true;
}

inline int64_t fault(int64_t index, RecordFault reason) { return -(index * 16 + static_cast<int64_t>(reason)); }

}  // namespace

int64_t walkRecords(const uint8_t* position, const uint8_t* end, int64_t recordCount, uint32_t flags) {
  const bool keysRequired = (flags & kKeysRequired) != 0;
  for (int64_t index = 0; index < recordCount; index++) {
    int32_t length = 0;
    const uint8_t* const start = position;
    if (!readVarint(position, end, length)) {
      // Cut off by the end of the batch, or a varint that does not end.
      const bool cutOff = position == end && end - start < kVarintBytesMax;
      return fault(index, cutOff ? RecordFault::kTruncated : RecordFault::kBadLength);
    }
    if (length <= 0) return fault(index, RecordFault::kBadLength);
    if (end - position < length) return fault(index, RecordFault::kTruncated);
    const uint8_t* const recordEnd = position + length;

    if (*position++ != 0) return fault(index, RecordFault::kBadAttributes);
    if (!skipVarlong(position, recordEnd)) return fault(index, RecordFault::kBadLength);
    int32_t offsetDelta = 0;
    if (!readVarint(position, recordEnd, offsetDelta)) return fault(index, RecordFault::kBadLength);
    if (offsetDelta != index) return fault(index, RecordFault::kBadOffsetDelta);

    bool isNull = false;
    if (!skipBytes(position, recordEnd, true, isNull)) return fault(index, RecordFault::kBadLength);
    if (isNull && keysRequired) return fault(index, RecordFault::kNullKey);
    if (!skipBytes(position, recordEnd, true, isNull)) return fault(index, RecordFault::kBadLength);

    int32_t headers = 0;
    if (!readVarint(position, recordEnd, headers) || headers < 0) return fault(index, RecordFault::kBadLength);
    // A count larger than the bytes left fails at the first header that is not there.
    for (int32_t i = 0; i < headers; i++) {
      if (!skipBytes(position, recordEnd, false, isNull)) return fault(index, RecordFault::kBadLength);
      if (!skipBytes(position, recordEnd, true, isNull)) return fault(index, RecordFault::kBadLength);
    }
    if (position != recordEnd) return fault(index, RecordFault::kBadLength);
  }
  if (position != end) return fault(recordCount, RecordFault::kTrailingBytes);
  return 0;
}

}  // namespace millrace
