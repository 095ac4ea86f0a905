/**
 * The clock of members of the newer protocols: sessions, and the time that a member has for what only it can do. A member out
 * of time is taken out of its group; what the log refuses is tried again after a second. Shard thread.
 */
import type { Clock, Timer } from '../../ports/clock.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';

export interface TimedMember {
  readonly id: string;
  /** Monotonic time at which the session ends unless a call moves it. */
  deadline: number;
  sessionTimer: Timer | null;
  /** Runs while something is waited for that only the member can do. */
  stepTimer: Timer | null;
}

export interface MemberTimesHost {
  readonly clock: Clock;
  /** Whether that is no member of the group any more. */
  isGone(groupId: string, member: TimedMember): boolean;
  /** Takes a member out whose time is over. 0, or why the log did not take it. */
  expire(groupId: string, member: TimedMember, reason: string): number;
}

const retryMs = 1_000;

export class MemberTimes {
  readonly #host: MemberTimesHost;

  constructor(host: MemberTimesHost) {
    this.#host = host;
  }

  /** A sign of life. The timer is moved only when it fires: a heartbeat costs a store. */
  touch(groupId: string, member: TimedMember, sessionMs: number): void {
    const deadline = this.#host.clock.monotonic() + sessionMs;
    // A session that has become shorter needs an earlier timer.
    const earlier = deadline < member.deadline;
    member.deadline = deadline;
    if (member.sessionTimer === null || earlier) this.#armSession(groupId, member, sessionMs);
  }

  #armSession(groupId: string, member: TimedMember, delayMs: number): void {
    const { clock } = this.#host;
    member.sessionTimer?.cancel();
    member.sessionTimer = clock.after(delayMs, () => {
      member.sessionTimer = null;
      if (this.#host.isGone(groupId, member)) return;
      const left = member.deadline - clock.monotonic();
      if (left > 0) this.#armSession(groupId, member, left);
      else if (this.#host.expire(groupId, member, 'session ended') !== ErrorCode.NONE)
        this.#armSession(groupId, member, retryMs);
    });
  }

  stopWaiting(member: TimedMember): void {
    member.stepTimer?.cancel();
    member.stepTimer = null;
  }

  /** Fences the member unless `stopWaiting` is called in time. */
  waitFor(groupId: string, member: TimedMember, delayMs: number, reason: string): void {
    this.stopWaiting(member);
    member.stepTimer = this.#host.clock.after(delayMs, () => {
      member.stepTimer = null;
      if (this.#host.isGone(groupId, member)) return;
      if (this.#host.expire(groupId, member, reason) !== ErrorCode.NONE)
        this.waitFor(groupId, member, retryMs, reason);
    });
  }
}
