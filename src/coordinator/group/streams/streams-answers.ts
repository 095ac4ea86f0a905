/**
 * What streams groups tell beside heartbeats: their description, and whether the offsets of a request may be committed or read
 * by its caller. Pure functions of a group.
 */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { CommitQuery, OffsetReader } from '../group-api.ts';
import type { StreamsGroup, StreamsMember } from './streams-group.ts';
import type { DescribedSubtopology, StreamsDescribeAnswer, TaskOffset } from './streams-group-api.ts';
import { defaultTaskAssignor } from './task-assignors.ts';
import { type HeldTasks, heldLists, type TaskLists, type Tasks, taskLists } from './tasks.ts';
import { readerOf, type Subtopology, type Topology } from './topology.ts';

export function describeStreamsGroup(group: StreamsGroup): StreamsDescribeAnswer {
  return {
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    state: group.state,
    epoch: group.epoch,
    assignmentEpoch: group.assignmentEpoch,
    topology: topologyOf(group),
    members: [...group.members.values()].map((member) => {
      const { id, metadata, progress, offsets, endOffsets } = member;
      const { clientTags, ...told } = metadata!;
      return {
        ...told,
        memberId: id,
        memberEpoch: progress.epoch,
        clientTags: [...clientTags].map(([key, value]) => ({ key, value })),
        taskOffsets: offsetLists(offsets),
        taskEndOffsets: offsetLists(endOffsets),
        assignment: heldTaskLists(progress.assigned),
        target: listsOf(group.targetOf(id)),
      };
    }),
    assignor: defaultTaskAssignor,
  };
}

export function describeStreamsError(errorCode: number, errorMessage: string | null): StreamsDescribeAnswer {
  return {
    errorCode,
    errorMessage,
    state: '',
    epoch: 0,
    assignmentEpoch: 0,
    topology: null,
    members: [],
    assignor: null,
  };
}

export function heldTaskLists({ active, standby, warmup }: HeldTasks): TaskLists {
  return { active: heldLists(active), standby: heldLists(standby), warmup: heldLists(warmup) };
}

function listsOf({ active, standby, warmup }: Tasks): TaskLists {
  return { active: taskLists(active), standby: taskLists(standby), warmup: taskLists(warmup) };
}

/** With the sizes of internal topics as soon as all fits, else as members have told it. */
function topologyOf({ configured, topology }: StreamsGroup): StreamsDescribeAnswer['topology'] {
  const { epoch, subtopologies } =
    configured?.problem === null
      ? { epoch: configured.epoch, subtopologies: configured.subtopologies.map(sorted) }
      : { epoch: topology?.epoch ?? 0, subtopologies: asTold(topology) };
  return { epoch, subtopologies };
}

function sorted({
  id,
  sources,
  sinks,
  repartitions,
  changelogs,
}: DescribedSubtopology): DescribedSubtopology {
  const byName = <T extends { readonly name: string }>(list: readonly T[]): T[] =>
    [...list].sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    id,
    sources: [...sources].sort(),
    sinks: [...sinks].sort(),
    repartitions: byName(repartitions),
    changelogs: byName(changelogs),
  };
}

function asTold(topology: Topology | null): DescribedSubtopology[] {
  const internal = (list: Subtopology['stateChangelogTopics']) =>
    list.map(({ name, partitions, replicationFactor, topicConfigs }) => ({
      name,
      partitions,
      replicationFactor,
      configs: Object.fromEntries(topicConfigs.map(({ key, value }) => [key, value])),
    }));
  return (topology?.subtopologies ?? [])
    .map((subtopology) =>
      sorted({
        id: subtopology.subtopologyId,
        sources: subtopology.sourceTopics,
        sinks: subtopology.repartitionSinkTopics,
        repartitions: internal(subtopology.repartitionSourceTopics),
        changelogs: internal(subtopology.stateChangelogTopics),
      }),
    )
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** By subtopology and partition. */
function offsetLists(offsets: ReadonlyMap<string, number>): TaskOffset[] {
  return [...offsets]
    .map(([key, offset]) => {
      const end = key.indexOf('_');
      return { subtopologyId: key.slice(end + 1), partition: Number(key.slice(0, end)), offset };
    })
    .sort((a, b) =>
      a.subtopologyId === b.subtopologyId
        ? a.partition - b.partition
        : a.subtopologyId < b.subtopologyId
          ? -1
          : 1,
    );
}

/** 0, or why the caller may not commit: a member commits at its epoch, whoever is none only while there are no members. */
export function streamsCommitProblem(group: StreamsGroup, query: CommitQuery): number {
  const { generation, memberId, instanceId } = query;
  if (generation < 0 && group.members.size === 0) return ErrorCode.NONE;
  const transactional = query.producer !== undefined;
  if (transactional && generation === -1 && memberId === '' && instanceId === null) return ErrorCode.NONE;
  const member = group.members.get(memberId);
  if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
  if (query.generationOnly === true && !transactional) return ErrorCode.UNSUPPORTED_VERSION;
  if (generation === member.progress.epoch || ranThen(group, member, query)) return ErrorCode.NONE;
  return query.staleEpochCode ?? ErrorCode.STALE_MEMBER_EPOCH;
}

/** An earlier epoch of the member is as good for tasks that it has run since (KIP-1251); also for those that it gives up. */
function ranThen(
  { topology }: StreamsGroup,
  { progress: { epoch, assigned, revoking } }: StreamsMember,
  { generation, offsets }: CommitQuery,
): boolean {
  if (generation > epoch || topology === null) return false;
  return offsets.every(({ topic, partition }) => {
    const id = readerOf(topology, topic)?.subtopologyId ?? '';
    const since = assigned.active.get(id)?.get(partition) ?? revoking.active.get(id)?.get(partition);
    return since !== undefined && since <= generation;
  });
}

/** 0, or why the caller may not read offsets; whoever claims to be no member may. */
export function streamsReadProblem(group: StreamsGroup, { memberId, memberEpoch }: OffsetReader): number {
  if ((memberId === null || memberId === '') && memberEpoch < 0) return ErrorCode.NONE;
  const member = group.members.get(memberId ?? '');
  if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
  return memberEpoch === member.progress.epoch ? ErrorCode.NONE : ErrorCode.STALE_MEMBER_EPOCH;
}
