/** What the machine and the brokers did while a scenario ran: shares of processors, bytes between brokers, a sample a second. */
import { readFileSync } from 'node:fs';
import { receivedBytesOf } from '../recorder/proc-text.ts';
import { machineCpu, processCpuSeconds } from '../recorder/recorder.ts';
import type { ClusterUnderTest } from './cluster-under-test.ts';

export interface Sample {
  /** Since the observer began, s. */
  readonly second: number;
  /** Of all processors together, 0…1. */
  readonly busy: number;
  readonly steal: number;
}

export interface Observed {
  readonly samples: readonly Sample[];
  /** Means over all of it, 0…1. */
  readonly busy: number;
  readonly steal: number;
  readonly busyMax: number;
  /** Seconds of processors that brokers used, those that ended left out from their last sample on. */
  readonly brokerCpuSeconds: number;
  /** Over loopback in all; load, metadata and questions of this program included. */
  readonly loopbackBytes: number;
}

const loopback = (): number => receivedBytesOf(readFileSync('/proc/net/dev', 'latin1'), 'lo');

export class Observer {
  readonly #cluster: ClusterUnderTest;
  readonly #samples: Sample[] = [];
  readonly #begun = machineCpu();
  readonly #begunAt = performance.now();
  readonly #loopback = loopback();
  /** By pid: at its first sample, at its newest. */
  readonly #used = new Map<number, [first: number, last: number]>();
  #last = this.#begun;
  readonly #timer: NodeJS.Timeout;

  constructor(cluster: ClusterUnderTest) {
    this.#cluster = cluster;
    this.#look();
    this.#timer = setInterval(() => this.#sample(), 1_000);
  }

  /** Seconds since it began. */
  get second(): number {
    return (performance.now() - this.#begunAt) / 1_000;
  }

  end(): Observed {
    clearInterval(this.#timer);
    this.#look();
    const now = machineCpu();
    const all = share(this.#begun, now);
    return {
      samples: this.#samples,
      ...all,
      busyMax: Math.max(all.busy, ...this.#samples.map(({ busy }) => busy)),
      brokerCpuSeconds: [...this.#used.values()].reduce((sum, [first, last]) => sum + last - first, 0),
      loopbackBytes: loopback() - this.#loopback,
    };
  }

  #sample(): void {
    const now = machineCpu();
    this.#samples.push({ second: Math.round(this.second), ...share(this.#last, now) });
    this.#last = now;
    this.#look();
  }

  #look(): void {
    for (const { pid, running } of this.#cluster.nodes) {
      if (!running) continue;
      try {
        const used = processCpuSeconds(pid);
        this.#used.set(pid, [this.#used.get(pid)?.[0] ?? used, used]);
      } catch {
        // It ended between the question and the look.
      }
    }
  }
}

function share(
  before: ReturnType<typeof machineCpu>,
  after: ReturnType<typeof machineCpu>,
): { readonly busy: number; readonly steal: number } {
  const busy = after.busy - before.busy;
  const steal = after.steal - before.steal;
  const all = Math.max(busy + steal + after.idle - before.idle, Number.EPSILON);
  return { busy: busy / all, steal: steal / all };
}
