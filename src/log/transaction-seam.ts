/**
 * THE SEAM between the transaction coordinator and partition logs. Shard thread; nothing here waits or stores.
 *
 * What the coordinator asks of a log, wherever the partition is owned (PartitionHandle, local or over a link):
 *
 *   MarkerAppender.append   writes COMMIT or ABORT; the waiter is told once it is *durable*, only then readers of committed
 *                           records pass it. Refusals that have written nothing, told before `append` returns for partitions of
 *                           this shard:
 *                             INVALID_PRODUCER_EPOCH          the producer has a newer epoch here: the transaction is over
 *                             TRANSACTION_COORDINATOR_FENCED  a newer coordinator wrote a marker: stop
 *                             NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION, NOT_ENOUGH_REPLICAS,
 *                             KAFKA_STORAGE_ERROR             try again; the fate of a marker that failed later is open, and
 *                                                             writing it twice does no harm
 *   describeProducers       which transactions are open, for finding hanging ones
 *
 * What a log asks of the coordinator before a produce may begin a transaction in a partition (KIP-890): TransactionVerifier,
 * between `PartitionHandle.verify` and `append`:
 *
 *   guard = verify(producer, epoch, first sequence, bumps)
 *     appendGuard.none  the transaction is open here: append at once
 *     else              verifier.verify(…) ─► 0: append with the guard ─► the log refuses it (INVALID_TXN_STATE) if a marker came
 *                                        └─► error: refuse the produce with it
 *
 * Batches of one producer for one partition must be appended in the order in which they came: requests/support/transaction-gate.ts
 * does all of this for Produce. A batch that overtakes all the same is refused with OUT_OF_ORDER_SEQUENCE_NUMBER.
 * The broker's own coordinators (offsets of a transaction) append with appendGuard.trusted, after they have asked the same.
 */
import type { Arena } from '../ports/arena.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { buildControlMarker, markerType } from '../protocol/records/control-marker.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import type { AppendWaiter } from './append-journal.ts';
import type { PartitionHandle } from './partition-handle.ts';

export interface TransactionMarker {
  readonly producerId: number;
  /** Of the transaction; from transaction version 2 on the bumped one. */
  readonly producerEpoch: number;
  /** Leader epoch of the coordinator's partition. */
  readonly coordinatorEpoch: number;
  readonly committed: boolean;
  /** 0 to 2: from 2 on a marker of the producer's present epoch ends no open transaction. */
  readonly transactionVersion: number;
}

export interface TransactionVerifier {
  /**
   * Whether the partition belongs to the open transaction of the producer; with `add` it is added to it (KIP-890, Produce from
   * v12 on). `done` gets a wire error, 0 = yes, when that is durable at the coordinator.
   */
  verify(
    transaction: {
      readonly transactionalId: string;
      readonly producerId: number;
      readonly producerEpoch: number;
      readonly add: boolean;
      /** The client knows TRANSACTION_ABORTABLE; others are told INVALID_TXN_STATE. */
      readonly abortable: boolean;
    },
    partition: { readonly topicId: string; readonly topic: string; readonly partition: number },
    done: (error: number) => void,
  ): void;
}

export interface MarkerAppenderDeps {
  readonly arena: Arena;
  /** Room for the batch until the log holds it; −1 = none. */
  readonly slab: { allocate(length: number): number };
  readonly crc32c: Crc32c;
  readonly clock: { now(): number };
  /** Tells WALs and links of what was appended. */
  readonly flush: () => void;
}

/** Lays markers into the arena and appends them. One per shard. */
export class MarkerAppender {
  readonly #deps: MarkerAppenderDeps;

  constructor(deps: MarkerAppenderDeps) {
    this.#deps = deps;
  }

  append(partition: PartitionHandle, marker: TransactionMarker, waiter: AppendWaiter, index: number): void {
    const { arena, slab, crc32c, clock, flush } = this.#deps;
    const { committed, transactionVersion, ...fields } = marker;
    const type = committed ? markerType.commit : markerType.abort;
    const timestamp = Math.floor(clock.now());
    const batch = buildControlMarker({ ...fields, type, timestamp }, crc32c);
    const position = slab.allocate(batch.length);
    if (position < 0) {
      waiter.onAppended(index, ErrorCode.NOT_ENOUGH_REPLICAS, -1, -1, -1);
      return;
    }
    batch.copy(arena.buffer, position);
    partition.append(position, batch.length, waiter, index, transactionVersion);
    arena.releaseRange(position, batch.length);
    flush();
  }
}
