/** Commits, fetches and deletions of offsets as the groups of one partition answer them, whatever protocol they speak. Shard thread. */
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { CoordinatorRecord } from '../runtime/coordinator-log.ts';
import { commitProblem, readProblem } from './consumer/consumer-answers.ts';
import type { Group } from './group.ts';
import { offsetDeleteProblem, unstableOffset } from './group-answers.ts';
import type {
  CommitQuery,
  CommittedOffset,
  FetchAnswer,
  OffsetDeleteAnswer,
  OffsetReader,
  TopicPartitions,
} from './group-api.ts';
import type { OffsetEntry } from './group-offsets.ts';
import type { GroupPartition } from './group-partition.ts';
import { offsetKey, offsetValue } from './group-records.ts';
import { groupStates } from './group-state.ts';
import { streamsCommitProblem, streamsReadProblem } from './streams/streams-answers.ts';

/** Bytes of a record around its key and value, rounded up. */
const recordOverheadBytes = 32;

/** `done` gets one code per offset of the query, in its order. */
export function commitOffsets(
  at: GroupPartition,
  query: CommitQuery,
  done: (codes: readonly number[]) => void,
): void {
  const group = committingGroup(at, query);
  if (typeof group === 'number') {
    const refuse = (failed: number): void =>
      done(query.offsets.map(() => (failed === ErrorCode.NONE ? group : failed)));
    // Epochs of the newer protocols run ahead of the log.
    const known = at.groups.get(query.groupId);
    if (known?.consumer == null && known?.streams == null) refuse(ErrorCode.NONE);
    else at.context.read(refuse);
    return;
  }
  commitTo(at, group, query, done);
  at.dropIfVoid(group);
}

function committingGroup(at: GroupPartition, query: CommitQuery): Group | number {
  if (!at.groups.has(query.groupId) && query.generation >= 0) return query.unknownGroupCode;
  if (at.share.groups.has(query.groupId)) return query.unknownGroupCode;
  if (!at.hasRoom()) return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
  const group = at.groupFor(query.groupId);
  if (group === null) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
  const refused = problemOfCommit(at, group, query);
  return refused === ErrorCode.NONE ? group : refused;
}

function problemOfCommit(at: GroupPartition, group: Group, query: CommitQuery): number {
  const isDead = group.state === groupStates.dead;
  if (group.consumer !== null && !isDead) return commitProblem(group.consumer, query, at.topics);
  if (group.streams !== null && !isDead) return streamsCommitProblem(group.streams, query);
  return at.membership.admitCommit(group, query);
}

function commitTo(
  at: GroupPartition,
  group: Group,
  query: CommitQuery,
  done: (codes: readonly number[]) => void,
): void {
  const { settings, clock } = at;
  const now = clock.now();
  const codes: number[] = [];
  const entries: OffsetEntry[] = [];
  const records: CoordinatorRecord[] = [];
  let bytes = 0;
  for (const offset of query.offsets) {
    if (Buffer.byteLength(offset.metadata) > settings.offsetMetadataBytesMax) {
      codes.push(ErrorCode.OFFSET_METADATA_TOO_LARGE);
      continue;
    }
    const entry: OffsetEntry = {
      ...offset,
      commitTimestamp: now,
      expireTimestamp: query.retentionMs === -1 ? -1 : now + query.retentionMs,
    };
    const record = {
      key: offsetKey(group.id, entry.topic, entry.partition),
      value: offsetValue(entry),
    };
    bytes += record.key.length + record.value.length + recordOverheadBytes;
    codes.push(ErrorCode.NONE);
    entries.push(entry);
    records.push(record);
  }
  const answer = (errorCode: number) =>
    done(codes.map((code) => (code === ErrorCode.NONE ? errorCode : code)));
  if (bytes > settings.recordsBytesMax) {
    answer(ErrorCode.INVALID_COMMIT_OFFSET_SIZE);
    return;
  }
  if (records.length === 0) {
    done(codes);
    return;
  }
  const { producer } = query;
  const outcome = {
    durable: () => {
      // Offsets of a transaction wait in the state for its marker.
      if (producer !== undefined) {
        answer(ErrorCode.NONE);
        return;
      }
      for (const entry of entries) {
        group.offsets.settlePending(entry.topic, entry.partition);
        group.offsets.put(entry);
      }
      if (entries.some((entry) => at.isGone(entry))) at.burial.buryGone();
      answer(ErrorCode.NONE);
    },
    lost: () => answer(ErrorCode.NOT_COORDINATOR),
  };
  const refused = at.context.append(records, outcome, producer ?? null);
  if (refused !== ErrorCode.NONE) answer(refused);
  else if (producer === undefined)
    for (const { topic, partition } of entries) group.offsets.notePending(topic, partition);
}

export function fetchOffsets(
  at: GroupPartition,
  groupId: string,
  topics: readonly TopicPartitions[] | null,
  requireStable: boolean,
  caller: OffsetReader | null,
  done: (answer: FetchAnswer) => void,
): void {
  const group = at.groups.get(groupId);
  const refused = caller === null ? ErrorCode.NONE : problemOfRead(group, caller);
  if (refused !== ErrorCode.NONE) {
    at.context.read((failed) =>
      done({ errorCode: failed === ErrorCode.NONE ? refused : failed, offsets: [] }),
    );
    return;
  }
  const offsets = group?.offsets;
  const found: CommittedOffset[] = [];
  const tell = (topic: string, partition: number): void => {
    if (requireStable && at.transactions.isUnstable(groupId, topic, partition)) {
      found.push(unstableOffset(topic, partition));
      return;
    }
    const entry = offsets?.get(topic, partition);
    if (entry !== undefined && !at.isGone(entry)) found.push(entry);
  };
  if (topics === null) {
    for (const { topic, partition } of offsets?.entries() ?? []) tell(topic, partition);
    for (const { topic, partition } of requireStable ? at.transactions.offsetsOf(groupId) : [])
      if (offsets?.get(topic, partition) === undefined) tell(topic, partition);
  }
  for (const { topic, partitions } of topics ?? []) {
    for (const partition of partitions) tell(topic, partition);
  }
  done({ errorCode: ErrorCode.NONE, offsets: found });
}

function problemOfRead(group: Group | undefined, caller: OffsetReader): number {
  if (group?.consumer != null) return readProblem(group.consumer, caller);
  return group?.streams == null ? ErrorCode.NONE : streamsReadProblem(group.streams, caller);
}

export function deleteOffsets(
  at: GroupPartition,
  groupId: string,
  topics: readonly TopicPartitions[],
  done: (answer: OffsetDeleteAnswer) => void,
): void {
  const group = at.groups.get(groupId);
  const refused = offsetDeleteProblem(group);
  if (group === undefined || refused !== ErrorCode.NONE) {
    done({ errorCode: refused, topics: [] });
    return;
  }
  if (!at.hasRoom()) {
    done({ errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, topics: [] });
    return;
  }
  const doomed: { topic: string; partition: number }[] = [];
  const answers = topics.map(({ topic, partitions }) => {
    const subscribed = !group.hasNoMembers() && group.isSubscribed(topic);
    const errorCode = subscribed ? ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC : ErrorCode.NONE;
    for (const partition of partitions) {
      const there =
        group.offsets.get(topic, partition) !== undefined || group.offsets.isPending(topic, partition);
      if (!subscribed && there) doomed.push({ topic, partition });
    }
    return { topic, partitions: partitions.map((partition) => ({ partition, errorCode })) };
  });
  const answer = () => done({ errorCode: ErrorCode.NONE, topics: answers });
  const failed = (errorCode: number) => done({ errorCode, topics: [] });
  if (doomed.length === 0) {
    answer();
    return;
  }
  const code = at.burial.deleteOffsets(group, doomed, {
    durable: answer,
    lost: () => failed(ErrorCode.NOT_COORDINATOR),
  });
  if (code !== ErrorCode.NONE) failed(code);
}
