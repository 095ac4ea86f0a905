/**
 * Trims a volume's log up to what uploads have freed, once the bucket's journal holds the commits that say so: before, the
 * records might be nowhere if the metadata had to be made anew from the bucket. Beside the uploads, which do not wait for it.
 * Main thread; one trim under way, the newest cut that is due waits.
 */
import type { MetadataStore } from '../metadata/metadata-store.ts';
import type { Logger } from '../ports/logger.ts';
import { hasCode } from '../store/store-errors.ts';
import type { WalCut } from '../stream/wal/wal.ts';

export interface TrimmedVolume {
  readonly index: number;
  readonly control: {
    trim(cut: WalCut): Promise<void>;
    status(): Promise<{ readonly failed: unknown }>;
  };
}

export interface WalTrimsDeps {
  readonly metadata: Pick<MetadataStore, 'persisted'>;
  readonly logger: Logger;
}

export class WalTrims {
  readonly #volume: TrimmedVolume;
  readonly #deps: WalTrimsDeps;
  #due: { readonly cut: WalCut; readonly revision: number } | null = null;
  #working: Promise<void> | null = null;

  constructor(volume: TrimmedVolume, deps: WalTrimsDeps) {
    this.#volume = volume;
    this.#deps = deps;
  }

  /** @param revision of the commit that names what the cut frees. */
  due(cut: WalCut, revision: number): void {
    this.#due = { cut, revision };
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
  }

  /** Everything that was due is trimmed, or could not be; the next upload's trim covers it then. */
  async settled(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    const { metadata, logger } = this.#deps;
    while (this.#due !== null) {
      const { cut, revision } = this.#due;
      this.#due = null;
      try {
        await metadata.persisted(revision);
        await this.#volume.control.trim(cut);
      } catch (error) {
        const fields = { volume: this.#volume.index, reason: String(error) };
        if (hasCode(error, 'METADATA_CLOSED') || (await this.#hasEnded()))
          logger.debug('a write-ahead log that has ended was not trimmed', fields);
        else logger.warn('a write-ahead log was not trimmed; the next upload does it', fields);
      }
    }
  }

  /** One whose epoch has ended takes no trim and needs none: the metadata says what of it is in objects. */
  async #hasEnded(): Promise<boolean> {
    try {
      return (await this.#volume.control.status()).failed !== null;
    } catch {
      return true;
    }
  }
}
