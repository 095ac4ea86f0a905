/**
 * The newest decisions of a broker that leads, for operators who ask why: a bounded record in memory, the oldest go first. Recording
 * takes no turn of anybody's and cannot fail. Main thread.
 *
 * One JSON object a decision: {"sequence","timeMs","revision","node","event"}, `event` as in audit.ts, its lists cut at `listMax` with
 * the number of what was left out beside them ("movesLeftOut": 900).
 */
import type { Audit, AuditRecord } from './audit.ts';

export const trailLimits = {
  /** Decisions, and characters of all of them. */
  recordsMax: 1_000,
  charsMax: 4 << 20,
  listMax: 100,
} as const;

export class AuditTrail implements Audit {
  readonly #limits: { readonly [name in keyof typeof trailLimits]: number };
  /** As JSON, by sequence ascending. */
  #lines: string[] = [];
  /** In use from here; what is before was let go. */
  #first = 0;
  #chars = 0;
  #sequence = 0;

  constructor(limits: { readonly [name in keyof typeof trailLimits]: number } = trailLimits) {
    this.#limits = limits;
  }

  record(record: AuditRecord): void {
    const { recordsMax, charsMax, listMax } = this.#limits;
    const line = JSON.stringify(cut({ sequence: ++this.#sequence, ...record }, listMax));
    this.#lines.push(line);
    this.#chars += line.length;
    while (this.#lines.length - this.#first > recordsMax || (this.#chars > charsMax && this.kept > 0)) {
      this.#chars -= this.#lines[this.#first]!.length;
      this.#lines[this.#first++] = '';
    }
    if (this.#first < recordsMax) return;
    this.#lines = this.#lines.slice(this.#first);
    this.#first = 0;
  }

  /** Records that are held. */
  get kept(): number {
    return this.#lines.length - this.#first;
  }

  /** Records that there were since the start. */
  get recorded(): number {
    return this.#sequence;
  }

  /** Those behind a sequence, oldest first. */
  after(sequence: number): unknown[] {
    const skip = Math.max(0, sequence - (this.#sequence - this.kept));
    return this.#lines.slice(this.#first + skip).map((line) => JSON.parse(line) as unknown);
  }
}

/** The same with lists of bounded length; maps of numbers by broker are as long as there are brokers. */
function cut(value: unknown, listMax: number): unknown {
  if (Array.isArray(value)) return value.slice(0, listMax).map((each) => cut(each, listMax));
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const [name, each] of Object.entries(value)) {
    copy[name] = cut(each, listMax);
    if (Array.isArray(each) && each.length > listMax) copy[`${name}LeftOut`] = each.length - listMax;
  }
  return copy;
}
