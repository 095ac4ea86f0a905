/**
 * An image of three brokers as the second of them, 7, sees it: 6 and 8 are its peers, 8 has no listener for TLS. Fixture of
 * handlers' tests.
 */
import type { BrokerState, MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { FakeTopics } from './admin-fixtures.ts';

export const own = 7;
export const peer = 6;
export const plainPeer = 8;

const plainListener = 'PLAINTEXT';
export const tlsListener = 'SSL';

export type RackOf = (node: number) => string;
export const oneRack: RackOf = () => 'rack';
export const rackEach: RackOf = (node) => `rack-${node}`;

export const addressOf = (nodeId: number, port = 9092, rackOf = rackEach) => ({
  nodeId,
  host: `host-${nodeId}`,
  port,
  rack: rackOf(nodeId),
});

/** As the answering broker knows itself. */
export const endpointIn = (rackOf: RackOf) => (listener: string) =>
  addressOf(own, listener === tlsListener ? 9093 : 9092, rackOf);
export const ownEndpoint = endpointIn(rackEach);

function registration(node: number, rackOf: RackOf): MetadataChange {
  const plain = { listener: plainListener, tls: false, host: `host-${node}`, port: 9092 };
  const tls = { listener: tlsListener, tls: true, host: `host-${node}`, port: 9093 };
  return {
    type: 'broker',
    node,
    epoch: 1,
    endpoints: node === plainPeer ? [plain] : [plain, tls],
    rack: rackOf(node),
  };
}

export class ThreeBrokers extends FakeTopics {
  readonly #rackOf: RackOf;

  constructor(rackOf = rackEach) {
    super();
    this.#rackOf = rackOf;
    this.builder.apply([own, peer, plainPeer].map((node) => registration(node, rackOf)));
  }

  set(node: number, state: BrokerState): void {
    this.builder.apply([{ type: 'brokerState', node, epoch: 1, state }]);
  }

  register(node: number): void {
    this.builder.apply([registration(node, this.#rackOf)]);
  }

  lead(node: number): void {
    this.builder.apply([{ type: 'controller', node }]);
  }

  assign(topicId: string, partition: number, node: number): void {
    this.builder.apply([{ type: 'assign', topicId, partition, node }]);
  }

  close(topicId: string, partition: number): void {
    const { leaderEpoch } = this.topicById(topicId)!.partitions[partition]!;
    this.builder.apply([{ type: 'close', topicId, partition, leaderEpoch, endOffset: 0, stateObject: '' }]);
    this.partitions.delete(`${topicId}/${partition}`);
  }

  /** Has the partition open on another broker, under the next epoch. */
  move(topicId: string, partition: number, node: number): void {
    if (this.topicById(topicId)!.partitions[partition]!.state === 'open') this.close(topicId, partition);
    const leaderEpoch = this.topicById(topicId)!.partitions[partition]!.leaderEpoch + 1;
    this.builder.apply([
      { type: 'open', topicId, partition, leaderEpoch, startOffset: 0, node, wal: `w${node}` },
    ]);
  }
}
