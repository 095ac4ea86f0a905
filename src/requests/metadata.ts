/**
 * Metadata (key 3), versions 0–13; runs on the connection's shard.
 *
 * All topics (v0: an empty list, v1+: null), or those named, or from v12 those with the ids given (ids win when there are
 * any). Unknown id: UNKNOWN_TOPIC_ID with a null name; unknown name: UNKNOWN_TOPIC_OR_PARTITION, unless it
 * is created automatically, which the answer waits for (a second at most); illegal or colliding name: INVALID_TOPIC_EXCEPTION. A topic named twice is answered once.
 * The broker that a partition is open on is leader, only replica and in-sync set: durability is the storage's, not a matter
 * of replicas. A partition that is open nowhere, or on a fenced broker, has no leader (LEADER_NOT_AVAILABLE); one whose broker
 * the client's listener does not reach neither (LISTENER_NOT_FOUND from v6). Brokers: support/cluster-view.ts.
 * Answers are copied together from pieces encoded per topic (metadata-pieces.ts).
 */
import type { TopicImage } from '../metadata/metadata-store.ts';
import type { Clock } from '../ports/clock.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type {
  MetadataRequest,
  MetadataRequestTopic,
  MetadataResponseTopicInput,
} from '../protocol/generated/metadata.ts';
import { ZERO_UUID } from '../protocol/primitives.ts';
import { clusterOperations } from './support/authorized-operations.ts';
import { ClusterView, type ClusterViewDeps } from './support/cluster-view.ts';
import type { RequestHandler } from './support/handler.ts';
import {
  type MetadataAnswer,
  metadataAnswerCodec,
  type TopicPiece,
  TopicPieces,
} from './support/metadata-pieces.ts';
import { type AutoCreation, type AutoTopics, afterCreation } from './support/topic-creation.ts';
import type { TopicDirectory } from './support/topic-directory.ts';
import { isInternalTopic, topicNameProblem } from './support/topic-names.ts';

export interface MetadataDeps extends ClusterViewDeps {
  readonly topics: TopicDirectory;
  readonly autoTopics: AutoTopics;
  readonly clock: Pick<Clock, 'after'>;
}

const nameOptionalVersion = 12;

/** A topic that is not there. */
function missing(errorCode: number, name: string | null, topicId = ZERO_UUID): MetadataResponseTopicInput {
  return { errorCode, name, topicId, isInternal: name !== null && isInternalTopic(name), partitions: [] };
}

export function metadataHandler(deps: MetadataDeps): RequestHandler<MetadataRequest, MetadataAnswer> {
  const { topics, autoTopics, clock } = deps;
  const cluster = new ClusterView(deps);
  /** By listener. */
  const allPieces = new Map<string, TopicPieces>();

  function piecesOf(listener: string): TopicPieces {
    let pieces = allPieces.get(listener);
    if (pieces === undefined) {
      pieces = new TopicPieces(topics);
      allPieces.set(listener, pieces);
    }
    return pieces;
  }

  type PieceOf = (topic: TopicImage) => TopicPiece;

  function byId(wanted: readonly MetadataRequestTopic[], pieceOf: PieceOf): MetadataAnswer['topics'] {
    const ids = new Set(wanted.map(({ topicId }) => topicId).filter((topicId) => topicId !== ZERO_UUID));
    return [...ids].map((topicId) => {
      const topic = topics.topicById(topicId);
      return topic === undefined ? missing(ErrorCode.UNKNOWN_TOPIC_ID, null, topicId) : pieceOf(topic);
    });
  }

  /** Topics that are there come first. @param errors of names that are not, where they are more than unknown. */
  function byName(
    names: ReadonlySet<string>,
    pieceOf: PieceOf,
    errors: AbsentErrors,
  ): MetadataAnswer['topics'] {
    const answers: MetadataAnswer['topics'][number][] = [];
    const absent: MetadataAnswer['topics'][number][] = [];
    for (const name of names) {
      const topic = topics.topicByName(name);
      if (topic === undefined) absent.push(missing(errors.get(name) ?? absentError(name), name));
      else answers.push(pieceOf(topic));
    }
    return [...answers, ...absent];
  }

  function topicsOf(
    version: number,
    wanted: MetadataRequest['topics'],
    pieceOf: PieceOf,
    errors: AbsentErrors,
  ): MetadataAnswer['topics'] {
    if (wanted === null) return Array.from(topics.image.topicsByName.values(), pieceOf);
    if (version < nameOptionalVersion && wanted.some(isByIdOrNameless))
      return wanted.map(({ name, topicId }) => missing(ErrorCode.INVALID_REQUEST, name ?? '', topicId));
    if (wanted.some(isById)) return byId(wanted, pieceOf);
    return byName(namesOf(wanted), pieceOf, errors);
  }

  /** Has topics made that are named and not there. `made`: null when nothing is under way. */
  function create(wanted: readonly MetadataRequestTopic[]): {
    readonly made: AutoCreation['made'];
    readonly errors: AbsentErrors;
  } {
    const may = autoTopics.enabled && !wanted.some(isByIdOrNameless);
    const absent = may ? [...namesOf(wanted)].filter((name) => topics.topicByName(name) === undefined) : [];
    if (absent.length === 0) return { made: null, errors: new Map() };
    const { errors, made } = autoTopics.request(absent);
    return { made, errors: new Map(absent.map((name, i) => [name, errors[i]!])) };
  }

  return {
    codec: metadataAnswerCodec,
    handle(context, request, respond) {
      const version = context.apiVersion;
      const wanted = version === 0 && request.topics?.length === 0 ? null : request.topics;
      const answer = (errors: AbsentErrors): void => {
        const view = cluster.of(context.listener);
        const pieces = piecesOf(context.listener);
        respond({
          brokers: view.brokers,
          clusterId: topics.image.clusterId,
          controllerId: view.controllerId,
          topics: topicsOf(version, wanted, (topic) => pieces.piece(topic, view), errors),
          topicOperations: request.includeTopicAuthorizedOperations,
          ...(request.includeClusterAuthorizedOperations
            ? { clusterAuthorizedOperations: clusterOperations }
            : {}),
        });
      };
      const { made, errors } = create(request.allowAutoTopicCreation ? (wanted ?? []) : []);
      if (made === null) answer(errors);
      else afterCreation(clock, made, () => answer(errors));
    },
  };
}

type AbsentErrors = ReadonlyMap<string, number>;

function namesOf(wanted: readonly MetadataRequestTopic[]): ReadonlySet<string> {
  return new Set(wanted.map(({ name }) => name ?? ''));
}

function isById({ topicId }: MetadataRequestTopic): boolean {
  return topicId !== ZERO_UUID;
}

/** v10 and v11 carry ids and nullable names in requests, but neither may be used yet. */
function isByIdOrNameless({ topicId, name }: MetadataRequestTopic): boolean {
  return topicId !== ZERO_UUID || name === null;
}

function absentError(name: string): number {
  return topicNameProblem(name) === null
    ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    : ErrorCode.INVALID_TOPIC_EXCEPTION;
}
