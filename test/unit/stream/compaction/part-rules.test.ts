/** Compaction on stores that do not take every kind of part: the same records, in parts that these stores take. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { PartRule } from '../../../../src/store/object-store.ts';
import { CompactionWorld, shapesOf, smallLimits, smallPolicy } from '../../../support/compaction-world.ts';
import { InsistingStore } from '../../../support/insisting-store.ts';

/** Objects of eight parts and more; some of their streams lie in long runs, some in short ones. */
async function compacted(
  rule: PartRule,
  says: PartRule,
  seed: number,
  partitions: number,
): Promise<{ world: CompactionWorld; store: InsistingStore }> {
  let store: InsistingStore | null = null;
  const world = new CompactionWorld({
    seed,
    partitions,
    policy: { ...smallPolicy, objectBytesMax: 1 << 21 },
    store: (inner) => {
      store = new InsistingStore(inner, rule, says);
      return store;
    },
  });
  // A leader epoch ends a block: they are to be small beside a part, as they are where parts have 64 MiB.
  let epoch = 0;
  const shapes = (bytes: number) => {
    const blocks = Math.ceil(bytes / 700);
    return Array.from({ length: blocks }, () => shapesOf(world.random, 700, epoch++)).flat();
  };
  for (let u = 0; u < 12; u++) {
    const streams = Array.from({ length: partitions }, (_, partition) => ({
      partition,
      shapes: shapes(60_000 + world.random.below(40_000)),
    }));
    await world.upload(streams);
  }
  await world.settle();
  return { world, store: store! };
}

describe('compaction keeps to the rule of the store on parts', () => {
  for (const partitions of [1, 3]) {
    for (const seed of [1, 2]) {
      test(`equal parts, ${partitions} streams, seed ${seed}`, async () => {
        const { world, store } = await compacted('equal', 'equal', seed, partitions);
        await world.check();
        assert.ok(store.copies > 20, `${store.copies} copies`);
        for (const sizes of store.completed.values())
          assert.ok(
            sizes.slice(0, -1).every((size) => size === smallLimits.partBytes),
            sizes.join(', '),
          );
        // The rests of the areas only: less than a part, and the block across its end, of each source.
        const { bytesCopied, bytesIn } = world.traffic;
        assert.ok(bytesCopied > 2 * bytesIn, `${bytesCopied} copied, ${bytesIn} read`);
        await world.sweep();
        await world.check();
      });
    }
    test(`nothing copied, ${partitions} streams`, async () => {
      const { world, store } = await compacted('written', 'written', 1, partitions);
      await world.check();
      assert.ok(world.plans.length > 0 && store.completed.size > 0);
      assert.equal(world.traffic.copies, 0);
    });
  }

  test('a store that insists and does not say so refuses, and keeps what it has', async () => {
    const refused = { code: 'STORE_MISUSE', message: /same length/ };
    await assert.rejects(compacted('equal', 'any', 1, 1), refused);
    await assert.rejects(compacted('written', 'equal', 1, 1), /no copies/);
  });
});
