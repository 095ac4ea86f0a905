/**
 * The end of the bucket's journal under one authority, and what another begins with. A restore and a move read the journal, refuse
 * where anything speaks against them, seal it, which fences whoever appended to it, and append one entry: from it on the journal is
 * another authority's. Main thread.
 *
 * Repeatable after a crash anywhere: until that entry is there the journal is the former authority's, and a seal more does no harm.
 */
import { MillraceError } from '../ports/errors.ts';
import { EntryEncoder, encodeEntry } from './change-codec.ts';
import { ConditionChecker } from './conditions.ts';
import { decodeImage } from './image-codec.ts';
import { MetadataJournal, type MetadataJournalOptions } from './metadata-journal.ts';
import type { ClusterImage, Commit, MetadataChange } from './metadata-store.ts';

const objectBytesMax = 1_000_000;

export interface MoveOptions extends MetadataJournalOptions {
  /** Signs of brokers that live, in words, as far as they can be seen from here. */
  readonly alive: (image: ClusterImage) => Promise<readonly string[]>;
}

export class JournalEnd {
  readonly #journal: MetadataJournal;

  private constructor(journal: MetadataJournal) {
    this.#journal = journal;
  }

  /** Writes nothing. Rejects with METADATA_NONE (invalid) for a store without a cluster. */
  static async read(options: MetadataJournalOptions): Promise<JournalEnd> {
    const journal = new MetadataJournal(options);
    await journal.load();
    if (journal.live.image.clusterId === '')
      throw new MillraceError('invalid', 'METADATA_NONE', 'the store holds no metadata of a cluster');
    return new JournalEnd(journal);
  }

  get image(): ClusterImage {
    return this.#journal.live.image;
  }

  /** Number behind the last entry. */
  get entries(): number {
    return this.#journal.log.next;
  }

  /** Fences whoever appended so far. Rejects with BROKERS_ALIVE (invalid) when somebody did since it was read; then nobody is. */
  async seal(): Promise<void> {
    const { revision } = this.image;
    const grown = (): never => {
      throw brokersAlive(['somebody writes to the store’s journal of the metadata']);
    };
    await this.#journal.seal(
      () => {
        if (this.image.revision !== revision) grown();
      },
      ({ kind }) => {
        if (kind === 'data') grown();
      },
    );
  }

  /** Commits of the former authority that the journal does not hold yet, at the revisions that follow its own. */
  async append(commits: readonly Commit[]): Promise<void> {
    for (let next = 0; next < commits.length; ) {
      const encoder = new EntryEncoder();
      const from = next;
      while (next < commits.length && (next === from || encoder.bytes < objectBytesMax))
        encoder.add(commits[next++]!);
      await this.#journal.append(encoder.finish());
      for (const { changes } of commits.slice(from, next)) this.#journal.live.apply(changes);
    }
  }

  /** The image as commits would leave it. */
  with(commits: readonly Commit[]): ClusterImage {
    const copy = decodeImage(this.#journal.live.snapshot());
    for (const { changes } of commits) copy.apply(changes);
    return copy.image;
  }

  /** The entry with which another authority begins. */
  async begin(changes: readonly MetadataChange[]): Promise<void> {
    const commit = { author: null, changes };
    new ConditionChecker(this.image).check(commit);
    await this.#journal.append(encodeEntry([commit]));
    this.#journal.live.apply(changes);
  }

  close(): Promise<void> {
    return this.#journal.close();
  }
}

/** Whoever was registered commits nothing more; started again a broker registers anew. */
export function fenceAll({ brokers }: Pick<ClusterImage, 'brokers'>): MetadataChange[] {
  return [...brokers].flatMap(([node, { epoch, state }]) =>
    state === 'fenced' ? [] : [{ type: 'brokerState', node, epoch, state: 'fenced' } as const],
  );
}

export function brokersAlive(signs: readonly string[]): MillraceError {
  const what = `brokers of the cluster are alive: ${signs.join('; ')}. Stop them first`;
  return new MillraceError('invalid', 'BROKERS_ALIVE', what);
}
