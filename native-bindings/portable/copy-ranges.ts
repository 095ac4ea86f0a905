/** The portable twin of the addon's copyRanges. */
import { COPY_RANGE_WORDS, type CopyRanges } from '../contract.ts';

export const portableCopyRanges: CopyRanges = (source, target, table, count) => {
  const words = count * COPY_RANGE_WORDS;
  for (let i = 0; i < words; i += COPY_RANGE_WORDS) {
    const bytes = table[i + 2]!;
    if (table[i]! + bytes > source.length || table[i + 1]! + bytes > target.length)
      throw new RangeError('a range to copy lies outside of its memory');
  }
  for (let i = 0; i < words; i += COPY_RANGE_WORDS) {
    const from = table[i]!;
    target.set(source.subarray(from, from + table[i + 2]!), table[i + 1]!);
  }
};
