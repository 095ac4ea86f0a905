/**
 * Prints what a record batch holds in the form of test/support/java-records/RecordsTool.java, so that Java's view and
 * ours can be compared as text.
 */
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import {
  attributesOf,
  baseOffsetOf,
  baseSequenceOf,
  isControl,
  isTransactional,
  lastOffsetOf,
  leaderEpochOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
  recordCountOf,
} from '../../src/protocol/records/batch-header.ts';
import { readBatch } from '../../src/protocol/records/batch-reader.ts';
import { parseControlMarker } from '../../src/protocol/records/control-marker.ts';

const codecs = createCodecs();
const decompressedBytesMax = 1 << 22;

export function batchText(batch: Buffer): string {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  const attributes = attributesOf(view, 0);
  const lines = [
    [
      'batch',
      baseOffsetOf(view, 0),
      lastOffsetOf(view, 0),
      leaderEpochOf(view, 0),
      maxTimestampOf(view, 0),
      producerIdOf(view, 0),
      producerEpochOf(view, 0),
      baseSequenceOf(view, 0),
      isTransactional(attributes),
      isControl(attributes),
      recordCountOf(view, 0),
    ].join(' '),
  ];
  const marker = parseControlMarker(view, batch, 0, batch.length, codecs);
  for (const record of readBatch(batch, 0, batch.length, codecs, decompressedBytesMax)) {
    let line = `${record.offset} ${record.timestamp} ${hex(record.key)} ${hex(record.value)}`;
    for (const header of record.headers) line += ` ${hex(Buffer.from(header.key))}=${hex(header.value)}`;
    if (marker !== undefined) line += ` marker ${marker.type === 1 ? 'COMMIT' : 'ABORT'}`;
    lines.push(line);
  }
  return `${lines.join('\n')}\n`;
}

function hex(bytes: Uint8Array | null): string {
  if (bytes === null) return '-';
  if (bytes.length === 0) return "''";
  if (bytes.length <= 64) return Buffer.from(bytes).toString('hex');
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum = (sum + bytes[i]! * ((i % 251) + 1)) % 1_000_000_007;
  return `${bytes.length}:${Buffer.from(bytes.subarray(0, 8)).toString('hex')}:${sum}`;
}
