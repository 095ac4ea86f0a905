/** Runs of a share partition's window: cutting, joining, the start behind what is finished, and what is stored. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { recordStates, type ShareStateBatch } from '../../../../src/log/share/share-api.ts';
import { isFinished, ShareWindow } from '../../../../src/log/share/share-window.ts';

const { available, acquired, acknowledged, archived } = recordStates;

function batch(
  firstOffset: number,
  lastOffset: number,
  deliveryState: number,
  deliveryCount: number,
): ShareStateBatch {
  return { firstOffset, lastOffset, deliveryState, deliveryCount };
}

/** `first-last state/count`, with who holds it. */
function runsOf(window: ShareWindow): string[] {
  return window.runs.map(
    ({ first, last, state, count, member }) => `${first}-${last} ${state}/${count}${member}`,
  );
}

describe('a share window', () => {
  it('begins empty where it is told to', () => {
    const window = new ShareWindow(5);
    assert.deepEqual([window.start, window.next, window.runs], [5, 5, []]);
    assert.deepEqual([window.find(5), window.firstAvailable(), window.finishedCount()], [0, -1, 0]);
    assert.deepEqual([window.cut(0, 10), window.stored()], [[], []]);
  });

  it('is made of stored batches in any order; what they leave out is available', () => {
    const window = new ShareWindow(10, [batch(20, 24, acknowledged, 1), batch(10, 14, available, 2)]);
    assert.deepEqual(runsOf(window), ['10-14 0/2', '15-19 0/0', '20-24 2/1']);
    assert.deepEqual([window.start, window.next, window.finishedCount()], [10, 25, 5]);
  });

  it('takes of stored batches what lies at and behind the start', () => {
    const window = new ShareWindow(10, [
      batch(0, 9, available, 1),
      batch(5, 10, available, 3),
      batch(11, 11, archived, 5),
    ]);
    assert.deepEqual(runsOf(window), ['10-10 0/3', '11-11 4/5']);
  });

  it('moves its start past what is finished, and only from the front', () => {
    const window = new ShareWindow(10, [
      batch(10, 12, acknowledged, 1),
      batch(13, 13, archived, 4),
      batch(14, 14, available, 1),
      batch(15, 16, acknowledged, 1),
    ]);
    assert.deepEqual([window.start, window.next], [14, 17]);
    assert.deepEqual(runsOf(window), ['14-14 0/1', '15-16 2/1']);
    for (const run of window.cut(14, 14)) run.state = archived;
    window.settle();
    assert.deepEqual([window.start, window.next, window.runs], [17, 17, []]);
  });

  it('is extended from where it ends; offsets that it has are not taken again', () => {
    const window = new ShareWindow(3);
    window.extend(2, available, 0);
    assert.deepEqual([window.next, window.runs], [3, []]);
    window.extend(3, acquired, 1, 'm', 70);
    window.extend(3, acquired, 1, 'n', 70);
    window.extend(7, available, 0);
    assert.deepEqual(runsOf(window), ['3-3 1/1m', '4-7 0/0']);
    assert.deepEqual([window.next, window.runs[0]!.until], [8, 70]);
  });

  it('finds the run of an offset', () => {
    const window = new ShareWindow(0);
    for (const [last, count] of [
      [0, 1],
      [4, 2],
      [5, 3],
    ] as const)
      window.extend(last, available, count);
    assert.deepEqual(
      [0, 1, 4, 5, 6, 99].map((offset) => window.find(offset)),
      [0, 1, 1, 2, 3, 3],
    );
  });

  it('is cut where needed, and nowhere else', () => {
    const window = new ShareWindow(0);
    window.extend(9, acquired, 2, 'm', 5);
    window.extend(12, available, 0);
    assert.deepEqual(
      window.cut(3, 10).map(({ first, last, member, until }) => [first, last, member, until]),
      [
        [3, 9, 'm', 5],
        [10, 10, '', 0],
      ],
    );
    assert.deepEqual(runsOf(window), ['0-2 1/2m', '3-9 1/2m', '10-10 0/0', '11-12 0/0']);
    assert.equal(window.cut(3, 9).length, 1);
    assert.equal(window.cut(0, 12).length, 4);
    assert.equal(window.cut(12, 99).length, 1);
    assert.deepEqual(window.cut(13, 99), []);
    window.settle();
    assert.deepEqual(runsOf(window), ['0-9 1/2m', '10-12 0/0'], 'joined again');
  });

  it('joins neighbours only where all is the same', () => {
    const window = new ShareWindow(0);
    window.extend(0, available, 1);
    window.extend(1, available, 2);
    window.extend(2, acquired, 2, 'm', 5);
    window.extend(3, acquired, 2, 'n', 5);
    window.extend(4, acquired, 2, 'n', 6);
    window.extend(5, acquired, 2, 'n', 6);
    window.extend(6, acknowledged, 2);
    window.extend(7, archived, 2);
    window.settle();
    assert.deepEqual(
      window.runs.map(({ first, last }) => [first, last]),
      [
        [0, 0],
        [1, 1],
        [2, 2],
        [3, 3],
        [4, 5],
        [6, 6],
        [7, 7],
      ],
    );
    assert.equal(window.finishedCount(), 2);
  });

  it('says what is available first, from an offset on', () => {
    const window = new ShareWindow(0);
    window.extend(4, acquired, 1, 'm', 1);
    window.extend(9, available, 0);
    window.extend(12, acknowledged, 1);
    window.extend(13, available, 1);
    assert.deepEqual(
      [undefined, 0, 4, 5, 7, 9, 10, 13, 14].map((from) => window.firstAvailable(from)),
      [5, 5, 5, 5, 7, 9, 13, 13, -1],
    );
  });

  it('is stored without deliveries that are under way', () => {
    const window = new ShareWindow(0);
    window.extend(1, acquired, 1, 'm', 5);
    window.extend(3, acquired, 3, 'm', 5);
    window.extend(4, archived, 5);
    window.extend(6, available, 2);
    assert.deepEqual(window.stored(), [
      batch(0, 1, available, 0),
      batch(2, 3, available, 2),
      batch(4, 4, archived, 5),
      batch(5, 6, available, 2),
    ]);
  });

  it('forgets everything when it begins elsewhere', () => {
    const window = new ShareWindow(0, [batch(0, 5, available, 1)]);
    window.restart(40);
    assert.deepEqual([window.start, window.next, window.runs], [40, 40, []]);
  });

  it('has finished what was acknowledged or archived', () => {
    assert.deepEqual([available, acquired, acknowledged, archived].map(isFinished), [
      false,
      false,
      true,
      true,
    ]);
  });
});
