/** A random uuid (RFC 9562 version 4) as Kafka prints it. */
import type { Random } from '../ports/random.ts';

/** 22 characters of base64url. */
export function randomUuid(random: Random): string {
  const bytes = Buffer.from(random.bytes(new Uint8Array(16)));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('base64url');
}
