/**
 * Partitions by the bytes that name them in a request, so that none of its names has to become text again. A handle is asked
 * whether it is still served before it is given out; what is not, is looked up anew. Shard thread. Bound: `entriesMax`, then
 * all are forgotten.
 */
import type { PartitionHandle } from '../../log/partition-handle.ts';
import type { Arena } from '../../ports/arena.ts';
import { ZERO_UUID } from '../../protocol/primitives.ts';
import { Reader } from '../../protocol/reader.ts';
import type { ProduceFrame } from './produce-frame.ts';
import { ProduceTemplate } from './produce-template.ts';
import type { TopicDirectory } from './topic-directory.ts';

const entriesMax = 16_384;
/** Multiplier of FNV-1a. */
const prime = 0x0100_0193;

export class NamedPartition {
  readonly partition: PartitionHandle;
  readonly index: number;
  readonly byId: boolean;
  /** As requests decode it. */
  readonly topic: { readonly name: string; readonly topicId: string };
  /** As requests name it: UTF-8, or the id. */
  readonly #name: DataView;
  readonly #templates: (ProduceTemplate | undefined)[] = [];

  constructor(partition: PartitionHandle, index: number, byId: boolean, name: Uint8Array, text: string) {
    this.partition = partition;
    this.index = index;
    this.byId = byId;
    this.#name = new DataView(name.buffer, name.byteOffset, name.byteLength);
    this.topic = byId ? { name: '', topicId: text } : { name: text, topicId: ZERO_UUID };
  }

  template(version: number): ProduceTemplate {
    let template = this.#templates[version];
    if (template === undefined) {
      template = new ProduceTemplate(version, this.topic, this.index);
      this.#templates[version] = template;
    }
    return template;
  }

  isNamedBy(frame: ProduceFrame, view: DataView): boolean {
    const name = this.#name;
    const { topicAt, topicBytes } = frame;
    if (this.index !== frame.partition || this.byId !== frame.byId || name.byteLength !== topicBytes)
      return false;
    let i = 0;
    for (; i + 4 <= topicBytes; i += 4) if (name.getInt32(i) !== view.getInt32(topicAt + i)) return false;
    for (; i < topicBytes; i++) if (name.getInt8(i) !== view.getInt8(topicAt + i)) return false;
    return true;
  }
}

export class PartitionCache {
  readonly #entries = new Map<number, NamedPartition>();
  readonly #topics: TopicDirectory;
  readonly #arena: Arena;
  readonly #reader = new Reader(Buffer.alloc(0));

  constructor(topics: TopicDirectory, arena: Arena) {
    this.#topics = topics;
    this.#arena = arena;
  }

  /** The partition that the frame names, where it is served and clients may write to it. */
  find(frame: ProduceFrame): NamedPartition | null {
    const { view } = this.#arena;
    const hash = hashOf(frame, view);
    const known = this.#entries.get(hash);
    if (known?.isNamedBy(frame, view) === true && known.partition.live) return known;
    return this.#lookUp(frame, hash);
  }

  #lookUp(frame: ProduceFrame, hash: number): NamedPartition | null {
    const { buffer } = this.#arena;
    const { topicAt, topicBytes, byId, partition: index } = frame;
    // A copy: what is found outlives the frame.
    const name = Buffer.from(buffer.subarray(topicAt, topicAt + topicBytes));
    this.#reader.reset(name, 0, topicBytes);
    const text = byId ? this.#reader.uuid() : name.toString('utf8');
    const topics = this.#topics;
    const topic = byId ? topics.topicById(text) : topics.topicByName(text);
    const partition = topic === undefined ? undefined : topics.partition(topic.topicId, index);
    if (topic === undefined || topic.internal || partition === undefined) return null;
    if (this.#entries.size >= entriesMax) this.#entries.clear();
    const entry = new NamedPartition(partition, index, byId, name, text);
    this.#entries.set(hash, entry);
    return entry;
  }
}

function hashOf(frame: ProduceFrame, view: DataView): number {
  const { topicAt, topicBytes } = frame;
  let hash = Math.imul(frame.partition ^ topicBytes, prime);
  let i = 0;
  for (; i + 4 <= topicBytes; i += 4) hash = Math.imul(hash ^ view.getInt32(topicAt + i), prime);
  for (; i < topicBytes; i++) hash = Math.imul(hash ^ view.getInt8(topicAt + i), prime);
  return hash ^ (hash >>> 15);
}
