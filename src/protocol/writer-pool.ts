/**
 * Writers waiting for their next message, so that an answer need not start from an empty buffer.
 *
 * Owner: one thread. At most `max` idle writers are kept; a writer given back beyond that is dropped. Give a writer
 * back only when its bytes have left: it overwrites them.
 */
import { Writer, type WriterOptions } from './writer.ts';

export class WriterPool {
  readonly #idle: Writer[] = [];
  readonly #max: number;
  readonly #options: WriterOptions;

  /** @param max idle writers kept, each with a buffer of at most 1 MiB. */
  constructor(max = 16, options: WriterOptions = {}) {
    this.#max = max;
    this.#options = options;
  }

  acquire(): Writer {
    return this.#idle.pop() ?? new Writer(this.#options);
  }

  release(writer: Writer): void {
    if (this.#idle.length >= this.#max) return;
    writer.reset();
    this.#idle.push(writer);
  }
}
