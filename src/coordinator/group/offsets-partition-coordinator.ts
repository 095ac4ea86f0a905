/**
 * The classic groups of one `__consumer_offsets` partition: their table, the records on their way to the log, replay,
 * and the snapshots that bound it (offsets-snapshot.ts). One object lives from load to unload; after `close` it answers nobody and late callbacks do nothing.
 *
 *     #pending   | oldest … newest |    appended, not durable; settled in this order, 2 × pendingBytesMax at worst
 *     groups     what members see: rebalances run ahead of the log, answers that hand out a generation's parts do not
 *     offsets    what fetches see: durable only
 */
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { Group } from './group.ts';
import { groupKey, groupValue, offsetKey, readKey, readOffsetValue, restoreGroup } from './group-records.ts';
import type { GroupSettings } from './group-settings.ts';
import { groupStates } from './group-state.ts';
import { Membership } from './membership.ts';
import type { OffsetsLog, OffsetsRecord } from './offsets-log.ts';
import { OffsetsSnapshot, type SnapshotHost } from './offsets-snapshot.ts';
import type { GroupHost } from './rebalance.ts';

export interface CoordinatorPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: GroupSettings;
  readonly log: OffsetsLog;
}

interface PendingAppend {
  readonly records: readonly OffsetsRecord[];
  readonly bytes: number;
  readonly durable: (baseOffset: number) => void;
  readonly lost: () => void;
}

export class OffsetsPartitionCoordinator implements GroupHost, SnapshotHost {
  readonly partition: number;
  /** The one before ended with an append that failed. */
  readonly afterFailure: boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: GroupSettings;
  readonly groups = new Map<string, Group>();
  readonly membership: Membership;
  loaded = false;
  closed = false;
  readonly #log: OffsetsLog;
  readonly #snapshot: OffsetsSnapshot;
  readonly #pending: PendingAppend[] = [];
  #pendingBytes = 0;
  /** Runs once an append failed: memory and log may differ now, only a new load makes them agree. */
  readonly #onFailure: (error: Error) => void;
  /** Runs after each callback of the log, also late ones. */
  readonly #onSettled: () => void;

  constructor(
    partition: number,
    ports: CoordinatorPorts,
    onFailure: (error: Error) => void,
    onSettled: () => void,
    afterFailure: boolean,
  ) {
    this.partition = partition;
    this.afterFailure = afterFailure;
    this.clock = ports.clock;
    this.random = ports.random;
    this.logger = ports.logger;
    this.settings = ports.settings;
    this.#log = ports.log;
    this.#onFailure = onFailure;
    this.#onSettled = onSettled;
    this.membership = new Membership(this);
    this.#snapshot = new OffsetsSnapshot(this, ports.settings.snapshotRecordsMin);
  }

  /** The group, made if there is room; null at the limit. */
  groupFor(id: string): Group | null {
    const known = this.groups.get(id);
    if (known !== undefined) return known;
    if (this.groups.size >= this.settings.groupsPerPartitionMax) {
      this.logger.warn('a group is refused: too many groups in one partition', {
        group: id,
        partition: this.partition,
        max: this.settings.groupsPerPartitionMax,
      });
      return null;
    }
    const group = new Group(id, this.clock.now());
    this.groups.set(id, group);
    return group;
  }

  dropIfVoid(group: Group): void {
    if (!this.closed && group.isVoid() && this.groups.get(group.id) === group) this.groups.delete(group.id);
  }

  /** Room for another client's records; the coordinator's own are bounded by its groups and always go. */
  hasRoom(): boolean {
    return this.#pendingBytes < this.settings.pendingBytesMax;
  }

  append(records: readonly OffsetsRecord[], durable: (baseOffset: number) => void, lost: () => void): void {
    let bytes = 0;
    for (const record of records) bytes += record.key.length + (record.value?.length ?? 0);
    const append: PendingAppend = { records, bytes, durable, lost };
    this.#pending.push(append);
    this.#pendingBytes += bytes;
    this.#log.append(this.partition, records, (error, baseOffset) => {
      if (!this.closed) this.#settle(append, error, baseOffset);
      this.#onSettled();
    });
    this.#snapshot.appended(records.length);
  }

  #settle(append: PendingAppend, error: Error | null, baseOffset: number): void {
    if (error !== null) {
      this.#onFailure(error);
      return;
    }
    if (this.#pending[0] !== append) {
      throw new MillraceError(
        'internal',
        'OFFSETS_LOG_ORDER',
        'the offsets log settled appends out of order',
      );
    }
    this.#pending.shift();
    this.#pendingBytes -= append.bytes;
    append.durable(baseOffset);
  }

  store(
    group: Group,
    assignments: ReadonlyMap<string, Buffer> | null,
    durable: () => void,
    lost: () => void,
  ): void {
    const value = groupValue(group, assignments);
    group.pendingStores++;
    this.append(
      [{ key: groupKey(group.id), value }],
      () => {
        group.pendingStores--;
        group.storedValue = value;
        durable();
      },
      lost,
    );
  }

  /** Tombstones for a group and its offsets; Dead until they are durable, then gone. */
  deleteGroup(group: Group, durable: () => void, lost: () => void): void {
    group.step(groupStates.dead, this.clock.now());
    for (const timer of group.pendingIds.values()) timer.cancel();
    group.pendingIds.clear();
    const records: OffsetsRecord[] = [];
    for (const { topic, partition } of group.offsets.keys()) {
      records.push({ key: offsetKey(group.id, topic, partition), value: null });
    }
    if (group.storedValue !== null || group.pendingStores > 0) {
      records.push({ key: groupKey(group.id), value: null });
    }
    const gone = () => {
      this.groups.delete(group.id);
      durable();
    };
    if (records.length === 0) gone();
    else this.#appendInBatches(records, gone, lost);
  }

  /** Tombstones may be more than one batch takes; the last batch brings the answer. */
  #appendInBatches(records: readonly OffsetsRecord[], durable: () => void, lost: () => void): void {
    let batch: OffsetsRecord[] = [];
    let bytes = 0;
    for (const record of records) {
      const size = record.key.length + (record.value?.length ?? 0) + 16;
      if (batch.length > 0 && bytes + size > this.settings.recordsBytesMax) {
        this.append(batch, ignore, ignore);
        batch = [];
        bytes = 0;
      }
      batch.push(record);
      bytes += size;
    }
    this.append(batch, durable, lost);
  }

  /** Reads the partition into the empty table; resolves when it is at the durable end, also after a close. */
  async replay(): Promise<void> {
    const groupValues = new Map<string, Buffer>();
    let foreign = 0;
    let records = 0;
    await this.#log.load(this.partition, (key, value) => {
      if (this.closed) return;
      records++;
      const read = readKey(key);
      switch (read.kind) {
        case 'offset': {
          let group = this.groups.get(read.group);
          if (value === null) {
            group?.offsets.delete(read.topic, read.partition);
          } else {
            if (group === undefined) {
              group = new Group(read.group, this.clock.now());
              this.groups.set(read.group, group);
            }
            group.offsets.put(readOffsetValue(value, read.legacy, read.topic, read.partition));
          }
          break;
        }
        case 'group':
          if (value === null) groupValues.delete(read.group);
          else groupValues.set(read.group, Buffer.from(value));
          break;
        case 'other':
          foreign++;
          break;
      }
    });
    if (this.closed) return;
    for (const [id, value] of groupValues) {
      const group = this.groups.get(id) ?? new Group(id, this.clock.now());
      this.groups.set(id, group);
      restoreGroup(group, value);
    }
    this.loaded = true;
    this.#snapshot.loaded(records, foreign > 0, this.afterFailure);
    this.#start();
    this.logger.debug('group coordinator loaded', {
      partition: this.partition,
      groups: this.groups.size,
      foreign,
    });
  }

  /** A new owner cannot know how long a member has been silent: each gets a full session time-out. */
  #start(): void {
    const { rebalance } = this.membership;
    for (const group of [...this.groups.values()]) {
      this.dropIfVoid(group);
      for (const member of [...group.members.values()]) rebalance.watch(group, member);
      if (group.members.size > this.settings.groupSizeMax) rebalance.prepare(group, 'group is over its size');
    }
  }

  /** Offsets past their retention, and groups that have nothing left. */
  expire(): void {
    const now = this.clock.now();
    for (const group of [...this.groups.values()]) {
      if (group.state === groupStates.dead || !this.hasRoom()) continue;
      const expired = [...group.offsets.entries()].filter(
        (entry) =>
          !group.offsets.isPending(entry.topic, entry.partition) &&
          now >= expiryOf(group, entry, this.settings.offsetsRetentionMs),
      );
      let total = 0;
      for (const _ of group.offsets.entries()) total++;
      const idle =
        group.state === groupStates.empty && group.pendingIds.size === 0 && !group.offsets.hasPending;
      if (idle && expired.length === total) {
        this.logger.info('group removed: nothing left in it', { group: group.id, offsets: total });
        this.deleteGroup(group, ignore, ignore);
      } else if (expired.length > 0) {
        this.deleteOffsets(group, expired, ignore, ignore);
      }
    }
  }

  deleteOffsets(
    group: Group,
    offsets: readonly { readonly topic: string; readonly partition: number }[],
    durable: () => void,
    lost: () => void,
  ): void {
    for (const { topic, partition } of offsets) group.offsets.notePending(topic, partition);
    this.#appendInBatches(
      offsets.map(({ topic, partition }) => ({ key: offsetKey(group.id, topic, partition), value: null })),
      () => {
        for (const { topic, partition } of offsets) {
          group.offsets.settlePending(topic, partition);
          group.offsets.delete(topic, partition);
        }
        durable();
      },
      lost,
    );
  }

  *pendingRecords(): Generator<OffsetsRecord> {
    for (const { records } of this.#pending) yield* records;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  trim(offset: number): void {
    this.#log.trim(this.partition, offset);
  }

  soon(run: () => void): void {
    this.clock.soon(run);
  }

  /** Ends this object: parked calls and calls waiting for durability are answered NOT_COORDINATOR. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const group of this.groups.values()) {
      this.membership.rebalance.abandon(group, ErrorCode.NOT_COORDINATOR);
    }
    for (const append of this.#pending.splice(0)) append.lost();
    this.#pendingBytes = 0;
    this.groups.clear();
  }
}

/**
 * Wall-clock time at which an offset may go (KIP-211): of an empty group, counted from when it emptied; of a group that
 * consumes, only what it does not subscribe to, from its commit; without the group protocol, from its commit.
 */
function expiryOf(
  group: Group,
  entry: { readonly topic: string; readonly commitTimestamp: number; readonly expireTimestamp: number },
  retentionMs: number,
): number {
  let base: number;
  if (group.protocolType === null) base = entry.commitTimestamp;
  else if (group.state === groupStates.empty) base = Math.max(group.stateTimestamp, entry.commitTimestamp);
  else if (group.state === groupStates.stable && !group.isSubscribed(entry.topic))
    base = entry.commitTimestamp;
  else return Number.POSITIVE_INFINITY;
  return entry.expireTimestamp === -1 ? base + retentionMs : entry.expireTimestamp;
}

function ignore(): void {}
