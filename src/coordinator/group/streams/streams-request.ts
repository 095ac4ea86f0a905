/** What is wrong with a StreamsGroupHeartbeat by itself, as Kafka numbers it, and what it makes of its member. Pure. */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import { isBlank } from '../group-state.ts';
import type { ConfiguredTopology } from './configured-topology.ts';
import type { StreamsMetadata } from './streams-group.ts';
import type { StreamsHeartbeatQuery, TaskOffset } from './streams-group-api.ts';
import { type TaskIds, type TaskLists, taskKey, taskRoles } from './tasks.ts';

export interface StreamsRefusal {
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

/** Epochs of a request that are none. */
export const leaveEpoch = -1;
export const staticLeaveEpoch = -2;

/** Tasks that one request may name or tell offsets of. */
const taskListMax = 100_000;

export function invalid(errorMessage: string): StreamsRefusal {
  return { errorCode: ErrorCode.INVALID_REQUEST, errorMessage };
}

export function requestProblem(query: StreamsHeartbeatQuery, bytesMax: number): StreamsRefusal | null {
  const { memberEpoch, topology, active, standby, warmup } = query;
  if (topology?.subtopologies.some(({ sourceTopicRegex }) => sourceTopicRegex.length > 0) === true)
    return invalid('Regular expressions for source topics are not supported yet.');
  if (isBlank(query.memberId)) return invalid("MemberId can't be empty.");
  if (isBlank(query.groupId)) return invalid("GroupId can't be empty.");
  if (isBlank(query.instanceId)) return invalid("InstanceId can't be empty.");
  if (isBlank(query.rackId)) return invalid("RackId can't be empty.");
  if (memberEpoch === 0) {
    const problem = joinProblem(query);
    if (problem !== null) return problem;
  }
  if (memberEpoch === staticLeaveEpoch && query.instanceId === null)
    return invalid("InstanceId can't be null.");
  if (memberEpoch < staticLeaveEpoch)
    return invalid(`MemberEpoch is ${memberEpoch}, but must be greater than or equal to -2.`);
  const told = [active, standby, warmup].filter((list) => list !== null).length;
  if (told !== 0 && told !== 3) return invalid('If one task-type is non-null, all must be non-null.');
  if (memberEpoch !== 0 && topology !== null)
    return invalid('Topology can only be provided when (re-)joining.');
  return sizeProblem(query, bytesMax);
}

function joinProblem({
  rebalanceTimeoutMs,
  topology,
  active,
  standby,
  warmup,
}: StreamsHeartbeatQuery): StreamsRefusal | null {
  if (rebalanceTimeoutMs === -1) return invalid('RebalanceTimeoutMs must be provided in first request.');
  const lists = { ActiveTasks: active, StandbyTasks: standby, WarmupTasks: warmup };
  for (const [name, list] of Object.entries(lists))
    if (list === null || list.length > 0) return invalid(`${name} must be empty when (re-)joining.`);
  if (topology === null) return invalid('Topology must be non-null when (re-)joining.');
  if (topology.epoch < 0) return invalid('Topology epoch must be non-negative.');
  for (const { stateChangelogTopics } of topology.subtopologies)
    for (const { name, partitions } of stateChangelogTopics)
      if (partitions !== 0)
        return {
          errorCode: ErrorCode.STREAMS_INVALID_TOPOLOGY,
          errorMessage: `Changelog topic ${name} must have an undefined partition count, but it is set to ${partitions}.`,
        };
  return null;
}

/** A member's records must fit into batches, and what is only remembered into memory. */
function sizeProblem(query: StreamsHeartbeatQuery, bytesMax: number): StreamsRefusal | null {
  const { topology, endpoint, clientTags, active, standby, warmup, taskOffsets, taskEndOffsets } = query;
  const told = [topology, endpoint, clientTags, query.processId].filter((part) => part !== null);
  if (told.length > 0 && JSON.stringify(told).length > bytesMax)
    return invalid(`What the member tells of itself is longer than ${bytesMax} bytes.`);
  let tasks = 0;
  for (const list of [active, standby, warmup])
    for (const { partitions } of list ?? []) tasks += 1 + partitions.length;
  tasks = Math.max(tasks, taskOffsets?.length ?? 0, taskEndOffsets?.length ?? 0);
  return tasks > taskListMax ? invalid(`The member names more than ${taskListMax} tasks.`) : null;
}

/** The tasks that the client says it has; null = it does not say. */
export function ownedOf({ active, standby, warmup }: StreamsHeartbeatQuery): TaskLists | null {
  return active === null || standby === null || warmup === null ? null : { active, standby, warmup };
}

/** A client may only speak of tasks that there are. */
export function taskProblem(
  owned: TaskLists | null,
  { subtopologies }: ConfiguredTopology,
): StreamsRefusal | null {
  const problemOf = ({ subtopologyId, partitions }: TaskIds): StreamsRefusal | null => {
    const subtopology = subtopologies.find(({ id }) => id === subtopologyId);
    if (subtopology === undefined)
      return invalid(`Subtopology ${subtopologyId} does not exist in the topology.`);
    const beyond = partitions.find((partition) => partition < 0 || partition >= subtopology.tasks);
    return beyond === undefined
      ? null
      : invalid(
          `Task ${beyond} for subtopology ${subtopologyId} is invalid. Number of tasks for this subtopology: ${subtopology.tasks}`,
        );
  };
  for (const role of owned === null ? [] : taskRoles) {
    for (const ids of owned![role]) {
      const problem = problemOf(ids);
      if (problem !== null) return problem;
    }
  }
  return null;
}

/** Offsets by taskKey; a task told twice is an error. */
export function offsetsOf(told: readonly TaskOffset[]): ReadonlyMap<string, number> | StreamsRefusal {
  const offsets = new Map<string, number>();
  for (const { subtopologyId, partition, offset } of told) {
    const key = taskKey(subtopologyId, partition);
    if (offsets.has(key))
      return invalid(
        `Task offsets contain a duplicate entry for subtopology ${subtopologyId} and partition ${partition}.`,
      );
    offsets.set(key, offset);
  }
  return offsets;
}

/** The member with what the request brings; the same object when that changes nothing. */
export function updatedMetadata(
  known: StreamsMetadata | null,
  query: StreamsHeartbeatQuery,
): StreamsMetadata {
  const { clientId, clientHost, rebalanceTimeoutMs, topology, clientTags } = query;
  const tags = clientTags === null ? null : new Map(clientTags.map(({ key, value }) => [key, value]));
  const knownTags = known?.clientTags ?? new Map<string, string>();
  // A member that joins says whether it has an endpoint.
  const endpoint = query.endpoint ?? (query.memberEpoch === 0 ? null : (known?.endpoint ?? null));
  const next: StreamsMetadata = {
    instanceId: query.instanceId ?? known?.instanceId ?? null,
    rackId: query.rackId ?? known?.rackId ?? null,
    clientId,
    clientHost,
    rebalanceTimeoutMs: rebalanceTimeoutMs === -1 ? (known?.rebalanceTimeoutMs ?? -1) : rebalanceTimeoutMs,
    topologyEpoch: topology?.epoch ?? known?.topologyEpoch ?? -1,
    processId: query.processId ?? known?.processId ?? '',
    endpoint,
    clientTags: tags === null || sameTags(tags, knownTags) ? knownTags : tags,
  };
  return known !== null && sameMetadata(known, next) ? known : next;
}

function sameMetadata(a: StreamsMetadata, b: StreamsMetadata): boolean {
  return (
    a.clientId === b.clientId &&
    a.clientHost === b.clientHost &&
    a.instanceId === b.instanceId &&
    a.rebalanceTimeoutMs === b.rebalanceTimeoutMs &&
    sameEndpoint(a, b) &&
    isPlacedAlike(a, b)
  );
}

/** Whether nothing differs that a target depends on. */
export function isPlacedAlike(a: StreamsMetadata, b: StreamsMetadata): boolean {
  return (
    a.topologyEpoch === b.topologyEpoch &&
    a.rackId === b.rackId &&
    a.processId === b.processId &&
    sameTags(a.clientTags, b.clientTags)
  );
}

export function sameEndpoint(
  { endpoint: a }: Pick<StreamsMetadata, 'endpoint'>,
  { endpoint: b }: Pick<StreamsMetadata, 'endpoint'>,
): boolean {
  return a?.host === b?.host && a?.port === b?.port;
}

function sameTags(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  if (a === b) return true;
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}
