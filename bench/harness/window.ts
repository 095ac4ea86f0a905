/**
 * One measured window: loads are started, marks are taken where the sender's window begins and ends, everything is stopped.
 *
 *   connect ── go ── lead ──begin── counted ──end── drain ── result
 *                           marks            marks
 */
import { startLoad } from '../clients/load-process.ts';
import type {
  ConsumePlan,
  Load,
  ProducePlan,
  ReadState,
  RequestPlan,
  SendResult,
  Window,
} from '../clients/plan.ts';
import { type LoopTurns, loopTurns, type StoreTraffic, storeTraffic } from '../recorder/metrics-page.ts';
import { PeakMemory } from '../recorder/recorder.ts';
import { type Usage, usageBetween } from '../recorder/usage.ts';
import type { Bed } from './bed.ts';
import { type LatencySummary, pairsBetween, summarize } from './latency-summary.ts';
import { within } from './time-limits.ts';

const connectSecondsMax = 60;
/** On top of lead, window and the load's own drain of ten seconds. */
const windowSecondsSpare = 45;

export interface WindowResult {
  readonly send: SendResult;
  readonly usage: Usage;
  readonly latency: LatencySummary | null;
  readonly endToEnd: LatencySummary | null;
  readonly store: StoreTraffic | null;
  readonly loop: LoopTurns | null;
  /** Read by consumers between the marks. */
  readonly bytesOut: number;
  readonly loadCpuSeconds: number;
}

export interface WindowPlan {
  /** A plan of a load of ours, or a load that is started already. */
  readonly send: ProducePlan | RequestPlan | (Window & { readonly load: Load });
  readonly consume: ConsumePlan | null;
  readonly portable: boolean;
}

export async function measureWindow(bed: Bed, plan: WindowPlan): Promise<WindowResult> {
  const kind = plan.portable ? 'portable' : 'native';
  const loads: Load[] = [];
  const peak = new PeakMemory(bed.system.pid);
  try {
    const sender = 'load' in plan.send ? plan.send.load : startLoad(plan.send, kind);
    loads.push(sender);
    const reader = plan.consume === null ? null : startLoad(plan.consume, kind);
    if (reader !== null) loads.push(reader);
    const failed = Promise.race(loads.map((load) => load.failed));
    failed.catch(() => {});
    const inTime = <T>(seconds: number, what: string, work: Promise<T>): Promise<T> =>
      within(seconds, what, Promise.race([work, failed]));
    await inTime(connectSecondsMax, 'connecting', Promise.all(loads.map((load) => load.ready)));
    reader?.go();
    sender.go();
    await inTime(plan.send.leadSeconds + windowSecondsSpare, 'the lead', sender.begun);
    const before = bed.mark();
    const readBefore = (await reader?.mark()) ?? null;
    const pageBefore = await bed.system.page();
    await inTime(plan.send.seconds + windowSecondsSpare, 'the window', sender.ended);
    const after = bed.mark();
    const readAfter = (await reader?.mark()) ?? null;
    const pageAfter = await bed.system.page();
    await bed.refreshThreadNames();
    const send = (await inTime(windowSecondsSpare, 'the drain', sender.result)) as SendResult;
    const loadCpuSeconds = send.cpuSeconds + cpuBetween(readBefore, readAfter);
    return {
      send,
      usage: usageBetween(before, after, {
        roleOf: (tid, comm) => bed.roleOf(tid, comm),
        loadCpuSeconds,
        rssPeakBytes: peak.stop(),
      }),
      latency: summarize(send.latency),
      endToEnd:
        readBefore === null || readAfter === null
          ? null
          : summarize(pairsBetween(readBefore.endToEnd, readAfter.endToEnd)),
      store: pageBefore === null || pageAfter === null ? null : storeTraffic(pageBefore, pageAfter),
      loop: pageAfter === null ? null : loopTurns(pageAfter),
      bytesOut: (readAfter?.bytes ?? 0) - (readBefore?.bytes ?? 0),
      loadCpuSeconds,
    };
  } finally {
    peak.stop();
    await Promise.all(loads.map((load) => load.stop()));
  }
}

function cpuBetween(before: ReadState | null, after: ReadState | null): number {
  return (after?.cpuSeconds ?? 0) - (before?.cpuSeconds ?? 0);
}

/** Marks around a time in which nothing is asked of the system, or what `meanwhile` asks. */
export async function measureTime(
  bed: Bed,
  meanwhile: () => Promise<void>,
): Promise<{ readonly usage: Usage; readonly store: StoreTraffic | null; readonly loop: LoopTurns | null }> {
  const peak = new PeakMemory(bed.system.pid);
  try {
    const pageBefore = await bed.system.page();
    const before = bed.mark();
    await meanwhile();
    const after = bed.mark();
    const pageAfter = await bed.system.page();
    await bed.refreshThreadNames();
    return {
      usage: usageBetween(before, after, {
        roleOf: (tid, comm) => bed.roleOf(tid, comm),
        loadCpuSeconds: 0,
        rssPeakBytes: peak.stop(),
      }),
      store: pageBefore === null || pageAfter === null ? null : storeTraffic(pageBefore, pageAfter),
      loop: pageAfter === null ? null : loopTurns(pageAfter),
    };
  } finally {
    peak.stop();
  }
}
