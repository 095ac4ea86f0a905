/**
 * Mechanical mutants that change nothing anybody could notice, each with the reason. A mutant is named by its file, its
 * operator, and the text that it changes or the line that it stands in; one entry may cover several of a line.
 */
import type { Mutation, Operator } from './sites.ts';

interface Equivalent {
  /** Below src/, compiled. */
  readonly file: string;
  /** All when absent. */
  readonly operator?: Operator;
  /** Part of the line, white space folded. */
  readonly line: string;
  readonly replacement?: string;
  readonly reason: string;
}

const equivalents: readonly Equivalent[] = [];

/** Why the mutation changes nothing, null when it does. */
export function equivalentReason(mutation: Mutation): string | null {
  const found = equivalents.find(
    ({ file, operator, line, replacement }) =>
      mutation.file === file &&
      (operator === undefined || operator === mutation.operator) &&
      (replacement === undefined || replacement === mutation.replacement) &&
      mutation.line.includes(line),
  );
  return found?.reason ?? null;
}
