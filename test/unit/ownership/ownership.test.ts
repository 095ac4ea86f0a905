/** What an ownership does where storage, metadata or shards refuse: nothing is taken back of which nobody knows the fate. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KafkaConfigCatalog } from '../../../src/config/config-catalog.ts';
import type { HeldEnd, StreamName } from '../../../src/log/delta-collection.ts';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import type { MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { Ownership, type OwnershipDeps } from '../../../src/ownership/ownership.ts';
import { VolumePins } from '../../../src/ownership/volume-pins.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { id, open, topic, wal } from '../metadata/fixtures.ts';

const cut = { sequence: 9, position: 4096, chainCrc: 1 };

/** Two partitions of one topic, open in w1; `commit` decides what becomes of each commit. */
function world(commit: (changes: readonly MetadataChange[]) => void = () => {}) {
  const builder = new ImageBuilder();
  builder.apply([wal('w1'), wal('w2'), topic(1, 2), open(1, 0, 0, 0), open(1, 1, 0, 0)]);
  const calls: string[] = [];
  let upload: () => void = () => {};
  const failed = new Set<number>();
  const clock = new VirtualClock();
  const metadata: OwnershipDeps['metadata'] = {
    image: builder.image,
    async commit(changes) {
      commit(changes);
      builder.apply(changes);
      return builder.image.revision;
    },
  };
  const ownership = new Ownership({
    metadata,
    shards: [
      {
        stagePartitions: async (specs) => void calls.push(`stage ${specs.length}`),
        unstage: async (streams) => void calls.push(`unstage ${streams.length}`),
        beginClose: async (streams) => void calls.push(`begin ${streams.length}`),
        cancelClose: async (streams) => void calls.push(`cancel ${streams.length}`),
        ends: async () => [],
      },
    ],
    uploads: {
      upload: async () => {
        calls.push('upload');
        upload();
      },
      async close(_index, closing) {
        upload();
        const ends: HeldEnd[] = closing.streams.map((name) => ({ ...name, endOffset: 5, heldEnd: 5 }));
        await metadata.commit(closing.changes(ends, new Map(), cut));
      },
      settled: async () => {},
      storeStates: async () => ({ objects: new Map(), changes: [] }),
    },
    pins: new VolumePins([
      { logId: 'w1', predecessors: [] },
      { logId: 'w2', predecessors: [] },
    ]),
    failed: (index) => failed.has(index),
    fold: async () => new Map(),
    catalog: new KafkaConfigCatalog({}),
    nodeId: 0,
    clock,
    logger: silentLogger,
  });
  return {
    ownership,
    calls,
    clock,
    failed,
    partition: (index: number) => builder.image.topicsById.get(id(1))!.partitions[index]!,
    failUploads(error: Error | null) {
      upload = () => {
        if (error !== null) throw error;
      };
    },
  };
}

const streams = (...partitions: readonly number[]): StreamName[] =>
  partitions.map((partition) => ({ topicId: id(1), partition }));
const away = new MillraceError('unavailable', 'STORE_UNAVAILABLE', 'away');

test('a close, an open under the next epoch', async () => {
  const { ownership, calls, partition } = world();
  await ownership.close(streams(0, 1));
  assert.deepEqual(calls, ['upload', 'begin 2']);
  assert.deepEqual([partition(0).state, partition(0).endOffset], ['closed', 5]);
  await ownership.open(streams(1));
  assert.deepEqual(
    [partition(1).state, partition(1).leaderEpoch, partition(1).epochs.at(-1)],
    ['open', 1, { epoch: 1, startOffset: 5 }],
  );
  assert.equal(partition(0).state, 'closed');
});

test('a close whose upload fails goes on serving; one whose commit is unknown does not', async () => {
  let fate: Error | null = null;
  const { ownership, calls, partition, failUploads } = world(() => {
    if (fate !== null) throw fate;
  });
  failUploads(away);
  await assert.rejects(ownership.close(streams(0)), { code: 'STORE_UNAVAILABLE' });
  assert.deepEqual(calls, ['upload'], 'it was never asked for silence');
  failUploads(null);
  fate = new MillraceError('invalid', 'METADATA_CONDITION', 'no');
  await assert.rejects(ownership.close(streams(0)), { code: 'METADATA_CONDITION' });
  assert.deepEqual(calls.slice(1), ['upload', 'begin 1', 'cancel 1']);
  fate = away;
  calls.length = 0;
  await assert.rejects(ownership.close(streams(0)), { code: 'STORE_UNAVAILABLE' });
  assert.deepEqual(calls, ['upload', 'begin 1'], 'nothing is taken back');
  assert.equal(partition(0).state, 'open');
});

test('an open that fails leaves nothing staged', async () => {
  let fate: Error | null = null;
  const { ownership, calls } = world(() => {
    if (fate !== null) throw fate;
  });
  await ownership.close(streams(0));
  fate = away;
  calls.length = 0;
  await assert.rejects(ownership.open(streams(0)), { code: 'STORE_UNAVAILABLE' });
  assert.deepEqual(calls, ['stage 1', 'unstage 1']);
});

test('streams leave a failed volume, and what could be closed only is opened later', async () => {
  let opens = 0;
  const { ownership, clock, failed, partition } = world((changes) => {
    if (changes.some(({ type }) => type === 'open') && ++opens === 1) throw away;
  });
  ownership.start();
  failed.add(0);
  await clock.advanceAsync(1_000);
  assert.deepEqual([partition(0).state, partition(1).state], ['closed', 'closed']);
  await clock.advanceAsync(1_000);
  assert.deepEqual([partition(0).wal, partition(1).wal, partition(1).leaderEpoch], ['w2', 'w2', 1]);
  await ownership.stop();
  await assert.rejects(ownership.close(streams(0)), { code: 'OWNERSHIP_STOPPED' });
});

test('without another volume they stay where they are', async () => {
  const { ownership, clock, failed, partition } = world();
  ownership.start();
  failed.add(0);
  failed.add(1);
  await clock.advanceAsync(2_000);
  assert.deepEqual([partition(0).state, partition(0).wal], ['open', 'w1']);
  await ownership.stop();
});
