/** Files of logs that nobody goes on with are removed when the bucket alone says where their records are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import type { MetadataChange, MetadataStore } from '../../../src/metadata/metadata-store.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import type { Volume, VolumeDeps } from '../../../src/volumes/volume.ts';
import { retirePredecessors } from '../../../src/volumes/wal-records.ts';
import { wal } from '../metadata/fixtures.ts';

test('the file of a drained predecessor stays until the bucket’s journal holds that it is empty', async () => {
  const builder = new ImageBuilder();
  builder.apply([wal('w1')]);
  const removed: string[] = [];
  let held = false;
  const metadata = {
    image: builder.image,
    commit: async (changes: MetadataChange[]) => {
      builder.apply(changes);
      return builder.image.revision;
    },
    persisted: async (revision: number) => {
      assert.equal(revision, builder.image.revision);
      if (!held) throw new MillraceError('unavailable', 'METADATA_CLOSED', 'closed');
    },
  } as unknown as MetadataStore;
  const predecessor = {
    logId: 'w1',
    kind: 'block',
    path: 'shared:/logs/w1.wal',
    recovered: { state: 'clean', next: { sequence: 3, position: 4096, chainCrc: 1 } },
    release: () => {},
  };
  const volume = {
    logId: 'w2',
    kind: 'block',
    path: 'shared:/logs/w2.wal',
    config: { location: 'shared:/logs' },
    predecessors: [predecessor],
  };
  const volumes = [volume] as unknown as Volume[];
  const deps = {
    files: { remove: async (path: string) => void removed.push(path) },
    logger: silentLogger,
  } as unknown as VolumeDeps;
  await assert.rejects(retirePredecessors(volumes, metadata, deps), { code: 'METADATA_CLOSED' });
  assert.deepEqual([removed, builder.image.wals.get('w1')?.state], [[], 'empty']);
  held = true;
  await retirePredecessors(volumes, metadata, deps);
  assert.equal(removed.length, 1);
});
