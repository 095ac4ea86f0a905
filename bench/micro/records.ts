/**
 * Micro-benchmark of the record batch room: CRC, validation, walks, building, reading, codecs, and what judging compressed
 * records costs (records.validation=full). One batch of 64 KiB of 1 KiB records, half compressible, in shared memory as in
 * the arena. Bytes are plain ones.
 */
import { Bench } from 'tinybench';
import { loadNative } from '../../native-bindings/index.ts';
import { codecNames } from '../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import { type BatchRecord, buildBatch } from '../../src/protocol/records/batch-builder.ts';
import { batchHeaderBytes } from '../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../src/protocol/records/batch-reader.ts';
import { javascriptCrc32c, portableCrc32c } from '../../src/protocol/records/crc32c.ts';
import { recordTaskContext, runRecordTask } from '../../src/protocol/records/record-tasks.ts';
import {
  createWalkReport,
  portableRecordWalk,
  type RecordWalk,
  walkFlags,
  walkResult,
} from '../../src/protocol/records/record-walk.ts';
import { validateBatch } from '../../src/protocol/records/validate.ts';

export type MicroResult = { name: string; opsPerSecond: number; bytesPerOp: number };

const recordCount = 64;
const recordBytes = 1024;
const timePerTaskMs = 150;

function makeRecords(): BatchRecord[] {
  let state = 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Array.from({ length: recordCount }, (_, i) => ({
    key: Buffer.from(`key-${i}`),
    value: Buffer.from(
      Array.from({ length: recordBytes }, (_unused, k) => (k % 2 === 0 ? next() * 256 : 97)),
    ),
    timestamp: 1_700_000_000_000 + i,
  }));
}

export async function run(): Promise<MicroResult[]> {
  const { crc32c } = portableCrc32c();
  const codecs = createCodecs();
  const records = makeRecords();
  const built = buildBatch(records, {}, crc32c);
  const batch = Buffer.from(new SharedArrayBuffer(built.length));
  batch.set(built);
  const view = new DataView(batch.buffer);
  const body = batch.subarray(batchHeaderBytes);
  const options = {
    crc32c,
    batchBytesMax: 1 << 20,
    zstdAllowed: true,
    trustCompressed: false,
    judgeTimes: true,
    timeMin: 0,
    timeMax: 1_700_003_600_000,
    requireKeys: false,
    decompressedBytesMax: 1 << 20,
    report: createWalkReport(1),
    walk: () => walkResult.ok,
  };
  const cursor = new RecordCursor();
  const bytes = new Map<string, number>();
  const bench = new Bench({ time: timePerTaskMs, warmupTime: timePerTaskMs / 3 });
  const add = (name: string, bytesPerOp: number, act: () => void) => {
    bytes.set(name, bytesPerOp);
    bench.add(name, act);
  };
  add('crc32c, chosen', batch.length, () => crc32c(batch, 0, batch.length));
  add('crc32c, javascript', batch.length, () => javascriptCrc32c(batch, 0, batch.length));
  add('validate, header and crc', batch.length, () => validateBatch(view, batch, 0, batch.length, options));
  add('walk, portable', body.length, () =>
    portableRecordWalk(
      batch,
      batchHeaderBytes,
      body.length,
      recordCount,
      walkFlags.judgeTimes,
      options.report,
    ),
  );
  const native = loadNative();
  if (native !== null) {
    add('walk, native', body.length, () =>
      native.walkRecords(
        batch,
        batchHeaderBytes,
        body.length,
        recordCount,
        walkFlags.judgeTimes,
        options.report,
      ),
    );
  }
  const walk: RecordWalk = native === null ? portableRecordWalk : native.walkRecords.bind(native);
  add('build', batch.length, () => buildBatch(records, {}, crc32c));
  add('read', batch.length, () => {
    cursor.open(batch, 0, batch.length, codecs, 1 << 20);
    while (cursor.next());
  });
  for (const [codec, name] of codecNames.entries()) {
    if (codec === 0) continue;
    const packed = codecs.compress(codec, body);
    add(`compress, ${name}`, body.length, () => codecs.compress(codec, body));
    const batch = buildBatch(records, { codec, codecs }, crc32c);
    const arena = { buffer: batch, view: new DataView(batch.buffer, batch.byteOffset, batch.byteLength) };
    const context = recordTaskContext({ arena, codecs, walk });
    const judge = { kind: 'judge', position: 0, length: batch.length, rules: options } as const;
    if (runRecordTask(judge, context).kind !== 'judge') throw new Error('not judged');
    add(`judge, ${name}`, body.length, () => runRecordTask(judge, context));
    add(`decompress, ${name}`, body.length, () => codecs.decompress(codec, packed, 1 << 20));
  }
  await bench.run();
  return bench.tasks.map((task) => {
    const { result } = task;
    if (!('throughput' in result)) throw new Error(`${task.name} did not finish: ${result.state}`);
    return { name: task.name, opsPerSecond: result.throughput.mean, bytesPerOp: bytes.get(task.name) ?? 0 };
  });
}
