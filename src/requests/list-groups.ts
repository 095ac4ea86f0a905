/**
 * ListGroups (key 16), versions 0-5.
 * v4 filter by state, v5 filter by type and the type in the answer; filters ignore case, unknown words match nothing.
 * All groups of this broker; while a partition is loading the answer is COORDINATOR_LOAD_IN_PROGRESS.
 */
import type { ListedGroup } from '../coordinator/group/group-api.ts';
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ListGroupsCodec,
  type ListGroupsRequest,
  type ListGroupsResponseInput,
} from '../protocol/generated/list-groups.ts';
import type { RequestHandler } from './support/handler.ts';

const groupType = 'classic';

export function listGroupsHandler(
  services: GroupServices,
): RequestHandler<ListGroupsRequest, ListGroupsResponseInput> {
  return {
    codec: ListGroupsCodec,
    // No single group, yet where the coordinators are.
    groupOf: () => '',
    handle(_context, request, respond) {
      const states = lowerCased(request.statesFilter);
      const types = lowerCased(request.typesFilter);
      const coordinators = services.coordinators();
      const listed: ListedGroup[] = [];
      let errorCode: number = ErrorCode.NONE;
      let waiting = coordinators.length;
      const finish = () => {
        const shown =
          errorCode === ErrorCode.NONE && (types.size === 0 || types.has(groupType)) ? listed : [];
        respond({
          errorCode,
          groups: shown
            .filter(({ state }) => states.size === 0 || states.has(state.toLowerCase()))
            .map(({ groupId, protocolType, state }) => ({
              groupId,
              protocolType,
              groupState: state,
              groupType,
            })),
        });
      };
      if (waiting === 0) finish();
      for (const coordinator of coordinators) {
        coordinator.list((code, groups) => {
          if (code !== ErrorCode.NONE) errorCode = code;
          for (const group of groups) listed.push(group);
          waiting--;
          if (waiting === 0) finish();
        });
      }
    },
  };
}

function lowerCased(words: readonly string[]): Set<string> {
  return new Set(words.map((word) => word.toLowerCase()));
}
