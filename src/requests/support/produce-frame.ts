/**
 * The common Produce request, read where its frame lies: one topic, one partition, one batch. What is found are places and
 * numbers in one object, which the next frame overwrites. Shard thread; allocates nothing.
 *
 *   v3–8   | key | version | correlation | client id | transactional id | acks | time-out | 1 | name | 1 | index | bytes | batch |
 *   v9+    | the same with compact lengths, and empty tag sections; from v13 on an id in the name's place               |
 *
 * Anything else (more topics or partitions, tags, lengths that do not meet the frame's end) is not judged here but left to the
 * generated codec, which has an answer for each of them.
 */
import { ProduceApi } from '../../protocol/generated/produce.ts';

export const produceVersionMin: number = ProduceApi.minVersion;
export const produceVersionMax: number = ProduceApi.maxVersion;
/** First version that names topics by id. */
export const topicIdVersion = 13;
const topicIdBytes = 16;

export class ProduceFrame {
  version = 0;
  correlationId = 0;
  acks = 0;
  timeoutMs = 0;
  /** The topic's name as UTF-8, or its id, by version. */
  topicAt = 0;
  topicBytes = 0;
  partition = 0;
  recordsAt = 0;
  recordsBytes = 0;
  #view: DataView;
  #at = 0;
  #end = 0;

  constructor(view: DataView) {
    this.#view = view;
  }

  get byId(): boolean {
    return this.version >= topicIdVersion;
  }

  /** Reads the frame at [at, at + length), of at least 8 bytes; false: it is none of the common kind, or not well-formed. */
  read(at: number, length: number): boolean {
    const view = this.#view;
    const version = view.getInt16(at + 2);
    if (version < produceVersionMin || version > produceVersionMax) return false;
    this.version = version;
    this.correlationId = view.getInt32(at + 4);
    this.#at = at + 8;
    this.#end = at + length;
    return version >= ProduceApi.flexibleFrom ? this.#flexible() : this.#plain();
  }

  #plain(): boolean {
    const view = this.#view;
    // Client id and transactional id.
    if (!this.#skipText() || !this.#skipText() || this.#left() < 12) return false;
    const at = this.#at;
    this.acks = view.getInt16(at);
    this.timeoutMs = view.getInt32(at + 2);
    const topics = view.getInt32(at + 6);
    const nameBytes = view.getInt16(at + 10);
    this.#at = at + 12;
    if (topics !== 1 || nameBytes < 0 || this.#left() < nameBytes + 12) return false;
    this.topicAt = this.#at;
    this.topicBytes = nameBytes;
    const next = this.#at + nameBytes;
    const partitions = view.getInt32(next);
    this.partition = view.getInt32(next + 4);
    this.recordsBytes = view.getInt32(next + 8);
    this.recordsAt = next + 12;
    return partitions === 1 && this.recordsBytes > 0 && this.recordsAt + this.recordsBytes === this.#end;
  }

  #flexible(): boolean {
    const view = this.#view;
    // The client id is never compact; behind it stand the header's tags.
    if (!this.#skipText() || !this.#byte(0)) return false;
    const idBytes = this.#uvarint();
    if (idBytes < 0 || !this.#skip(Math.max(0, idBytes - 1)) || this.#left() < 7) return false;
    this.acks = view.getInt16(this.#at);
    this.timeoutMs = view.getInt32(this.#at + 2);
    this.#at += 6;
    if (!this.#byte(2)) return false;
    const topicBytes = this.byId ? topicIdBytes : this.#uvarint() - 1;
    this.topicAt = this.#at;
    this.topicBytes = topicBytes;
    if (topicBytes < 0 || !this.#skip(topicBytes) || !this.#byte(2) || this.#left() < 4) return false;
    this.partition = view.getInt32(this.#at);
    this.#at += 4;
    this.recordsBytes = this.#uvarint() - 1;
    this.recordsAt = this.#at;
    if (this.recordsBytes <= 0 || !this.#skip(this.recordsBytes)) return false;
    // Tags of partition, topic and request.
    return this.#byte(0) && this.#byte(0) && this.#byte(0) && this.#at === this.#end;
  }

  #left(): number {
    return this.#end - this.#at;
  }

  #skip(bytes: number): boolean {
    if (bytes > this.#left()) return false;
    this.#at += bytes;
    return true;
  }

  /** A nullable string with an int16 length. */
  #skipText(): boolean {
    if (this.#left() < 2) return false;
    const length = this.#view.getInt16(this.#at);
    this.#at += 2;
    return length < 0 ? length === -1 : this.#skip(length);
  }

  #byte(wanted: number): boolean {
    return this.#at < this.#end && this.#view.getUint8(this.#at++) === wanted;
  }

  /** Four bytes at most, which is more than any frame that comes here has; −1: no such number. */
  #uvarint(): number {
    let value = 0;
    for (let shift = 0; shift < 28 && this.#at < this.#end; shift += 7) {
      const byte = this.#view.getUint8(this.#at++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return -1;
  }
}
