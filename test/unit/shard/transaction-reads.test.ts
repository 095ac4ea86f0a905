/** Isolation through memory, cache, objects and manifests, whatever lies where, with crashes in between. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { SeededRandom } from '../../support/seeded-random.ts';
import { TransactionWorld } from './transaction-world.ts';

const rounds = 40;

it('readers of committed records get just those, up to the last stable offset, from wherever they lie', async () => {
  for (let seed = 1; seed <= rounds; seed++) {
    const random = new SeededRandom(seed);
    const world = new TransactionWorld(random, 40 + random.below(160));
    try {
      while (world.durable < world.batches.length) {
        const step = random.below(10);
        if (step < 4 && world.appended < world.batches.length) world.append();
        else if (step < 6)
          world.makeDurable(world.durable + random.below(world.appended - world.durable + 1));
        else if (step === 6 && random.below(4) === 0)
          await world.upload(world.uploaded + random.below(world.durable - world.uploaded + 1));
        else if (step === 7 && random.below(6) === 0) world.adopt();
        else if (step === 9 && random.below(8) === 0) await world.merge();
        else if (step === 8 && random.below(12) === 0) await world.crash();
        assert.equal(world.log.highWatermark, world.end(world.durable));
        assert.equal(world.log.lastStableOffset, world.lastStable(), 'last stable offset');
        if (world.durable === 0) continue;
        const offset = random.below(world.end(world.durable));
        await world.check(offset, 1 + random.below(2_000), random.below(3) > 0);
        await world.checkReplica(offset, 1 + random.below(2_000), random.below(3) > 0);
      }
      for (let offset = 0; offset < world.end(world.durable); offset += 3)
        await world.check(offset, 1 + random.below(20_000), true);
      for (let offset = 0; offset < world.end(world.uploaded); offset += 3)
        await world.checkReplica(offset, 1 + random.below(20_000), true);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
});
