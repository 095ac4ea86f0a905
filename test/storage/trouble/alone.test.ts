/** A broker that cannot reach its metadata: `wal.alone.max.ms` bounds how long it goes on acknowledging. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { readAll, until } from '../../support/inline-broker.ts';
import { values } from '../broker/kafka-calls.ts';
import { TroubleBed, topic } from './trouble-bed.ts';

const { NONE, NOT_ENOUGH_REPLICAS, REQUEST_TIMED_OUT } = ErrorCode;

describe('alone', () => {
  let bed: TroubleBed;
  afterEach(() => bed.dispose());

  const begin = async (maxMs: number): Promise<void> => {
    bed = new TroubleBed({ settings: { 'wal.alone.max.ms': maxMs } });
    await bed.begin();
    assert.equal(await bed.offer(), NONE);
    bed.troubled.trouble = () => new Error('the store is away');
  };
  const readBack = async (): Promise<void> =>
    assert.deepEqual(await readAll(bed.connection, topic), values(bed.producer.next));
  const storeIsBack = async (): Promise<void> => {
    bed.troubled.trouble = () => null;
    await until(() => {
      bed.clock.jump(1_000);
      return bed.said('the metadata are reached again') === 1;
    });
  };

  test('after the time given appends are refused, reads go on, and all goes on with the next contact', async () => {
    await begin(60_000);
    await bed.jump(50_000);
    assert.equal(await bed.offer(), NONE, 'it has time left');
    await bed.jump(11_000);
    assert.equal(await bed.offer(), NOT_ENOUGH_REPLICAS);
    assert.equal(bed.said('the metadata cannot be reached for too long'), 1);
    await readBack();
    await storeIsBack();
    assert.equal(await bed.offer(), NONE);
    await readBack();
  });

  test('what becomes durable too late is not acknowledged; its append stands, and a retry finds it', async () => {
    await begin(60_000);
    await bed.jump(55_000);
    bed.devices[0]!.held = [];
    const late = bed.offer();
    await until(() => bed.devices[0]!.held!.length > 0);
    bed.clock.jump(10_000);
    bed.devices[0]!.release();
    assert.equal(await late, REQUEST_TIMED_OUT);
    await storeIsBack();
    assert.equal(await bed.offer(), NONE, 'the same sequence again');
    await readBack();
  });

  test('without a limit it goes on as long as it has room', async () => {
    await begin(0);
    // Below the time after which an idle connection is closed.
    for (let passed = 0; passed < 3 * 3_600_000; passed += 540_000) {
      await bed.jump(540_000);
      assert.equal(await bed.offer(), NONE);
    }
    await readBack();
  });
});
