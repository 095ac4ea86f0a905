/**
 * The calls one shard has open at one peer, by cookie. Entries are reused, so a call costs no allocation. Bound:
 * `callsMax`; at the bound `open` returns null and the request is refused with a retriable error. 8192 are 512
 * connections with 16 requests each in flight for one partition of that peer, or one connection's for 512.
 */
import type { AppendWaiter } from '../../log/append-journal.ts';
import type { OffsetAnswer, ReadSink, RecordRanges } from '../../log/partition-handle.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { RemotePartition } from './remote-partition.ts';

export const callsMax = 8192;

export class PeerCall {
  readonly cookie: number;
  isOpen = false;
  remote: RemotePartition | null = null;
  waiter: AppendWaiter | null = null;
  sink: ReadSink | null = null;
  answer: OffsetAnswer | null = null;
  frame: ((answer: Buffer | null) => void) | null = null;
  /** What the waiter or the sink calls it. */
  index = 0;
  /** Arena bytes of an append. */
  position = 0;
  length = 0;
  /** What a read has brought so far. */
  records: RecordRanges | null = null;
  lent = false;

  constructor(cookie: number) {
    this.cookie = cookie;
  }
}

export class PeerCalls {
  private readonly calls: PeerCall[] = [];
  private readonly free: number[] = [];
  private readonly max: number;

  constructor(max = callsMax) {
    this.max = max;
  }

  get count(): number {
    return this.calls.length - this.free.length;
  }

  open(remote: RemotePartition | null): PeerCall | null {
    const cookie = this.free.pop() ?? this.calls.length;
    if (cookie === this.max) return null;
    let call = this.calls[cookie];
    if (call === undefined) {
      call = new PeerCall(cookie);
      this.calls.push(call);
    }
    call.isOpen = true;
    call.remote = remote;
    if (remote !== null) remote.openCalls++;
    return call;
  }

  at(cookie: number): PeerCall {
    const call = this.calls[cookie];
    if (call === undefined || !call.isOpen)
      throw new MillraceError('internal', 'PEER_COOKIE', `a peer answered call ${cookie}, which is not open`);
    return call;
  }

  close(call: PeerCall): void {
    if (call.remote !== null) call.remote.openCalls--;
    call.isOpen = false;
    call.remote = null;
    call.waiter = null;
    call.sink = null;
    call.answer = null;
    call.frame = null;
    call.records = null;
    call.lent = false;
    this.free.push(call.cookie);
  }
}
