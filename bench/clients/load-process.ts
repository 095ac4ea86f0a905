/** A load as a child process that speaks in lines: the native program, or the portable one with the same words. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { produceEnvelope } from '../../test/support/raw-client.ts';
import { type MadePlace, makeScratch } from '../systems/places.ts';
import { nativeProgram } from './native-program.ts';
import type { ConsumePlan, Load, LoadPlan, ProducePlan, ReadState, RequestPlan, SendResult } from './plan.ts';

const portableEntry = fileURLToPath(new URL('./portable/load.process.js', import.meta.url));
const outputMax = 64 * 1024 * 1024;

export type LoadKind = 'native' | 'portable';

/** Native where it compiles and the plan is without TLS, which it has not. */
export function loadKindFor(plan: { readonly ca: string | null }, wanted: LoadKind = 'native'): LoadKind {
  return wanted === 'native' && plan.ca === null && 'path' in nativeProgram('load') ? 'native' : 'portable';
}

export function startLoad(plan: LoadPlan, wanted: LoadKind = 'native'): Load {
  const scratch = makeScratch();
  const program = nativeProgram('load');
  if (loadKindFor(plan, wanted) === 'native' && 'path' in program) {
    const file = join(scratch.path, 'plan');
    writeFileSync(file, nativePlan(plan));
    return new LoadProcess(program.path, [file], scratch);
  }
  const file = join(scratch.path, 'plan.json');
  writeFileSync(file, portablePlan(plan));
  return new LoadProcess(process.execPath, [portableEntry, file], scratch);
}

/** Any program that speaks the same lines, with its plan as JSON. */
export function startProgram(entry: string, plan: object): Load {
  const scratch = makeScratch();
  const file = join(scratch.path, 'plan.json');
  writeFileSync(file, JSON.stringify(plan));
  return new LoadProcess(process.execPath, [entry, file], scratch);
}

/** JSON, with frames as base64. */
function portablePlan(plan: LoadPlan): string {
  return JSON.stringify(plan.kind === 'request' ? { ...plan, frame: plan.frame.toString('base64') } : plan);
}

/** Lines "key value" of native/load/plan.c. */
export function nativePlan(plan: LoadPlan): string {
  const { address, connections, kind } = plan;
  const common = { mode: kind, host: address.host, port: address.port, connections };
  const all: Record<string, string | number> =
    plan.kind === 'consume'
      ? { ...common, ...consumeLines(plan) }
      : plan.kind === 'produce'
        ? { ...common, ...sendLines(plan), ...produceLines(plan) }
        : { ...common, ...sendLines(plan), head: plan.frame.toString('hex'), correlationAt: 8, errorAt: 0 };
  return Object.entries(all)
    .map(([key, value]) => `${key} ${value}\n`)
    .join('');
}

function sendLines(plan: ProducePlan | RequestPlan): Record<string, string | number> {
  return {
    depth: plan.depth,
    rate: plan.requestsPerSecond,
    leadSeconds: plan.leadSeconds,
    seconds: plan.seconds,
    bytesMax: plan.bytesMax,
  };
}

function produceLines(plan: ProducePlan): Record<string, string | number> {
  // The length of the records, a varint, stands last in the head: the load writes its own.
  const { head, tail, correlationAt } = produceEnvelope(plan.topic, 0, 1);
  const withoutLength = head.subarray(0, head.length - 1);
  return {
    topic: plan.topic,
    partitions: plan.partitions,
    pool: plan.pool,
    recordsPerBatch: plan.recordsPerBatch,
    ...(plan.ledger === null ? {} : { ledger: plan.ledger }),
    head: withoutLength.toString('hex'),
    tail: tail.toString('hex'),
    correlationAt,
    partitionAt: withoutLength.length - 4,
    // Correlation id, tags, topics, name, partitions, index, then the error code.
    errorAt: 4 + 1 + 1 + 1 + Buffer.byteLength(plan.topic) + 1 + 4,
  };
}

function consumeLines(plan: ConsumePlan): Record<string, string | number> {
  return {
    topic: plan.topic,
    partitions: plan.partitions,
    split: plan.split ? 1 : 0,
    maxWaitMs: plan.maxWaitMs,
    minBytes: plan.minBytes,
    fetchBytes: plan.fetchBytes,
    partitionBytes: plan.partitionBytes,
    recordsPerBatch: plan.recordsPerBatch,
    ...(plan.ledger === null ? {} : { ledger: plan.ledger, toEnd: 1, lastBatches: plan.lastBatches }),
    verify: plan.verify ? 1 : 0,
    endToEnd: plan.endToEnd ? 1 : 0,
  };
}

const running = new Set<LoadProcess>();
process.on('exit', () => {
  for (const each of running) each.kill();
});

class LoadProcess implements Load {
  readonly ready: Promise<void>;
  readonly begun: Promise<void>;
  readonly ended: Promise<void>;
  readonly result: Promise<SendResult | ReadState>;
  readonly failed: Promise<never>;
  readonly #child: ChildProcess;
  readonly #over: Promise<void>;
  readonly #marks: ((state: ReadState) => void)[] = [];

  constructor(program: string, args: readonly string[], scratch: MadePlace) {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    running.add(this);
    const words = new Map<string, (rest: string) => void>();
    const on = <T>(word: string, value: (rest: string) => T): Promise<T> =>
      new Promise((resolve) => {
        words.set(word, (rest) => resolve(value(rest)));
      });
    this.ready = on('ready', () => undefined);
    this.begun = on('begin', () => undefined);
    this.ended = on('end', () => undefined);
    this.result = on('result', (rest) => JSON.parse(rest) as SendResult | ReadState);
    let hasResult = false;
    void this.result.then(() => {
      hasResult = true;
    });
    words.set('snapshot', (rest) => this.#marks.shift()?.(JSON.parse(rest) as ReadState));
    let fail!: (error: Error) => void;
    this.failed = new Promise((_, reject) => {
      fail = reject;
    });
    this.failed.catch(() => {});
    words.set('failed', (rest) => fail(new Error(`the load: ${rest}`)));
    let rest = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      rest += text;
      if (rest.length > outputMax) fail(new Error('the load says too much'));
      const lines = rest.split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const space = line.indexOf(' ');
        const word = space < 0 ? line : line.slice(0, space);
        words.get(word)?.(space < 0 ? '' : line.slice(space + 1));
      }
    });
    child.stdin!.on('error', () => {});
    child.once('error', (error) => fail(error));
    this.#over = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        running.delete(this);
        scratch.remove();
        if (!hasResult) fail(new Error(`the load ended with ${signal ?? `code ${code}`}`));
        resolve();
      });
      child.once('error', () => resolve());
    });
  }

  go(): void {
    this.#child.stdin!.write('go\n');
  }

  finish(): void {
    this.#child.stdin!.write('end\n');
  }

  mark(): Promise<ReadState> {
    return new Promise((resolve) => {
      this.#marks.push(resolve);
      this.#child.stdin!.write('mark\n');
    });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.stdin!.end('stop\n');
      const timer = setTimeout(() => this.kill(), 3_000);
      await this.#over;
      clearTimeout(timer);
    }
  }
}
