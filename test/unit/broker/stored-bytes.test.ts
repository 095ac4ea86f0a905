import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storedBytes } from '../../../src/broker/stored-bytes.ts';
import type { ClusterImage } from '../../../src/metadata/metadata-store.ts';

test('objects of the image and those that manifests name, each once', () => {
  const image = {
    objects: new Map([
      ['a', { objectId: 'a', size: 100, ranges: [] }],
      ['b', { objectId: 'b', size: 20, ranges: [] }],
    ]),
    topicsById: new Map([
      ['t', { partitions: [{ manifest: { bytes: 3_000 } }, { manifest: null }, { manifest: { bytes: 4 } }] }],
    ]),
  } as unknown as ClusterImage;
  assert.equal(storedBytes(image), 3_124);
});
