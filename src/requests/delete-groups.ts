/**
 * DeleteGroups (key 42), versions 0-3.
 * Each group apart: NON_EMPTY_GROUP with members, GROUP_ID_NOT_FOUND when unknown; success when the tombstones of the
 * group and its offsets are durable.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import {
  DeleteGroupsCodec,
  type DeleteGroupsRequest,
  type DeleteGroupsResponseDeletableGroupResultInput,
  type DeleteGroupsResponseInput,
} from '../protocol/generated/delete-groups.ts';
import { inOrder, pick } from './routing.ts';
import type { RequestHandler } from './support/handler.ts';

export function deleteGroupsHandler(
  services: GroupServices,
): RequestHandler<DeleteGroupsRequest, DeleteGroupsResponseInput> {
  return {
    codec: DeleteGroupsCodec,
    route: {
      kind: 'split',
      topic: coordinatorTopics.group,
      keys: (request) => distinct(request.groupsNames),
      part: (request, indexes) => ({ ...request, groupsNames: pick(distinct(request.groupsNames), indexes) }),
      merge: (_request, parts) => ({ results: inOrder(parts, ({ results }) => results) }),
      refused: (request, errorCode) => ({
        results: distinct(request.groupsNames).map((groupId) => ({ groupId, errorCode })),
      }),
    },
    handle(_context, request, respond) {
      const names = distinct(request.groupsNames);
      const results: DeleteGroupsResponseDeletableGroupResultInput[] = [];
      let waiting = names.length;
      if (waiting === 0) respond({ results });
      for (const [i, groupId] of names.entries()) {
        services.coordinator.deleteGroup(groupId, (errorCode) => {
          results[i] = { groupId, errorCode };
          waiting--;
          if (waiting === 0) respond({ results });
        });
      }
    },
  };
}

/** The answer holds one result per group, so a name that comes twice counts once. */
function distinct(names: readonly string[]): string[] {
  return [...new Set(names)];
}
