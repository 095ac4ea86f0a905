/** Planted bugs of what judges, orders and unpacks records. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const recordWorkTest = 'test/unit/log/record-work.test.ts';
const produceTest = 'test/unit/requests/produce.test.ts';
const validateTest = 'test/unit/protocol/records/validate.test.ts';

export const recordMutants: readonly Mutant[] = [
  {
    name: 'a batch may end behind the largest offset that is an exact number',
    file: 'log/partition-log.js',
    find: 'if (!Number.isSafeInteger(lastOffset + 1)) {',
    replace: 'if (false) {',
    judge: 'test/unit/log/partition-log.test.ts',
  },
  {
    name: 'a recovered batch behind the largest offset is kept',
    file: 'volumes/recovery-plan.js',
    find: 'if (!Number.isSafeInteger(last + 1)) {',
    replace: 'if (false) {',
    judge: 'test/storage/broker/poison-batches.test.ts',
  },
  {
    name: 'the count of compressed records on trust is believed',
    file: 'protocol/records/validate.js',
    find: 'if (recordCount * recordBytesMin > plainBytesMax)',
    replace: 'if (false)',
    judge: validateTest,
  },
  {
    name: 'metadata have no place for timestamps of 53 bits',
    file: 'metadata/metadata-bytes.js',
    find: 'const magnitude = value < 0 ? -value - 1 : value;',
    replace: 'const magnitude = (value < 0 ? -value - 1 : value) % 2 ** 52;',
    judge: 'test/unit/metadata/change-codec.test.ts',
  },
  {
    name: 'a turn of the loop unpacks all that waits',
    file: 'log/record-work.js',
    find: 'while (this.#turns.length > 0 && this.#turnBytes > 0) {',
    replace: 'while (this.#turns.length > 0) {',
    judge: recordWorkTest,
  },
  {
    name: 'gzip that lies about its size is unpacked whole on the loop',
    file: 'log/record-work.js',
    find: 'bytes > loopBytesMax ? allowed : Math.min(allowed, loopBytesMax)',
    replace: 'allowed',
    judge: recordWorkTest,
  },
  {
    name: 'a look-up by time unpacks without end',
    file: 'shard/cold-path.js',
    find: '|| lookup.unpackedBytes > lookupUnpackedMax',
    replace: '',
    judge: 'test/unit/shard/cold-path.test.ts',
  },
  {
    name: 'a batch that is ready overtakes one that is still judged',
    file: 'requests/produce.js',
    find: 'if (lanes.occupied(batch.partition))',
    replace: 'if (false)',
    judge: produceTest,
  },
  {
    name: 'the memory of a batch is given back while it is judged',
    file: 'requests/produce.js',
    find: `        arena.retainRange(position, length);
        place = lanes.take(partition);`,
    replace: '        place = lanes.take(partition);',
    judge: produceTest,
  },
  {
    name: 'the largest timestamp of compressed records is believed',
    file: 'requests/produce.js',
    find: 'settleTime(batch, result.maxTimestamp);',
    replace: '',
    judge: produceTest,
  },
  {
    name: 'a right time makes up for the wrong ones behind it',
    file: 'protocol/records/record-walk.js',
    find: '(timestamp < timeMin || timestamp > timeMax) && timestamp !== -1',
    replace: '(timestamp < timeMin || timestamp > timeMax) && timestamp !== -1 && index === 0',
    judge: validateTest,
  },
];
