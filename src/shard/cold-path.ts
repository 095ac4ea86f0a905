/**
 * What memory no longer holds, for one shard: reads go through the cold reader (objects, block cache, read-ahead), time
 * lookups search the objects' indexes first and then the batches. Owned by the shard.
 *
 *   log start ── manifest's objects (cached file) ──┬── objects of the image ──┬── tail in memory
 *                                             manifest's end              uploaded so far
 *
 * A read of committed records ends at the last stable offset and brings the aborted transactions in it (aborted-index.ts).
 * A read takes one of the two lists, by its offset, so one that reaches the manifest's end stops there and the next goes
 * on behind it. A list may be stale by the time its objects are read: when one, or the manifest, is gone the read looks
 * at the metadata once more, and then it is an error.
 */

import type { OffsetAnswer, ReadCaller } from '../log/partition-handle.ts';
import { offsetQuery, RecordRanges } from '../log/partition-handle.ts';
import type { ColdDone, ColdPath, ColdStream, CommittedEnd, PartitionLog } from '../log/partition-log.ts';
import type { RecordWork } from '../log/record-work.ts';
import type { ClusterImage, PartitionImage } from '../metadata/metadata-store.ts';
import type { Arena } from '../ports/arena.ts';
import { errorFromWire, MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type { RecordTaskResult } from '../protocol/records/record-tasks.ts';
import { hasCode } from '../store/store-errors.ts';
import type { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import type { AbortedTxn } from '../stream/objects/objects.ts';
import { byFirstOffset } from '../stream/producers/producer-fold.ts';
import type { ColdReader, ObjectList } from '../stream/read/cold-reader.ts';
import type { ReplicaPath } from './object-replica.ts';

export interface ColdPathDeps {
  readonly arena: Arena;
  readonly reader: ColdReader;
  readonly manifests: ManifestCache;
  readonly image: () => ClusterImage;
  readonly logger: Logger;
  /** Unpacks batches without holding the loop. */
  readonly records: Pick<RecordWork, 'run'>;
  /** Bytes one lookup reads around a block to find the record. */
  readonly lookupBytes: number;
  readonly monotonic: () => number;
}

/** Bound on the decompressed size of one batch that a time lookup opens. */
const lookupDecompressedMax = 64 * 1024 * 1024;

/** What one lookup may cost: its time, and the plain records it has unpacked (batches whose headers promised too much). */
const lookupMs = 10_000;
const lookupUnpackedMax = 256 * 1024 * 1024;

const noProducers = { abortedOver: () => [] };

interface Found {
  offset: number;
  timestamp: number;
}

interface Lookup {
  readonly log: PartitionLog;
  /** Monotonic ms. */
  readonly deadline: number;
  unpackedBytes: number;
}

export class ObjectColdPath implements ColdPath, ReplicaPath {
  private readonly deps: ColdPathDeps;

  constructor(deps: ColdPathDeps) {
    this.deps = deps;
  }

  private imageOf(log: ColdStream): PartitionImage | undefined {
    return this.deps.image().topicsById.get(log.topicId)?.partitions[log.partition];
  }

  read(
    log: ColdStream,
    offset: number,
    maxBytes: number,
    deadline: number,
    committed: CommittedEnd | null,
    done: ColdDone,
    caller?: ReadCaller,
  ): void {
    if (this.imageOf(log) === undefined) {
      done(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, null, offset, []);
      return;
    }
    const limitOffset = committed?.lastStableOffset ?? log.highWatermark;
    const attempt = async () => {
      const read = await this.deps.reader.readCold({
        topicId: log.topicId,
        partition: log.partition,
        objects: (await this.listAt(log, offset)).objects,
        offset,
        maxBytes,
        deadline,
        limitOffset,
        ...caller,
      });
      try {
        const none = committed === null || read.ranges.length === 0;
        return { read, aborted: none ? [] : await this.abortedOver(log, committed, offset, read.nextOffset) };
      } catch (error) {
        read.release();
        throw error;
      }
    };
    twiceIfStale(attempt).then(
      ({ read, aborted }) => {
        if (read.ranges.length === 0) {
          read.release();
          done(0, null, read.nextOffset, aborted);
          return;
        }
        // The blocks stay pinned in the cache until the answer is sent.
        const records = new RecordRanges(this.deps.arena, () => read.release());
        for (const { position, length } of read.ranges) records.adopt(position, length);
        done(0, records, read.nextOffset, aborted);
      },
      (error) => done(this.wireError(log, offset, error), null, offset, []),
    );
  }

  /** A transaction that is open where objects end has its marker behind, so nothing from its first record on is decided here. */
  async committedInObjects(stream: ColdStream): Promise<CommittedEnd> {
    const end = stream.highWatermark;
    const { objects } = await this.listAt(stream, end - 1);
    const last = objects.findLast(({ baseOffset, endOffset }) => baseOffset < end && endOffset >= end);
    const stable =
      last === undefined ? -1 : await this.deps.reader.stableEnd(stream.topicId, stream.partition, last);
    return { lastStableOffset: Math.min(stable, end), tailStart: end, producers: noProducers };
  }

  /**
   * Aborted transactions that reach into [from, end): by objects from the one that holds `from` on, for as long as their
   * markers may lie behind, then by memory. Throws READ_OVERTAKEN when a part of that is not to be found any more, since the log
   * start passed it after the records were read: without it aborted records would be taken for committed ones.
   */
  private async abortedOver(
    log: ColdStream,
    memory: CommittedEnd,
    from: number,
    end: number,
  ): Promise<AbortedTxn[]> {
    const found: AbortedTxn[] = [];
    let searched = from;
    // While objects are searched batches may leave memory: what left meanwhile is searched there, too.
    while (searched < memory.tailStart) {
      const before = searched;
      const { objects } = await this.listAt(log, searched);
      for (const range of objects) {
        if (range.endOffset <= searched) continue;
        if (range.baseOffset > searched) throw overtaken(searched);
        const open = await this.deps.reader.abortedIn(log.topicId, log.partition, range, from, end, found);
        searched = range.endOffset;
        if (!open) return byFirstOffset(found);
      }
      if (searched === before) throw overtaken(searched);
    }
    for (const txn of memory.producers.abortedOver(from, end))
      if (txn.lastOffset >= searched) found.push(txn);
    return byFirstOffset(found);
  }

  /** Objects that hold `offset` and what follows it, as far as one list goes: to `endOffset`. */
  private async listAt(
    log: ColdStream,
    offset: number,
  ): Promise<{ readonly objects: ObjectList; readonly endOffset: number }> {
    const image = this.imageOf(log);
    const manifest = image?.manifest ?? null;
    if (manifest === null || offset >= manifest.endOffset)
      return { objects: image?.objects ?? [], endOffset: Number.POSITIVE_INFINITY };
    const { objects } = await this.deps.manifests.get(log.topicId, log.partition, manifest.version);
    return { objects, endOffset: manifest.endOffset };
  }

  private wireError(log: ColdStream, offset: number, error: unknown): number {
    if (error instanceof MillraceError && error.kind === 'exhausted') return 0;
    // Said when it was found; a client that stands there asks again and again.
    if (hasCode(error, 'OFFSETS_LOST')) return ErrorCode.CORRUPT_MESSAGE;
    this.deps.logger.warn('a read of older data failed', {
      topic: log.name,
      partition: log.partition,
      offset,
      error: error instanceof Error ? error.message : String(error),
    });
    if (error instanceof MillraceError && error.kind === 'corrupt') return ErrorCode.CORRUPT_MESSAGE;
    return ErrorCode.KAFKA_STORAGE_ERROR;
  }

  lookup(log: PartitionLog, kind: number, argument: number, answer: OffsetAnswer): void {
    const lookup = { log, deadline: this.deps.monotonic() + lookupMs, unpackedBytes: 0 };
    const search = kind === offsetQuery.byTime ? this.byTime(lookup, argument) : this.byMaxTimestamp(lookup);
    search.then(
      (found) => {
        if (found === null) answer(0, -1, -1, -1);
        else answer(0, found.offset, found.timestamp, log.epochAt(found.offset));
      },
      // A fetch may come back empty and be asked again; here it would mean that there is no such record.
      (error) => answer(this.wireError(log, -1, error) || ErrorCode.KAFKA_STORAGE_ERROR, -1, -1, -1),
    );
  }

  /** First record whose timestamp is at least `time`. */
  private async byTime(lookup: Lookup, time: number): Promise<Found | null> {
    const { log } = lookup;
    let searched = log.startOffset;
    for (;;) {
      // While batches are unpacked others may leave memory: what left meanwhile is searched in the objects.
      while (searched < log.tailStart) {
        const end = log.tailStart;
        const found = await this.inObjects(lookup, time, searched, end);
        if (found !== null) return found;
        searched = end;
      }
      const entry = nextInTail(log, searched, time);
      if (entry < 0) return null;
      const { journal } = log;
      const slot = journal.slot(entry);
      const behind = journal.lastOffset[slot]! + 1;
      const found = await this.firstAtLeast(lookup, time, journal.position[slot]!, journal.length[slot]!);
      if (found !== null) return found;
      searched = behind;
    }
  }

  private async inObjects(lookup: Lookup, time: number, from: number, end: number): Promise<Found | null> {
    const { log, deadline } = lookup;
    let offset = from;
    while (offset < end) {
      let behind = end;
      const search = async () => {
        const at = offset;
        const { objects, endOffset } = await this.listAt(log, at);
        behind = endOffset;
        return this.deps.reader.findSince(
          {
            topicId: log.topicId,
            partition: log.partition,
            objects,
            offset: at,
            maxBytes: this.deps.lookupBytes,
            deadline,
            limitOffset: end,
          },
          time,
        );
      };
      const batch = await twiceIfStale(search);
      if (batch === null) {
        offset = behind;
        continue;
      }
      try {
        const range = batch.ranges[0];
        if (range === undefined) return null;
        const found = await this.firstAtLeast(lookup, time, range.position, range.length);
        if (found !== null) return found;
        // Only the header promised so late a timestamp.
        offset = batch.nextOffset;
      } finally {
        batch.release();
      }
    }
    return null;
  }

  private async byMaxTimestamp(lookup: Lookup): Promise<Found | null> {
    const { log } = lookup;
    let best = -1;
    const covered = this.imageOf(log)?.manifest?.endOffset ?? 0;
    const old = covered === 0 ? [] : (await twiceIfStale(() => this.listAt(log, covered - 1))).objects;
    for (const range of [...old, ...(this.imageOf(log)?.objects ?? [])]) {
      if (range.endOffset > log.startOffset && range.maxTimestamp > best) best = range.maxTimestamp;
    }
    const { journal, tail } = log;
    for (let i = 0; i < tail.count && tail.at(i) < journal.durable; i++) {
      best = Math.max(best, journal.maxTimestamp[journal.slot(tail.at(i))]!);
    }
    if (best < 0) return null;
    return (await this.byTime(lookup, best)) ?? this.largestBelow(lookup, best);
  }

  /**
   * The record with the largest timestamp where no record has the one that headers and lists promise: it lies below the log start.
   * Halves the times between, some fifty lookups at most: there is no list of the records in a batch.
   */
  private async largestBelow(lookup: Lookup, promised: number): Promise<Found | null> {
    let found = await this.byTime(lookup, 0);
    if (found === null) return null;
    let missing = promised;
    while (missing - found.timestamp > 1) {
      const middle = found.timestamp + Math.ceil((missing - found.timestamp) / 2);
      const later = await this.byTime(lookup, middle);
      if (later === null) missing = middle;
      else found = later;
    }
    return found;
  }

  /** Has one batch opened and finds its first record at or above the time and the log start. */
  private async firstAtLeast(
    lookup: Lookup,
    time: number,
    position: number,
    length: number,
  ): Promise<Found | null> {
    const { log } = lookup;
    const { records, monotonic } = this.deps;
    if (monotonic() > lookup.deadline || lookup.unpackedBytes > lookupUnpackedMax)
      throw new MillraceError('exhausted', 'LOOKUP_LIMIT', 'a lookup by time had to open too many batches');
    const task = {
      kind: 'search',
      position,
      length,
      time,
      startOffset: log.startOffset,
      decompressedBytesMax: lookupDecompressedMax,
    } as const;
    const result = await new Promise<RecordTaskResult | null>((resolve) => records.run(task, resolve));
    if (result?.kind !== 'search')
      throw new MillraceError('unavailable', 'LOOKUP_LIMIT', 'too many batches wait to be unpacked');
    if (result.error !== null) throw errorFromWire(result.error);
    lookup.unpackedBytes += result.unpackedBytes;
    return result.offset < 0 ? null : { offset: result.offset, timestamp: result.timestamp };
  }
}

/** Entry of the first durable batch in memory that reaches `offset` and claims a time of `time` or later; −1 = none. */
function nextInTail(log: PartitionLog, offset: number, time: number): number {
  const { journal, tail } = log;
  for (let i = 0; i < tail.count; i++) {
    const entry = tail.at(i);
    if (entry >= journal.durable) break;
    const slot = journal.slot(entry);
    if (journal.lastOffset[slot]! >= offset && journal.maxTimestamp[slot]! >= time) return entry;
  }
  return -1;
}

/** The reader gets nothing, asks again, and is told where the log begins now. */
function overtaken(offset: number): MillraceError {
  return new MillraceError(
    'exhausted',
    'READ_OVERTAKEN',
    `offset ${offset} has left the log during the read`,
  );
}

/** What a list named may be gone since it was looked up: then once more, with the newest. */
function twiceIfStale<T>(attempt: () => Promise<T>): Promise<T> {
  return attempt().catch((error: unknown) =>
    hasCode(error, 'OBJECT_GONE') || hasCode(error, 'MANIFEST_GONE') ? attempt() : Promise.reject(error),
  );
}
