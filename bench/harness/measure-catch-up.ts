/**
 * Readers from the beginning while a producer goes on at the end:
 *
 *   backlog is produced ── producer alone (p99, processor time) ── producer with readers, until they are at the backlog's end
 */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { shapeOf } from '../clients/batch-pool.ts';
import { startLoad } from '../clients/load-process.ts';
import {
  type Load,
  type ProducePlan,
  type ReadState,
  type SendResult,
  stockConsumer,
} from '../clients/plan.ts';
import { billedRequests, loopTurns, storeTraffic } from '../recorder/metrics-page.ts';
import { PeakMemory } from '../recorder/recorder.ts';
import { usageBetween } from '../recorder/usage.ts';
import { summarize } from './latency-summary.ts';
import type { MeasureContext, Measured } from './measures.ts';
import { poolFor } from './pools.ts';
import type { CatchUpVariant } from './scenario.ts';
import { settle, writeBack } from './settle.ts';
import { median } from './statistics.ts';
import { sleep, within } from './time-limits.ts';
import { measureWindow } from './window.ts';

const batch = shapeOf(256 * 1024, 64);
const producers = 4;
const backlogSecondsMax = 180;
/** A quick run reads less, and from memory. */
const quickDivisor = 40;
const readSecondsMax = 180;

export async function measureCatchUp(context: MeasureContext<CatchUpVariant>): Promise<Measured> {
  const { variant, bed, lengths } = context;
  const topic = await bed.makeTopic(variant.partitions);
  const ledger = join(context.directory, `ledger-${topic}-${bed.name}`);
  const backlog = `${ledger}-backlog`;
  const pool = poolFor(context.directory, batch, producers * 2);
  const plan: ProducePlan = {
    kind: 'produce',
    address: bed.system.address,
    ca: null,
    connections: producers,
    depth: 2,
    topic,
    partitions: variant.partitions,
    requestsPerSecond: 0,
    leadSeconds: 0,
    seconds: backlogSecondsMax,
    bytesMax: (variant.backlogMb * 1e6) / (context.options.quick ? quickDivisor : 1),
    pool: pool.path,
    recordsPerBatch: batch.recordsPerBatch,
    ledger,
  };
  const loads: Load[] = [];
  const peak = new PeakMemory(bed.system.pid);
  try {
    await measureWindow(bed, { send: plan, consume: null, portable: false });
    copyFileSync(ledger, backlog);
    await writeBack(bed, lengths.settleSecondsMax);
    await settle([bed], lengths.settleSecondsMax);
    const tail = {
      ...plan,
      requestsPerSecond: (variant.tailMbPerSecond * 1e6) / pool.batchBytes,
      leadSeconds: lengths.leadSeconds,
      bytesMax: 0,
    };
    const alone = await measureWindow(bed, {
      send: { ...tail, seconds: context.seconds },
      consume: null,
      portable: false,
    });
    const sender = startLoad({ ...tail, seconds: readSecondsMax });
    const readers = startLoad({
      ...stockConsumer,
      address: bed.system.address,
      ca: null,
      connections: variant.readers,
      topic,
      partitions: variant.partitions,
      split: false,
      recordsPerBatch: batch.recordsPerBatch,
      ledger: backlog,
    });
    loads.push(sender, readers);
    const failed = Promise.race(loads.map((load) => load.failed));
    failed.catch(() => {});
    const inTime = <T>(what: string, work: Promise<T>): Promise<T> =>
      within(readSecondsMax, what, Promise.race([work, failed]));
    await inTime('connecting', Promise.all(loads.map((load) => load.ready)));
    sender.go();
    await inTime('the lead', sender.begun);
    const before = bed.mark();
    const pageBefore = await bed.system.page();
    readers.go();
    const read = (await inTime('reading', readers.result)) as ReadState;
    const after = bed.mark();
    const pageAfter = await bed.system.page();
    // A window of less than this has too few requests for a p99.
    const left = Math.min(2, context.seconds) - (after.atMs - before.atMs) / 1000;
    if (left > 0) await sleep(left * 1000);
    sender.finish();
    const sent = (await inTime('the drain', sender.result)) as SendResult;
    await bed.refreshThreadNames();
    const usage = usageBetween(before, after, {
      roleOf: (tid, comm) => bed.roleOf(tid, comm),
      loadCpuSeconds: sent.cpuSeconds + read.cpuSeconds,
      rssPeakBytes: peak.stop(),
    });
    const latency = summarize(sent.latency);
    const tailCpuSeconds = (alone.usage.cpuSeconds / alone.usage.seconds) * usage.seconds;
    const store = pageBefore === null || pageAfter === null ? null : storeTraffic(pageBefore, pageAfter);
    const gbOut = read.bytes / 1e9;
    return {
      figures: {
        coldSeconds: median(read.finishedSeconds),
        outMbPerSecond: read.bytes / 1e6 / usage.seconds,
        // Without what the tail alone takes.
        cpuSecondsPerGbOut: Math.max(0, usage.cpuSeconds - tailCpuSeconds) / gbOut,
        p99Ms: alone.latency?.p99Ms ?? Number.NaN,
        tailP99Ms: latency?.p99Ms ?? Number.NaN,
        rssPeakMb: usage.rssPeakBytes / 1e6,
        ...(store === null ? {} : { getsPerGb: billedRequests(store).gets / gbOut }),
      },
      usage,
      latency,
      endToEnd: null,
      store,
      loop: pageAfter === null ? null : loopTurns(pageAfter),
      load: { kind: 'native', cpuShare: read.cpuSeconds / usage.seconds, slipMs: sent.slipMs },
      loss: null,
      remarks:
        read.late > 0 ? [`${read.late} reads were put off because the store was not read in time`] : [],
    };
  } finally {
    peak.stop();
    await Promise.all(loads.map((load) => load.stop()));
    for (const file of [ledger, backlog]) rmSync(file, { force: true });
    await bed.dropTopics([topic]);
  }
}
