/** Ports of share groups for tests of other groups: there are no topics, and nothing is asked of the share coordinator. */
import type { ShareGroupPorts } from '../../../../src/coordinator/group/share/share-group-api.ts';

const notExpected = (): never => {
  throw new Error('no share group asks for anything here');
};

export const noShareGroups: ShareGroupPorts = {
  settings: () => ({
    sessionTimeoutMs: 45_000,
    heartbeatIntervalMs: 5_000,
    assignmentIntervalMs: 1_000,
    membersMax: 200,
  }),
  topic: () => null,
  initialize: notExpected,
  delete: notExpected,
  forget: () => {},
};
