/** Planted bugs of coordinators, their log and the routes to them. See mutants.ts. */
import type { Mutant } from './mutants.ts';

export const coordinatorMutants: readonly Mutant[] = [
  {
    name: 'the log of group offsets is trimmed into its own snapshot',
    file: 'coordinator/runtime/log-snapshot.js',
    find: `            if (this.#base < 0)
                this.#base = baseOffset;
            this.#step();`,
    replace: `            this.#base = baseOffset;
            this.#step();`,
    judge: 'test/unit/coordinator/group/offsets-snapshot.test.ts',
  },
  {
    name: 'a snapshot of group offsets leaves out what is on its way',
    file: 'coordinator/runtime/log-snapshot.js',
    find: 'if (first.length > 0)',
    replace: 'if (false)',
    judge: 'test/unit/coordinator/group/offsets-snapshot.test.ts',
  },
  {
    name: 'members are told their assignment before it is durable',
    file: 'coordinator/group/group-partition.js',
    find: `                group.storedValue = value;
                durable();
            },
            lost,
        });`,
    replace: `                group.storedValue = value;
            },
            lost,
        });
        durable();`,
    judge: 'test/unit/coordinator/group/group-coordinator.test.ts',
  },
  {
    name: 'a coordinator takes a refused append for one of unknown fate',
    file: 'shard/partition-coordinator-log.js',
    find: 'if (error !== 0 && baseOffset < 0 && this.inside) {',
    replace: 'if (false) {',
    judge: 'test/storage/broker/group-faults.test.ts',
  },
  {
    name: 'a coordinator changes its state before the log has taken the records',
    file: 'coordinator/runtime/coordinator-partition.js',
    find: 'const refused = this.append(records, answering(done), producer);',
    replace:
      'for (const { key, value } of records) this.state.replay(key, value, -1, producer); const refused = this.append(records, answering(done), producer);',
    judge: 'test/unit/coordinator/runtime/coordinator-runtime.test.ts',
  },
  {
    name: 'one malformed record keeps a coordinator from loading',
    file: 'coordinator/runtime/coordinator-load.js',
    find: 'this.#skip(offset, error instanceof Error ? error.message : String(error));',
    replace: 'throw error;',
    judge: 'test/storage/broker/group-faults.test.ts',
  },
  {
    name: 'a load that fails keeps the memory that it has read',
    file: 'shard/partition-coordinator-log.js',
    find: `            finally {
                records.release();
            }`,
    replace: `            finally { }
            records.release();`,
    judge: 'test/unit/shard/partition-coordinator-log.test.ts',
  },
  {
    name: 'a coordinator answers what it has read before that is durable',
    file: 'coordinator/runtime/coordinator-partition.js',
    find: 'else if (newest === undefined)',
    replace: 'else if (true)',
    judge: 'test/unit/coordinator/runtime/coordinator-walk.test.ts',
  },
  {
    name: 'a coordinator is loaded while an append of its earlier life is under way',
    file: 'coordinator/runtime/coordinator-runtime.js',
    find: 'owned.retry !== null || this.#underWay.has(partition)',
    replace: 'owned.retry !== null',
    judge: 'test/unit/coordinator/runtime/coordinator-walk.test.ts',
  },
  {
    name: 'a snapshot moves the log start over the records of an open transaction',
    file: 'coordinator/runtime/log-snapshot.js',
    find: 'Math.min(this.#base, this.#floor, this.#host.transactionFloor())',
    replace: 'this.#base',
    judge: 'test/unit/coordinator/runtime/coordinator-walk.test.ts',
  },
  {
    name: 'a snapshot forgets transactions that ended while it was written',
    file: 'coordinator/runtime/log-snapshot.js',
    find: 'this.#floor = this.#host.transactionFloor();',
    replace: 'this.#floor = Number.POSITIVE_INFINITY;',
    judge: 'test/unit/coordinator/runtime/coordinator-walk.test.ts',
  },
  {
    name: 'offsets of a deleted topic are shown until their tombstones are durable',
    file: 'coordinator/group/group-partition.js',
    find: 'return topicId === null ? current === null : current !== topicId;',
    replace: 'return false;',
    judge: 'test/unit/coordinator/group/group-topics.test.ts',
  },
  {
    name: 'groups are loaded before they are where they belong',
    file: 'shard/shard-coordinators.js',
    find: 'if (topic.name === coordinatorTopics.group && !offsetsPlacement.isSettled(topic.configs))',
    replace: 'if (false)',
    judge: 'test/storage/broker/group-faults.test.ts',
  },
  {
    name: 'groups with a negative hash lie where they lay before',
    file: 'coordinator/runtime/coordinator-place.js',
    find: '(hash === -2_147_483_648 ? 0 : Math.abs(hash))',
    replace: '(hash & 0x7fffffff)',
    judge: 'test/unit/coordinator/runtime/coordinator-place.test.ts',
  },
  {
    name: 'answers of several shards are merged in the order of the shards',
    file: 'requests/routing.js',
    find: 'results[index] = part[i];',
    replace: 'results.push(part[i]);',
    judge: 'test/unit/shard/peers/peers.test.ts',
  },
];
