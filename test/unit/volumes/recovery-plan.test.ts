/** Which recovered batches are taken, and in what order: metadata that know more, closed epochs, gaps, several logs. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import type { ProducerEntry } from '../../../src/stream/objects/objects.ts';
import { ProducerFold } from '../../../src/stream/producers/producer-fold.ts';
import { foldHeaders } from '../../../src/volumes/fold-headers.ts';
import { fate, planRecovery } from '../../../src/volumes/recovery-plan.ts';
import { crc32c } from '../../support/load/batches.ts';
import { HandmadeLog, type LoggedBatch } from '../../support/recovered-logs.ts';
import { close, id, logStart, nobody, oid, open, range, topic, upload, wal } from '../metadata/fixtures.ts';
import { producer } from '../stream/manifest/manifests.ts';

type Changes = Parameters<ImageBuilder['apply']>[0];

/** Topics 1 and 2 of one partition, open under epoch 0 in log w1. */
function image(...more: Changes): ImageBuilder {
  const builder = new ImageBuilder();
  builder.apply([wal(), wal('w2'), topic(1), topic(2), open(1, 0, 0, 0), open(2, 0, 0, 0)]);
  builder.apply(more);
  return builder;
}

const at = (...offsets: readonly number[]): LoggedBatch[] =>
  offsets.map((offset) => ({ topicId: id(1), offset }));
const under = (epoch: number, ...offsets: readonly number[]): LoggedBatch[] =>
  at(...offsets).map((batch) => ({ ...batch, epoch }));

/** What becomes of each log's batches: round, `-` dropped, `h` header only. */
function plan(builder: ImageBuilder, logs: readonly (readonly LoggedBatch[])[], salvaged = -1) {
  const recovered = logs.map((batches, i) => {
    const log = new HandmadeLog(`w${i + 1}`, batches, i === salvaged);
    return { logId: log.logId, salvaged: i === salvaged, batches: log.batches };
  });
  const made = planRecovery(recovered, builder.image);
  const word = (value: number): string =>
    value === fate.dropped ? '-' : value === fate.headerOnly ? 'h' : `${value}`;
  return { ...made, words: made.fates.map((fates) => [...fates].map(word).join('')) };
}

describe('the plan of a recovery', () => {
  it('goes on at the end of what objects hold', () => {
    const builder = image(upload(1, oid(1), range(1, 0, 0, 4)));
    const { words, taken, dropped, gaps } = plan(builder, [at(0, 2, 4, 6)]);
    assert.deepEqual([words, taken, dropped, gaps], [['--00'], 2, 2, []]);
  });

  it('ends at the first gap, and says so', () => {
    const { words, gaps } = plan(image(), [at(0, 2, 6, 8)]);
    assert.deepEqual(words, ['00--']);
    assert.deepEqual(gaps, [{ topic: 'topic-1', partition: 0, end: 4, found: 6 }]);
    assert.deepEqual(plan(image(), [at(0, 2, 6, 8)], 0).words, ['0000'], 'salvage fills it');
    const elsewhere = image({ ...open(1, 0, 1, 0), wal: 'w2' } as Changes[number]);
    assert.deepEqual(
      plan(elsewhere, [under(1, 0, 2, 6)], 0).words,
      ['00-'],
      'but for what another log was given',
    );
  });

  it('ends before a batch that ends behind the largest offset, and says so', () => {
    const base = Number.MAX_SAFE_INTEGER - 3;
    const builder = image(logStart(1, 0, base));
    const { words, gaps } = plan(builder, [at(base, base + 2, base + 4)]);
    assert.deepEqual(words, ['0--']);
    assert.deepEqual(gaps, [{ topic: 'topic-1', partition: 0, end: base + 2, found: base + 2 }]);
  });

  it('drops what a closed stream has behind its end', () => {
    assert.deepEqual(plan(image(close(1, 0, 0, 4)), [at(2, 4, 6)]).words, ['---']);
  });

  it('drops what an epoch has behind the end at which it was closed', () => {
    const builder = image(close(1, 0, 0, 4), open(1, 0, 1, 4), upload(1, oid(1), range(1, 0, 0, 4)));
    // Offset 4 of epoch 0 is a write that had failed; epoch 1 gave that offset to another record.
    const { words, gaps } = plan(builder, [[...at(2, 4, 6), ...under(1, 4, 6)]]);
    assert.deepEqual([words, gaps], [['---00'], []]);
  });

  it('drops it in the log that the stream had before, too', () => {
    const second = { ...open(1, 0, 1, 4), wal: 'w2' } as Changes[number];
    const builder = image(close(1, 0, 0, 4), second, upload(1, oid(1), range(1, 0, 0, 4)));
    assert.deepEqual(plan(builder, [at(4, 6), under(1, 4)]).words, ['--', '0']);
    assert.deepEqual(plan(builder, [under(1, 4), at(4, 6)]).words, ['0', '--']);
  });

  it('orders a stream that lies in several logs by epoch and offset', () => {
    const builder = image(open(1, 0, 1, 4), open(1, 0, 2, 8));
    // Epoch 0 and 2 in the second log, epoch 1 in the first, which also holds another stream.
    const first = [...under(1, 4, 6), { topicId: id(2), offset: 0 }];
    const second = [...at(0, 2), ...under(2, 8)];
    const { words, rounds } = plan(builder, [first, second]);
    assert.deepEqual([words, rounds], [['110', '001'], 2]);
    // The other way round each log comes once.
    const turned = plan(builder, [at(0, 2), under(1, 4, 6), under(2, 8)]);
    assert.deepEqual([turned.words, turned.rounds], [['00', '00', '0'], 1]);
  });

  it('does not know streams and epochs that the metadata may be too old for', () => {
    const { words, unknown } = plan(image(), [[{ topicId: id(7), offset: 0 }, ...at(0), ...under(3, 2)]]);
    assert.deepEqual(words, ['-0-']);
    assert.deepEqual([...unknown].sort(), [`${id(1)}/0`, `${id(7)}/0`].sort());
  });

  it('keeps a batch whole into which the log start was moved, unless it is in an object', () => {
    assert.deepEqual(plan(image(logStart(1, 0, 3)), [at(0, 2, 4)]).words, ['h00']);
    const held = image(upload(1, oid(1), range(1, 0, 0, 4)), logStart(1, 0, 3));
    assert.deepEqual(plan(held, [at(0, 2, 4)]).words, ['--0']);
  });
});

describe('producers below the log start', () => {
  interface Written {
    readonly offset: number;
    readonly producerId: number;
    readonly epoch?: number;
    readonly sequence: number;
    readonly topic?: number;
    readonly control?: boolean;
  }
  const log = (...written: readonly Written[]): LoggedBatch[] =>
    written.map(({ topic: n = 1, epoch = 0, ...batch }) => ({
      ...batch,
      topicId: id(n),
      producerEpoch: epoch,
    }));

  async function fold(
    builder: ImageBuilder,
    logs: readonly (readonly LoggedBatch[])[],
    known: readonly ProducerEntry[] = [],
  ): Promise<[producer: number, epoch: number, batches: string][]> {
    const folded = new Map([[`${id(1)}/0`, ProducerFold.of(known)]]);
    const made = logs.map((batches, i) => new HandmadeLog(`w${i + 1}`, batches));
    await foldHeaders(made, plan(builder, logs), folded, crc32c);
    const snapshot = folded.get(`${id(1)}/0`)!.snapshot();
    return snapshot.map(({ producerId, epoch, batches }) => [
      producerId,
      epoch,
      batches.map(({ firstSequence, lastOffset }) => `${firstSequence}@${lastOffset}`).join(' '),
    ]);
  }
  const from = (start: number, ...more: Changes): ImageBuilder => image(logStart(1, 0, start), ...more);

  it('are known by the newest five batches, from any number of logs', async () => {
    const first = log(...[0, 2, 4].map((offset) => ({ offset, producerId: 7, sequence: offset })));
    const second = log(
      ...[6, 8, 10].map((offset) => ({ offset, producerId: 7, sequence: offset })),
      { offset: 12, producerId: 8, sequence: 0 },
      { offset: 14, producerId: 9, sequence: 0 },
    );
    // The last one reaches above the start: it is restored.
    assert.deepEqual(await fold(from(15), [first, second]), [
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
    assert.deepEqual(await fold(from(20), [batches], known), [
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
    assert.deepEqual(await fold(from(7), [batches]), []);
  });

  it('are in objects where those reach the log start', async () => {
    const batches = log({ offset: 0, producerId: 7, sequence: 0 });
    assert.deepEqual(await fold(from(5, upload(1, oid(1), range(1, 0, 0, 10))), [batches]), []);
    // An object that is gone with all it held of producers counts no less.
    assert.deepEqual(await fold(from(5), [batches]), [[7, 0, '0@1']]);
    assert.deepEqual(await fold(from(5, nobody(1, 0, 5)), [batches]), [[7, 0, '0@1']]);
  });
});
