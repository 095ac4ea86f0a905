/** Bugs of brokers that take streams from each other: assignments, claimed logs, registrations. */
import type { Mutant } from './mutants.ts';

const judge = 'test/cluster/hand-over.test.ts';
const lease = 'test/cluster/lease.test.ts';
const session = 'test/unit/shard/session-watch.test.ts';

export const handOverMutants: readonly Mutant[] = [
  {
    name: 'a broker takes logs of others for its own at its start',
    file: 'volumes/volume.js',
    find: 'return !deps.inCluster || node === deps.nodeId;',
    replace: 'return true;',
    judge,
  },
  {
    name: 'a broker opens streams of others at its start',
    file: 'broker/broker-start.js',
    find: "state === 'open' && (logs.has(wal) || (node === nodeId && wals.get(wal)?.state !== 'open'))",
    replace: 'true',
    judge,
  },
  {
    name: 'a broker whose registration was fenced goes on',
    file: 'broker/cluster-role.js',
    find: 'if (isInForce(image, nodeId, brokerEpoch))',
    replace: 'if (image.brokers.has(nodeId))',
    judge,
  },
  {
    name: 'a coordinator answers from memory without a lease',
    file: 'coordinator/runtime/coordinator-runtime.js',
    find: 'return this.#ports.leased?.() ?? true;',
    replace: 'return true;',
    judge: lease,
  },
  {
    name: 'committed offsets are read without a lease',
    file: 'coordinator/group/group-coordinator.js',
    find: "const at = this.#readable(groupId);\n        if (typeof at === 'number')\n            done({ errorCode: at, offsets: [] });",
    replace:
      "const at = this.#at(groupId);\n        if (typeof at === 'number')\n            done({ errorCode: at, offsets: [] });",
    judge: lease,
  },
  {
    name: 'the end of a log is told without a lease',
    file: 'requests/list-offsets.js',
    find: 'if (!leased())',
    replace: 'if (false)',
    judge: lease,
  },
  {
    name: 'a lease that came back is believed without proof',
    file: 'shard/session-watch.js',
    find: 'await this.#prove();',
    replace: '',
    judge: session,
  },
  {
    name: 'a proof counts for the lease after the next loss',
    file: 'shard/session-watch.js',
    find: 'this.#stopped || losses !== this.#losses',
    replace: 'this.#stopped',
    judge: session,
  },
  {
    name: 'a lease that is gone is believed until its time',
    file: 'shard/session-watch.js',
    find: "            this.#word.revoke();\n        }\n        else if (this.#state === 'held')",
    replace: "        }\n        else if (this.#state === 'held')",
    judge: session,
  },
  {
    name: 'claimed logs are drained without the producers of what objects hold',
    file: 'ownership/recover-claimed.js',
    find: 'await fold(openIn(drained, deps))',
    replace: 'new Map()',
    judge,
  },
  {
    name: 'a broker that leaves does not wait for others to take what it has',
    file: 'broker/cluster-role.js',
    find: 'this.#assignments.owned() > 0 && this.#peers() > 0',
    replace: 'false',
    judge,
  },
  {
    name: 'a broker that leaves keeps its registration',
    file: 'broker/cluster-role.js',
    find: "{ type: 'brokerState', node, epoch, state: 'fenced' }",
    replace: '',
    judge,
  },
  {
    name: 'streams are not closed for the broker that they are assigned to',
    file: 'cluster/assignments.js',
    find: 'if (close.length > 0)',
    replace: 'if (false)',
    judge,
  },
];
