/** The full matrix of real clients and what goes beyond one sender and one reader. */
import { runMatrix } from '../compat/matrix.ts';
import { type LongScript, outcome } from './outcome.ts';

export const matrix: LongScript = {
  name: 'matrix',
  what: 'every client family in both directions against every other, every codec',
  run: async () => {
    const { faults, summary } = await runMatrix();
    return outcome(faults, summary, {});
  },
};
