/** The service of log compaction: whom it leaves alone, when it waits, and what it does with failures. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { unavailable } from '../../../src/store/store-errors.ts';
import { objectKey } from '../../../src/stream/objects/object-format.ts';
import { SoleScope } from '../../../src/upkeep/scope.ts';
import { assertSound } from '../../support/clean-checks.ts';
import { CleanWorld } from '../../support/clean-world.ts';
import { PassingStore } from '../../support/fault-store.ts';

const minute = 60_000;

async function written(): Promise<CleanWorld> {
  const world = await new CleanWorld().start();
  for (let i = 0; i < 40; i++) world.append([[`k${i % 10}`, `v${i}`.padEnd(80, '.')]]);
  await world.upload();
  return world;
}

/** What the store holds and nothing names. */
async function unnamed(world: CleanWorld): Promise<string[]> {
  const { image } = world.metadata;
  const named = new Set([...image.objects.keys(), ...image.dropped.keys()].map(objectKey));
  if (world.image.manifest !== null)
    for (const { objectId } of (await world.manifest()).objects) named.add(objectKey(objectId));
  return (await world.inner.list('data/')).map(({ key }) => key).filter((key) => !named.has(key));
}

describe('the cleaner of logs', () => {
  it('leaves alone what is not compacted, what is not its own, and waits while uploads need the wire', async () => {
    const world = await written();
    const { rules } = world;
    world.rules = { ...rules, compacts: false };
    await world.cleaner().pass();
    world.rules = rules;
    const scope = new SoleScope(0, world.clock);
    await world.cleaner({ scope: Object.assign(Object.create(scope), { mine: () => false }) }).pass();
    await world.cleaner({ busy: async () => true }).pass();
    assert.equal(world.tasks.length, 0);
    await world.cleaner().pass();
    assert.equal(world.tasks.length, 1);
  });

  it('leaves alone the topics of coordinators, which shorten their logs themselves', async () => {
    const world = await written();
    const topic = world.metadata.image.topicsById.get(world.topicId)!;
    Object.assign(topic, { internal: true });
    await world.cleaner().pass();
    assert.equal(world.tasks.length, 0);
  });

  it('deletes what a failed pass has stored, rests for a minute, and tries again', async () => {
    const world = await written();
    class Failing extends PassingStore {
      puts = 0;
      override put(...args: Parameters<PassingStore['put']>): Promise<void> {
        if (args[0].startsWith('data/') && ++this.puts === 2)
          return Promise.reject(unavailable(args[0], 'no'));
        return super.put(...args);
      }
    }
    const store = new Failing(world.inner);
    await world.own(store);
    world.limits = { ...world.limits, objectBytesMax: 300, blockBytesMax: 200, partBytes: 4_000 };
    for (let i = 0; i < 10; i++) world.append([[`more${i}`, 'x'.repeat(200)]]);
    await world.upload();
    const cleaner = world.cleaner();
    await cleaner.pass();
    assert.equal(store.puts, 2);
    assert.deepEqual([cleaner.numbers.failures, cleaner.numbers.passes], [1, 0]);
    assert.deepEqual(await unnamed(world), []);
    await assertSound(world);
    await cleaner.pass();
    assert.equal(world.tasks.length, 1, 'it rests');
    world.clock.advance(minute);
    await cleaner.pass();
    assert.deepEqual([cleaner.numbers.failures, cleaner.numbers.passes], [1, 1]);
    assert.deepEqual(await unnamed(world), []);
    await assertSound(world);
  });

  it('leaves a damaged log alone for an hour, and says so', async () => {
    const world = await written();
    const [object] = world.metadata.image.objects.keys();
    const bytes = await world.inner.get(objectKey(object!));
    bytes[100]! ^= 1;
    await world.inner.put(objectKey(object!), [bytes]);
    const cleaner = world.cleaner();
    await cleaner.pass();
    assert.equal(cleaner.numbers.uncleanable, 1);
    assert.match(world.warnings[0]!, /damaged/);
    assert.deepEqual(await unnamed(world), []);
    world.clock.advance(59 * minute);
    await cleaner.pass();
    assert.equal(world.tasks.length, 1);
    world.clock.advance(2 * minute);
    await cleaner.pass();
    assert.equal(world.tasks.length, 2);
  });

  it('commits nothing once it was stopped', async () => {
    const world = await written();
    const cleaner = world.cleaner();
    let stopping: Promise<void> | null = null;
    world.afterClean = () => {
      stopping = cleaner.stop();
    };
    await cleaner.pass();
    await stopping;
    assert.equal(world.image.manifest, null);
    await assertSound(world);
  });

  it('counts what it read, wrote and kept', async () => {
    const world = await written();
    const cleaner = world.cleaner();
    await cleaner.pass();
    const { numbers } = cleaner;
    assert.deepEqual([numbers.recordsRead, numbers.recordsKept, numbers.passes], [40, 10, 1]);
    assert.equal(numbers.lastPassMs, world.clock.now());
    assert.ok(numbers.bytesRead >= 2 * numbers.bytesCleaned && numbers.bytesWritten < numbers.bytesCleaned);
    assert.equal(numbers.dirtyRatioMax, 1);
    await cleaner.pass();
    assert.equal(cleaner.numbers.dirtyRatioMax, 0);
  });
});
