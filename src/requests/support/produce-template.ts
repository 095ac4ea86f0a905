/**
 * The answer to a Produce request whose one batch was taken, encoded once for each version and partition, and then stamped with
 * what differs from answer to answer. Shard thread.
 *
 *   | size | correlation … topic … index | error i16 = 0 | base offset i64 | append time i64 | start offset i64 | … throttle i32 … |
 *            └ stamped                                     └ stamped, the start offset from v5 on                  └ stamped
 */
import { ProduceApi, ProduceCodec } from '../../protocol/generated/produce.ts';
import { writeInt64 } from '../../protocol/records/batch-header.ts';
import { Writer } from '../../protocol/writer.ts';
import { writeAnswer } from './answer-frame.ts';
import { topicIdVersion } from './produce-frame.ts';

const correlationAt = 4;
/** First version with the log's start offset in the answer, and with errors of records. */
const startOffsetVersion = 5;
const recordErrorsVersion = 8;

export interface ProduceOutcome {
  readonly correlationId: number;
  readonly baseOffset: number;
  readonly logAppendTimeMs: number;
  readonly logStartOffset: number;
  readonly throttleMs: number;
}

export class ProduceTemplate {
  readonly bytes: Uint8Array;
  readonly #offsetsAt: number;
  readonly #throttleAt: number;
  readonly #hasStart: boolean;

  constructor(version: number, topic: { readonly name: string; readonly topicId: string }, index: number) {
    const writer = new Writer();
    const partition = { index, errorCode: 0, baseOffset: 0, recordErrors: [], errorMessage: null };
    const named = version >= topicIdVersion ? { topicId: topic.topicId } : { name: topic.name };
    const answer = { throttleTimeMs: 0, responses: [{ ...named, partitionResponses: [partition] }] };
    writeAnswer(writer, ProduceCodec, version, 0, answer);
    this.bytes = Uint8Array.from(writer.written);
    const flexible = version >= ProduceApi.flexibleFrom;
    this.#hasStart = version >= startOffsetVersion;
    // Behind the throttle stand the request's tags; between it and the offsets, errors of records and the tags of partition and topic.
    this.#throttleAt = this.bytes.length - 4 - (flexible ? 1 : 0);
    const between = flexible ? 4 : version >= recordErrorsVersion ? 6 : 0;
    this.#offsetsAt = this.#throttleAt - between - (this.#hasStart ? 24 : 16);
  }

  /** Writes the answer; `view` covers the same memory as `into`. */
  stamp(into: Uint8Array, view: DataView, at: number, outcome: ProduceOutcome): void {
    into.set(this.bytes, at);
    view.setInt32(at + correlationAt, outcome.correlationId);
    const offsetsAt = at + this.#offsetsAt;
    writeInt64(view, offsetsAt, outcome.baseOffset);
    writeInt64(view, offsetsAt + 8, outcome.logAppendTimeMs);
    if (this.#hasStart) writeInt64(view, offsetsAt + 16, outcome.logStartOffset);
    view.setInt32(at + this.#throttleAt, outcome.throttleMs);
  }
}
