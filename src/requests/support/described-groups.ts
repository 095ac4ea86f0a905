/** What the requests that describe groups of a kind by their ids have in common. */
import { coordinatorTopics } from '../../coordinator/runtime/coordinator-place.ts';
import { inOrder, pick, type SplitRoute } from '../routing.ts';

/** Each group is described where its coordinator is. @param refused a group of which only the error is known. */
export function describedGroupsRoute<Request extends { readonly groupIds: string[] }, Group>(
  refused: (groupId: string, errorCode: number) => Group,
): SplitRoute<Request, { readonly groups?: readonly Group[] }> {
  return {
    kind: 'split',
    topic: coordinatorTopics.group,
    keys: (request) => request.groupIds,
    part: (request, indexes) => ({ ...request, groupIds: pick(request.groupIds, indexes) }),
    merge: (_request, parts) => ({ groups: inOrder(parts, ({ groups }) => groups) }),
    refused: (request, errorCode) => ({
      groups: request.groupIds.map((groupId) => refused(groupId, errorCode)),
    }),
  };
}

/** Describes each group, in any order, and answers with all of them in the order of the request. */
export function describeEach<Group>(
  groupIds: readonly string[],
  describe: (groupId: string, done: (group: Group) => void) => void,
  respond: (answer: { readonly groups: Group[] }) => void,
): void {
  const groups: Group[] = [];
  let waiting = groupIds.length;
  if (waiting === 0) respond({ groups });
  for (const [i, groupId] of groupIds.entries()) {
    describe(groupId, (group) => {
      groups[i] = group;
      waiting--;
      if (waiting === 0) respond({ groups });
    });
  }
}
