// CRC-32C (Castagnoli, RFC 3720 appendix B.4), as used by Kafka record batches and all our own formats.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace {

// Builds the tables and picks an implementation for this processor. Idempotent and safe from many threads;
// must have run before crc32c.
void prepareCrc32c();

// Checksum of `length` bytes, continuing from `seed`, the checksum of what came before (0 to begin).
uint32_t crc32c(const uint8_t* data, size_t length, uint32_t seed);

}  // namespace millrace
