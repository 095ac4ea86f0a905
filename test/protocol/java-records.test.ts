/**
 * Batches that we build, read by Apache Kafka's own classes (test/support/java-records). Needs java and mvn with the
 * jars at hand; where they are missing the test is skipped by name and says why.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { codecNames } from '../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import { buildBatch } from '../../src/protocol/records/batch-builder.ts';
import { buildControlMarker, markerType } from '../../src/protocol/records/control-marker.ts';
import { portableCrc32c } from '../../src/protocol/records/crc32c.ts';
import { batchText } from '../support/batch-text.ts';
import { sampleRecords, seeded } from '../support/sample-records.ts';

const { crc32c } = portableCrc32c();
const codecs = createCodecs();
const toolDir = 'test/support/java-records';

/** The tool's class path, or why it cannot run here. */
function prepareJava(directory: string): { classPath: string } | { missing: string } {
  try {
    execFileSync('java', ['-version'], { stdio: 'ignore', timeout: 30_000 });
  } catch {
    return { missing: 'java does not run here' };
  }
  const file = join(directory, 'classpath');
  const goal = ['-q', '-B', '-f', join(toolDir, 'pom.xml'), 'dependency:build-classpath'];
  try {
    execFileSync('mvn', [...goal, `-Dmdep.outputFile=${file}`], { stdio: 'ignore', timeout: 240_000 });
  } catch {
    return { missing: 'mvn is missing or cannot get kafka-clients' };
  }
  return { classPath: readFileSync(file, 'utf8').trim() };
}

test("Java's client reads our batches", (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-java-records-'));
  try {
    const java = prepareJava(directory);
    if ('missing' in java) {
      context.skip(java.missing);
      return;
    }
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
      ['-cp', java.classPath, join(toolDir, 'RecordsTool.java'), 'read', ...files],
      { encoding: 'utf8', maxBuffer: 1 << 26, timeout: 120_000, stdio: ['ignore', 'pipe', 'ignore'] },
    );
    assert.deepEqual(told.split('\n'), expected.split('\n'));
  } finally {
    rmSync(directory, { recursive: true });
  }
});
