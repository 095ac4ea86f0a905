/**
 * CONTRACT of the write-ahead log, seen from its two sides.
 *
 *   shard ──Wal.tryAppend──► queue ──AppendSource──► WalWriter (own thread, inline, or simulated) ──► WalDevice
 *         ◄─onDurable────────────────────────────────┘
 *
 * One WalWriter serves one volume and has one commit in flight. Appends of one source become durable in the order in
 * which they were appended. Bytes named by an append must not change from tryAppend until it is durable, or has failed and
 * is not being written any more.
 */
import type { StreamId } from '../../ports/stream-id.ts';
import type { WalStats } from './wal-stats.ts';

/** Position of a commit's end: everything before it is durable. */
export interface WalCut {
  /** Sequence number of the commit (1 = first of the log; 0 = nothing yet). */
  readonly sequence: number;
  /** Ring position (bytes, monotonic over laps) just behind the commit: position of the next one. */
  readonly position: number;
  /** CRC-32C of that commit's header, which the next commit names. */
  readonly chainCrc: number;
}

/** What tryAppend answers in place of a number. */
export const appendRefused = {
  /** No room now: the queue is full, the ring is still too short for this batch and grows, or the epoch has ended. */
  noRoom: 0,
  /** No ring of this volume will ever have room for a batch of this length. */
  tooLong: -1,
} as const;

/** A shard's door to one volume. */
export interface Wal {
  /** Index of the volume among the broker's volumes. */
  readonly volume: number;
  readonly logId: string;
  /**
   * Queues one record batch (v2, header already patched) lying at arena [position, position + length). What is queued
   * has a place in the ring as it is: growth that fails later (disk full) takes it from nobody.
   * @returns the append's number (1, 2, 3, … per Wal object), or one of `appendRefused`: nothing was queued.
   */
  tryAppend(stream: StreamId, position: number, length: number): number;
  /** Rings the writer after a series of tryAppend (cheap when it is awake). */
  flush(): void;
  /** How full the volume is, headers and padding included, 0 to 1; may lag by a commit. Cheap: asked at each append. */
  fullness?(): number;
  /**
   * Delivers, before it returns, every onDurable that the writer has sent by now. An upload cut names commits; without
   * this a shard could leave out batches whose completion still lies in a ring, and the trim would lose them.
   */
  drain?(): void;
  /**
   * All appends up to and including number `through` are durable in the commit with this sequence, and the fence was
   * still ours after it. Called at most once per commit and loop turn.
   */
  onDurable: (through: number, sequence: number) => void;
  /**
   * The WAL epoch ended: every append after the last durable one has failed, and so will all later ones. With `outstanding`
   * a write was given up that the device still has: the bytes of what failed must stay as they are until `onReturned`.
   */
  onFailed: (error: Error, outstanding: boolean) => void;
  /** The write that was outstanding when the epoch ended has returned, whatever became of it. Once, and maybe never. */
  onReturned: () => void;
}

/** What the control plane asks of a volume. */
export interface WalControl {
  /** Newest durable cut, used bytes, capacity. */
  status(): Promise<WalStatus>;
  /** Frees the ring up to the cut; resolves when the trimming superblock is durable. */
  trim(cut: WalCut): Promise<void>;
  /** Writes the clean flag (only with an empty queue and everything trimmed) and closes. */
  close(options: { clean: boolean }): Promise<void>;
}

export interface WalStatus {
  readonly logId: string;
  readonly cut: WalCut;
  readonly trimmed: WalCut;
  /** Ring bytes between trim and tail, headers and padding included. */
  readonly usedBytes: number;
  readonly capacityBytes: number;
  readonly writtenBytes: number;
  readonly failed: string | null;
}

/** One queued append as the writer sees it; the object is reused by `read`. */
export interface AppendEntry {
  topic0: number;
  topic1: number;
  topic2: number;
  topic3: number;
  partition: number;
  position: number;
  length: number;
}

/** To be filled by AppendSource.read. */
export function emptyAppendEntry(): AppendEntry {
  return { topic0: 0, topic1: 0, topic2: 0, topic3: 0, partition: 0, position: 0, length: 0 };
}

/** The writer's end of one shard's queue. */
export interface AppendSource {
  /** Number of entries waiting (not yet consumed). */
  waiting(): number;
  /** Reads the i-th waiting entry (0 = oldest) without consuming it. */
  read(i: number, into: AppendEntry): void;
  /** The first n waiting entries are in a durable commit: consume them and tell the shard. */
  durable(n: number, sequence: number): void;
  /** The epoch ended; `outstanding`: in the middle of a write, whose memory the device may still read. */
  failed(error: Error, outstanding: boolean): void;
  /** That write has returned. */
  returned(): void;
}

/** Somebody else looks on while a thread is inside a write that blocks it, and may end the epoch meanwhile. */
export interface WriteWatch {
  /** A write or read of the device begins. */
  begin(nowMs: number): void;
  /** It has returned. False when the epoch was ended while it was out: then nothing of it may be reported. */
  end(): boolean;
}

/** What drives one volume: WalWriter for a block WAL, ObjectWalWriter for an object WAL. */
export interface WalPump {
  readonly logId: string;
  readonly epoch: number;
  readonly stats: WalStats;
  readonly status: WalStatus;
  readonly failed: Error | null;
  /** Longest batch that is sure to find room as things are. Never becomes less. */
  readonly batchBytesMax: number;
  /** What that may become. */
  readonly batchBytesEver: number;
  /** Somebody would append a batch of this length, more than batchBytesMax: grow until it fits. */
  want(bytes: number): void;
  /** Monotonic time at which nudge wants to be called without any other reason; Infinity = never. */
  readonly wakeAt: number;
  addSource(source: AppendSource): void;
  trim(cut: WalCut, done: (error: Error | null) => void): void;
  close(clean: boolean, done: (error: Error | null) => void): void;
  /** Does what can be done now. @returns true when there is more to do at once; otherwise `wakeAt` says when. */
  nudge(): boolean;
  /** True when appends wait that no commit under way holds. */
  readonly waiting: boolean;
}
