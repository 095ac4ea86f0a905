/** Records and pseudo-random bytes for record batch tests; all of it the same on every run. */
import type { BatchRecord } from '../../src/protocol/records/batch-builder.ts';

/** A small linear congruential generator: the same numbers for a seed, [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Half compressible text, half noise. */
export function sampleBytes(length: number, random: () => number): Buffer {
  const bytes = Buffer.alloc(length);
  const noisy = random() < 0.5;
  for (let i = 0; i < length; i++) bytes[i] = noisy ? random() * 256 : 97 + random() * 4;
  return bytes;
}

/** The same bytes in shared memory, not at the start of it. */
export function shared(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(new SharedArrayBuffer(bytes.length + 5), 5, bytes.length);
  copy.set(bytes);
  return copy;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function sampleRecords(count: number, random: () => number): BatchRecord[] {
  const records: BatchRecord[] = [];
  for (let i = 0; i < count; i++) {
    const headers = [];
    for (let h = Math.floor(random() * 4) - 1; h > 0; h--) {
      headers.push({
        key: `h${h}`,
        value: random() < 0.3 ? null : sampleBytes(Math.floor(random() * 90), random),
      });
    }
    records.push({
      key: random() < 0.2 ? null : sampleBytes(Math.floor(random() * 40), random),
      value: random() < 0.2 ? null : sampleBytes(Math.floor(random() * 400), random),
      timestamp: 1_700_000_000_000 + Math.floor((random() - 0.3) * 1e6),
      headers,
    });
  }
  return records;
}
