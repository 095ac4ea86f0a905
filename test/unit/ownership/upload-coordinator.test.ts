/** The end of uploads: what a stop leaves under way, and that streams are closed with their states or not at all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MetadataChange, MetadataStore } from '../../../src/metadata/metadata-store.ts';
import { UploadCoordinator } from '../../../src/ownership/upload-coordinator.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { streamKey } from '../../../src/ports/stream-id.ts';
import type { StreamState } from '../../../src/stream/objects/objects.ts';
import type { WalStatus } from '../../../src/stream/wal/wal.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { id, oid } from '../metadata/fixtures.ts';
import { producer } from '../stream/manifest/manifests.ts';

const topicId = id(1);
const cut = { sequence: 7, position: 28_672, chainCrc: 1 };
const status: WalStatus = {
  logId: 'w1',
  cut,
  trimmed: { sequence: 0, position: 0, chainCrc: 0 },
  usedBytes: 28_672,
  capacityBytes: 1 << 20,
  writtenBytes: 1 << 20,
  failed: null,
};

/** One volume and one shard with a full ring; what the shard reports and where the log stands comes when let go. */
function world() {
  const clock = new VirtualClock();
  const state: StreamState = {
    topicId,
    partition: 0,
    endOffset: 10,
    lastStableOffset: 10,
    producers: [producer(1, 9)],
  };
  const commits: MetadataChange[][] = [];
  const held: { loads: (() => void)[]; statuses: (() => void)[]; end: number } = {
    loads: [],
    statuses: [],
    end: 10,
  };
  /** What the log was trimmed to, and who waits for the bucket's journal to hold a revision; null = it holds all at once. */
  const trims: number[] = [];
  const journal: { waiting: { revision: number; settle(error?: Error): void }[] | null } = { waiting: null };
  let sequence = 0;
  const coordinator = new UploadCoordinator({
    volumes: [
      {
        index: 0,
        logId: 'w1',
        control: {
          status: () =>
            new Promise((resolve) =>
              held.statuses.push(() => {
                resolve({ ...status, cut: { ...cut, sequence: ++sequence } });
                // Between the parts of a delta others have their turn.
                void clock.settle();
              }),
            ),
          trim: async (to) => void trims.push(to.sequence),
          close: async () => {},
        },
        usedBytes: () => 1 << 20,
        capacityBytes: () => 1 << 20,
      },
    ],
    shards: [
      {
        collect: async (volume, _commit, named) => ({
          volume,
          end: 1,
          bytes: 0,
          streams: [],
          states: [],
          ends: named.map((name) => ({ ...name, endOffset: 10, heldEnd: held.end })),
          more: named.length > 0,
        }),
        collectMore: async (volume) => ({
          volume,
          end: 1,
          bytes: 0,
          streams: [],
          states: [state],
          ends: [],
          more: false,
        }),
        uploaded: async () => {},
      },
    ],
    metadata: {
      commit: async (changes: MetadataChange[]) => commits.push(changes),
      persisted: (revision: number) =>
        journal.waiting === null
          ? Promise.resolve()
          : new Promise<void>((resolve, reject) => {
              const settle = (error?: Error) => (error === undefined ? resolve() : reject(error));
              journal.waiting!.push({ revision, settle });
            }),
    } as unknown as MetadataStore,
    ids: { take: async () => [oid(5)] } as unknown as ConstructorParameters<
      typeof UploadCoordinator
    >[0]['ids'],
    upload: async ({ objectId }) => ({ objectId, size: 100, ranges: [] }),
    flow: { uploadRate: 0, storedBytes: 0 },
    discard: async () => {},
    load: () =>
      new Promise((resolve) =>
        held.loads.push(() => resolve({ deltaBytes: 0, producedBytes: 0, congestion: 0 })),
      ),
    observe: () => {},
    health: { uploaded: () => {}, uploadFailed: () => {} },
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    identity: { clusterId: 'c', node: 0, brokerEpoch: 1 },
    uploadBytes: 1,
    logCacheBytes: 1 << 20,
    ageMs: 1_000,
  });
  const closed: (string | undefined)[] = [];
  const close = (): Promise<void> =>
    coordinator.close(0, {
      streams: [{ topicId, partition: 0 }],
      changes(_ends, stateObjects) {
        closed.push(stateObjects.get(streamKey(topicId, 0)));
        return [];
      },
    });
  return { clock, coordinator, commits, held, closed, close, trims, journal };
}

test('what the loop waits for when uploads stop begins none any more', async () => {
  const { clock, coordinator, commits, held, closed, close } = world();
  coordinator.start();
  await clock.advanceAsync(200);
  assert.equal(held.loads.length, 1, 'the loop waits for the shards');
  await coordinator.stop();
  held.loads[0]!();
  await clock.settle();
  assert.equal(held.statuses.length, 0, 'no upload begins');
  const closing = close();
  held.statuses[0]!();
  await closing;
  assert.deepEqual(closed, [oid(5)], 'the stream is closed with its state');
  assert.equal(commits.length, 1);
  await clock.advanceAsync(60_000);
  assert.equal(held.loads.length, 1, 'the loop has ended');
});

test('a stop waits for the upload under way, which closes nothing, and a close for both', async () => {
  const { clock, coordinator, commits, held, closed, close } = world();
  coordinator.start();
  await clock.advanceAsync(200);
  held.loads[0]!();
  await clock.settle();
  assert.equal(held.statuses.length, 1, 'an upload is under way');
  const closing = close();
  let stopped = false;
  const stopping = coordinator.stop().then(() => {
    stopped = true;
  });
  await clock.settle();
  assert.deepEqual([stopped, held.statuses.length], [false, 1]);
  held.statuses[0]!();
  await stopping;
  await clock.settle();
  assert.deepEqual([commits.length, closed], [1, []]);
  held.statuses[1]!();
  await closing;
  assert.deepEqual([commits.length, closed], [2, [oid(5)]]);
});

test('two closes come one after the other', async () => {
  const { clock, commits, held, closed, close } = world();
  const closes = [close(), close()];
  await clock.settle();
  assert.equal(held.statuses.length, 1);
  held.statuses[0]!();
  await closes[0];
  await clock.settle();
  held.statuses[1]!();
  await closes[1];
  assert.deepEqual([commits.length, closed], [2, [oid(5), oid(5)]]);
});

test('nothing is closed of which a byte would be in no object', async () => {
  const { clock, commits, held, closed, close } = world();
  held.end = 9;
  const closing = close();
  await clock.settle();
  held.statuses[0]!();
  await assert.rejects(closing, /ends at 10, and objects would hold it up to 9/);
  assert.deepEqual([commits.length, closed], [0, []]);
});

test('a log is trimmed when the bucket’s journal holds the commit, and uploads go on meanwhile', async () => {
  const { clock, coordinator, commits, held, trims, journal } = world();
  const upload = async (): Promise<void> => {
    const uploading = coordinator.upload(0);
    await clock.settle();
    held.statuses.shift()!();
    await uploading;
  };
  await upload();
  await coordinator.settled(0);
  assert.deepEqual(trims, [1]);
  const waiting: NonNullable<typeof journal.waiting> = [];
  journal.waiting = waiting;
  for (let n = 0; n < 3; n++) await upload();
  await clock.advanceAsync(60_000);
  assert.deepEqual([commits.length, trims, waiting.map(({ revision }) => revision)], [4, [1], [2]]);
  let settled = false;
  const stopping = coordinator.stop().then(() => {
    settled = true;
  });
  waiting[0]!.settle();
  await clock.settle();
  // The one after the next has taken that one's place.
  assert.deepEqual([trims, waiting.map(({ revision }) => revision), settled], [[1, 2], [2, 4], false]);
  waiting[1]!.settle();
  await stopping;
  assert.deepEqual(trims, [1, 2, 4]);
});

test('a log is not trimmed when the bucket’s journal never holds the commit', async () => {
  const { clock, coordinator, held, trims, journal } = world();
  const waiting: NonNullable<typeof journal.waiting> = [];
  journal.waiting = waiting;
  const uploading = coordinator.upload(0);
  await clock.settle();
  held.statuses.shift()!();
  await uploading;
  await clock.settle();
  waiting[0]!.settle(new MillraceError('unavailable', 'METADATA_CLOSED', 'closed'));
  await coordinator.settled(0);
  assert.deepEqual(trims, []);
});
