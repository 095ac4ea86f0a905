import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PartitionHandle } from '../../../src/log/partition-handle.ts';
import { AppendLanes } from '../../../src/requests/append-lanes.ts';

test('places are acted on once each and in their order, also when an act brings further ones', () => {
  const lanes = new AppendLanes();
  const partition = {} as PartitionHandle;
  const acted: string[] = [];
  const late = lanes.take(partition);
  const second = lanes.take(partition);
  lanes.ready(partition, second, () => acted.push('second'));
  assert.equal(acted.length, 0, 'what is in front of it is not ready');
  lanes.ready(partition, late, () => {
    acted.push('first');
    // An answer that is sent may let a request in that was held back, for the same partition.
    assert.equal(lanes.occupied(partition), true);
    lanes.ready(partition, lanes.take(partition), () => acted.push('third'));
    acted.push('first is over');
  });
  assert.deepEqual(acted, ['first', 'first is over', 'second', 'third']);
  assert.equal(lanes.occupied(partition), false);
  lanes.ready(partition, lanes.take(partition), () => acted.push('fourth'));
  assert.equal(acted.at(-1), 'fourth');
});
