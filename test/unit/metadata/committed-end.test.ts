import assert from 'node:assert/strict';
import { test } from 'node:test';
import { committedEnd } from '../../../src/metadata/committed-end.ts';
import type { PartitionImage } from '../../../src/metadata/metadata-store.ts';

const partition = (changes: Partial<PartitionImage>): PartitionImage => ({
  topicId: 'AAAAAAAAAAAAAAAAAAAAAA',
  partition: 0,
  leaderEpoch: 3,
  epochs: [
    { epoch: 0, startOffset: 0 },
    { epoch: 3, startOffset: 100 },
  ],
  state: 'open',
  target: -1,
  node: 0,
  wal: '',
  startOffset: 0,
  endOffset: -1,
  stateObject: '',
  stateOffset: 0,
  manifest: null,
  objects: [],
  leftovers: [],
  ...changes,
});
const object = (baseOffset: number, endOffset: number) => ({
  objectId: '1',
  baseOffset,
  endOffset,
  maxTimestamp: 0,
  bytes: 1,
});

test('an open partition ends where its objects end, wherever its newest epoch began', () => {
  assert.equal(committedEnd(partition({})), 0);
  assert.equal(committedEnd(partition({ objects: [object(0, 40), object(40, 60)] })), 60);
  assert.equal(committedEnd(partition({ objects: [object(0, 140)] })), 140);
});

test('never below the log start', () => {
  assert.equal(committedEnd(partition({ startOffset: 70 })), 70);
  assert.equal(committedEnd(partition({ startOffset: 70, objects: [object(60, 80)] })), 80);
});

test('a closed partition ends where it was closed', () => {
  assert.equal(committedEnd(partition({ state: 'closed', endOffset: 100 })), 100);
});
