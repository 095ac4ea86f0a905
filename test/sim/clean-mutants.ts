/** Planted bugs of log compaction. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const rules = 'test/unit/stream/clean/clean-log.test.ts';
const crash = 'test/unit/stream/clean/clean-crash.test.ts';

export const cleanMutants: readonly Mutant[] = [
  {
    name: 'a tombstone is dropped before its delete horizon',
    file: 'stream/clean/batch-sieve.js',
    find: 'const expired = horizon >= 0 && horizon <= task.nowMs;',
    replace: 'const expired = horizon >= 0;',
    judge: rules,
  },
  {
    name: "a tombstone's time begins in a pass that has not had its effect",
    file: 'stream/clean/batch-sieve.js',
    find: 'const newHorizon = tombstones > 0 && horizon < 0 && whole ?',
    replace: 'const newHorizon = tombstones > 0 && horizon < 0 ?',
    judge: rules,
  },
  {
    name: 'what an earlier pass kept is lost in a second one',
    file: 'stream/clean/batch-sieve.js',
    find: 'if (!keep && keyLength >= 0 && offset >= keys.newest(cursor.bytes, keyPosition, keyLength))',
    replace: 'if (!keep && keyLength >= 0 && offset === keys.newest(cursor.bytes, keyPosition, keyLength))',
    judge: rules,
  },
  {
    name: 'a full key map is not told from one that holds everything',
    file: 'stream/clean/clean-log.js',
    find: `                this.#numbers.full = true;
                this.#cleanedTo = offset;
                return false;`,
    replace: '                this.#numbers.full = true;',
    judge: rules,
  },
  {
    name: 'a marker is dropped while records of its transaction are there',
    file: 'stream/clean/batch-sieve.js',
    find: 'if (!alone || this.#isLastOf(view, at))',
    replace: 'if (this.#isLastOf(view, at))',
    judge: rules,
  },
  {
    name: 'a marker does not wait for its delete horizon',
    file: 'stream/clean/batch-sieve.js',
    find: `        if (horizon >= 0 && horizon <= nowMs)
            return 'gone';`,
    replace: "        if (horizon !== 0) return 'gone';",
    judge: rules,
  },
  {
    name: "a live producer's last batch is dropped",
    file: 'stream/clean/batch-sieve.js',
    find: 'return lastOffsetOf(view, at) === live.lastDataOffset;',
    replace: 'return false;',
    judge: rules,
  },
  {
    name: 'a log is cleaned past its last stable offset',
    file: 'upkeep/log-cleaner.js',
    find: 'const cleanEnd = Math.max(dirtyFrom, Math.min(end, lastStableOffset));',
    replace: 'const cleanEnd = Math.max(dirtyFrom, end);',
    judge: rules,
  },
  {
    name: 'aborted records are taken for keys',
    file: 'stream/clean/clean-log.js',
    find: 'watch.isAborted(view, at) ||',
    replace: '',
    judge: rules,
  },
  {
    name: 'markers behind the sources are not looked for',
    file: 'stream/clean/clean-log.js',
    find: 'await this.#source.aborted([...sources, ...behind], startOffset)',
    replace: 'await this.#source.aborted(sources, startOffset)',
    judge: rules,
  },
  {
    name: 'the end of a log is dropped with its records',
    file: 'stream/clean/clean-log.js',
    find: `        if (taken !== null)
            await put(taken);
        await output.finish`,
    replace: '        await output.finish',
    judge: rules,
  },
  {
    name: 'the checkpoint is ahead of what was cleaned',
    file: 'upkeep/log-cleaner.js',
    find: 'cleaned: { to: result.cleanedTo, horizonMs: result.horizonMs }',
    replace: 'cleaned: { to: endOffset, horizonMs: result.horizonMs }',
    judge: rules,
  },
  {
    name: 'the delete horizon is forgotten with the pass',
    file: 'upkeep/log-cleaner.js',
    find: 'cleaned: { to: result.cleanedTo, horizonMs: result.horizonMs }',
    replace: 'cleaned: { to: result.cleanedTo, horizonMs: -1 }',
    judge: rules,
  },
  {
    name: 'a pass replaces a manifest that it has not read',
    file: 'upkeep/log-cleaner.js',
    find: `                if (now.manifest.version !== manifest.version)
                    return null;`,
    replace: '',
    judge: crash,
  },
  {
    name: 'objects of a pass that came too late stay in the store',
    file: 'upkeep/log-cleaner.js',
    find: 'await this.discard(result.stored.filter((objectId) => !named.has(objectId)));',
    replace: '',
    judge: crash,
  },
  {
    name: 'blocks of a compacted object leave holes between them',
    file: 'stream/clean/clean-output.js',
    find: '            this.#blocks.lastOffset[this.#blocks.count - 1] = end - 1;',
    replace: '            ;',
    judge: rules,
  },
  {
    name: 'a header without records is found by its time',
    file: 'stream/clean/clean-output.js',
    find: 'recordCountOf(view, at) > 0 || lost ? keptTimestampOf(view, at) : -1',
    replace: 'keptTimestampOf(view, at)',
    judge: rules,
  },
  {
    name: 'times of records do not follow the delete horizon',
    file: 'stream/clean/batch-rewriter.js',
    find: 'horizonMs < 0 ? this.#copyRecord(used) : this.#moveRecord(used, cursor.timestamp - horizonMs)',
    replace: 'this.#copyRecord(used)',
    judge: rules,
  },
  {
    name: 'a gap of log compaction is told as lost offsets',
    file: 'stream/clean/clean-log.js',
    find: 'if (output.afterLost || output.isFar(last))',
    replace: 'if (output.isFar(last))',
    judge: rules,
  },
  {
    name: 'min.compaction.lag.ms is not heeded',
    file: 'stream/clean/clean-log.js',
    find: 'if (maxTimestampOf(view, at) > youngFrom)',
    replace: 'if (maxTimestampOf(view, at) > youngFrom + 3_600_000_000)',
    judge: rules,
  },
];
