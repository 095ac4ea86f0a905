/**
 * Who may do what: the question that handlers ask of their RequestContext. For now everybody may do everything; rules
 * come with an Authorizer of their own. An answer that depends on it is the caller's: whatever is kept for more than one
 * request is kept by what was allowed, never by who happened to ask first.
 */

/** AclOperation codes of the wire. */
export const aclOperation = {
  read: 3,
  write: 4,
  create: 5,
  delete: 6,
  alter: 7,
  describe: 8,
  clusterAction: 9,
  describeConfigs: 10,
  alterConfigs: 11,
  idempotentWrite: 12,
  createTokens: 13,
  describeTokens: 14,
  twoPhaseCommit: 15,
} as const;
export type AclOperation = (typeof aclOperation)[keyof typeof aclOperation];

export interface Resource {
  readonly type: 'topic' | 'group' | 'cluster' | 'transactionalId' | 'delegationToken' | 'user';
  readonly name: string;
}

/** The one resource of type cluster. */
export const clusterResource: Resource = { type: 'cluster', name: 'kafka-cluster' };

/** What is known of whoever asks. */
export interface Caller {
  /** As Kafka prints it: "User:ANONYMOUS", or "User:" and the subject of the client's certificate. */
  readonly principal: string;
  /** Peer address as Kafka prints it: "/127.0.0.1". */
  readonly clientHost: string;
}

export interface Authorizer {
  may(caller: Caller, operation: AclOperation, resource: Resource): boolean;
}

export const allowAll: Authorizer = { may: () => true };
