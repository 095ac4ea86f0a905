/**
 * Columns of a merge, growing by doubling: the blocks of the new object, and the pieces (blocks of sources) that are read
 * and written anew. One row costs 40 to 50 bytes, so an index at its bound of 1.6 million entries takes 80 MB while it is
 * made. Owned by one compaction.
 */
import { grown } from '../columns.ts';
import { BlockRows } from '../objects/block-rows.ts';

/** Blocks of the new object in the order of its index. */
export class MergedBlocks extends BlockRows {
  position = new Float64Array(64);

  protected override grow(rows: number): void {
    super.grow(rows);
    this.position = grown(this.position, new Float64Array(rows));
  }
}

/** Blocks of sources in the order in which they are written. */
export class PieceTable {
  count = 0;
  source = new Int32Array(64);
  position = new Float64Array(64);
  size = new Uint32Array(64);
  crc = new Uint32Array(64);
  /** The block of the new object that the piece is part of. */
  block = new Int32Array(64);

  add(source: number, position: number, size: number, crc: number, block: number): void {
    if (this.count === this.size.length) this.#grow();
    const row = this.count++;
    this.source[row] = source;
    this.position[row] = position;
    this.size[row] = size;
    this.crc[row] = crc;
    this.block[row] = block;
  }

  #grow(): void {
    const rows = this.size.length * 2;
    this.source = grown(this.source, new Int32Array(rows));
    this.position = grown(this.position, new Float64Array(rows));
    this.size = grown(this.size, new Uint32Array(rows));
    this.crc = grown(this.crc, new Uint32Array(rows));
    this.block = grown(this.block, new Int32Array(rows));
  }
}
