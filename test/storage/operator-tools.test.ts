/** Doctor, inspect and the orphan sweep on what real servers and real brokers leave. */
import assert from 'node:assert/strict';
import { after, afterEach, describe, it, test } from 'node:test';
import { examine } from '../../src/inspect/doctor.ts';
import { doctorText } from '../../src/inspect/doctor-text.ts';
import { type BucketReport, inspectStore } from '../../src/inspect/inspect.ts';
import { openStore } from '../../src/store/open-store.ts';
import { SystemClock } from '../../src/threads/adapters/system-clock.ts';
import { SystemRandom } from '../../src/threads/adapters/system-random.ts';
import { OrphanSweep } from '../../src/upkeep/orphan-sweep.ts';
import { BrokerBed, readAll } from '../support/inline-broker.ts';
import { s3ServerNames } from '../support/s3-programs.ts';
import { startS3 } from '../support/s3-server.ts';
import { crc32c } from '../support/stream-deltas.ts';
import { CountingProducer } from './broker/kafka-calls.ts';

const ports = { clock: new SystemClock(), random: new SystemRandom(), crc32c };

for (const name of s3ServerNames) {
  const server = await startS3({ name });
  if (typeof server === 'string') {
    it(`doctor on ${name}`, { skip: server }, () => {});
    continue;
  }
  after(() => server.stop());
  await server.createBucket('doctor');
  const { endpoint, region, credentials } = server;
  const open = (bucket: string, given = credentials) =>
    openStore(`s3://${bucket}/cluster?endpoint=${endpoint}&region=${region}&pathStyle=true`, {
      ...ports,
      s3: { credentials: given },
    });

  describe(`doctor on ${name}`, () => {
    it('finds everything, and leaves nothing behind', async () => {
      const store = await open('doctor');
      const report = await examine(store, { ...ports, sampleMsMax: 500 });
      assert.deepEqual(
        report.findings.filter(({ verdict }) => verdict !== 'ok'),
        [],
      );
      assert.equal(report.fit, true);
      assert.deepEqual(await store.list(''), []);
      assert.deepEqual(await store.listUploads(''), []);
      await store.close();
    });

    it('says that there is no such bucket', async () => {
      const store = await open('none-of-this-name');
      const text = doctorText(await examine(store, ports));
      assert.match(text, /MISSING +reachable.*there is no such bucket: create it, or correct store\.url/);
      await store.close();
    });
  });
}

describe('what a broker leaves', () => {
  let bed: BrokerBed;
  afterEach(() => bed.dispose());

  const look = async (verify = true): Promise<BucketReport> =>
    inspectStore(await bed.openStore(), ports, { verify, topic: null });

  test('is described and verified by inspect, also beside a running broker', async () => {
    bed = new BrokerBed({ store: 'file' });
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic('records', 3);
    for (let partition = 0; partition < 3; partition++) {
      const producer = await CountingProducer.create(connection, 'records', partition, 2_000);
      await producer.produce(connection, 20);
    }
    await bed.upload();
    const running = await look();
    assert.deepEqual(running.problems, []);
    assert.equal(running.wals[0]?.state, 'open');
    assert.deepEqual(
      running.topics.map((topic) => topic.name),
      ['records'],
    );
    assert.equal(running.objects.streamSet.count, 1);
    assert.equal(await bed.stop(), 'clean');
    const stopped = await look();
    assert.deepEqual(stopped.problems, []);
    assert.equal(stopped.wals[0]?.state, 'empty');
    assert.ok(
      stopped.topics[0]!.partitions.every(({ state, endOffset }) => state === 'closed' && endOffset > 0),
    );
    assert.ok((stopped.verified?.batches ?? 0) >= 3);

    const store = await bed.openStore();
    // The largest is the upload's; the rest hold states.
    const [object] = (await store.list('data/')).sort((a, b) => b.size - a.size);
    const bytes = await store.get(object!.key);
    bytes[200]! ^= 1;
    await store.put(object!.key, [bytes]);
    assert.equal((await look(false)).problemCount, 0);
    const [problem, ...more] = (await look()).problems;
    assert.deepEqual(more, []);
    assert.equal(problem?.where, object!.key);
    assert.match(
      `${problem?.what} ${problem?.concerns}`,
      /^the block fails its CRC .*records\/\d offsets? 0/,
    );
  });

  test('in a log of objects is counted, while it lives and afterwards', async () => {
    bed = new BrokerBed({ settings: { 'wal.url': 'store:' } });
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic('records', 1);
    const producer = await CountingProducer.create(connection, 'records');
    await producer.produce(connection, 5);
    const running = await look();
    assert.deepEqual(running.problems, []);
    const { logId } = bed.broker['volumes'][0]!;
    assert.deepEqual(
      running.walObjects.map((log) => [log.logId, log.state, log.entries.count > 1, log.seals > 0]),
      [[logId, 'open', true, true]],
    );
    assert.equal(await bed.stop(), 'clean');
    const stopped = await look();
    assert.deepEqual([stopped.problems, stopped.walObjects[0]?.state], [[], 'empty']);
  });

  test('between an upload and its commit is swept by the next life, and nothing else is', async () => {
    bed = new BrokerBed();
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic('records', 1);
    const producer = await CountingProducer.create(connection, 'records');
    await producer.produce(connection, 5);
    await bed.upload();
    await producer.produce(connection, 5);
    bed.store.afterPut = (key) => {
      if (key.startsWith('data/')) bed.store.cut = true;
    };
    await bed.uploadUntilCut();
    await bed.crash();
    assert.equal((await look()).objects.orphans.count, 1);
    await bed.start();
    connection = await bed.connect();
    const sweep = bed.broker['background'].find((service) => service instanceof OrphanSweep)!;
    const before = await readAll(connection, 'records');
    assert.equal(await sweep.pass(), false);
    // The store of this test keeps the broker's own time, which has hardly moved.
    assert.equal(sweep.objects, 0);
    await bed.jump(2 * 3_600_000);
    assert.equal(await sweep.pass(), false);
    assert.deepEqual([sweep.objects, sweep.failures], [1, 0]);
    const report = await look();
    assert.deepEqual([report.objects.orphans.count, report.problems], [0, []]);
    assert.deepEqual(await readAll(await bed.connect(), 'records'), before);
  });
});
