/**
 * The small sections of a merged object, from those of its sources. Any thread, pure but for reading the sections.
 *
 *   producers  per stream the newest state of each producer: a later source's entry replaces an earlier one, since each
 *              holds all that was known at its end
 *   aborted    every aborted transaction of a selected range that reaches above the log start, in offset order
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
import type { ObjectReader, OpenObject } from '../read/object-reader.ts';
import type { CompactionTask } from './compaction-task.ts';
import type { MergeLayout } from './merge-layout.ts';

export interface SourceSections {
  /** By stream number of the source. */
  readonly producers: ReadonlyMap<number, readonly ProducerEntry[]>;
  readonly aborted: ReadonlyMap<number, readonly AbortedTxn[]>;
}

export async function readSections(reader: ObjectReader, opened: OpenObject): Promise<SourceSections> {
  const producers = new Map<number, readonly ProducerEntry[]>();
  const aborted = new Map<number, readonly AbortedTxn[]>();
  for (const group of await reader.producers(opened))
    producers.set(opened.index.streamNumber(group.topicId, group.partition), group.producers);
  for (const group of await reader.aborted(opened))
    aborted.set(opened.index.streamNumber(group.topicId, group.partition), group.aborted);
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
    const newest = new Map<number, ProducerEntry>();
    const transactions: AbortedTxn[] = [];
    for (; row < layout.rows.length; row++) {
      const { source, stream: number, ...range } = layout.rows[row]!;
      if (range.topicId !== topicId || range.partition !== partition) break;
      const from = sources[source]!;
      for (const producer of from.producers.get(number) ?? []) {
        if (!isNewer(producer, newest.get(producer.producerId))) continue;
        newest.set(producer.producerId, producer);
      }
      const needed = Math.max(range.baseOffset, range.startOffset);
      for (const txn of from.aborted.get(number) ?? [])
        if (txn.firstOffset < range.endOffset && txn.lastOffset >= needed) transactions.push(txn);
    }
    if (newest.size > 0) producers.push({ stream, producers: [...newest.values()] });
    if (transactions.length > 0) aborted.push({ stream, aborted: withoutRepeats(transactions) });
  }
  return new Map<SectionName, Buffer>([
    ['states', Buffer.alloc(0)],
    ['aborted', encodeAborted(aborted)],
    ['producers', encodeProducers(producers)],
    ['descriptor', encodeDescriptor(task)],
  ]);
}

/** Rows of one stream come in offset order, yet two of them may be ranges of one source with one state for both. */
function isNewer(producer: ProducerEntry, known: ProducerEntry | undefined): boolean {
  if (known === undefined) return true;
  return lastOffset(producer) >= lastOffset(known);
}

function lastOffset({ batches }: ProducerEntry): number {
  return batches.at(-1)?.lastOffset ?? -1;
}

function withoutRepeats(transactions: AbortedTxn[]): AbortedTxn[] {
  transactions.sort((a, b) => a.lastOffset - b.lastOffset || a.producerId - b.producerId);
  return transactions.filter((txn, i) => {
    const before = transactions[i - 1];
    return (
      before === undefined || before.lastOffset !== txn.lastOffset || before.producerId !== txn.producerId
    );
  });
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
  task: CompactionTask,
  layout: MergeLayout,
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
