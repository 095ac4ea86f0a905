/**
 * Deletes what a trim has freed of a pipelined log, beside its owner's work. Number 0, seals and moved records stay:
 * they are bare headers (0 apart), so a listing tells them by size.
 *
 *   0 │ … freed, deleted … │ upTo │ … held …
 *
 * Until a sweep has passed the owner's first entry it lists everything below: among what former owners left there are
 * seals, the owner's own too, and what a fenced writer stored behind one or brought back. Later sweeps know the numbers:
 * from there on there are only its own. A failed sweep is repeated with the next trim: nothing depends on it but the bill.
 */
import type { Logger } from '../ports/logger.ts';
import type { SequencedEntries } from './sequenced-entries.ts';
import { sequencedHeaderBytes } from './sequenced-object.ts';

const page = 1000;

export class SequencedSweep {
  readonly #entries: SequencedEntries;
  readonly #logger: Logger;
  /** The owner's first entry: seals lie below only. */
  readonly #first: number;
  /** Everything up to here was deleted by this owner; -1 = it has not looked yet. */
  #sweptTo = -1;
  #wanted = 0;
  #running: Promise<void> | null = null;

  constructor(entries: SequencedEntries, logger: Logger, first: number) {
    this.#first = first;
    this.#entries = entries;
    this.#logger = logger;
  }

  /** Entries up to `number` are not needed any more. */
  freed(number: number): void {
    this.#wanted = Math.max(this.#wanted, number);
    this.#running ??= this.#run();
  }

  /** Resolves when nothing is being deleted. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#wanted > this.#sweptTo) {
        const upTo = this.#wanted;
        if (this.#sweptTo < this.#first) await this.#sweepListed(upTo);
        else await this.#sweepKnown(this.#sweptTo + 1, upTo);
        this.#sweptTo = upTo;
      }
    } catch (error) {
      const prefix = this.#entries.prefix;
      this.#logger.warn('freed log entries could not be deleted; the next trim tries again', {
        prefix,
        reason: String(error),
      });
    } finally {
      this.#running = null;
    }
  }

  async #sweepKnown(from: number, upTo: number): Promise<void> {
    for (let at = from; at <= upTo; at += page) {
      const count = Math.min(page, upTo + 1 - at);
      await this.#entries.store.delete(Array.from({ length: count }, (_, i) => this.#entries.key(at + i)));
    }
  }

  async #sweepListed(upTo: number): Promise<void> {
    for (let from = 1; ; ) {
      const infos = await this.#entries.listed(from, page);
      const gone: string[] = [];
      let last = Number.POSITIVE_INFINITY;
      for (const info of infos) {
        last = this.#entries.numberOf(info.key) ?? Number.POSITIVE_INFINITY;
        if (last <= upTo && info.size > sequencedHeaderBytes) gone.push(info.key);
      }
      if (gone.length > 0) await this.#entries.store.delete(gone);
      if (infos.length < page || last >= upTo) return;
      from = last + 1;
    }
  }
}
