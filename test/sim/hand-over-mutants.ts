/** Bugs of brokers that take streams from each other: assignments, claimed logs, registrations. */
import type { Mutant } from './mutants.ts';

const judge = 'test/cluster/hand-over.test.ts';

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
