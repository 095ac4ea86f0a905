/**
 * A partition of another broker, as far as objects hold it: readers of this broker's zone get here what lies far enough behind the
 * end (KIP-392, without a copy of its own). What is named by the metadata is durable, below the owner's high watermark, and never
 * changes, so it may be read anywhere, however old the image is. Everything else is the owner's: the end of the log,
 * questions, appends. Whoever reads where
 * objects do not reach is told OFFSET_OUT_OF_RANGE, which sends a reader that is here as one of a follower back to the leader
 * (librdkafka stays with a follower that says anything else). It would make one that takes this broker for the leader start anew, so none
 * such may come here: there is a replica only while another broker leads, and only for readers that state that leader's epoch, which
 * they learn together with who it is.
 *
 * Readers of committed records get them up to the first transaction that was open where objects end: all below has its marker in
 * objects, which tell what was aborted.
 */
import type { AppendWaiter } from '../log/append-journal.ts';
import type { LogSettings } from '../log/log-settings.ts';
import {
  appendGuard,
  type OffsetAnswer,
  type PartitionHandle,
  type ProducersAnswer,
  type ReadSink,
  type VerifyAnswer,
} from '../log/partition-handle.ts';
import type { ColdPath, ColdStream, CommittedEnd } from '../log/partition-log.ts';
import { committedEnd } from '../metadata/committed-end.ts';
import type { PartitionImage, TopicImage } from '../metadata/metadata-store.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';

/** Reads of objects by brokers that have nothing else of the stream. */
export interface ReplicaPath extends Pick<ColdPath, 'read'> {
  /** Where committed records end of what objects hold. Rejects as reads do. */
  committedInObjects(stream: ColdStream): Promise<CommittedEnd>;
}

export interface ObjectReplicaDeps {
  readonly topic: TopicImage;
  readonly partition: PartitionImage;
  readonly cold: ReplicaPath;
  readonly settings: LogSettings;
}

interface Read {
  readonly maxBytes: number;
  readonly atLeastOne: boolean;
  readonly deadline: number;
  readonly sink: ReadSink;
  readonly index: number;
}

/** As of one moment: the offsets are those of the image that it was made from. */
export class ObjectReplica implements PartitionHandle, ColdStream {
  readonly name: string;
  readonly topicId: string;
  readonly partition: number;
  readonly settings: LogSettings;
  readonly leaderEpoch: number;
  readonly startOffset: number;
  /** Where the objects end: the owner's lies there or behind it. */
  readonly highWatermark: number;
  /** Looked up anew by each fetch. */
  readonly live = false;
  readonly #cold: ReplicaPath;

  constructor({ topic, partition, cold, settings }: ObjectReplicaDeps) {
    this.name = topic.name;
    this.topicId = topic.topicId;
    this.partition = partition.partition;
    this.settings = settings;
    this.leaderEpoch = partition.leaderEpoch;
    this.startOffset = partition.startOffset;
    this.highWatermark = committedEnd(partition);
    this.#cold = cold;
  }

  /** Not known here. */
  get lastStableOffset(): number {
    return -1;
  }

  read(
    offset: number,
    maxBytes: number,
    atLeastOne: boolean,
    deadline: number,
    sink: ReadSink,
    index: number,
    committed = false,
  ): void {
    const read = { maxBytes, atLeastOne, deadline, sink, index };
    if (offset < this.startOffset || offset >= this.highWatermark) this.#fail(read);
    else if (!committed) this.#read(offset, null, read);
    else
      this.#cold.committedInObjects(this).then(
        (end) => (offset < end.lastStableOffset ? this.#read(offset, end, read) : this.#fail(read)),
        () => this.#fail(read),
      );
  }

  #fail({ sink, index }: Read, error: number = ErrorCode.OFFSET_OUT_OF_RANGE): void {
    sink.onRead(index, { error, highWatermark: -1, lastStableOffset: -1, startOffset: -1, records: null });
  }

  #read(offset: number, committed: CommittedEnd | null, read: Read): void {
    const { maxBytes, atLeastOne, deadline, sink, index } = read;
    const { highWatermark, startOffset } = this;
    const known = { highWatermark, startOffset, lastStableOffset: committed?.lastStableOffset ?? -1 };
    this.#cold.read(
      this,
      offset,
      atLeastOne ? Math.max(1, maxBytes) : maxBytes,
      deadline,
      committed,
      (error, records, nextOffset, aborted) => {
        if (error !== 0) this.#fail(read, error);
        else if (records === null && nextOffset > offset) {
          if (nextOffset < (committed?.lastStableOffset ?? highWatermark))
            this.#read(nextOffset, committed, read);
          else this.#fail(read);
        } else if (records !== null && !atLeastOne && records.byteLength > maxBytes) {
          records.release();
          sink.onRead(index, { error: 0, ...known, records: null });
        } else sink.onRead(index, { error: 0, ...known, records, aborted });
      },
      sink.caller?.(index),
    );
  }

  append(_position: number, _length: number, waiter: AppendWaiter | null, index: number): void {
    waiter?.onAppended(index, ErrorCode.NOT_LEADER_OR_FOLLOWER, -1, -1, this.startOffset);
  }

  verify(_id: number, _epoch: number, _sequence: number, _bumps: boolean, answer: VerifyAnswer): void {
    answer(ErrorCode.NOT_LEADER_OR_FOLLOWER, appendGuard.none);
  }

  describeProducers(answer: ProducersAnswer): void {
    answer(ErrorCode.NOT_LEADER_OR_FOLLOWER, []);
  }

  query(_kind: number, _argument: number, answer: OffsetAnswer): void {
    answer(ErrorCode.NOT_LEADER_OR_FOLLOWER, -1, -1, -1);
  }

  /** Balance goes by what owners send: this costs the owner nothing, and moves with no partition. */
  sent(): void {}

  watch(): void {}

  unwatch(): void {}
}
