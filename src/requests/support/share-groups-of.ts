/** Finds the share groups among which a group is, or says why not. */
import type { GroupCoordinator } from '../../coordinator/group/group-api.ts';
import type { ShareGroups } from '../../coordinator/group/share/share-groups.ts';
import { ErrorCode, errorName } from '../../protocol/generated/errors.ts';

export type FoundShareGroups =
  | { readonly groups: ShareGroups }
  | { readonly groups: null; readonly errorCode: number; readonly errorMessage: string | null };

export function shareGroupsOf(coordinator: GroupCoordinator, groupId: string): FoundShareGroups {
  const groups = coordinator.shareGroups(groupId);
  if (typeof groups === 'number') return { groups: null, errorCode: groups, errorMessage: null };
  if (coordinator.isOtherKind(groupId) === true) {
    const errorMessage = `Group ${groupId} is not a share group.`;
    return { groups: null, errorCode: ErrorCode.GROUP_ID_NOT_FOUND, errorMessage };
  }
  return { groups };
}

export function notFound(groupId: string): { readonly errorCode: number; readonly errorMessage: string } {
  return { errorCode: ErrorCode.GROUP_ID_NOT_FOUND, errorMessage: `Group ${groupId} not found.` };
}

/** Of a change to a group. */
export function refusal(
  errorCode: number,
  groupId: string,
): { readonly errorCode: number; readonly errorMessage: string } {
  return errorCode === ErrorCode.GROUP_ID_NOT_FOUND
    ? notFound(groupId)
    : { errorCode, errorMessage: errorName(errorCode) };
}
