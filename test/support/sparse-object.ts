/** The bytes of an object whose blocks have gaps, as log compaction will leave them. */
import { BlockRows } from '../../src/stream/objects/block-rows.ts';
import {
  encodeFooter,
  footerBytes,
  mergedVersion,
  type SectionName,
  type SectionPlace,
  sectionNames,
} from '../../src/stream/objects/object-format.ts';
import { encodeIndex } from '../../src/stream/objects/object-index.ts';
import { encodeDescriptor } from '../../src/stream/objects/object-sections.ts';
import { crc32c } from './stream-deltas.ts';
import type { ObjectWorld } from './stream-objects.ts';

export interface SparseBlock {
  readonly baseOffset: number;
  readonly lastOffset: number;
  /** Base and last offset of each batch. */
  readonly batches: readonly (readonly [number, number])[];
}

/** The bytes of an object with these blocks of one stream, as a compaction would lay them. */
export function sparseObject(
  world: ObjectWorld,
  objectId: string,
  topicId: string,
  blocks: readonly SparseBlock[],
): Buffer {
  const rows = new BlockRows();
  const pieces: Buffer[] = [];
  for (const { baseOffset, lastOffset, batches } of blocks) {
    const bytes = Buffer.concat(
      batches.map(([base, last]) => {
        const shape = { bytes: 100, records: last - base + 1, maxTimestamp: base };
        const delta = world.writer.delta(topicId, 0, base, [shape]);
        const at = delta.positions[0]!;
        return Buffer.from(world.sources.buffer.subarray(at, at + 100));
      }),
    );
    const row = rows.add();
    rows.size[row] = bytes.length;
    rows.baseOffset[row] = baseOffset;
    rows.lastOffset[row] = lastOffset;
    rows.maxTimestamp[row] = lastOffset;
    rows.crc[row] = crc32c(bytes, 0, bytes.length);
    pieces.push(bytes);
  }
  const dataEnd = pieces.reduce((sum, { length }) => sum + length, 0);
  const [baseOffset, endOffset] = [blocks[0]!.baseOffset, blocks.at(-1)!.lastOffset + 1];
  const stream = { topicId, partition: 0, baseOffset, endOffset, entryCount: rows.count };
  const identity = { clusterId: 'c'.repeat(22), node: 1, brokerEpoch: 1, sequence: 1 };
  const sections: Partial<Record<SectionName, Buffer>> = {
    descriptor: encodeDescriptor(identity),
    index: encodeIndex([stream], rows, 0),
  };
  const places = {} as Record<SectionName, SectionPlace>;
  let position = dataEnd;
  for (const name of sectionNames) {
    const bytes = sections[name] ?? Buffer.alloc(0);
    places[name] = { position, length: bytes.length, crc: crc32c(bytes, 0, bytes.length) };
    position += bytes.length;
    pieces.push(bytes);
  }
  const objectBytes = position + footerBytes;
  const counts = { streamCount: 1, entryCount: rows.count };
  const footer = { version: mergedVersion, objectId, objectBytes, dataEnd, ...counts, sections: places };
  return Buffer.concat([...pieces, encodeFooter(footer, crc32c)]);
}
