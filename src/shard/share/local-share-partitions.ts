/**
 * The share partitions of the topic partitions that this shard owns, made on first use from what the share coordinator has of
 * them. Shard thread.
 *
 * Bound: `partitionsMax`; at the bound one that nobody holds anything of is dropped for a new one, else the new one is refused
 * with a retriable error.
 */
import type { PartitionHandle } from '../../log/partition-handle.ts';
import { AcquireBudget } from '../../log/share/acquire-budget.ts';
import type {
  Acquired,
  AcquireLimits,
  PartitionAcknowledgement,
  PartitionGivenBack,
  SharePartitionName,
  SharePartitionSeen,
  SharePersister,
  ShareSettings,
} from '../../log/share/share-api.ts';
import { nothingAcquired, SharePartition } from '../../log/share/share-partition.ts';
import type { Arena } from '../../ports/arena.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import { streamKey } from '../../ports/stream-id.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';

export interface LocalSharePartitionsDeps {
  readonly arena: Arena;
  readonly clock: Clock;
  readonly local: (topicId: string, partition: number) => PartitionHandle | undefined;
  readonly persister: (key: SharePartitionName & { readonly groupId: string }) => SharePersister;
  readonly settings: (groupId: string) => ShareSettings;
  /** `share.coordinator.write.timeout.ms`. */
  readonly writeTimeoutMs: number;
}

/** One is some 2 KiB, and up to `locksMax` runs while records are under delivery. */
const partitionsMax = 10_000;

export class LocalSharePartitions {
  readonly #deps: LocalSharePartitionsDeps;
  /** By group, then stream; in order of creation. */
  readonly #groups = new Map<string, Map<string, SharePartition>>();
  #count = 0;
  /** Partitions of which a session has ended since they were read. */
  readonly #left = new WeakSet<SharePartition>();

  constructor(deps: LocalSharePartitionsDeps) {
    this.#deps = deps;
  }

  get count(): number {
    return this.#count;
  }

  #at(groupId: string, { topicId, partition }: SharePartitionName): SharePartition | undefined {
    return this.#groups.get(groupId)?.get(streamKey(topicId, partition));
  }

  /** Finds or makes it; a number is the wire error that says why not. */
  #open(groupId: string, name: SharePartitionName): SharePartition | number {
    const known = this.#at(groupId, name);
    if (known !== undefined) {
      if (!this.#left.has(known) || !known.quiet) return known;
      known.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    }
    const { topicId, partition } = name;
    const { arena, clock, local, persister, settings, writeTimeoutMs } = this.#deps;
    const log = local(topicId, partition);
    if (log === undefined || !log.live) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    if (this.#count >= partitionsMax && !this.#dropIdle()) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    const key = streamKey(topicId, partition);
    let group = this.#groups.get(groupId);
    if (group === undefined) {
      group = new Map();
      this.#groups.set(groupId, group);
    }
    const made = new SharePartition({
      arena,
      clock,
      log,
      persister: persister({ groupId, topicId, partition }),
      settings: () => settings(groupId),
      writeTimeoutMs,
      onEnded: (ended) => this.#remove(groupId, key, ended),
    });
    // Reading its state may have failed before the constructor returned.
    if (made.ended) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    group.set(key, made);
    this.#count++;
    return made;
  }

  #remove(groupId: string, key: string, ended: SharePartition): void {
    const group = this.#groups.get(groupId);
    if (group?.get(key) !== ended) return;
    group.delete(key);
    this.#count--;
    if (group.size === 0) this.#groups.delete(groupId);
  }

  #dropIdle(): boolean {
    for (const group of this.#groups.values())
      for (const partition of group.values())
        if (partition.idle) {
          partition.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
          return true;
        }
    return false;
  }

  // ── What SharePartitionsApi asks of the owner ───────────────────────────────────────────────────────────────────

  /** One after the other, until the records asked for are there. */
  acquire(
    groupId: string,
    memberId: string,
    names: readonly SharePartitionName[],
    limits: AcquireLimits,
    done: (results: readonly Acquired[]) => void,
  ): void {
    const results: Acquired[] = [];
    const budget = new AcquireBudget(limits);
    const next = (): void => {
      const name = names[results.length];
      if (name === undefined) {
        done(results);
        return;
      }
      const take = (acquired: Acquired): void => {
        results.push(acquired);
        budget.take(acquired);
        next();
      };
      const partition = this.#open(groupId, name);
      if (typeof partition === 'number') take({ ...nothingAcquired, error: partition });
      else if (budget.spent) take(nothingAcquired);
      else partition.acquire(memberId, budget.left, take);
    };
    next();
  }

  acknowledge(
    groupId: string,
    memberId: string,
    partitions: readonly PartitionAcknowledgement[],
    done: (errors: readonly number[]) => void,
  ): void {
    const errors: number[] = [];
    let waiting = partitions.length;
    if (waiting === 0) done(errors);
    for (const [i, { batches, ...name }] of partitions.entries()) {
      const take = (error: number): void => {
        errors[i] = error;
        waiting--;
        if (waiting === 0) done(errors);
      };
      const partition = this.#open(groupId, name);
      if (typeof partition === 'number') take(partition);
      else partition.acknowledge(memberId, batches, take);
    }
  }

  giveBack(groupId: string, memberId: string, partitions: readonly PartitionGivenBack[]): void {
    for (const { ranges, ...name } of partitions) this.#at(groupId, name)?.giveBack(memberId, ranges);
  }

  /** What is not in memory is held by nobody. */
  release(groupId: string, memberId: string, names: readonly SharePartitionName[], done: () => void): void {
    let waiting = names.length;
    const take = (): void => {
      waiting--;
      if (waiting === 0) done();
    };
    if (waiting === 0) done();
    for (const name of names) {
      const partition = this.#at(groupId, name);
      if (partition === undefined) take();
      else partition.release(memberId, take);
    }
  }

  /**
   * A shard has no session of the group any more. Its coordinator may be on another broker, which cannot say when the group's state
   * is changed behind what is kept here; nobody may be in the group then.
   */
  left(groupId: string): void {
    for (const partition of this.#groups.get(groupId)?.values() ?? []) this.#left.add(partition);
  }

  wait(groupId: string, names: readonly SharePartitionSeen[], waitMs: number, done: () => void): void {
    let timer: Timer | null = null;
    const unwatch: (() => void)[] = [];
    let open = true;
    const finish = (): void => {
      if (!open) return;
      open = false;
      timer?.cancel();
      for (const undo of unwatch) undo();
      done();
    };
    for (const name of names) {
      if (!open) break;
      const partition = this.#open(groupId, name);
      if (typeof partition !== 'number') unwatch.push(partition.watch(name.version, finish));
    }
    if (open) timer = this.#deps.clock.after(waitMs, finish);
  }

  /** The group's state has changed behind them, or nobody is in it: they are read again when wanted. */
  forget(groupId: string): void {
    for (const partition of [...(this.#groups.get(groupId)?.values() ?? [])])
      partition.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  close(): void {
    for (const groupId of [...this.#groups.keys()]) this.forget(groupId);
  }
}
