/**
 * Trimming of a sequenced log: which snapshots stay and which entries go. Keeps the two newest snapshots and removes
 * the data entries covered by the older of them; never number 0, a seal or a moved record (those are bare headers, so
 * the listing tells them by size). What remains of old
 * numbers is one small object per takeover. Entries that a fenced writer brings back below the snapshot are found by
 * the next full sweep, which the first trim of every owner is. Each step may be repeated after a crash.
 */
import type { ObjectStore } from './object-store.ts';
import { digits, sequencedHeaderBytes } from './sequenced-object.ts';

const snapshotsKept = 2;
const page = 1000;

export class LogTrimmer {
  readonly #store: ObjectStore;
  readonly #entryPrefix: string;
  readonly #snapshotPrefix: string;
  /** Entries up to this number were looked at by this owner. */
  #sweptTo = 0;
  #trimming = false;

  constructor(store: ObjectStore, entryPrefix: string, snapshotPrefix: string) {
    this.#store = store;
    this.#entryPrefix = entryPrefix;
    this.#snapshotPrefix = snapshotPrefix;
  }

  /** Numbers of the stored snapshots, newest first. */
  async snapshots(): Promise<number[]> {
    const numbers: number[] = [];
    for (let last = ''; ; ) {
      const options = last === '' ? { limit: page } : { limit: page, after: last };
      const infos = await this.#store.list(this.#snapshotPrefix, options);
      for (const info of infos) {
        const number = numberOf(info.key, this.#snapshotPrefix);
        if (number !== null) numbers.push(number);
      }
      if (infos.length < page) return numbers.reverse();
      last = infos.at(-1)!.key;
    }
  }

  /** `newest` is the number of a snapshot that is durably stored. */
  async trim(newest: number): Promise<void> {
    if (this.#trimming) return;
    this.#trimming = true;
    try {
      const stored = (await this.snapshots()).filter((number) => number <= newest);
      const oldestKept = stored[snapshotsKept - 1];
      if (oldestKept === undefined) return;
      await this.#trimEntries(oldestKept);
      const gone = stored.slice(snapshotsKept).map((number) => this.#snapshotPrefix + digits(number));
      if (gone.length > 0) await this.#store.delete(gone);
    } finally {
      this.#trimming = false;
    }
  }

  async #trimEntries(upTo: number): Promise<void> {
    for (let after = this.#entryPrefix + digits(this.#sweptTo); ; ) {
      const infos = await this.#store.list(this.#entryPrefix, { after, limit: page });
      const gone: string[] = [];
      for (const info of infos) {
        const number = numberOf(info.key, this.#entryPrefix);
        if (number !== null && number > 0 && number <= upTo && info.size > sequencedHeaderBytes)
          gone.push(info.key);
      }
      if (gone.length > 0) await this.#store.delete(gone);
      const last = infos.at(-1)?.key;
      if (infos.length < page || last === undefined || last >= this.#entryPrefix + digits(upTo)) break;
      after = last;
    }
    this.#sweptTo = upTo;
  }
}

/** null for keys that are no number of this log. */
function numberOf(key: string, prefix: string): number | null {
  const rest = key.slice(prefix.length);
  return /^\d{20}$/.test(rest) ? Number(rest) : null;
}
