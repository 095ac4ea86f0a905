/**
 * Batches that we build, read by Apache Kafka's own classes (test/support/java-records). Skipped by name where java or its
 * jars cannot be had.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { codecNames } from '../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import { buildBatch } from '../../src/protocol/records/batch-builder.ts';
import { buildControlMarker, markerType } from '../../src/protocol/records/control-marker.ts';
import { portableCrc32c } from '../../src/protocol/records/crc32c.ts';
import { batchText } from '../support/batch-text.ts';
import { jars } from '../support/clients/java/java.ts';
import { patienceMs } from '../support/patience.ts';
import { sampleRecords, seeded } from '../support/sample-records.ts';

const { crc32c } = portableCrc32c();
const codecs = createCodecs();
const toolDir = 'test/support/java-records';

test("Java's client reads our batches", async (context) => {
  const classPath = await jars('clients').catch((error: Error) => error);
  if (classPath instanceof Error)
    return context.skip(`Java's client cannot be had here: ${classPath.message}`);
  const directory = mkdtempSync(join(tmpdir(), 'millrace-java-records-'));
  try {
    const batches = new Map<string, Buffer>();
    codecNames.forEach((name, codec) => {
      const random = seeded(codec + 1);
      for (const count of [1, 40, 900]) {
        const batch = buildBatch(
          sampleRecords(count, random),
          { codec, codecs, producerId: 7, producerEpoch: 1, baseSequence: 5, transactional: count === 40 },
          crc32c,
        );
        batches.set(`${name}-${count}`, batch);
      }
    });
    const stamped = { logAppendTimeMs: 1_800_000_000_000, baseOffset: 2 ** 40, partitionLeaderEpoch: 6 };
    batches.set('stamped', buildBatch(sampleRecords(5, seeded(99)), stamped, crc32c));
    for (const type of [markerType.abort, markerType.commit]) {
      const fields = {
        type,
        producerId: 9,
        producerEpoch: 2,
        coordinatorEpoch: 31,
        timestamp: 1_700_000_000_000,
      };
      batches.set(`marker-${type}`, buildControlMarker({ ...fields, baseOffset: 12 }, crc32c));
    }

    let expected = '';
    const files: string[] = [];
    for (const [name, batch] of batches) {
      const file = join(directory, `${name}.bin`);
      writeFileSync(file, batch);
      files.push(file);
      expected += `file ${name}.bin\n${batchText(batch)}`;
    }
    const told = execFileSync(
      'java',
      ['-cp', classPath, join(toolDir, 'RecordsTool.java'), 'read', ...files],
      { encoding: 'utf8', maxBuffer: 1 << 26, timeout: patienceMs, stdio: ['ignore', 'pipe', 'ignore'] },
    );
    assert.deepEqual(told.split('\n'), expected.split('\n'));
  } finally {
    rmSync(directory, { recursive: true });
  }
});
