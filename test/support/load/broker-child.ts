/**
 * A broker as a child process: started through the command line on a free port, killed and started again on the same
 * port and directory, and measured from outside (processor time, resident memory). Ends only what it started.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { endWithUs } from '../end-with-us.ts';
import { patienceMs } from '../patience.ts';
import { ownPort } from '../ports.ts';
import type { Address } from '../raw-client.ts';

const entry = fileURLToPath(new URL('../../../src/main.js', import.meta.url));
const stderrKeptBytes = 64 * 1024;
const stopMsMax = patienceMs;

export interface BrokerChildOptions {
  readonly dataDir: string;
  /** Default 1, so that runs on different machines compare. */
  readonly threads?: number;
  /** `--wal` locations beside the default one. */
  readonly wals?: readonly string[];
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** Other options of the command line, such as --take-over. */
  readonly flags?: readonly string[];
  /** Command in front of node, such as strace with its options. */
  readonly wrapper?: readonly string[];
  readonly readyTimeoutMs?: number;
}

export class BrokerChild {
  readonly options: BrokerChildOptions;
  /** Its own from the first start on, while it is down too. */
  address: Address = { host: '127.0.0.1', port: 0 };
  starts = 0;
  /** Process start to ready line of the last start. */
  readyMs = 0;
  readyLine = '';
  #child: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();
  #stderr = '';

  constructor(options: BrokerChildOptions) {
    this.options = options;
  }

  /** Of node itself; with a wrapper, that of its child. */
  get pid(): number {
    const pid = this.#child?.pid ?? -1;
    if (this.options.wrapper === undefined || pid < 0) return pid;
    return childOf(pid) ?? pid;
  }

  get running(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The end of what the broker wrote to its standard error, over all starts. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Resolves when the broker says that it is ready. */
  async start(): Promise<void> {
    const { ready } = await this.launch();
    await ready;
  }

  /** Starts without waiting. `ready` rejects if the process ends first. */
  async launch(): Promise<{ readonly ready: Promise<void> }> {
    if (this.running) throw new Error('the broker is running');
    if (this.address.port === 0) this.address = { ...this.address, port: await ownPort() };
    const { options } = this;
    const args = [
      'start',
      '--data',
      options.dataDir,
      '--listen',
      `127.0.0.1:${this.address.port}`,
      '--http',
      '',
      '--threads',
      String(options.threads ?? 1),
    ];
    for (const wal of options.wals ?? []) args.push('--wal', wal);
    for (const [key, value] of Object.entries(options.settings ?? {})) args.push('--set', `${key}=${value}`);
    args.push(...(options.flags ?? []));
    const command = [...(options.wrapper ?? []), process.execPath, entry, ...args];
    const begun = performance.now();
    const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.starts++;
    endWithUs(child);
    this.#ended = new Promise((resolve) => child.once('close', () => resolve()));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-stderrKeptBytes);
    });
    const ready = new Promise<void>((resolve, reject) => {
      let out = '';
      const timer = setTimeout(
        () => reject(new Error(`the broker was not ready in time: ${out}${this.#stderr.slice(-2000)}`)),
        options.readyTimeoutMs ?? patienceMs,
      );
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        if (out.length > stderrKeptBytes) return;
        out += text;
        const found = /127\.0\.0\.1:(\d+)/.exec(out);
        if (found === null || !out.includes('\n')) return;
        clearTimeout(timer);
        this.readyMs = performance.now() - begun;
        this.readyLine = out.trim();
        this.address = { host: '127.0.0.1', port: Number(found[1]) };
        resolve();
      });
      child.once('error', reject);
      child.once('close', (code, signal) => {
        clearTimeout(timer);
        reject(
          new Error(
            `the broker ended with ${signal ?? `code ${code}`} before it was ready: ${out}${this.#stderr.slice(-2000)}`,
          ),
        );
      });
    });
    ready.catch(() => {});
    return { ready };
  }

  /** kill -9; resolves when the process is gone. */
  async kill(): Promise<void> {
    if (!this.running) return;
    process.kill(this.pid, 'SIGKILL');
    await this.#ended;
  }

  /** SIGTERM, and SIGKILL if that takes twice the broker's own time limit; answers the exit code, null when killed. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    if (child === null) return null;
    if (this.running) process.kill(this.pid, 'SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), stopMsMax);
    await this.#ended;
    clearTimeout(timer);
    return child.exitCode;
  }

  /** User and system seconds of the process so far. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.pid);
  }

  rssBytes(): number {
    return rssBytesOf(this.pid);
  }

  /** Processor seconds by thread name, from most to least. */
  threadCpu(): { readonly name: string; readonly seconds: number }[] {
    return threadCpuOf(this.pid);
  }
}

const ticksPerSecond = 100;

/** utime + stime, in which the kernel has the scheduler's exact sum. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return ticks(stat) / ticksPerSecond;
}

function ticks(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

export function rssBytesOf(pid: number): number {
  const kib = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return kib === null ? 0 : Number(kib[1]) * 1024;
}

export function threadCpuOf(pid: number): { readonly name: string; readonly seconds: number }[] {
  const threads: { name: string; seconds: number }[] = [];
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    try {
      const stat = readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1');
      threads.push({
        name: `${stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))} ${tid}`,
        seconds: ticks(stat) / ticksPerSecond,
      });
    } catch {
      // The thread ended meanwhile.
    }
  }
  return threads.sort((a, b) => b.seconds - a.seconds);
}

function childOf(pid: number): number | null {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ');
    return children[0] === '' ? null : Number(children[0]);
  } catch {
    return null;
  }
}
