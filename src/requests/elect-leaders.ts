/**
 * ElectLeaders (key 43), versions 0–2. This broker leads whatever it has open, and nobody else could.
 *
 *   ELECTION_NOT_NEEDED the partition is led      PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE (unclean)
 *   UNKNOWN_TOPIC_OR_PARTITION                    it is not open here
 *   INVALID_REQUEST another type of election      REQUEST_TIMED_OUT a time-out of zero or less
 *
 * Without partitions all topics are answered, with those partitions only that need an election: none. v0 knows only
 * preferred elections and no error of the whole.
 */
import {
  ElectLeadersCodec,
  type ElectLeadersRequest,
  type ElectLeadersResponseInput,
} from '../protocol/generated/elect-leaders.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type { RequestHandler } from './support/handler.ts';
import { expired } from './support/time-limit.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

const electionType = { preferred: 0, unclean: 1 } as const;
type Outcome = readonly [error: number, message: string | null];

export function electLeadersHandler(deps: {
  readonly topics: TopicDirectory;
}): RequestHandler<ElectLeadersRequest, ElectLeadersResponseInput> {
  const { topics } = deps;

  function refusal({ timeoutMs, electionType: type }: ElectLeadersRequest): Outcome | null {
    if (type !== electionType.preferred && type !== electionType.unclean) {
      return [ErrorCode.INVALID_REQUEST, `Unknown election type ${type}`];
    }
    return expired(timeoutMs) ? [ErrorCode.REQUEST_TIMED_OUT, null] : null;
  }

  function elect(name: string, index: number, type: number): Outcome {
    const topic = topics.topicByName(name);
    const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    if (topic === undefined) return [unknown, `No such topic as ${name}`];
    if (topic.partitions[index] === undefined) return [unknown, `No such partition as ${name}-${index}`];
    if (topics.partition(topic.topicId, index) !== undefined) {
      return [ErrorCode.ELECTION_NOT_NEEDED, 'Leader election not needed for topic partition.'];
    }
    const preferred = type === electionType.preferred;
    const code = preferred
      ? ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
      : ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE;
    return [code, 'The only broker that could lead the partition has not opened it.'];
  }

  return {
    codec: ElectLeadersCodec,
    handle(_context, request, respond) {
      const refused = refusal(request);
      const asked =
        request.topicPartitions ??
        Array.from(topics.image.topicsByName.keys(), (topic) => ({ topic, partitions: [] }));
      respond({
        errorCode: refused?.[0] ?? ErrorCode.NONE,
        replicaElectionResults: asked.map(({ topic, partitions }) => ({
          topic,
          partitionResult: partitions.map((partitionId) => {
            const [errorCode, errorMessage] = refused ?? elect(topic, partitionId, request.electionType);
            return { partitionId, errorCode, errorMessage };
          }),
        })),
      });
    },
  };
}
