/**
 * Makes one object out of ranges of others and stores it; nothing names it until the caller has committed it. What the
 * store can copy (see compaction-task.ts) never comes over the wire; what has to be read is read once, through windows,
 * and written out part by part. Any thread; one compaction at a time is the caller's business.
 *
 *   part 1 … c     copied areas, in the order of the layout; all of partBytes where the store wants equal parts
 *   part c+1 …     blocks written anew, then sections, index and footer; the last part may be small
 *
 * Memory: one part being filled (partBytes), windows and small sources (windowBytes each), the sources' indexes and the layout.
 * The object appears whole or not at all; a failed multipart upload is aborted. Repeating is the caller's business, under
 * a new object id.
 */
import { errorToWire } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import type { MultipartUpload, ObjectStore } from '../../store/object-store.ts';
import { objectKey, requirePlan, type SectionName } from '../objects/object-format.ts';
import { ObjectReader, type OpenObject } from '../read/object-reader.ts';
import {
  type CompactionLimits,
  type CompactionResult,
  type CompactionTask,
  type CompactionTraffic,
  compactionLimits,
  limitsUnder,
  noTraffic,
  partsMax,
} from './compaction-task.ts';
import { HeldObjects } from './held-objects.ts';
import { layOutMerge, type MergeLayout } from './merge-layout.ts';
import { encodeTail, mergeSections, readSections, type SourceSections, tailBytes } from './merge-sections.ts';
import { SourceWindows } from './source-windows.ts';

export interface CompactionDeps {
  readonly store: ObjectStore;
  readonly crc32c: Crc32c;
  /** Asked before each request with the bytes it moves over the wire: the place to keep to a budget. */
  readonly pace: (bytes: number) => Promise<void>;
  readonly limits?: CompactionLimits;
}

/** Requests of one object under way at a time. */
const copiesInFlight = 4;
/** Entries that the sources of one object may have together: what one index section can hold (see object-format.ts). */
const indexBytesMax = 192 << 20;

/** Never rejects. */
export async function runCompaction(task: CompactionTask, deps: CompactionDeps): Promise<CompactionResult> {
  const traffic = noTraffic();
  try {
    return { record: await compactObjects(task, deps, traffic), traffic, error: null };
  } catch (error) {
    return { record: null, traffic, error: errorToWire(error) };
  }
}

/** @throws the store's errors, OBJECT_GONE, OBJECT_CORRUPT, OBJECT_VERSION, UPLOAD_PLAN. */
export async function compactObjects(
  task: CompactionTask,
  deps: CompactionDeps,
  traffic: CompactionTraffic,
): Promise<NonNullable<CompactionResult['record']>> {
  const { partBytes } = deps.limits ?? compactionLimits;
  requirePlan(partBytes >= (deps.limits ?? compactionLimits).copyBytesMin, `parts of ${partBytes} bytes`);
  const limits = limitsUnder(deps.store.partRule ?? 'any', deps.limits ?? compactionLimits);
  const held = new HeldObjects(limits.windowBytes);
  const { opened, sections: sourceSections } = await openSources(task, deps, held, traffic);
  const layout = layOutMerge(task, opened, limits);
  const sections = mergeSections(task, layout, sourceSections);
  const size = layout.copiedBytes + layout.writtenBytes + tailBytes(layout, sections);
  const output = new MergeOutput(task, layout, sections, size - layout.copiedBytes, deps, held, traffic);
  const key = objectKey(task.objectId);
  if (size <= partBytes && layout.areas.length === 0) {
    const body = await output.next(partBytes);
    await deps.pace(size);
    traffic.puts++;
    traffic.bytesOut += size;
    await deps.store.put(key, [body!]);
  } else await storeParts(task, layout, output, limits, key, deps, traffic);
  return { objectId: task.objectId, size, ranges: layout.ranges };
}

async function openSources(
  task: CompactionTask,
  deps: CompactionDeps,
  held: HeldObjects,
  traffic: CompactionTraffic,
): Promise<{ opened: OpenObject[]; sections: SourceSections[] }> {
  const sizes = new Map(task.sources.map(({ objectId, size }) => [objectId, size]));
  const reader = new ObjectReader({
    store: held.over(deps.store),
    crc32c: deps.crc32c,
    sizeOf: (objectId) => sizes.get(objectId),
    indexBytesMax: 0,
  });
  const opened: OpenObject[] = [];
  const sections: SourceSections[] = [];
  let indexBytes = 0;
  for (const each of task.sources) {
    const whole = await held.load(each, deps.store, () => deps.pace(each.size));
    if (!whole) await deps.pace(0);
    const source = await reader.open(each.objectId);
    indexBytes += source.index.bytes;
    requirePlan(indexBytes <= indexBytesMax, `sources with more than ${indexBytesMax} bytes of index`);
    opened.push(source);
    sections.push(await readSections(reader, source));
    if (whole) {
      traffic.gets++;
      traffic.bytesIn += each.size;
      continue;
    }
    const { producers, aborted } = source.footer.sections;
    traffic.gets += 1 + (producers.length > 0 ? 1 : 0) + (aborted.length > 0 ? 1 : 0);
    traffic.bytesIn += source.index.bytes + producers.length + aborted.length;
  }
  return { opened, sections };
}

async function storeParts(
  task: CompactionTask,
  layout: MergeLayout,
  output: MergeOutput,
  { partBytes, copyPartBytesMax }: CompactionLimits,
  key: string,
  deps: CompactionDeps,
  traffic: CompactionTraffic,
): Promise<void> {
  const copies = layout.areas.flatMap(({ source, start, end }) => {
    const count = Math.ceil((end - start) / copyPartBytesMax);
    const step = Math.ceil((end - start) / count);
    return Array.from({ length: count }, (_part, i) => ({
      sourceKey: objectKey(task.sources[source]!.objectId),
      start: start + i * step,
      end: Math.min(end, start + (i + 1) * step),
    }));
  });
  const parts = copies.length + Math.ceil(output.bytes / partBytes);
  requirePlan(parts <= partsMax, `an object of ${parts} parts`);
  await deps.pace(0);
  traffic.puts++;
  const upload = await deps.store.multipart(key);
  let failed = false;
  let next = 0;
  const copyLane = async (): Promise<void> => {
    while (!failed && next < copies.length) {
      const number = next++;
      const { sourceKey, start, end } = copies[number]!;
      await deps.pace(0);
      traffic.copies++;
      traffic.bytesCopied += end - start;
      await upload.copyPart(number + 1, sourceKey, start, end);
    }
  };
  const writeLane = async (): Promise<void> => {
    for (let number = copies.length + 1; !failed; number++) {
      const body = await output.next(partBytes);
      if (body === null) return;
      await deps.pace(body.length);
      traffic.puts++;
      traffic.bytesOut += body.length;
      await upload.uploadPart(number, [body]);
    }
  };
  const guarded = (lane: Promise<void>): Promise<void> =>
    lane.catch((error: unknown) => {
      failed = true;
      throw error;
    });
  const lanes = [guarded(writeLane())];
  for (let i = 0; i < Math.min(copiesInFlight, copies.length); i++) lanes.push(guarded(copyLane()));
  const ended = await Promise.allSettled(lanes);
  try {
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
    await finish(upload, deps, traffic);
  } catch (error) {
    await upload.abort().catch(() => {
      // Left for the sweep of unfinished uploads; the first error is the one to tell.
    });
    throw error;
  }
}

async function finish(
  upload: MultipartUpload,
  deps: CompactionDeps,
  traffic: CompactionTraffic,
): Promise<void> {
  await deps.pace(0);
  traffic.puts++;
  await upload.complete();
}

/** The uploaded bytes of a merge front to back, part after part, through one buffer. */
class MergeOutput {
  /** Of all parts. */
  readonly bytes: number;
  readonly #task: CompactionTask;
  readonly #layout: MergeLayout;
  readonly #sections: ReadonlyMap<SectionName, Buffer>;
  readonly #deps: CompactionDeps;
  readonly #windows: SourceWindows;
  #buffer: Buffer | null = null;
  #piece = 0;
  /** Bytes of the present piece that are out. */
  #pieceDone = 0;
  #pieceBytes: Buffer | null = null;
  #crc = 0;
  #tail: Buffer | null = null;
  #tailDone = 0;
  #out = 0;

  constructor(
    task: CompactionTask,
    layout: MergeLayout,
    sections: ReadonlyMap<SectionName, Buffer>,
    bytes: number,
    deps: CompactionDeps,
    held: HeldObjects,
    traffic: CompactionTraffic,
  ) {
    this.#task = task;
    this.#layout = layout;
    this.#sections = sections;
    this.bytes = bytes;
    this.#deps = deps;
    this.#windows = new SourceWindows(task.sources, layout.pieces, {
      store: deps.store,
      crc32c: deps.crc32c,
      memoryBytes: (deps.limits ?? compactionLimits).windowBytes,
      held: held.objects,
      pace: deps.pace,
      onRead: (read) => {
        traffic.gets++;
        traffic.bytesIn += read;
      },
    });
  }

  /** The next `limit` bytes, fewer at the end, null behind it. Valid until the next call. */
  async next(limit: number): Promise<Buffer | null> {
    const wanted = Math.min(limit, this.bytes - this.#out);
    if (wanted === 0) return null;
    this.#buffer ??= Buffer.allocUnsafeSlow(wanted);
    const buffer = this.#buffer.subarray(0, wanted);
    let at = 0;
    while (at < wanted && this.#piece < this.#layout.pieces.count) at = await this.#movePiece(buffer, at);
    if (at < wanted) {
      this.#tail ??= encodeTail(this.#task, this.#layout, this.#sections, this.#deps.crc32c);
      const copied = this.#tail.copy(buffer, at, this.#tailDone, this.#tailDone + wanted - at);
      this.#tailDone += copied;
      at += copied;
    }
    requirePlan(at === wanted, 'the object is shorter than computed');
    this.#out += wanted;
    return buffer;
  }

  /** Copies what fits of the present piece and returns where the buffer goes on. */
  async #movePiece(buffer: Buffer, start: number): Promise<number> {
    const { pieces, blocks } = this.#layout;
    if (this.#pieceBytes === null) {
      const continues = this.#piece > 0 && pieces.block[this.#piece] === pieces.block[this.#piece - 1];
      if (!continues) this.#crc = 0;
      this.#pieceBytes = await this.#windows.take(this.#piece);
    }
    const copied = this.#pieceBytes.copy(buffer, start, this.#pieceDone);
    this.#crc = this.#deps.crc32c(buffer, start, copied, this.#crc);
    this.#pieceDone += copied;
    if (this.#pieceDone === this.#pieceBytes.length) {
      blocks.crc[pieces.block[this.#piece]!] = this.#crc;
      this.#piece++;
      this.#pieceBytes = null;
      this.#pieceDone = 0;
    }
    return start + copied;
  }
}
