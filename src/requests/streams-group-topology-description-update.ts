/**
 * StreamsGroupTopologyDescriptionUpdate (key 93), version 0 (KIP-1331): a member pushes a description of its topology when a
 * heartbeat asks for it. None asks here, since nothing keeps descriptions (in Apache Kafka a plugin does); so whoever pushes one
 * all the same gets UNSUPPORTED_VERSION, as from a Kafka broker without a plugin.
 */
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  StreamsGroupTopologyDescriptionUpdateCodec,
  type StreamsGroupTopologyDescriptionUpdateRequest,
  type StreamsGroupTopologyDescriptionUpdateResponseInput,
} from '../protocol/generated/streams-group-topology-description-update.ts';
import type { RequestHandler } from './support/handler.ts';

export function streamsGroupTopologyDescriptionUpdateHandler(): RequestHandler<
  StreamsGroupTopologyDescriptionUpdateRequest,
  StreamsGroupTopologyDescriptionUpdateResponseInput
> {
  return {
    codec: StreamsGroupTopologyDescriptionUpdateCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (_request, errorCode) => ({ errorCode }),
    },
    handle(_context, _request, respond) {
      respond({
        errorCode: ErrorCode.UNSUPPORTED_VERSION,
        errorMessage: 'The broker keeps no topology descriptions of streams groups.',
      });
    },
  };
}
