/**
 * DeleteGroups (key 42), versions 0-3.
 * Each group apart: NON_EMPTY_GROUP with members, GROUP_ID_NOT_FOUND when unknown; success when the tombstones of the
 * group and its offsets are durable.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import {
  DeleteGroupsCodec,
  type DeleteGroupsRequest,
  type DeleteGroupsResponseDeletableGroupResultInput,
  type DeleteGroupsResponseInput,
} from '../protocol/generated/delete-groups.ts';
import type { RequestHandler } from './support/handler.ts';

export function deleteGroupsHandler(
  services: GroupServices,
): RequestHandler<DeleteGroupsRequest, DeleteGroupsResponseInput> {
  return {
    codec: DeleteGroupsCodec,
    groupOf: (request) => request.groupsNames[0] ?? '',
    handle(_context, request, respond) {
      // The answer holds one result per group, so a name that comes twice counts once.
      const names = [...new Set(request.groupsNames)];
      const results: DeleteGroupsResponseDeletableGroupResultInput[] = [];
      let waiting = names.length;
      if (waiting === 0) respond({ results });
      for (const [i, groupId] of names.entries()) {
        services.coordinatorFor(groupId).deleteGroup(groupId, (errorCode) => {
          results[i] = { groupId, errorCode };
          waiting--;
          if (waiting === 0) respond({ results });
        });
      }
    },
  };
}
