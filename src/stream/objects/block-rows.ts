/**
 * What an index says of each block, as columns that grow by doubling. Uploads and merges add columns of their own: they
 * extend `grow`. One owner.
 */
import { grown } from '../columns.ts';
import type { BlockColumns } from './object-index.ts';

export class BlockRows implements BlockColumns {
  count = 0;
  leaderEpoch = new Int32Array(64);
  size = new Uint32Array(64);
  baseOffset = new Float64Array(64);
  lastOffset = new Float64Array(64);
  maxTimestamp = new Float64Array(64);
  crc = new Uint32Array(64);

  /** Row of a new block. */
  add(): number {
    if (this.count === this.size.length) this.grow(2 * this.count);
    return this.count++;
  }

  protected grow(rows: number): void {
    this.leaderEpoch = grown(this.leaderEpoch, new Int32Array(rows));
    this.size = grown(this.size, new Uint32Array(rows));
    this.baseOffset = grown(this.baseOffset, new Float64Array(rows));
    this.lastOffset = grown(this.lastOffset, new Float64Array(rows));
    this.maxTimestamp = grown(this.maxTimestamp, new Float64Array(rows));
    this.crc = grown(this.crc, new Uint32Array(rows));
  }
}
