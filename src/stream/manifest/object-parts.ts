/**
 * What objects say of streams beside their data: producers, aborted transactions, states. One read per object and
 * section serves all its streams, so a pass over the thousand streams of a stream set object costs two requests.
 * Owned by one thread. Bound: the last `objectsMax` objects whose sections have at most `sectionBytesMax` bytes; larger
 * ones are read again for each stream.
 */
import { streamKey } from '../../ports/stream-id.ts';
import type { AbortedTxn, ProducerEntry, StreamState } from '../objects/objects.ts';
import type { ObjectReader } from '../read/object-reader.ts';

const objectsMax = 8;
const sectionBytesMax = 2 << 20;

export interface StreamPart {
  /** Those that wrote in the object, as of its end. */
  readonly producers: readonly ProducerEntry[];
  readonly aborted: readonly AbortedTxn[];
}

interface Sections {
  readonly producers: ReadonlyMap<string, readonly ProducerEntry[]>;
  readonly aborted: ReadonlyMap<string, readonly AbortedTxn[]>;
}

export class ObjectParts {
  readonly #reader: ObjectReader;
  /** Insertion order = order of last use. */
  readonly #kept = new Map<string, Promise<Sections>>();

  constructor(reader: ObjectReader) {
    this.#reader = reader;
  }

  async part(objectId: string, topicId: string, partition: number): Promise<StreamPart> {
    const sections = await this.#sections(objectId);
    const key = streamKey(topicId, partition);
    return { producers: sections.producers.get(key) ?? [], aborted: sections.aborted.get(key) ?? [] };
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
      const { producers, aborted } = opened.footer.sections;
      if (producers.length + aborted.length > sectionBytesMax) this.#kept.delete(objectId);
      return {
        producers: new Map(
          (await this.#reader.producers(opened)).map((each) => [
            streamKey(each.topicId, each.partition),
            each.producers,
          ]),
        ),
        aborted: new Map(
          (await this.#reader.aborted(opened)).map((each) => [
            streamKey(each.topicId, each.partition),
            each.aborted,
          ]),
        ),
      };
    } catch (error) {
      this.#kept.delete(objectId);
      throw error;
    }
  }
}
