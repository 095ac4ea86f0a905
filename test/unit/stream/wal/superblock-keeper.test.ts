/** Superblocks of an open WAL: a walk through trims, writes and failures beside a model of what must be stated when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { portableCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import { SuperblockKeeper } from '../../../../src/stream/wal/superblock-keeper.ts';
import type { WalCut } from '../../../../src/stream/wal/wal.ts';
import { decodeSuperblock, type Superblock } from '../../../../src/stream/wal/wal-format.ts';
import { alignedBuffer, pageBytes } from '../../../../src/stream/wal/wal-limits.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

const { crc32c } = portableCrc32c();
const id = (letter: string): string => `${letter.repeat(21)}A`;

function first(): Superblock {
  return {
    logId: id('a'),
    clusterId: id('b'),
    generation: 4,
    capacityBytes: 1 << 20,
    writtenBytes: 1 << 16,
    trimPosition: 0,
    trimSequence: 3,
    trimChainCrc: 9,
    durableSequence: 3,
    epoch: 2,
    epochFirstSequence: 1,
    node: 1,
    clean: false,
    corrupt: false,
    commitBytesMax: 1 << 18,
  };
}

const cut = (sequence: number): WalCut => ({ sequence, position: sequence * 4096, chainCrc: sequence + 7 });

function keeper(page = alignedBuffer(pageBytes)) {
  return { page, blocks: new SuperblockKeeper(page, first(), cut(3), crc32c, 100) };
}

test('every write states the newest trim, and who asked for one hears of it when it is durable, in order', () => {
  const random = new SeededRandom(21);
  for (let round = 0; round < 30; round++) {
    const { page, blocks } = keeper();
    let [generation, trimmed, asked, copies] = [4, 3, 3, 0];
    /** Sequence that a write under way states, and those asked for since. */
    let [wanted, told] = [3, 0];
    const waiting: { sequence: number; number: number }[] = [];
    const answers: number[] = [];
    const failures: number[] = [];
    for (let step = 0, number = 0; step < 60; step++) {
      switch (random.below(4)) {
        case 0: {
          const sequence = trimmed + random.below(4);
          const mine = number++;
          blocks.trim(cut(sequence), (error) => (error === null ? answers : failures).push(mine));
          if (sequence <= trimmed) assert.equal(answers.splice(told)[0], mine, 'that is trimmed already');
          else waiting.push({ sequence, number: mine });
          asked = Math.max(asked, sequence);
          break;
        }
        case 1:
          blocks.requireBoth();
          copies = 2;
          break;
        default: {
          assert.equal(blocks.required, copies > 0 || asked > trimmed);
          assert.equal(blocks.bothDone, copies === 0);
          wanted = asked;
          const plan = blocks.prepare(50_000 + step, 10 + step);
          generation++;
          assert.equal(plan.filePosition, (generation % 2) * pageBytes, 'pages take turns');
          assert.deepEqual([plan.count, plan.bytes], [1, pageBytes]);
          assert.deepEqual(decodeSuperblock(page, 0, crc32c), {
            ...first(),
            generation,
            writtenBytes: 50_000 + step,
            durableSequence: 10 + step,
            trimSequence: wanted,
            trimPosition: cut(wanted).position,
            trimChainCrc: wanted === 3 ? cut(3).chainCrc : cut(wanted).chainCrc,
          });
          // Another trim comes while the write is out: it is not in it.
          const later = wanted + 1 + random.below(3);
          const mine = number++;
          if (random.below(2) === 0) {
            blocks.trim(cut(later), (error) => (error === null ? answers : failures).push(mine));
            waiting.push({ sequence: later, number: mine });
            asked = Math.max(asked, later);
          }
          blocks.answer();
          assert.equal(answers.length, told, 'nobody is told of a write that is still out');
          blocks.written(200 + step);
          if (copies > 0) copies--;
          trimmed = wanted;
          assert.equal(blocks.trimmed.sequence, trimmed);
          blocks.answer();
          const due = waiting.filter(({ sequence }) => sequence <= trimmed);
          assert.deepEqual(
            answers.slice(told),
            due.map(({ number: one }) => one),
          );
          told = answers.length;
          for (const one of due) waiting.splice(waiting.indexOf(one), 1);
          assert.equal(blocks.dueAt(10 + step, 50), Number.POSITIVE_INFINITY, 'it is stated');
          assert.equal(blocks.dueAt(11 + step, 50), 250 + step);
        }
      }
    }
    const failure = new Error('the volume is gone');
    blocks.trim(cut(trimmed + 100), (error) => {
      assert.equal(error, failure);
      failures.push(-1);
    });
    blocks.fail(failure);
    blocks.fail(failure);
    assert.equal(answers.length, told);
    assert.deepEqual(failures, [...waiting.map(({ number }) => number), -1], 'each hears of it once');
  }
});

test('at the bound of waiting trims the next one is refused, and nothing else', () => {
  const { blocks } = keeper();
  const errors: (string | null)[] = [];
  for (let i = 0; i < 1_024; i++) blocks.trim(cut(4), (error) => errors.push(error?.message ?? null));
  assert.equal(errors.length, 0);
  blocks.trim(cut(5), (error) => errors.push(error?.message ?? null));
  assert.deepEqual(errors.splice(0), ['1024 trims are waiting']);
  blocks.trim(cut(3), (error) => errors.push(error?.message ?? null));
  assert.deepEqual(errors.splice(0), [null]);
  blocks.prepare(1, 1);
  blocks.written(1);
  blocks.answer();
  assert.equal(errors.length, 1_024);
  assert.equal(blocks.required, false, 'the refused trim was not taken down');
});

test('who is told may ask for the next trim at once', () => {
  const { blocks } = keeper();
  const told: number[] = [];
  blocks.trim(cut(4), () => {
    told.push(4);
    blocks.trim(cut(6), () => told.push(6));
  });
  blocks.trim(cut(5), () => told.push(5));
  for (const expected of [
    [4, 5],
    [4, 5, 6],
  ]) {
    blocks.prepare(1, 1);
    blocks.written(1);
    blocks.answer();
    assert.deepEqual(told, expected);
  }
});
