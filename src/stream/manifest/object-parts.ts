/**
 * What objects say of streams beside their data: producers, states. One read per object and section serves all its streams,
 * so a pass over the thousand streams of a stream set object costs two requests.
 * Owned by one thread. Bound: the last `objectsMax` objects whose sections have at most `sectionBytesMax` bytes; larger
 * ones are read again for each stream.
 */
import { streamKey } from '../../ports/stream-id.ts';
import type { ProducerEntry, StreamState } from '../objects/objects.ts';
import type { ObjectReader } from '../read/object-reader.ts';

const objectsMax = 8;
const sectionBytesMax = 2 << 20;

/** Those that wrote in the object, as of its end, by stream. */
type Sections = ReadonlyMap<string, readonly ProducerEntry[]>;

export class ObjectParts {
  readonly #reader: ObjectReader;
  /** Insertion order = order of last use. */
  readonly #kept = new Map<string, Promise<Sections>>();

  constructor(reader: ObjectReader) {
    this.#reader = reader;
  }

  async producers(objectId: string, topicId: string, partition: number): Promise<readonly ProducerEntry[]> {
    const sections = await this.#sections(objectId);
    return sections.get(streamKey(topicId, partition)) ?? [];
  }

  /** Null when the object holds no state of the stream. */
  async state(objectId: string, topicId: string, partition: number): Promise<StreamState | null> {
    const states = await this.#reader.states(await this.#reader.open(objectId));
    return states.find((state) => state.topicId === topicId && state.partition === partition) ?? null;
  }

  #sections(objectId: string): Promise<Sections> {
    const kept = this.#kept.get(objectId);
    const sections = kept ?? this.#read(objectId);
    this.#kept.delete(objectId);
    this.#kept.set(objectId, sections);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > objectsMax && oldest !== undefined) this.#kept.delete(oldest);
    return sections;
  }

  async #read(objectId: string): Promise<Sections> {
    try {
      const opened = await this.#reader.open(objectId);
      if (opened.footer.sections.producers.length > sectionBytesMax) this.#kept.delete(objectId);
      const streams = await this.#reader.producers(opened);
      return new Map(streams.map((each) => [streamKey(each.topicId, each.partition), each.producers]));
    } catch (error) {
      this.#kept.delete(objectId);
      throw error;
    }
  }
}
