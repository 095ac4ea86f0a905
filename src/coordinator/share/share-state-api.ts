/**
 * Questions to the share coordinator (KIP-932): the durable delivery state of one share partition. Handlers of
 * Initialize/Read/Write/DeleteShareGroupState and the shards' own persisters ask the same. Each `done` runs once, when what it
 * says is durable; errors are wire errors.
 */

export interface ShareKey {
  readonly groupId: string;
  readonly topicId: string;
  readonly partition: number;
}

/** The key by which FindCoordinator and placement know a share partition. */
export function shareKeyText({ groupId, topicId, partition }: ShareKey): string {
  return `${groupId}:${topicId}:${partition}`;
}

export interface StateBatch {
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly deliveryState: number;
  readonly deliveryCount: number;
}

export interface ShareStateAnswer {
  readonly stateEpoch: number;
  readonly leaderEpoch: number;
  /** −1: none yet. */
  readonly startOffset: number;
  /** −1: not told. */
  readonly deliveryCompleteCount: number;
  readonly batches: readonly StateBatch[];
}

export interface ShareStateWrite {
  readonly stateEpoch: number;
  readonly leaderEpoch: number;
  readonly startOffset: number;
  readonly deliveryCompleteCount: number;
  readonly batches: readonly StateBatch[];
}

export interface ShareStateCoordinator {
  /** A new state at a start offset (−1: to be found by who reads first); FENCED_STATE_EPOCH below the epoch in force. */
  initialize(key: ShareKey, stateEpoch: number, startOffset: number, done: (error: number) => void): void;
  /** A higher leader epoch takes the state over: writes of a lower one are fenced from then on. */
  read(
    key: ShareKey,
    leaderEpoch: number,
    done: (error: number, state: ShareStateAnswer | null) => void,
  ): void;
  summary(key: ShareKey, done: (error: number, state: ShareStateAnswer | null) => void): void;
  write(key: ShareKey, write: ShareStateWrite, done: (error: number) => void): void;
  delete(key: ShareKey, done: (error: number) => void): void;
}
