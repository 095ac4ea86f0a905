/**
 * A start on a volume that does not answer: main is never inside the call itself, so it says what it waits for, ends on a
 * signal, and gives up after `wal.write.timeout.ms`.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { loadNative } from '../../../native-bindings/index.ts';
import { type BrokerEnd, BrokerProcess } from '../../support/broker-process.ts';
import { HangingWrites, noHangingWrites } from '../../support/hanging-writes.ts';
import { readAll, until } from '../../support/inline-broker.ts';
import { patienceMs } from '../../support/patience.ts';
import { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer, values } from './kafka-calls.ts';

const topic = 'records';
const builds = [...(loadNative() === null ? [] : ['auto']), 'off'];

describe('a start on a volume that does not answer', { timeout: patienceMs, skip: noHangingWrites }, () => {
  let hanging: HangingWrites;
  let broker: BrokerProcess;
  before(() => {
    hanging = new HangingWrites();
  });
  afterEach(async () => {
    hanging.hanging = false;
    hanging.hangingReads = false;
    await broker.dispose();
  });
  after(() => hanging.dispose());

  const run = async (use: (connection: RawConnection) => Promise<void>): Promise<void> => {
    const [host, port] = broker.bootstrap.split(':');
    const connection = await RawConnection.connect({ host: host!, port: Number(port) });
    await use(connection);
    await connection.close();
  };
  /** A broker that was killed: its log is recorded open, and must be read. */
  const killed = async (native: string, waitMs: number): Promise<CountingProducer> => {
    broker = await BrokerProcess.start({
      settings: { native, 'wal.write.timeout.ms': waitMs, 'wal.capacity': '64MiB' },
      env: hanging.env,
    });
    let producer!: CountingProducer;
    await run(async (connection) => {
      await connection.createTopic(topic, 1);
      producer = await CountingProducer.create(connection, topic);
      await producer.produce(connection, 5);
    });
    await broker.kill();
    return producer;
  };
  const again = async (producer: CountingProducer): Promise<void> => {
    hanging.hanging = false;
    hanging.hangingReads = false;
    await broker.start();
    await run(async (connection) => {
      assert.deepEqual(await readAll(connection, topic), values(producer.next));
      await producer.produce(connection, 2);
    });
  };
  /** Without the addon a process can leave a call behind only by a signal. */
  const endOf = (code: number): BrokerEnd =>
    loadNative() === null ? { code: null, signal: 'SIGTERM' } : { code, signal: null };

  for (const native of builds) {
    const build = native === 'off' ? 'portable' : 'native';

    test(`${build}: says so, gives up after its time with 69, and the next start goes on`, async () => {
      const producer = await killed(native, 2_000);
      hanging.hangingReads = true;
      await assert.rejects(broker.start());
      assert.deepEqual(await broker.whenEnded(), endOf(69), broker.errors);
      assert.match(broker.errors, /\.wal does not answer/);
      assert.match(broker.errors, /cannot start: .*\.wal has not answered for 2 s.*WAL_NO_ANSWER/);
      await again(producer);
    });

    test(`${build}: a write that hangs while the log is claimed is given up like a read`, async () => {
      const producer = await killed(native, 2_000);
      hanging.hanging = true;
      await assert.rejects(broker.start());
      assert.deepEqual(await broker.whenEnded(), endOf(69), broker.errors);
      await again(producer);
    });

    test(`${build}: SIGTERM ends it`, async () => {
      const producer = await killed(native, 60_000);
      hanging.hangingReads = true;
      const starting = assert.rejects(broker.start());
      await until(() => /\.wal does not answer/.test(broker.errors));
      assert.deepEqual(await broker.stop(), endOf(75), broker.errors);
      await starting;
      await again(producer);
    });
  }
});
