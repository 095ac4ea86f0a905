/**
 * A write that hangs inside the system call, in a broker with threads: its WAL thread can judge nothing, and cannot be
 * ended. Main ends the volume's epoch, and the process ends all the same.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { loadNative } from '../../../native-bindings/index.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { BrokerProcess } from '../../support/broker-process.ts';
import { HangingWrites, noHangingWrites } from '../../support/hanging-writes.ts';
import { readAll } from '../../support/inline-broker.ts';
import { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer, values } from './kafka-calls.ts';

const topic = 'records';
const timeoutMs = 1_000;
const builds = [...(loadNative() === null ? [] : ['auto']), 'off'];

describe('a write stuck in the kernel', { skip: noHangingWrites }, () => {
  let writes: HangingWrites;
  let broker: BrokerProcess;
  let connection: RawConnection;
  let producer: CountingProducer;
  before(() => {
    writes = new HangingWrites();
  });
  afterEach(async () => {
    writes.hanging = false;
    await connection.close();
    await broker.dispose();
  });
  after(() => writes.dispose());

  const connect = async (): Promise<void> => {
    const [host, port] = broker.bootstrap.split(':');
    connection = await RawConnection.connect({ host: host!, port: Number(port) });
  };
  const begin = async (native: string, waitMs = timeoutMs): Promise<void> => {
    broker = await BrokerProcess.start({
      settings: { native, 'wal.write.timeout.ms': waitMs, 'wal.capacity': '64MiB' },
      env: writes.env,
    });
    await connect();
    await connection.createTopic(topic, 1);
    producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 5);
  };
  const offer = async (): Promise<number> => (await producer.send(connection, producer.next, 2))[0];
  const failed = async (): Promise<string> => {
    const page = await (await fetch(`${broker.http}/metrics`)).text();
    return /^millrace_wal_failed\{.*\} (\d)$/m.exec(page)![1]!;
  };
  const readBack = async (): Promise<void> =>
    assert.deepEqual(await readAll(connection, topic), values(producer.next));
  /** What waits and what comes is refused, and what is durable is read. */
  const getStuck = async (): Promise<void> => {
    assert.equal(await failed(), '0');
    writes.hanging = true;
    const began = performance.now();
    assert.equal(await offer(), ErrorCode.KAFKA_STORAGE_ERROR);
    const tookMs = performance.now() - began;
    // Not by the request's own time-out, which has another code; how much later depends on the machine.
    assert.ok(tookMs >= timeoutMs - 50, `${tookMs} ms`);
    assert.equal(await offer(), ErrorCode.KAFKA_STORAGE_ERROR, 'refused at once from now on');
    assert.equal(await failed(), '1');
    assert.match(
      broker.errors,
      /a volume does not answer: its epoch is ended.*WAL_WRITE|no answer to a write/,
    );
    await readBack();
  };
  const again = async (): Promise<void> => {
    await connection.close();
    writes.hanging = false;
    await broker.start();
    await connect();
    await readBack();
    await producer.produce(connection, 2);
    await readBack();
  };

  for (const native of builds) {
    const build = native === 'off' ? 'portable' : 'native';

    test(`${build}: its epoch is ended after the time-out; what lands later stays given up`, async () => {
      await begin(native);
      await getStuck();
      writes.hanging = false;
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.equal(await offer(), ErrorCode.KAFKA_STORAGE_ERROR);
      await readBack();
      assert.deepEqual(await broker.stop(), { code: 0, signal: null });
      await again();
    });

    test(`${build}: a stop meanwhile uploads what was acknowledged and does not wait for the write`, async () => {
      await begin(native);
      await getStuck();
      const end = await broker.stop();
      assert.deepEqual(
        end,
        native === 'off' ? { code: null, signal: 'SIGTERM' } : { code: 0, signal: null },
        broker.errors,
      );
      assert.match(broker.errors, /its lock is kept until this process ends/);
      await again();
    });
  }

  test('a stop before the time-out waits for it, then uploads what was acknowledged', async () => {
    await begin(builds[0]!, 3_000);
    writes.hanging = true;
    const waiting = offer().catch(() => ErrorCode.NETWORK_EXCEPTION);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { code, signal } = await broker.stop();
    assert.ok(code === 0 || signal === 'SIGTERM', broker.errors);
    assert.notEqual(await waiting, ErrorCode.NONE);
    await again();
  });

  test('kill -9 meanwhile: nothing acknowledged is lost', async () => {
    await begin(builds[0]!);
    await getStuck();
    await broker.kill();
    await again();
  });
});
