/**
 * The stored delivery states of a share partition as batches without overlap, ascending. Of an offset the higher delivery count
 * wins, then the higher state: states of one epoch only ever go that way, so batches may be put in any order and more than
 * once with the same outcome. The log of the share coordinator is rewritten by the key (runtime/log-snapshot.ts), which may
 * repeat older records behind newer ones. Kafka combines them by the same rule.
 */
import type { StateBatch } from './share-state-api.ts';

/** Returns new batches; what lies below the start offset is left out. */
export function combineBatches(
  batches: readonly StateBatch[],
  more: readonly StateBatch[],
  startOffset: number,
): StateBatch[] {
  const edges = new Set<number>();
  const all = [...batches, ...more].filter(({ lastOffset }) => lastOffset >= startOffset);
  for (const { firstOffset, lastOffset } of all) {
    edges.add(Math.max(firstOffset, startOffset));
    edges.add(lastOffset + 1);
  }
  const cuts = [...edges].sort((a, b) => a - b);
  const best: (StateBatch | null)[] = cuts.map(() => null);
  const indexOf = new Map(cuts.map((cut, index) => [cut, index]));
  for (const batch of all) {
    const from = indexOf.get(Math.max(batch.firstOffset, startOffset))!;
    const to = indexOf.get(batch.lastOffset + 1)!;
    for (let i = from; i < to; i++) if (wins(batch, best[i]!)) best[i] = batch;
  }
  const combined: StateBatch[] = [];
  for (let i = 0; i + 1 < cuts.length; i++) {
    const found = best[i]!;
    if (found === null) continue;
    const { deliveryState, deliveryCount } = found;
    const before = combined[combined.length - 1];
    const joins =
      before !== undefined &&
      before.lastOffset + 1 === cuts[i] &&
      before.deliveryState === deliveryState &&
      before.deliveryCount === deliveryCount;
    const lastOffset = cuts[i + 1]! - 1;
    if (joins) combined[combined.length - 1] = { ...before, lastOffset };
    else combined.push({ firstOffset: cuts[i]!, lastOffset, deliveryState, deliveryCount });
  }
  return combined;
}

function wins(batch: StateBatch, over: StateBatch | null): boolean {
  if (over === null || batch.deliveryCount !== over.deliveryCount)
    return over === null || batch.deliveryCount > over.deliveryCount;
  return batch.deliveryState > over.deliveryState;
}
