/** Planted bugs of what brokers ask one another. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const line = 'test/unit/interbroker/peer-line.test.ts';
const frames = 'test/unit/interbroker/answer-frames.test.ts';
const others = 'test/unit/interbroker/other-brokers.test.ts';
const shares = 'test/unit/shard/brokers/share-groups.test.ts';
const transactions = 'test/unit/shard/brokers/transactions.test.ts';

export const interbrokerMutants: readonly Mutant[] = [
  {
    name: 'an answer is taken for that of the request whose turn it is, whatever it says',
    file: 'interbroker/wire.js',
    find: 'sent === undefined || correlationId !== sent.correlationId',
    replace: 'sent === undefined',
    judge: line,
  },
  {
    name: 'memory is given to whatever size another broker announces',
    file: 'interbroker/answer-frames.js',
    find: 'size < 4 || size > this.#bytesMax',
    replace: 'size < 4',
    judge: frames,
  },
  {
    name: 'a request whose answer is late is left in flight',
    file: 'interbroker/peer-line.js',
    find: 'this.#wire?.close(',
    replace: 'void (',
    judge: line,
  },
  {
    name: 'a broker that cannot be reached is dialled without a pause',
    file: 'interbroker/peer-line.js',
    find: 'times.pauseMsMin * 2 ** Math.min(this.#failures, 16)',
    replace: '0',
    judge: line,
  },
  {
    name: 'a line that is closed dials again',
    file: 'interbroker/peer-line.js',
    find: '#pump() {\n        if (this.#closed)\n            return;',
    replace: '#pump() {',
    judge: line,
  },
  {
    name: 'whoever waits for a broker that was fenced waits on',
    file: 'interbroker/broker-peers.js',
    find: "if (broker === undefined || endpoint === undefined || broker.state === 'fenced') {",
    replace: 'if (broker === undefined || endpoint === undefined) {',
    judge: others,
  },
  {
    name: 'a broker that was registered anew is asked where it was',
    file: 'interbroker/broker-peers.js',
    find: 'if (epoch === broker.epoch && address.host === host && address.port === port && address.tls === tls)',
    replace: 'if (true)',
    judge: others,
  },
  {
    name: 'two questions about one transaction are under way',
    file: 'interbroker/batches.js',
    find: 'const waits = key !== null && (peer.busy.has(key) || closed.has(key));',
    replace: 'const waits = key !== null && closed.has(key);',
    judge: others,
  },
  {
    name: 'a topic that another broker does not know yet needs no marker',
    file: 'interbroker/marker-batches.js',
    find: 'case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:',
    replace: '',
    judge: others,
  },
  {
    name: 'the answer about one partition ends the markers of all',
    file: 'interbroker/marker-batches.js',
    find: 'partitionIndex === partition',
    replace: 'partitionIndex >= 0',
    judge: others,
  },
  {
    name: 'a partition that was not added beside another is taken for added',
    file: 'interbroker/transaction-questions.js',
    find: 'return error === ErrorCode.OPERATION_NOT_ATTEMPTED ? ErrorCode.COORDINATOR_NOT_AVAILABLE : error;',
    replace: 'return error === ErrorCode.OPERATION_NOT_ATTEMPTED ? 0 : error;',
    judge: others,
  },
  {
    name: 'a marker of another broker is passed on to a third',
    file: 'shard/request-handlers.js',
    find: 'writeTxnMarkersHandler({ markers: transactionLinksHere })',
    replace: 'writeTxnMarkersHandler({ markers: transactionLinks })',
    judge: transactions,
  },
  {
    name: 'a question about delivery states is passed on to a third broker',
    file: 'shard/request-handlers.js',
    find: '...shareGroupStateHandlers(shares.statesHere)',
    replace: '...shareGroupStateHandlers(shares.states)',
    judge: shares,
  },
  {
    name: 'a share partition is kept although all of its group have left',
    file: 'requests/support/share-session.js',
    find: 'this.#shares.left(groupId);',
    replace: '',
    judge: shares,
  },
  {
    name: 'what a member of a share group holds is forgotten when others have left',
    file: 'shard/share/local-share-partitions.js',
    find: 'if (!this.#left.has(known) || !known.quiet)',
    replace: 'if (!this.#left.has(known))',
    judge: shares,
  },
  {
    name: 'the lag of partitions on other brokers is that of none here',
    file: 'shard/share/shard-shares.js',
    find: 'if (topic !== undefined && broker >= 0) {',
    replace: 'if (false) {',
    judge: shares,
  },
  {
    name: 'the yes of a coordinator that was deposed counts',
    file: 'shard/transaction-links.js',
    find: 'done(isStale ? ErrorCode.NOT_COORDINATOR : error);',
    replace: 'done(error);',
    judge: transactions,
  },
  {
    name: 'a marker for a partition of another broker goes to the log of this one',
    file: 'shard/shard-partitions.js',
    find: "return image?.state === 'open' && image.node !== this.#deps.settings.nodeId ? image.node : -1;",
    replace: 'return -1;',
    judge: transactions,
  },
];
