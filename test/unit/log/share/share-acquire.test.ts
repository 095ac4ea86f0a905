/** What an acquisition takes of a read: whole batches or not a record more, bytes to read, locks, and ever fewer of what fails. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RecordRanges } from '../../../../src/log/partition-handle.ts';
import { type AcquireQuery, acquireFrom } from '../../../../src/log/share/share-acquire.ts';
import { type AcquireLimits, recordStates } from '../../../../src/log/share/share-api.ts';
import { ShareWindow } from '../../../../src/log/share/share-window.ts';
import { type BatchFields, buildBatch } from '../../../../src/protocol/records/batch-builder.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { crc32c } from '../../../support/load/batches.ts';
import { anyLimits } from './share-world.ts';

const { available, acquired, archived } = recordStates;

interface Written extends BatchFields {
  readonly records?: number;
}

/** A log of batches; those that do not say have four records, and all of one size are as long. */
function rig(batches: readonly Written[], window = new ShareWindow(0)) {
  const arena = new HeapArena({ segmentBytes: 64 * 1024, segmentCount: 1 });
  arena.acquire();
  const records = new RecordRanges(arena, () => {});
  const lengths: number[] = [];
  let [at, offset] = [0, 0];
  for (const { records: count = 4, ...fields } of batches) {
    const batch = buildBatch(
      Array.from({ length: count }, () => ({ key: null, value: Buffer.from('v'), timestamp: 1 })),
      { baseOffset: offset, ...fields },
      crc32c,
    );
    batch.copy(arena.buffer, at);
    records.adopt(at, batch.length);
    lengths.push(batch.length);
    at += batch.length;
    offset = (fields.baseOffset ?? offset) + count;
  }
  const take = (limits: Partial<AcquireLimits> = {}, query: Partial<AcquireQuery> = {}) => {
    const got = acquireFrom(window, records, arena.view, {
      from: 0,
      memberId: 'm',
      until: 9,
      limits: { ...anyLimits, ...limits },
      locksMax: 2_000,
      deliveriesMax: 5,
      committed: false,
      aborted: [],
      archive: (run) => {
        run.state = archived;
      },
      ...query,
    });
    return {
      from: got.from,
      bytes: got.bytes,
      ranges: got.ranges
        .map((each) => `${each.firstOffset}-${each.lastOffset}x${each.deliveryCount}`)
        .join(' '),
    };
  };
  const states = () => window.runs.map(({ first, last, state }) => `${first}-${last} ${state}`).join(', ');
  return { window, take, states, bytes: lengths[0]!, lengths };
}

const three = [{}, {}, {}];

describe('an acquisition', () => {
  it('takes whole batches until there are as many records as wanted', () => {
    for (const [recordsMax, batches] of [
      [1, 1],
      [4, 1],
      [5, 2],
      [8, 2],
      [9, 3],
      [99, 3],
    ] as const) {
      const on = rig(three);
      assert.deepEqual(on.take({ recordsMax }), {
        from: 0,
        bytes: batches * on.bytes,
        ranges: `0-${batches * 4 - 1}x1`,
      });
      assert.equal(on.window.next, batches * 4);
    }
  });

  it('takes not a record more where that is said', () => {
    for (const [recordsMax, last, batches] of [
      [1, 0, 1],
      [4, 3, 1],
      [5, 4, 2],
      [12, 11, 3],
      [13, 11, 3],
    ] as const) {
      const on = rig(three);
      const got = on.take({ recordsMax, strict: true });
      assert.deepEqual(got, { from: 0, bytes: batches * on.bytes, ranges: `0-${last}x1` });
      assert.equal(on.window.next, last + 1);
    }
  });

  it('holds what it takes for the member, with a delivery more', () => {
    const { window, take } = rig(three);
    take({ recordsMax: 4 });
    assert.deepEqual(window.runs, [{ first: 0, last: 3, state: acquired, count: 1, member: 'm', until: 9 }]);
  });

  it('cuts its ranges at batches, from so many records on', () => {
    assert.equal(rig(three).take({ rangeRecords: 1 }).ranges, '0-3x1 4-7x1 8-11x1');
    assert.equal(rig(three).take({ rangeRecords: 4 }).ranges, '0-3x1 4-7x1 8-11x1');
    assert.equal(rig(three).take({ rangeRecords: 5 }).ranges, '0-7x1 8-11x1');
    assert.equal(rig(three).take({ rangeRecords: 9 }).ranges, '0-11x1');
  });

  it('reads from the first batch that it takes of to the end of the last', () => {
    const held = (...batches: number[]) => {
      const window = new ShareWindow(0);
      for (let i = 0; i < 3; i++)
        window.extend(i * 4 + 3, batches.includes(i) ? acquired : available, 1, `${i}`);
      return rig(three, window);
    };
    for (const [batches, from, count, ranges] of [
      [[], 0, 3, '0-11x2'],
      [[0], 4, 2, '4-11x2'],
      [[1], 0, 3, '0-3x2 8-11x2'],
      [[2], 0, 2, '0-7x2'],
      [[0, 1], 8, 1, '8-11x2'],
      [[0, 1, 2], -1, 0, ''],
    ] as const) {
      const on = held(...batches);
      assert.deepEqual(on.take(), { from, bytes: count * on.bytes, ranges });
    }
  });

  it('begins inside of a batch, where the window does', () => {
    const on = rig(three, new ShareWindow(2));
    assert.deepEqual(on.take({ recordsMax: 2 }, { from: 2 }), { from: 2, bytes: on.bytes, ranges: '2-3x1' });
  });

  it('joins no records of different deliveries', () => {
    const window = new ShareWindow(0);
    window.extend(1, available, 1);
    window.extend(5, available, 0);
    assert.equal(rig(three, window).take().ranges, '0-1x2 2-11x1');
  });

  it('stops where too many records are under delivery, with one batch beyond at most', () => {
    for (const [locksMax, last] of [
      [1, 3],
      [4, 3],
      [5, 7],
      [8, 7],
    ] as const)
      assert.equal(rig(three).take({}, { locksMax }).ranges, `0-${last}x1`);
    const window = new ShareWindow(0);
    window.extend(3, acquired, 1, 'x');
    const full = rig(three, window);
    assert.deepEqual(full.take({}, { locksMax: 4 }), { from: -1, bytes: 0, ranges: '' });
    assert.equal(full.window.next, 4);
  });
});

describe('records that nobody is to get', () => {
  const txn = { producerId: 7, producerEpoch: 0, baseSequence: 0, transactional: true };

  it('are control records and gaps', () => {
    const on = rig([{}, { control: true, records: 1, ...txn }, { baseOffset: 8 }]);
    assert.equal(on.take().ranges, '0-3x1 8-11x1');
    assert.equal(on.states(), `0-3 ${acquired}, 4-4 ${archived}, 5-7 ${archived}, 8-11 ${acquired}`);
  });

  it('are aborted ones, up to the marker, for who reads committed records', () => {
    const log = [txn, {}, txn, { control: true, records: 1, ...txn }, txn];
    const aborted = [{ producerId: 7, firstOffset: 0 }];
    assert.equal(rig(log).take({}, { committed: true, aborted }).ranges, '4-7x1 13-16x1');
    assert.equal(
      rig(log).take({}, { committed: true, aborted: [{ producerId: 8, firstOffset: 0 }] }).ranges,
      '0-11x1 13-16x1',
    );
    assert.equal(
      rig(log).take({}, { committed: true, aborted: [{ producerId: 7, firstOffset: 4 }] }).ranges,
      '0-7x1 13-16x1',
    );
    assert.equal(rig(log).take({}, { committed: false, aborted }).ranges, '0-11x1 13-16x1');
  });

  it('leave alone what somebody holds', () => {
    const window = new ShareWindow(0);
    window.extend(1, acquired, 1, 'x');
    window.extend(3, available, 0);
    const on = rig([{ control: true, ...txn }, {}], window);
    assert.equal(on.take().ranges, '4-7x1');
    assert.equal(on.states(), `0-1 ${acquired}, 2-3 ${archived}, 4-7 ${acquired}`);
  });
});

describe('records that were delivered often', () => {
  const delivered = (count: number, deliveriesMax: number, records = 8): string => {
    const window = new ShareWindow(0);
    window.extend(records - 1, available, count);
    return rig([{ records }, {}], window).take({}, { deliveriesMax }).ranges;
  };

  it('come in half as many from half of the deliveries on, and alone at last', () => {
    for (const [count, deliveriesMax, last] of [
      [3, 6, 3],
      [4, 6, 1],
      [5, 6, 0],
      [3, 7, 11],
      [4, 7, 3],
      [6, 7, 0],
      [2, 3, 0],
      [1, 2, 11],
    ] as const) {
      const ranges = delivered(count, deliveriesMax);
      const expected = last === 11 ? `0-7x${count + 1} 8-11x1` : `0-${last}x${count + 1}`;
      assert.equal(ranges, expected, `${count} of ${deliveriesMax}`);
    }
    assert.equal(delivered(5, 10, 1), '0-0x6', 'one at least');
  });

  it('come by themselves: not behind others', () => {
    const window = new ShareWindow(0);
    window.extend(3, available, 0);
    window.extend(7, available, 4);
    const on = rig(three, window);
    assert.equal(on.take({}, { deliveriesMax: 6 }).ranges, '0-3x1');
    assert.equal(on.take({}, { deliveriesMax: 6, from: 4 }).ranges, '4-4x5');
  });
});
