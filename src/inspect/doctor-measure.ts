/** Latency and throughput of a store as one sample: enough to tell a disk, a region and another continent apart. */
import { LatencyRecord } from '../observe/metrics.ts';
import type { ProbeContext } from './doctor-probes.ts';

export interface LatencySample {
  readonly count: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

export interface DoctorSample {
  /** Objects of 4 KiB, one at a time. */
  readonly smallPut: LatencySample;
  readonly smallGet: LatencySample;
  /** MB/s (1e6 B) with four requests of 8 MiB under way. */
  readonly writeRate: number;
  readonly readRate: number;
}

const smallBytes = 4096;
const smallCount = 50;
const largeBytes = 8 << 20;
const largeAtOnce = 4;
const largeCount = 8;

export async function measureStore(context: ProbeContext, msMax: number): Promise<DoctorSample> {
  const { store, clock, random, prefix } = context;
  const small = Buffer.from(random.bytes(new Uint8Array(smallBytes)));
  const key = (i: number): string => `${prefix}sample/${String(i).padStart(3, '0')}`;

  const latency = async (call: (i: number) => Promise<unknown>): Promise<LatencySample> => {
    const record = new LatencyRecord();
    const deadline = clock.monotonic() + msMax;
    for (let i = 0; i < smallCount && (i < 3 || clock.monotonic() < deadline); i++) {
      const start = clock.monotonic();
      await call(i);
      record.record((clock.monotonic() - start) * 1000);
    }
    return { count: record.count, p50: record.quantile(0.5) / 1000, p99: record.quantile(0.99) / 1000 };
  };
  const smallPut = await latency((i) => store.put(key(i), [small]));
  const smallGet = await latency((i) => store.get(key(i % smallPut.count)));

  const large = Buffer.from(random.bytes(new Uint8Array(largeBytes)));
  const largeKey = (i: number): string => `${prefix}sample/large-${i}`;
  const rate = async (most: number, call: (i: number) => Promise<unknown>): Promise<[number, number]> => {
    const start = clock.monotonic();
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < most && (next < largeAtOnce || clock.monotonic() - start < msMax)) await call(next++);
    };
    await Promise.all(Array.from({ length: largeAtOnce }, lane));
    return [next, (next * largeBytes) / 1e3 / Math.max(0.001, clock.monotonic() - start)];
  };
  const [written, writeRate] = await rate(largeCount, (i) => store.put(largeKey(i), [large]));
  const [, readRate] = await rate(written, (i) => store.get(largeKey(i)));
  return { smallPut, smallGet, writeRate, readRate };
}
