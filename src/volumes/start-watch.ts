/**
 * What a broker's start waits for, so that none of it is waited for in silence or for ever. Main thread.
 *
 *   wait ──1 s──► said ──limit──► the start fails (WAL_NO_ANSWER, where the wait has a limit)
 *                   └──stop()──► the start ends (START_ENDED)
 *
 * A stop lets a start that gets on go on: it then stops in order. It ends what has taken a second, or takes one later, and
 * nothing begins after that.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';

const patienceMs = 1_000;
const sayAgainMs = 10_000;

interface Wait {
  slow: boolean;
  readonly end: (error: Error) => void;
}

export class StartWatch {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #waits = new Set<Wait>();
  #stopping = false;
  #ended: Error | null = null;
  #calls = 0;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Calls of a device or file system that have not returned, given up or not: the process cannot end in order. */
  get outstanding(): number {
    return this.#calls;
  }

  /** A step of the start, which may take long because there is much to do. */
  step<T>(what: string, work: () => Promise<T>): Promise<T> {
    return this.#wait(work, Number.POSITIVE_INFINITY, (ms) =>
      this.#logger.info(`still starting: ${what}`, { ms }),
    );
  }

  /** One call of a device or file system, which must answer within `limitMs`. */
  async call<T>(what: string, limitMs: number, work: () => Promise<T>): Promise<T> {
    return this.#wait(
      async () => {
        this.#calls++;
        try {
          return await work();
        } finally {
          this.#calls--;
        }
      },
      limitMs,
      (ms) => this.#logger.warn(`${what} does not answer`, { ms, limitMs }),
      what,
    );
  }

  /** Somebody wants the start to end. */
  stop(): void {
    this.#stopping = true;
    if ([...this.#waits].some(({ slow }) => slow)) this.#end();
  }

  #end(): void {
    this.#ended ??= new MillraceError('unavailable', 'START_ENDED', 'the start was ended while it waited');
    for (const wait of [...this.#waits]) wait.end(this.#ended);
  }

  #wait<T>(work: () => Promise<T>, limitMs: number, say: (waitedMs: number) => void, what = ''): Promise<T> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      // As the timers were set: they may fire a moment early.
      let waitedMs = 0;
      let timer: Timer | null = null;
      const settle = (): void => {
        timer?.cancel();
        this.#waits.delete(wait);
      };
      const wait: Wait = {
        slow: false,
        end: (error) => {
          settle();
          reject(error);
        },
      };
      this.#waits.add(wait);
      const look = (): void => {
        if (waitedMs >= limitMs) return wait.end(noAnswer(what, limitMs));
        wait.slow = waitedMs >= patienceMs;
        if (wait.slow && this.#stopping) return this.#end();
        if (wait.slow) say(waitedMs);
        lookIn(Math.min(wait.slow ? sayAgainMs : patienceMs, limitMs - waitedMs));
      };
      const lookIn = (ms: number): void => {
        waitedMs += ms;
        timer = this.#clock.after(ms, look);
      };
      lookIn(Math.min(patienceMs, limitMs));
      work().then(
        (result) => {
          settle();
          resolve(result);
        },
        (error) => wait.end(error),
      );
    });
  }
}

function noAnswer(what: string, limitMs: number): MillraceError {
  return new MillraceError(
    'unavailable',
    'WAL_NO_ANSWER',
    `${what} has not answered for ${limitMs / 1000} s`,
  );
}
