import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { codecNames } from '../../../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../../../src/protocol/compression/codecs.ts';
import { batchHeaderBytes, patchBaseOffset } from '../../../../src/protocol/records/batch-header.ts';
import { validateRecords } from '../../../../src/protocol/records/compressed-records.ts';
import { portableCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import { portableRecordWalk } from '../../../../src/protocol/records/record-walk.ts';
import { batchVerdict, validateBatch } from '../../../../src/protocol/records/validate.ts';
import { batchText } from '../../../support/batch-text.ts';
import { viewOf } from '../../../support/sample-records.ts';

const { crc32c } = portableCrc32c();
const fixtures = 'test/fixtures/records';

for (const codec of codecNames) {
  for (const shape of ['shapes', 'many']) {
    test(`a batch of Java's client: ${codec}, ${shape}`, () => {
      const batch = readFileSync(`${fixtures}/${codec}-${shape}.bin`);
      assert.equal(batchText(batch), readFileSync(`${fixtures}/${shape}.txt`, 'utf8'));

      const view = viewOf(batch);
      patchBaseOffset(view, 0, 0); // as a producer sends it; not under the CRC
      const verdict = validateBatch(view, batch, 0, batch.length, {
        crc32c,
        batchBytesMax: 1 << 20,
        zstdAllowed: true,
        nowMs: 1_700_000_000_000,
        timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
        timestampAfterMaxMs: Number.POSITIVE_INFINITY,
        logAppendTime: false,
        requireKeys: false,
        walk: portableRecordWalk,
      });
      assert.equal(verdict, batchVerdict.ok);
      const deep = validateRecords(view, batch, 0, batch.length, {
        codecs: createCodecs(),
        walk: portableRecordWalk,
        decompressedBytesMax: 1 << 20,
        requireKeys: shape === 'shapes',
      });
      // The second record of "shapes" has no key.
      assert.deepEqual(
        deep,
        shape === 'shapes'
          ? { verdict: batchVerdict.nullKey, record: 1 }
          : { verdict: batchVerdict.ok, record: -1 },
      );
    });
  }
}

test("a transaction marker of Java's client", () => {
  const batch = readFileSync(`${fixtures}/none-marker.bin`);
  assert.equal(batchText(batch), readFileSync(`${fixtures}/marker.txt`, 'utf8'));
  assert.equal(batch.length, batchHeaderBytes + 17);
});
