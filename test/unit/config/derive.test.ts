import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  defaultArenaBytes,
  defaultSegmentBytes,
  defaultThreads,
  deriveLimits,
  type LimitSettings,
} from '../../../src/config/derive.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;

const settings: LimitSettings = {
  'arena.bytes': 2 * GiB,
  'arena.segment.bytes': 4 * MiB,
  'log.cache.bytes': GiB,
  'block.cache.bytes': 512 * MiB,
  'socket.request.max.bytes': 100 * MiB,
  'upload.bytes': 500_000_000,
  'wal.capacity': 2 * GiB,
  'wal.url': ['file:///w'],
  threads: 1,
};

test('arena: a quarter of memory up to 2 GiB, an eighth up to 512 MiB in dev, 32 MiB embedded', () => {
  const arena = (profile: 'start' | 'dev' | 'embedded', memoryBytes: number): number =>
    defaultArenaBytes(profile, { memoryBytes, cores: 2 });
  assert.equal(arena('start', 4 * GiB), GiB);
  assert.equal(arena('start', 64 * GiB), 2 * GiB);
  assert.equal(arena('dev', 2 * GiB), 256 * MiB);
  assert.equal(arena('dev', 64 * GiB), 512 * MiB);
  assert.equal(arena('embedded', 64 * GiB), 32 * MiB);
  assert.equal(arena('start', 64 * MiB), 32 * MiB);
  assert.equal(arena('start', 4 * GiB + 12345) % (4 * MiB), 0);
});

test('segments: 4 MiB, smaller in small arenas, always a power of two', () => {
  assert.equal(defaultSegmentBytes(2 * GiB), 4 * MiB);
  assert.equal(defaultSegmentBytes(32 * MiB), 256 * 1024);
  assert.equal(defaultSegmentBytes(100 * MiB), 512 * 1024);
});

test('one core stays free of shards', () => {
  assert.equal(defaultThreads('start', { memoryBytes: GiB, cores: 1 }), 1);
  assert.equal(defaultThreads('start', { memoryBytes: GiB, cores: 8 }), 7);
  assert.equal(defaultThreads('start', { memoryBytes: GiB, cores: 256 }), 64);
  assert.equal(defaultThreads('embedded', { memoryBytes: GiB, cores: 8 }), 0);
});

test('limits add up', () => {
  const limits = deriveLimits(settings);
  assert.deepEqual(limits, {
    shards: 1,
    segments: 512,
    receiveBudgetBytes: 256 * MiB,
    sendBudgetBytes: 256 * MiB,
    journalBytes: GiB,
    journalEntries: 524_288,
    uploadTriggerBytes: 500_000_000,
    frameBytesMax: 100 * MiB,
  });
  const spread = deriveLimits({ ...settings, threads: 3, 'wal.url': ['file:///a', 'file:///b'] });
  assert.equal(spread.journalBytes, Math.floor(GiB / 6));
  assert.equal(spread.journalEntries, 65_536);
});

test('an upload starts at half the volume or half its log cache where those are smaller', () => {
  assert.equal(deriveLimits({ ...settings, 'wal.capacity': 64 * MiB }).uploadTriggerBytes, 32 * MiB);
  assert.equal(deriveLimits({ ...settings, 'log.cache.bytes': 64 * MiB }).uploadTriggerBytes, 32 * MiB);
});

test('contradicting settings do not get past the assertions', () => {
  const wrong: Partial<LimitSettings>[] = [
    { 'arena.bytes': 5 * GiB },
    { 'arena.segment.bytes': 3 * MiB },
    { 'arena.bytes': 2 * GiB + 1 },
    { 'log.cache.bytes': 2 * GiB },
    { 'wal.url': [] },
  ];
  for (const change of wrong) {
    assert.throws(
      () => deriveLimits({ ...settings, ...change }),
      { code: 'DERIVED_LIMIT' },
      JSON.stringify(change),
    );
  }
});
