/**
 * The ends of logs that other brokers own, for lags: ListOffsets. Shard thread.
 */
import type { Clock } from '../ports/clock.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { ListOffsetsCodec, type ListOffsetsResponse } from '../protocol/generated/list-offsets.ts';
import { Batches } from './batches.ts';
import type { BrokerPeers } from './broker-peers.ts';

const partitionsMax = 2_048;
const latest = -1;
const consumer = -1;
/** The first that answers one offset. */
const oneOffsetFrom = 1;

interface Item {
  readonly topic: string;
  readonly partition: number;
  readonly done: (end: number) => void;
}

export class EndQuestions {
  readonly #peers: BrokerPeers;
  readonly #batches: Batches<Item>;

  constructor({ peers, clock }: { readonly peers: BrokerPeers; readonly clock: Clock }) {
    this.#peers = peers;
    this.#batches = new Batches({
      clock,
      keyOf: ({ topic, partition }) => `${partition} ${topic}`,
      together: true,
      itemsMax: partitionsMax,
      request: (node, items, answered) => this.#request(node, items, answered),
    });
  }

  /** `done` gets the high watermark, −1 where it could not be learned. */
  ask(node: number, topic: string, partition: number, done: (end: number) => void): void {
    if (!this.#batches.add(node, { topic, partition, done })) done(-1);
  }

  #request(node: number, items: readonly Item[], answered: () => void): void {
    const topics = new Map<string, Set<number>>();
    for (const { topic, partition } of items) {
      const partitions = topics.get(topic);
      if (partitions === undefined) topics.set(topic, new Set([partition]));
      else partitions.add(partition);
    }
    this.#peers.send(node, 'questions', {
      codec: ListOffsetsCodec,
      minVersion: oneOffsetFrom,
      input: {
        replicaId: consumer,
        topics: [...topics].map(([name, partitions]) => ({
          name,
          partitions: [...partitions].map((partitionIndex) => ({
            partitionIndex,
            currentLeaderEpoch: -1,
            timestamp: latest,
          })),
        })),
      },
      done: (response) => {
        for (const item of items) item.done(endOf(response, item));
        answered();
      },
    });
  }
}

function endOf(response: ListOffsetsResponse | null, { topic, partition }: Item): number {
  const found = response?.topics
    .find(({ name }) => name === topic)
    ?.partitions.find(({ partitionIndex }) => partitionIndex === partition);
  return found?.errorCode === ErrorCode.NONE ? found.offset : -1;
}
