/**
 * Questions to a transaction coordinator on another broker (KIP-890): whether partitions belong to an open transaction, or that
 * they shall: AddPartitionsToTxn v5. Partitions of one transaction go together, and no two requests about it are under way at a
 * time: the coordinator takes one step after the other, and would refuse the second. Shard thread.
 */
import type { TransactionVerifier } from '../log/transaction-seam.ts';
import type { Clock } from '../ports/clock.ts';
import {
  AddPartitionsToTxnCodec,
  type AddPartitionsToTxnResponse,
} from '../protocol/generated/add-partitions-to-txn.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { Batches } from './batches.ts';
import type { BrokerPeers } from './broker-peers.ts';

type Transaction = Parameters<TransactionVerifier['verify']>[0];
type Partition = Parameters<TransactionVerifier['verify']>[1];

/** With names of 249 bytes a quarter of a MiB. */
const partitionsMax = 1_024;
/** From then on TRANSACTION_ABORTABLE is told apart. */
const abortableFrom = 5;

interface Item {
  readonly transaction: Transaction;
  readonly partition: Partition;
  readonly done: (error: number) => void;
}

/** The items of one entry of a request. */
interface Entry {
  readonly transaction: Transaction;
  readonly topics: Map<string, Map<number, Item[]>>;
}

export class TransactionQuestions {
  readonly #peers: BrokerPeers;
  readonly #batches: Batches<Item>;

  constructor({ peers, clock }: { readonly peers: BrokerPeers; readonly clock: Clock }) {
    this.#peers = peers;
    this.#batches = new Batches({
      clock,
      keyOf: ({ transaction }) => transaction.transactionalId,
      together: true,
      itemsMax: partitionsMax,
      request: (node, items, answered) => this.#request(node, items, answered),
    });
  }

  /** `done` gets the coordinator's word; COORDINATOR_NOT_AVAILABLE where it could not be asked, or said nothing. */
  ask(node: number, transaction: Transaction, partition: Partition, done: (error: number) => void): void {
    if (!this.#batches.add(node, { transaction, partition, done })) done(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  }

  #request(node: number, items: readonly Item[], answered: () => void): void {
    const entries = entriesOf(items);
    this.#peers.send(node, 'questions', {
      codec: AddPartitionsToTxnCodec,
      minVersion: abortableFrom,
      input: {
        transactions: entries.map(({ transaction, topics }) => ({
          transactionalId: transaction.transactionalId,
          producerId: transaction.producerId,
          producerEpoch: transaction.producerEpoch,
          verifyOnly: !transaction.add,
          topics: [...topics].map(([name, partitions]) => ({ name, partitions: [...partitions.keys()] })),
        })),
      },
      done: (response) => {
        for (const [i, entry] of entries.entries()) settle(entry, i, response);
        answered();
      },
    });
  }
}

/** Questions that differ in what they ask, or by which producer, are entries of their own, in their order. */
function entriesOf(items: readonly Item[]): Entry[] {
  const entries = new Map<string, Entry>();
  for (const item of items) {
    const { transactionalId, producerId, producerEpoch, add } = item.transaction;
    const { topic, partition } = item.partition;
    const key = `${producerId} ${producerEpoch} ${add} ${transactionalId}`;
    let entry = entries.get(key);
    if (entry === undefined) {
      entry = { transaction: item.transaction, topics: new Map() };
      entries.set(key, entry);
    }
    let partitions = entry.topics.get(topic);
    if (partitions === undefined) {
      partitions = new Map();
      entry.topics.set(topic, partitions);
    }
    const some = partitions.get(partition);
    if (some === undefined) partitions.set(partition, [item]);
    else some.push(item);
  }
  return [...entries.values()];
}

function settle(
  { transaction, topics }: Entry,
  index: number,
  response: AddPartitionsToTxnResponse | null,
): void {
  const result = response?.resultsByTransaction[index];
  const isOurs =
    response?.errorCode === ErrorCode.NONE && result?.transactionalId === transaction.transactionalId;
  for (const [name, partitions] of topics) {
    const told = isOurs ? result.topicResults.find((topic) => topic.name === name) : undefined;
    for (const [partition, items] of partitions) {
      const found = told?.resultsByPartition.find(({ partitionIndex }) => partitionIndex === partition);
      const error =
        found === undefined ? ErrorCode.COORDINATOR_NOT_AVAILABLE : ownError(found.partitionErrorCode);
      for (const { done } of items) done(error);
    }
  }
}

/** Not attempted beside a partition that the coordinator has not heard of: it may be asked again, by itself. */
function ownError(error: number): number {
  return error === ErrorCode.OPERATION_NOT_ATTEMPTED ? ErrorCode.COORDINATOR_NOT_AVAILABLE : error;
}
