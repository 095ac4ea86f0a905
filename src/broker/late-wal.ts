/** A WAL of the inline deployment before it is open. Owned by the one shard that appends to it. */
import { MillraceError } from '../ports/errors.ts';
import type { Wal } from '../stream/wal/wal.ts';

/** Stands in for an inline WAL until recovery is over; nothing is appended before that. */
export class LateWal implements Wal {
  readonly volume: number;
  readonly logId: string;
  private wal: Wal | null = null;
  private durable: Wal['onDurable'] = () => {};
  private failed: Wal['onFailed'] = () => {};
  private returned: Wal['onReturned'] = () => {};
  private readonly onFenced: (error: Error) => void;

  /** @param onFenced another broker has taken the log: this one is over. */
  constructor(volume: number, logId: string, onFenced: (error: Error) => void) {
    this.volume = volume;
    this.logId = logId;
    this.onFenced = onFenced;
  }

  begin(wal: Wal): void {
    this.wal = wal;
    wal.onDurable = this.durable;
    wal.onReturned = this.returned;
    wal.onFailed = (error, outstanding) => {
      this.failed(error, outstanding);
      if (error instanceof MillraceError && error.kind === 'fenced') this.onFenced(error);
    };
  }

  set onDurable(fn: Wal['onDurable']) {
    this.durable = fn;
  }

  get onDurable(): Wal['onDurable'] {
    return this.durable;
  }

  set onFailed(fn: Wal['onFailed']) {
    this.failed = fn;
  }

  get onFailed(): Wal['onFailed'] {
    return this.failed;
  }

  set onReturned(fn: Wal['onReturned']) {
    this.returned = fn;
  }

  get onReturned(): Wal['onReturned'] {
    return this.returned;
  }

  tryAppend(...append: Parameters<Wal['tryAppend']>): number {
    return this.wal === null ? 0 : this.wal.tryAppend(...append);
  }

  fullness(): number {
    return this.wal?.fullness?.() ?? 0;
  }

  flush(): void {
    this.wal?.flush();
  }
}
