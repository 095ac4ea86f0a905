/**
 * Looks for word that this machine is to be taken away, until there is some: all sources at once, then again after a pause. A source that
 * cannot be read is said once, until it can. Main thread.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { NoticeSource } from '../ports/notice-source.ts';

export interface NoticeWatchOptions {
  readonly sources: readonly NoticeSource[];
  readonly intervalMs: number;
  readonly clock: Pick<Clock, 'after'>;
  readonly logger: Logger;
  /** Once. */
  readonly found: (source: string, notice: string) => void;
}

export class NoticeWatch {
  readonly #options: NoticeWatchOptions;
  /** Names of sources that could not be read last time. */
  readonly #troubled = new Set<string>();
  #timer: Timer | null = null;
  #ended = false;

  constructor(options: NoticeWatchOptions) {
    this.#options = options;
    void this.#run();
  }

  stop(): void {
    this.#ended = true;
    this.#timer?.cancel();
  }

  async #run(): Promise<void> {
    const { sources, clock, intervalMs } = this.#options;
    await Promise.all(sources.map((source) => this.#look(source)));
    if (this.#ended) return;
    this.#timer = clock.after(intervalMs, () => void this.#run());
  }

  async #look(source: NoticeSource): Promise<void> {
    const { logger, found } = this.#options;
    const { name } = source;
    try {
      const notice = await source.look();
      if (this.#troubled.delete(name))
        logger.info('notices of interruption can be read again', { source: name });
      if (notice === null || this.#ended) return;
      this.stop();
      found(name, notice);
    } catch (error) {
      if (this.#ended || this.#troubled.has(name)) return;
      this.#troubled.add(name);
      const reason = error instanceof Error ? error.message : String(error);
      logger.warn('notices of interruption cannot be read; it is tried again', { source: name, reason });
    }
  }
}
