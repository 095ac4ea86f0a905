/**
 * Ways of transactions between shards and brokers: markers to partitions wherever they are owned, and questions to the
 * coordinator of a transactional id (log/transaction-seam.ts). Shard thread.
 *
 *     marker   ─┬─ partition that another broker has open: WriteTxnMarkers to it
 *               ├─ partition of an internal topic: its coordinator here, or that of the owning shard (`markerService`)
 *               └─ any other: its log, here or over the link
 *     question ─┬─ coordinated by another broker: AddPartitionsToTxn to it
 *               └─ else the coordinator here, or on the shard that owns the id (`verifyService`)
 *
 * Where a partition is the image says, at each attempt anew. What another broker asks ends in this one: it is served by links
 * that lead to no third (`others` null). Questions and markers for other shards are rare beside records, so they go as JSON.
 * Bounds: as of `ask` and of the batches (interbroker/batches.ts); what cannot be sent is answered with
 * COORDINATOR_NOT_AVAILABLE or NOT_LEADER_OR_FOLLOWER, and whoever asked tries again.
 */
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import type { TransactionCoordinator } from '../coordinator/transaction/transaction-api.ts';
import type { MarkerSender, VersionedMarker } from '../coordinator/transaction/transaction-markers.ts';
import type { OtherBrokers } from '../interbroker/other-brokers.ts';
import type { AppendWaiter } from '../log/append-journal.ts';
import type { MarkerAppender, TransactionVerifier } from '../log/transaction-seam.ts';
import type { TopicImage } from '../metadata/metadata-store.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type { CoordinatorPlaces, ShardLinks } from '../requests/request-router.ts';
import type { ShardServicesTable } from '../requests/routing.ts';
import type { TopicDirectory } from '../requests/support/topic-directory.ts';

/** Numbers of the services in ShardServicesTable. */
export const markerService = 2;
export const verifyService = 3;

type Transaction = Parameters<TransactionVerifier['verify']>[0];
type Partition = Parameters<TransactionVerifier['verify']>[1];

export interface TransactionLinksDeps {
  readonly self: number;
  /** Null where this shard is alone. */
  readonly links: ShardLinks | null;
  /** Null: what another broker has open is refused. */
  readonly others: Pick<OtherBrokers, 'markers' | 'transactions'> | null;
  /** The other broker that has a partition open; −1 = this one, or nobody. */
  readonly brokerOf: (topic: TopicImage, partition: number) => number;
  /** The same of the partition that coordinates a key. */
  readonly coordinatorBroker: (topicName: string, key: string) => number;
  readonly topics: TopicDirectory;
  readonly places: CoordinatorPlaces;
  readonly ownerOf: (topic: TopicImage, partition: number) => number;
  readonly coordinator: () => TransactionCoordinator;
  /** Ends a transaction in a coordinator's partition of this shard; false for other topics. */
  readonly endTransaction: (
    topic: string,
    partition: number,
    marker: VersionedMarker,
    done: (error: number) => void,
  ) => boolean;
  readonly appender: MarkerAppender;
}

interface MarkerQuestion {
  readonly topic: string;
  readonly partition: number;
  readonly marker: VersionedMarker;
}

interface VerifyQuestion {
  readonly transaction: Transaction;
  readonly partition: Partition;
}

export class TransactionLinks implements MarkerSender, TransactionVerifier {
  readonly #deps: TransactionLinksDeps;

  constructor(deps: TransactionLinksDeps) {
    this.#deps = deps;
  }

  /** What other shards may ask of this one. */
  serve(services: ShardServicesTable): void {
    services.register(markerService, (bytes, answer) => {
      const { topic, partition, marker } = JSON.parse(bytes.toString()) as MarkerQuestion;
      this.#sendHere(topic, partition, marker, (error) => answer(Buffer.from(String(error))));
    });
    services.register(verifyService, (bytes, answer) => {
      const { transaction, partition } = JSON.parse(bytes.toString()) as VerifyQuestion;
      this.#verifyHere(transaction, partition, (error) => answer(Buffer.from(String(error))));
    });
  }

  // ── Markers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  send(topic: string, partition: number, marker: VersionedMarker, done: (error: number) => void): void {
    const { topics, ownerOf, self, links, others, brokerOf } = this.#deps;
    const image = topics.topicByName(topic);
    if (image?.partitions[partition] === undefined) {
      done(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
      return;
    }
    const broker = brokerOf(image, partition);
    if (broker >= 0) {
      if (others === null) done(ErrorCode.NOT_LEADER_OR_FOLLOWER);
      else others.markers.send(broker, topic, partition, marker, done);
      return;
    }
    const owner = ownerOf(image, partition);
    if (owner === self || links === null || !image.internal) {
      this.#sendHere(topic, partition, marker, done);
      return;
    }
    const question: MarkerQuestion = { topic, partition, marker };
    links.ask(owner, markerService, Buffer.from(JSON.stringify(question)), (answer) =>
      done(answer === null ? ErrorCode.NOT_LEADER_OR_FOLLOWER : Number(answer)),
    );
  }

  #sendHere(topic: string, partition: number, marker: VersionedMarker, done: (error: number) => void): void {
    const { topics, endTransaction, appender } = this.#deps;
    if (endTransaction(topic, partition, marker, done)) return;
    const image = topics.topicByName(topic);
    const handle = image === undefined ? undefined : topics.partition(image.topicId, partition);
    if (handle === undefined) {
      done(image === undefined ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.NOT_LEADER_OR_FOLLOWER);
      return;
    }
    const waiter: AppendWaiter = { onAppended: (_index, error) => done(error) };
    appender.append(handle, marker, waiter, 0);
  }

  // ── Questions ───────────────────────────────────────────────────────────────────────────────────────────────────

  verify(transaction: Transaction, partition: Partition, done: (error: number) => void): void {
    const { places, self, links, coordinatorBroker } = this.#deps;
    const settle = (error: number): void => done(toldError(error, transaction.abortable));
    const broker = coordinatorBroker(coordinatorTopics.transaction, transaction.transactionalId);
    if (broker >= 0) {
      this.#verifyAt(broker, transaction, partition, settle);
      return;
    }
    const owner = places.ownerOf(coordinatorTopics.transaction, transaction.transactionalId);
    if (owner === self || links === null) {
      this.#verifyHere(transaction, partition, settle);
      return;
    }
    const question: VerifyQuestion = { transaction, partition };
    links.ask(owner, verifyService, Buffer.from(JSON.stringify(question)), (answer) =>
      settle(answer === null ? ErrorCode.COORDINATOR_NOT_AVAILABLE : Number(answer)),
    );
  }

  /** A yes from memory counts only while the broker that says it coordinates: one that was deposed may not know it yet. */
  #verifyAt(
    broker: number,
    transaction: Transaction,
    partition: Partition,
    done: (error: number) => void,
  ): void {
    const { others, coordinatorBroker } = this.#deps;
    if (others === null) {
      done(ErrorCode.NOT_COORDINATOR);
      return;
    }
    others.transactions.ask(broker, transaction, partition, (error) => {
      const now = coordinatorBroker(coordinatorTopics.transaction, transaction.transactionalId);
      const isStale = error === ErrorCode.NONE && !transaction.add && now !== broker;
      done(isStale ? ErrorCode.NOT_COORDINATOR : error);
    });
  }

  #verifyHere(
    { transactionalId, producerId, producerEpoch, add }: Transaction,
    { topic, partition }: Partition,
    done: (error: number) => void,
  ): void {
    const coordinator = this.#deps.coordinator();
    const query = { transactionalId, producerId, producerEpoch };
    if (add) coordinator.add({ ...query, partitions: new Map([[topic, [partition]]]), version: 2 }, done);
    else done(coordinator.verify(query, [{ topic, partition }])[0]!);
  }
}

/** As producers know the errors of a transaction's coordinator: those of the log that stand for the same (KIP-890). */
function toldError(error: number, abortable: boolean): number {
  if (error === ErrorCode.PRODUCER_FENCED) return ErrorCode.INVALID_PRODUCER_EPOCH;
  return error === ErrorCode.TRANSACTION_ABORTABLE && !abortable ? ErrorCode.INVALID_TXN_STATE : error;
}
