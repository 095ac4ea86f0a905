/**
 * First pass of a compaction: from the indexes of the sources to the place of every block in the new object. No data byte
 * is touched. Pure.
 *
 *   new object:  │ copied areas, as they lie in their sources │ blocks written anew, stream after stream │ sections …
 *
 * Every range is checked against its source's index: blocks that do not follow each other from the log start to the end
 * of the range refuse the compaction (OBJECT_CORRUPT), because a hole carried over could never be told from lost data.
 * A block of one header without records stays a block: it may stand for lost offsets.
 */
import type { StreamRange } from '../../metadata/metadata-store.ts';
import { lostBatchBytes } from '../../protocol/records/lost-batch.ts';
import { blockBytesMax, dataStart, isMerged, objectCorrupt, requirePlan } from '../objects/object-format.ts';
import { type StreamRow, topicIdBytes } from '../objects/object-index.ts';
import type { OpenObject } from '../read/object-reader.ts';
import type { CompactionTask, MergeLimits } from './compaction-task.ts';
import { MergedBlocks, PieceTable } from './merge-tables.ts';

/** A stretch of a source that the store copies. */
export interface CopiedArea {
  readonly source: number;
  readonly start: number;
  readonly end: number;
  /** Position in the new object. */
  readonly at: number;
}

/** One selected range, and where its blocks are in its source's index. */
export interface MergeRow {
  readonly topicId: string;
  readonly partition: number;
  readonly source: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly startOffset: number;
  /** Number of the stream in the source. */
  readonly stream: number;
  firstEntry: number;
  entryCount: number;
  /** What is copied of it on its own, ascending in entries. */
  areas: RunArea[];
}

/** A run of a row's blocks, or a whole source, that the store copies; entries behind `end` are not in it. */
interface RunArea extends CopiedArea {
  readonly firstEntry: number;
  readonly endEntry: number;
}

export interface MergeLayout {
  readonly areas: readonly CopiedArea[];
  /** In the order of the index. */
  readonly rows: readonly MergeRow[];
  readonly streams: readonly StreamRow[];
  /** Positions are final; CRCs of blocks written anew are set when they are. */
  readonly blocks: MergedBlocks;
  readonly pieces: PieceTable;
  readonly ranges: readonly StreamRange[];
  readonly copiedBytes: number;
  readonly writtenBytes: number;
}

export function layOutMerge(
  task: CompactionTask,
  opened: readonly OpenObject[],
  limits: MergeLimits,
): MergeLayout {
  const rows = selectedRows(task, opened);
  const { areas, whole } = chooseAreas(task, rows, opened, limits);
  const last = areas.at(-1);
  const copiedBytes = last === undefined ? 0 : last.at + last.end - last.start;
  const placer = new BlockPlacer(copiedBytes);
  const streams: StreamRow[] = [];
  const ranges: StreamRange[] = [];
  for (let r = 0; r < rows.length; ) {
    const first = rows[r]!;
    const before = placer.blocks.count;
    placer.startStream();
    let endOffset = first.baseOffset;
    for (; r < rows.length && sameStream(rows[r]!, first); r++) {
      const row = rows[r]!;
      if (row.baseOffset < endOffset)
        throw objectCorrupt(task.objectId, `${nameOf(row)} is selected twice at ${row.baseOffset}`);
      const place = placer.place(row, opened[row.source]!, whole[row.source] ?? row.areas);
      addRange(ranges, row, place);
      endOffset = row.endOffset;
    }
    streams.push({
      topicId: first.topicId,
      partition: first.partition,
      baseOffset: first.baseOffset,
      endOffset,
      entryCount: placer.blocks.count - before,
    });
  }
  const { blocks, pieces } = placer;
  return { areas, rows, streams, blocks, pieces, ranges, copiedBytes, writtenBytes: placer.at - copiedBytes };
}

/** Blocks of one row that lie behind one another in their source. */
interface Run {
  readonly row: MergeRow;
  readonly firstEntry: number;
  readonly endEntry: number;
  readonly start: number;
  readonly end: number;
}

/** Decides what the store copies: whole sources, then single runs of the others. */
function chooseAreas(
  task: CompactionTask,
  rows: readonly MergeRow[],
  opened: readonly OpenObject[],
  limits: MergeLimits,
): { readonly areas: readonly CopiedArea[]; readonly whole: readonly (readonly RunArea[] | null)[] } {
  const runs: Run[][] = opened.map(() => []);
  for (const row of rows) addRuns(runs[row.source]!, row, opened[row.source]!);
  const areas: CopiedArea[] = [];
  let cursor = 0;
  const add = (source: number, start: number, end: number, firstEntry: number, endEntry: number): RunArea => {
    const bytes = Math.floor((end - start) / limits.copyStepBytes) * limits.copyStepBytes;
    const area = { source, start, end: start + bytes, at: cursor, firstEntry, endEntry };
    areas.push(area);
    cursor += bytes;
    return area;
  };
  const whole = opened.map(({ footer }, source) => {
    const { version } = footer;
    const start = dataStart(version);
    if (task.copy === 'regions' || footer.dataEnd - start < limits.copyBytesMin) return null;
    const shortest = isMerged(version) ? limits.mergedRunBytesMin : limits.runBytesMin;
    const short = runs[source]!.filter((run) => run.end - run.start < shortest).length;
    if (2 * short > runs[source]!.length) return null;
    return [add(source, start, footer.dataEnd, 0, footer.entryCount)];
  });
  for (let source = 0; source < opened.length; source++) {
    if (whole[source] !== null) continue;
    for (const { row, start, end, firstEntry, endEntry } of runs[source]!)
      if (end - start >= limits.copyBytesMin) row.areas.push(add(source, start, end, firstEntry, endEntry));
  }
  return { areas, whole };
}

/** Gives blocks their places and joins small ones. */
class BlockPlacer {
  readonly blocks = new MergedBlocks();
  readonly pieces = new PieceTable();
  /** Position behind what is placed. */
  at: number;
  /** Block of the present stream that the next piece may join, or −1. */
  #open = -1;
  #epoch = -1;

  constructor(at: number) {
    this.at = at;
  }

  startStream(): void {
    this.#open = -1;
    this.#epoch = -1;
  }

  place(
    row: MergeRow,
    from: OpenObject,
    areas: readonly RunArea[],
  ): { readonly bytes: number; readonly maxTimestamp: number } {
    const { blocks } = this;
    const stream = from.index.stream(row.stream);
    let bytes = 0;
    let maxTimestamp = -1;
    let a = 0;
    for (let e = row.firstEntry; e < row.firstEntry + row.entryCount; e++) {
      while (a < areas.length && areas[a]!.endEntry <= e) a++;
      const next = areas[a];
      const entry = from.index.entry(stream, e);
      // Behind the area's end lies what did not fill a part; a block across the end is written anew, too.
      const inside = next !== undefined && next.firstEntry <= e && entry.position + entry.size <= next.end;
      const area = inside ? next : undefined;
      if (entry.leaderEpoch < this.#epoch)
        throw objectCorrupt(from.objectId, `${nameOf(row)}: leader epoch ${entry.leaderEpoch} goes back`);
      this.#epoch = entry.leaderEpoch;
      bytes += entry.size;
      maxTimestamp = Math.max(maxTimestamp, entry.maxTimestamp);
      if (
        area === undefined &&
        this.#joins(entry.baseOffset, entry.lastOffset, entry.leaderEpoch, entry.size)
      ) {
        const block = this.#open;
        blocks.size[block]! += entry.size;
        blocks.lastOffset[block] = entry.lastOffset;
        blocks.maxTimestamp[block] = Math.max(blocks.maxTimestamp[block]!, entry.maxTimestamp);
        this.pieces.add(row.source, entry.position, entry.size, entry.crc, block);
        this.at += entry.size;
        continue;
      }
      const block = blocks.add();
      blocks.leaderEpoch[block] = entry.leaderEpoch;
      blocks.size[block] = entry.size;
      blocks.baseOffset[block] = entry.baseOffset;
      blocks.lastOffset[block] = entry.lastOffset;
      blocks.maxTimestamp[block] = entry.maxTimestamp;
      blocks.crc[block] = entry.crc;
      if (area === undefined) {
        blocks.position[block] = this.at;
        this.pieces.add(row.source, entry.position, entry.size, entry.crc, block);
        this.at += entry.size;
        this.#open = block;
      } else {
        blocks.position[block] = area.at + entry.position - area.start;
        this.#open = -1;
      }
    }
    return { bytes, maxTimestamp };
  }

  #joins(base: number, last: number, epoch: number, size: number): boolean {
    const { blocks } = this;
    const open = this.#open;
    return (
      open !== -1 &&
      blocks.lastOffset[open]! + 1 === base &&
      blocks.leaderEpoch[open] === epoch &&
      size !== lostBatchBytes &&
      blocks.size[open] !== lostBatchBytes &&
      blocks.size[open]! + size <= blockBytesMax &&
      last - blocks.baseOffset[open]! <= 0xffff_ffff
    );
  }
}

function addRange(
  ranges: StreamRange[],
  row: MergeRow,
  { bytes, maxTimestamp }: { readonly bytes: number; readonly maxTimestamp: number },
): void {
  const { topicId, partition, baseOffset, endOffset } = row;
  const before = ranges.at(-1);
  if (before !== undefined && sameStream(before, row) && before.endOffset === baseOffset) {
    ranges[ranges.length - 1] = {
      ...before,
      endOffset,
      bytes: before.bytes + bytes,
      maxTimestamp: Math.max(before.maxTimestamp, maxTimestamp),
    };
    return;
  }
  ranges.push({ topicId, partition, baseOffset, endOffset, maxTimestamp, bytes });
}

function sameStream(
  a: { readonly topicId: string; readonly partition: number },
  b: { readonly topicId: string; readonly partition: number },
): boolean {
  return a.topicId === b.topicId && a.partition === b.partition;
}

function nameOf(row: { readonly topicId: string; readonly partition: number }): string {
  return `${row.topicId}/${row.partition}`;
}

/** The selection in the order of the index, each row with its blocks. */
function selectedRows(task: CompactionTask, opened: readonly OpenObject[]): MergeRow[] {
  const { topicIds, topic, partition, source, baseOffset, endOffset, startOffset } = task.ranges;
  requirePlan(topic.length > 0, 'nothing to compact');
  const keys = topicIds.map(topicIdBytes);
  const rank = new Int32Array(topicIds.length);
  const order = topicIds.map((_id, t) => t).sort((a, b) => keys[a]!.compare(keys[b]!));
  for (const [place, t] of order.entries()) rank[t] = place;
  const numbers = Uint32Array.from(topic, (_t, r) => r).sort(
    (a, b) =>
      rank[topic[a]!]! - rank[topic[b]!]! || partition[a]! - partition[b]! || baseOffset[a]! - baseOffset[b]!,
  );
  const rows: MergeRow[] = [];
  for (const r of numbers) {
    const from = opened[source[r]!]!;
    const topicId = topicIds[topic[r]!]!;
    const row: MergeRow = {
      topicId,
      partition: partition[r]!,
      source: source[r]!,
      baseOffset: baseOffset[r]!,
      endOffset: endOffset[r]!,
      startOffset: startOffset[r]!,
      stream: from.index.streamNumber(topicId, partition[r]!),
      firstEntry: 0,
      entryCount: 0,
      areas: [],
    };
    findEntries(row, from);
    rows.push(row);
  }
  return rows;
}

/** Finds the row's blocks and checks that they cover it from the log start to its end. */
function findEntries(row: MergeRow, from: OpenObject): void {
  const { index, objectId } = from;
  const fail = (what: string): never => {
    throw objectCorrupt(objectId, `${nameOf(row)}, ${row.baseOffset} to ${row.endOffset}: ${what}`);
  };
  if (row.stream === -1) fail('is not in it');
  const needed = Math.max(row.baseOffset, row.startOffset);
  if (needed >= row.endOffset) return;
  const stream = index.stream(row.stream);
  const first = index.firstEntryAt(stream, needed);
  if (first === -1) fail(`ends below ${needed}`);
  let reached = needed;
  let e = first;
  for (; e < stream.firstEntry + stream.entryCount && reached < row.endOffset; e++) {
    const entry = index.entry(stream, e);
    const follows = e === first ? entry.baseOffset <= needed : entry.baseOffset === reached;
    if (!follows || entry.lastOffset < reached) fail(`a hole at ${reached}`);
    reached = entry.lastOffset + 1;
  }
  if (reached !== row.endOffset) fail(`its blocks end at ${reached}`);
  if (index.entry(stream, first).baseOffset < row.baseOffset) fail('a block reaches over its start');
  row.firstEntry = first;
  row.entryCount = e - first;
}

/** Splits the row's blocks where they do not lie behind one another. */
function addRuns(runs: Run[], row: MergeRow, from: OpenObject): void {
  const { index } = from;
  const stream = index.stream(row.stream);
  const last = row.firstEntry + row.entryCount;
  let firstEntry = row.firstEntry;
  let start = 0;
  let end = -1;
  for (let e = row.firstEntry; e < last; e++) {
    const { position, size } = index.entry(stream, e);
    if (position !== end) {
      if (e > firstEntry) runs.push({ row, firstEntry, endEntry: e, start, end });
      firstEntry = e;
      start = position;
    }
    end = position + size;
  }
  if (last > firstEntry) runs.push({ row, firstEntry, endEntry: last, start, end });
}
