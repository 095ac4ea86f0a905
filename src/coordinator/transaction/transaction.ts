/**
 * One transactional id (KIP-98, 360, 890): what its newest durable record says, and the steps that may follow. Pure: no time,
 * no log, no requests. Shard thread.
 *
 *            init            add partitions        end              durable           markers are all written
 *   (none) ───────► Empty ───────────────► Ongoing ───► (pending) ──────► Prepare* ────────────────────────► Complete*
 *                     ▲                      │ ▲                                                               │
 *                     └───────── init ───────┼─┴──────────────────── add partitions ──────────────────────────┘
 *                                            └─ init or time-out: epoch + 2 (fence), then as an abort
 *
 * Invariants: a step is computed from the durable value and takes effect when its record is durable; one step at a time
 * (`pending`), whoever comes meanwhile is told CONCURRENT_TRANSACTIONS; the epoch of a producer id never falls; markers of an
 * aborted or timed out transaction, and from version 2 on of every transaction, carry a higher epoch than its records.
 */
import { ErrorCode } from '../../protocol/generated/errors.ts';

/** As in the log's records. */
export const transactionStates = {
  empty: 0,
  ongoing: 1,
  prepareCommit: 2,
  prepareAbort: 3,
  completeCommit: 4,
  completeAbort: 5,
  dead: 6,
  prepareEpochFence: 7,
} as const;
export type TransactionState = (typeof transactionStates)[keyof typeof transactionStates];

/** Names as ListTransactions and DescribeTransactions say them. */
export const transactionStateNames: readonly string[] = [
  'Empty',
  'Ongoing',
  'PrepareCommit',
  'PrepareAbort',
  'CompleteCommit',
  'CompleteAbort',
  'Dead',
  'PrepareEpochFence',
];

const { empty, ongoing, prepareCommit, prepareAbort, completeCommit, completeAbort } = transactionStates;

/** Version from which epochs are bumped at each end (`transaction.version` 2). */
export const bumpingVersion = 2;
/** A producer whose epoch has come so far gets another id; the last epoch is kept for fencing. */
const lastEpoch = 32_766;

/** Partitions by topic name, each list ascending. */
export type TransactionPartitions = ReadonlyMap<string, readonly number[]>;

/** The value of a record: what is durable of a transactional id. */
export interface TransactionValue {
  readonly producerId: number;
  /** −1 = none, also below. */
  readonly previousProducerId: number;
  /** Takes the place of `producerId` when the transaction is complete. */
  readonly nextProducerId: number;
  readonly producerEpoch: number;
  readonly timeoutMs: number;
  readonly state: TransactionState;
  readonly partitions: TransactionPartitions;
  /** ms since 1970. */
  readonly updatedMs: number;
  readonly startedMs: number;
  /** `transaction.version` that the client followed, 0 to 2. */
  readonly version: number;
}

const noPartitions: TransactionPartitions = new Map();

export function newTransaction(producerId: number, timeoutMs: number, nowMs: number): TransactionValue {
  return {
    producerId,
    previousProducerId: -1,
    nextProducerId: -1,
    producerEpoch: -1,
    timeoutMs,
    state: empty,
    partitions: noPartitions,
    updatedMs: nowMs,
    startedMs: -1,
    version: 0,
  };
}

export class Transaction {
  readonly id: string;
  /** Newest durable value; of an id whose first record is on its way, what it begins with. */
  value: TransactionValue;
  /** The epoch before the last bump, for a client that did not get its answer; −1 = none, as after a load. */
  lastProducerEpoch = -1;
  /** A step is on its way to the log. */
  pending = false;
  /** Partitions whose marker is written, `topic partition`; only while the transaction is being completed. */
  readonly marked = new Set<string>();

  constructor(id: string, value: TransactionValue) {
    this.id = id;
    this.value = value;
  }

  get isPreparing(): boolean {
    return this.value.state === prepareCommit || this.value.state === prepareAbort;
  }

  has(topic: string, partition: number): boolean {
    return this.value.partitions.get(topic)?.includes(partition) ?? false;
  }
}

/** What a step comes to: a wire error, or the value that follows and the epoch before it. */
export interface Step {
  readonly error: number;
  readonly next: TransactionValue | null;
  readonly lastProducerEpoch: number;
}

const refuse = (error: number): Step => ({ error, next: null, lastProducerEpoch: -1 });
const step = (next: TransactionValue, lastProducerEpoch: number): Step => ({
  error: 0,
  next,
  lastProducerEpoch,
});

export function isExhausted(epoch: number): boolean {
  return epoch >= lastEpoch;
}

export interface ExpectedProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** Whether InitProducerId must abort an open transaction first: the caller fences it, and is told to try again. */
export function mustAbortFirst(transaction: Transaction): boolean {
  return transaction.value.state === ongoing;
}

/**
 * InitProducerId (KIP-360): the next epoch, or another id where epochs are used up.
 * @param expected what the client believes to be; null = a new instance.
 * @param freshId an id that nobody had, or −1 when none is at hand: asked for with the error COORDINATOR_LOAD_IN_PROGRESS.
 */
export function initStep(
  { value, lastProducerEpoch }: Transaction,
  expected: ExpectedProducer | null,
  timeoutMs: number,
  nowMs: number,
  freshId: number,
): Step {
  const next: TransactionValue = {
    ...value,
    nextProducerId: -1,
    timeoutMs,
    state: empty,
    partitions: noPartitions,
    updatedMs: nowMs,
    startedMs: -1,
  };
  const { producerEpoch } = value;
  const isNew = producerEpoch === -1;
  if (isExhausted(producerEpoch) && (expected === null || expected.producerEpoch === producerEpoch)) {
    if (freshId < 0) return refuse(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    const last = expected === null ? -1 : producerEpoch;
    return step(
      { ...next, previousProducerId: value.producerId, producerId: freshId, producerEpoch: 0 },
      last,
    );
  }
  const bumped = { ...next, producerEpoch: isNew ? 0 : producerEpoch + 1 };
  if (expected === null) return step(bumped, -1);
  if (isNew || expected.producerEpoch === producerEpoch) return step(bumped, producerEpoch);
  // The answer to the last call was lost: nobody can have fenced this producer since, that would have cleared the epoch.
  if (expected.producerEpoch === lastProducerEpoch)
    return step({ ...next, producerEpoch }, lastProducerEpoch);
  return refuse(ErrorCode.PRODUCER_FENCED);
}

/** Whether the caller of InitProducerId may be this transactional id's producer; its epoch is judged by the step. */
export function mayInit({ value }: Transaction, expected: ExpectedProducer): boolean {
  return (
    value.producerEpoch === -1 ||
    expected.producerId === value.producerId ||
    (expected.producerId === value.previousProducerId && isExhausted(expected.producerEpoch))
  );
}

/** Whether a step of the producer may be thought of at all; 0 or a wire error. */
export function judgeProducer(transaction: Transaction, producer: ExpectedProducer): number {
  const { value } = transaction;
  if (producer.producerId !== value.producerId) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
  if (producer.producerEpoch !== value.producerEpoch) return ErrorCode.PRODUCER_FENCED;
  if (transaction.pending || transaction.isPreparing) return ErrorCode.CONCURRENT_TRANSACTIONS;
  return ErrorCode.NONE;
}

/** Adds partitions; null when all of them belong to the open transaction already. */
export function addStep(
  { value, lastProducerEpoch }: Transaction,
  partitions: TransactionPartitions,
  version: number,
  nowMs: number,
): Step | null {
  const isOpen = value.state === ongoing;
  const all = new Map(isOpen ? value.partitions : noPartitions);
  let added = false;
  for (const [topic, numbers] of partitions) {
    const known = new Set(all.get(topic));
    const before = known.size;
    for (const number of numbers) known.add(number);
    if (known.size === before) continue;
    added = true;
    all.set(
      topic,
      [...known].sort((a, b) => a - b),
    );
  }
  if (isOpen && !added) return null;
  return step(
    {
      ...value,
      nextProducerId: -1,
      state: ongoing,
      partitions: all,
      updatedMs: nowMs,
      startedMs: isOpen ? value.startedMs : nowMs,
      version,
    },
    lastProducerEpoch,
  );
}

/** What EndTxn comes to besides a step. */
export const endVerdict = { refused: 0, repeated: 1, step: 2 } as const;

export interface EndStep extends Step {
  readonly verdict: (typeof endVerdict)[keyof typeof endVerdict];
}

const endRefused = (error: number): EndStep => ({ ...refuse(error), verdict: endVerdict.refused });
const repeated: EndStep = { ...refuse(ErrorCode.NONE), verdict: endVerdict.repeated };

/**
 * EndTxn of a client. Up to version 1 a repeated call has the epoch of the first; from version 2 on it has the epoch before the
 * bump, or the last one of an id that was replaced, while the same epoch as now would end the next transaction.
 * @param freshId an id that nobody had, for a producer whose epochs are used up; −1 = none at hand.
 */
export function endStep(
  transaction: Transaction,
  producer: ExpectedProducer,
  committed: boolean,
  version: number,
  nowMs: number,
  freshId: number,
): EndStep {
  const { value, pending } = transaction;
  const bumps = version >= bumpingVersion;
  const { producerId, producerEpoch } = producer;
  const isReplaced =
    value.previousProducerId === producerId && value.producerEpoch === 0 && isExhausted(producerEpoch);
  // Past the last epoch there is only who replaced the id by an end of its own, and who was fenced.
  const mayBeRetry = value.producerEpoch <= lastEpoch || value.nextProducerId !== -1;
  const isBumped = mayBeRetry && value.producerId === producerId && value.producerEpoch === producerEpoch + 1;
  const isRetry = bumps && (isBumped || isReplaced);
  if (producerId !== value.producerId && !isRetry) return endRefused(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
  if (producerEpoch !== value.producerEpoch && !isRetry) return endRefused(ErrorCode.PRODUCER_FENCED);
  // Also a repeated end while its last record is on its way: it is told what came of it a little later.
  if (pending) return endRefused(ErrorCode.CONCURRENT_TRANSACTIONS);
  const wanted = committed ? prepareCommit : prepareAbort;
  switch (value.state) {
    case ongoing:
      if (isRetry) return endRefused(ErrorCode.PRODUCER_FENCED);
      return prepareStep(value, wanted, version, nowMs, freshId);
    case prepareCommit:
    case prepareAbort: {
      // With epochs that are bumped, who has the present one ends the next transaction, before this one's markers are written.
      const waits = value.state === wanted || (bumps && !isRetry);
      return endRefused(waits ? ErrorCode.CONCURRENT_TRANSACTIONS : ErrorCode.INVALID_TXN_STATE);
    }
    case completeCommit:
    case completeAbort: {
      const same = value.state === (committed ? completeCommit : completeAbort);
      if (value.version < bumpingVersion || isRetry)
        return same ? repeated : endRefused(ErrorCode.INVALID_TXN_STATE);
      break;
    }
    default:
      break;
  }
  // Nothing was added: an abort is welcome and takes the epoch on, a commit would promise what there is not. An epoch behind the
  // present one is that of an older instance then: a newer one has begun, and ended nothing yet.
  if (committed || !bumps || isRetry) return endRefused(ErrorCode.INVALID_TXN_STATE);
  return prepareStep(
    { ...value, partitions: noPartitions, startedMs: nowMs },
    prepareAbort,
    version,
    nowMs,
    freshId,
  );
}

function prepareStep(
  value: TransactionValue,
  state: TransactionState,
  version: number,
  nowMs: number,
  freshId: number,
): EndStep {
  const bumps = version >= bumpingVersion;
  const replace = bumps && isExhausted(value.producerEpoch);
  if (replace && freshId < 0) return endRefused(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  const next = {
    ...value,
    state,
    updatedMs: nowMs,
    version,
    producerEpoch: bumps ? value.producerEpoch + 1 : value.producerEpoch,
    nextProducerId: replace ? freshId : -1,
  };
  return { error: 0, next, lastProducerEpoch: bumps ? value.producerEpoch : -1, verdict: endVerdict.step };
}

/**
 * An abort that the producer did not ask for: whoever still writes under its epoch is fenced by the bump. By two, since one more
 * than a producer's epoch is what an end of its own comes to, and the fenced one would be told that its end was repeated.
 */
export function fenceStep({ value }: Transaction, nowMs: number): Step {
  const { producerEpoch } = value;
  const fenced = Math.min(producerEpoch + 2, lastEpoch + 1);
  return step(
    { ...value, state: prepareAbort, updatedMs: nowMs, producerEpoch: fenced, nextProducerId: -1 },
    -1,
  );
}

/** All markers are written. */
export function completeStep({ value, lastProducerEpoch }: Transaction, nowMs: number): Step {
  const { nextProducerId } = value;
  const replaced = nextProducerId !== -1;
  return step(
    {
      ...value,
      state: value.state === prepareCommit ? completeCommit : completeAbort,
      partitions: noPartitions,
      updatedMs: nowMs,
      previousProducerId: replaced ? value.producerId : value.previousProducerId,
      producerId: replaced ? nextProducerId : value.producerId,
      producerEpoch: replaced ? 0 : value.producerEpoch,
      nextProducerId: -1,
    },
    lastProducerEpoch,
  );
}

/** The id and epoch that a client goes on with after EndTxn (version 2). */
export function producerAfter(value: TransactionValue): ExpectedProducer {
  const { nextProducerId, producerId, producerEpoch } = value;
  return nextProducerId === -1
    ? { producerId, producerEpoch }
    : { producerId: nextProducerId, producerEpoch: 0 };
}
