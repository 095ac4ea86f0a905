/**
 * DeleteTopics (key 20), versions 0–6; made by the control plane and answered when every shard has dropped the topics.
 *
 * v6: by name or by id. Unknown name: UNKNOWN_TOPIC_OR_PARTITION; unknown id: UNKNOWN_TOPIC_ID with a null name; neither
 * or both, or the same topic twice in whatever way: INVALID_REQUEST (a name or id given twice is answered once). With
 * `delete.topic.enable` off all are TOPIC_DELETION_DISABLED (before v3 INVALID_REQUEST). A time-out of zero or less:
 * REQUEST_TIMED_OUT, nothing is looked at. Topics are deleted one by one.
 */

import type { TopicImage } from '../metadata/metadata-store.ts';
import {
  DeleteTopicsCodec,
  type DeleteTopicsRequest,
  type DeleteTopicsRequestDeleteTopicState,
  type DeleteTopicsResponseInput,
} from '../protocol/generated/delete-topics.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { ZERO_UUID } from '../protocol/primitives.ts';
import type { ControlPlane } from './support/control-plane.ts';
import type { RequestHandler } from './support/handler.ts';
import { namedTwice, onceEach } from './support/named-twice.ts';
import { expired, type LimitDeps, withinLimit } from './support/time-limit.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface DeleteTopicsDeps extends LimitDeps {
  readonly topics: TopicDirectory;
  readonly control: Pick<ControlPlane, 'deleteTopics'>;
  /** `delete.topic.enable`. */
  readonly enabled: boolean;
}

interface Result {
  name: string | null;
  topicId: string;
  errorCode: number;
  errorMessage: string | null;
}

/** Names hold no colon, so a name and an id are never taken for each other. */
const keyOf = ({ name, topicId }: DeleteTopicsRequestDeleteTopicState): string => `${name ?? ''}:${topicId}`;

const byIdVersion = 6;
const disabledVersion = 3;

export function deleteTopicsHandler(
  deps: DeleteTopicsDeps,
): RequestHandler<DeleteTopicsRequest, DeleteTopicsResponseInput> {
  const { topics } = deps;

  const find = ({ name, topicId }: DeleteTopicsRequestDeleteTopicState): TopicImage | undefined =>
    name === null ? topics.topicById(topicId) : topics.topicByName(name);

  function check(
    wanted: DeleteTopicsRequestDeleteTopicState,
    topic: TopicImage | undefined,
    result: Result,
  ): void {
    const { name, topicId } = wanted;
    if ((name === null) === (topicId === ZERO_UUID)) {
      result.errorCode = ErrorCode.INVALID_REQUEST;
      result.errorMessage = 'A topic is named either by its name or by its id.';
    } else if (topic === undefined) {
      const byName = name !== null;
      result.errorCode = byName ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.UNKNOWN_TOPIC_ID;
      result.errorMessage = byName ? `Topic ${name} does not exist.` : `No topic has the id ${topicId}.`;
    }
  }

  return {
    codec: DeleteTopicsCodec,
    handle(context, request, respond) {
      const version = context.apiVersion;
      const named =
        version >= byIdVersion
          ? request.topics
          : request.topicNames.map((name) => ({ name, topicId: ZERO_UUID }));
      const wanted = onceEach(named, keyOf);
      if (!deps.enabled) {
        const errorCode =
          version >= disabledVersion ? ErrorCode.TOPIC_DELETION_DISABLED : ErrorCode.INVALID_REQUEST;
        respond({ responses: wanted.map(({ name, topicId }) => ({ name, topicId, errorCode })) });
        return;
      }
      if (expired(request.timeoutMs)) {
        const errorCode = ErrorCode.REQUEST_TIMED_OUT;
        respond({ responses: wanted.map(({ name, topicId }) => ({ name, topicId, errorCode })) });
        return;
      }
      const found = wanted.map(find);
      const twice = namedTwice(named.map((each) => find(each)?.topicId ?? keyOf(each)));
      const places: number[] = [];
      const results = wanted.map((each, i): Result => {
        const topic = found[i];
        const result = { name: each.name, topicId: each.topicId, errorCode: 0, errorMessage: null };
        if (twice.has(topic?.topicId ?? keyOf(each))) {
          const errorMessage = 'A topic may appear only once in a request.';
          return { ...result, errorCode: ErrorCode.INVALID_REQUEST, errorMessage };
        }
        check(each, topic, result);
        if (topic === undefined || result.errorCode !== ErrorCode.NONE) return result;
        places.push(i);
        return { ...result, name: topic.name, topicId: topic.topicId };
      });
      if (places.length === 0) {
        respond({ responses: results });
        return;
      }
      const ids = places.map((place) => results[place]!.topicId);
      withinLimit(deps, request.timeoutMs, deps.control.deleteTopics(ids), (outcomes, failure) => {
        for (const [i, place] of places.entries()) {
          const result = results[place]!;
          result.errorCode = outcomes?.[i]?.error ?? failure;
          result.errorMessage = outcomes?.[i]?.message ?? null;
          // Deleted by somebody else meanwhile: who asked by name is told about the name.
          if (result.errorCode === ErrorCode.UNKNOWN_TOPIC_ID && wanted[place]!.name !== null) {
            result.errorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
          }
        }
        respond({ responses: results });
      });
    },
  };
}
