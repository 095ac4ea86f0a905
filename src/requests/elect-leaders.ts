/**
 * ElectLeaders (key 43), versions 0–2. The preferred leader of a partition is the broker that it is assigned to; while it is on its
 * way there, the answer waits for it. Nobody but the owner could lead, so an unclean election has nobody to choose.
 *
 *   NONE the preferred leader leads now               ELECTION_NOT_NEEDED it did already; unclean: somebody leads
 *   PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE (unclean) nobody leads, and nothing is on its way
 *   UNKNOWN_TOPIC_OR_PARTITION                         INVALID_REQUEST another type of election
 *   REQUEST_TIMED_OUT a time-out of zero or less, or over before the partition was there
 *
 * Without partitions all topics are answered, with those partitions only that need an election. v0 knows only preferred
 * elections and no error of the whole.
 */
import type { PartitionImage } from '../metadata/metadata-store.ts';
import { isMoving } from '../metadata/owners.ts';
import type { Clock } from '../ports/clock.ts';
import {
  ElectLeadersCodec,
  type ElectLeadersRequest,
  type ElectLeadersResponseInput,
} from '../protocol/generated/elect-leaders.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { ClusterView, type ClusterViewDeps, type ListenerView, standing } from './support/cluster-view.ts';
import type { RequestHandler } from './support/handler.ts';
import { whenImage } from './support/image-wait.ts';
import { expired } from './support/time-limit.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

const electionType = { preferred: 0, unclean: 1 } as const;
const waitMsMax = 60_000;

interface Outcome {
  readonly partitionId: number;
  errorCode: number;
  errorMessage: string | null;
}

/** A partition on its way to its preferred leader. */
interface Underway {
  readonly topicId: string;
  readonly outcome: Outcome;
}

export interface ElectLeadersDeps extends ClusterViewDeps {
  readonly topics: TopicDirectory;
  readonly clock: Clock;
}

export function electLeadersHandler(
  deps: ElectLeadersDeps,
): RequestHandler<ElectLeadersRequest, ElectLeadersResponseInput> {
  const { topics, clock } = deps;
  const cluster = new ClusterView(deps);

  function refusal({ timeoutMs, electionType: type }: ElectLeadersRequest): [number, string | null] | null {
    if (type !== electionType.preferred && type !== electionType.unclean) {
      return [ErrorCode.INVALID_REQUEST, `Unknown election type ${type}`];
    }
    return expired(timeoutMs) ? [ErrorCode.REQUEST_TIMED_OUT, null] : null;
  }

  /** −1 = nobody. What is opening here does not lead yet. */
  function leaderOf(partition: PartitionImage, view: ListenerView): number {
    const node = view.leaderNode(partition);
    if (node !== view.own.nodeId) return node;
    return topics.partition(partition.topicId, partition.partition) === undefined ? -1 : node;
  }

  function isOnItsWay(partition: PartitionImage, type: number, view: ListenerView): boolean {
    return (
      type === electionType.preferred &&
      isMoving(partition) &&
      view.standingOf(partition.target) !== standing.gone
    );
  }

  /** The partitions that a request without any means. */
  function inNeed(partitions: readonly PartitionImage[], type: number, view: ListenerView): number[] {
    const needs = (partition: PartitionImage): boolean =>
      type === electionType.preferred ? isOnItsWay(partition, type, view) : view.leaderNode(partition) < 0;
    return partitions.filter(needs).map(({ partition }) => partition);
  }

  function elect(name: string, outcome: Outcome, type: number, view: ListenerView): Underway | null {
    const topic = topics.topicByName(name);
    const partition = topic?.partitions[outcome.partitionId];
    const say = (errorCode: number, errorMessage: string | null): null => {
      outcome.errorCode = errorCode;
      outcome.errorMessage = errorMessage;
      return null;
    };
    const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    if (topic === undefined) return say(unknown, `No such topic as ${name}`);
    if (partition === undefined) return say(unknown, `No such partition as ${name}-${outcome.partitionId}`);
    if (isOnItsWay(partition, type, view)) return { topicId: topic.topicId, outcome };
    if (leaderOf(partition, view) >= 0)
      return say(ErrorCode.ELECTION_NOT_NEEDED, 'Leader election not needed for topic partition.');
    return say(
      type === electionType.preferred
        ? ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
        : ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE,
      'The only broker that could lead the partition has not opened it.',
    );
  }

  /** Settles what has arrived, or is gone; whether nothing is left. */
  function arrived(underway: Set<Underway>, view: ListenerView): boolean {
    for (const each of underway) {
      const { topicId, outcome } = each;
      const partition = topics.topicById(topicId)?.partitions[outcome.partitionId];
      if (partition !== undefined && (isMoving(partition) || leaderOf(partition, view) < 0)) continue;
      if (partition === undefined) outcome.errorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      underway.delete(each);
    }
    return underway.size === 0;
  }

  return {
    codec: ElectLeadersCodec,
    handle({ listener }, request, respond) {
      const { electionType: type, timeoutMs, topicPartitions } = request;
      const refused = refusal(request);
      const view = cluster.of(listener);
      const asked =
        topicPartitions ??
        Array.from(topics.image.topicsByName.values(), ({ name, partitions }) => ({
          topic: name,
          partitions: refused === null ? inNeed(partitions, type, view) : [],
        }));
      const underway = new Set<Underway>();
      const results = asked.map(({ topic, partitions }) => ({
        topic,
        partitionResult: partitions.map((partitionId) => {
          const outcome: Outcome = { partitionId, errorCode: ErrorCode.NONE, errorMessage: null };
          if (refused !== null) [outcome.errorCode, outcome.errorMessage] = refused;
          else {
            const waiting = elect(topic, outcome, type, view);
            if (waiting !== null) underway.add(waiting);
          }
          return outcome;
        }),
      }));
      const limitMs = Math.min(timeoutMs, waitMsMax);
      whenImage(
        topics,
        clock,
        limitMs,
        () => arrived(underway, cluster.of(listener)),
        () => {
          for (const { outcome } of underway) outcome.errorCode = ErrorCode.REQUEST_TIMED_OUT;
          respond({ errorCode: refused?.[0] ?? ErrorCode.NONE, replicaElectionResults: results });
        },
      );
    },
  };
}
