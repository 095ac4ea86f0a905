/**
 * What log compaction has to know of transactions while it goes over a log: which batches are of aborted ones, which markers
 * still have data in front of them, and which transactions are open at an offset. One owner; a pass shows it every batch of
 * the rewritten sources in order.
 *
 * A marker may go only when none of its transaction's batches was seen in the same pass (KIP-98: a reader must not take data
 * without its marker for an open transaction). Batches without records count: they are there.
 */
import {
  attributesOf,
  baseOffsetOf,
  isControl,
  isTransactional,
  producerIdOf,
} from '../../protocol/records/batch-header.ts';
import type { AbortedTxn } from '../objects/objects.ts';

interface Ahead {
  readonly txns: readonly AbortedTxn[];
  next: number;
}

export class TransactionWatch {
  /** By producer, ascending by first offset. */
  readonly #aborted = new Map<number, Ahead>();
  /** First batch seen of transactions whose marker was not. */
  readonly #seen = new Map<number, number>();

  constructor(aborted: readonly AbortedTxn[]) {
    const byProducer = new Map<number, AbortedTxn[]>();
    for (const txn of aborted) {
      const known = byProducer.get(txn.producerId);
      if (known === undefined) byProducer.set(txn.producerId, [txn]);
      else known.push(txn);
    }
    for (const [producerId, txns] of byProducer)
      this.#aborted.set(producerId, { txns: txns.sort((a, b) => a.firstOffset - b.firstOffset), next: 0 });
  }

  /** Whether the batch is of an aborted transaction. Batches are asked for in order. */
  isAborted(view: DataView, at: number): boolean {
    const attributes = attributesOf(view, at);
    if (!isTransactional(attributes) || isControl(attributes)) return false;
    const ahead = this.#aborted.get(producerIdOf(view, at));
    if (ahead === undefined) return false;
    const base = baseOffsetOf(view, at);
    while (ahead.next < ahead.txns.length && ahead.txns[ahead.next]!.lastOffset < base) ahead.next++;
    const txn = ahead.txns[ahead.next];
    return txn !== undefined && txn.firstOffset <= base;
  }

  /** Notes a batch of data, or takes a marker; returns whether the marker has no data in front of it. */
  pass(view: DataView, at: number, marker: boolean): boolean {
    const attributes = attributesOf(view, at);
    const producerId = producerIdOf(view, at);
    if (marker) return !this.#seen.delete(producerId);
    if (isTransactional(attributes) && !isControl(attributes) && !this.#seen.has(producerId))
      this.#seen.set(producerId, baseOffsetOf(view, at));
    return false;
  }

  /** First offset of the oldest transaction that is open at `end`, as far as its batches are there; else `end`. */
  lastStableAt(end: number): number {
    let stable = end;
    for (const first of this.#seen.values()) if (first < stable) stable = first;
    return stable;
  }
}
