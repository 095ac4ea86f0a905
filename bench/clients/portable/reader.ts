/** Reads as native/load/consume.c does, over test/support/load/fetch-loop.ts: without a compiler, and over TLS. */
import {
  baseOffsetOf,
  batchBytesOf,
  crcStart,
  headerField,
} from '../../../src/protocol/records/batch-header.ts';
import { crc32c } from '../../../test/support/load/batches.ts';
import { FetchLoop } from '../../../test/support/load/fetch-loop.ts';
import { type Ledger, readLedger } from '../ledger.ts';
import type { ConsumePlan, ReadState } from '../plan.ts';
import { Latencies, nowNanos } from './latencies.ts';
import { cpuSeconds } from './sender.ts';

interface Own {
  readonly partitions: readonly number[];
  readonly loop: FetchLoop;
  readonly left: Set<number>;
  finishedAt: number;
}

export class Reader {
  readonly #plan: ConsumePlan;
  readonly #ledger: Ledger | null;
  readonly #readers: Own[] = [];
  readonly #endToEnd = new Latencies();
  #begunAt = 0;
  #cpuBegin = 0;
  #unacknowledged = 0;
  #checked = 0;

  constructor(plan: ConsumePlan) {
    this.#plan = plan;
    this.#ledger = plan.ledger === null ? null : readLedger(plan.ledger);
  }

  /** Resolves when all have read to their end; never without a ledger. */
  async run(): Promise<void> {
    this.#begunAt = nowNanos();
    this.#cpuBegin = cpuSeconds();
    const { connections, partitions } = this.#plan;
    const all = Array.from({ length: partitions }, (_, partition) => partition);
    await Promise.all(
      Array.from({ length: connections }, (_, c) =>
        this.#read(this.#plan.split ? all.filter((p) => p % connections === c % partitions) : all),
      ),
    );
    if (this.#ledger === null) await new Promise(() => {});
  }

  async #read(partitions: readonly number[]): Promise<void> {
    const plan = this.#plan;
    const ends = new Map(
      partitions.map((p) => [p, (this.#ledger?.crcs[p]?.length ?? 0) * plan.recordsPerBatch]),
    );
    const left = new Set(this.#ledger === null ? [] : partitions.filter((p) => ends.get(p)! > 0));
    const begin = (p: number): number =>
      plan.lastBatches === 0 ? 0 : Math.max(0, ends.get(p)! - plan.lastBatches * plan.recordsPerBatch);
    let finish = (): void => {};
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const own: { -readonly [K in keyof Own]?: Own[K] } = { partitions, left, finishedAt: 0 };
    own.loop = await FetchLoop.start({
      address: plan.address,
      topic: plan.topic,
      partitions: new Map(partitions.map((p) => [p, begin(p)])),
      maxWaitMs: plan.maxWaitMs,
      maxBytes: plan.fetchBytes,
      partitionMaxBytes: plan.partitionBytes,
      patient: true,
      ...(plan.ca === null ? {} : { secured: { ca: plan.ca, servername: 'localhost' } }),
      onRecords: (partition, records) => {
        const next = this.#take(partition, records);
        if (this.#ledger !== null && next >= ends.get(partition)!) left.delete(partition);
        if (this.#ledger !== null && left.size === 0) finish();
      },
    });
    this.#readers.push(own as Own);
    if (this.#ledger === null) {
      await own.loop.done;
      return;
    }
    if (left.size > 0) await Promise.race([finished, own.loop.done]);
    own.finishedAt = nowNanos();
    await own.loop.stop();
  }

  #take(partition: number, records: Buffer): number {
    const plan = this.#plan;
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    const now = nowNanos();
    let next = 0;
    for (let at = 0; at < records.length; ) {
      const length = batchBytesOf(view, at);
      const base = baseOffsetOf(view, at);
      next = base + plan.recordsPerBatch;
      if (plan.endToEnd) this.#endToEnd.record(now - Number(view.getBigUint64(at + length - 9)));
      if (plan.verify) {
        const stored = view.getUint32(at + headerField.crc);
        if (crc32c(records, at + crcStart, length - crcStart) !== stored)
          throw new Error(`partition ${partition}: the batch at ${base} is not what its CRC says`);
        const acknowledged = this.#ledger?.crcs[partition]?.[base / plan.recordsPerBatch] ?? 0;
        if (acknowledged === 0) this.#unacknowledged++;
        else if (acknowledged === stored) this.#checked++;
        else
          throw new Error(
            `partition ${partition}: the batch at ${base} is not the one that was acknowledged`,
          );
      }
      at += length;
    }
    return next;
  }

  state(): ReadState {
    const loops = this.#readers.map(({ loop }) => loop);
    const sum = (name: 'bytes' | 'batches' | 'answers' | 'late'): number =>
      loops.reduce((total, loop) => total + loop[name], 0);
    return {
      bytes: sum('bytes'),
      batches: sum('batches'),
      answers: sum('answers'),
      late: sum('late'),
      unacknowledged: this.#unacknowledged,
      checked: this.#checked,
      unfinished: this.#readers.filter(({ left }) => left.size > 0).length,
      cpuSeconds: cpuSeconds() - this.#cpuBegin,
      finishedSeconds: this.#readers.map(({ finishedAt }) =>
        finishedAt === 0 ? -1 : (finishedAt - this.#begunAt) / 1e9,
      ),
      endToEnd: this.#endToEnd.pairs(),
    };
  }
}
