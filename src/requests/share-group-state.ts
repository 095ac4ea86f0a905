/**
 * What brokers ask the share coordinator (KIP-932): InitializeShareGroupState (key 83), ReadShareGroupState (84),
 * WriteShareGroupState (85, versions 0-1), DeleteShareGroupState (86), ReadShareGroupStateSummary (87, versions 0-1). One file,
 * since they differ in their fields only; each partition is asked of the shard that coordinates it, and has its own error:
 * NOT_COORDINATOR where that is none of this broker's. The caller needs CLUSTER_ACTION on the cluster.
 */
import type { ShareKey, ShareStateCoordinator } from '../coordinator/share/share-state-api.ts';
import { DeleteShareGroupStateCodec } from '../protocol/generated/delete-share-group-state.ts';
import { ErrorCode, errorName } from '../protocol/generated/errors.ts';
import { InitializeShareGroupStateCodec } from '../protocol/generated/initialize-share-group-state.ts';
import { ReadShareGroupStateCodec } from '../protocol/generated/read-share-group-state.ts';
import { ReadShareGroupStateSummaryCodec } from '../protocol/generated/read-share-group-state-summary.ts';
import { WriteShareGroupStateCodec } from '../protocol/generated/write-share-group-state.ts';
import { aclOperation, clusterResource } from './support/authorizer.ts';
import type { AnyRequestHandler, RequestHandler, ServedCodec } from './support/handler.ts';

interface StateRequest<Part> {
  readonly groupId: string;
  readonly topics: readonly { readonly topicId: string; readonly partitions: readonly Part[] }[];
}

interface Outcome {
  readonly partition: number;
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

interface StateResponse {
  readonly results: readonly { readonly topicId: string; readonly partitions: readonly Outcome[] }[];
}

/** One request kind: `ask` answers for one partition with an error and the fields that its answer has besides. */
function stateHandler<Part extends { readonly partition: number }>(
  codec: ServedCodec<StateRequest<Part>, StateResponse>,
  ask: (key: ShareKey, part: Part, done: (error: number, fields?: object | null) => void) => void,
): RequestHandler<StateRequest<Part>, StateResponse> {
  return {
    codec,
    handle(context, { groupId, topics }, respond) {
      const allowed = context.may(aclOperation.clusterAction, clusterResource);
      const results = topics.map(({ topicId }) => ({ topicId, partitions: [] as Outcome[] }));
      let waiting = topics.reduce((sum, { partitions }) => sum + partitions.length, 0);
      if (waiting === 0) respond({ results });
      for (const [t, { topicId, partitions }] of topics.entries()) {
        for (const [p, part] of partitions.entries()) {
          const { partition } = part;
          const take = (errorCode: number, fields?: object | null): void => {
            const errorMessage = errorCode === ErrorCode.NONE ? null : errorName(errorCode);
            results[t]!.partitions[p] = { ...fields, partition, errorCode, errorMessage };
            waiting--;
            if (waiting === 0) respond({ results });
          };
          if (!allowed) take(ErrorCode.CLUSTER_AUTHORIZATION_FAILED);
          else if (groupId === '') take(ErrorCode.INVALID_REQUEST);
          else ask({ groupId, topicId, partition }, part, take);
        }
      }
    },
  };
}

/** @param states those that this broker coordinates, on whatever shard. */
export function shareGroupStateHandlers(states: ShareStateCoordinator): readonly AnyRequestHandler[] {
  return [
    stateHandler(InitializeShareGroupStateCodec, (key, { stateEpoch, startOffset }, done) =>
      states.initialize(key, stateEpoch, startOffset, done),
    ),
    stateHandler(ReadShareGroupStateCodec, (key, { leaderEpoch }, done) =>
      states.read(key, leaderEpoch, (error, state) =>
        done(
          error,
          state && {
            stateEpoch: state.stateEpoch,
            startOffset: state.startOffset,
            stateBatches: state.batches,
          },
        ),
      ),
    ),
    stateHandler(WriteShareGroupStateCodec, (key, { stateBatches: batches, ...write }, done) =>
      states.write(key, { ...write, batches }, done),
    ),
    stateHandler(DeleteShareGroupStateCodec, (key, _part, done) => states.delete(key, done)),
    stateHandler(ReadShareGroupStateSummaryCodec, (key, _part, done) => states.summary(key, done)),
  ];
}
