/**
 * Markers of transactions on their way to other brokers: WriteTxnMarkers v2, a request for many transactions and partitions.
 * Nothing is tried again here: the coordinator does, and looks where the partition is by then. Shard thread.
 */
import type { VersionedMarker } from '../coordinator/transaction/transaction-markers.ts';
import type { Clock } from '../ports/clock.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  WriteTxnMarkersCodec,
  type WriteTxnMarkersResponse,
} from '../protocol/generated/write-txn-markers.ts';
import { Batches } from './batches.ts';
import type { BrokerPeers } from './broker-peers.ts';

/** With names of 249 bytes half a MiB. */
const partitionsMax = 2_048;
/** The first that states the transaction version: without it a partition takes late markers for those of the present one. */
const versionedFrom = 2;

interface Item {
  readonly topic: string;
  readonly partition: number;
  readonly marker: VersionedMarker;
  readonly done: (error: number) => void;
}

/** One marker, and where it goes. */
interface Sheet {
  readonly marker: VersionedMarker;
  readonly topics: Map<string, Item[]>;
}

export class MarkerBatches {
  readonly #peers: BrokerPeers;
  readonly #batches: Batches<Item>;

  constructor({ peers, clock }: { readonly peers: BrokerPeers; readonly clock: Clock }) {
    this.#peers = peers;
    this.#batches = new Batches({
      clock,
      // A marker that is sent twice must not come back with the answer of the other.
      keyOf: ({ topic, partition, marker }) => `${marker.producerId} ${partition} ${topic}`,
      together: false,
      itemsMax: partitionsMax,
      request: (node, items, answered) => this.#request(node, items, answered),
    });
  }

  /** `done` gets 0 once the marker is durable; NOT_LEADER_OR_FOLLOWER where the peer could not be asked, or said nothing. */
  send(
    node: number,
    topic: string,
    partition: number,
    marker: VersionedMarker,
    done: (error: number) => void,
  ): void {
    if (!this.#batches.add(node, { topic, partition, marker, done })) done(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  #request(node: number, items: readonly Item[], answered: () => void): void {
    const sheets = sheetsOf(items);
    this.#peers.send(node, 'markers', {
      codec: WriteTxnMarkersCodec,
      minVersion: versionedFrom,
      input: {
        markers: sheets.map(({ marker: { committed, ...marker }, topics }) => ({
          ...marker,
          transactionResult: committed,
          topics: [...topics].map(([name, some]) => ({
            name,
            partitionIndexes: some.map(({ partition }) => partition),
          })),
        })),
      },
      done: (response) => {
        for (const [i, sheet] of sheets.entries()) settle(sheet, response?.markers[i]);
        answered();
      },
    });
  }
}

function sheetsOf(items: readonly Item[]): Sheet[] {
  const sheets = new Map<string, Sheet>();
  for (const item of items) {
    const { marker, topic } = item;
    const { producerId, producerEpoch, coordinatorEpoch, committed, transactionVersion } = marker;
    const key = `${producerId} ${producerEpoch} ${coordinatorEpoch} ${committed} ${transactionVersion}`;
    let sheet = sheets.get(key);
    if (sheet === undefined) {
      sheet = { marker, topics: new Map() };
      sheets.set(key, sheet);
    }
    const some = sheet.topics.get(topic);
    if (some === undefined) sheet.topics.set(topic, [item]);
    else some.push(item);
  }
  return [...sheets.values()];
}

function settle(
  { marker, topics }: Sheet,
  result: WriteTxnMarkersResponse['markers'][number] | undefined,
): void {
  const isOurs = result?.producerId === marker.producerId;
  for (const [name, items] of topics) {
    const told = isOurs ? result.topics.find((topic) => topic.name === name) : undefined;
    for (const { partition, done } of items) {
      const found = told?.partitions.find(({ partitionIndex }) => partitionIndex === partition);
      done(found === undefined ? ErrorCode.NOT_LEADER_OR_FOLLOWER : ownError(found.errorCode));
    }
  }
}

/**
 * Whether a topic is gone this broker's own image says: the peer may not have heard of one yet that was just made. What a group's
 * coordinator says while it comes or goes is the same as of a log.
 */
function ownError(error: number): number {
  switch (error) {
    case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
    case ErrorCode.NOT_COORDINATOR:
    case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
    case ErrorCode.COORDINATOR_NOT_AVAILABLE:
      return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    default:
      return error;
  }
}
