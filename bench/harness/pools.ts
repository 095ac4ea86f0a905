/** Pool files of one scenario, each shape made once. */
import { join } from 'node:path';
import { type BatchShape, type PoolFacts, writePool } from '../clients/batch-pool.ts';

const made = new Map<string, PoolFacts>();

export interface Pool extends PoolFacts {
  readonly path: string;
}

/** @param inFlight batches that may be under way at once. */
export function poolFor(directory: string, shape: BatchShape, inFlight: number): Pool {
  const name = `${shape.codec}-${shape.content}-${shape.recordsPerBatch}x${shape.valueBytes}-${inFlight}`;
  const path = join(directory, name);
  let facts = made.get(path);
  if (facts === undefined) {
    facts = writePool(path, shape, inFlight);
    made.set(path, facts);
  }
  return { ...facts, path };
}
