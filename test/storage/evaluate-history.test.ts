/** The load and the check of evaluations, on one broker: all that is acknowledged is found, and what is not as told is named. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { checkHistory } from '../../bench/evaluate/history.ts';
import { Tail } from '../../bench/evaluate/tail.ts';
import { Writers } from '../../bench/evaluate/writers.ts';
import { BrokerBed } from '../support/inline-broker.ts';
import { sequencedBatch } from '../support/load/batches.ts';

const partitions = 4;
let topics = 0;

describe('the history of an evaluation', () => {
  const bed = new BrokerBed();
  before(() => bed.start());
  after(() => bed.dispose());

  /** Drained, with some records in each partition; still following leaders. */
  async function written(t: { after(fn: () => Promise<void>): void }): Promise<Writers> {
    const topic = `written-${++topics}`;
    await (await bed.connect()).createTopic(topic, partitions);
    const writers = new Writers({
      topic,
      partitions,
      intervalMs: 5,
      recordBytes: 64,
      bootstrap: () => [bed.address],
    });
    t.after(() => writers.stop());
    await writers.start();
    for (let round = 0; round < 3; round++) await writers.flows();
    return writers;
  }

  test('finds all that was acknowledged, and a reader follows it', async (t) => {
    const writers = await written(t);
    const tail = new Tail(writers);
    await writers.flows();
    await writers.drain();
    await tail.caughtUp(0);
    await tail.stop();
    const { records, faults } = await checkHistory(writers);
    assert.deepEqual(faults, []);
    assert.equal(records, writers.acknowledged);
    assert.ok(records >= 4 * partitions, `${records} records`);
    assert.equal(writers.errors.size, 0);
  });

  test('names what is missing', async (t) => {
    const writers = await written(t);
    await writers.drain();
    const told = writers.offsets(2) as number[];
    told.push(told.length);
    const { faults } = await checkHistory(writers);
    assert.deepEqual(faults, [
      `${writers.topic}-2: ${told.length} records were acknowledged, ${told.length - 1} are there`,
    ]);
  });

  test('names what lies elsewhere than was told', async (t) => {
    const writers = await written(t);
    await writers.drain();
    (writers.offsets(1) as number[])[1] = 7;
    assert.deepEqual((await checkHistory(writers)).faults, [
      `${writers.topic}-1: sequence 1 is at offset 1, acknowledged at 7`,
    ]);
  });

  test('names what nobody was told of', async (t) => {
    const writers = await written(t);
    await writers.drain();
    (writers.offsets(0) as number[]).pop();
    const last = writers.offsets(0).length;
    assert.deepEqual((await checkHistory(writers)).faults, [
      `${writers.topic}-0: sequence ${last} is there, and was never acknowledged`,
    ]);
  });

  test('names records of strangers', async (t) => {
    const writers = await written(t);
    await writers.drain();
    const connection = await bed.connect();
    const stranger = await connection.initProducerId();
    const { errorCode, baseOffset } = await connection.produce(
      writers.topic,
      3,
      sequencedBatch(stranger, 0, [Buffer.from('stranger')], Date.now()),
    );
    assert.equal(errorCode, 0);
    assert.deepEqual((await checkHistory(writers)).faults, [
      `${writers.topic}-3: a stranger's batch at offset ${baseOffset}`,
    ]);
  });
});
