/** Objects are deleted when they are due, and when the bucket alone says that nothing names them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import type { MetadataChange, MetadataStore } from '../../../src/metadata/metadata-store.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ManifestCache } from '../../../src/stream/manifest/manifest-cache.ts';
import { objectKey } from '../../../src/stream/objects/object-format.ts';
import { ObjectSweep } from '../../../src/upkeep/object-sweep.ts';
import { SoleScope } from '../../../src/upkeep/scope.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { oid, upload, wal } from '../metadata/fixtures.ts';

const graceMs = 60_000;

async function world() {
  const clock = new HandClock();
  const store = new MemoryStore(clock);
  const builder = new ImageBuilder();
  // An object without a range: nothing names it.
  builder.apply([wal(), upload(1, oid(1))]);
  await store.put(objectKey(oid(1)), [Buffer.from('data')]);
  const journal = { held: 0 };
  const metadata = {
    image: builder.image,
    references: builder,
    commit: async (changes: MetadataChange[]) => {
      builder.apply(changes);
      return builder.image.revision;
    },
    persisted: async (revision: number) => {
      if (revision > journal.held) throw new MillraceError('unavailable', 'METADATA_CLOSED', 'closed');
    },
  } as unknown as MetadataStore;
  const sweep = new ObjectSweep({
    metadata,
    scope: new SoleScope(0, clock),
    graceMs,
    store,
    manifests: {} as ManifestCache,
    clock,
    logger: silentLogger,
  });
  const stored = async () => (await store.list('data/')).length;
  return { clock, builder, sweep, journal, stored };
}

test('an object goes once it is due, no earlier', async () => {
  const { clock, builder, sweep, journal, stored } = await world();
  journal.held = Number.POSITIVE_INFINITY;
  await sweep.pass();
  assert.deepEqual([[...builder.image.dropped.keys()], await stored()], [[oid(1)], 1]);
  clock.advance(graceMs - 1);
  await sweep.pass();
  assert.equal(await stored(), 1);
  clock.advance(1);
  await sweep.pass();
  assert.deepEqual([builder.image.dropped.size, await stored(), sweep.deleted], [0, 0, 1]);
});

test('an object stays until the bucket’s journal holds that it was dropped', async () => {
  const { clock, builder, sweep, journal, stored } = await world();
  await sweep.pass();
  clock.advance(graceMs);
  journal.held = builder.image.revision - 1;
  await sweep.pass();
  assert.deepEqual([builder.image.dropped.size, await stored()], [1, 1]);
  journal.held = builder.image.revision;
  await sweep.pass();
  assert.deepEqual([builder.image.dropped.size, await stored()], [0, 0]);
});
