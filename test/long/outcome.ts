/** What a long script answers, and what it may use while it runs. */
export interface LongOutcome {
  readonly verdict: 'pass' | 'fail' | 'skipped';
  /** Why it failed or was skipped; '' otherwise. */
  readonly reason: string;
  /** A few sentences with the figures asked for. */
  readonly summary: readonly string[];
  /** Raw numbers; goes into the committed result. */
  readonly data: Readonly<Record<string, unknown>>;
}

export interface LongContext {
  /** Says on the terminal what is going on; not kept. */
  readonly say: (line: string) => void;
  /** A directory of the script's own, removed afterwards. */
  readonly directory: string;
  /** From the command line: `--seed`, `--kills`, … */
  readonly option: (name: string) => string | undefined;
}

export interface LongScript {
  readonly name: string;
  readonly what: string;
  readonly run: (context: LongContext) => Promise<LongOutcome>;
}

export function outcome(
  faults: readonly string[],
  summary: readonly string[],
  data: Readonly<Record<string, unknown>>,
): LongOutcome {
  return {
    verdict: faults.length === 0 ? 'pass' : 'fail',
    reason: faults.slice(0, 20).join('; '),
    summary,
    data,
  };
}

export function skipped(reason: string): LongOutcome {
  return { verdict: 'skipped', reason, summary: [], data: {} };
}
