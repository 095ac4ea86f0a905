/**
 * One of the two brokers that a differential case talks to. A case is a function that asks a side for things, one after the
 * other; it runs once against Apache Kafka and once against Millrace, and what each answered is a transcript. What differs by
 * nature (ids that a broker chooses, addresses, times of the clock) stands in it under a name of the order in which it was seen.
 */
import type { ApiCodec } from '../../src/protocol/codec.ts';
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import {
  attributesOf,
  batchBytesOf,
  isControl,
  isLogAppendTime,
  leaderEpochOf,
  producerIdOf,
} from '../../src/protocol/records/batch-header.ts';
import { readBatch } from '../../src/protocol/records/batch-reader.ts';
import { type Address, RawConnection } from '../support/raw-client.ts';

const codecs = createCodecs();
/** A moment that no retention reaches: the day before the run. */
export const someTime = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 86_400_000;
/** No case has times further away from it. */
const timesWithinMs = 500 * 86_400_000;
const decompressedBytesMax = 1 << 24;
const silenceMs = 30_000;

export interface Step {
  readonly label: string;
  /** Plain values, symbols in place of what a broker chooses; or why there is no answer. */
  readonly answer: unknown;
}

export type Case = {
  readonly name: string;
  /** `name` is the case's own, for topics and groups that no other case knows. */
  readonly run: (side: Side, name: string) => Promise<void>;
};

/** Fields whose values a broker chooses. Empty texts, zeros of sessions and −1 are no choice. */
const chosen = new Set([
  'memberId',
  'topicId',
  'producerId',
  'sessionId',
  'clusterId',
  'host',
  'port',
  'nodeId',
  'brokerId',
  'leaderId',
  'controllerId',
  'coordinatorId',
]);
/** Of members and groups of the newer protocols. */
const epochs = new Set(['memberEpoch', 'groupEpoch', 'assignmentEpoch']);
const chosenLists = new Set(['replicaNodes', 'isrNodes', 'offlineReplicas']);
/** Told or not told, whatever the words. */
const words = new Set([
  'errorMessage',
  'error_message',
  'message',
  'statusDetail',
  'acknowledgeErrorMessage',
  'batchIndexErrorMessage',
  'documentation',
]);
/** Of the moment. */
const ignored = new Set(['throttleTimeMs']);
const times = new Set(['logAppendTimeMs', 'transactionStartTimeMs']);
/** Times that are the records' own, of the day before, but for markers: theirs are of the moment. */
const ofRecords = new Set(['timestamp', 'lastTimestamp']);
/** Lists without an order that a client may rely on, and what sorts them. */
const unordered: Readonly<Record<string, readonly string[]>> = {
  topics: ['name', 'topic', 'topicName'],
  responses: ['name', 'topic', 'topicName'],
  configs: ['name'],
  partitions: ['partitionIndex', 'partition'],
  partitionResponses: ['index'],
  groups: ['groupId'],
  members: ['clientId', 'groupInstanceId'],
  results: ['name', 'resourceName', 'groupId'],
  apiKeys: ['apiKey'],
  transactionStates: ['transactionalId'],
  resultsByTransaction: ['transactionalId'],
  topicResults: ['name'],
  resultsByTopicV3AndBelow: ['name'],
  resultsByPartition: ['partitionIndex'],
  activeTasks: ['subtopologyId'],
  standbyTasks: ['subtopologyId'],
  warmupTasks: ['subtopologyId'],
  activePartitions: ['topic'],
  standbyPartitions: ['topic'],
};

export class Side {
  readonly name: 'kafka' | 'millrace';
  readonly transcript: Step[] = [];
  readonly #address: Address;
  readonly #connections = new Map<string, RawConnection>();
  readonly #seen = new Map<string, string>();

  constructor(name: 'kafka' | 'millrace', address: Address) {
    this.name = name;
    this.#address = address;
  }

  /** Goes through a case; that it ends before its time is a step of its transcript, too. */
  async take(each: Case, name: string): Promise<void> {
    try {
      await each.run(this, name);
    } catch (error) {
      this.transcript.push({ label: 'the end', answer: String(error) });
    }
  }

  /** Asks on the connection of that name; the answer goes into the transcript. Null when the connection was closed instead. */
  async ask<Q, QI, R, RI>(
    label: string,
    codec: ApiCodec<Q, QI, R, RI>,
    version: number,
    input: QI,
    on = 'main',
  ): Promise<R | null> {
    const said = `${label}: ${codec.api.name} v${version}`;
    try {
      const asked = (await this.#connection(on)).request(codec, version, input);
      const answer = await Promise.race([asked, silence()]);
      if (answer === null) {
        // The next question on this connection would wait behind it.
        await this.#connections.get(on)!.close();
        asked.catch(() => undefined);
        throw new Error('no answer');
      }
      this.transcript.push({ label: said, answer: this.#plain('', answer) });
      return answer;
    } catch (error) {
      this.#connections.delete(on);
      const closed = /closed|ECONNRESET|EPIPE/.test((error as Error).message);
      this.transcript.push({
        label: said,
        answer: closed ? 'the connection was closed' : (error as Error).message,
      });
      return null;
    }
  }

  /** Asks without a word in the transcript: what only prepares a case must succeed on both sides. */
  async prepare<Q, QI, R, RI>(codec: ApiCodec<Q, QI, R, RI>, version: number, input: QI): Promise<R> {
    return (await this.#connection('main')).request(codec, version, input);
  }

  /** Asks again until `holds`: for what Kafka does in its own time. */
  async until<Q, QI, R, RI>(
    codec: ApiCodec<Q, QI, R, RI>,
    version: number,
    input: QI,
    holds: (answer: R) => boolean,
  ): Promise<R> {
    for (;;) {
      const answer = await this.prepare(codec, version, input);
      if (holds(answer)) return answer;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Puts an answer into the transcript that was not asked for there. */
  told(label: string, answer: unknown): void {
    this.transcript.push({ label, answer: this.#plain('', answer) });
  }

  async close(): Promise<void> {
    for (const connection of this.#connections.values()) await connection.close();
    this.#connections.clear();
  }

  async #connection(name: string): Promise<RawConnection> {
    const open = this.#connections.get(name);
    if (open !== undefined) return open;
    const connection = await RawConnection.connect(this.#address, 'differential');
    this.#connections.set(name, connection);
    return connection;
  }

  #plain(field: string, value: unknown): unknown {
    if (ignored.has(field)) return undefined;
    if (value === null || value === undefined) return null;
    if (words.has(field)) return 'words';
    if (times.has(field)) return value === -1 ? -1 : 'a time';
    if (ofRecords.has(field) && Math.abs(Date.now() - (value as number)) < 3_600_000) return 'a time';
    if (chosen.has(field)) return this.#symbol(field, value);
    // A coordinator counts as it likes: 0 and less have a meaning.
    if (epochs.has(field)) return (value as number) <= 0 ? value : this.#symbol('epoch', value);
    // Of a group; partitions have a leaderId.
    if (field === 'leader') return this.#symbol('memberId', value);
    if (typeof value === 'number') return numberText(value);
    if (value instanceof Uint8Array)
      return field === 'records' ? this.#batches(value) : Buffer.from(value).toString('hex');
    if (Array.isArray(value)) return this.#list(field, value);
    if (typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, this.#plain(name, part)]));
  }

  #symbol(field: string, value: unknown): unknown {
    if (
      value === '' ||
      value === -1 ||
      (value === 0 && field === 'sessionId') ||
      (typeof value === 'string' && /^0+(-0+)*$/.test(value))
    )
      return value;
    const key = `${field} ${String(value)}`;
    const known = this.#seen.get(key);
    if (known !== undefined) return known;
    const count = [...this.#seen.keys()].filter((each) => each.startsWith(`${field} `)).length + 1;
    this.#seen.set(key, `${field} ${count}`);
    return `${field} ${count}`;
  }

  #list(field: string, values: readonly unknown[]): unknown {
    if (chosenLists.has(field)) return values.map((value) => this.#symbol('nodeId', value));
    if (field === 'configs')
      return Object.fromEntries(values.map((value) => [part(value, 'name'), this.#plain('', value)]));
    if (field === 'partitions' && values.every((value) => typeof value === 'number'))
      return [...values].sort(compare);
    const keys = unordered[field] ?? [];
    const key = keys.find((each) => typeof values[0] === 'object' && values[0] !== null && each in values[0]);
    const sorted =
      key === undefined ? values : [...values].sort((a, b) => compare(part(a, key), part(b, key)));
    return sorted.map((value) => this.#plain('', value));
  }

  /** Whole batches as clients read them; what is cut at the end is told by nobody. */
  #batches(bytes: Uint8Array): string[] {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const batches: string[] = [];
    for (let at = 0; at + 61 <= bytes.byteLength; ) {
      const length = batchBytesOf(view, at);
      if (at + length > bytes.byteLength) break;
      const attributes = attributesOf(view, at);
      // Markers get the time at which their coordinator writes them.
      const stamped = isLogAppendTime(attributes) || isControl(attributes);
      const inside = readBatch(bytes, at, length, codecs, decompressedBytesMax).map(
        ({ offset, timestamp, key, value, headers }) =>
          `${offset}@${stamped ? 'append time' : numberText(timestamp)} ${plainText(key)}=${plainText(value).slice(0, 12)} ${headers.length}`,
      );
      const producer = this.#symbol('producerId', producerIdOf(view, at));
      batches.push(
        `attributes ${attributes}, epoch ${leaderEpochOf(view, at)}, producer ${String(producer)}: ${inside.join(', ')}`,
      );
      at += length;
    }
    return batches;
  }
}

/** Times of cases are told from theirs, so that transcripts of another day say the same. */
function numberText(value: number): number | string {
  const since = value - someTime;
  return Math.abs(since) < timesWithinMs
    ? `the day before ${since < 0 ? '-' : '+'} ${Math.abs(since)} ms`
    : value;
}

/** Markers hold bytes that are no text. */
function plainText(bytes: Uint8Array | null): string {
  if (bytes === null) return 'null';
  const text = Buffer.from(bytes);
  return text.every((byte) => byte >= 32) ? text.toString() : text.toString('hex');
}

/** Null after so long that no answer will come: Kafka forgets requests that it fails on. */
function silence(): Promise<null> {
  return new Promise((resolve) => setTimeout(() => resolve(null), silenceMs).unref());
}

function part(value: unknown, key: string): unknown {
  return (value as Record<string, unknown>)[key];
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
}
