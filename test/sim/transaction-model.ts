/**
 * One transaction as its client knows it, and what readers of committed records may see of it: all of its batches or none. Its
 * outcome is fixed by what the client was told; where the answer to a commit was lost, by the first reader that sees one of them.
 *
 *   open ── commit sent ─► unknown ── told, or seen ─► committed | aborted
 *     └──── abort sent, left open, fenced ───────────► aborted
 */

import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import {
  attributesOf,
  baseOffsetOf,
  batchBytesOf,
  isControl,
  isTransactional,
  lastOffsetDeltaOf,
  producerIdOf,
} from '../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../src/protocol/records/batch-reader.ts';
import { markerType, readMarker } from '../../src/protocol/records/control-marker.ts';
import type { CommittedModel, GroupModel } from './group-model.ts';
import type { PartitionModel } from './model.ts';
import type { SimWorld } from './world.ts';

export type TransactionOutcome = 'open' | 'unknown' | 'committed' | 'aborted';

export class TransactionModel {
  readonly name: string;
  readonly #world: SimWorld;
  #outcome: TransactionOutcome = 'open';
  /** Offsets that were sent with it. */
  offsets: {
    readonly group: GroupModel;
    readonly commits: readonly CommittedModel[];
    readonly number: number;
  } | null = null;

  constructor(world: SimWorld, name: string) {
    this.#world = world;
    this.name = name;
  }

  get outcome(): TransactionOutcome {
    return this.#outcome;
  }

  /** The client is about to ask for a commit: from now on it may be one. */
  asked(): void {
    if (this.#outcome === 'open') this.#outcome = 'unknown';
  }

  /** The client was told, or has made sure that nobody commits it. */
  settle(outcome: 'committed' | 'aborted', why: string): void {
    const before = this.#outcome;
    if (before === outcome) return;
    const fixed = before === 'committed' || before === 'aborted';
    if (fixed || (before === 'open' && outcome === 'committed')) {
      this.#world.fail(`${this.name} is ${before} and was ${outcome}: ${why}`);
      return;
    }
    this.#outcome = outcome;
    if (this.offsets === null) return;
    const { group, commits, number } = this.offsets;
    for (const commit of commits) {
      if (outcome === 'committed') group.acknowledge(commit, number);
      else group.refuse(commit, number);
    }
  }
}

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
}

const cursor = new RecordCursor();
const codecs = createCodecs();

/**
 * Judges what a read of committed records brought, as clients do it: aborted transactions begin where the answer says and end at
 * their marker. Returns the ids of the batches that a client would hand on.
 */
export function committedBatches(
  log: PartitionModel,
  bytes: Buffer,
  aborted: readonly AbortedTransaction[],
): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pending = [...aborted].sort((a, b) => Number(a.firstOffset) - Number(b.firstOffset));
  const inAborted = new Set<number>();
  const visible: number[] = [];
  for (let at = 0; at + 61 <= bytes.length; at += batchBytesOf(view, at)) {
    const length = batchBytesOf(view, at);
    if (at + length > bytes.length) break;
    const attributes = attributesOf(view, at);
    const producerId = producerIdOf(view, at);
    const lastOffset = baseOffsetOf(view, at) + lastOffsetDeltaOf(view, at);
    while (pending.length > 0 && Number(pending[0]!.firstOffset) <= lastOffset)
      inAborted.add(Number(pending.shift()!.producerId));
    if (isControl(attributes)) {
      if (readMarker(view, at)?.type === markerType.abort) inAborted.delete(producerId);
      continue;
    }
    cursor.open(bytes.subarray(at, at + length), 0, length, codecs, 1 << 24);
    if (!cursor.next() || cursor.keyLength !== 4) continue;
    const id = cursor.bytes.readUInt32BE(cursor.keyPosition);
    const transaction = log.batches.get(id)?.transaction ?? null;
    const isAborted = isTransactional(attributes) && inAborted.has(producerId);
    if (transaction !== null)
      transaction.settle(isAborted ? 'aborted' : 'committed', `batch ${id} in ${log.name} is read so`);
    if (!isAborted) visible.push(id);
  }
  return visible;
}
