/**
 * What the records of one `__share_group_state` partition amount to: the delivery states of its share partitions. It runs ahead
 * of its log (runtime/coordinator-state.ts): a write is replayed at once and answered when it is durable. Shard thread.
 *
 *     snapshot(e) ─► update(e), update(e) … ─► snapshot(e + 1) after `updatesPerSnapshot` ─► …
 *
 * Invariants: within one snapshot epoch records only add (state-batches.ts), so a snapshot of the same epoch that is repeated
 * behind its updates changes nothing; a record of a lower epoch is old; a new state (initialize) begins a higher epoch.
 * Bound: a share partition's state has as many batches as its owner has records under delivery.
 */
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { CoordinatorRecord } from '../runtime/coordinator-log.ts';
import { coordinatorPartition } from '../runtime/coordinator-place.ts';
import {
  type CoordinatorState,
  type PartitionContext,
  type Replayed,
  replayed,
} from '../runtime/coordinator-state.ts';
import {
  type ShareKey,
  type ShareStateAnswer,
  type ShareStateWrite,
  shareKeyText,
} from './share-state-api.ts';
import {
  readShareKey,
  readSnapshot,
  readUpdate,
  snapshotKey,
  snapshotValue,
  updateKey,
  updateValue,
} from './share-state-records.ts';
import { combineBatches } from './state-batches.ts';

interface ShareState extends ShareStateAnswer {
  readonly key: ShareKey;
  readonly snapshotEpoch: number;
  readonly createTimestamp: number;
  readonly writeTimestamp: number;
  /** Updates since the snapshot. */
  readonly updates: number;
}

export interface ShareStatePorts {
  /** `share.coordinator.snapshot.update.records.per.snapshot`. */
  readonly updatesPerSnapshot: number;
  /** Partitions of `__share_group_state`. */
  readonly partitions: () => number;
  /** Share partitions of one partition of the topic; a new one beyond is answered COORDINATOR_NOT_AVAILABLE. */
  readonly statesMax: number;
}

export class ShareStatePartition implements CoordinatorState {
  readonly context: PartitionContext;
  readonly #ports: ShareStatePorts;
  readonly #states = new Map<string, ShareState>();

  constructor(context: PartitionContext, ports: ShareStatePorts) {
    this.context = context;
    this.#ports = ports;
  }

  // ── Records ─────────────────────────────────────────────────────────────────────────────────────────────────────

  replay(keyBytes: Buffer, value: Buffer | null): Replayed {
    const read = readShareKey(keyBytes);
    if (read.kind === 'other') return replayed.foreign;
    const { key } = read;
    const name = shareKeyText(key);
    if (coordinatorPartition(name, this.#ports.partitions()) !== this.context.partition)
      return replayed.misplaced;
    if (read.kind === 'snapshot') this.#replaySnapshot(name, key, value);
    else if (value !== null) this.#replayUpdate(name, value);
    return replayed.applied;
  }

  #replaySnapshot(name: string, key: ShareKey, value: Buffer | null): void {
    if (value === null) {
      this.#states.delete(name);
      return;
    }
    const { stateBatches, ...fields } = readSnapshot(value);
    const known = this.#states.get(name);
    if (known !== undefined && known.snapshotEpoch > fields.snapshotEpoch) return;
    if (known === undefined || known.snapshotEpoch < fields.snapshotEpoch) {
      const batches = combineBatches([], stateBatches, fields.startOffset);
      this.#states.set(name, { ...fields, key, batches, updates: 0 });
      return;
    }
    this.#add(name, known, fields, stateBatches, known.updates);
  }

  #replayUpdate(name: string, value: Buffer): void {
    const { stateBatches, ...fields } = readUpdate(value);
    const known = this.#states.get(name);
    if (known?.snapshotEpoch !== fields.snapshotEpoch) return;
    this.#add(name, known, fields, stateBatches, known.updates + 1);
  }

  #add(
    name: string,
    known: ShareState,
    { startOffset, leaderEpoch, deliveryCompleteCount }: Omit<ShareStateWrite, 'stateEpoch' | 'batches'>,
    batches: ShareStateWrite['batches'],
    updates: number,
  ): void {
    const newer = startOffset >= known.startOffset;
    const start = Math.max(startOffset, known.startOffset);
    this.#states.set(name, {
      ...known,
      leaderEpoch: Math.max(leaderEpoch, known.leaderEpoch),
      startOffset: start,
      deliveryCompleteCount: newer ? deliveryCompleteCount : known.deliveryCompleteCount,
      batches: combineBatches(known.batches, batches, start),
      updates,
    });
  }

  endTransaction(): void {}

  *liveRecords(): Generator<CoordinatorRecord, void, undefined> {
    for (const { key } of this.#states.values()) {
      const state = this.#states.get(shareKeyText(key));
      if (state !== undefined) yield snapshotOf(state);
    }
  }

  started(): void {}

  expire(): void {}

  close(): void {
    this.#states.clear();
  }

  /** States of a deleted topic go with it. */
  topicDeleted(topicId: string): void {
    for (const { key } of [...this.#states.values()])
      if (key.topicId === topicId) this.context.write(tombstones(key), ignore);
  }

  // ── Questions ───────────────────────────────────────────────────────────────────────────────────────────────────

  initialize(key: ShareKey, stateEpoch: number, startOffset: number, done: (error: number) => void): void {
    const known = this.#states.get(shareKeyText(key));
    if (known !== undefined && stateEpoch < known.stateEpoch) {
      done(ErrorCode.FENCED_STATE_EPOCH);
      return;
    }
    // Asked again, after an answer or a record of the group that was lost: what has happened since then stays.
    if (known !== undefined && startOffset === -1) {
      this.context.read(done);
      return;
    }
    if (known === undefined && (this.#states.size >= this.#ports.statesMax || !this.context.hasRoom())) {
      done(ErrorCode.COORDINATOR_NOT_AVAILABLE);
      return;
    }
    const now = this.context.clock.now();
    const state: ShareState = {
      key,
      snapshotEpoch: known === undefined ? 0 : known.snapshotEpoch + 1,
      stateEpoch,
      leaderEpoch: known?.leaderEpoch ?? -1,
      startOffset,
      deliveryCompleteCount: startOffset < 0 ? -1 : 0,
      batches: [],
      createTimestamp: now,
      writeTimestamp: now,
      updates: 0,
    };
    this.context.write([snapshotOf(state)], done);
  }

  read(
    key: ShareKey,
    leaderEpoch: number,
    done: (error: number, state: ShareStateAnswer | null) => void,
  ): void {
    const known = this.#states.get(shareKeyText(key));
    if (known === undefined) {
      done(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, null);
      return;
    }
    if (leaderEpoch < known.leaderEpoch) {
      done(ErrorCode.FENCED_LEADER_EPOCH, null);
      return;
    }
    const answer = (error: number): void => done(error, error === ErrorCode.NONE ? known : null);
    if (leaderEpoch === known.leaderEpoch) this.context.read(answer);
    else this.context.write([updateOf(known, { ...known, leaderEpoch, batches: [] })], answer);
  }

  summary(key: ShareKey, done: (error: number, state: ShareStateAnswer | null) => void): void {
    const known = this.#states.get(shareKeyText(key));
    if (known === undefined) done(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, null);
    else this.context.read((error) => done(error, error === ErrorCode.NONE ? known : null));
  }

  write(key: ShareKey, write: ShareStateWrite, done: (error: number) => void): void {
    const known = this.#states.get(shareKeyText(key));
    const refused = writeProblem(known, write);
    if (known === undefined || refused !== ErrorCode.NONE) {
      done(refused);
      return;
    }
    if (!this.context.hasRoom()) {
      done(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
      return;
    }
    if (known.updates < this.#ports.updatesPerSnapshot) {
      this.context.write([updateOf(known, write)], done);
      return;
    }
    const startOffset = Math.max(write.startOffset, known.startOffset);
    const next: ShareState = {
      ...known,
      ...write,
      startOffset,
      snapshotEpoch: known.snapshotEpoch + 1,
      writeTimestamp: this.context.clock.now(),
      batches: combineBatches(known.batches, write.batches, startOffset),
    };
    this.context.write([snapshotOf(next)], done);
  }

  delete(key: ShareKey, done: (error: number) => void): void {
    if (this.#states.has(shareKeyText(key))) this.context.write(tombstones(key), done);
    else this.context.read(done);
  }
}

function writeProblem(known: ShareState | undefined, write: ShareStateWrite): number {
  if (known === undefined) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  if (write.leaderEpoch < known.leaderEpoch) return ErrorCode.FENCED_LEADER_EPOCH;
  if (write.stateEpoch < known.stateEpoch) return ErrorCode.FENCED_STATE_EPOCH;
  return ErrorCode.NONE;
}

function snapshotOf({ key, batches, ...state }: ShareState): CoordinatorRecord {
  return { key: snapshotKey(key), value: snapshotValue({ ...state, stateBatches: [...batches] }) };
}

function updateOf(
  { key, snapshotEpoch }: ShareState,
  { leaderEpoch, startOffset, deliveryCompleteCount, batches }: Omit<ShareStateWrite, 'stateEpoch'>,
): CoordinatorRecord {
  const stateBatches = [...batches];
  return {
    key: updateKey(key),
    value: updateValue({ snapshotEpoch, leaderEpoch, startOffset, deliveryCompleteCount, stateBatches }),
  };
}

/** Both keys, so that no update of the deleted state is ever written again. */
function tombstones(key: ShareKey): CoordinatorRecord[] {
  return [
    { key: updateKey(key), value: null },
    { key: snapshotKey(key), value: null },
  ];
}

function ignore(): void {}
