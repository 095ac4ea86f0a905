/**
 * The small sections of a merged object, from those of its sources. Any thread, pure but for reading the sections.
 *
 *   producers  per stream the newest state of each producer (ProducerFold)
 *   aborted    transactions whose abort marker lies in a selected range, at or above the log start, in offset order; and the
 *              last stable offset at the end of the last range
 *   states     none: an object that a partition names for its folded state is not compacted
 *
 * Order is that of offsets, never that of object ids: a merged object is younger than data that follows its own.
 */
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import {
  encodeFooter,
  footerBytes,
  mergedVersion,
  requirePlan,
  type SectionName,
  type SectionPlace,
  sectionBytesMax,
  sectionNames,
} from '../objects/object-format.ts';
import { encodeIndex, indexSectionBytes } from '../objects/object-index.ts';
import {
  type AbortedGroup,
  encodeAborted,
  encodeDescriptor,
  encodeProducers,
  type ProducerGroup,
} from '../objects/object-sections.ts';
import type { AbortedTxn, ProducerEntry } from '../objects/objects.ts';
import { ProducerFold } from '../producers/producer-fold.ts';
import type { ObjectReader, OpenObject, StreamAborted } from '../read/object-reader.ts';
import type { CompactionTask } from './compaction-task.ts';
import type { MergeLayout } from './merge-layout.ts';

export interface SourceSections {
  /** By stream number of the source. */
  readonly producers: ReadonlyMap<number, readonly ProducerEntry[]>;
  readonly aborted: ReadonlyMap<number, StreamAborted>;
}

export async function readSections(reader: ObjectReader, opened: OpenObject): Promise<SourceSections> {
  const producers = new Map<number, readonly ProducerEntry[]>();
  const aborted = new Map<number, StreamAborted>();
  for (const group of await reader.producers(opened))
    producers.set(opened.index.streamNumber(group.topicId, group.partition), group.producers);
  for (const group of await reader.aborted(opened))
    aborted.set(opened.index.streamNumber(group.topicId, group.partition), group);
  return { producers, aborted };
}

/** Everything behind the data but the index, which needs the CRCs of what is written anew, and the footer. */
export function mergeSections(
  task: CompactionTask,
  layout: MergeLayout,
  sources: readonly SourceSections[],
): Map<SectionName, Buffer> {
  const producers: ProducerGroup[] = [];
  const aborted: AbortedGroup[] = [];
  let row = 0;
  for (let stream = 0; stream < layout.streams.length; stream++) {
    const { topicId, partition } = layout.streams[stream]!;
    const fold = new ProducerFold();
    const transactions: AbortedTxn[] = [];
    let endOffset = 0;
    let lastStableOffset = 0;
    for (; row < layout.rows.length; row++) {
      const { source, stream: number, ...range } = layout.rows[row]!;
      if (range.topicId !== topicId || range.partition !== partition) break;
      const from = sources[source]!;
      for (const producer of from.producers.get(number) ?? []) fold.take(producer);
      const needed = Math.max(range.baseOffset, range.startOffset);
      const group = from.aborted.get(number);
      for (const txn of group?.aborted ?? [])
        if (txn.lastOffset >= needed && txn.lastOffset < range.endOffset) transactions.push(txn);
      ({ endOffset } = range);
      lastStableOffset = Math.min(group?.lastStableOffset ?? endOffset, endOffset);
    }
    if (fold.size > 0) producers.push({ stream, producers: fold.snapshot() });
    if (transactions.length > 0 || lastStableOffset < endOffset)
      aborted.push({ stream, lastStableOffset, aborted: transactions });
  }
  return new Map<SectionName, Buffer>([
    ['states', Buffer.alloc(0)],
    ['aborted', encodeAborted(aborted)],
    ['producers', encodeProducers(producers)],
    ['descriptor', encodeDescriptor(task)],
  ]);
}

/** Bytes behind the data, footer included. */
export function tailBytes(layout: MergeLayout, sections: ReadonlyMap<SectionName, Buffer>): number {
  const index = indexSectionBytes(layout.streams, layout.blocks.count);
  requirePlan(index <= sectionBytesMax, `an index of ${index} bytes`);
  let bytes = index + footerBytes;
  for (const [name, section] of sections) {
    requirePlan(section.length <= sectionBytesMax, `a section ${name} of ${section.length} bytes`);
    bytes += section.length;
  }
  return bytes;
}

/** All of it, once every block has its CRC. */
export function encodeTail(
  task: Pick<CompactionTask, 'objectId'>,
  layout: Pick<MergeLayout, 'copiedBytes' | 'writtenBytes' | 'streams' | 'blocks'>,
  sections: ReadonlyMap<SectionName, Buffer>,
  crc32c: Crc32c,
): Buffer {
  const dataEnd = layout.copiedBytes + layout.writtenBytes;
  const places = {} as Record<SectionName, SectionPlace>;
  const pieces: Buffer[] = [];
  let position = dataEnd;
  for (const name of sectionNames) {
    const bytes = name === 'index' ? encodeIndex(layout.streams, layout.blocks, 0) : sections.get(name)!;
    places[name] = { position, length: bytes.length, crc: crc32c(bytes, 0, bytes.length) };
    position += bytes.length;
    pieces.push(bytes);
  }
  const footer = {
    version: mergedVersion,
    objectId: task.objectId,
    objectBytes: position + footerBytes,
    dataEnd,
    streamCount: layout.streams.length,
    entryCount: layout.blocks.count,
    sections: places,
  };
  pieces.push(encodeFooter(footer, crc32c));
  return Buffer.concat(pieces);
}
