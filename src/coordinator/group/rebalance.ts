/**
 * The rebalance of a classic group: collecting joins, opening a generation, collecting syncs, storing the leader's
 * assignment, and the sessions that throw silent members out. Owned by the shard of the group's partition.
 *
 * Invariants: a parked join or sync is answered exactly once; an assignment leaves only after the record that holds it
 * is durable; every member of a group that is not being unloaded has a running session timer.
 */
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { type Group, joinError, type Member, metadataOf, noBytes, syncError } from './group.ts';
import { type GroupSettings, newMemberJoinTimeoutMs } from './group-settings.ts';
import { groupStates } from './group-state.ts';

/** What the group logic needs of the partition it lives in. */
export interface GroupHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: GroupSettings;
  /**
   * Appends the group's record. 0: `durable` runs when it is safe, `lost` when the partition is given up first, one of
   * the two, once. Else the wire error with which the log refused it: nothing was written, neither runs.
   */
  store(
    group: Group,
    assignments: ReadonlyMap<string, Buffer> | null,
    durable: () => void,
    lost: () => void,
  ): number;
  /** Takes a group out of the table of which neither members nor records are left. */
  dropIfVoid(group: Group): void;
}

/** Record bytes of one member beside subscription and assignment: ids, client, host, time-outs. */
const memberOverheadBytes = 512;

export class Rebalance {
  readonly #host: GroupHost;

  constructor(host: GroupHost) {
    this.#host = host;
  }

  /** Opens a rebalance unless one is collecting joins already. */
  prepare(group: Group, reason: string): void {
    const { clock, logger, settings } = this.#host;
    switch (group.state) {
      case groupStates.preparingRebalance:
      case groupStates.dead:
        return;
      case groupStates.completingRebalance:
        this.#endSyncs(group, ErrorCode.REBALANCE_IN_PROGRESS);
        break;
      case groupStates.stable:
        group.unsynced.clear();
        group.unsyncedTimer?.cancel();
        group.unsyncedTimer = null;
        break;
      case groupStates.empty:
        break;
    }
    const fromEmpty = group.state === groupStates.empty;
    group.step(groupStates.preparingRebalance, clock.now());
    logger.debug('group rebalances', { group: group.id, generation: group.generation, reason });
    if (fromEmpty) {
      const delay = settings.initialRebalanceDelayMs;
      group.newMemberAdded = false;
      this.#waitInitially(group, delay, Math.max(group.rebalanceTimeoutMs() - delay, 0));
    } else {
      this.#arm(group, group.rebalanceTimeoutMs());
      this.tryComplete(group);
    }
  }

  /** The first rebalance of an empty group waits for a pause in the joins, at most a rebalance time-out in all. */
  #waitInitially(group: Group, delayMs: number, leftMs: number): void {
    group.initialDelay = true;
    group.rebalanceTimer = this.#host.clock.after(delayMs, () => {
      group.rebalanceTimer = null;
      if (group.newMemberAdded && leftMs > 0) {
        group.newMemberAdded = false;
        const next = Math.min(this.#host.settings.initialRebalanceDelayMs, leftMs);
        this.#waitInitially(group, next, leftMs - next);
      } else {
        this.#complete(group);
      }
    });
  }

  #arm(group: Group, delayMs: number): void {
    group.rebalanceTimer?.cancel();
    group.rebalanceTimer = this.#host.clock.after(delayMs, () => {
      group.rebalanceTimer = null;
      this.#complete(group);
    });
  }

  /** Completes the rebalance when nobody is missing; the initial delay runs its time all the same. */
  tryComplete(group: Group): void {
    if (group.state !== groupStates.preparingRebalance || group.initialDelay) return;
    if (group.allJoined()) this.#complete(group);
  }

  #complete(group: Group): void {
    const { clock } = this.#host;
    group.rebalanceTimer?.cancel();
    group.rebalanceTimer = null;
    group.initialDelay = false;
    // Members with an instance id keep their place until their session ends (KIP-345).
    for (const member of [...group.members.values()]) {
      if (member.joinDone === null && member.instanceId === null) this.#takeOut(group, member);
    }
    if (group.members.size > 0 && group.parkedJoins === 0) {
      this.#arm(group, group.rebalanceTimeoutMs());
      return;
    }
    const leader = group.leaderId === null ? undefined : group.members.get(group.leaderId);
    if (leader !== undefined && leader.joinDone === null) {
      for (const member of group.members.values()) {
        if (member.joinDone === null) continue;
        group.leaderId = member.id;
        break;
      }
    }
    group.nextGeneration(clock.now());
    if (group.members.size === 0) {
      // A record that is refused is tried again with the next expiry; a load before that shows members that time out.
      this.#host.store(group, null, ignore, ignore);
      return;
    }
    group.unsynced.clear();
    group.unsyncedTimer = clock.after(group.rebalanceTimeoutMs(), () => this.#dropUnsynced(group));
    for (const member of [...group.members.values()]) {
      group.unsynced.add(member.id);
      const done = group.unpark(member);
      if (done === null) continue;
      if (member.isNew) {
        member.isNew = false;
        this.rewatch(group, member);
      } else {
        this.touch(member);
      }
      done(group.joinAnswer(member));
    }
  }

  /** Members that took the generation and never asked for their part block the others: out, and again. */
  #dropUnsynced(group: Group): void {
    group.unsyncedTimer = null;
    if (group.state !== groupStates.completingRebalance && group.state !== groupStates.stable) return;
    for (const id of [...group.unsynced]) {
      const member = group.members.get(id);
      if (member !== undefined) this.#takeOut(group, member);
    }
    this.prepare(group, 'members did not sync in time');
  }

  /** Stores the leader's assignment; the waiting syncs are answered when it is durable. */
  assign(group: Group, assignments: ReadonlyMap<string, Buffer>): void {
    const { clock, logger, settings } = this.#host;
    const byMember = new Map<string, Buffer>();
    let bytes = memberOverheadBytes;
    for (const member of group.members.values()) {
      const assignment = assignments.get(member.id) ?? noBytes;
      byMember.set(member.id, assignment);
      bytes +=
        memberOverheadBytes + assignment.length + metadataOf(member.protocols, group.protocolName).length;
    }
    if (bytes > settings.recordsBytesMax) {
      logger.warn('assignment of a group is too large to store', { group: group.id, bytes });
      this.#endSyncs(group, ErrorCode.UNKNOWN_SERVER_ERROR);
      this.prepare(group, 'assignment too large');
      return;
    }
    const generation = group.generation;
    group.storing = true;
    const refused = this.#host.store(
      group,
      byMember,
      () => {
        // A rebalance that began meanwhile has told the waiting members; a later generation is not this one's business.
        if (group.state !== groupStates.completingRebalance || group.generation !== generation) return;
        group.storing = false;
        group.step(groupStates.stable, clock.now());
        for (const member of group.members.values()) member.assignment = byMember.get(member.id) ?? noBytes;
        this.#endParkedSyncs(group, ErrorCode.NONE);
      },
      ignore,
    );
    if (refused === ErrorCode.NONE) return;
    this.#endSyncs(group, refused);
    this.prepare(group, 'assignment could not be stored');
  }

  /** Ends the collecting of syncs without an assignment. */
  #endSyncs(group: Group, errorCode: number): void {
    group.storing = false;
    group.unsynced.clear();
    group.unsyncedTimer?.cancel();
    group.unsyncedTimer = null;
    for (const member of group.members.values()) member.assignment = noBytes;
    this.#endParkedSyncs(group, errorCode);
  }

  #endParkedSyncs(group: Group, errorCode: number): void {
    for (const member of [...group.members.values()]) {
      const done = member.syncDone;
      member.syncDone = null;
      if (done === null) continue;
      this.touch(member);
      done(errorCode === ErrorCode.NONE ? group.syncAnswer(member) : syncError(errorCode));
    }
  }

  /** The member has asked for its part; when all have, nobody is waited for any more. */
  synced(group: Group, member: Member): void {
    group.unsynced.delete(member.id);
    if (group.unsynced.size > 0) return;
    group.unsyncedTimer?.cancel();
    group.unsyncedTimer = null;
  }

  /** Moves the end of the session: any call of the member is a sign of life. */
  touch(member: Member): void {
    member.deadline = this.#host.clock.monotonic() + member.sessionTimeoutMs;
  }

  /** Starts the session of a member that has just entered the group or was just loaded. */
  watch(group: Group, member: Member): void {
    const lifeMs = member.isNew ? newMemberJoinTimeoutMs : member.sessionTimeoutMs;
    member.deadline = this.#host.clock.monotonic() + lifeMs;
    this.#armSession(group, member, lifeMs);
  }

  /** One timer per member, moved only when it fires: a heartbeat costs a store to `deadline`. */
  #armSession(group: Group, member: Member, delayMs: number): void {
    member.sessionTimer?.cancel();
    member.sessionTimer = this.#host.clock.after(delayMs, () => {
      member.sessionTimer = null;
      // A parked call is a sign of life, but a first join may be all that is left of a client.
      if (!member.isNew && (member.joinDone !== null || member.syncDone !== null)) this.touch(member);
      const left = member.deadline - this.#host.clock.monotonic();
      if (left > 0) {
        this.#armSession(group, member, left);
        return;
      }
      this.#host.logger.info('group member expired', { group: group.id, member: member.id });
      this.remove(group, member, 'session ended');
    });
  }

  /** After a session time-out got shorter: an armed timer may lie too far off. */
  rewatch(group: Group, member: Member): void {
    this.touch(member);
    if (member.isNew) return;
    this.#armSession(group, member, member.sessionTimeoutMs);
  }

  /** Takes a member out for good and lets the group react. */
  remove(group: Group, member: Member, reason: string): void {
    this.#takeOut(group, member);
    switch (group.state) {
      case groupStates.stable:
      case groupStates.completingRebalance:
        this.prepare(group, reason);
        break;
      case groupStates.preparingRebalance:
        this.tryComplete(group);
        break;
      case groupStates.empty:
      case groupStates.dead:
        break;
    }
  }

  #takeOut(group: Group, member: Member): void {
    member.sessionTimer?.cancel();
    member.sessionTimer = null;
    const joinDone = group.unpark(member);
    const syncDone = member.syncDone;
    member.syncDone = null;
    group.remove(member);
    joinDone?.(joinError(ErrorCode.UNKNOWN_MEMBER_ID, ''));
    syncDone?.(syncError(ErrorCode.UNKNOWN_MEMBER_ID));
  }

  /** Keeps a member id that was just given out for one session time-out. */
  expect(group: Group, memberId: string, sessionTimeoutMs: number): void {
    const timer = this.#host.clock.after(sessionTimeoutMs, () => this.forget(group, memberId));
    group.pendingIds.set(memberId, timer);
  }

  /** Drops a member id that was given out and not used; false when there is none. */
  forget(group: Group, memberId: string): boolean {
    const timer = group.pendingIds.get(memberId);
    if (timer === undefined) return false;
    timer.cancel();
    group.pendingIds.delete(memberId);
    this.tryComplete(group);
    this.#host.dropIfVoid(group);
    return true;
  }

  /** Stops all timers and answers all parked calls: the partition goes away. */
  abandon(group: Group, errorCode: number): void {
    group.rebalanceTimer?.cancel();
    group.unsyncedTimer?.cancel();
    group.rebalanceTimer = null;
    group.unsyncedTimer = null;
    for (const timer of group.pendingIds.values()) timer.cancel();
    for (const member of [...group.members.values()]) {
      member.sessionTimer?.cancel();
      member.sessionTimer = null;
    }
    for (const member of [...group.members.values()]) {
      const joinDone = group.unpark(member);
      const syncDone = member.syncDone;
      member.syncDone = null;
      joinDone?.(joinError(errorCode, member.id));
      syncDone?.(syncError(errorCode));
    }
  }
}

function ignore(): void {}
