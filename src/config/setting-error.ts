/** What is wrong with settings: each problem names the setting, the value given and what would be right. */
import { MillraceError } from '../ports/errors.ts';

export interface SettingProblem {
  readonly setting: string;
  /** As given; `***` for secrets. */
  readonly value: string;
  /** What would be right, as the end of "…: expected". */
  readonly expected: string;
  /** Where it was given: `--set`, `MILLRACE_NODE_ID`, `line 3 of broker.properties`. */
  readonly origin: string;
}

/** Code SETTING, kind invalid. The message has one line per problem. */
export class SettingError extends MillraceError {
  readonly problems: readonly SettingProblem[];

  constructor(problems: readonly SettingProblem[]) {
    super('invalid', 'SETTING', problems.map(describeProblem).join('\n'));
    this.name = 'SettingError';
    this.problems = problems;
  }
}

function describeProblem(problem: SettingProblem): string {
  const from = problem.origin === '' ? '' : ` (${problem.origin})`;
  return `setting ${problem.setting} = ${JSON.stringify(problem.value)}${from}: expected ${problem.expected}`;
}
