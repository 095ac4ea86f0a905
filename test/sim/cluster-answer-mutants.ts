/** Planted bugs of what clients are told of a cluster's other brokers, and of what brokers must not be given twice. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const answersTest = 'test/unit/requests/cluster-answers.test.ts';
const misdirectedTest = 'test/unit/requests/misdirected.test.ts';
const zonesTest = 'test/unit/requests/fetch-zones.test.ts';
const readersTest = 'test/unit/requests/read-replicas.test.ts';

export const clusterAnswerMutants: readonly Mutant[] = [
  {
    name: 'a fenced broker is told to clients',
    file: 'requests/support/cluster-view.js',
    find: "if (nodeId === own.nodeId || broker.state === 'fenced')",
    replace: 'if (nodeId === own.nodeId)',
    judge: answersTest,
  },
  {
    name: 'a broker that is fenced tells itself to clients',
    file: 'requests/support/cluster-view.js',
    find: "if (image.brokers.get(own.nodeId)?.state !== 'fenced') {",
    replace: 'if (true) {',
    judge: answersTest,
  },
  {
    name: 'a controller that is gone is told to clients',
    file: 'requests/support/cluster-view.js',
    find: 'if (this.standingOf(controller) === standing.reachable)',
    replace: 'if (controller >= 0)',
    judge: answersTest,
  },
  {
    name: 'a coordinator is where its partition was last',
    file: 'requests/support/cluster-view.js',
    find: "return state === 'open' && this.standingOf(node) !== standing.gone ? node : -1;",
    replace: 'return node;',
    judge: answersTest,
  },
  {
    name: 'pieces of Metadata answers outlive the standing of their brokers',
    file: 'requests/support/metadata-pieces.js',
    find: 'const sameStandings = this.#generation === view.generation;',
    replace: 'const sameStandings = true;',
    judge: answersTest,
  },
  {
    name: 'pieces of Metadata answers outlive the assignment of their partitions',
    file: 'requests/support/metadata-pieces.js',
    find: 'words[at + 2] !== partition.target ||',
    replace: '',
    judge: answersTest,
  },
  {
    name: 'a broker hints to itself when it does not lead',
    file: 'requests/support/leader-hints.js',
    find: 'errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER && leader.nodeId === view.own.nodeId',
    replace: 'false',
    judge: misdirectedTest,
  },
  {
    name: 'a hint names a leader whose address the client does not get',
    file: 'requests/support/leader-hints.js',
    find: 'this.#named.set(leader.nodeId, leader);',
    replace: '',
    judge: misdirectedTest,
  },
  {
    name: 'offsets of a transaction wait for its coordinator where their group is not',
    file: 'requests/txn-offset-commit.js',
    find: 'groups.coordinator.refusal(groupId)',
    replace: 'ErrorCode.NONE',
    judge: 'test/unit/shard/peers/elsewhere.test.ts',
  },
  {
    name: 'a coordinator that is elsewhere is said to load',
    file: 'coordinator/runtime/coordinator-runtime.js',
    find: 'if (owned === undefined)\n            return ErrorCode.NOT_COORDINATOR;',
    replace: 'if (owned === undefined)\n            return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;',
    judge: 'test/unit/shard/peers/elsewhere.test.ts',
  },
  {
    name: 'a manual assignment may put a partition on a broker that is fenced',
    file: 'requests/support/manual-assignment.js',
    find: "stateOf(image, own, node) === 'active'",
    replace: 'true',
    judge: 'test/unit/requests/manual-assignment.test.ts',
  },
  {
    name: 'new partitions go where they were wished for whatever others have added meanwhile',
    file: 'cluster/topic-admin.js',
    find: 'wished: assignments?.slice(current - partitions),',
    replace: 'wished: assignments,',
    judge: 'test/unit/cluster/topic-admin.test.ts',
  },
  {
    name: 'a cancelled move goes on',
    file: 'requests/alter-partition-reassignments.js',
    find: 'return isMoving(partition) ? partition.node :',
    replace: 'return isMoving(partition) ? null :',
    judge: 'test/unit/requests/moves.test.ts',
  },
  {
    name: 'an election is over while the partition is on its way',
    file: 'requests/elect-leaders.js',
    find: '(isMoving(partition) || leaderOf(partition, view) < 0)',
    replace: 'isMoving(partition) && false',
    judge: 'test/unit/requests/moves.test.ts',
  },
  {
    name: 'a broker is forgotten with partitions that only it had',
    file: 'metadata/conditions.js',
    find: 'if (left !== null)',
    replace: 'if (false)',
    judge: 'test/unit/metadata/several-brokers.test.ts',
  },
  {
    name: 'a broker that was removed comes back under an epoch that it had',
    file: 'metadata/broker-epochs.js',
    find: 'Math.max(brokers.get(node)?.epoch ?? 0, retiredEpoch)',
    replace: '(brokers.get(node)?.epoch ?? 0)',
    judge: 'test/unit/metadata/several-brokers.test.ts',
  },
  {
    name: 'whoever produces to a partition that leaves waits for a broker that is gone',
    file: 'requests/support/leader-hints.js',
    find: ' && view.standingOf(target) === standing.reachable',
    replace: '',
    judge: misdirectedTest,
  },
  {
    name: 'an id block begins wherever another may have ended',
    file: 'metadata/conditions.js',
    find: 'if (first !== granted)',
    replace: 'if (next <= granted)',
    judge: 'test/unit/metadata/id-blocks.test.ts',
  },
  {
    name: 'readers of committed records get from a replica what a transaction may still take back',
    file: 'shard/object-replica.js',
    find: 'offset < end.lastStableOffset',
    replace: 'offset < this.highWatermark',
    judge: 'test/unit/shard/object-replica.test.ts',
  },
  {
    name: 'a client that takes a broker for the leader it was is served by it as a follower',
    file: 'requests/fetch.js',
    find: "this.request.rackId !== '' && partition.currentLeaderEpoch >= 0;",
    replace: "this.request.rackId !== '';",
    judge: zonesTest,
  },
  {
    name: 'a reader that found nothing at a replica is sent there for ever',
    file: 'requests/support/read-replicas.js',
    find: 'if (before?.offset === offset && now - before.at < heldMs)',
    replace: 'if (false)',
    judge: readersTest,
  },
  {
    name: 'pieces of Metadata answers outlive the brokers of a rack',
    file: 'requests/support/cluster-view.js',
    find: 'this.#rackGeneration++;',
    replace: '',
    judge: readersTest,
  },
];
