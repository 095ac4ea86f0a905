import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { ManifestKeeper } from '../../../src/upkeep/manifest-keeper.ts';
import { SoleScope } from '../../../src/upkeep/scope.ts';
import { settle } from '../../support/store-fixtures.ts';
import { close, id, oid, open } from '../metadata/fixtures.ts';
import { ManifestWorld, producer } from '../stream/manifest/manifests.ts';

const large = [{ bytes: 4_000, records: 10 }];
const small = [{ bytes: 100, records: 10 }];

async function world() {
  const made = new ManifestWorld();
  await made.own();
  await made.withTopics(1, 2);
  const lines: string[] = [];
  const { metadata, writer, clock } = made;
  const logger = { ...silentLogger, warn: (message: string) => void lines.push(message) };
  const keeper = (batchMin = 2) =>
    new ManifestKeeper({
      metadata,
      scope: new SoleScope(0, clock),
      writer,
      clock,
      logger,
      intervalMs: 60_000,
      doneBytesMin: 4_000,
      batchMin,
    });
  const left = (n: number) => made.partition(n).objects.map(({ objectId }) => objectId);
  return { made, keeper, left, lines };
}

describe('manifest keeper', () => {
  it('hands finished objects over, from the oldest on and as far as they follow each other', async () => {
    const { made, keeper, left } = await world();
    await made.upload([{ topic: 1, from: 0, shapes: large, producers: [producer(5, 9)] }]);
    const service = keeper();
    await service.pass();
    assert.equal(made.partition(1).manifest, null);
    await made.upload([{ topic: 1, from: 10, shapes: large }]);
    await made.upload([{ topic: 1, from: 20, shapes: small }]);
    await made.upload([{ topic: 1, from: 30, shapes: large }]);
    await service.pass();
    assert.deepEqual([made.partition(1).manifest!.objects, left(1)], [2, [oid(3), oid(4)]]);
    assert.equal(service.adopted, 2);
    const { producers, objects } = await made.cache.get(id(1), 0, 1);
    assert.deepEqual([producers, objects.length], [[producer(5, 9)], 2]);
    assert.deepEqual([...made.metadata.image.objects.keys()], [oid(3), oid(4)]);
    assert.equal(made.metadata.references.unreferenced.size, 0);
  });

  it('leaves shared objects, those with a state, and gaps', async () => {
    const { made, keeper, left } = await world();
    const service = keeper(1);
    await made.upload([
      { topic: 1, from: 0, shapes: large },
      { topic: 2, from: 0, shapes: large },
    ]);
    const stateObject = await made.upload([{ topic: 2, from: 10, shapes: large }]);
    await service.pass();
    assert.deepEqual([left(1), left(2)], [[oid(1)], [oid(1), oid(2)]]);
    await made.metadata.commit([{ ...close(1, 0, 0, 10), stateObject } as never, open(1, 0, 1, 10)]);
    await made.upload([{ topic: 1, partition: 1, from: 0, shapes: large }]);
    await made.upload([{ topic: 1, partition: 1, from: 20, shapes: large }]);
    await service.pass();
    assert.deepEqual(left(2), [oid(1), oid(2)]);
    assert.deepEqual(
      [made.partition(1, 1).manifest!.endOffset, made.partition(1, 1).objects.length],
      [10, 1],
    );
  });

  it('goes on at its interval until it is stopped, after failures too', async () => {
    const { made, keeper, left, lines } = await world();
    for (const from of [0, 10]) await made.upload([{ topic: 1, from, shapes: large }]);
    made.store.fail('manifest/', 'no effect');
    const service = keeper();
    service.start();
    made.clock.advance(60_000);
    await settle(40);
    assert.deepEqual([left(1).length, lines.length], [2, 1]);
    made.clock.advance(60_000);
    await settle(40);
    assert.deepEqual(left(1), []);
    for (const from of [20, 30]) await made.upload([{ topic: 1, from, shapes: large }]);
    await service.stop();
    made.clock.advance(600_000);
    await settle(40);
    assert.equal(left(1).length, 2);
  });
});
