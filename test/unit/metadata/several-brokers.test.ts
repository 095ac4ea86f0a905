/** What commits of several registered brokers may say of each other's streams and logs (docs/internals/metadata.md). */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nextBrokerEpoch } from '../../../src/metadata/broker-epochs.ts';
import { ConditionChecker } from '../../../src/metadata/conditions.ts';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import { decodeImage, encodeImage } from '../../../src/metadata/image-codec.ts';
import type { MetadataChange, WalRecord } from '../../../src/metadata/metadata-store.ts';
import { id, oid, range, topic, walRecord } from './fixtures.ts';

const log = (node: number, change: Partial<WalRecord> = {}): MetadataChange => ({
  type: 'wal',
  wal: { ...walRecord(`w${node}`), node, ...change },
});
const broker = (node: number, epoch = 1): MetadataChange => ({
  type: 'broker',
  node,
  epoch,
  endpoints: [{ listener: 'plain', tls: false, host: `h${node}`, port: 9092 }],
  rack: null,
});
const open = (partition: number, leaderEpoch: number, node: number, wal = `w${node}`): MetadataChange => ({
  type: 'open',
  topicId: id(1),
  partition,
  leaderEpoch,
  startOffset: 0,
  node,
  wal,
});
const close = (partition: number, leaderEpoch: number): MetadataChange => ({
  type: 'close',
  topicId: id(1),
  partition,
  leaderEpoch,
  endOffset: 0,
  stateObject: '',
});
const fence = (node: number, epoch = 1): MetadataChange => ({
  type: 'brokerState',
  node,
  epoch,
  state: 'fenced',
});
const upload = (wal: string, n: number): MetadataChange => ({
  type: 'upload',
  wal,
  freed: { sequence: 1, position: 4096, chainCrc: 0 },
  timeMs: 1,
  objects: [{ objectId: oid(n), size: 1, ranges: [range(1, 0, 0, 10)] }],
});

/** Two brokers with a log each; partition 0 is open on the first, 1 on the second. */
class Cluster {
  readonly builder = new ImageBuilder();

  constructor() {
    this.commit(1, broker(1), log(1), topic(1, 3), open(0, 0, 1));
    this.commit(2, broker(2), log(2), open(1, 0, 2));
  }

  commit(node: number, ...changes: readonly MetadataChange[]): void {
    new ConditionChecker(this.builder.image).check({ author: { node, epoch: 1 }, changes });
    this.builder.apply(changes);
  }

  refuses(code: string, text: RegExp, node: number, ...changes: readonly MetadataChange[]): void {
    const check = () =>
      new ConditionChecker(this.builder.image).check({ author: { node, epoch: 1 }, changes });
    assert.throws(
      check,
      (error: Error & { code?: string }) => error.code === code && text.test(error.message),
    );
  }
}

const condition = 'METADATA_CONDITION';

describe('metadata of several brokers', () => {
  it('let nobody but the owner of a log upload from it, or close what is open in it', () => {
    const cluster = new Cluster();
    cluster.refuses(condition, /belongs to broker 1, not to 2/, 2, upload('w1', 1));
    cluster.refuses(condition, /in a log of broker 1, not of 2/, 2, close(0, 0));
    cluster.commit(1, upload('w1', 1));
    cluster.commit(1, close(0, 0));
  });

  it('let a topic open on any broker, in a log of that broker', () => {
    const cluster = new Cluster();
    cluster.refuses(condition, /belongs to broker 2, not to 1/, 1, open(2, 0, 1, 'w2'));
    cluster.commit(1, open(2, 0, 2));
  });

  it('let a log change hands only when its broker is fenced, who then commits nothing more', () => {
    const cluster = new Cluster();
    cluster.refuses(condition, /belongs to broker 1, which is not fenced/, 2, log(1, { node: 2, epoch: 2 }));
    cluster.refuses(condition, /not registered as epoch 3/, 2, fence(1, 3));
    cluster.commit(2, fence(1));
    cluster.refuses('METADATA_AUTHOR_FENCED', /epoch 1, fenced/, 1, topic(9));
    cluster.refuses(condition, /broker 1 is fenced/, 2, open(2, 0, 1));
    cluster.refuses(condition, /in a log of broker 1, not of 2/, 2, close(0, 0));
    cluster.commit(2, log(1, { node: 2, epoch: 2 }));
    cluster.commit(2, upload('w1', 1), close(0, 0), log(1, { node: 2, epoch: 2, state: 'empty' }));
    cluster.commit(2, open(0, 1, 2));
    // A fenced registration never comes back; the broker does, as another.
    cluster.refuses(condition, /not registered as epoch 1/, 2, {
      type: 'brokerState',
      node: 1,
      epoch: 1,
      state: 'active',
    });
    new ConditionChecker(cluster.builder.image).check({
      author: { node: 1, epoch: 2 },
      changes: [broker(1, 2)],
    });
  });

  it('let no log be recorded empty while a stream is open in it', () => {
    const cluster = new Cluster();
    cluster.refuses(condition, /topic-1-0 is open in WAL w1/, 1, log(1, { state: 'empty' }));
    cluster.commit(1, close(0, 0), log(1, { state: 'empty' }));
    cluster.refuses(condition, /not recorded as open/, 2, open(0, 1, 1));
  });

  it('let streams be assigned to brokers in force only', () => {
    const cluster = new Cluster();
    const assign = (node: number): MetadataChange => ({ type: 'assign', topicId: id(1), partition: 0, node });
    cluster.refuses(condition, /broker 7 is fenced/, 1, assign(7));
    cluster.commit(1, assign(2));
    cluster.commit(1, { type: 'controller', node: 2 });
    assert.equal(cluster.builder.image.topicsById.get(id(1))!.partitions[0]!.target, 2);
    cluster.commit(1, assign(-1));
    cluster.commit(1, fence(2));
    cluster.refuses(condition, /broker 2 is fenced/, 1, assign(2));
    cluster.refuses(condition, /broker 2 is fenced/, 1, { type: 'controller', node: 2 });
  });

  it('forget a broker that is fenced and has nothing left, and remember its epoch', () => {
    const cluster = new Cluster();
    const remove = (node: number, epoch = 1): MetadataChange => ({ type: 'brokerRemoved', node, epoch });
    const assign = (partition: number, node: number): MetadataChange => ({
      type: 'assign',
      topicId: id(1),
      partition,
      node,
    });
    cluster.refuses(condition, /not registered as epoch 1 and fenced/, 2, remove(1));
    cluster.commit(1, assign(1, 1));
    cluster.commit(2, fence(1));
    cluster.refuses(condition, /not registered as epoch 2 and fenced/, 2, remove(1, 2));
    cluster.refuses(condition, /WAL w1 of broker 1 is open/, 2, remove(1));
    cluster.commit(2, log(1, { node: 2, epoch: 2 }));
    // Open on it, in a log that another has claimed.
    cluster.refuses(condition, /topic-1-0 belongs to broker 1/, 2, remove(1));
    cluster.commit(2, close(0, 0));
    cluster.refuses(condition, /topic-1-0 belongs to broker 1/, 2, remove(1));
    cluster.commit(2, assign(0, 2));
    // Open elsewhere, but assigned to it.
    cluster.refuses(condition, /topic-1-1 belongs to broker 1/, 2, remove(1));
    cluster.commit(2, assign(1, -1));
    cluster.commit(2, remove(1));
    const { image } = cluster.builder;
    assert.deepEqual([[...image.brokers.keys()], image.retiredEpoch], [[2], 1]);
    assert.deepEqual(decodeImage(encodeImage(image)).image, image);
    cluster.refuses('METADATA_AUTHOR_FENCED', /registered no more/, 1, topic(9));
    const again = (epoch: number) => () =>
      new ConditionChecker(image).check({ author: { node: 1, epoch }, changes: [broker(1, epoch)] });
    assert.throws(again(1), /a broker of epoch 1 was removed already/);
    assert.equal(nextBrokerEpoch(image, 1), 2);
    again(nextBrokerEpoch(image, 1))();
  });

  it('survive in a snapshot, with where object ids stood at each registration', () => {
    const cluster = new Cluster();
    cluster.commit(1, { type: 'idBlock', kind: 'object', first: 0, next: 512 });
    const changes = [broker(3), { type: 'controller', node: 3 } as const];
    new ConditionChecker(cluster.builder.image).check({ author: { node: 3, epoch: 1 }, changes });
    cluster.builder.apply(changes);
    cluster.commit(1, { type: 'brokerState', node: 2, epoch: 1, state: 'draining' });
    cluster.commit(1, { type: 'assign', topicId: id(1), partition: 2, node: 3 });
    const { image } = cluster.builder;
    assert.deepEqual(
      [...image.brokers].map(([node, { state, idFloor }]) => [node, state, idFloor]),
      [
        [1, 'active', 0],
        [2, 'draining', 0],
        [3, 'active', 512],
      ],
    );
    assert.deepEqual(decodeImage(encodeImage(image)).image, image);
  });
});
