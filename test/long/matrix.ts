/** The full matrix of real clients; its cells are printed by the matrix itself. */
import { runMatrix } from '../compat/matrix.ts';
import { type LongScript, outcome } from './outcome.ts';

export const matrix: LongScript = {
  name: 'matrix',
  what: 'every client family in both directions against every other, every codec',
  run: async () => outcome((await runMatrix()) ? [] : ['a cell of the matrix failed; see its table'], [], {}),
};
