/** A manifest with every kind of content, and the world that manifest tests work in: objects, metadata, a cache. */
import { EmbeddedMetadataStore } from '../../../../src/metadata/embedded-metadata-store.ts';
import type { MetadataChange } from '../../../../src/metadata/metadata-store.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import type { Manifest } from '../../../../src/stream/manifest/manifest.ts';
import { ManifestCache } from '../../../../src/stream/manifest/manifest-cache.ts';
import { ManifestWriter } from '../../../../src/stream/manifest/manifest-writer.ts';
import type { AbortedTxn, ProducerEntry, StreamState } from '../../../../src/stream/objects/objects.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import { FaultStore } from '../../../support/fault-store.ts';
import { HandClock, seededRandom } from '../../../support/store-fixtures.ts';
import { type BatchShape, crc32c } from '../../../support/stream-deltas.ts';
import { ObjectWorld } from '../../../support/stream-objects.ts';
import { id, open, topic, wal } from '../../metadata/fixtures.ts';

export const clusterId = 'abcdefghijklmnopqrstuv';

export function producer(
  producerId: number,
  lastOffset: number,
  more: Partial<ProducerEntry> = {},
): ProducerEntry {
  const batch = { firstSequence: 0, lastSequence: 4, baseOffset: lastOffset - 4, lastOffset, timestamp: 1 };
  return {
    producerId,
    epoch: 7,
    timestamp: 1_700_000_000_000,
    txnFirstOffset: -1,
    coordinatorEpoch: -1,
    lastOffset,
    activeMs: 1_700_000_000_500,
    batches: [batch],
    ...more,
  };
}

/** The state of a producer that wrote one batch after another. */
export function producerOf(
  producerId: number,
  lastOffsets: readonly number[],
  more: Partial<ProducerEntry> = {},
) {
  const batches = lastOffsets.map((last) => producer(producerId, last).batches[0]!);
  return producer(producerId, lastOffsets.at(-1)!, { batches, ...more });
}

export const sample: Manifest = {
  topicId: id(1),
  partition: 70_000,
  version: 2 ** 33,
  startOffset: 5,
  endOffset: 2 ** 40,
  objects: [
    {
      objectId: '00000000000000aa',
      size: 999,
      baseOffset: 0,
      endOffset: 10,
      maxTimestamp: -1,
      bytes: 500,
    },
    {
      objectId: 'ffffffffffffffff',
      size: 2 ** 34,
      baseOffset: 12,
      endOffset: 2 ** 40,
      maxTimestamp: 1_700_000_000_000,
      bytes: 2 ** 33,
    },
  ],
  epochs: [
    { epoch: 0, startOffset: 0 },
    { epoch: 9, startOffset: 2 ** 35 },
  ],
  producers: [producer(3, 9), producer(4_294_967_299, 20, { txnFirstOffset: 14, coordinatorEpoch: 2 })],
  lastStableOffset: 14,
  cleanedTo: 2 ** 34,
  horizonMs: 1_700_000_086_400,
};

export interface UploadPart {
  readonly topic: number;
  readonly partition?: number;
  readonly from: number;
  readonly shapes: readonly BatchShape[];
  readonly producers?: readonly ProducerEntry[];
  readonly aborted?: readonly AbortedTxn[];
}

export class ManifestWorld {
  readonly objects = new ObjectWorld(5);
  readonly store = new FaultStore(this.objects.store);
  readonly clock = new HandClock();
  metadata!: EmbeddedMetadataStore;
  cache!: ManifestCache;
  writer!: ManifestWriter;
  reader!: ObjectReader;
  #sequence = 0;
  #seed = 1;

  /** Takes the store over, as a broker that starts does. */
  async own(): Promise<void> {
    this.metadata = await EmbeddedMetadataStore.open({
      store: this.store,
      clock: this.clock,
      random: seededRandom(this.#seed++),
      logger: silentLogger,
      crc32c,
      writer: 'test',
    });
    await this.metadata.claim();
    this.reader = new ObjectReader({ store: this.store, crc32c });
    this.cache = new ManifestCache({ store: this.store, crc32c, clusterId: () => this.clusterId });
    this.writer = this.anotherWriter();
  }

  get clusterId(): string {
    return this.metadata.image.clusterId;
  }

  anotherWriter(): ManifestWriter {
    const { store, metadata, cache, reader, clock } = this;
    const times = { graceMs: 1_000, producerExpirationMs: 86_400_000 };
    return new ManifestWriter({ store, metadata, cache, reader, crc32c, clock, ...times });
  }

  async withTopics(...topics: readonly number[]): Promise<void> {
    const changes: MetadataChange[] = [wal()];
    for (const n of topics) changes.push(topic(n, 2), open(n, 0, 0, 0), open(n, 1, 0, 0));
    await this.metadata.commit(changes);
  }

  /** Stores an object and commits it; returns its id. */
  async upload(parts: readonly UploadPart[], states: readonly StreamState[] = []): Promise<string> {
    const deltas = parts.map(({ topic: n, partition = 0, from, shapes, producers = [], aborted = [] }) =>
      this.objects.writer.delta(id(n), partition, from, shapes, { producers, aborted }),
    );
    const { objectId, size, ranges } = await this.objects.upload(deltas, states);
    const freed = { sequence: ++this.#sequence, position: this.#sequence * 4096, chainCrc: 1 };
    await this.metadata.commit([
      { type: 'upload', wal: 'w1', freed, timeMs: this.clock.now(), objects: [{ objectId, size, ranges }] },
    ]);
    return objectId;
  }

  partition(n: number, index = 0) {
    return this.metadata.image.topicsById.get(id(n))!.partitions[index]!;
  }

  /** Hands the range of an object that holds nothing else to the manifest. */
  adopt(n: number, count: number) {
    return this.writer.advance(id(n), 0, (view) => {
      const taken = view.ranges.slice(0, count);
      const objects = taken.map((range) => ({
        ...range,
        size: this.metadata.image.objects.get(range.objectId)!.size,
      }));
      return {
        objects: [...view.manifest.objects, ...objects],
        endOffset: taken.at(-1)!.endOffset,
        adopted: taken.map(({ objectId }) => objectId),
      };
    });
  }
}
