/** A random log of one stream, laid into memory as batches: idempotent producers and transactional ones of both versions. */
import { buildBatch } from '../../../../src/protocol/records/batch-builder.ts';
import { buildControlMarker, markerType } from '../../../../src/protocol/records/control-marker.ts';
import type { SeededRandom } from '../../../support/seeded-random.ts';
import { crc32c } from '../../../support/stream-deltas.ts';

export interface LaidBatch {
  readonly at: number;
  readonly length: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
}

interface Author {
  readonly producerId: number;
  readonly transactional: boolean;
  /** KIP-890: markers bump the epoch, and sequences begin at 0 again. */
  readonly bumps: boolean;
  epoch: number;
  sequence: number;
  open: boolean;
}

/** Batches of at most four records; a transaction ends with one in four events of its producer. */
export function layLog(random: SeededRandom, count: number): { view: DataView; batches: LaidBatch[] } {
  const authors: Author[] = [0, 1, 2, 3, 4].map((i) => ({
    producerId: 100 + i,
    transactional: i > 0,
    bumps: i % 2 === 0,
    epoch: random.below(3),
    sequence: 0,
    open: false,
  }));
  const pieces: Buffer[] = [];
  const batches: LaidBatch[] = [];
  let offset = 0;
  let at = 0;
  // Some producers write a lot at times, so that five batches of theirs lie close together.
  let favourite = authors[0]!;
  for (let i = 0; i < count; i++) {
    if (random.below(8) === 0) favourite = authors[random.below(authors.length)]!;
    const author = random.below(2) === 0 ? favourite : authors[random.below(authors.length)]!;
    const ends = author.open ? random.below(4) === 0 : author.transactional && random.below(20) === 0;
    const batch = ends ? marker(author, random, offset) : data(author, random, offset);
    const records = ends ? 1 : batch.readInt32BE(57);
    pieces.push(batch);
    batches.push({ at, length: batch.length, baseOffset: offset, lastOffset: offset + records - 1 });
    offset += records;
    at += batch.length;
  }
  const bytes = Buffer.concat(pieces);
  return { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), batches };
}

function data(author: Author, random: SeededRandom, baseOffset: number): Buffer {
  // As after a client's own epoch bump (KIP-360).
  if (!author.open && random.below(15) === 0) {
    author.epoch++;
    author.sequence = 0;
  }
  const records = 1 + random.below(4);
  const batch = buildBatch(
    Array.from({ length: records }, () => ({ key: null, value: Buffer.from('v'), timestamp: baseOffset })),
    {
      baseOffset,
      producerId: author.producerId,
      producerEpoch: author.epoch,
      baseSequence: author.sequence,
      transactional: author.transactional,
    },
    crc32c,
  );
  author.sequence += records;
  author.open = author.transactional;
  return batch;
}

function marker(author: Author, random: SeededRandom, baseOffset: number): Buffer {
  author.open = false;
  if (author.bumps) {
    author.epoch++;
    author.sequence = 0;
  }
  return buildControlMarker(
    {
      type: random.below(2) === 0 ? markerType.commit : markerType.abort,
      producerId: author.producerId,
      producerEpoch: author.epoch,
      coordinatorEpoch: Math.floor(baseOffset / 50),
      timestamp: baseOffset,
      baseOffset,
    },
    crc32c,
  );
}
