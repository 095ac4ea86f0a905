/** The rhythm of a background service: one pass at a time, each some time behind the end of the one before. Main thread. */
import type { Clock, Timer } from '../ports/clock.ts';

export class Passes {
  /** A pass under way should come to its end; none begins any more. */
  stopped = false;
  private readonly clock: Clock;
  private readonly pass: () => Promise<number>;
  private timer: Timer | null = null;
  private running: Promise<void> = Promise.resolve();

  /** @param pass resolves with the milliseconds until the next one; never rejects. */
  constructor(clock: Clock, pass: () => Promise<number>) {
    this.clock = clock;
    this.pass = pass;
  }

  start(delayMs: number): void {
    this.timer = this.clock.after(delayMs, () => {
      this.running = this.pass().then((nextMs) => {
        if (!this.stopped) this.start(nextMs);
      });
    });
  }

  /** Resolves when no pass is under way. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    await this.running;
  }
}
