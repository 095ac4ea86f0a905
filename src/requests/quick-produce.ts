/**
 * Produce requests of the common kind, served without an object of their own: read in place (support/produce-frame.ts), judged
 * and appended like any other, answered from a template when they are durable. What is unusual in any way is left to the
 * general handler (produce.ts), before anything was changed: acks=0, several partitions, names that are not served, internal
 * topics, batches that are refused, compressed records to be judged, recompression, transactions, appends that wait in a lane.
 * The answers are the same to the last byte: a differential test holds both against each other.
 *
 *   free ──take──► waiting in journal and queue ──appended──► in the queue, done ──left──► free
 *                        └──time is over──► answered, in the journal ──appended──► free
 *
 * One that is refused may wait in the queue for the answer, until it is known where its partition went.
 *
 * Shard thread. Bounds: one ticket for each request pending, which connections bound; `ticketsKept` are kept for later.
 */
import type { AppendWaiter } from '../log/append-journal.ts';
import type { Connection } from '../net/connection.ts';
import type { QueuedReply } from '../net/replies.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { codecId } from '../protocol/compression/codec.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { ProduceApi, ProduceCodec, type ProduceResponseInput } from '../protocol/generated/produce.ts';
import {
  attributesOf,
  codecOf,
  isLogAppendTime,
  isTransactional,
  recordCountOf,
} from '../protocol/records/batch-header.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { batchVerdict, settleMaxTimestamp } from '../protocol/records/validate.ts';
import { Writer } from '../protocol/writer.ts';
import type { AppendLanes } from './append-lanes.ts';
import { throttleMsOf, writeMsMin } from './produce-call.ts';
import { writeAnswer } from './support/answer-frame.ts';
import type { BatchJudge } from './support/batch-judge.ts';
import { type NamedPartition, PartitionCache } from './support/partition-cache.ts';
import { ProduceFrame } from './support/produce-frame.ts';
import type { ProduceOutcome } from './support/produce-template.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

/** What a connection does for a request that queues its own reply. */
export type AnswerQueue = Pick<Connection, 'peer' | 'receivedAt' | 'enqueue' | 'answered' | 'hurry'>;

export interface QuickProduceDeps {
  readonly topics: TopicDirectory;
  readonly arena: Arena;
  readonly clock: Clock;
  readonly crc32c: Crc32c;
  readonly judge: BatchJudge;
  readonly lanes: AppendLanes;
  /** Gives the general handler's answer to such a request that could not be appended, now or soon. */
  readonly refuse: (
    version: number,
    listener: string,
    named: NamedPartition,
    error: number,
    done: (answer: ProduceResponseInput) => void,
  ) => void;
  readonly appendFailed: (error: unknown) => void;
  readonly congestion: () => number;
  readonly observe: {
    request(apiKey: number, version: number, bytes: number): void;
    answered(apiKey: number, micros: number): void;
    produced(bytes: number, records: number): void;
  };
}

const ticketsKept = 4096;

class Ticket implements AppendWaiter, QueuedReply, ProduceOutcome {
  /** Of answers that are no template's. */
  chunks: readonly Uint8Array[] | null = null;
  next: QueuedReply | null = null;
  end = 0;
  done = false;
  bytes = 0;
  version = 0;
  correlationId = 0;
  baseOffset = 0;
  logAppendTimeMs = 0;
  logStartOffset = 0;
  throttleMs = 0;
  receivedAt = 0;
  deadline = 0;
  /** Its place among all that are not answered. */
  place = 0;
  /** The journal has it, and the connection. */
  appending = false;
  queued = false;
  named: NamedPartition | null = null;
  connection: AnswerQueue | null = null;
  readonly #owner: QuickProduce;

  constructor(owner: QuickProduce) {
    this.#owner = owner;
  }

  onAppended(
    _index: number,
    error: number,
    baseOffset: number,
    logAppendTime: number,
    logStartOffset: number,
  ): void {
    this.appending = false;
    if (!this.done) this.#owner.settle(this, error, baseOffset, logAppendTime, logStartOffset);
    else if (!this.queued) this.#owner.free(this);
  }

  writeTo(into: Uint8Array, view: DataView, at: number): void {
    this.named!.template(this.version).stamp(into, view, at, this);
  }

  left(): void {
    this.queued = false;
    if (!this.appending) this.#owner.free(this);
  }

  endParking(): void {}
}

export class QuickProduce {
  readonly #deps: QuickProduceDeps;
  readonly #frame: ProduceFrame;
  readonly #partitions: PartitionCache;
  readonly #free: Ticket[] = [];
  /** Not answered yet, in no order. */
  readonly #open: Ticket[] = [];
  #timer: Timer | null = null;
  #wakesAt = Number.POSITIVE_INFINITY;

  constructor(deps: QuickProduceDeps) {
    this.#deps = deps;
    this.#frame = new ProduceFrame(deps.arena.view);
    this.#partitions = new PartitionCache(deps.topics, deps.arena);
  }

  /** Serves the Produce request at arena [position, position + length); false: nothing was done. */
  take(connection: AnswerQueue, position: number, length: number): boolean {
    const frame = this.#frame;
    if (!frame.read(position, length)) return false;
    if (frame.acks !== 1 && frame.acks !== -1) return false;
    const named = this.#partitions.find(frame);
    if (named === null) return false;
    const { partition } = named;
    const { settings } = partition;
    const { arena, judge, lanes, observe } = this.#deps;
    const { recordsAt, recordsBytes, version } = frame;
    if (lanes.occupied(partition)) return false;
    // Too short for a header is the judge's to say.
    if (judge.judge(settings, recordsAt, recordsBytes, version) !== batchVerdict.ok) return false;
    const { view, buffer } = arena;
    const attributes = attributesOf(view, recordsAt);
    const codec = codecOf(attributes);
    if (codec !== codecId.none && !settings.trustCompressed) return false;
    if (settings.recode !== undefined && settings.recode.codec !== codec) return false;
    if (isTransactional(attributes) || isLogAppendTime(attributes)) return false;
    if (codec === codecId.none && !settings.logAppendTime)
      settleMaxTimestamp(view, buffer, recordsAt, recordsBytes, judge.maxTimestamp, this.#deps.crc32c);
    observe.request(ProduceApi.key, version, length);
    const ticket = this.#begin(connection, named);
    connection.hurry();
    try {
      partition.append(recordsAt, recordsBytes, ticket, 0);
      observe.produced(recordsBytes, recordCountOf(view, recordsAt));
    } catch (error) {
      this.#deps.appendFailed(error);
      if (!ticket.done) this.settle(ticket, ErrorCode.UNKNOWN_SERVER_ERROR, -1, -1, -1);
    }
    return true;
  }

  #begin(connection: AnswerQueue, named: NamedPartition): Ticket {
    const { correlationId, version, timeoutMs } = this.#frame;
    const ticket = this.#free.pop() ?? new Ticket(this);
    ticket.done = false;
    ticket.appending = true;
    ticket.queued = true;
    ticket.version = version;
    ticket.correlationId = correlationId;
    ticket.named = named;
    ticket.connection = connection;
    ticket.receivedAt = connection.receivedAt;
    ticket.deadline = connection.receivedAt + Math.max(writeMsMin, timeoutMs);
    ticket.place = this.#open.push(ticket) - 1;
    if (ticket.deadline < this.#wakesAt) this.#wakeAt(ticket.deadline);
    connection.enqueue(ticket);
    return ticket;
  }

  /** The request's outcome is known: its answer may leave. */
  settle(
    ticket: Ticket,
    error: number,
    baseOffset: number,
    logAppendTime: number,
    logStartOffset: number,
  ): void {
    const last = this.#open.pop()!;
    if (last !== ticket) {
      this.#open[ticket.place] = last;
      last.place = ticket.place;
    }
    if (error !== 0) {
      this.#refuse(ticket, error);
      return;
    }
    ticket.baseOffset = baseOffset;
    ticket.logAppendTimeMs = logAppendTime;
    ticket.logStartOffset = logStartOffset;
    ticket.throttleMs = throttleMsOf(this.#deps.congestion());
    ticket.bytes = ticket.named!.template(ticket.version).bytes.length;
    this.#answer(ticket);
  }

  #refuse(ticket: Ticket, error: number): void {
    const { version, correlationId, named, connection } = ticket;
    this.#deps.refuse(version, connection!.peer.listener, named!, error, (answer) => {
      const writer = new Writer();
      writeAnswer(writer, ProduceCodec, version, correlationId, answer);
      ticket.chunks = [Buffer.from(writer.written)];
      ticket.bytes = writer.written.length;
      this.#answer(ticket);
    });
  }

  #answer(ticket: Ticket): void {
    const { clock, observe } = this.#deps;
    ticket.done = true;
    observe.answered(ProduceApi.key, (clock.monotonic() - ticket.receivedAt) * 1000);
    ticket.connection!.answered(ticket);
  }

  free(ticket: Ticket): void {
    ticket.chunks = null;
    ticket.connection = null;
    ticket.named = null;
    if (this.#free.length < ticketsKept) this.#free.push(ticket);
  }

  /** One timer for all: it wakes at the earliest deadline that was known when it was set, and looks again. */
  #wakeAt(at: number): void {
    this.#timer?.cancel();
    this.#wakesAt = at;
    this.#timer = this.#deps.clock.after(at - this.#deps.clock.monotonic(), () => this.#expire());
  }

  #expire(): void {
    const now = this.#deps.clock.monotonic();
    this.#timer = null;
    this.#wakesAt = Number.POSITIVE_INFINITY;
    for (const ticket of this.#open.filter(({ deadline }) => deadline <= now)) {
      // Those that came before it on its connection may have taken it along.
      if (!ticket.done) this.settle(ticket, ErrorCode.REQUEST_TIMED_OUT, -1, -1, -1);
    }
    let next = Number.POSITIVE_INFINITY;
    for (const { deadline } of this.#open) next = Math.min(next, deadline);
    if (next < this.#wakesAt) this.#wakeAt(next);
  }
}
