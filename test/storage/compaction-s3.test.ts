/**
 * Compaction in a running broker on a real S3 server: what can be copied is copied by the server, nothing of it comes over
 * the wire, and every record is as before. Once as S3 wants parts, once on a store that wants them of one size. Sizes of
 * parts and of copies are those of production's least; few objects are enough to be merged.
 */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { inspectStore } from '../../src/inspect/inspect.ts';
import type { PartRule } from '../../src/store/object-store.ts';
import { compactionDefaults } from '../../src/stream/compaction/compaction-policy.ts';
import { compactionLimits } from '../../src/stream/compaction/compaction-task.ts';
import { objectKey } from '../../src/stream/objects/object-format.ts';
import { Compaction } from '../../src/upkeep/compaction.ts';
import { ObjectSweep } from '../../src/upkeep/object-sweep.ts';
import { BrokerBed } from '../support/inline-broker.ts';
import { InsistingStore } from '../support/insisting-store.ts';
import { crc32c } from '../support/load/batches.ts';
import {
  type DigestedTopic,
  digestsOf,
  emptyDigests,
  produceDigested,
  readDigests,
} from '../support/load/topic-digest.ts';
import { pass, S3FaultProxy } from '../support/s3-fault-proxy.ts';
import { type S3Server, startS3 } from '../support/s3-server.ts';
import { seededRandom } from '../support/store-fixtures.ts';

const MiB = 1 << 20;
/** Least that S3 copies into a part; also the size of all parts here where they have to be equal. */
const leastPart = 5 * MiB;
/** Objects merged at once. */
const rounds = 4;
/** Longer than the runs of the small streams below, shorter than those of the large ones. */
const runBytesMin = 512 << 10;

const server = await startS3();
if (typeof server === 'string') test('compaction on a real S3 server', { skip: server }, () => {});
else {
  after(() => server.stop());
  await server.createBucket('compaction');
  process.env['AWS_ACCESS_KEY_ID'] = server.credentials.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = server.credentials.secretAccessKey;
  tests(server);
}

function tests(s3: S3Server): void {
  describe(`compaction on ${s3.name}`, () => {
    for (const rule of ['any', 'equal'] as const)
      test(`regions are copied in parts of ${rule === 'any' ? 'any size' : 'one size'}`, () =>
        compactOn(s3, rule));
  });
}

/** Requests of one kind by what the SDK calls them. */
class Requests {
  readonly #counts = new Map<string, number>();

  readonly note = (_method: string, url: string): typeof pass => {
    const name = /[?&]x-id=(\w+)/.exec(url)?.[1] ?? 'other';
    this.#counts.set(name, this.of(name) + 1);
    return pass;
  };

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }
}

async function compactOn(s3: S3Server, rule: PartRule): Promise<void> {
  const proxy = await S3FaultProxy.open(s3.endpoint);
  const requests = new Requests();
  proxy.fault = requests.note;
  const url = `s3://compaction/${rule}?endpoint=${proxy.endpoint}&region=${s3.region}&pathStyle=true&parts=${rule}`;
  let insisting: InsistingStore | null = null;
  const policy = {
    ...compactionDefaults,
    fanIn: rounds,
    smallFanIn: rounds,
    runBytesMin,
    streamObjectBytesMin: 8 * MiB,
    streamRunBytesMin: leastPart,
  };
  const bed = new BrokerBed({
    settings: {
      'store.url': url,
      'arena.bytes': '64MiB',
      'compaction.interval.ms': 86_400_000,
      'connections.max.idle.ms': 86_400_000,
    },
    layers: {
      compaction: { policy, limits: { ...compactionLimits, runBytesMin, partBytes: leastPart } },
      store: (opened) => {
        assert.equal(opened.partRule, rule);
        insisting = new InsistingStore(opened, rule);
        return insisting;
      },
    },
  });
  try {
    await bed.start();
    const connection = await bed.connect();
    const topics = { even: 2, large: 1, small: 8 };
    // Its timestamps lie years back.
    for (const [name, partitions] of Object.entries(topics))
      await connection.createTopic(name, partitions, { 'retention.ms': '-1' });
    const [even, large, small] = Object.entries(topics).map(([name, count]) => emptyDigests(name, count)) as [
      DigestedTopic,
      DigestedTopic,
      DigestedTopic,
    ];
    // Objects of two long runs each; then objects of one long run and many short ones.
    for (let round = 0; round < rounds; round++) {
      await produceDigested(bed.address, even, 6 * MiB);
      await bed.upload();
    }
    for (let round = 0; round < rounds; round++) {
      await produceDigested(bed.address, large, leastPart + 0.5 * MiB);
      await produceDigested(bed.address, small, MiB);
      await bed.upload();
    }
    const service = <T>(kind: abstract new (...args: never[]) => T): T =>
      bed.broker['background'].find((each) => each instanceof kind) as T;
    const image = () => bed.broker['metadata'].image;
    const stored = async (): Promise<string[]> => (await bed.store.list('data/')).map(({ key }) => key);
    const uploaded = [...image().objects.keys()];
    assert.equal(uploaded.length, 2 * rounds);

    await service(Compaction).pass();
    const { compactions, failures, removed, added, traffic } = service(Compaction).numbers;
    assert.deepEqual(
      { compactions, failures, removed, added },
      { compactions: 2, failures: 0, removed: 2 * rounds, added: 3 },
      'one of the even objects, two of the others: the long runs, and the rest',
    );
    assert.equal(image().objects.size, 3);
    assert.equal(traffic.copies, 2 * rounds, 'an even object and a long run are a copy each');
    assert.equal(requests.of('UploadPartCopy'), traffic.copies, 'as the server saw it');
    const { bytesCopied, bytesIn } = traffic;
    if (rule === 'equal') {
      assert.equal(bytesCopied, traffic.copies * leastPart);
      assert.equal(insisting!.completed.size, 3);
    } else assert.ok(bytesIn < small.bytes + 2 * MiB, `${bytesIn} read for ${small.bytes} in short runs`);
    assert.ok(bytesCopied + bytesIn >= even.bytes + large.bytes + small.bytes);

    const assertAll = async (when: string): Promise<void> => {
      for (const topic of [even, large, small]) {
        const read = await readDigests(bed.address, topic.topic, topic.ends, 60_000);
        assert.deepEqual(read.digests, digestsOf(topic), `${topic.topic}, ${when}`);
      }
    };
    const getsBefore = requests.of('GetObject');
    await assertAll('merged');
    const before = await stored();
    for (const objectId of uploaded) assert.ok(before.includes(objectKey(objectId)), 'gone before the grace');
    await bed.jump(3_600_000);
    await service(ObjectSweep).pass();
    assert.deepEqual(await stored(), [...image().objects.keys()].map(objectKey).sort());

    // Nothing of it is in memory any more.
    assert.equal(await bed.stop(), 'clean');
    await bed.start();
    await assertAll('after a restart');
    assert.ok(requests.of('GetObject') > getsBefore + 10, 'read from the server');
    assert.equal(await bed.stop(), 'clean');
    const report = await inspectStore(
      bed.store.inner,
      { crc32c, clock: bed.clock, random: seededRandom(1) },
      { verify: true, topic: null },
    );
    assert.deepEqual(report.problems, []);
    assert.equal(report.objects.orphans.count, 0);
    assert.equal(report.unfinishedUploads, 0);
    assert.ok(report.verified !== null && report.verified.objects >= 3);
  } finally {
    await bed.dispose();
    await proxy.close();
  }
}
