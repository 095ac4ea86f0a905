/** Planted bugs of the short ways that bytes take: quick Produce requests, small answers, socket turns. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const lanes = 'test/unit/requests/quick-produce.test.ts';
const sockets = 'test/native/socket-paths.test.ts';
const quick = 'requests/quick-produce.js';

export const dataPathMutants: readonly Mutant[] = [
  {
    name: 'a quick request overtakes batches that are being judged',
    file: quick,
    find: 'if (lanes.occupied(partition))',
    replace: 'if (false)',
    judge: lanes,
  },
  {
    name: 'a quick request is answered although its producer wants no answer',
    file: quick,
    find: 'if (frame.acks !== 1 && frame.acks !== -1)',
    replace: 'if (false)',
    judge: lanes,
  },
  {
    name: 'a quick batch keeps what its producer claims to be its largest timestamp',
    file: quick,
    find: 'if (codec === codecId.none && !settings.logAppendTime)',
    replace: 'if (false)',
    judge: lanes,
  },
  {
    name: 'quick transactional batches are not asked about',
    file: quick,
    find: 'if (isTransactional(attributes) || isLogAppendTime(attributes))',
    replace: 'if (isLogAppendTime(attributes))',
    judge: lanes,
  },
  {
    name: 'a quick batch is not compressed as its topic wants it',
    file: quick,
    find: 'if (settings.recode !== undefined && settings.recode.codec !== codec)',
    replace: 'if (false)',
    judge: lanes,
  },
  {
    name: 'a ticket is used again while the journal still knows it',
    file: quick,
    find: '        if (!this.appending)\n            this.#owner.free(this);',
    replace: '        this.#owner.free(this);',
    judge: lanes,
  },
  {
    name: 'only the first deadline of quick requests is kept',
    file: quick,
    find: 'if (next < this.#wakesAt)',
    replace: 'if (false)',
    judge: lanes,
  },
  {
    name: 'a quick request leaves a parked one in front of it waiting',
    file: quick,
    find: 'connection.hurry();',
    replace: '',
    judge: lanes,
  },
  {
    name: 'a partition that is closed is still found by its name',
    file: 'requests/support/partition-cache.js',
    find: 'known?.isNamedBy(frame, view) === true && known.partition.live',
    replace: 'known?.isNamedBy(frame, view) === true',
    judge: lanes,
  },
  {
    name: 'partitions are known by a part of their name',
    file: 'requests/support/partition-cache.js',
    find: 'known?.isNamedBy(frame, view) === true &&',
    replace: 'known?.index === frame.partition &&',
    judge: 'test/unit/requests/support/partition-cache.test.ts',
  },
  {
    name: 'what a place in a lane brings is acted on before the rest of the lane',
    file: 'requests/append-lanes.js',
    find: 'if (lane.running)',
    replace: 'if (false)',
    judge: 'test/unit/requests/append-lanes.test.ts',
  },
  {
    name: 'answers overtake each other when bytes are taken at once',
    file: 'net/connection.js',
    find: '        if (this.flushing)\n            return;\n',
    replace: '',
    judge: lanes,
  },
  {
    name: 'a small answer overtakes the pieces in front of it',
    file: 'net/loop-sockets.js',
    find: '        if (transport.chunks.length > 0)\n            this.#gather(transport);\n        if (this.#entryCount === entriesMax || this.#staged + bytes',
    replace: '        if (this.#entryCount === entriesMax || this.#staged + bytes',
    judge: sockets,
  },
  {
    name: 'nobody is told what the kernel has taken of a closed connection',
    file: 'net/loop-sockets.js',
    find: '        transport.taken = transport.asked;\n        transport.settle();',
    replace: '',
    judge: sockets,
  },
  {
    name: 'what was taken at once is not told',
    file: 'net/loop-sockets.js',
    find: 'this.#untold.push(transport);',
    replace: '',
    judge: sockets,
  },
];
