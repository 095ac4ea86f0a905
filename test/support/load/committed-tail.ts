/**
 * Follows one partition as a reader of committed records, through kills of its broker: what it hands on is kept by offset. Aborted
 * transactions begin where answers say, and end at their marker. One read at a time; a lost connection is made anew.
 */
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import {
  attributesOf,
  baseOffsetOf,
  batchBytesOf,
  isControl,
  isTransactional,
  lastOffsetDeltaOf,
  producerIdOf,
} from '../../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../../src/protocol/records/batch-reader.ts';
import { markerType, readMarker } from '../../../src/protocol/records/control-marker.ts';
import { type Address, RawConnection, rawVersions } from '../raw-client.ts';

const codecs = createCodecs();
const fetchBytes = 256 * 1024;
const unpackedMax = 1 << 24;

export class CommittedTail {
  readonly topic: string;
  readonly partition: number;
  /** Of records in the order of their offsets. */
  readonly values: string[] = [];
  /** Where the next read begins. */
  offset = 0;
  readonly #address: () => Address;
  readonly #cursor = new RecordCursor();
  #connection: RawConnection | null = null;

  constructor(address: () => Address, topic: string, partition: number) {
    this.#address = address;
    this.topic = topic;
    this.partition = partition;
  }

  /** One fetch; the end of the log as it said, stable or not, −1 when there was no answer. */
  async advance(): Promise<number> {
    try {
      this.#connection ??= await RawConnection.connect(this.#address());
      const answer = await this.#connection.request(FetchCodec, rawVersions.fetch, {
        maxWaitMs: 100,
        minBytes: 1,
        maxBytes: fetchBytes,
        sessionId: 0,
        sessionEpoch: -1,
        isolationLevel: 1,
        topics: [
          {
            topic: this.topic,
            partitions: [
              { partition: this.partition, fetchOffset: this.offset, partitionMaxBytes: fetchBytes },
            ],
          },
        ],
      });
      const found = answer.responses[0]!.partitions[0]!;
      if (found.errorCode !== 0) return -1;
      if (found.records !== null) this.#take(Buffer.from(found.records), found.abortedTransactions ?? []);
      return Number(found.highWatermark);
    } catch {
      this.close();
      return -1;
    }
  }

  /** Reads to the end; false when a transaction stays open before it for longer than `patienceMs`. */
  async finish(patienceMs: number): Promise<boolean> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const end = await this.advance();
      if (end >= 0 && this.offset >= end) return true;
      if (performance.now() > deadline) return false;
    }
  }

  #take(
    bytes: Buffer,
    aborted: readonly { readonly producerId: number; readonly firstOffset: number }[],
  ): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const pending = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset);
    const dropped = new Set<number>();
    for (let at = 0; at + 61 <= bytes.length; at += batchBytesOf(view, at)) {
      const length = batchBytesOf(view, at);
      if (at + length > bytes.length) return;
      const attributes = attributesOf(view, at);
      const lastOffset = baseOffsetOf(view, at) + lastOffsetDeltaOf(view, at);
      while (pending.length > 0 && pending[0]!.firstOffset <= lastOffset)
        dropped.add(pending.shift()!.producerId);
      const producerId = producerIdOf(view, at);
      if (isControl(attributes)) {
        if (readMarker(view, at)?.type === markerType.abort) dropped.delete(producerId);
      } else if (!isTransactional(attributes) || !dropped.has(producerId)) {
        this.#keep(bytes.subarray(at, at + length));
      }
      this.offset = lastOffset + 1;
    }
  }

  #keep(batch: Buffer): void {
    const cursor = this.#cursor;
    cursor.open(batch, 0, batch.length, codecs, unpackedMax);
    while (cursor.next()) {
      if (cursor.offset < this.offset) continue;
      const { valuePosition, valueLength } = cursor;
      this.values.push(cursor.bytes.toString('utf8', valuePosition, valuePosition + valueLength));
    }
  }

  close(): void {
    this.#connection?.close().catch(() => undefined);
    this.#connection = null;
  }
}

/** Where what was read is not what was due, in words; null = it is the same. */
export function firstDifference(expected: readonly string[], found: readonly string[]): string | null {
  const at = expected.findIndex((value, i) => value !== found[i]);
  if (at < 0 && expected.length === found.length) return null;
  const place = at < 0 ? expected.length : at;
  return `record ${place} is ${found[place]} instead of ${expected[place]}; ${found.length} seen of ${expected.length}`;
}
