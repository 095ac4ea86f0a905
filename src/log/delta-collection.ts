/**
 * What one shard contributes to an upload of one volume, in parts: an upload of small batches has half a million, and one of
 * many partitions ten thousand streams, and each part is made and sent in one turn of the shard's loop.
 *
 *   journal   … │ uploaded ────────── the delta ────────── end │ newer than the cut …
 *                 log A: entries, then its producers ─ log B ─ …   then states and ends of the streams that are named
 *
 * The cut does not move meanwhile: the entries stay in the journal until they are uploaded, and one upload of a volume runs at a
 * time. A log is told whole, as of the turn in which its last entry is read; one that is deleted before is left out.
 */
import type { Arena } from '../ports/arena.ts';
import { MillraceError } from '../ports/errors.ts';
import type { StreamDelta, StreamState } from '../stream/objects/objects.ts';
import { deltaProducers } from '../stream/producers/batch-fold.ts';
import type { AppendJournal } from './append-journal.ts';
import type { PartitionLog } from './partition-log.ts';

export interface StreamName {
  readonly topicId: string;
  readonly partition: number;
}

/** How far a stream that was named for a collect has come. */
export interface HeldEnd extends StreamName {
  /** End of what was appended. */
  readonly endOffset: number;
  /** End of what objects hold, once those of this very delta are committed. */
  readonly heldEnd: number;
}

/** A part of what one shard contributes, or all of it. */
export interface CollectedDelta {
  readonly volume: number;
  /** Journal entry behind the last one collected; given back to `uploaded`. */
  readonly end: number;
  readonly bytes: number;
  readonly streams: readonly StreamDelta[];
  /** Of the streams that were named, those that producers have written to. */
  readonly states: readonly StreamState[];
  readonly ends: readonly HeldEnd[];
  /** Another part follows. */
  readonly more: boolean;
}

export interface CollectionDeps {
  readonly arena: Arena;
  readonly journal: AppendJournal;
  /** Those of all journals; goes on while logs come and go. */
  readonly logs: Iterator<PartitionLog>;
  find(stream: StreamName): PartitionLog | undefined;
  now(): number;
}

/** In terms of reading one entry: looking at a log that has nothing, making a stream of one that has, a producer's entry. */
const workOf = { log: 1, stream: 64, producer: 8 } as const;

interface Filling {
  readonly log: PartitionLog;
  readonly positions: Float64Array;
  readonly lengths: Uint32Array;
  filled: number;
  bytes: number;
  /** Entry that is read next. */
  entry: number;
}

interface Part {
  bytes: number;
  readonly streams: StreamDelta[];
  readonly states: StreamState[];
  readonly ends: HeldEnd[];
}

export class DeltaCollection {
  readonly #deps: CollectionDeps;
  readonly #from: number;
  readonly #end: number;
  readonly #named: readonly StreamName[];
  /** Positions of named streams, which their states may need. */
  readonly #positions = new Map<PartitionLog, Float64Array>();
  readonly #wanted = new Set<PartitionLog>();
  #filling: Filling | null = null;
  #logsEnded = false;
  #namedDone = 0;

  /** @param commit the WAL cut: newest commit that belongs to the delta. */
  constructor(deps: CollectionDeps, commit: number, named: readonly StreamName[]) {
    this.#deps = deps;
    this.#from = deps.journal.uploaded;
    this.#end = deps.journal.endOfCut(commit);
    this.#named = named;
    for (const stream of named) {
      const log = deps.find(stream);
      if (log !== undefined) this.#wanted.add(log);
    }
  }

  /** The next part: about as much as `work` entries take to read, and at least something. */
  next(work: number): CollectedDelta {
    const { journal } = this.#deps;
    if (journal.uploaded !== this.#from)
      throw new MillraceError(
        'internal',
        'COLLECT_OVERTAKEN',
        `entries up to ${journal.uploaded} were uploaded while those from ${this.#from} on were collected`,
      );
    const part: Part = { bytes: 0, streams: [], states: [], ends: [] };
    let left = work;
    while (left > 0 && !this.#logsEnded) left -= this.#advance(part, left);
    while (left > 0 && this.#namedDone < this.#named.length) left -= this.#tellNamed(part);
    const more = !this.#logsEnded || this.#namedDone < this.#named.length;
    return { volume: journal.volume, end: this.#end, more, ...part };
  }

  /** @returns work done. */
  #advance(part: Part, left: number): number {
    const filling = this.#filling;
    if (filling === null) return this.#begin();
    const done = this.#fill(filling, left);
    const { log, positions } = filling;
    if (filling.filled < positions.length) return done;
    this.#filling = null;
    // Deleted since: nobody wants it any more.
    if (this.#deps.find(log) !== log) return done;
    if (this.#wanted.has(log)) this.#positions.set(log, positions);
    const stream = this.#streamOf(filling);
    part.streams.push(stream);
    part.bytes += filling.bytes;
    return done + stream.producers.length * workOf.producer;
  }

  #begin(): number {
    const { logs, journal } = this.#deps;
    const { value: log, done } = logs.next();
    if (done === true) {
      this.#logsEnded = true;
      return 0;
    }
    if (log.journal !== journal) return workOf.log;
    const count = log.tail.firstFrom(this.#end) - log.tail.firstFrom(this.#from);
    if (count === 0) return workOf.log;
    this.#filling = {
      log,
      positions: new Float64Array(count),
      lengths: new Uint32Array(count),
      filled: 0,
      bytes: 0,
      entry: this.#from,
    };
    return workOf.stream;
  }

  #fill(filling: Filling, left: number): number {
    const { journal } = this.#deps;
    const { log, positions, lengths, filled } = filling;
    // Older entries may have been evicted since: what has a place here is found by its number.
    const at = log.tail.firstFrom(filling.entry) - filled;
    const end = Math.min(positions.length, filled + left);
    for (let i = filled; i < end; i++) {
      const s = journal.slot(log.tail.at(at + i));
      positions[i] = journal.position[s]!;
      lengths[i] = journal.length[s]!;
      filling.bytes += lengths[i]!;
    }
    filling.filled = end;
    filling.entry = log.tail.at(at + end - 1) + 1;
    return end - filled;
  }

  #streamOf({ log, positions, lengths, entry }: Filling): StreamDelta {
    const { journal, arena, now } = this.#deps;
    const { tail, producers, topicId, partition } = log;
    const baseOffset = journal.baseOffset[journal.slot(tail.at(tail.firstFrom(this.#from)))]!;
    const endOffset = journal.lastOffset[journal.slot(entry - 1)]! + 1;
    producers.stored(baseOffset);
    return {
      topicId,
      partition,
      baseOffset,
      endOffset,
      positions,
      lengths,
      producers: deltaProducers(producers, arena.view, positions, baseOffset, endOffset, Math.floor(now())),
      aborted: producers.abortedIn(baseOffset, endOffset),
      lastStableOffset: producers.lastStableAt(endOffset),
    };
  }

  #tellNamed(part: Part): number {
    const name = this.#named[this.#namedDone++]!;
    const { journal, arena, now } = this.#deps;
    const log = this.#deps.find(name);
    if (log === undefined || log.journal !== journal) return workOf.log;
    const { topicId, partition } = name;
    part.ends.push({ topicId, partition, endOffset: log.nextOffset, heldEnd: log.endBelow(this.#end) });
    if (log.producers.size === 0) return workOf.log;
    const state = streamState(log, arena, now(), this.#end, this.#positions.get(log));
    part.states.push(state);
    return workOf.stream + state.producers.length * workOf.producer;
  }
}

/**
 * A start goes back from a state to the end of the objects and reads on from there. What producers wrote it learns again, and
 * better knows already where a log is lost; which transactions were open there it could not tell. So the state is as of
 * what is durable, but of a stream with transactions that began or ended behind the objects as of the objects' end.
 * @param stored first entry that is in no object once the state is named.
 * @param positions of the batches in front of it that no object held so far, where they are known.
 */
export function streamState(
  log: PartitionLog,
  arena: Arena,
  nowMs: number,
  stored: number,
  positions: Float64Array = new Float64Array(0),
): StreamState {
  const { producers, topicId, partition } = log;
  const held = log.endBelow(stored);
  const endOffset = producers.changedSince(held) ? held : Math.max(held, log.highWatermark);
  return {
    topicId,
    partition,
    endOffset,
    lastStableOffset: producers.lastStableAt(endOffset),
    producers: deltaProducers(producers, arena.view, positions, 0, endOffset, Math.floor(nowMs)),
  };
}
