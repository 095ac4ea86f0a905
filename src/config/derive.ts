/**
 * Sizes that follow from the machine and the profile, with the arithmetic beside them. Pure: memory and cores are
 * parameters. Settings take their defaults from here; `deriveLimits` gives what follows from the settings in force,
 * and asserts it at start.
 */
import { MillraceError } from '../ports/errors.ts';

export const profiles = ['start', 'dev', 'embedded'] as const;
export type Profile = (typeof profiles)[number];

export interface Machine {
  /** Memory this process may use: the container's limit, or all there is. */
  readonly memoryBytes: number;
  readonly cores: number;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

export const arenaBytesMin = 8 * MiB;
/** Positions are 32-bit. */
export const arenaBytesMax = 4 * GiB;
export const segmentBytesMin = 64 * KiB;
export const segmentBytesMax = 16 * MiB;
export const segmentsMin = 16;
export const threadsMax = 64;

/** Shards: one core stays for main, WAL and pool. Embedded runs in the caller's thread. */
export function defaultThreads(profile: Profile, machine: Machine): number {
  if (profile === 'embedded') return 0;
  return Math.min(threadsMax, Math.max(1, machine.cores - 1));
}

/** start: min(¼ memory, 2 GiB); dev: min(⅛ memory, 512 MiB); embedded: 32 MiB. Never below 32 MiB; whole MiB × 4. */
export function defaultArenaBytes(profile: Profile, machine: Machine): number {
  if (profile === 'embedded') return 32 * MiB;
  const wanted =
    profile === 'start'
      ? Math.min(machine.memoryBytes / 4, 2 * GiB)
      : Math.min(machine.memoryBytes / 8, 512 * MiB);
  return Math.max(32 * MiB, roundDown(wanted, 4 * MiB));
}

/** 4 MiB from 256 MiB of arena on (64 segments); below, 1/128 as a power of two: 32 MiB → 256 KiB. */
export function defaultSegmentBytes(arenaBytes: number): number {
  if (arenaBytes >= 256 * MiB) return 4 * MiB;
  return Math.max(segmentBytesMin, powerOfTwoAtMost(arenaBytes / 128));
}

/** Half of the arena holds recent data, */
export function defaultLogCacheBytes(arenaBytes: number): number {
  return Math.floor(arenaBytes / 2);
}

/** a quarter blocks read back from objects, */
export function defaultBlockCacheBytes(arenaBytes: number): number {
  return Math.floor(arenaBytes / 4);
}

/** and what remains is for frames being received and answers being sent, half each. */
export function receiveBudgetBytes(
  arenaBytes: number,
  logCacheBytes: number,
  blockCacheBytes: number,
): number {
  return Math.floor((arenaBytes - logCacheBytes - blockCacheBytes) / 2);
}

/** As in Kafka, or a quarter of a small machine: a request that the arena has no room for takes memory beside it. */
export function defaultRequestBytesMax(machine: Machine): number {
  return Math.min(100 * MiB, Math.max(MiB, Math.floor(machine.memoryBytes / 4)));
}

/** start 2 GiB (the file grows to it), dev 512 MiB, embedded 16 MiB. */
export function defaultWalCapacity(profile: Profile): number {
  return { start: 2 * GiB, dev: 512 * MiB, embedded: 16 * MiB }[profile];
}

export interface LimitSettings {
  readonly 'arena.bytes': number;
  readonly 'arena.segment.bytes': number;
  readonly 'log.cache.bytes': number;
  readonly 'block.cache.bytes': number;
  readonly 'socket.request.max.bytes': number;
  readonly 'upload.bytes': number;
  readonly 'wal.capacity': number;
  readonly 'wal.url': readonly string[];
  readonly threads: number;
}

export interface Limits {
  /** Shards that own partitions: `threads`, or the caller's own thread. */
  readonly shards: number;
  readonly segments: number;
  readonly receiveBudgetBytes: number;
  readonly sendBudgetBytes: number;
  /** Log cache of one shard's partitions on one volume. */
  readonly journalBytes: number;
  /** Batches one shard holds for one volume; a power of two. */
  readonly journalEntries: number;
  /** Bytes of one volume that start an upload: upload.bytes, half the ring, or half the volume's log cache. */
  readonly uploadTriggerBytes: number;
  readonly frameBytesMax: number;
}

/** An entry takes 68 bytes of columns: at 2 KiB a batch that is 3 % of the cache it describes. */
const journalBytesPerEntry = 2 * KiB;
const journalEntriesMin = 4096;
/** 2^20 × 68 B = 71 MB for one shard and volume. */
const journalEntriesMax = 2 ** 20;

/** Limits under these settings; throws (internal) where the settings contradict each other, which validation prevents. */
export function deriveLimits(settings: LimitSettings): Limits {
  const arenaBytes = settings['arena.bytes'];
  const segmentBytes = settings['arena.segment.bytes'];
  const logCacheBytes = settings['log.cache.bytes'];
  const blockCacheBytes = settings['block.cache.bytes'];
  const shards = Math.max(1, settings.threads);
  const volumes = settings['wal.url'].length;
  const receive = receiveBudgetBytes(arenaBytes, logCacheBytes, blockCacheBytes);
  const send = arenaBytes - logCacheBytes - blockCacheBytes - receive;
  const journalBytes = Math.floor(logCacheBytes / (shards * volumes));
  const entries = powerOfTwoAtMost(Math.max(1, journalBytes / journalBytesPerEntry));
  const limits: Limits = {
    shards,
    segments: arenaBytes / segmentBytes,
    receiveBudgetBytes: receive,
    sendBudgetBytes: send,
    journalBytes,
    journalEntries: Math.min(journalEntriesMax, Math.max(journalEntriesMin, entries)),
    uploadTriggerBytes: Math.min(
      settings['upload.bytes'],
      Math.floor(settings['wal.capacity'] / 2),
      Math.floor(logCacheBytes / volumes / 2),
    ),
    frameBytesMax: settings['socket.request.max.bytes'],
  };
  assertLimit(volumes >= 1, 'at least one WAL volume');
  assertLimit(arenaBytes >= arenaBytesMin && arenaBytes <= arenaBytesMax, 'arena between 8 MiB and 4 GiB');
  assertLimit(isPowerOfTwo(segmentBytes), 'segment a power of two');
  assertLimit(
    Number.isInteger(limits.segments) && limits.segments >= segmentsMin,
    'arena of whole segments, at least 16',
  );
  assertLimit(receive > 0 && send > 0, 'room to receive and to send');
  assertLimit(
    logCacheBytes + blockCacheBytes + receive + send === arenaBytes,
    'budgets that add up to the arena',
  );
  assertLimit(isPowerOfTwo(limits.journalEntries), 'journal entries a power of two');
  assertLimit(limits.uploadTriggerBytes > 0, 'an upload of at least a byte');
  return limits;
}

function assertLimit(holds: boolean, what: string): void {
  if (!holds) throw new MillraceError('internal', 'DERIVED_LIMIT', `derived limits: not so: ${what}`);
}

export function isPowerOfTwo(n: number): boolean {
  return Number.isInteger(n) && n > 0 && Number.isInteger(Math.log2(n));
}

export function powerOfTwoAtMost(n: number): number {
  return 2 ** Math.floor(Math.log2(n));
}

function roundDown(n: number, unit: number): number {
  return Math.floor(n / unit) * unit;
}
