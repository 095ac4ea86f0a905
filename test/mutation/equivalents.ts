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

const equivalents: readonly Equivalent[] = [
  {
    file: 'net/frame-receiver.js',
    operator: 'one',
    line: 'Math.max(bytes, Math.min(segment, bytes * 2))',
    reason: 'how much more room is taken than is needed now',
  },
  {
    file: 'coordinator/group/consumer/classic-members.js',
    operator: 'drop',
    line: 'if (!held && group.ownerOf(topicId, partition) === undefined)',
    replacement: 'group.ownerOf(topicId, partition) === undefined',
    reason: 'whoever holds a partition is its owner',
  },
  {
    file: 'coordinator/group/consumer/consumer-heartbeat.js',
    operator: 'negate',
    line: 'if (known !== null && tellsNothing(known, query))',
    replacement: '===',
    reason: 'the way behind it comes to the same object; this one allocates nothing',
  },
  {
    file: 'log/producer-check.js',
    line: 'if (sequence === last + 1 && last >= 0)',
    reason: 'the quick way for most batches; whatever does not go it is judged the same by the way behind it',
  },
  {
    file: 'log/stream-traffic.js',
    line: 'this.#counts.fill(0, 0, columns)',
    reason: 'slot 0 counts what nobody reads',
  },
  {
    file: 'requests/fetch.js',
    operator: 'one',
    line: 'replica = -1',
    reason: 'any number below 0 is no replica',
  },
  {
    file: 'stream/wal/commit-builder.js',
    line: 'const first = n === 0 ? 0 : this.nextSource % n',
    replacement: '1',
    reason: 'without sources nothing is asked of the first one',
  },
  {
    file: 'requests/fetch.js',
    line: 'if (partition.handle?.live === true)',
    replacement: 'false',
    reason: 'a handle that lives is found again by the look-up behind it',
  },
  {
    file: 'stream/wal/adaptive-linger.js',
    operator: 'bound',
    line: 'this.#group < 1.5',
    replacement: '<=',
    reason: 'an average is 1.5 to the last bit only by chance, and either answer is right then',
  },
  {
    file: 'stream/wal/object-wal-bytes.js',
    operator: 'bound',
    line: 'const to = Math.min(start + this.#lengths[i], end)',
    reason: 'copies end with the object and with the buffer, whichever is first',
  },
  {
    file: 'stream/wal/sign-of-life.js',
    line: "after === '' ? { limit: listPage }",
    replacement: 'false',
    reason: 'listing after the empty key lists all',
  },
];

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
