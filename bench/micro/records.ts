/**
 * Micro-benchmark of the record batch room: CRC, validation, walks, building, reading, codecs. One batch of 64 KiB of
 * 1 KiB records, half compressible, in shared memory as in the arena.
 */
import { Bench } from 'tinybench';
import { codecNames } from '../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import { type BatchRecord, buildBatch } from '../../src/protocol/records/batch-builder.ts';
import { batchHeaderBytes } from '../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../src/protocol/records/batch-reader.ts';
import { javascriptCrc32c, portableCrc32c } from '../../src/protocol/records/crc32c.ts';
import { portableRecordWalk } from '../../src/protocol/records/record-walk.ts';
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
    nowMs: 1_700_000_000_000,
    timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
    timestampAfterMaxMs: 3_600_000,
    logAppendTime: false,
    requireKeys: false,
    walk: undefined,
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
    portableRecordWalk(batch, batchHeaderBytes, body.length, recordCount, 0),
  );
  add('build', batch.length, () => buildBatch(records, {}, crc32c));
  add('read', batch.length, () => {
    cursor.open(batch, 0, batch.length, codecs, 1 << 20);
    while (cursor.next());
  });
  for (const [codec, name] of codecNames.entries()) {
    if (codec === 0) continue;
    const packed = codecs.compress(codec, body);
    add(`compress, ${name}`, body.length, () => codecs.compress(codec, body));
    add(`decompress, ${name}`, body.length, () => codecs.decompress(codec, packed, 1 << 20));
  }
  await bench.run();
  return bench.tasks.map((task) => {
    const { result } = task;
    if (!('throughput' in result)) throw new Error(`${task.name} did not finish: ${result.state}`);
    return { name: task.name, opsPerSecond: result.throughput.mean, bytesPerOp: bytes.get(task.name) ?? 0 };
  });
}
