/**
 * Readers of two zones: what lies in objects comes from a broker of their own zone, what is newer from the owner, each record once and
 * in order (KIP-392).
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { committedEnd } from '../../src/metadata/committed-end.ts';
import { openFamily } from '../support/clients/families.ts';
import { openConsole } from '../support/clients/java/console.ts';
import { pythonProgram } from '../support/clients/python/python.ts';
import { ClusterBed } from '../support/cluster-bed.ts';
import { until } from '../support/inline-broker.ts';
import { sequencedBatch } from '../support/load/batches.ts';
import { patienceMs } from '../support/patience.ts';
import { eventually } from '../support/raw-client.ts';
import { runProgram } from '../support/run-program.ts';

/** Reads committed records, as librdkafka does by default. */
const readAll = `
import sys
from confluent_kafka import Consumer, OFFSET_BEGINNING, TopicPartition
reader = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "zones", "client.rack": sys.argv[2], "enable.auto.commit": False})
reader.assign([TopicPartition("zoned", 0, OFFSET_BEGINNING)])
got = []
while len(got) < int(sys.argv[3]):
    message = reader.poll(10)
    if message is not None and message.error() is None:
        got.append(message.offset())
print("\\n".join(map(str, got)))
reader.close()
`;

const topic = 'zoned';
const recordsMin = 24;
/** Of records that only the owner has. */
const tailMin = 2;
const uploadBytes = 8 * 1024 * 1024;
const recordBytes = 900_000;

describe('a reader of another zone', () => {
  let cluster: ClusterBed;
  let owner: number;
  let records = 0;
  let inObjects: number;

  before(async () => {
    cluster = new ClusterBed(2, 'shared', {
      racks: ['a', 'b'],
      // Whatever is left of an upload's worth stays in memory.
      settings: { 'upload.bytes': uploadBytes, 'upload.age.ms': 24 * 3_600_000 },
    });
    await cluster.start();
    await (await cluster.bed(1).connect()).createTopic(topic, 1);
    await until(() => cluster.partition(topic).state === 'open', patienceMs);
    owner = cluster.partition(topic).node;
    const connection = await cluster.bed(owner).connect();
    const producer = await connection.initProducerId();
    const left = () => records - committedEnd(cluster.partition(topic));
    // One by one: an upload takes all that is there when it begins, which may be everything on a slow disk.
    while (records < recordsMin || left() < tailMin) {
      const batch = sequencedBatch(producer, records, [randomBytes(recordBytes)], Date.now());
      // Refused while uploads are behind; the same batch again is no other.
      await eventually(async () => assert.equal((await connection.produce(topic, 0, batch)).errorCode, 0));
      records++;
      // Then none is on its way: less than an upload's worth is not begun.
      await until(() => left() * recordBytes < uploadBytes, patienceMs);
    }
    inObjects = committedEnd(cluster.partition(topic));
  });
  after(() => cluster.dispose());

  /** Bytes that a broker has sent, by where the reader was. */
  async function sent(node: number): Promise<Record<string, number>> {
    const bytes: Record<string, number> = { own: 0, other: 0, unknown: 0 };
    for (const { numbers } of (await cluster.bed(node).broker.metrics()).snapshots)
      for (const { labels, value } of numbers['millrace_fetched_zone_bytes_total'] ?? [])
        bytes[labels[0]!]! += value;
    return bytes;
  }

  const bootstrap = (): string => {
    const { host, port } = cluster.bed(1).address;
    return `${host}:${port}`;
  };
  const rackOf = (node: number): string => (node === 1 ? 'a' : 'b');

  /** Reads all of it in the zone of a broker, and says what each has sent. */
  async function readIn(node: number, read: (rack: string) => Promise<number[]>) {
    const before = [await sent(1), await sent(2)];
    const offsets = await read(rackOf(node));
    assert.deepEqual(
      offsets,
      Array.from({ length: records }, (_, offset) => offset),
    );
    const now = [await sent(1), await sent(2)];
    const grown = now.map((bytes, i) =>
      Object.fromEntries(Object.entries(bytes).map(([zone, n]) => [zone, n - before[i]![zone]!])),
    );
    return { owner: grown[owner - 1]!, other: grown[2 - owner]! };
  }

  const readers: readonly [string, () => Promise<((rack: string) => Promise<number[]>) | string>][] = [
    [
      'librdkafka',
      async () => {
        const client = await openFamily('python', { slow: false });
        if (typeof client === 'string') return client;
        const python = await pythonProgram();
        return async (rack) => {
          const { code, out, err } = await runProgram(
            python,
            ['-c', readAll, bootstrap(), rack, String(records)],
            {
              timeoutMs: patienceMs,
            },
          );
          assert.equal(code, 0, err);
          return out.trim().split('\n').map(Number);
        };
      },
    ],
    [
      "Kafka's console consumer",
      async () => {
        const programs = await openConsole().catch((error: Error) => error);
        if (programs instanceof Error) return `Kafka's programs cannot be had here: ${programs.message}`;
        return async (rack) => {
          const from = ['--bootstrap-server', bootstrap(), '--topic', topic, '--from-beginning'];
          const shown = ['print.value=false', 'print.offset=true'].flatMap((what) => [
            '--formatter-property',
            what,
          ]);
          const ends = ['--max-messages', String(records), '--timeout-ms', String(patienceMs)];
          const { said } = await programs.tool('consumer.ConsoleConsumer', [
            ...from,
            ...shown,
            ...ends,
            ...['--command-property', `client.rack=${rack}`],
          ]);
          return [...said.matchAll(/Offset:(\d+)/g)].map(([, offset]) => Number(offset));
        };
      },
    ],
  ];

  for (const [name, open] of readers) {
    test(`${name}: objects from its own zone, the rest from the owner`, async (t) => {
      const read = await open();
      if (typeof read === 'string') return t.skip(read);
      const bytes = await readIn(3 - owner, read);
      assert.ok(inObjects < records, 'something is left that only the owner has');
      assert.ok(bytes.other.own! >= inObjects * recordBytes, JSON.stringify(bytes));
      assert.ok(bytes.owner.other! >= (records - inObjects) * recordBytes, JSON.stringify(bytes));
      assert.ok(
        bytes.owner.other! < inObjects * recordBytes,
        `${JSON.stringify(bytes)}, ${inObjects} in objects`,
      );
    });

    test(`${name}: all from the owner, in the owner's zone`, async (t) => {
      const read = await open();
      if (typeof read === 'string') return t.skip(read);
      const bytes = await readIn(owner, read);
      assert.ok(bytes.owner.own! >= records * recordBytes);
      assert.deepEqual(bytes.other, { own: 0, other: 0, unknown: 0 });
    });
  }
});
