/**
 * Authorized-operations masks of requests that describe topics, groups or the cluster: bit n = AclOperation code n.
 * Without ACLs everybody may do everything that applies to the resource.
 */
export const operationsNotAsked = -2147483648;

/** READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS. */
export const topicOperations = mask(3, 4, 5, 6, 7, 8, 10, 11);

/** CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE. */
export const clusterOperations = mask(5, 7, 8, 9, 10, 11, 12);

/** READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS. */
export const groupOperations = mask(3, 6, 8, 10, 11);

function mask(...operations: readonly number[]): number {
  let bits = 0;
  for (const operation of operations) bits |= 1 << operation;
  return bits;
}
