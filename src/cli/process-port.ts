/** The process as the command line sees it, so that tests can be the process. */
import { readFileSync, statSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Machine } from '../config/derive.ts';
import type { NoticeSignal, PolledNotice } from '../config/notice-settings.ts';
import type { Clock } from '../ports/clock.ts';
import type { NoticeSource } from '../ports/notice-source.ts';
import { SystemClock } from '../threads/adapters/system-clock.ts';

export const stopSignals = ['SIGTERM', 'SIGINT'] as const;
export type StopSignal = (typeof stopSignals)[number];

/** Where word may come from that this machine is to be taken away. */
export interface NoticePort {
  readonly clock: Pick<Clock, 'after'>;
  /** @param limitMs of one look. */
  open(place: PolledNotice, limitMs: number): Promise<NoticeSource>;
  onSignal(signal: NoticeSignal, listener: () => void): void;
}

export interface ProcessPort {
  /** Words after the program's name. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly directory: string;
  readonly version: string;
  /** When the process was started, wall clock, milliseconds since the epoch. */
  readonly startedAtMs: number;
  now(): number;
  machine(): Machine;
  /** Where a file of data lies that ships with the package. */
  dataFile(name: string): string;
  /** Throws what node:fs throws. A file larger than `bytesMax` is an error. */
  readText(path: string, bytesMax: number): string;
  out(text: string): void;
  err(text: string): void;
  onSignal(listener: (signal: StopSignal) => void): void;
  readonly notices: NoticePort;
}

/** Package description beside the compiled tree: dist/src/cli/ is three below it. */
const packageFile = new URL('../../../package.json', import.meta.url);
const dataFolder = new URL('../../../src/cost/data/', import.meta.url);

export function systemProcess(environment: Readonly<Record<string, string | undefined>>): ProcessPort {
  return {
    args: process.argv.slice(2),
    environment,
    directory: process.cwd(),
    get version() {
      return (JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }).version;
    },
    startedAtMs: Date.now() - process.uptime() * 1000,
    now: () => Date.now(),
    machine: systemMachine,
    dataFile: (name) => fileURLToPath(new URL(name, dataFolder)),
    readText(path, bytesMax) {
      const { size } = statSync(path);
      if (size > bytesMax) throw new Error(`${path} has ${size} bytes, more than ${bytesMax}`);
      return readFileSync(path, 'utf8');
    },
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    onSignal(listener) {
      for (const signal of stopSignals) process.on(signal, () => listener(signal));
    },
    notices: {
      clock: new SystemClock(),
      async open(place, limitMs) {
        const { openNoticeSource } = await import('../threads/adapters/notice-sources.ts');
        return openNoticeSource(place, limitMs);
      },
      onSignal: (signal, listener) => void process.on(signal, listener),
    },
  };
}

/** What the container may use, or the whole machine where there is no limit. */
export function systemMachine(): Machine {
  const total = totalmem();
  // 0 or an enormous number where there is no limit.
  const limit = process.constrainedMemory();
  return { memoryBytes: limit > 0 && limit < total ? limit : total, cores: availableParallelism() };
}
