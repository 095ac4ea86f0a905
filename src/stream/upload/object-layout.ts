/**
 * First pass of an upload: reads the batch headers of a plan and decides the blocks, their order and size. No data byte
 * is touched. Any thread; the arena ranges of the plan must be referenced by the caller until the upload has ended.
 *
 * A block ends where the leader epoch changes, before it would exceed 1 MiB, and where offsets lie 2^32 apart. A header that
 * stands for lost offsets has a block of its own, which readers know by its size.
 * The plan is checked against the bytes: a batch that is not where the plan says, or offsets that are not contiguous,
 * refuse the upload (UPLOAD_PLAN), because a hole stored here could never be told from lost data.
 */
import type { Arena } from '../../ports/arena.ts';
import {
  baseOffsetOf,
  batchBytesOf,
  batchHeaderBytes,
  currentMagic,
  keptTimestampOf,
  lastOffsetOf,
  leaderEpochOf,
  magicOf,
} from '../../protocol/records/batch-header.ts';
import { isLost } from '../../protocol/records/lost-batch.ts';
import { grown } from '../columns.ts';
import { BlockRows } from '../objects/block-rows.ts';
import { blockBytesMax, requirePlan } from '../objects/object-format.ts';
import { compareStreams, type StreamRow } from '../objects/object-index.ts';
import type { StreamDelta, StreamState, UploadPlan } from '../objects/objects.ts';

/**
 * Blocks whose contiguous pieces average less than this are copied together instead of being sent piece by piece.
 * A piece costs a view (80–260 ns) and a chunk's way through the HTTP client (about 2 µs: stream bookkeeping, an
 * I/O vector, a callback); a copied byte costs 0.24 ns. 2 µs ÷ 0.24 ns ≈ 8 KiB.
 */
export const scatterBytesMin = 8 << 10;

/** Blocks of an upload: where their batches are, besides. */
export class BlockTable extends BlockRows {
  /** First batch of the block, counted within its stream's delta. */
  firstBatch = new Uint32Array(64);
  batchCount = new Uint32Array(64);
  /** Contiguous pieces in the arena. */
  pieces = new Uint32Array(64);

  /** The block is copied into staging memory rather than sent from where it lies. */
  staged(block: number): boolean {
    return this.size[block]! / this.pieces[block]! < scatterBytesMin;
  }

  protected override grow(rows: number): void {
    super.grow(rows);
    this.firstBatch = grown(this.firstBatch, new Uint32Array(rows));
    this.batchCount = grown(this.batchCount, new Uint32Array(rows));
    this.pieces = grown(this.pieces, new Uint32Array(rows));
  }
}

export interface LaidOutStream extends StreamRow {
  readonly delta: StreamDelta | null;
  readonly state: StreamState | null;
  readonly firstBlock: number;
  /** Of the blocks here; −1 when there is none. */
  readonly maxTimestamp: number;
  /** Of the blocks here. */
  readonly bytes: number;
}

export interface ObjectLayout {
  /** In the order of the index. */
  readonly streams: readonly LaidOutStream[];
  readonly blocks: BlockTable;
  readonly dataBytes: number;
  readonly stagedBytes: number;
}

export function layOut(plan: UploadPlan, arena: Arena): ObjectLayout {
  const parts: {
    topicId: string;
    partition: number;
    delta: StreamDelta | null;
    state: StreamState | null;
  }[] = [];
  for (const delta of plan.streams) {
    parts.push({ topicId: delta.topicId, partition: delta.partition, delta, state: null });
  }
  for (const state of plan.states) {
    parts.push({ topicId: state.topicId, partition: state.partition, delta: null, state });
  }
  requirePlan(parts.length > 0, 'nothing to upload');
  parts.sort(compareStreams);

  const blocks = new BlockTable();
  const streams: LaidOutStream[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    const next = parts[i + 1];
    let { delta, state } = part;
    if (next !== undefined && compareStreams(part, next) === 0) {
      requirePlan(delta === null || next.delta === null, `${part.topicId}/${part.partition} twice`);
      requirePlan(state === null || next.state === null, `two states of ${part.topicId}/${part.partition}`);
      delta ??= next.delta;
      state ??= next.state;
      i++;
    }
    streams.push(layOutStream(part.topicId, part.partition, delta, state, blocks, arena));
  }

  let dataBytes = 0;
  let stagedBytes = 0;
  for (let b = 0; b < blocks.count; b++) {
    dataBytes += blocks.size[b]!;
    if (blocks.staged(b)) stagedBytes += blocks.size[b]!;
  }
  return { streams, blocks, dataBytes, stagedBytes };
}

function layOutStream(
  topicId: string,
  partition: number,
  delta: StreamDelta | null,
  state: StreamState | null,
  blocks: BlockTable,
  arena: Arena,
): LaidOutStream {
  requirePlan(
    Number.isInteger(partition) && partition >= 0 && partition <= 0x7fffffff,
    `partition ${partition}`,
  );
  const firstBlock = blocks.count;
  let maxTimestamp = -1;
  let bytes = 0;
  let baseOffset = state?.endOffset ?? 0;
  let endOffset = baseOffset;
  if (delta !== null) {
    layOutBlocks(delta, blocks, arena);
    baseOffset = delta.baseOffset;
    endOffset = delta.endOffset;
    if (blocks.count > firstBlock) maxTimestamp = blocks.maxTimestamp[firstBlock]!;
    for (let b = firstBlock; b < blocks.count; b++) {
      maxTimestamp = Math.max(maxTimestamp, blocks.maxTimestamp[b]!);
      bytes += blocks.size[b]!;
    }
  }
  requirePlan(
    state === null || delta === null || state.endOffset >= endOffset,
    `state of ${topicId}/${partition} ends at ${state?.endOffset}, its data at ${endOffset}`,
  );
  const entryCount = blocks.count - firstBlock;
  return {
    topicId,
    partition,
    baseOffset,
    endOffset,
    entryCount,
    delta,
    state,
    firstBlock,
    maxTimestamp,
    bytes,
  };
}

function layOutBlocks(delta: StreamDelta, blocks: BlockTable, arena: Arena): void {
  const name = `${delta.topicId}/${delta.partition}`;
  const { positions, lengths } = delta;
  const view = arena.view;
  requirePlan(
    positions.length === lengths.length && positions.length > 0,
    `${name}: ${positions.length} batches`,
  );
  let offset = delta.baseOffset;
  let block = -1;
  let behind = -1;
  let alone = false;
  for (let i = 0; i < positions.length; i++) {
    const at = positions[i]!;
    const length = lengths[i]!;
    requirePlan(
      length >= batchHeaderBytes && at >= 0 && at + length <= view.byteLength,
      `${name}: batch ${i} at ${at}`,
    );
    const base = baseOffsetOf(view, at);
    const last = lastOffsetOf(view, at);
    const epoch = leaderEpochOf(view, at);
    const timestamp = keptTimestampOf(view, at);
    requirePlan(
      magicOf(view, at) === currentMagic && batchBytesOf(view, at) === length,
      `${name}: no batch at ${at}`,
    );
    requirePlan(
      base === offset && last >= base,
      `${name}: batch ${i} holds ${base}–${last}, expected ${offset}`,
    );
    const lost = isLost(view, at);
    const fits =
      block !== -1 &&
      !alone &&
      !lost &&
      blocks.leaderEpoch[block] === epoch &&
      blocks.size[block]! + length <= blockBytesMax &&
      last - blocks.baseOffset[block]! <= 0xffff_ffff;
    if (!fits) {
      requirePlan(
        block === -1 || epoch >= blocks.leaderEpoch[block]!,
        `${name}: leader epoch ${epoch} goes back`,
      );
      block = blocks.add();
      blocks.leaderEpoch[block] = epoch;
      blocks.baseOffset[block] = base;
      blocks.maxTimestamp[block] = timestamp;
      blocks.firstBatch[block] = i;
      blocks.size[block] = 0;
      blocks.batchCount[block] = 0;
      blocks.pieces[block] = 0;
      behind = -1;
    }
    if (at !== behind) blocks.pieces[block]!++;
    alone = lost;
    blocks.size[block]! += length;
    blocks.batchCount[block]!++;
    blocks.lastOffset[block] = last;
    if (timestamp > blocks.maxTimestamp[block]!) blocks.maxTimestamp[block] = timestamp;
    behind = at + length;
    offset = last + 1;
  }
  requirePlan(
    offset === delta.endOffset,
    `${name}: batches end at ${offset}, the delta at ${delta.endOffset}`,
  );
}
