/**
 * ShareAcknowledge (key 79), versions 1-2 (KIP-932): accept, release, reject, gap; v2 renew. In a share session that ShareFetch
 * has opened; epoch −1 ends it, and what the member still holds is available to others. Answered when durable.
 */
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ShareAcknowledgeCodec,
  type ShareAcknowledgeRequest,
  type ShareAcknowledgeResponseInput,
} from '../protocol/generated/share-acknowledge.ts';
import type { RequestHandler } from './support/handler.ts';
import { acknowledgeAll } from './support/share-acknowledgements.ts';
import {
  byTopic,
  isMemberId,
  messageOf,
  ShareHints,
  type ShareRequestDeps,
} from './support/share-answers.ts';
import { finalEpoch } from './support/share-session.ts';

export function shareAcknowledgeHandler(
  deps: ShareRequestDeps,
): RequestHandler<ShareAcknowledgeRequest, ShareAcknowledgeResponseInput> {
  const { shares, shareSessions } = deps;
  return {
    codec: ShareAcknowledgeCodec,
    handle(context, request, respond) {
      const { groupId, memberId, shareSessionEpoch: epoch, topics, isRenewAck } = request;
      if (groupId === null || !isMemberId(memberId)) {
        respond({ errorCode: ErrorCode.INVALID_REQUEST });
        return;
      }
      const session = shareSessions.use(groupId, memberId, epoch, context.connectionId, false);
      if (typeof session === 'number') {
        respond({ errorCode: session });
        return;
      }
      acknowledgeAll(deps, session, topics, isRenewAck, (results) => {
        const answer = (): void => {
          const hint = new ShareHints(deps, context.listener);
          respond({
            acquisitionLockTimeoutMs: shares.settings(groupId).lockMs,
            responses: byTopic(
              results.map(({ topicId, partition, errorCode }) => ({
                topicId,
                data: {
                  partitionIndex: partition,
                  errorCode,
                  errorMessage: messageOf(errorCode),
                  ...hint.of(topicId, partition, errorCode),
                },
              })),
            ),
            nodeEndpoints: hint.endpoints,
          });
        };
        if (epoch === finalEpoch) shareSessions.end(session, answer);
        else answer();
      });
    },
  };
}
