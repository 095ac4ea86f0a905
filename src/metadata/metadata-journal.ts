/**
 * The metadata journal in the bucket: the sequenced object log under meta/, the image folded from it, and the snapshots that
 * bound its replay. With an embedded store it is the authority itself; in a cluster the controller copies etcd's log into it.
 * Main thread.
 *
 *   load ──► newest snapshot, then entries ──► seal: others are fenced ──► append … ──► snapshot now and then
 *            (nothing written)
 */
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { ObjectSequencedLog } from '../store/object-sequenced-log.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { SequencedEntry } from '../store/sequenced-log.ts';
import { hasCode } from '../store/store-errors.ts';
import { decodeEntry } from './change-codec.ts';
import { ImageBuilder } from './image-builder.ts';
import { decodeImage } from './image-codec.ts';
import { LiveImage } from './live-image.ts';

export interface MetadataJournalOptions {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly crc32c: Crc32c;
  /** Who writes, for people: node and host. */
  readonly writer: string;
  /** Entries, and bytes, after which a snapshot is due: they bound the replay of a start. */
  readonly snapshotEntries?: number | undefined;
  readonly snapshotBytes?: number | undefined;
}

const prefixes = { entryPrefix: 'meta/log/', snapshotPrefix: 'meta/snap/' } as const;
const snapshotEntriesDefault = 1_000;
const snapshotBytesDefault = 16 * 1024 * 1024;
/** How often a reader overtaken by trims starts again from a newer snapshot. */
const rereadsMax = 10;

export class MetadataJournal {
  readonly live = new LiveImage();
  readonly #options: MetadataJournalOptions;
  #log: ObjectSequencedLog;
  /** Number of the entry to read next. */
  #readNext = 0;
  #entriesSince = 0;
  #bytesSince = 0;
  #lastSnapshotBytes = 0;
  #snapshotting: Promise<boolean> | null = null;

  constructor(options: MetadataJournalOptions) {
    this.#options = options;
    this.#log = new ObjectSequencedLog({ ...options, ...prefixes });
  }

  get log(): ObjectSequencedLog {
    return this.#log;
  }

  /** Starts the image anew from the newest snapshot. Listeners see nothing of it, so only while there are none. */
  async load(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      this.#log = new ObjectSequencedLog({ ...this.#options, ...prefixes });
      const snapshot = await this.#log.readSnapshot();
      this.live.load(snapshot === null ? new ImageBuilder() : decodeImage(snapshot.payload));
      this.#readNext = snapshot === null ? 0 : snapshot.number + 1;
      this.#lastSnapshotBytes = snapshot?.payload.length ?? 0;
      this.#entriesSince = 0;
      this.#bytesSince = 0;
      try {
        return await this.catchUp();
      } catch (error) {
        if (!hasCode(error, 'SEQUENCED_LOG_STALE') || attempt >= rereadsMax) throw error;
      }
    }
  }

  /** Folds what was appended since the last look. */
  async catchUp(): Promise<void> {
    await this.#log.read(this.#readNext, (entry) => {
      if (entry.kind === 'data') {
        for (const { changes } of decodeEntry(entry.payload)) this.live.apply(changes);
        this.#note(entry.payload.length);
      }
      this.#readNext = entry.number + 1;
    });
  }

  /**
   * Fences every earlier writer: from here on this one appends. The image is that of the whole log then.
   * @param judge throws to leave the log alone; called with the image as read last.
   * @param onEntry sees what came after that, and may throw too.
   */
  async seal(judge: () => void, onEntry: (entry: SequencedEntry) => void): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.catchUp();
        judge();
        await this.#log.seal(onEntry);
        while (this.#readNext < this.#log.next) await this.catchUp();
        return;
      } catch (error) {
        if (!hasCode(error, 'SEQUENCED_LOG_STALE') || attempt >= rereadsMax) throw error;
        this.#options.logger.info('the journal was trimmed while it was read; reading it again');
        await this.load();
      }
    }
  }

  /** Appends an entry; its commits are for the caller to fold, before the next. */
  async append(payload: Buffer): Promise<void> {
    await this.#log.append(payload);
    this.#note(payload.length);
  }

  /** Twice the last snapshot's size at least, so that large images are not rewritten for little. */
  get snapshotDue(): boolean {
    const entries = this.#options.snapshotEntries ?? snapshotEntriesDefault;
    const bytes = Math.max(this.#options.snapshotBytes ?? snapshotBytesDefault, 2 * this.#lastSnapshotBytes);
    return this.#snapshotting === null && (this.#entriesSince >= entries || this.#bytesSince >= bytes);
  }

  /**
   * Stores a snapshot beside the appends, and trims what the one before it covers.
   * @param payload the image after the newest entry.
   * @returns whether it is stored. Rejects never.
   */
  snapshot(payload: Buffer): Promise<boolean> {
    const number = this.#log.next - 1;
    this.#entriesSince = 0;
    this.#bytesSince = 0;
    const storing = this.#log
      .snapshot(number, payload)
      .then(() => {
        this.#lastSnapshotBytes = payload.length;
        return true;
      })
      .catch((error: unknown) => {
        this.#options.logger.warn('metadata snapshot failed; the next one is due as usual', {
          reason: String(error),
        });
        return false;
      })
      .finally(() => {
        this.#snapshotting = null;
      });
    this.#snapshotting = storing;
    return storing;
  }

  /** Ends the wait of an append that cannot reach its store. */
  async close(): Promise<void> {
    await this.#log.close();
  }

  /** Resolves when no snapshot is under way. */
  async settled(): Promise<void> {
    await this.#snapshotting;
  }

  #note(payloadBytes: number): void {
    this.#entriesSince++;
    this.#bytesSince += payloadBytes;
  }
}
