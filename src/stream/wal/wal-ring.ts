/**
 * Where commits go: the ring's geometry, without I/O.
 *
 *   position = bytes since the log began (monotonic over laps); place in the ring = position mod ringBytes
 *
 *   |■■■■■■■■■■■■■■........................|      ■ between trim and tail: must not be overwritten
 *    trim          tail                     ringBytes (may still grow while the first lap lasts)
 */
import { ringStartBytes } from './wal-limits.ts';

export class WalRing {
  /** Bytes of the volume that have been written, front pages included: durable in a superblock. */
  writtenBytes: number;
  readonly capacityBytes: number;
  /** Start of the space in use; moved only when the superblock that says so is durable. */
  trimPosition: number;
  /** Where the next commit begins. */
  tailPosition: number;
  #growthFailed = false;

  constructor(writtenBytes: number, capacityBytes: number, trimPosition: number, tailPosition: number) {
    this.writtenBytes = writtenBytes;
    this.capacityBytes = capacityBytes;
    this.trimPosition = trimPosition;
    this.tailPosition = tailPosition;
  }

  get ringBytes(): number {
    return this.writtenBytes - ringStartBytes;
  }

  /** Whether the volume may still become longer: only in the first lap. */
  get growable(): boolean {
    return (
      !this.#growthFailed && this.tailPosition <= this.ringBytes && this.writtenBytes < this.capacityBytes
    );
  }

  /** The volume stays as long as it is. */
  stopGrowing(): void {
    this.#growthFailed = true;
  }

  /** Place of the tail in the ring; the ring's end itself while it may still move. */
  get tailOffset(): number {
    if (this.growable && this.tailPosition === this.ringBytes) return this.ringBytes;
    return this.tailPosition % this.ringBytes;
  }

  get usedBytes(): number {
    return this.tailPosition - this.trimPosition;
  }

  get freeBytes(): number {
    return this.ringBytes - this.usedBytes;
  }

  /** Bytes from the tail to the ring's end. */
  get bytesToEnd(): number {
    return this.ringBytes - this.tailOffset;
  }

  /** Longest commit that can be written at the tail. */
  get roomAtTail(): number {
    return Math.min(this.bytesToEnd, this.freeBytes);
  }

  /** Longest commit that can be written at the ring's start after a pad. */
  get roomAtStart(): number {
    return Math.max(0, this.freeBytes - this.bytesToEnd);
  }

  filePosition(position: number): number {
    return ringStartBytes + (position % this.ringBytes);
  }

  /** A commit or pad of this length was written at the tail. */
  advance(length: number): void {
    this.tailPosition += length;
  }
}
