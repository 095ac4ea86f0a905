/**
 * The asking half of one link: partitions that the peer owns and requests that it coordinates. Shard thread.
 *
 * Invariants: a call is answered once; an append's bytes are held until then; a watch goes out before the reads that
 * follow it. Bounds: `callsMax` calls (peer-calls.ts), then appends are refused NOT_ENOUGH_REPLICAS and the rest
 * NOT_LEADER_OR_FOLLOWER, all retriable; frames and questions get no answer, which their askers make a retriable error. Partitions of deleted topics are
 * forgotten when as many partitions have come since the last look as were there then.
 */
import type { AppendWaiter } from '../../log/append-journal.ts';
import {
  type AbortedTransaction,
  type OffsetAnswer,
  type ReadSink,
  RecordRanges,
  type VerifyAnswer,
} from '../../log/partition-handle.ts';
import type { TopicImage } from '../../metadata/metadata-store.ts';
import type { Arena } from '../../ports/arena.ts';
import { streamId } from '../../ports/stream-id.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { CallerContext } from '../../requests/support/handler.ts';
import { parcelBytes, writeParcel } from './frame-parcel.ts';
import type { Outbox } from './outbox.ts';
import { PeerCalls } from './peer-calls.ts';
import type { PeerHost } from './peer-host.ts';
import {
  abortedBytes,
  heldBytes,
  numberAt,
  peerFlag,
  peerMessage,
  putNumber,
  rangeCountShift,
  unsignedAt,
  verificationQuery,
} from './peer-messages.ts';
import { type PartitionLink, RemotePartition } from './remote-partition.ts';

const int32Max = 0x7fffffff;
const sweepAtLeast = 64;
const failedRead = { highWatermark: -1, lastStableOffset: -1, startOffset: -1, records: null } as const;

export class PeerClient implements PartitionLink {
  readonly calls = new PeerCalls();
  private readonly host: PeerHost;
  private readonly arena: Arena;
  private readonly out: Outbox;
  private readonly remotes = new Map<number, RemotePartition>();
  /** Watched at the owner, and by nobody here when last looked at. */
  private readonly idle = new Set<RemotePartition>();
  private nextNumber = 0;
  private sweepAt = sweepAtLeast;

  private readonly onWork: () => void;

  /** @param onWork told that `flush` has something to say. */
  constructor(host: PeerHost, arena: Arena, out: Outbox, onWork: () => void) {
    this.host = host;
    this.arena = arena;
    this.out = out;
    this.onWork = onWork;
  }

  /** Partitions that the link knows. */
  get partitions(): number {
    return this.remotes.size;
  }

  partition(topicId: string, partition: number, topic: TopicImage): RemotePartition {
    if (this.remotes.size >= this.sweepAt) this.sweep();
    const { host, out } = this;
    const number = this.nextNumber++;
    const remote = new RemotePartition(this, number, topicId, partition, topic, host);
    this.remotes.set(number, remote);
    const topicWords = streamId(topicId, partition).words;
    const at = out.slot();
    const { words } = out;
    words[at] = peerMessage.bind;
    words[at + 1] = number;
    words.set(topicWords, at + 2);
    words[at + 6] = partition;
    return remote;
  }

  private sweep(): void {
    for (const remote of this.remotes.values()) {
      if (remote.openCalls > 0 || remote.watched || this.host.image.topicsById.has(remote.topicId)) continue;
      remote.retire();
      this.remotes.delete(remote.number);
      this.idle.delete(remote);
      this.tell(peerMessage.unbind, remote.number);
    }
    this.sweepAt = Math.max(sweepAtLeast, this.remotes.size * 2);
  }

  private tell(kind: number, subject: number): void {
    const at = this.out.slot();
    this.out.words[at] = kind;
    this.out.words[at + 1] = subject;
  }

  // ── Asking ──────────────────────────────────────────────────────────────────────────────────────────────────────

  append(
    remote: RemotePartition,
    position: number,
    length: number,
    waiter: AppendWaiter | null,
    index: number,
    guard: number,
  ): void {
    const call = remote.retired ? null : this.calls.open(remote);
    if (call === null) {
      const error = remote.retired ? ErrorCode.NOT_LEADER_OR_FOLLOWER : ErrorCode.NOT_ENOUGH_REPLICAS;
      waiter?.onAppended(index, error, -1, -1, remote.startOffset);
      return;
    }
    this.arena.retainRange(position, length);
    call.waiter = waiter;
    call.index = index;
    call.position = position;
    call.length = length;
    const at = this.out.slot();
    const { words } = this.out;
    words[at] = peerMessage.append;
    words[at + 1] = call.cookie;
    words[at + 2] = remote.number;
    words[at + 3] = position;
    words[at + 4] = length;
    putNumber(words, at + 5, guard);
  }

  read(
    remote: RemotePartition,
    offset: number,
    maxBytes: number,
    atLeastOne: boolean,
    deadline: number,
    sink: ReadSink,
    index: number,
    committed: boolean,
  ): void {
    const call = remote.retired ? null : this.calls.open(remote);
    if (call === null) {
      sink.onRead(index, { error: ErrorCode.NOT_LEADER_OR_FOLLOWER, ...failedRead });
      return;
    }
    call.sink = sink;
    call.index = index;
    const at = this.out.slot();
    const { words } = this.out;
    words[at] =
      peerMessage.read | (atLeastOne ? peerFlag.atLeastOne : 0) | (committed ? peerFlag.committed : 0);
    words[at + 1] = call.cookie;
    words[at + 2] = remote.number;
    putNumber(words, at + 3, offset);
    words[at + 5] = Math.min(maxBytes, int32Max);
    // Threads do not share a monotonic clock: what travels is the time left.
    words[at + 6] = Math.min(Math.max(0, deadline - this.host.clock.monotonic()), int32Max);
    words[at + 7] = sink.caller?.(index).reader ?? -1;
  }

  query(remote: RemotePartition, what: number, argument: number, answer: OffsetAnswer): void {
    const call = remote.retired ? null : this.calls.open(remote);
    if (call === null) {
      answer(ErrorCode.NOT_LEADER_OR_FOLLOWER, -1, -1, -1);
      return;
    }
    call.answer = answer;
    const at = this.out.slot();
    const { words } = this.out;
    words[at] = peerMessage.query;
    words[at + 1] = call.cookie;
    words[at + 2] = remote.number;
    putNumber(words, at + 3, argument);
    words[at + 5] = what;
  }

  verify(
    remote: RemotePartition,
    producerId: number,
    epoch: number,
    sequence: number,
    bumps: boolean,
    answer: VerifyAnswer,
  ): void {
    const call = remote.retired ? null : this.calls.open(remote);
    if (call === null) {
      answer(ErrorCode.NOT_LEADER_OR_FOLLOWER, -1);
      return;
    }
    call.answer = (error, guard) => answer(error, guard);
    const at = this.out.slot();
    const { words } = this.out;
    words[at] = peerMessage.query | (bumps ? peerFlag.bumps : 0);
    words[at + 1] = call.cookie;
    words[at + 2] = remote.number;
    putNumber(words, at + 3, producerId);
    words[at + 5] = verificationQuery;
    words[at + 6] = epoch;
    words[at + 7] = sequence;
  }

  /** Has the peer serve a request; `done` gets the answer frame, or null when memory or calls have run out. */
  forward(
    context: CallerContext,
    buffer: Buffer,
    position: number,
    length: number,
    done: (answer: Buffer | null) => void,
  ): void {
    const bytes = parcelBytes(context, length);
    const call = this.calls.open(null);
    const parcel = call === null ? -1 : this.host.pool.slab.allocate(bytes);
    if (call === null || parcel < 0) {
      if (call !== null) this.calls.close(call);
      done(null);
      return;
    }
    writeParcel(this.arena.buffer, parcel, context, buffer, position, length);
    call.frame = done;
    const at = this.out.slot();
    const { words } = this.out;
    words[at] = peerMessage.frame;
    words[at + 1] = call.cookie;
    words[at + 2] = parcel;
    words[at + 3] = bytes;
  }

  /** Asks one of the peer's services; `done` gets its answer, or null as above or when there is no such service. */
  ask(service: number, bytes: Buffer, done: (answer: Buffer | null) => void): void {
    const call = this.calls.open(null);
    const parcel = call === null ? -1 : this.host.pool.slab.allocate(heldBytes(bytes.length));
    if (call === null || parcel < 0) {
      if (call !== null) this.calls.close(call);
      done(null);
      return;
    }
    bytes.copy(this.arena.buffer, parcel);
    call.frame = done;
    const at = this.out.slot();
    const { words } = this.out;
    words[at] = peerMessage.ask;
    words[at + 1] = call.cookie;
    words[at + 2] = parcel;
    words[at + 3] = bytes.length;
    words[at + 4] = service;
  }

  watch(remote: RemotePartition): void {
    if (remote.watching || remote.retired) return;
    remote.watching = true;
    this.tell(peerMessage.watch, remote.number);
  }

  unwatchLater(remote: RemotePartition): void {
    if (!remote.watching) return;
    if (this.idle.size === 0) this.onWork();
    this.idle.add(remote);
  }

  /** Tells of partitions that nobody watches any more, while the peer keeps up. Once per turn. */
  flush(): void {
    for (const remote of this.idle) {
      if (this.out.waiting > 0) return;
      this.idle.delete(remote);
      if (remote.watched || !remote.watching) continue;
      remote.watching = false;
      this.tell(peerMessage.unwatch, remote.number);
    }
  }

  // ── Being answered ──────────────────────────────────────────────────────────────────────────────────────────────

  receive(words: Int32Array, at: number): void {
    const kind = words[at]! & 0xff;
    if (kind === peerMessage.changed) {
      // Nobody is there when the partition was forgotten while this was under way.
      this.remotes.get(words[at + 1]!)?.changed(words, at);
      return;
    }
    const call = this.calls.at(words[at + 1]!);
    if (kind === peerMessage.range) {
      call.lent = (words[at]! & peerFlag.lent) !== 0;
      const { cookie } = call;
      call.records ??= new RecordRanges(this.arena, call.lent ? () => this.release(cookie) : null);
      const count = words[at]! >>> rangeCountShift;
      for (let i = 0; i < count; i++)
        call.records.adopt(unsignedAt(words, at + 2 + i * 2), unsignedAt(words, at + 3 + i * 2));
      return;
    }
    const { index, remote } = call;
    const error = words[at + 2]!;
    remote?.mirror(words, at);
    switch (kind) {
      case peerMessage.appended: {
        const { waiter } = call;
        this.arena.releaseRange(call.position, call.length);
        this.calls.close(call);
        waiter?.onAppended(
          index,
          error,
          numberAt(words, at + 9),
          numberAt(words, at + 11),
          numberAt(words, at + 7),
        );
        return;
      }
      case peerMessage.readEnd: {
        const { records } = call;
        const sink = call.sink!;
        const aborted = (words[at]! & peerFlag.aborted) === 0 ? {} : { aborted: this.takeAborted(words, at) };
        if (!call.lent) this.calls.close(call);
        sink.onRead(index, {
          error,
          highWatermark: numberAt(words, at + 3),
          lastStableOffset: numberAt(words, at + 5),
          startOffset: numberAt(words, at + 7),
          records,
          ...aborted,
        });
        return;
      }
      case peerMessage.answer: {
        const answer = call.answer!;
        this.calls.close(call);
        answer(error, numberAt(words, at + 9), numberAt(words, at + 11), words[at + 13]!);
        return;
      }
      default:
        this.framed(words, at);
    }
  }

  private takeAborted(words: Int32Array, at: number): AbortedTransaction[] {
    const position = unsignedAt(words, at + 9);
    const count = words[at + 10]!;
    const aborted: AbortedTransaction[] = [];
    for (let i = 0; i < count; i++) {
      const place = position + i * abortedBytes;
      aborted.push({
        producerId: this.arena.view.getFloat64(place, true),
        firstOffset: this.arena.view.getFloat64(place + 8, true),
      });
    }
    this.arena.releaseRange(position, count * abortedBytes);
    return aborted;
  }

  private framed(words: Int32Array, at: number): void {
    const call = this.calls.at(words[at + 1]!);
    const done = call.frame!;
    this.calls.close(call);
    if ((words[at]! & peerFlag.answered) === 0) {
      done(null);
      return;
    }
    const position = unsignedAt(words, at + 2);
    const length = unsignedAt(words, at + 3);
    const answer = Buffer.from(this.arena.buffer.subarray(position, position + length));
    this.arena.releaseRange(position, heldBytes(length));
    done(answer);
  }

  private release(cookie: number): void {
    this.tell(peerMessage.release, cookie);
    this.calls.close(this.calls.at(cookie));
  }
}
