/** Bugs of fail-over that only several brokers show; seeds of clusters find them. See mutants.ts. */
import type { Mutant } from './mutants.ts';

export const failOverMutants: readonly Mutant[] = [
  {
    name: 'a taker of a log in a bucket seals nothing',
    file: 'stream/wal/object-wal-recovery.js',
    find: 'if ((await sealNumber(this.#identity.entries, clock, number, epoch)) !== null)',
    replace: 'if (false)',
    cluster: true,
  },
  {
    name: 'a claimed log is emptied without its last streams',
    file: 'ownership/recover-claimed.js',
    find: '[...closes, ...logs',
    replace: '[...logs',
    cluster: true,
  },
];
