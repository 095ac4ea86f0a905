/** What must hold of a compacted log, whatever was written and however it was cleaned (see clean-world.ts). */
import assert from 'node:assert/strict';
import type { CleanWorld, StoredBatch, Written } from './clean-world.ts';

/** Committed records, the newest of each key; tombstones count as no value. */
function valuesOf(records: Iterable<{ readonly key: string; readonly value: string | null }>) {
  const values = new Map<string, string>();
  for (const { key, value } of records)
    if (value === null) values.delete(key);
    else values.set(key, value);
  return values;
}

/** Records that a reader of committed records is given. */
async function committedRecords(world: CleanWorld, batches: readonly StoredBatch[]) {
  const aborted = await world.abortedTold();
  const told = (batch: StoredBatch): boolean =>
    aborted.some(
      (txn) =>
        txn.producerId === batch.producerId &&
        txn.firstOffset <= batch.baseOffset &&
        txn.lastOffset >= batch.baseOffset,
    );
  return batches
    .filter((batch) => !batch.control && batch.baseOffset < world.lastStable)
    .filter((batch) => !(batch.transactional && told(batch)))
    .flatMap(({ records }) => records)
    .filter(({ offset }) => offset >= world.image.startOffset);
}

/** Holds everything that is stored against the model; returns the batches. */
export async function assertSound(world: CleanWorld): Promise<readonly StoredBatch[]> {
  const batches = await world.stored();
  const { startOffset, manifest } = world.image;
  const cleanedTo = manifest === null ? 0 : (await world.manifest()).cleanedTo;
  assert.ok(cleanedTo <= world.lastStable, `cleaned to ${cleanedTo}, behind ${world.lastStable}`);
  const written = new Map<number, Written>(world.records.map((record) => [record.offset, record]));
  const seen = new Set<number>();
  const cleaned = new Set<string>();
  for (const { records, control, producerId } of batches) {
    if (control) continue;
    for (const { offset, key, value } of records) {
      const model = written.get(offset);
      assert.deepEqual([offset, key, value], [model?.offset, model?.key, model?.value]);
      if (model?.txn != null) assert.equal(producerId, model.txn.producerId);
      seen.add(offset);
      if (offset >= cleanedTo || offset < startOffset) continue;
      assert.notEqual(model!.txn?.outcome, 'aborted', `aborted record ${offset} is there`);
      assert.ok(!cleaned.has(key), `${key} twice below ${cleanedTo}`);
      cleaned.add(key);
    }
  }
  // What was not cleaned is untouched.
  for (const { offset } of world.records)
    if (offset >= Math.max(cleanedTo, startOffset) && offset < world.uploaded)
      assert.ok(seen.has(offset), `record ${offset} is lost behind ${cleanedTo}`);
  const live = world.records.filter(
    ({ offset, txn }) =>
      offset >= startOffset && offset < world.lastStable && (txn === null || txn.outcome === 'committed'),
  );
  assert.deepEqual(valuesOf(await committedRecords(world, batches)), valuesOf(live), 'newest values');
  assertMarkers(world, batches);
  assertProducers(world, batches);
  // Readers come to the end of the log.
  if (world.uploaded > startOffset) assert.equal(batches.at(-1)?.lastOffset, world.uploaded - 1);
  return batches;
}

/** Data of a transaction that has ended is followed by a marker. */
function assertMarkers(world: CleanWorld, batches: readonly StoredBatch[]): void {
  const unmarked = new Map<number, number>();
  for (const { control, transactional, producerId, baseOffset } of batches) {
    if (control) unmarked.delete(producerId);
    else if (transactional && !unmarked.has(producerId)) unmarked.set(producerId, baseOffset);
  }
  for (const [producerId, first] of unmarked)
    assert.ok(world.open.has(producerId), `no marker behind ${first} of producer ${producerId}`);
}

function assertProducers(world: CleanWorld, batches: readonly StoredBatch[]): void {
  const ends = new Set(batches.map(({ lastOffset, producerId }) => `${producerId} ${lastOffset}`));
  for (const [producerId, last] of world.lastData)
    if (last < world.uploaded && last >= world.image.startOffset)
      assert.ok(ends.has(`${producerId} ${last}`), `the last batch of producer ${producerId} is gone`);
}
