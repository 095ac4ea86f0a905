/**
 * The share coordinator of one shard: the delivery states of the share partitions whose `__share_group_state` partition it owns,
 * over the runtime that loads and stores them. Owned by the shard; single-threaded.
 */
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import type { CoordinatorLog, EndMarker } from '../runtime/coordinator-log.ts';
import { coordinatorPartition, coordinatorTopics } from '../runtime/coordinator-place.ts';
import { CoordinatorRuntime, type PartitionHost } from '../runtime/coordinator-runtime.ts';
import {
  type ShareKey,
  type ShareStateAnswer,
  type ShareStateCoordinator,
  type ShareStateWrite,
  shareKeyText,
} from './share-state-api.ts';
import { ShareStatePartition } from './share-state-partition.ts';

export interface ShareStateSettings {
  /** `share.coordinator.snapshot.update.records.per.snapshot`. */
  readonly updatesPerSnapshot: number;
  readonly statesMax: number;
  readonly pendingBytesMax: number;
  readonly snapshotRecordsMin: number;
  readonly reloadDelayMs: number;
  readonly expireIntervalMs: number;
}

export const defaultShareStateSettings: ShareStateSettings = {
  updatesPerSnapshot: 500,
  // An idle state is about 500 bytes: 10 MB a partition of the topic.
  statesMax: 20_000,
  pendingBytesMax: 16 * 1024 * 1024,
  snapshotRecordsMin: 10_000,
  reloadDelayMs: 1_000,
  expireIntervalMs: 600_000,
};

export interface ShareStateCoordinatorPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: ShareStateSettings;
  readonly log: CoordinatorLog;
  readonly partitions: () => number;
  /** Whether this broker's lease is in force (RuntimePorts). */
  readonly leased?: () => boolean;
}

export class ShareStateCoordinatorShard implements ShareStateCoordinator, PartitionHost {
  readonly #ports: ShareStateCoordinatorPorts;
  readonly #runtime: CoordinatorRuntime<ShareStatePartition>;

  constructor(ports: ShareStateCoordinatorPorts) {
    this.#ports = ports;
    const { settings, partitions } = ports;
    this.#runtime = new CoordinatorRuntime(
      { ...ports, topic: coordinatorTopics.share },
      (context) => new ShareStatePartition(context, { ...settings, partitions }),
    );
  }

  load(partition: number): Promise<void> {
    return this.#runtime.load(partition);
  }

  unload(partition: number): void {
    this.#runtime.unload(partition);
  }

  topicDeleted(topicId: string, name: string): void {
    this.#runtime.topicDeleted(topicId, name);
  }

  endTransaction(partition: number, marker: EndMarker, done: (errorCode: number) => void): void {
    this.#runtime.endTransaction(partition, marker, done);
  }

  close(): void {
    this.#runtime.close();
  }

  #at(key: ShareKey): ShareStatePartition | number {
    return this.#runtime.at(coordinatorPartition(shareKeyText(key), this.#ports.partitions()));
  }

  /** The same, for answers from memory. */
  #readable(key: ShareKey): ShareStatePartition | number {
    return this.#runtime.readable(coordinatorPartition(shareKeyText(key), this.#ports.partitions()));
  }

  initialize(key: ShareKey, stateEpoch: number, startOffset: number, done: (error: number) => void): void {
    const at = this.#at(key);
    if (typeof at === 'number') done(at);
    else at.initialize(key, stateEpoch, startOffset, done);
  }

  read(
    key: ShareKey,
    leaderEpoch: number,
    done: (error: number, state: ShareStateAnswer | null) => void,
  ): void {
    const at = this.#readable(key);
    if (typeof at === 'number') done(at, null);
    else at.read(key, leaderEpoch, done);
  }

  summary(key: ShareKey, done: (error: number, state: ShareStateAnswer | null) => void): void {
    const at = this.#readable(key);
    if (typeof at === 'number') done(at, null);
    else at.summary(key, done);
  }

  write(key: ShareKey, write: ShareStateWrite, done: (error: number) => void): void {
    const at = this.#at(key);
    if (typeof at === 'number') done(at);
    else at.write(key, write, done);
  }

  delete(key: ShareKey, done: (error: number) => void): void {
    const at = this.#at(key);
    if (typeof at === 'number') done(at);
    else at.delete(key, done);
  }
}
