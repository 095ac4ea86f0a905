/**
 * A broker as people run it: `node dist/src/main.js start` in a process of its own, on a port of its own, with its data in
 * a temporary directory. Ended by its own process id only.
 *
 *   start ──ready line──► serving ──stop (SIGTERM)──► ended(code) ──start──► same address for clients, same directory
 *                            └──────kill (SIGKILL)──► ended(null) ──┘
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endWithUs } from './end-with-us.ts';
import { patienceMs } from './patience.ts';
import { ownPort } from './ports.ts';

export interface BrokerProcessOptions {
  /** Settings as `--set` takes them. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** More words of the command line. */
  readonly args?: readonly string[];
  /** Kept when given; else a temporary directory that `dispose` removes. */
  readonly data?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Program and first words before `start`; a wrapper as strace goes here. */
  readonly command?: readonly [string, ...string[]];
  readonly readyTimeoutMs?: number;
  /** In a process group of its own: a Ctrl-C for the starter does not reach it. */
  readonly detached?: boolean;
}

/** How a process ended: its code, or the signal that ended it. */
export interface BrokerEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const mainFile = fileURLToPath(new URL('../../src/main.js', import.meta.url));
const errorCharsMax = 1024 * 1024;

export class BrokerProcess {
  readonly data: string;
  /** host:port for clients; known, and the same from then on, once started. */
  bootstrap = '';
  /** http://host:port of health and metrics. */
  http = '';
  /** What it said when it was ready, at the last start. */
  ready = '';
  /** Milliseconds from spawning to the ready line, of the last start. */
  readyMs = 0;
  /** The last 1 MiB of what it wrote to standard error, over all starts. */
  errors = '';
  /** Of the process now, or last. */
  pid = 0;
  private readonly options: BrokerProcessOptions;
  private child: ChildProcess | null = null;
  private ended: Promise<BrokerEnd> = Promise.resolve({ code: 0, signal: null });
  private readonly ownsData: boolean;

  private constructor(options: BrokerProcessOptions) {
    this.options = options;
    this.ownsData = options.data === undefined;
    this.data = options.data ?? mkdtempSync(join(tmpdir(), 'millrace-broker-'));
  }

  /** Resolves when it serves; rejects with what it said when it ends or is silent instead. */
  static async start(options: BrokerProcessOptions = {}): Promise<BrokerProcess> {
    const broker = new BrokerProcess(options);
    try {
      await broker.start();
      return broker;
    } catch (error) {
      await broker.dispose();
      throw error;
    }
  }

  /** One that has not been started yet. */
  static prepare(options: BrokerProcessOptions): BrokerProcess {
    return new BrokerProcess(options);
  }

  get running(): boolean {
    return this.child !== null;
  }

  /** Starts it, or starts it again on the address and the directory it had. */
  async start(): Promise<void> {
    if (this.child !== null) throw new Error('it is already running');
    const { settings = {}, args = [], env = {}, command = [process.execPath, mainFile] } = this.options;
    if (this.bootstrap === '') this.bootstrap = `127.0.0.1:${await ownPort()}`;
    const words = [
      ...command.slice(1),
      'start',
      '--data',
      this.data,
      '--listen',
      this.bootstrap,
      '--http',
      '127.0.0.1:0',
      ...args,
    ];
    for (const [name, value] of Object.entries(settings)) words.push('--set', `${name}=${value}`);
    const began = performance.now();
    const child = spawn(command[0], words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: this.options.detached ?? false,
      env: { ...process.env, ...env },
    });
    endWithUs(child);
    this.child = child;
    this.pid = child.pid ?? 0;
    this.ended = new Promise((resolve) => {
      child.once('error', () => resolve({ code: null, signal: null }));
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    void this.ended.then(() => {
      if (this.child === child) this.child = null;
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.errors = (this.errors + text).slice(-errorCharsMax);
    });
    const line = await this.readyLine(child);
    this.readyMs = performance.now() - began;
    this.ready = line;
    const address = (name: string): string => {
      const found = new RegExp(`\\b${name} (?:http://)?([^\\s,]+)`).exec(line);
      if (found === null) throw new Error(`no ${name} address in: ${line}`);
      return found[1]!;
    };
    this.bootstrap = address('plain');
    this.http = `http://${address('http')}`;
  }

  private readyLine(child: ChildProcess): Promise<string> {
    const timeoutMs = this.options.readyTimeoutMs ?? patienceMs;
    return new Promise((resolve, reject) => {
      let out = '';
      const give = (why: string): void => reject(new Error(`${why}: ${out}${this.errors.slice(-2_000)}`));
      const timer = setTimeout(() => {
        give(`the broker was not ready after ${timeoutMs} ms`);
        child.kill('SIGKILL');
      }, timeoutMs);
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        if (out.includes('\n')) return;
        out += text;
        if (!out.includes('\n')) return;
        clearTimeout(timer);
        resolve(out.trimEnd());
      });
      void this.ended.then(({ code, signal }) => {
        clearTimeout(timer);
        give(`the broker ended (${signal ?? code}) before it was ready`);
      });
    });
  }

  /** SIGTERM, and how it ended; SIGKILL when it has not after `timeoutMs`. */
  async stop(timeoutMs = patienceMs): Promise<BrokerEnd> {
    return this.end('SIGTERM', timeoutMs);
  }

  /** kill -9. */
  async kill(): Promise<BrokerEnd> {
    return this.end('SIGKILL', patienceMs);
  }

  private async end(signal: NodeJS.Signals, timeoutMs: number): Promise<BrokerEnd> {
    const child = this.child;
    if (child === null) return this.ended;
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const end = await this.ended;
    clearTimeout(timer);
    return end;
  }

  /** Resolves when it ends by itself or otherwise. */
  whenEnded(): Promise<BrokerEnd> {
    return this.ended;
  }

  /** Resident memory in bytes now, and its peak since the start; Linux only. */
  memory(): { rssBytes: number; peakBytes: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    const kilobytes = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
    return { rssBytes: kilobytes('VmRSS') * 1024, peakBytes: kilobytes('VmHWM') * 1024 };
  }

  /** Ends it at once and removes its data, unless the caller owns them. */
  async dispose(): Promise<void> {
    await this.kill();
    if (this.ownsData) rmSync(this.data, { recursive: true, force: true, maxRetries: 3 });
  }
}
