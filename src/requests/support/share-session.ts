/**
 * Share sessions (KIP-932) of one shard: which partitions a member of a share group follows. A session belongs to the connection
 * that has opened it and ends with it; then what the member holds is given to others. Shard thread.
 *
 *     epoch 0: opened, replacing the member's older one ─► 1, 2, … ─► −1: ended
 *
 * Bound: `sessionsMax` (`group.share.max.share.sessions`); beyond it SHARE_SESSION_LIMIT_REACHED.
 */
import type { SharePartitionName, SharePartitionsApi } from '../../log/share/share-api.ts';
import { streamKey } from '../../ports/stream-id.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';

export const openingEpoch = 0;
export const finalEpoch = -1;
const epochMax = 0x7fffffff;

export class ShareSession {
  readonly groupId: string;
  readonly memberId: string;
  connectionId: number;
  /** That of the next request. */
  epoch = 1;
  readonly #partitions = new Map<string, SharePartitionName>();

  constructor(groupId: string, memberId: string, connectionId: number) {
    this.groupId = groupId;
    this.memberId = memberId;
    this.connectionId = connectionId;
  }

  get partitions(): readonly SharePartitionName[] {
    return [...this.#partitions.values()];
  }

  add({ topicId, partition }: SharePartitionName): void {
    const key = streamKey(topicId, partition);
    if (!this.#partitions.has(key)) this.#partitions.set(key, { topicId, partition });
  }

  remove(topicId: string, partition: number): void {
    this.#partitions.delete(streamKey(topicId, partition));
  }

  /** Goes to the end of the line: others are served first the next time. */
  served({ topicId, partition }: SharePartitionName): void {
    const key = streamKey(topicId, partition);
    const name = this.#partitions.get(key);
    if (name === undefined) return;
    this.#partitions.delete(key);
    this.#partitions.set(key, name);
  }
}

export class ShareSessions {
  readonly #shares: SharePartitionsApi;
  readonly #sessionsMax: number;
  readonly #sessions = new Map<string, ShareSession>();
  readonly #byConnection = new Map<number, Set<ShareSession>>();
  /** Sessions of each group. */
  readonly #counts = new Map<string, number>();

  constructor(shares: SharePartitionsApi, sessionsMax: number) {
    this.#shares = shares;
    this.#sessionsMax = sessionsMax;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** The session of a request, or the wire error. `mayOpen`: an acknowledgement cannot begin one. */
  use(
    groupId: string,
    memberId: string,
    epoch: number,
    connectionId: number,
    mayOpen: boolean,
  ): ShareSession | number {
    const known = this.#sessions.get(nameOf(groupId, memberId));
    if (epoch === openingEpoch) {
      if (!mayOpen) return ErrorCode.INVALID_SHARE_SESSION_EPOCH;
      // Begun anew after an error, the member still holds what it has: it may acknowledge that in the new session.
      if (known !== undefined) this.#drop(known);
      else if (this.#sessions.size >= this.#sessionsMax) return ErrorCode.SHARE_SESSION_LIMIT_REACHED;
      return this.#open(groupId, memberId, connectionId);
    }
    if (known === undefined) return ErrorCode.SHARE_SESSION_NOT_FOUND;
    if (epoch !== finalEpoch && epoch !== known.epoch) return ErrorCode.INVALID_SHARE_SESSION_EPOCH;
    known.epoch = known.epoch === epochMax ? 1 : known.epoch + 1;
    this.#bind(known, connectionId);
    return known;
  }

  #open(groupId: string, memberId: string, connectionId: number): ShareSession {
    const session = new ShareSession(groupId, memberId, connectionId);
    this.#sessions.set(nameOf(groupId, memberId), session);
    this.#counts.set(groupId, (this.#counts.get(groupId) ?? 0) + 1);
    this.#bind(session, connectionId);
    return session;
  }

  #bind(session: ShareSession, connectionId: number): void {
    if (session.connectionId !== connectionId) this.#unbind(session);
    session.connectionId = connectionId;
    const others = this.#byConnection.get(connectionId);
    if (others === undefined) this.#byConnection.set(connectionId, new Set([session]));
    else others.add(session);
  }

  #unbind(session: ShareSession): void {
    const others = this.#byConnection.get(session.connectionId);
    others?.delete(session);
    if (others?.size === 0) this.#byConnection.delete(session.connectionId);
  }

  /** Still the member's session, and not one that was ended or replaced meanwhile. */
  isOpen(session: ShareSession): boolean {
    return this.#sessions.get(nameOf(session.groupId, session.memberId)) === session;
  }

  /** What its member holds is available to others. */
  end(session: ShareSession, done: () => void): void {
    const { groupId, memberId, partitions } = session;
    const wasOpen = this.isOpen(session);
    if (!wasOpen) this.#unbind(session);
    this.#shares.release(groupId, memberId, partitions, done);
    if (wasOpen && this.#drop(session) === 0) this.#shares.left(groupId);
  }

  /** Forgets an open session; how many its group has left. */
  #drop(session: ShareSession): number {
    const { groupId, memberId } = session;
    this.#unbind(session);
    this.#sessions.delete(nameOf(groupId, memberId));
    const left = this.#counts.get(groupId)! - 1;
    if (left > 0) this.#counts.set(groupId, left);
    else this.#counts.delete(groupId);
    return left;
  }

  connectionClosed(connectionId: number): void {
    for (const session of [...(this.#byConnection.get(connectionId) ?? [])]) this.end(session, ignore);
  }
}

function nameOf(groupId: string, memberId: string): string {
  return JSON.stringify([groupId, memberId]);
}

function ignore(): void {}
