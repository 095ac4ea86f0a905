/**
 * The serving half of one link: this shard's partitions and coordinators, for what the peer asks. Shard thread.
 *
 * Every call is answered once. What a partition says of itself goes out once per turn, with its state at that moment,
 * and only while nothing waits for room: a slow peer gets fewer changes, never a queue of them. Bounds: the peer's
 * `callsMax` calls, and as many lent reads; a read brings at most `rangesPerRead` ranges, one slot of them while
 * `crowdedSlots` messages wait.
 */
import type { AppendWaiter } from '../../log/append-journal.ts';
import type {
  AbortedTransaction,
  OffsetAnswer,
  PartitionWatcher,
  ReadCaller,
  ReadResult,
  ReadSink,
  RecordRanges,
} from '../../log/partition-handle.ts';
import type { PartitionLog } from '../../log/partition-log.ts';
import type { Arena } from '../../ports/arena.ts';
import { MillraceError } from '../../ports/errors.ts';
import { topicIdFromWords } from '../../ports/stream-id.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { readParcel } from './frame-parcel.ts';
import { crowdedSlots, type Outbox } from './outbox.ts';
import type { PeerHost } from './peer-host.ts';
import {
  abortedBytes,
  heldBytes,
  numberAt,
  peerFlag,
  peerMessage,
  putNumber,
  putState,
  rangeCountShift,
  rangesPerRead,
  rangesPerSlot,
  stateQuery,
  unsignedAt,
  verificationQuery,
} from './peer-messages.ts';

/** A partition the peer has named. It may not be open (yet, or any more): it is looked up anew until it is. */
class ServedPartition implements PartitionWatcher {
  readonly number: number;
  readonly topicId: string;
  readonly partition: number;
  log: PartitionLog | null = null;
  watched = false;
  private readonly server: PeerServer;

  constructor(number: number, topicId: string, partition: number, server: PeerServer) {
    this.number = number;
    this.topicId = topicId;
    this.partition = partition;
    this.server = server;
  }

  onPartitionChanged(): void {
    this.server.tellLater(this);
  }
}

export class PeerServer implements AppendWaiter, ReadSink {
  private readonly host: PeerHost;
  private readonly arena: Arena;
  private readonly out: Outbox;
  private readonly served = new Map<number, ServedPartition>();
  /** To be told in this turn. */
  private readonly changes = new Set<ServedPartition>();
  /** The log that a call waits for, by the peer's cookie. */
  private readonly waiting: (PartitionLog | null)[] = [];
  private readonly lent = new Map<number, RecordRanges>();
  /** The connection that a read is for, by the peer's cookie. */
  private readonly readers: number[] = [];

  private readonly onWork: () => void;

  /** @param onWork told that `flush` has something to say. */
  constructor(host: PeerHost, arena: Arena, out: Outbox, onWork: () => void) {
    this.host = host;
    this.arena = arena;
    this.out = out;
    this.onWork = onWork;
  }

  /** Reads whose bytes the peer has not given back. */
  get lentReads(): number {
    return this.lent.size;
  }

  get partitions(): number {
    return this.served.size;
  }

  receive(words: Int32Array, at: number): void {
    const subject = words[at + 1]!;
    switch (words[at]! & 0xff) {
      case peerMessage.bind: {
        const topicId = topicIdFromWords(words[at + 2]!, words[at + 3]!, words[at + 4]!, words[at + 5]!);
        this.served.set(subject, new ServedPartition(subject, topicId, words[at + 6]!, this));
        return;
      }
      case peerMessage.unbind:
        this.unwatch(this.named(subject));
        this.served.delete(subject);
        return;
      case peerMessage.watch: {
        const served = this.named(subject);
        served.watched = true;
        this.logOf(served)?.watch(served);
        this.tellLater(served);
        return;
      }
      case peerMessage.unwatch:
        this.unwatch(this.named(subject));
        return;
      case peerMessage.append:
        this.append(
          subject,
          this.logOf(this.named(words[at + 2]!)),
          unsignedAt(words, at + 3),
          unsignedAt(words, at + 4),
          numberAt(words, at + 5),
        );
        return;
      case peerMessage.read:
        this.read(subject, this.logOf(this.named(words[at + 2]!)), words, at);
        return;
      case peerMessage.query:
        if (words[at + 5] === verificationQuery) this.verify(subject, words, at);
        else
          this.query(
            subject,
            this.logOf(this.named(words[at + 2]!)),
            words[at + 5]!,
            numberAt(words, at + 3),
          );
        return;
      case peerMessage.frame:
        this.frame(subject, unsignedAt(words, at + 2), unsignedAt(words, at + 3));
        return;
      case peerMessage.ask:
        this.question(subject, words[at + 4]!, unsignedAt(words, at + 2), unsignedAt(words, at + 3));
        return;
      case peerMessage.release: {
        const records = this.lent.get(subject);
        if (records === undefined)
          throw new MillraceError(
            'internal',
            'PEER_RELEASE',
            `read ${subject} is not lent, yet a peer gave it back`,
          );
        this.lent.delete(subject);
        records.release();
        return;
      }
      default:
        throw new MillraceError(
          'internal',
          'PEER_MESSAGE',
          `a peer sent a message of kind ${words[at]! & 0xff}`,
        );
    }
  }

  private named(number: number): ServedPartition {
    const served = this.served.get(number);
    if (served === undefined)
      throw new MillraceError(
        'internal',
        'PEER_PARTITION',
        `a peer asked for its partition ${number}, which it has not named`,
      );
    return served;
  }

  private logOf(served: ServedPartition): PartitionLog | null {
    if (served.log?.live) return served.log;
    served.log?.unwatch(served);
    served.log = this.host.logs.get(served.topicId, served.partition) ?? null;
    if (served.watched && served.log !== null) {
      served.log.watch(served);
      this.tellLater(served);
    }
    return served.log;
  }

  private unwatch(served: ServedPartition): void {
    served.watched = false;
    served.log?.unwatch(served);
    this.changes.delete(served);
  }

  tellLater(served: ServedPartition): void {
    if (this.changes.size === 0) this.onWork();
    this.changes.add(served);
  }

  /** Tells what has changed, as far as the peer keeps up. Once per turn. */
  flush(): void {
    for (const served of this.changes) {
      if (this.out.waiting > 0) return;
      this.changes.delete(served);
      const log = this.logOf(served);
      // logOf may have found the log anew and put it back; this message tells of it.
      this.changes.delete(served);
      const at = this.out.slot();
      const { words } = this.out;
      words[at] = peerMessage.changed;
      words[at + 1] = served.number;
      words[at + 2] = log === null ? -1 : log.leaderEpoch;
      putState(words, at, log);
    }
  }

  // ── Appends ─────────────────────────────────────────────────────────────────────────────────────────────────────

  private append(
    cookie: number,
    log: PartitionLog | null,
    position: number,
    length: number,
    guard: number,
  ): void {
    if (log === null) {
      this.appended(cookie, null, ErrorCode.NOT_LEADER_OR_FOLLOWER, -1, -1);
      return;
    }
    this.waiting[cookie] = log;
    try {
      log.append(position, length, this, cookie, guard);
    } catch (error) {
      // No rule of the log foresees it, but it is this call's alone: the link and all behind it go on.
      this.host.appendFailed(log, error);
      if (this.waiting[cookie] === log) this.onAppended(cookie, ErrorCode.UNKNOWN_SERVER_ERROR, -1, -1);
    }
  }

  onAppended(cookie: number, error: number, baseOffset: number, logAppendTime: number): void {
    const log = this.waiting[cookie]!;
    this.waiting[cookie] = null;
    this.appended(cookie, log, error, baseOffset, logAppendTime);
  }

  private appended(
    cookie: number,
    log: PartitionLog | null,
    error: number,
    baseOffset: number,
    logAppendTime: number,
  ): void {
    const at = this.out.slot();
    const { words } = this.out;
    words[at] = peerMessage.appended;
    words[at + 1] = cookie;
    words[at + 2] = error;
    putState(words, at, log);
    putNumber(words, at + 9, baseOffset);
    putNumber(words, at + 11, logAppendTime);
  }

  // ── Reads ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private read(cookie: number, log: PartitionLog | null, words: Int32Array, at: number): void {
    if (log === null) {
      const nothing = { highWatermark: -1, lastStableOffset: -1, startOffset: -1, records: null };
      this.onRead(cookie, { error: ErrorCode.NOT_LEADER_OR_FOLLOWER, ...nothing });
      return;
    }
    const atLeastOne = (words[at]! & peerFlag.atLeastOne) !== 0;
    const deadline = this.host.clock.monotonic() + words[at + 6]!;
    this.readers[cookie] = words[at + 7]!;
    const committed = (words[at]! & peerFlag.committed) !== 0;
    log.read(numberAt(words, at + 3), words[at + 5]!, atLeastOne, deadline, this, cookie, committed);
  }

  /** That its connection has closed is not told over the link: the deadline ends its wait. */
  caller(cookie: number): ReadCaller {
    return { reader: this.readers[cookie]!, gone: () => false };
  }

  onRead(cookie: number, result: ReadResult): void {
    const { out } = this;
    const count = result.records === null ? 0 : (result.aborted?.length ?? 0);
    const position = count === 0 ? -1 : this.layAborted(result.aborted!);
    // Records without their aborted transactions would be taken for committed: short of memory the read brings nothing.
    if (count > 0 && position < 0) result.records!.release();
    else if (result.records !== null) this.sendRanges(cookie, result.records);
    const at = out.slot();
    const { words } = out;
    words[at] = peerMessage.readEnd | (position < 0 ? 0 : peerFlag.aborted);
    if (position >= 0) {
      words[at + 9] = position;
      words[at + 10] = count;
    }
    words[at + 1] = cookie;
    words[at + 2] = result.error;
    putNumber(words, at + 3, result.highWatermark);
    putNumber(words, at + 5, result.lastStableOffset);
    putNumber(words, at + 7, result.startOffset);
  }

  /** Position in the arena, or −1 when it has no room. */
  private layAborted(aborted: readonly AbortedTransaction[]): number {
    const position = this.host.pool.slab.allocate(aborted.length * abortedBytes);
    if (position < 0) return -1;
    const { view } = this.arena;
    for (const [i, { producerId, firstOffset }] of aborted.entries()) {
      view.setFloat64(position + i * abortedBytes, producerId, true);
      view.setFloat64(position + i * abortedBytes + 8, firstOffset, true);
    }
    return position;
  }

  private sendRanges(cookie: number, records: RecordRanges): void {
    const { out } = this;
    records.truncate(out.waiting >= crowdedSlots ? rangesPerSlot : rangesPerRead);
    const { positions, lengths, lent } = records;
    const flags = peerMessage.range | (lent ? peerFlag.lent : 0);
    for (let first = 0; first < positions.length; first += rangesPerSlot) {
      const count = Math.min(rangesPerSlot, positions.length - first);
      const at = out.slot();
      const { words } = out;
      words[at] = flags | (count << rangeCountShift);
      words[at + 1] = cookie;
      for (let i = 0; i < count; i++) {
        words[at + 2 + i * 2] = positions[first + i]!;
        words[at + 3 + i * 2] = lengths[first + i]!;
      }
    }
    if (lent) this.lent.set(cookie, records);
    else records.handOver();
  }

  // ── Questions and frames ────────────────────────────────────────────────────────────────────────────────────────

  private query(cookie: number, log: PartitionLog | null, what: number, argument: number): void {
    const answer: OffsetAnswer = (...found) => this.answer(cookie, log, ...found);
    if (log === null) answer(ErrorCode.NOT_LEADER_OR_FOLLOWER, -1, -1, -1);
    else if (what === stateQuery) answer(0, -1, -1, log.leaderEpoch);
    else log.query(what, argument, answer);
  }

  private verify(cookie: number, words: Int32Array, at: number): void {
    const log = this.logOf(this.named(words[at + 2]!));
    const answer = (error: number, guard: number): void => this.answer(cookie, log, error, guard, -1, -1);
    if (log === null) {
      answer(ErrorCode.NOT_LEADER_OR_FOLLOWER, -1);
      return;
    }
    const bumps = (words[at]! & peerFlag.bumps) !== 0;
    log.verify(numberAt(words, at + 3), words[at + 6]!, words[at + 7]!, bumps, answer);
  }

  private answer(
    cookie: number,
    log: PartitionLog | null,
    error: number,
    offset: number,
    timestamp: number,
    leaderEpoch: number,
  ): void {
    const at = this.out.slot();
    const { words } = this.out;
    words[at] = peerMessage.answer;
    words[at + 1] = cookie;
    words[at + 2] = error;
    putState(words, at, log);
    putNumber(words, at + 9, offset);
    putNumber(words, at + 11, timestamp);
    words[at + 13] = leaderEpoch;
  }

  private frame(cookie: number, position: number, length: number): void {
    const { context, frame } = readParcel(this.arena.buffer, position, length);
    this.arena.releaseRange(position, length);
    this.host.dispatcher.serveForwarded(context, frame, (answer) => this.frameDone(cookie, answer));
  }

  private question(cookie: number, service: number, position: number, length: number): void {
    const bytes = Buffer.from(this.arena.buffer.subarray(position, position + length));
    this.arena.releaseRange(position, heldBytes(length));
    this.host.services.serve(service, bytes, (answer) => this.frameDone(cookie, answer));
  }

  private frameDone(cookie: number, answer: Buffer | null): void {
    const position = answer === null ? -1 : this.host.pool.slab.allocate(heldBytes(answer.length));
    const at = this.out.slot();
    const { words } = this.out;
    words[at] = peerMessage.frameDone | (position < 0 ? 0 : peerFlag.answered);
    words[at + 1] = cookie;
    if (answer === null || position < 0) return;
    answer.copy(this.arena.buffer, position);
    words[at + 2] = position;
    words[at + 3] = answer.length;
  }
}
