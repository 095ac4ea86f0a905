/**
 * Consumers that replay a topic from its beginning, each with a connection and a fetch session of its own, and what they
 * read by hash. Run as a process of its own by fork: its plan comes as the first message, its results go back as one.
 */
import { createHash, type Hash } from 'node:crypto';
import { setPriority } from 'node:os';
import { batchBytesOf, crcStart, lastOffsetOf } from '../../../src/protocol/records/batch-header.ts';
import type { Address } from '../raw-client.ts';
import { crc32c } from './batches.ts';
import { FetchLoop } from './fetch-loop.ts';

export interface ReplayPlan {
  readonly address: Address;
  readonly topic: string;
  /** End offset of each partition. */
  readonly ends: readonly number[];
  readonly readers: number;
  /** Between the starts of two readers. */
  readonly staggerMs: number;
  readonly timeoutMs: number;
  /** Of each reader; as fast as they can without. */
  readonly bytesPerSecond?: number;
}

export interface ReplayResult {
  /** One hash per partition, for each reader. */
  readonly digests: readonly (readonly string[])[];
  readonly seconds: readonly number[];
  readonly bytes: number;
  readonly error: string | null;
}

/** Hash of a partition over each batch's length and the CRC-32C of the bytes that were read. */
export class BatchDigest {
  readonly #hash: Hash = createHash('sha256');
  readonly #words = Buffer.alloc(8);

  add(batch: Buffer): void {
    this.#words.writeUInt32LE(batch.length, 0);
    this.#words.writeUInt32LE(crc32c(batch, crcStart, batch.length - crcStart), 4);
    this.#hash.update(this.#words);
  }

  get hex(): string {
    return this.#hash.copy().digest('hex');
  }
}

async function replayOne(plan: ReplayPlan): Promise<{ digests: string[]; seconds: number; bytes: number }> {
  const begun = performance.now();
  const digests = plan.ends.map(() => new BatchDigest());
  const left = new Set(plan.ends.flatMap((end, partition) => (end > 0 ? [partition] : [])));
  let finish = (): void => {};
  const all = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const loop = await FetchLoop.start({
    address: plan.address,
    topic: plan.topic,
    partitions: new Map(plan.ends.map((_, partition) => [partition, 0])),
    ...(plan.bytesPerSecond === undefined ? {} : { bytesPerSecond: plan.bytesPerSecond }),
    onRecords: (partition, records) => {
      const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
      let last = -1;
      for (let at = 0; at < records.length; ) {
        const length = batchBytesOf(view, at);
        digests[partition]!.add(records.subarray(at, at + length));
        last = lastOffsetOf(view, at);
        at += length;
      }
      if (last + 1 >= plan.ends[partition]!) left.delete(partition);
      if (left.size === 0) finish();
    },
  });
  const timeout = new Promise<never>((_, reject) => {
    setTimeout(
      () =>
        reject(new Error(`a reader stands at ${[...loop.offsets.values()].join()} of ${plan.ends.join()}`)),
      plan.timeoutMs,
    ).unref();
  });
  await Promise.race([all, loop.done, timeout]);
  await loop.stop();
  return {
    digests: digests.map((digest) => digest.hex),
    seconds: (performance.now() - begun) / 1000,
    bytes: loop.bytes,
  };
}

export async function replay(plan: ReplayPlan): Promise<ReplayResult> {
  try {
    const results = await Promise.all(
      Array.from({ length: plan.readers }, async (_, reader) => {
        await new Promise((resolve) => setTimeout(resolve, reader * plan.staggerMs));
        return replayOne(plan);
      }),
    );
    return {
      digests: results.map(({ digests }) => digests),
      seconds: results.map(({ seconds }) => seconds),
      bytes: results.reduce((sum, { bytes }) => sum + bytes, 0),
      error: null,
    };
  } catch (error) {
    return { digests: [], seconds: [], bytes: 0, error: (error as Error).message };
  }
}

if (process.send !== undefined && process.argv[1]?.endsWith('replay-readers.js') === true) {
  // Consumers run elsewhere in earnest: here they take only what the broker and its producer leave.
  setPriority(19);
  process.once('message', (plan) => {
    void replay(plan as ReplayPlan).then((result) => process.send!(result, () => process.exit(0)));
  });
}
