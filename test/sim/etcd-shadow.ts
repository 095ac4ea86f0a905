/**
 * What a cluster's metadata say at every moment, folded from etcd's log as its entries take effect, under the rules of
 * shadow-metadata.ts; and three more: the bucket's journal holds the commits of that log in its order, each once and none before
 * etcd has it; whoever waits for the journal is told of no revision that it does not hold; nothing goes (objects, manifests, entries
 * and files of logs) before that journal, too, says that it is not needed.
 */
import { isDeepStrictEqual } from 'node:util';
import { decodeEntry } from '../../src/metadata/change-codec.ts';
import {
  checkedPayload,
  decodeAuthority,
  decodeLogValue,
  decodeRevision,
  EtcdLayout,
} from '../../src/metadata/etcd/etcd-layout.ts';
import { type EtcdEntry, prefixEnd } from '../../src/metadata/etcd/kv.ts';
import { ImageBuilder } from '../../src/metadata/image-builder.ts';
import type { ClusterImage, Commit, MetadataChange } from '../../src/metadata/metadata-store.ts';
import { crc32c } from '../support/load/batches.ts';
import type { SimEtcd } from '../support/sim-etcd.ts';
import { ShadowMetadata } from './shadow-metadata.ts';
import type { SimBucket } from './sim-store.ts';
import type { SimWorld } from './world.ts';

export class EtcdShadow extends ShadowMetadata {
  readonly #etcd: SimEtcd;
  readonly #layout: EtcdLayout;
  /** By revision, the first at 0. */
  readonly #commits: Commit[] = [];
  /** Revision up to which the bucket's journal holds the log. */
  #held = 0;
  #active = false;
  /** As the bucket alone says. */
  readonly #journaled = new ImageBuilder();

  constructor(world: SimWorld, bucket: SimBucket, etcd: SimEtcd, prefix: string) {
    super(world, bucket);
    this.#etcd = etcd;
    this.#layout = new EtcdLayout(prefix);
    etcd.onChange = (events) => {
      for (const event of events) if (event.type === 'put') this.#onPut(event.entry);
    };
  }

  /** Revision of the newest commit, and of the newest that the bucket has. */
  get revision(): number {
    return this.#commits.length;
  }

  get held(): number {
    return this.#held;
  }

  protected override get images(): readonly ClusterImage[] {
    return [this.image, this.#journaled.image];
  }

  /** What the bucket's journal does not hold yet. */
  get unheld(): MetadataChange[] {
    return this.#commits.slice(this.#held).flatMap(({ changes }) => changes);
  }

  #onPut({ key, value }: EtcdEntry): void {
    const { authority, logPrefix, journal } = this.#layout;
    if (key === authority) this.#active = decodeAuthority(value).state === 'active';
    else if (key === journal) this.#checkTold(decodeRevision(value, key));
    else if (key.startsWith(logPrefix)) this.#onEntry(key, value);
  }

  #checkTold(revision: number): void {
    if (revision > this.#held)
      this.world.fail(`the journal is said to hold revision ${revision}, and holds ${this.#held}`);
  }

  #onEntry(key: string, value: Buffer): void {
    const first = this.#layout.revisionOf(key);
    if (first !== this.revision + 1) {
      this.world.fail(`revision ${first} was committed behind ${this.revision}`);
      return;
    }
    for (const commit of decodeEntry(this.#payload(key, value))) {
      this.#commits.push(commit);
      this.apply(commit, `revision ${this.revision}`);
    }
  }

  #payload(key: string, value: Buffer): Buffer {
    const found = decodeLogValue(value, key);
    if (found.payload !== null) return found.payload;
    const prefix = this.#layout.chunk(this.#layout.revisionOf(key), found.chunks!.nonce, 0).slice(0, -4);
    const { entries } = this.#etcd.range({ key: prefix, end: prefixEnd(prefix) });
    return checkedPayload(crc32c, key, found, Buffer.concat(entries.map((entry) => entry.value)));
  }

  protected override journaled(commit: Commit, where: string): void {
    this.#held++;
    this.#journaled.apply(commit.changes);
    // The birth of a cluster is in the bucket first; etcd's log goes on behind it.
    if (!this.#active) {
      this.#commits.push(commit);
      this.apply(commit, where);
      return;
    }
    if (this.#held > this.revision)
      this.world.fail(`${where}: revision ${this.#held} is in the bucket and not in etcd`);
    else if (!isDeepStrictEqual(commit, this.#commits[this.#held - 1]))
      this.world.fail(`${where}: revision ${this.#held} is not what etcd has`);
  }
}
