/**
 * 5 GB through a 512 MiB WAL and a 256 MiB log cache, then read back from the beginning by two groups at once: equal by
 * hash, resident memory bounded. The bound: the arena (512 MiB, both caches in it) and 512 MiB for heaps, threads and
 * code. Resident memory is sampled twice a second; the curve is in the result.
 */
import { createHash, type Hash } from 'node:crypto';
import { join } from 'node:path';
import { FindCoordinatorCodec } from '../../src/protocol/generated/find-coordinator.ts';
import { OffsetCommitCodec } from '../../src/protocol/generated/offset-commit.ts';
import { OffsetFetchCodec } from '../../src/protocol/generated/offset-fetch.ts';
import { batchBytesOf, crcStart } from '../../src/protocol/records/batch-header.ts';
import { BatchPool } from '../support/load/batches.ts';
import { BrokerChild } from '../support/load/broker-child.ts';
import { errorName } from '../support/load/error-name.ts';
import { FetchLoop } from '../support/load/fetch-loop.ts';
import { type Address, eventually, RawConnection } from '../support/raw-client.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const MiB = 1024 * 1024;
const topic = 'replay';
const partitions = 4;
const arenaBytes = 512 * MiB;
const boundBytes = arenaBytes + 512 * MiB;
const retryMsMax = 60_000;

interface Sample {
  readonly seconds: number;
  readonly phase: string;
  readonly rssMb: number;
  readonly producedMb: number;
  readonly readMb: number;
}

/** Produces to one partition in order and hashes what was acknowledged as it will be read. */
async function producePartition(
  address: Address,
  partition: number,
  bytes: number,
  progress: (bytes: number) => void,
): Promise<{ digest: string; records: number; retries: number }> {
  const connection = await RawConnection.connect(address, 'replay');
  const pool = new BatchPool({ valueBytes: 4096, recordsPerBatch: 63 }, 64);
  const hash = createHash('sha256');
  let records = 0;
  let retries = 0;
  const send = async (batch: Buffer): Promise<void> => {
    const deadline = performance.now() + retryMsMax;
    for (;;) {
      const answer = await connection.produce(topic, partition, batch);
      if (answer.errorCode === 0) return;
      // A broker that has no room refuses for a moment; ask again.
      if (performance.now() > deadline) throw new Error(`produce: ${errorName(answer.errorCode)}`);
      retries++;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  for (let sent = 0; sent < bytes; ) {
    // One request at a time, so that a refused batch is sent again without being overtaken.
    const batch = pool.take();
    await send(batch);
    hash.update(batch.subarray(crcStart));
    sent += batch.length;
    records += 63;
    progress(batch.length);
  }
  await connection.close();
  return { digest: hash.digest('hex'), records, retries };
}

async function readGroup(
  address: Address,
  group: string,
  ends: readonly number[],
  progress: (bytes: number) => void,
): Promise<{ digests: string[]; seconds: number; bytes: number }> {
  const begun = performance.now();
  const hashes: Hash[] = ends.map(() => createHash('sha256'));
  const finished = new Set<number>();
  const next = ends.map(() => 0);
  let bytes = 0;
  let finish = () => {};
  const all = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const loop = await FetchLoop.start({
    address,
    topic,
    partitions: new Map(ends.map((_, partition) => [partition, 0])),
    onRecords: (partition, data) => {
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      for (let at = 0; at < data.length; ) {
        const length = batchBytesOf(view, at);
        hashes[partition]!.update(data.subarray(at + crcStart, at + length));
        next[partition] = next[partition]! + view.getInt32(at + 57);
        at += length;
      }
      bytes += data.length;
      progress(data.length);
      if (next[partition] === ends[partition]) finished.add(partition);
      if (finished.size === ends.length) finish();
    },
  });
  await Promise.race([
    all,
    loop.done,
    new Promise((_, reject) =>
      setTimeout(
        () => reject(new Error(`group ${group} did not finish in time: ${next.join()} of ${ends.join()}`)),
        600_000,
      ).unref(),
    ),
  ]);
  await loop.stop();
  await commit(address, group, next);
  return {
    digests: hashes.map((hash) => hash.digest('hex')),
    seconds: (performance.now() - begun) / 1000,
    bytes,
  };
}

/** Commits the group's offsets and reads them back. */
async function commit(address: Address, group: string, offsets: readonly number[]): Promise<void> {
  const connection = await RawConnection.connect(address, 'replay');
  await eventually(async () => {
    const found = await connection.request(FindCoordinatorCodec, 3, { key: group, keyType: 0 });
    if (found.errorCode !== 0) throw new Error(`coordinator: ${errorName(found.errorCode)}`);
    const answer = await connection.request(OffsetCommitCodec, 8, {
      groupId: group,
      generationIdOrMemberEpoch: -1,
      memberId: '',
      topics: [
        {
          name: topic,
          partitions: offsets.map((committedOffset, partitionIndex) => ({
            partitionIndex,
            committedOffset,
            committedMetadata: '',
          })),
        },
      ],
    });
    const bad = answer.topics[0]!.partitions.find((partition) => partition.errorCode !== 0);
    if (bad !== undefined) throw new Error(`commit: ${errorName(bad.errorCode)}`);
    const back = await connection.request(OffsetFetchCodec, 7, {
      groupId: group,
      topics: [{ name: topic, partitionIndexes: offsets.map((_, i) => i) }],
      requireStable: false,
    });
    for (const partition of back.topics[0]!.partitions) {
      if (partition.committedOffset !== offsets[partition.partitionIndex])
        throw new Error(
          `group ${group} committed ${offsets[partition.partitionIndex]}, reads ${partition.committedOffset}`,
        );
    }
  });
  await connection.close();
}

async function run(context: LongContext): Promise<LongOutcome> {
  const total = Number(context.option('gb') ?? 5) * 1e9;
  const broker = new BrokerChild({
    dataDir: join(context.directory, 'data'),
    settings: {
      'wal.capacity': '512MiB',
      'arena.bytes': arenaBytes,
      'log.cache.bytes': 256 * MiB,
      'block.cache.bytes': 128 * MiB,
    },
  });
  const samples: Sample[] = [];
  let phase = 'idle';
  let produced = 0;
  let read = 0;
  const begun = performance.now();
  const sampler = setInterval(() => {
    if (!broker.running) return;
    samples.push({
      seconds: Math.round((performance.now() - begun) / 100) / 10,
      phase,
      rssMb: Math.round(broker.rssBytes() / 1e6),
      producedMb: Math.round(produced / 1e6),
      readMb: Math.round(read / 1e6),
    });
  }, 500);
  try {
    await broker.start();
    const admin = await RawConnection.connect(broker.address);
    await admin.createTopic(topic, partitions);
    phase = 'produce';
    const t0 = performance.now();
    const sent = await Promise.all(
      Array.from({ length: partitions }, (_, partition) =>
        producePartition(broker.address, partition, total / partitions, (bytes) => (produced += bytes)),
      ),
    );
    const produceSeconds = (performance.now() - t0) / 1000;
    context.say(`${(produced / 1e9).toFixed(2)} GB produced in ${produceSeconds.toFixed(1)} s`);
    const ends: number[] = [];
    for (let partition = 0; partition < partitions; partition++)
      ends.push(await admin.listOffset(topic, partition, -1));
    await admin.close();
    phase = 'read';
    const groups = await Promise.all(
      ['first', 'second'].map((group) => readGroup(broker.address, group, ends, (bytes) => (read += bytes))),
    );
    phase = 'after';
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const faults: string[] = [];
    const peak = Math.max(...samples.map(({ rssMb }) => rssMb));
    for (const [partition, { digest, records }] of sent.entries()) {
      if (ends[partition] !== records)
        faults.push(
          `partition ${partition} ends at ${ends[partition]}, ${records} records were acknowledged`,
        );
      for (const [g, group] of groups.entries())
        if (group.digests[partition] !== digest)
          faults.push(`group ${g}: partition ${partition} differs by hash`);
    }
    if (peak > boundBytes / 1e6)
      faults.push(`resident memory reached ${peak} MB, the bound is ${(boundBytes / 1e6).toFixed(0)} MB`);
    return outcome(
      faults,
      [
        `${(produced / 1e9).toFixed(2)} GB in ${produceSeconds.toFixed(1)} s (${(produced / 1e6 / produceSeconds).toFixed(0)} MB/s, ${sent.reduce((sum, { retries }) => sum + retries, 0)} retries); two groups read ${(read / 1e9).toFixed(2)} GB in ${groups.map(({ seconds }) => seconds.toFixed(1)).join(' and ')} s; hashes ${faults.some((fault) => fault.includes('hash')) ? 'differ' : 'equal'}`,
        `resident memory: peak ${peak} MB, bound ${(boundBytes / 1e6).toFixed(0)} MB (arena 537 MB and 537 MB for heaps, threads and code)`,
        curve(samples),
      ],
      {
        totalBytes: produced,
        produceSeconds,
        groups,
        ends,
        peakRssMb: peak,
        boundMb: boundBytes / 1e6,
        samples,
      },
    );
  } finally {
    clearInterval(sampler);
    await broker.stop();
  }
}

/** Resident memory as one line of bars, a character per step, 0 to the bound. */
function curve(samples: readonly Sample[]): string {
  const bars = '▁▂▃▄▅▆▇█';
  const columns = 100;
  const step = Math.max(1, Math.ceil(samples.length / columns));
  let line = '';
  for (let i = 0; i < samples.length; i += step) {
    const highest = Math.max(...samples.slice(i, i + step).map(({ rssMb }) => rssMb));
    line += bars[Math.min(7, Math.floor((highest * 1e6 * 8) / boundBytes))];
  }
  return `curve, ${(step * 0.5).toFixed(1)} s a character, full height = bound: ${line}`;
}

export const replay: LongScript = {
  name: 'replay',
  what: '5 GB through a 512 MiB WAL and a 256 MiB log cache, read back by two groups at once',
  run,
};
