/**
 * Whether the object store serves this broker, from what its requests came to: said once per change, in words, and not
 * per attempt. Main thread. Three lanes are judged apart, since a store may refuse one and serve the others: journal
 * writes, reads (the journal looks ahead every 10 s), uploads.
 *
 *   serving ──`failuresMin` failures in a row of one lane, or one refusal──► away: unreachable | throttling | refusing
 *      ▲─────────────────────── every lane that failed has succeeded ──────────────┘ (another reason: said again)
 */
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { StoreObserver, StoreOperation } from '../store/store-decorators.ts';

type Lane = 'journal' | 'reads' | 'uploads';
type Trouble = 'unreachable' | 'throttling' | 'refusing';

const failuresMin = 3;

const troubleOf: Readonly<Record<string, Trouble>> = {
  STORE_UNAVAILABLE: 'unreachable',
  STORE_THROTTLED: 'throttling',
  STORE_FORBIDDEN: 'refusing',
};

const words: Readonly<Record<Trouble, string>> = {
  unreachable:
    'the object store does not answer; producing goes on until the log cache or the write-ahead log is full, then it is refused until the store is back',
  throttling:
    'the object store is overloaded and asks to slow down; uploads go on with fewer requests at a time',
  refusing:
    'the object store refuses this broker: the bucket is gone or access is denied. Producing goes on until the log cache or the write-ahead log is full; give the bucket or the permission back, nothing needs a restart',
};

export class StoreHealth implements StoreObserver {
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly failures = new Map<Lane, number>();
  private readonly troubles = new Map<Lane, Trouble>();
  private said: Trouble | null = null;
  private since = 0;
  private lastError = '';

  constructor(clock: Clock, logger: Logger) {
    this.clock = clock;
    this.logger = logger;
  }

  get available(): boolean {
    return this.said === null;
  }

  onCall(operation: StoreOperation, _durationMs: number, code: string | null): void {
    const lane = operation === 'get' || operation === 'list' || operation === 'head' ? 'reads' : 'journal';
    this.note(lane, code);
  }

  onError(error: unknown): void {
    this.lastError = error instanceof Error ? error.message : String(error);
  }

  uploaded(): void {
    this.note('uploads', null);
  }

  uploadFailed(error: unknown): void {
    const code = error instanceof MillraceError ? error.code : 'INTERNAL';
    this.onError(error);
    this.note('uploads', code);
  }

  private note(lane: Lane, code: string | null): void {
    const trouble = code === null ? undefined : troubleOf[code];
    if (trouble === undefined) {
      // Any other code is an answer, too.
      this.failures.delete(lane);
      if (this.troubles.delete(lane)) this.tell();
      return;
    }
    const failures = (this.failures.get(lane) ?? 0) + 1;
    this.failures.set(lane, failures);
    if (failures < failuresMin && trouble !== 'refusing' && !this.troubles.has(lane)) return;
    this.troubles.set(lane, trouble);
    this.tell();
  }

  private tell(): void {
    const now = worst([...this.troubles.values()]);
    if (now === this.said) return;
    if (this.said === null) this.since = this.clock.monotonic();
    this.said = now;
    if (now === null) {
      const seconds = Math.round((this.clock.monotonic() - this.since) / 1000);
      this.logger.info('the object store serves again', { afterSeconds: seconds });
    } else if (now === 'throttling') this.logger.warn(words[now], { error: this.lastError });
    else this.logger.error(words[now], { error: this.lastError });
  }
}

function worst(troubles: readonly Trouble[]): Trouble | null {
  for (const trouble of ['refusing', 'unreachable', 'throttling'] as const)
    if (troubles.includes(trouble)) return trouble;
  return null;
}
