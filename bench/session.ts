/**
 * A run of all scenarios that may be ended and begun again: what is done is written down after each, outside of the
 * repository's files, and belongs to one commit and one set of options.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const usualFile = join('.cache', 'bench-session.json');

interface Written {
  readonly key: string;
  readonly done: readonly string[];
}

export class Session {
  readonly #file: string;
  readonly #key: string;
  readonly #done: Set<string>;

  private constructor(file: string, key: string, done: readonly string[]) {
    this.#file = file;
    this.#key = key;
    this.#done = new Set(done);
  }

  /** The one that was ended, if it was of the same kind; else a new one. */
  static open(what: object, file = usualFile): Session {
    const key = createHash('sha256').update(JSON.stringify(what)).digest('hex');
    try {
      const { key: then, done } = JSON.parse(readFileSync(file, 'utf8')) as Written;
      return new Session(file, key, then === key ? done : []);
    } catch {
      return new Session(file, key, []);
    }
  }

  isDone(scenario: string): boolean {
    return this.#done.has(scenario);
  }

  finish(scenario: string): void {
    this.#done.add(scenario);
    mkdirSync(dirname(this.#file), { recursive: true });
    writeFileSync(this.#file, JSON.stringify({ key: this.#key, done: [...this.#done] } satisfies Written));
  }

  /** All is done: the next run begins anew. */
  forget(): void {
    this.#done.clear();
    rmSync(this.#file, { force: true });
  }
}
