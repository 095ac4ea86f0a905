/**
 * Reusable buffers into which blocks of small batches are copied on their way out. One pool per uploading thread.
 * A part reserves all the chunks it may need before it is built and gives them back when it is stored, so parts can
 * never wait for each other halfway. At the bound reserve() waits, first come first served.
 */
import { requirePlan } from '../objects/object-format.ts';

export const stagingChunkBytes = 1 << 20;

export class StagingPool {
  readonly chunksMax: number;
  readonly #idle: Buffer[] = [];
  readonly #waiting: { readonly chunks: number; readonly go: () => void }[] = [];
  #reserved = 0;

  constructor(options: { readonly bytesMax: number }) {
    this.chunksMax = Math.max(1, Math.floor(options.bytesMax / stagingChunkBytes));
  }

  get reservedChunks(): number {
    return this.#reserved;
  }

  /** Chunks for so many bytes; one more, since a part's pieces do not fill its chunks to the brim. */
  static chunksFor(bytes: number): number {
    return bytes === 0 ? 0 : Math.ceil(bytes / stagingChunkBytes) + 1;
  }

  /** Resolves once `chunks` are set aside. One part at a time waits per upload, so the queue is as long as uploads run. */
  reserve(chunks: number): Promise<void> | undefined {
    requirePlan(chunks <= this.chunksMax, `a part that needs ${chunks} staging chunks of ${this.chunksMax}`);
    if (this.#waiting.length === 0 && this.#reserved + chunks <= this.chunksMax) {
      this.#reserved += chunks;
      return undefined;
    }
    return new Promise((resolve) => {
      this.#waiting.push({ chunks, go: resolve });
    });
  }

  /** A chunk of a reservation. */
  take(): Buffer {
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(stagingChunkBytes);
  }

  /** Ends a reservation and gives back what was taken of it. */
  release(chunks: number, taken: readonly Buffer[]): void {
    requirePlan(taken.length <= chunks && chunks <= this.#reserved, 'staging chunks released twice');
    for (const chunk of taken) this.#idle.push(chunk);
    this.#reserved -= chunks;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#reserved + next.chunks > this.chunksMax) return;
      this.#reserved += next.chunks;
      this.#waiting.shift();
      next.go();
    }
  }
}
