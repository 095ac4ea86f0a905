/**
 * The set-up of `npm test`: a process beside the first groups (test/provide.ts) builds and installs what the groups need and
 * this machine has not. A group waits for what it needs; what could not be had is kept with its reason, is not tried again
 * by each test, and is told at the end of the run.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { missingVariable } from '../support/installed.ts';
import { endGroup, onLines } from './group-run.ts';

/** What the providing process says of each name, one JSON object a line. */
export interface Provided {
  readonly name: string;
  /** Why it cannot be had; null = it is there. */
  readonly reason: string | null;
  readonly seconds: number;
  /** Steps that failed on the way, by the key under which the tests would try them again. */
  readonly failures: Readonly<Record<string, string>>;
}

export class SetUp {
  /** Names that could not be had, with reasons. */
  readonly missing = new Map<string, string>();
  readonly #failures: Record<string, string> = {};
  readonly #waiting = new Map<string, { readonly done: Promise<void>; readonly settle: () => void }>();
  #child: ChildProcess | null = null;

  /** Starts at once with all `names`, in their order; with none there is nothing to do. */
  constructor(names: readonly string[], say: (text: string) => void) {
    for (const name of names) {
      let settle = (): void => undefined;
      const done = new Promise<void>((resolve) => {
        settle = resolve;
      });
      this.#waiting.set(name, { done, settle });
    }
    if (names.length === 0) return;
    const script = fileURLToPath(new URL('../provide.js', import.meta.url));
    const child = spawn(process.execPath, [script, ...names], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    this.#child = child;
    process.once('exit', () => this.end());
    onLines(child.stdout, (line) => {
      const { name, reason, seconds, failures } = JSON.parse(line) as Provided;
      say(`set-up: ${name}: ${reason ?? 'ready'} (${seconds.toFixed(1)} s)`);
      this.#settle(name, reason);
      Object.assign(this.#failures, failures);
    });
    const end = (why: string): void => {
      for (const name of this.#waiting.keys()) this.#settle(name, why);
    };
    child.once('error', (error) => end(error.message));
    child.once('close', (code) => end(`the set-up ended with code ${code}`));
  }

  #settle(name: string, reason: string | null): void {
    const waiter = this.#waiting.get(name);
    if (waiter === undefined) return;
    this.#waiting.delete(name);
    if (reason !== null) this.missing.set(name, reason);
    waiter.settle();
  }

  /** Resolves once each of the names is there, or is known not to be had. */
  async wait(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#waiting.get(name)?.done));
  }

  /** Names of `names` that are still being made. */
  pending(names: readonly string[]): string[] {
    return names.filter((name) => this.#waiting.has(name));
  }

  /** For the processes of tests. */
  environment(): NodeJS.ProcessEnv {
    return { ...process.env, [missingVariable]: JSON.stringify(this.#failures) };
  }

  end(): void {
    if (this.#child !== null) endGroup(this.#child);
  }
}
