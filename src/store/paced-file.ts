/**
 * Large bodies go to disk in pieces, each durable before the next is written, one piece at a time for all that one store
 * writes. So no burst of writeback builds up in the page cache for a later fsync to wait for, and whoever shares the disk (the
 * write-ahead log) waits for one piece at most. What is no longer than a piece is nobody's burst: it is written at once and made
 * durable by the caller's own fsync, so journal entries and commits do not queue behind uploads.
 */
import type { FileHandle } from 'node:fs/promises';
import { writeAll } from './file-io.ts';
import { bodyLength } from './store-errors.ts';

/** A disk of 200 MB/s has it in 5 ms. */
export const pieceBytes = 1024 * 1024;

/** The body in runs of at most `bytesMax`, without copying. */
export function* piecesOf(body: readonly Uint8Array[], bytesMax: number): Generator<Uint8Array[]> {
  let piece: Uint8Array[] = [];
  let room = bytesMax;
  for (const part of body) {
    for (let at = 0; at < part.length; ) {
      const taken = part.subarray(at, at + room);
      piece.push(taken);
      at += taken.length;
      room -= taken.length;
      if (room > 0) continue;
      yield piece;
      piece = [];
      room = bytesMax;
    }
  }
  if (piece.length > 0) yield piece;
}

export class PacedFiles {
  #last: Promise<void> = Promise.resolve();

  /** A whole file, which the caller makes durable in the end. */
  async write(file: FileHandle, body: readonly Uint8Array[]): Promise<void> {
    if (bodyLength(body) <= pieceBytes) await writeAll(file, body, 0);
    else await this.writeDurably(file, body, 0);
  }

  /**
   * A part of a file that others write to as well: durable when this resolves. The system tells of pages that it could not write
   * once for each open file, to whoever syncs next: it must be the one who wrote them, since only he writes them again.
   */
  async writeDurably(file: FileHandle, body: readonly Uint8Array[], position: number): Promise<void> {
    let at = position;
    for (const piece of piecesOf(body, pieceBytes)) {
      at += await this.#alone(async () => {
        const written = await writeAll(file, piece, at);
        await file.datasync();
        return written;
      });
    }
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.then(
      () => undefined,
      () => undefined,
    );
    return turn;
  }
}
