/**
 * A day of uploads a minute on a file store, planned on the metadata alone: objects and metadata stay functions of what is
 * live, and bytes are copied little. The same with the policy of a bucket, whose copies are free, for comparison.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ImageBuilder } from '../../../../src/metadata/image-builder.ts';
import { encodeImage } from '../../../../src/metadata/image-codec.ts';
import type { ObjectRecord, StreamRange } from '../../../../src/metadata/metadata-store.ts';
import {
  type CompactionPolicy,
  compactionDefaults,
  compactionOfFiles,
  compactionPolicyOf,
} from '../../../../src/stream/compaction/compaction-policy.ts';
import { planCompaction } from '../../../../src/stream/compaction/plan-compaction.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { id, topic, wal } from '../../metadata/fixtures.ts';

const MB = 1_000_000;
const minutes = 24 * 60;

interface Load {
  readonly partitions: number;
  /** Of these, those with data in an upload, and the bytes of one. */
  readonly active: number;
  readonly bytes: number;
}

interface Day {
  readonly live: number;
  readonly objects: number;
  readonly ranges: number;
  readonly imageBytes: number;
  /** Bytes written by merging per byte uploaded. */
  readonly merged: number;
}

/** Ranges of one stream that follow each other are one in the new object. */
function joined(ranges: readonly StreamRange[]): StreamRange[] {
  const sorted = [...ranges].sort((a, b) => a.partition - b.partition || a.baseOffset - b.baseOffset);
  const out: StreamRange[] = [];
  for (const range of sorted) {
    const last = out.at(-1);
    if (last?.partition === range.partition && last.endOffset === range.baseOffset)
      out[out.length - 1] = { ...last, endOffset: range.endOffset, bytes: last.bytes + range.bytes };
    else out.push(range);
  }
  return out;
}

function day({ partitions, active, bytes }: Load, policy: CompactionPolicy): Day {
  const builder = new ImageBuilder();
  const random = new SeededRandom(5);
  builder.apply([topic(1, partitions), wal()]);
  const ends = new Float64Array(partitions);
  let names = 0;
  let uploaded = 0;
  let written = 0;
  const record = (ranges: readonly StreamRange[]): ObjectRecord => ({
    objectId: (++names).toString(16).padStart(16, '0'),
    size: ranges.reduce((sum, range) => sum + range.bytes, 1_000),
    ranges,
  });
  for (let m = 1; m <= minutes; m++) {
    const step = Math.floor(partitions / active);
    const ranges: StreamRange[] = [];
    for (let partition = random.below(step); partition < partitions; partition += step) {
      const baseOffset = ends[partition]!;
      ends[partition] = baseOffset + 10;
      ranges.push({
        topicId: id(1),
        partition,
        baseOffset,
        endOffset: baseOffset + 10,
        maxTimestamp: m,
        bytes: Math.floor(bytes / active),
      });
    }
    uploaded += bytes;
    const freed = { sequence: m, position: 8_192 + m * 4_096, chainCrc: 0 };
    builder.apply([{ type: 'upload', wal: 'w1', freed, timeMs: m, objects: [record(ranges)] }]);
    for (let plan = planCompaction(builder.image, { policy }); plan !== null; ) {
      const added = plan.added.map(({ ranges: selected, sources }) => {
        const wanted = new Set(
          Array.from(selected.partition, (partition, i) => `${partition}/${selected.baseOffset[i]}`),
        );
        const all = sources.flatMap(({ objectId }) => builder.image.objects.get(objectId)!.ranges);
        return record(joined(all.filter((range) => wanted.has(`${range.partition}/${range.baseOffset}`))));
      });
      for (const object of added) written += object.size;
      const due = added.map(({ objectId }) => objectId);
      builder.apply([{ type: 'compacted', removed: plan.removed, added, dueMs: m }]);
      builder.apply([{ type: 'objectsForgotten', objectIds: [...builder.image.dropped.keys()] }]);
      assert.ok(due.length > 0);
      plan = planCompaction(builder.image, { policy });
    }
  }
  let ranges = 0;
  for (const object of builder.image.objects.values()) ranges += object.ranges.length;
  return {
    live: uploaded,
    objects: builder.image.objects.size,
    ranges,
    imageBytes: encodeImage(builder.image).length,
    merged: written / uploaded,
  };
}

describe('a day of uploads on a file store', () => {
  test('the policy follows what a copy costs', () => {
    assert.equal(compactionPolicyOf('free'), compactionDefaults);
    assert.equal(compactionPolicyOf('bytes'), compactionOfFiles);
  });

  const loads: readonly (Load & { readonly mergedMax: number })[] = [
    // 1 MB/s: an upload is larger than what is merged, and no byte is written a third time.
    { partitions: 1, active: 1, bytes: 60 * MB, mergedMax: 0 },
    { partitions: 16, active: 16, bytes: 60 * MB, mergedMax: 0 },
    // 10 KB/s: from 0.6 MB by way of 8 of them to 32 MB at most.
    { partitions: 1, active: 1, bytes: 600_000, mergedMax: 2 },
    { partitions: 16, active: 16, bytes: 600_000, mergedMax: 2 },
    { partitions: 5_000, active: 100, bytes: 600_000, mergedMax: 3 },
  ];
  for (const load of loads) {
    const { partitions, active, bytes, mergedMax } = load;
    test(`${partitions} partitions, ${active} with ${bytes} bytes together a minute`, () => {
      const files = day(load, compactionOfFiles);
      const bucket = day(load, compactionDefaults);
      const told = JSON.stringify({ files, bucket });
      assert.ok(files.merged <= mergedMax, told);
      assert.ok(files.merged <= bucket.merged, told);
      // Those that wait for others (64 of the smallest, 8 of a tier), and what is done: half of the most that is made.
      const objectsMax = 2 * 63 + 8 * 8 + (2 * files.live) / compactionOfFiles.objectBytesMax;
      assert.ok(files.objects <= objectsMax, `${objectsMax}: ${told}`);
      const rangesMax = files.objects + partitions * 64 + (2 * files.live) / compactionOfFiles.goodRunBytes;
      assert.ok(files.ranges <= rangesMax, `${rangesMax}: ${told}`);
      assert.ok(files.imageBytes <= 2_000 + 40 * partitions + 40 * files.ranges + 40 * files.objects, told);
    });
  }
});
