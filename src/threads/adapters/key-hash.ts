/** Hash of keys for log compaction: the first 128 bits of SHA-256, which nobody can make two keys collide in. */
import { createHash } from 'node:crypto';

/** Writes them to the start of `out`. */
export function keyHash(bytes: Uint8Array, at: number, length: number, out: Uint32Array): void {
  const digest = createHash('sha256')
    .update(bytes.subarray(at, at + length))
    .digest();
  for (let i = 0; i < 4; i++) out[i] = digest.readUInt32LE(4 * i);
}
