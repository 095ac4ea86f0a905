/** The numbers that runs have by name: what each is, in which unit, and how it is made from a window. */
import { billedRequests, type StoreTraffic } from '../recorder/metrics-page.ts';
import { uploadRoles } from '../recorder/roles.ts';
import type { Usage } from '../recorder/usage.ts';
import type { LatencySummary } from './latency-summary.ts';

export interface FigureSpec {
  readonly title: string;
  readonly unit: string;
  readonly digits: number;
}

export const figureSpecs = {
  requestsPerSecond: { title: 'requests/s', unit: '/s', digits: 0 },
  mbPerSecond: { title: 'MB/s in', unit: 'MB/s', digits: 1 },
  outMbPerSecond: { title: 'MB/s out', unit: 'MB/s', digits: 1 },
  cpuUsPerRequest: { title: 'CPU per request', unit: 'µs', digits: 1 },
  pathCpuUsPerRequest: { title: 'CPU per request, without upload', unit: 'µs', digits: 1 },
  cpuSecondsPerGb: { title: 'CPU per GB in', unit: 's/GB', digits: 2 },
  pathCpuSecondsPerGb: { title: 'CPU per GB in, without upload', unit: 's/GB', digits: 2 },
  cpuSecondsPerGbOut: { title: 'CPU per GB out', unit: 's/GB', digits: 2 },
  cpuPercent: { title: 'processor, of one core', unit: '%', digits: 1 },
  elsewhereUsPerRequest: { title: 'CPU elsewhere per request', unit: 'µs', digits: 1 },
  p50Ms: { title: 'p50', unit: 'ms', digits: 2 },
  p99Ms: { title: 'p99', unit: 'ms', digits: 2 },
  p999Ms: { title: 'p99.9', unit: 'ms', digits: 2 },
  endToEndP50Ms: { title: 'end to end p50', unit: 'ms', digits: 2 },
  endToEndP99Ms: { title: 'end to end p99', unit: 'ms', digits: 2 },
  rssMb: { title: 'resident memory', unit: 'MB', digits: 0 },
  rssPeakMb: { title: 'resident memory, peak', unit: 'MB', digits: 0 },
  switchesPerRequest: { title: 'context switches per request', unit: '', digits: 2 },
  deviceBytesPerByte: { title: 'bytes on the device per byte in', unit: '', digits: 2 },
  wireBytesPerByte: { title: 'bytes on loopback per byte in', unit: '', digits: 2 },
  putsPerGb: { title: 'PUT-class requests per GB in', unit: '/GB', digits: 1 },
  getsPerGb: { title: 'GET-class requests per GB in', unit: '/GB', digits: 1 },
  loopP99Ms: { title: 'event loop late, p99', unit: 'ms', digits: 1 },
  loopMaxMs: { title: 'event loop late, most', unit: 'ms', digits: 1 },
  dollarsPerMb: { title: 'processor time and requests', unit: 'µ$/MB', digits: 3 },
  readyMs: { title: 'start to ready', unit: 'ms', digits: 0 },
  firstAckMs: { title: 'start to first acknowledgement', unit: 'ms', digits: 0 },
  startCpuSeconds: { title: 'CPU of a start', unit: 's', digits: 2 },
  cpuUsPerTransaction: { title: 'CPU per transaction', unit: 'µs', digits: 0 },
  transactionsPerSecond: { title: 'transactions/s', unit: '/s', digits: 0 },
  coldSeconds: { title: 'to the end', unit: 's', digits: 2 },
  tailP99Ms: { title: "the producer's p99 meanwhile", unit: 'ms', digits: 2 },
  recordsPerSecond: { title: 'records/s', unit: '/s', digits: 0 },
  writeBackSeconds: { title: 'write-back after the window', unit: 's', digits: 2 },
} as const satisfies Readonly<Record<string, FigureSpec>>;
export type FigureName = keyof typeof figureSpecs;

const GB = 1e9;
const MB = 1e6;

/** What one window was, before it is told in figures. */
export interface WindowFacts {
  readonly seconds: number;
  readonly requests: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly usage: Usage;
  readonly latency: LatencySummary | null;
  readonly endToEnd: LatencySummary | null;
  readonly store: StoreTraffic | null;
  /** Of the window's processor time and requests. */
  readonly dollars: number;
}

/** Figures without a value in this window are left out. */
export function windowFigures(facts: WindowFacts): Record<string, number> {
  const { seconds, requests, bytesIn, bytesOut, usage, latency, endToEnd, store } = facts;
  const upload = uploadRoles.reduce((sum, role) => sum + (usage.roles[role] ?? 0), 0);
  const path = usage.cpuSeconds - upload;
  const figures: Partial<Record<FigureName, number>> = {
    cpuPercent: (usage.cpuSeconds / usage.seconds) * 100,
    rssMb: usage.rssBytes / MB,
    rssPeakMb: usage.rssPeakBytes / MB,
  };
  if (requests > 0) {
    figures.requestsPerSecond = requests / seconds;
    figures.cpuUsPerRequest = (usage.cpuSeconds / requests) * 1e6;
    figures.pathCpuUsPerRequest = (path / requests) * 1e6;
    figures.elsewhereUsPerRequest = (usage.elsewhereCpuSeconds / requests) * 1e6;
    figures.switchesPerRequest = (usage.voluntarySwitches + usage.involuntarySwitches) / requests;
  }
  if (bytesIn > 0) {
    figures.mbPerSecond = bytesIn / MB / seconds;
    figures.cpuSecondsPerGb = usage.cpuSeconds / (bytesIn / GB);
    figures.pathCpuSecondsPerGb = path / (bytesIn / GB);
    figures.deviceBytesPerByte = usage.deviceWrittenBytes / bytesIn;
    figures.wireBytesPerByte = usage.loopbackBytes / bytesIn;
    // In millionths of a dollar.
    figures.dollarsPerMb = (facts.dollars / (bytesIn / MB)) * 1e6;
    if (store !== null) {
      const { puts, gets } = billedRequests(store);
      figures.putsPerGb = puts / (bytesIn / GB);
      figures.getsPerGb = gets / (bytesIn / GB);
    }
  }
  if (bytesOut > 0) {
    figures.outMbPerSecond = bytesOut / MB / usage.seconds;
    figures.cpuSecondsPerGbOut = usage.cpuSeconds / (bytesOut / GB);
  }
  if (latency !== null) {
    figures.p50Ms = latency.p50Ms;
    figures.p99Ms = latency.p99Ms;
    figures.p999Ms = latency.p999Ms;
  }
  if (endToEnd !== null) {
    figures.endToEndP50Ms = endToEnd.p50Ms;
    figures.endToEndP99Ms = endToEnd.p99Ms;
  }
  return figures as Record<string, number>;
}
