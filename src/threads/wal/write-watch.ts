/**
 * The write that a blocking WAL thread is inside, as others see it. A thread in the kernel can judge nothing, so main
 * looks at this once a second and ends the volume's epoch when a write has had its time.
 *
 *   int32  0 state                    doubles behind it
 *              0        idle            0 when the write began, ms of the shared monotonic clock
 *              n > 0    inside write n  1, 2, 3  newest commit that every shard has been told of: sequence, position, CRC
 *             -1        ended, write    4, 5, 6  the trim: the same
 *                       still out       7, 8, 9  bytes used, capacity, bytes written
 *             -2        ended
 *
 *   WAL thread   idle ─begin─► n ─end─► idle        each arrow from n is one compare-and-exchange: whoever is first
 *   main                       n ─judge─► -1        decides, so a commit is either reported or its epoch has ended,
 *   WAL thread                            -1 ─end─► -2                                                    never both
 *
 * Doubles are written by the WAL thread only, before the state that publishes them, and never between -1 and -2.
 */
import type { WalStatus, WriteWatch } from '../../stream/wal/wal.ts';
import { type AtomicsPort, systemAtomics } from '../memory/atomics-port.ts';

const states = { idle: 0, ended: -1, endedAndReturned: -2 } as const;
const numberMax = 2 ** 31 - 1;
/** Int32 words before the doubles: the state, and one that keeps them aligned. */
const words = 2;
const doubles = 10;

export function createWriteWatch(): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * words + 8 * doubles);
}

abstract class Watched {
  protected readonly state: Int32Array;
  protected readonly doubles: Float64Array;
  protected readonly atomics: AtomicsPort;

  constructor(memory: SharedArrayBuffer, atomics: AtomicsPort = systemAtomics) {
    this.state = new Int32Array(memory, 0, 1);
    this.doubles = new Float64Array(memory, 4 * words, doubles);
    this.atomics = atomics;
  }

  /** Main has ended the epoch. Stays true. */
  get ended(): boolean {
    return this.atomics.load(this.state, 0) < states.idle;
  }
}

/** The WAL thread's side. */
export class WatchedWrites extends Watched implements WriteWatch {
  #number = 0;

  /** What an upload may go by while the thread cannot be asked. Only between writes, when every shard is told. */
  publish(status: WalStatus): void {
    const { doubles } = this;
    doubles[1] = status.cut.sequence;
    doubles[2] = status.cut.position;
    doubles[3] = status.cut.chainCrc;
    doubles[4] = status.trimmed.sequence;
    doubles[5] = status.trimmed.position;
    doubles[6] = status.trimmed.chainCrc;
    doubles[7] = status.usedBytes;
    doubles[8] = status.capacityBytes;
    doubles[9] = status.writtenBytes;
  }

  begin(nowMs: number): void {
    this.#number = this.#number === numberMax ? 1 : this.#number + 1;
    this.doubles[0] = nowMs;
    this.atomics.compareExchange(this.state, 0, states.idle, this.#number);
  }

  end(): boolean {
    const found = this.atomics.compareExchange(this.state, 0, this.#number, states.idle);
    if (found === this.#number) return true;
    this.atomics.store(this.state, 0, states.endedAndReturned);
    return false;
  }
}

/** A shard's side: whether the epoch has ended. */
export class WatchedEpoch extends Watched {}

/** Main's side. */
export class WriteJudge extends Watched {
  /** Ends the epoch if the write under way began `timeoutMs` ago or earlier. @returns true when this call ended it. */
  judge(nowMs: number, timeoutMs: number): boolean {
    const found = this.atomics.load(this.state, 0);
    if (found <= states.idle || nowMs - this.doubles[0]! < timeoutMs) return false;
    return this.atomics.compareExchange(this.state, 0, found, states.ended) === found;
  }

  /** Inside a write, whether the epoch has ended or not. */
  get writing(): boolean {
    const found = this.atomics.load(this.state, 0);
    return found > states.idle || found === states.ended;
  }

  /** Where the log stood before the write that ended it. */
  status(logId: string, failed: string): WalStatus {
    const { doubles } = this;
    return {
      logId,
      cut: { sequence: doubles[1]!, position: doubles[2]!, chainCrc: doubles[3]! },
      trimmed: { sequence: doubles[4]!, position: doubles[5]!, chainCrc: doubles[6]! },
      usedBytes: doubles[7]!,
      capacityBytes: doubles[8]!,
      writtenBytes: doubles[9]!,
      failed,
    };
  }
}
