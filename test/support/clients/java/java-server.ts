/** A Java program that serves HTTP until it is ended: a Connect worker, a schema registry. Ended by its own process id only. */
import { type ChildProcess, spawn } from 'node:child_process';
import { endWithUs } from '../../end-with-us.ts';
import { patienceMs } from '../../patience.ts';

export interface JavaServerOptions {
  /** Words of the command, the program first. */
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Answers with a success once it serves. */
  readonly readyUrl: string;
}

const saidMax = 64 * 1024;

export class JavaServer {
  readonly #options: JavaServerOptions;
  #child: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();
  /** The end of what it wrote, over all starts. */
  said = '';

  constructor(options: JavaServerOptions) {
    this.#options = options;
  }

  /** Resolves when it serves; rejects with what it said when it ends instead, or patience does. */
  async start(): Promise<void> {
    const { command, env = {}, readyUrl } = this.#options;
    const child = spawn(command[0]!, command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    endWithUs(child);
    const listen = (text: string): void => {
      this.said = (this.said + text).slice(-saidMax);
    };
    child.stdout.setEncoding('utf8').on('data', listen);
    child.stderr.setEncoding('utf8').on('data', listen);
    child.once('error', ({ message }) => listen(message));
    this.#ended = new Promise((resolve) => {
      child.once('close', () => resolve());
      child.once('error', () => resolve());
    });
    this.#child = child;
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const ready = await fetch(readyUrl, { signal: AbortSignal.timeout(5_000) }).then(
        ({ ok }) => ok,
        () => false,
      );
      if (ready) return;
      const gone = child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
      if (gone || performance.now() > deadline) {
        await this.end('SIGKILL');
        throw new Error(`${command.at(-1)} does not serve: ${this.said.slice(-600)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** In order with SIGTERM, at once with SIGKILL. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#child === null) return;
    this.#child.kill(signal);
    await this.#ended;
    this.#child = null;
  }
}
