/** Headers of batches that a write-ahead log holds below the log start, folded into what is known of their producers. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import { foldBelowStart } from '../../../src/ownership/producers-below-start.ts';
import { streamId } from '../../../src/ports/stream-id.ts';
import type { ProducerEntry } from '../../../src/stream/objects/objects.ts';
import { ProducerFold } from '../../../src/stream/producers/producer-fold.ts';
import { RecoveredBatches } from '../../../src/stream/wal/recovered-batches.ts';
import { descriptorAt } from '../../../src/stream/wal/wal-format.ts';
import { crc32c, sequencedBatch } from '../../support/load/batches.ts';
import { id, logStart, open, range, topic, upload, wal } from '../metadata/fixtures.ts';
import { producer } from '../stream/manifest/manifests.ts';

interface Written {
  readonly offset: number;
  readonly producerId: number;
  readonly epoch?: number;
  readonly sequence: number;
  readonly topic?: number;
  readonly control?: boolean;
}

/** Two records each. */
function log(...written: Written[]): RecoveredBatches {
  const batches = new RecoveredBatches();
  for (const { offset, producerId, epoch = 0, sequence, topic: n = 1, control = false } of written) {
    const values = [Buffer.from('a'), Buffer.from('b')];
    const batch = sequencedBatch({ producerId, producerEpoch: epoch }, sequence, values, 1_000 + offset);
    batch.writeBigInt64BE(BigInt(offset), 0);
    if (control) batch.writeInt16BE(0x20, 21);
    const head = Buffer.alloc(96);
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    for (const [w, word] of streamId(id(n), 0).words.entries()) view.setInt32(4 * w, word, true);
    batch.copy(head, descriptorAt.header, 0, 61);
    batches.add(head, view, 0, 0, offset);
  }
  return batches;
}

async function fold(
  image: ImageBuilder,
  wals: readonly RecoveredBatches[],
  known: readonly ProducerEntry[] = [],
): Promise<[producer: number, epoch: number, batches: string][]> {
  const folded = new Map([[`${id(1)}/0`, ProducerFold.of(known)]]);
  const logs = wals.map((batches) => ({ recovered: { batches }, bytes: null }));
  await foldBelowStart(image.image, logs, crc32c, folded);
  const snapshot = folded.get(`${id(1)}/0`)!.snapshot();
  return snapshot.map(({ producerId, epoch, batches }) => [
    producerId,
    epoch,
    batches.map(({ firstSequence, lastOffset }) => `${firstSequence}@${lastOffset}`).join(' '),
  ]);
}

function image(startOffset: number, ...more: Parameters<ImageBuilder['apply']>[0]): ImageBuilder {
  const builder = new ImageBuilder();
  builder.apply([wal(), topic(1), topic(2), open(1, 0, 0, 0), open(2, 0, 0, 0), logStart(1, 0, startOffset)]);
  builder.apply(more);
  return builder;
}

describe('producers below the log start', () => {
  it('are known by the newest five batches, from any number of logs', async () => {
    const first = log(...[0, 2, 4].map((offset) => ({ offset, producerId: 7, sequence: offset })));
    const second = log(
      ...[6, 8, 10].map((offset) => ({ offset, producerId: 7, sequence: offset })),
      { offset: 12, producerId: 8, sequence: 0 },
      { offset: 14, producerId: 9, sequence: 0 },
    );
    // The last one reaches above the start: it is restored.
    assert.deepEqual(await fold(image(15), [first, second]), [
      [7, 0, '2@3 4@5 6@7 8@9 10@11'],
      [8, 0, '0@13'],
    ]);
  });

  it('begin anew with an epoch, and are not taken back behind what is known', async () => {
    const known = [producer(7, 9, { epoch: 3 }), producer(8, 30, { epoch: 3 })];
    const batches = log(
      { offset: 8, producerId: 7, epoch: 2, sequence: 50 },
      { offset: 10, producerId: 7, epoch: 3, sequence: 5 },
      { offset: 12, producerId: 8, epoch: 2, sequence: 0 },
      { offset: 14, producerId: 9, epoch: 0, sequence: 0 },
      { offset: 16, producerId: 9, epoch: 1, sequence: 0 },
    );
    assert.deepEqual(await fold(image(20), [batches], known), [
      [7, 3, '0@9 5@11'],
      [8, 3, '0@30'],
      [9, 1, '0@17'],
    ]);
  });

  it('leave out plain batches, other streams and those that are loaded', async () => {
    const batches = log(
      { offset: 0, producerId: -1, sequence: -1 },
      { offset: 4, producerId: 6, sequence: 0, topic: 2 },
      { offset: 6, producerId: 7, sequence: 0 },
    );
    assert.deepEqual(await fold(image(7), [batches]), []);
  });

  it('are in objects where those reach the log start', async () => {
    const batches = log({ offset: 0, producerId: 7, sequence: 0 });
    assert.deepEqual(
      await fold(image(5, upload(1, '01'.padStart(16, '0'), range(1, 0, 0, 10))), [batches]),
      [],
    );
    assert.deepEqual(await fold(image(5), [batches]), [[7, 0, '0@1']]);
  });
});
