/** The yardstick itself: what the compatibility tests compare by must see each kind of difference. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ClientRecord,
  dataSets,
  difference,
  formatRecords,
  offsetGap,
  parseRecords,
  realRecords,
} from '../support/real-records.ts';

const records = dataSets.flatMap((set) => realRecords(set, 300));

function changed(at: number, change: (record: ClientRecord) => ClientRecord): ClientRecord[] {
  return records.map((record, index) => (index === at ? change(record) : record));
}

test('records survive the neutral file, whatever their bytes', () => {
  const odd: ClientRecord[] = [
    { key: null, value: null, headers: [] },
    { key: Buffer.alloc(0), value: Buffer.from([0, 255, 9, 10]), headers: [['a', null]] },
    {
      key: Buffer.from('k'),
      value: Buffer.from('é'),
      headers: [
        ['ab', Buffer.alloc(0)],
        ['abc', Buffer.from('=,')],
      ],
    },
  ];
  assert.deepEqual(parseRecords(formatRecords(odd)), odd);
  assert.equal(difference(records, parseRecords(formatRecords(records))), null);
});

test('another interleaving of keys is equal, another order within a key is not', () => {
  const byKey = records.toSorted((a, b) => Buffer.compare(a.key!, b.key!));
  assert.equal(difference(records, byKey), null);
  const [first, second] = byKey.flatMap((record, at) =>
    record.key!.equals(byKey[at + 1]?.key ?? Buffer.alloc(0)) ? [at] : [],
  );
  assert.ok(first !== undefined && second !== undefined);
  const swapped = byKey.with(first, byKey[first + 1]!).with(first + 1, byKey[first]!);
  assert.match(String(difference(byKey, swapped)), /its record \d+/);
});

test('a lost, repeated, moved or altered record is seen', () => {
  const is = (actual: readonly ClientRecord[]): boolean => difference(records, actual) === null;
  assert.ok(is(records));
  assert.ok(!is(records.slice(1)));
  assert.ok(!is([...records, records[0]!]));
  assert.ok(
    !is(changed(7, (record) => ({ ...record, value: Buffer.concat([record.value!, Buffer.from(' ')]) }))),
  );
  assert.ok(!is(changed(7, (record) => ({ ...record, value: null }))));
  assert.ok(!is(changed(7, (record) => ({ ...record, key: Buffer.from('elsewhere') }))));
  assert.ok(!is(changed(7, (record) => ({ ...record, headers: record.headers.slice(1) }))));
  assert.ok(!is(changed(7, (record) => ({ ...record, headers: record.headers.toReversed() }))));
});

test('a gap or a repetition of offsets is seen', () => {
  const at = (...offsets: number[]): ClientRecord[] =>
    offsets.map((offset) => ({ ...records[0]!, partition: 0, offset }));
  assert.equal(offsetGap(at(3, 4, 5)), null);
  assert.equal(offsetGap(at(3, 5)), 'partition 0: offset 5 after 3');
  assert.equal(offsetGap(at(3, 3)), 'partition 0: offset 3 after 3');
  assert.equal(offsetGap(records.slice(0, 1)), 'a record without its partition and offset');
});
