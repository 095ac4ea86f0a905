/**
 * Apache Kafka's share consumers over three brokers: groups, records and delivery states lie on different ones, move all the time,
 * and lose one. Every record is delivered; of what was confirmed as accepted nothing comes again; at the end nothing is left.
 */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { coordinatorPartition } from '../../src/coordinator/runtime/coordinator-place.ts';
import { DescribeShareGroupOffsetsCodec } from '../../src/protocol/generated/describe-share-group-offsets.ts';
import { ErrorCode, errorName } from '../../src/protocol/generated/errors.ts';
import { openFamily } from '../support/clients/families.ts';
import { configureShareGroup, judged, ShareWorkers } from '../support/clients/java/share-workers.ts';
import { ClusterBed } from '../support/cluster-bed.ts';
import { ClusterMoves, loseBroker } from '../support/cluster-moves.ts';
import { until } from '../support/inline-broker.ts';
import { sequencedBatch } from '../support/load/batches.ts';
import { patienceMs } from '../support/patience.ts';

const topic = 'shared-jobs';
const group = 'sharers';
const partitions = 3;
const batches = 40;
const perBatch = 10;
const total = partitions * batches * perBatch;

let cluster: ClusterBed | null = null;
let workers: ShareWorkers | null = null;
afterEach(async () => {
  workers?.dispose();
  await cluster?.dispose();
});

/** Batches of each partition, in turn, to whoever has it. */
async function produce(bed: ClusterBed, from: number, until: number): Promise<void> {
  for (let i = from; i < until; i++) {
    for (let partition = 0; partition < partitions; partition++) {
      const values = Array.from({ length: perBatch }, (_, r) => Buffer.from(`${i * perBatch + r}`));
      const ids = { producerId: 900 + partition, producerEpoch: 0 };
      const batch = sequencedBatch(ids, i * perBatch, values, Date.now());
      for (let error = -1; error !== 0; ) {
        const { state, node } = bed.partition(topic, partition);
        if (state === 'open') {
          const owner = await bed.bed(node).connect();
          error = (await owner.produce(topic, partition, batch)).errorCode;
          await owner.close();
        }
        assert([-1, 0, ErrorCode.NOT_LEADER_OR_FOLLOWER].includes(error), errorName(error));
        if (error !== 0) await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test('members of Apache Kafka’s client share records of brokers that hand over to each other, and of one that is lost', async (t) => {
  const java = await openFamily('java', { slow: false });
  if (typeof java === 'string') return t.skip(java);
  const bed = new ClusterBed(3, 'shared', {
    settings: { 'offsets.topic.num.partitions': 3, 'share.coordinator.state.topic.num.partitions': 3 },
    leads: false,
  });
  cluster = bed;
  await bed.start();
  const connection = await bed.bed(1).connect();
  await connection.createTopic(topic, partitions);
  assert.equal(await configureShareGroup(connection, group), 0);
  for (let partition = 0; partition < partitions; partition++) {
    await bed.assign(topic, partition, partition + 1);
    await bed.opened(topic, partition, partition + 1);
  }
  const { host, port } = bed.bed(1).address;
  const started = await ShareWorkers.open(`${host}:${port}`, topic, group);
  workers = started;
  const process = started.start(3);
  await produce(bed, 0, batches / 4);
  await until(() => started.accepted() > 0, patienceMs);
  const moves = new ClusterMoves(bed, 1);
  await produce(bed, batches / 4, (3 * batches) / 4);
  await moves.end();
  assert(moves.count > 10, `${moves.count} moves`);
  await loseBroker(bed, 3, 2);
  await produce(bed, (3 * batches) / 4, batches);
  const left = async (): Promise<string[]> => {
    const offsets = bed.authority.image.topicsByName.get('__consumer_offsets')!.partitions;
    const { node } = offsets[coordinatorPartition(group, offsets.length)]!;
    const asked = [{ topicName: topic, partitions: [0, 1, 2] }];
    const { groups } = await (await bed.bed(node).connect()).request(DescribeShareGroupOffsetsCodec, 1, {
      groups: [{ groupId: group, topics: asked }],
    });
    const told = groups[0]!.topics[0]?.partitions ?? [];
    return told.map(({ startOffset, lag }) => `${startOffset} ${lag}`);
  };
  const end = batches * perBatch;
  let now: string[] = [];
  for (let turn = 0; turn < 400; turn++) {
    now = await left();
    if (now.length === partitions && now.every((text) => text === `${end} 0`)) break;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  assert.deepEqual(now, Array(partitions).fill(`${end} 0`));
  process.stdin!.end();
  await new Promise((resolve) => process.once('exit', resolve));
  const { delivered, wrong } = judged(started.said());
  assert.deepEqual(wrong, [], 'records were confirmed and came again');
  assert.equal(delivered.size, total);
  t.diagnostic(`${moves.count} moves, ${started.accepted()} confirmed of ${total}`);
});
