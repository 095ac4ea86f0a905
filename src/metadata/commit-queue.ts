/**
 * What waits to be committed, and its way into entries: each commit is checked against the image as those before it in the
 * same entry will leave it; a refused one is answered at once and changes nothing. Main thread.
 *
 *     waiting                            batch                         settled
 *   ┌───┬───┬───┬───┐  nextBatch    ┌───────────────┐  stored    ┌────────────────┐
 *   │ e │ d │ c │ b │ ───────────▶  │ entry of b, c │ ─────────▶ │ image, callers │
 *   └───┴───┴───┴───┘    (d refused)└───────┬───────┘            └────────────────┘
 *         ▲                                 │ another writer was first
 *         └──────────── putBack ────────────┘
 *
 * Limits: at most 20,000 commits wait; an entry takes commits up to `entryBytesMax`, one larger commit alone.
 */
import { MillraceError } from '../ports/errors.ts';
import { EntryEncoder } from './change-codec.ts';
import { ConditionChecker } from './conditions.ts';
import type { Author, ClusterImage, Commit, MetadataChange } from './metadata-store.ts';

const waitingMax = 20_000;

export interface WaitingCommit extends Commit {
  resolve(revision: number): void;
  reject(error: unknown): void;
}

/** Commits that share one entry, and its bytes. */
export interface CommitBatch {
  readonly payload: Buffer;
  readonly members: readonly WaitingCommit[];
}

export class CommitQueue {
  readonly #entryBytesMax: number;
  #waiting: WaitingCommit[] = [];

  constructor(entryBytesMax: number) {
    this.#entryBytesMax = entryBytesMax;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** Resolves with the revision; rejects with METADATA_BUSY (exhausted) where too many wait. */
  add(changes: readonly MetadataChange[], author: Author | null): Promise<number> {
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(
        new MillraceError('exhausted', 'METADATA_BUSY', `${waitingMax} commits wait already`),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ author, changes, resolve, reject });
    });
  }

  /** Checks and encodes what waits, as far as one entry goes; null when nothing of it is left. */
  nextBatch(image: ClusterImage): CommitBatch | null {
    const checker = new ConditionChecker(image);
    const encoder = new EntryEncoder();
    const members: WaitingCommit[] = [];
    let taken = 0;
    for (const each of this.#waiting) {
      if (encoder.bytes >= this.#entryBytesMax) break;
      taken++;
      try {
        checker.check(each);
      } catch (error) {
        each.reject(error);
        continue;
      }
      try {
        encoder.add(each);
        members.push(each);
      } catch (error) {
        // The checker counts it in: what follows is checked in the next batch.
        each.reject(new MillraceError('internal', 'METADATA_ENCODING', String(error), { cause: error }));
        break;
      }
    }
    this.#waiting = this.#waiting.slice(taken);
    return members.length === 0 ? null : { payload: encoder.finish(), members };
  }

  /** What was not stored comes first again, to be checked anew. */
  putBack({ members }: CommitBatch): void {
    this.#waiting = [...members, ...this.#waiting];
  }

  /** Rejects all that waits. */
  end(reason: MillraceError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) each.reject(reason);
  }
}
