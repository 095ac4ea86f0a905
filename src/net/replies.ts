/** Requests that wait for their answers, in the order of a connection. Shard thread. */
import type { SmallAnswer } from './transport.ts';

/** One request's place in the answer order. */
export interface Reply {
  /** Answers with these chunks (size prefix included); `sent` runs once when they need no longer live. */
  send(chunks: readonly Uint8Array[], bytes: number, sent: (() => void) | null): void;
  /** No answer for this request (acks=0). */
  skip(): void;
  /** Gives up on the connection, saying why in the log. */
  fail(reason: string): void;
  /** The answer may take long: `over` runs at most once before it, when it is waited for or (`gone`) of no use any more. */
  whileParked(over: (gone: boolean) => void): void;
}

/**
 * A request in its connection's queue, as the connection sees it. Whoever serves requests without a Reply puts one of its own
 * there (`enqueue`), sets `done` and `bytes`, and calls `answered`.
 */
export interface QueuedReply extends SmallAnswer {
  /** The connection's alone, both. */
  next: QueuedReply | null;
  end: number;
  done: boolean;
  /** 0: nothing is sent. */
  bytes: number;
  /** Pieces of the answer; null: it writes itself. */
  readonly chunks: readonly Uint8Array[] | null;
  /** The answer has left, or never will: the connection knows the reply no more. Once, after `answered`. */
  left(): void;
  /** Ends the waiting of a parked request, where there is any. */
  endParking(gone: boolean): void;
}

export const noChunks: readonly Uint8Array[] = [];

/** What a reply tells its connection. */
export interface ReplyOwner {
  /** Requests whose answer may take long. */
  parked: number;
  answered(reply: QueuedReply): void;
  close(reason: string): void;
}

/** The reply that a connection makes for whoever serves the request. */
export class PendingReply implements Reply, QueuedReply {
  private readonly connection: ReplyOwner;
  next: QueuedReply | null = null;
  end = 0;
  chunks = noChunks;
  bytes = 0;
  done = false;
  private sent: (() => void) | null = null;
  private over: ((gone: boolean) => void) | null = null;

  constructor(connection: ReplyOwner) {
    this.connection = connection;
  }

  whileParked(over: (gone: boolean) => void): void {
    this.over = over;
    this.connection.parked++;
  }

  endParking(gone: boolean): void {
    const { over } = this;
    if (over === null) return;
    this.unpark();
    over(gone);
  }

  private unpark(): void {
    if (this.over === null) return;
    this.over = null;
    this.connection.parked--;
  }

  send(chunks: readonly Uint8Array[], bytes: number, sent: (() => void) | null): void {
    if (this.done) throw new Error('a request was answered twice');
    this.done = true;
    this.unpark();
    this.chunks = chunks;
    this.bytes = bytes;
    this.sent = sent;
    this.connection.answered(this);
  }

  skip(): void {
    this.send([], 0, null);
  }

  fail(reason: string): void {
    this.done = true;
    this.unpark();
    this.connection.close(reason);
  }

  writeTo(): never {
    throw new Error('this answer has chunks');
  }

  left(): void {
    const { sent } = this;
    this.sent = null;
    this.chunks = noChunks;
    sent?.();
  }
}
