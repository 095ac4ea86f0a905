/**
 * ListGroups (key 16), versions 0-5.
 * v4 filter by state, v5 filter by type and the type in the answer; filters ignore case, unknown words match nothing.
 * All groups of this broker, from every shard; while a partition is loading the answer is COORDINATOR_LOAD_IN_PROGRESS.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ListGroupsCodec,
  type ListGroupsRequest,
  type ListGroupsResponseInput,
} from '../protocol/generated/list-groups.ts';
import type { RequestHandler } from './support/handler.ts';

export function listGroupsHandler(
  services: GroupServices,
): RequestHandler<ListGroupsRequest, ListGroupsResponseInput> {
  return {
    codec: ListGroupsCodec,
    route: {
      kind: 'all',
      merge(_request, responses) {
        const failed = responses.find(({ errorCode }) => errorCode !== ErrorCode.NONE);
        return (
          failed ?? { errorCode: ErrorCode.NONE, groups: responses.flatMap(({ groups }) => groups ?? []) }
        );
      },
      refused: (_request, errorCode) => ({ errorCode, groups: [] }),
    },
    handle(_context, request, respond) {
      const states = lowerCased(request.statesFilter);
      const types = lowerCased(request.typesFilter);
      services.coordinator.list((errorCode, groups) => {
        const shown = errorCode === ErrorCode.NONE ? groups : [];
        respond({
          errorCode,
          groups: shown
            .filter(({ groupType }) => types.size === 0 || types.has(groupType))
            .filter(({ state }) => states.size === 0 || isNamed(state, states))
            .map(({ groupId, protocolType, state, groupType }) => ({
              groupId,
              protocolType,
              groupState: state,
              groupType,
            })),
        });
      });
    },
  };
}

/** Kafka knows NotReady as not_ready alone, which is not how its own tools ask for it. */
function isNamed(state: string, states: ReadonlySet<string>): boolean {
  const name = state.toLowerCase();
  return states.has(name) || (name === 'notready' && states.has('not_ready'));
}

function lowerCased(words: readonly string[]): Set<string> {
  return new Set(words.map((word) => word.toLowerCase()));
}
