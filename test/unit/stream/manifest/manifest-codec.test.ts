import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { MillraceError } from '../../../../src/ports/errors.ts';
import {
  emptyManifest,
  manifestKey,
  parseManifestKey,
  summaryOf,
} from '../../../../src/stream/manifest/manifest.ts';
import { decodeManifest, encodeManifest } from '../../../../src/stream/manifest/manifest-codec.ts';
import { seededRandom } from '../../../support/store-fixtures.ts';
import { crc32c } from '../../../support/stream-deltas.ts';
import { coded } from '../../../support/stream-objects.ts';
import { id } from '../../metadata/fixtures.ts';
import { clusterId, producer, sample } from './manifests.ts';

const golden = 'test/fixtures/manifests/manifest-v3.bin';
const goldenOfVersion2 = 'test/fixtures/manifests/manifest-v2.bin';
const goldenOfVersion1 = 'test/fixtures/manifests/manifest-v1.bin';

describe('manifest format', () => {
  it('is written as in the golden file of version 3, which is read', () => {
    const bytes = encodeManifest(sample, clusterId, crc32c);
    const stored = readFileSync(golden);
    assert.equal(bytes.toString('hex'), stored.toString('hex'));
    assert.deepEqual(decodeManifest(stored, crc32c), { manifest: sample, clusterId });
  });

  it('is read from the golden file of version 1, which knew no markers and no activity', () => {
    const producers = sample.producers.map((each) => ({ ...each, activeMs: -1 }));
    const { manifest } = decodeManifest(readFileSync(goldenOfVersion1), crc32c);
    assert.deepEqual(manifest, { ...sample, producers, cleanedTo: 0, horizonMs: -1 });
  });

  it('is read from the golden file of version 2, which knew no log compaction', () => {
    const { manifest } = decodeManifest(readFileSync(goldenOfVersion2), crc32c);
    assert.deepEqual(manifest, { ...sample, cleanedTo: 0, horizonMs: -1 });
  });

  it('gives back an empty one, and one with 10,000 producers', () => {
    const empty = { ...emptyManifest(id(3), 0), version: 1 };
    assert.deepEqual(decodeManifest(encodeManifest(empty, '', crc32c), crc32c).manifest, empty);
    const many = { ...sample, producers: Array.from({ length: 10_000 }, (_, i) => producer(i, 10 * i + 4)) };
    const bytes = encodeManifest(many, clusterId, crc32c);
    assert.ok(bytes.length < 900_000, `${bytes.length} bytes`);
    assert.deepEqual(decodeManifest(bytes, crc32c).manifest, many);
  });

  it('refuses damage and truncation at every byte', () => {
    const bytes = encodeManifest(sample, clusterId, crc32c);
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 1 << (at % 8);
      assert.throws(() => decodeManifest(damaged, crc32c), coded('MANIFEST_CORRUPT'), `byte ${at}`);
      assert.throws(() => decodeManifest(bytes.subarray(0, at), crc32c), coded('MANIFEST_CORRUPT'));
    }
  });

  it('names another version, and believes no number even under a right CRC', () => {
    const resealed = (bytes: Buffer): Buffer => {
      bytes.writeUInt32LE(crc32c(bytes, 0, bytes.length - 4), bytes.length - 4);
      return bytes;
    };
    const newer = Buffer.from(encodeManifest(sample, clusterId, crc32c));
    newer.writeUInt16LE(4, 8);
    assert.throws(() => decodeManifest(resealed(newer), crc32c), /format version 4; this release reads/);
    const random = seededRandom(3);
    for (let round = 0; round < 3_000; round++) {
      const bytes = Buffer.from(encodeManifest(sample, clusterId, crc32c));
      for (let n = 0; n < 3; n++) bytes[random.below(bytes.length - 4)] = random.below(256);
      try {
        decodeManifest(resealed(bytes), crc32c);
      } catch (error) {
        assert.ok(
          error instanceof MillraceError && /MANIFEST_(CORRUPT|VERSION)/.test(error.code),
          String(error),
        );
      }
    }
    const swapped = { ...sample, objects: [...sample.objects].reverse() };
    assert.throws(
      () => decodeManifest(encodeManifest(swapped, clusterId, crc32c), crc32c),
      /damaged: offsets of object 1/,
    );
  });

  it('has keys that name it and nothing else', () => {
    const key = manifestKey(id(1), 12, 345);
    assert.match(key, new RegExp(`^manifest/[0-9a-f]{2}/${id(1)}/12/345$`));
    assert.deepEqual(parseManifestKey(key), { topicId: id(1), partition: 12, version: 345 });
    const other = key.startsWith('manifest/00/') ? 'manifest/01/' : 'manifest/00/';
    for (const wrong of [
      other + key.slice(12),
      `${key}0x`,
      key.replace('/345', '/0345'),
      key.replace('/12/', '/-1/'),
      'manifest/00/x/1/1',
      'data/00/0000000000000001',
    ]) {
      assert.equal(parseManifestKey(wrong), null, wrong);
    }
    assert.throws(() => manifestKey('short', 0, 1), coded('MANIFEST_NAME'));
    assert.throws(() => manifestKey(id(1), 0, 0), coded('MANIFEST_NAME'));
  });

  it('is summed up for the metadata', () => {
    assert.deepEqual(summaryOf(sample), {
      version: 2 ** 33,
      startOffset: 5,
      endOffset: 2 ** 40,
      objects: 2,
      bytes: 2 ** 33 + 500,
      maxTimestamp: 1_700_000_000_000,
    });
    assert.equal(summaryOf(emptyManifest(id(1), 0)).maxTimestamp, -1);
  });
});
