/** Time from nothing to ready on an empty directory: as a process (its start included) and inside this one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startBroker } from '../src/embedded/index.ts';
import { BrokerChild } from '../test/support/load/broker-child.ts';
import type { StartResult } from './report.ts';

export const startFloorsMs = { process: 1000, inline: 100 } as const;

export async function measureProcessStarts(samples: number): Promise<StartResult> {
  const times: number[] = [];
  for (let i = 0; i < samples; i++) {
    const dataDir = mkdtempSync(join(tmpdir(), 'millrace-start-'));
    const broker = new BrokerChild({ dataDir });
    try {
      await broker.start();
      times.push(broker.readyMs);
    } finally {
      await broker.stop();
      rmSync(dataDir, { recursive: true, force: true });
    }
  }
  return summary('process', times);
}

/** The first one loads the library's code, so it counts and is the worst. */
export async function measureInlineStarts(samples: number): Promise<StartResult> {
  const times: number[] = [];
  for (let i = 0; i < samples; i++) {
    const begun = performance.now();
    const broker = await startBroker();
    times.push(performance.now() - begun);
    await broker.stop();
  }
  return summary('inline', times);
}

function summary(kind: StartResult['kind'], samplesMs: number[]): StartResult {
  const sorted = [...samplesMs].sort((a, b) => a - b);
  return {
    kind,
    samplesMs,
    medianMs: sorted[sorted.length >> 1]!,
    worstMs: sorted.at(-1)!,
    floorMs: startFloorsMs[kind],
  };
}
