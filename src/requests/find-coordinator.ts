/**
 * FindCoordinator (key 10), versions 0-6.
 * v0 groups only; v1 transactions; v4 many keys, a code each; v6 share keys "group:topicId:partition". The first
 * question makes the internal topic; until it is there the answer is COORDINATOR_NOT_AVAILABLE. A success says "NONE" in
 * v1-3 and nothing from v4, as Kafka does. Runs on the connection's shard.
 */
import type { CoordinatorPlace, GroupServices } from '../coordinator/group/group-services.ts';
import { type CoordinatorKind, coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  FindCoordinatorCodec,
  type FindCoordinatorRequest,
  type FindCoordinatorResponseCoordinatorInput,
  type FindCoordinatorResponseInput,
} from '../protocol/generated/find-coordinator.ts';
import type { RequestHandler } from './support/handler.ts';

/** By key type. */
const coordinatorKinds = Object.keys(coordinatorTopics) as CoordinatorKind[];
const manyKeysVersion = 4;
const shareVersion = 6;
/** Group, unpadded base64url topic id, partition. A group id may itself hold colons. */
const shareKey = /^.+:[A-Za-z0-9_-]{22}:\d{1,10}$/s;

const nowhere = { nodeId: -1, host: '', port: -1 } as const;

export function findCoordinatorHandler(
  services: GroupServices,
): RequestHandler<FindCoordinatorRequest, FindCoordinatorResponseInput> {
  const find = (
    kind: CoordinatorKind | undefined,
    key: string,
    listener: string,
    version: number,
    done: (place: CoordinatorPlace) => void,
  ) => {
    const refused =
      kind === undefined || (kind === 'share' && (version < shareVersion || !shareKey.test(key)));
    if (refused) done({ errorCode: ErrorCode.INVALID_REQUEST, ...nowhere });
    else services.findCoordinator(kind, key, listener, done);
  };
  return {
    codec: FindCoordinatorCodec,
    handle(context, request, respond) {
      const { apiVersion: version, listener } = context;
      const kind = coordinatorKinds[request.keyType];
      if (version < manyKeysVersion) {
        find(kind, request.key, listener, version, (place) =>
          respond({ ...place, errorMessage: place.errorCode === ErrorCode.NONE ? 'NONE' : null }),
        );
        return;
      }
      const coordinators: FindCoordinatorResponseCoordinatorInput[] = [];
      let waiting = request.coordinatorKeys.length;
      if (waiting === 0) respond({ coordinators });
      for (const [i, key] of request.coordinatorKeys.entries()) {
        find(kind, key, listener, version, (place) => {
          coordinators[i] = { key, ...place, errorMessage: place.errorCode === ErrorCode.NONE ? '' : null };
          waiting--;
          if (waiting === 0) respond({ coordinators });
        });
      }
    },
  };
}
