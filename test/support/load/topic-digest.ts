/**
 * A topic by hash: distinct synthetic records produced to all its partitions, and the same hashes from a full read. What
 * is hashed is what a batch's CRC covers, which a broker must not change. In order per partition, a request at a time,
 * so that a batch that was refused is sent again without being overtaken.
 */
import { createHash, type Hash } from 'node:crypto';
import { batchBytesOf, crcStart, lastOffsetOf } from '../../../src/protocol/records/batch-header.ts';
import { patienceMs } from '../patience.ts';
import { type Address, RawConnection } from '../raw-client.ts';
import { BatchPool } from './batches.ts';
import { errorName } from './error-name.ts';
import { FetchLoop } from './fetch-loop.ts';

const recordsPerBatch = 63;
const valueBytes = 4096;
const retryMsMax = patienceMs;
const refusedPauseMs = 20;

export interface DigestedTopic {
  readonly topic: string;
  /** Per partition, over all that was acknowledged so far. */
  readonly hashes: Hash[];
  /** Records acknowledged, per partition. */
  readonly ends: number[];
  bytes: number;
  retries: number;
}

export function emptyDigests(topic: string, partitions: number): DigestedTopic {
  return {
    topic,
    hashes: Array.from({ length: partitions }, () => createHash('sha256')),
    ends: Array.from({ length: partitions }, () => 0),
    bytes: 0,
    retries: 0,
  };
}

export function digestsOf(target: DigestedTopic): string[] {
  return target.hashes.map((hash) => hash.copy().digest('hex'));
}

/** Adds about `bytes` of records nobody has seen before, evenly over the partitions, by `workers` connections. */
export async function produceDigested(
  address: Address,
  target: DigestedTopic,
  bytes: number,
  workers = 8,
): Promise<void> {
  const perPartition = bytes / target.ends.length;
  await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      const connection = await RawConnection.connect(address, 'digest');
      const pool = new BatchPool({ valueBytes, recordsPerBatch }, 4);
      for (let sent = 0; sent < perPartition; sent += pool.batchBytes) {
        for (let partition = worker; partition < target.ends.length; partition += workers) {
          const batch = pool.take();
          target.retries += await send(connection, target.topic, partition, batch);
          target.hashes[partition]!.update(batch.subarray(crcStart));
          target.ends[partition]! += recordsPerBatch;
          target.bytes += batch.length;
        }
      }
      await connection.close();
    }),
  );
}

/** How often it was refused before it was taken. */
async function send(
  connection: RawConnection,
  topic: string,
  partition: number,
  batch: Buffer,
): Promise<number> {
  const deadline = performance.now() + retryMsMax;
  for (let retries = 0; ; retries++) {
    const { errorCode } = await connection.produce(topic, partition, batch);
    if (errorCode === 0) return retries;
    if (performance.now() > deadline) throw new Error(`produce: ${errorName(errorCode)}`);
    await new Promise((resolve) => setTimeout(resolve, refusedPauseMs));
  }
}

export interface ReadDigests {
  readonly digests: string[];
  readonly bytes: number;
  readonly seconds: number;
  /** Partitions answered as not readable in time, and asked for again. */
  readonly late: number;
}

/** Reads the topic from offset 0 to these ends; rejects when it does not get there in time. */
export async function readDigests(
  address: Address,
  topic: string,
  ends: readonly number[],
  timeoutMs: number,
): Promise<ReadDigests> {
  const begun = performance.now();
  const hashes = ends.map(() => createHash('sha256'));
  const next = ends.map(() => 0);
  let left = ends.filter((end) => end > 0).length;
  let bytes = 0;
  let finish = (): void => {};
  const all = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const loop = await FetchLoop.start({
    address,
    topic,
    partitions: new Map(ends.map((_, partition) => [partition, 0])),
    patient: true,
    onRecords: (partition, data) => {
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      for (let at = 0; at < data.length; ) {
        const length = batchBytesOf(view, at);
        hashes[partition]!.update(data.subarray(at + crcStart, at + length));
        next[partition] = lastOffsetOf(view, at) + 1;
        at += length;
      }
      bytes += data.length;
      if (next[partition] === ends[partition]) left--;
      if (left === 0) finish();
    },
  });
  const late = setTimeout(() => void loop.stop(), timeoutMs);
  if (left > 0) await Promise.race([all, loop.done]);
  clearTimeout(late);
  await loop.stop();
  if (left > 0)
    throw new Error(
      `${topic} was not read to its ends in ${timeoutMs} ms (${loop.answers} answers, ${loop.late} late): ${next.join()} of ${ends.join()}`,
    );
  return {
    digests: hashes.map((hash) => hash.digest('hex')),
    bytes,
    late: loop.late,
    seconds: (performance.now() - begun) / 1000,
  };
}
