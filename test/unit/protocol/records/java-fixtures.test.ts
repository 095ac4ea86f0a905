import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { codecNames } from '../../../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../../../src/protocol/compression/codecs.ts';
import {
  batchHeaderBytes,
  maxTimestampOf,
  patchBaseOffset,
} from '../../../../src/protocol/records/batch-header.ts';
import { validateRecords } from '../../../../src/protocol/records/compressed-records.ts';
import { portableCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import {
  createWalkReport,
  portableRecordWalk,
  walkReport,
} from '../../../../src/protocol/records/record-walk.ts';
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
      const options = {
        crc32c,
        codecs: createCodecs(),
        batchBytesMax: 1 << 20,
        zstdAllowed: true,
        trustCompressed: false,
        judgeTimes: true,
        timeMin: -Number.MAX_SAFE_INTEGER,
        timeMax: Number.MAX_SAFE_INTEGER,
        requireKeys: false,
        decompressedBytesMax: 1 << 20,
        walk: portableRecordWalk,
        report: createWalkReport(10),
      };
      assert.equal(validateBatch(view, batch, 0, batch.length, options), batchVerdict.ok);
      assert.equal(validateRecords(view, batch, 0, batch.length, options), batchVerdict.ok);
      // Java has computed it from the records, too.
      assert.equal(options.report[walkReport.maxTimestamp], maxTimestampOf(view, 0));
      // The second record of "shapes" has no key.
      const keyed = { ...options, requireKeys: true };
      const expected = shape === 'shapes' ? batchVerdict.nullKey : batchVerdict.ok;
      assert.equal(validateRecords(view, batch, 0, batch.length, keyed), expected);
      if (shape === 'shapes') assert.equal(options.report[walkReport.entries], 2);
    });
  }
}

test("a transaction marker of Java's client", () => {
  const batch = readFileSync(`${fixtures}/none-marker.bin`);
  assert.equal(batchText(batch), readFileSync(`${fixtures}/marker.txt`, 'utf8'));
  assert.equal(batch.length, batchHeaderBytes + 17);
});
