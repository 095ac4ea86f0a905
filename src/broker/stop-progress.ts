/**
 * Says once a second what a stop is waiting for, and in the end how long it took: an operator who sees nothing kills the
 * process. Main thread.
 */

import type { UploadProgress } from '../ownership/upload-coordinator.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';

const everyMs = 1_000;

export class StopProgress {
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly uploads: () => UploadProgress;
  private readonly began: number;
  private readonly timeoutMs: number;
  private timer: Timer | null = null;
  /** What it waits for before anything is uploaded. */
  phase = 'stopping';

  constructor(clock: Clock, logger: Logger, timeoutMs: number, uploads: () => UploadProgress) {
    this.clock = clock;
    this.logger = logger;
    this.timeoutMs = timeoutMs;
    this.uploads = uploads;
    this.began = clock.monotonic();
    this.schedule();
  }

  private schedule(): void {
    this.timer = this.clock.after(everyMs, () => {
      const seconds = Math.round((this.clock.monotonic() - this.began) / 1000);
      this.logger.info(`${this.describe()} (${seconds} of at most ${Math.round(this.timeoutMs / 1000)} s)`);
      this.schedule();
    });
  }

  private describe(): string {
    const { storedBytes, totalBytes, objectsDone, objects } = this.uploads();
    if (totalBytes === 0) return this.phase;
    const done = megabytes(Math.min(storedBytes, totalBytes));
    return `uploading: ${done} of ${megabytes(totalBytes)} MB, ${objectsDone} of ${objects} objects`;
  }

  end(clean: boolean): void {
    this.timer?.cancel();
    if (!clean) return;
    const seconds = (this.clock.monotonic() - this.began) / 1000;
    const { storedBytes, objectsDone } = this.uploads();
    this.logger.info('everything is in the object store', {
      seconds: Math.round(seconds * 100) / 100,
      megabytes: megabytes(storedBytes),
      objects: objectsDone,
    });
  }
}

/** One digit below ten, none above. */
function megabytes(bytes: number): number {
  const value = bytes / 1e6;
  return value < 10 ? Math.round(value * 10) / 10 : Math.round(value);
}
