/**
 * Every limit of the block WAL, with the arithmetic beside it.
 */

/** Unit of alignment of everything on the volume: superblocks, commits, runs. */
export const pageBytes = 4096;
/** Superblock A, superblock B, fence page, one reserved page; the ring follows. */
export const ringStartBytes = 4 * pageBytes;
export const commitHeaderBytes = 128;
export const descriptorBytes = 96;
/** Kafka's v2 batch header, kept whole in every descriptor. */
export const batchHeaderBytes = 61;
/** Bytes of a batch header before those under the batch's own CRC. */
export const batchCrcFrom = 21;
/** Descriptors of one commit: 4,096 × 96 = 384 KiB. */
export const descriptorsMax = 4096;
/** Payload of one commit, unless a single batch is larger. */
export const payloadBytesMax = 8 * 1024 * 1024;
/** Batches below this follow the descriptors (copied); larger ones are written from the arena as they lie. */
export const inlineBelowBytes = 16 * 1024;
/** Vectors of one write: libuv splits longer lists (IOV_MAX = 1,024) into several writes. */
export const vectorsMax = 1000;
/**
 * Runs of one commit: one vector for the head, then per run its interior and one vector for the staged pages between
 * it and the next (a run's last partial page lies beside the next one's first in staging): 2 + 2 × 499 = 1,000.
 */
export const runsMax = (vectorsMax - 2) / 2;
/** Header, descriptors and small batches: 128 + 393,216 + 8 MiB, whole pages. */
export const headBytesMax = roundUpToPage(
  commitHeaderBytes + descriptorsMax * descriptorBytes + payloadBytesMax,
);
/** First and last partial page of every run. */
export const partialBytesMax = 2 * runsMax * pageBytes;
/** Largest ordinary commit: a head without small payload + 8 MiB in runs + both partial pages of each. */
export const commitBytesMax =
  roundUpToPage(commitHeaderBytes + descriptorsMax * descriptorBytes) + payloadBytesMax + partialBytesMax;
/** The file grows by this much at a time, */
export const growChunkBytes = 64 * 1024 * 1024;
/** written in slices of this size between commits. */
export const growSliceBytes = 1024 * 1024;
/** Under load a superblock is at most this old. */
export const superblockIntervalMs = 1000;
/** A write without answer for this long ends the epoch. */
export const ioTimeoutMs = 30_000;
/** Object WAL: a commit is closed at this much payload unless a setting says less, */
export const objectBatchBytesMax = payloadBytesMax;
/** and begins at most this long after the one before, or as long as a put takes if that is less. */
export const objectLingerMs = 250;
/** Commits of an object WAL under way at once. */
export const objectInFlight = 4;
/** An idle owner of an object WAL says this often that it lives; a starter waits three times as long. */
export const signOfLifeMs = 10_000;
export const ownerSilenceMs = 3 * signOfLifeMs;
/** One source's turn while a commit is collected. */
export const quantumEntries = 64;
export const quantumBytes = 256 * 1024;

export function roundUpToPage(bytes: number): number {
  return Math.ceil(bytes / pageBytes) * pageBytes;
}

export function roundDownToPage(bytes: number): number {
  return bytes - (bytes % pageBytes);
}

/** Page-aligned memory: a wasm memory begins on a page, and is committed only where it is touched. */
export function alignedBuffer(bytes: number): Buffer {
  const pages = Math.ceil(bytes / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  return Buffer.from(memory.buffer, 0, bytes);
}

// The one corner of WebAssembly used here; the language library declares it for browsers only.
declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};
