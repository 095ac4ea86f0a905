/**
 * The metadata of a cluster in this process's memory, for tests of what brokers do with each other: one image, any number of
 * claims on it, commits judged in order. Who is alive is for the test to say: a broker that joins is, until `lose`.
 */
import { randomBytes } from 'node:crypto';
import { AuthoredStore, type AuthorityStore } from '../../src/metadata/authored-store.ts';
import { decodeEntry, encodeEntry } from '../../src/metadata/change-codec.ts';
import { ConditionChecker } from '../../src/metadata/conditions.ts';
import { ImageBuilder } from '../../src/metadata/image-builder.ts';
import { encodeImage } from '../../src/metadata/image-codec.ts';
import type { Membership } from '../../src/metadata/membership.ts';
import type { Authority, MetadataClaim } from '../../src/metadata/metadata-claim.ts';
import type { Author, ChangeListener, Commit, MetadataChange } from '../../src/metadata/metadata-store.ts';
import type { ReportBoard } from '../../src/metadata/report-board.ts';
import { MillraceError } from '../../src/ports/errors.ts';

export class MemoryAuthority {
  readonly builder = new ImageBuilder();
  readonly #listeners = new Set<ChangeListener>();
  readonly #members = new Set<MemoryMembership>();
  /** Whether brokers may come to lead; else the test decides in a controller's place. */
  readonly #leads: boolean;
  /** Resolves when the bucket's journal holds everything: at once, unless a test holds it up. */
  #held: Promise<void> = Promise.resolve();
  /** How often somebody asked. */
  waiting = 0;
  /** Each commit that was taken, for a test to look at. */
  readonly commits: Commit[] = [];

  readonly #reports = new Map<number, Uint8Array>();
  readonly board: ReportBoard = {
    post: async (node, report) => void this.#reports.set(node, report),
    read: async () => new Map(this.#reports),
    remove: async (node) => void this.#reports.delete(node),
  };

  constructor(leads = true) {
    this.#leads = leads;
    const clusterId = randomBytes(16).toString('base64url');
    this.builder.apply([{ type: 'cluster', clusterId, createdMs: 1 }]);
  }

  get image() {
    return this.builder.image;
  }

  readonly open = async (): Promise<Authority> => {
    const membership = new MemoryMembership(this.#members, this.#leads);
    return { claim: this.#claim(), membership, board: this.board, release: () => membership.leave() };
  };

  /** The lease of a broker has run out. */
  lose(node: number): void {
    for (const member of this.#members) if (member.node === node) member.lose();
  }

  /** Its lease may have run out, for all that the broker knows; the others have not noticed. */
  doubt(node: number, doubted: boolean): void {
    for (const member of this.#members) if (member.node === node) member.doubt(doubted);
  }

  /** The bucket's journal holds nothing new until the returned function is called. */
  holdUpJournal(): () => void {
    let release = (): void => {};
    this.#held = new Promise((resolve) => {
      release = resolve;
    });
    return () => release();
  }

  async commit(changes: readonly MetadataChange[], author: Author | null = null): Promise<number> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    // Through the bytes, so that nobody shares values with another.
    const [commit] = decodeEntry(encodeEntry([{ author, changes }]));
    new ConditionChecker(this.image).check(commit!);
    this.builder.apply(commit!.changes);
    this.commits.push(commit!);
    const { revision } = this.image;
    for (const listener of this.#listeners) listener(revision, commit!.changes);
    return revision;
  }

  #claim(): MetadataClaim {
    const { builder } = this;
    let closed = false;
    const mine = new Set<ChangeListener>();
    const store: AuthorityStore = {
      image: builder.image,
      references: builder,
      snapshot: () => encodeImage(builder.image),
      commit: (changes, author) =>
        closed
          ? Promise.reject(
              new MillraceError('unavailable', 'METADATA_CLOSED', 'the metadata store was closed'),
            )
          : this.commit(changes, author),
      watch: (listener) => {
        this.#listeners.add(listener);
        mine.add(listener);
        return () => this.#listeners.delete(listener);
      },
      persisted: async () => {
        this.waiting++;
        await this.#held;
      },
      close: async () => {
        closed = true;
        for (const listener of mine) this.#listeners.delete(listener);
      },
    } as AuthorityStore;
    return {
      image: builder.image,
      claim: async () => builder.image.revision,
      register: async ({ node, endpoints, rack }, changes = []) => {
        const epoch = (builder.image.brokers.get(node)?.epoch ?? 0) + 1;
        const authored = new AuthoredStore(store, { node, epoch });
        await authored.commit([{ type: 'broker', node, epoch, endpoints, rack }, ...changes]);
        return { store: authored, epoch };
      },
      get contactedAt() {
        return performance.now();
      },
      idFloor: 0,
      close: () => store.close(),
    };
  }
}

/** Leads: the one with the lowest node id that is alive. */
class MemoryMembership implements Membership {
  readonly #members: Set<MemoryMembership>;
  readonly #listeners = new Set<() => void>();
  node = -1;
  epoch = 0;
  readonly #leads: boolean;
  #lost = false;

  constructor(members: Set<MemoryMembership>, leads: boolean) {
    this.#members = members;
    this.#leads = leads;
  }

  async join(node: number, epoch: number): Promise<void> {
    this.node = node;
    this.epoch = epoch;
    this.#members.add(this);
    this.#tell();
  }

  get alive(): ReadonlyMap<number, number> {
    return new Map([...this.#members].map(({ node, epoch }) => [node, epoch]));
  }

  get leader() {
    if (!this.#leads) return null;
    const [first] = [...this.#members].sort((a, b) => a.node - b.node);
    return first === undefined ? null : { node: first.node, epoch: first.epoch };
  }

  get validUntil(): number {
    return this.#lost ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }

  get seenAt(): number {
    return performance.now();
  }

  watch(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  doubt(doubted: boolean): void {
    this.#lost = doubted;
    this.#tell();
  }

  lose(): void {
    this.#lost = true;
    this.#members.delete(this);
    this.#tell();
  }

  async leave(): Promise<void> {
    this.lose();
  }

  #tell(): void {
    for (const member of this.#members) for (const listener of member.#listeners) listener();
  }
}
