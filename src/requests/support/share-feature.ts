/** Requests of share consumers are refused while the cluster's level of `share.version` is 0 (UNSUPPORTED_VERSION), as in Kafka. */
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { levelOf } from './features.ts';
import type { RequestHandler } from './handler.ts';
import type { TopicDirectory } from './topic-directory.ts';

export function whenShared<Request, ResponseInput extends { readonly errorCode?: number | undefined }>(
  topics: TopicDirectory,
  handler: RequestHandler<Request, ResponseInput>,
): RequestHandler<Request, ResponseInput> {
  return {
    ...handler,
    handle(context, request, respond) {
      if (levelOf(topics.image, 'share.version') > 0) handler.handle(context, request, respond);
      else respond({ errorCode: ErrorCode.UNSUPPORTED_VERSION } as ResponseInput);
    },
  };
}
