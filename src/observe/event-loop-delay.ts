/** How late this thread's timers run. Owned by the thread that makes it; reading starts a new period. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Metrics } from './metrics.ts';

export interface LoopDelay {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface LoopDelaySampler {
  /** Delays since the last call. */
  sample(): LoopDelay;
  close(): void;
}

/** A timer every 10 ms costs about 0.01 % of a core. */
const resolutionMs = 10;

/** Node records the whole time between two of its timers; what is above the period is delay. */
export function systemLoopDelay(): LoopDelaySampler {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  const late = (nanos: number): number =>
    Number.isFinite(nanos) ? Math.max(0, nanos / 1e6 - resolutionMs) : 0;
  return {
    sample() {
      const delay =
        histogram.count === 0
          ? { p50Ms: 0, p99Ms: 0, maxMs: 0 }
          : {
              p50Ms: late(histogram.percentile(50)),
              p99Ms: late(histogram.percentile(99)),
              maxMs: late(histogram.max),
            };
      histogram.reset();
      return delay;
    },
    close() {
      histogram.disable();
    },
  };
}

/** Shows the sampler as millrace_event_loop_delay_seconds of this thread, a period per scrape. */
export function collectLoopDelay(metrics: Metrics, thread: string, sampler: LoopDelaySampler): void {
  const name = 'millrace_event_loop_delay_seconds';
  const p50 = metrics.gauge(name, thread, '0.5');
  const p99 = metrics.gauge(name, thread, '0.99');
  const max = metrics.gauge(name, thread, '1');
  metrics.onCollect(() => {
    const delay = sampler.sample();
    p50.set(delay.p50Ms / 1000);
    p99.set(delay.p99Ms / 1000);
    max.set(delay.maxMs / 1000);
  });
}
