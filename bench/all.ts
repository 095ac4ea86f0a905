/**
 * Several scenarios, one after the other. What ended is written down, and a run that was ended itself goes on behind it; what
 * failed is tried once more at the end, and again by the next run.
 */
import type { Session } from './session.ts';

export interface Series {
  readonly names: readonly string[];
  /** Null = nothing is remembered, and nothing tried again. */
  readonly session: Session | null;
  /** Resolves to whether it ended as it should. */
  run(name: string): Promise<boolean>;
  /** Expected, in seconds; 0 = not known. */
  expectedSeconds(name: string): number;
  /** In seconds, from any origin. */
  now(): number;
  say(line: string): void;
}

/** @returns the names that did not end as they should. */
export async function runSeries(series: Series): Promise<string[]> {
  const { names, session, say } = series;
  const before = names.filter((name) => session?.isDone(name) === true);
  if (before.length > 0) say(`done before: ${before.join(', ')}`);
  const wanted = names.filter((name) => !before.includes(name));
  const pace = new Pace(series, wanted);
  const failed = await pass(series, wanted, pace);
  if (session === null || failed.length === 0) {
    session?.forget();
    return failed;
  }
  say(`tried again: ${failed.join(', ')}`);
  const still = await pass(series, failed, pace);
  if (still.length === 0) session.forget();
  return still;
}

async function pass(series: Series, names: readonly string[], pace: Pace): Promise<string[]> {
  const failed: string[] = [];
  for (const name of names) {
    const ended = await series.run(name);
    if (ended) series.session?.finish(name);
    else failed.push(name);
    pace.passed(name);
  }
  return failed;
}

/** Says what is left, by how long things took so far in terms of what was expected. */
class Pace {
  readonly #series: Series;
  readonly #begun: number;
  readonly #left: string[];
  #expected = 0;

  constructor(series: Series, names: readonly string[]) {
    this.#series = series;
    this.#begun = series.now();
    this.#left = [...names];
    if (series.session !== null) this.#say(1);
  }

  passed(name: string): void {
    const at = this.#left.indexOf(name);
    if (at < 0 || this.#series.session === null) return;
    this.#left.splice(at, 1);
    this.#expected += this.#series.expectedSeconds(name);
    this.#say(this.#expected === 0 ? 1 : (this.#series.now() - this.#begun) / this.#expected);
  }

  #say(factor: number): void {
    if (this.#left.length === 0) return;
    const seconds = this.#left.reduce((sum, name) => sum + this.#series.expectedSeconds(name), 0) * factor;
    this.#series.say(`${this.#left.length} scenarios left, about ${Math.ceil(seconds / 60)} minutes`);
  }
}
