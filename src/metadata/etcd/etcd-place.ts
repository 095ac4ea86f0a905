/**
 * What lies in an etcd before it becomes the authority, while it is made so, and after it was: the steps that a restore and a move
 * have in common. Each may be repeated after a crash, by anybody. Main thread.
 *
 *   nothing ──► preparing ──► (the bucket's journal names the incarnation) ──► active ──► moved
 *                  no broker follows it                                        brokers  no broker follows it, for good
 */
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Random } from '../../ports/random.ts';
import { pauseMs, sleep } from '../../store/sequenced-entries.ts';
import type { ClusterImage } from '../metadata-store.ts';
import {
  type AuthorityRecord,
  decodeAuthority,
  decodeRevision,
  EtcdLayout,
  encodeAuthority,
  encodeRevision,
  nonceBytes,
} from './etcd-layout.ts';
import { isUnanswered } from './etcd-log.ts';
import { type EtcdKv, prefixEnd } from './kv.ts';

export interface EtcdPlaceOptions {
  readonly kv: EtcdKv;
  /** Of all keys, without a '/' at its end. */
  readonly prefix: string;
  /** For people: the etcd's URL. */
  readonly location: string;
  readonly clock: Clock;
  readonly random: Random;
}

/** As of one revision of etcd. */
export interface PlaceState {
  readonly record: AuthorityRecord | null;
  /** Revision of the newest commit, and etcd's own revision at which that was put; 0 = there is none. */
  readonly head: number;
  readonly headPutAt: number;
  /** Revision that the bucket's journal is said to hold. */
  readonly journal: number;
  /** Node ids whose lease is in force. */
  readonly members: readonly number[];
  /** Whether any key is there. */
  readonly empty: boolean;
}

const attemptsMax = 5;

export class EtcdPlace {
  readonly #options: EtcdPlaceOptions;
  readonly layout: EtcdLayout;

  constructor(options: EtcdPlaceOptions) {
    this.#options = options;
    this.layout = new EtcdLayout(options.prefix);
  }

  get location(): string {
    return this.#options.location;
  }

  async look(): Promise<PlaceState> {
    const { authority, head, journal, membersPrefix, prefix, leader } = this.layout;
    const { results } = await this.#answered((kv) =>
      kv.txn({
        success: [
          ...[authority, head, journal].map((key) => ({ type: 'range', key }) as const),
          { type: 'range', key: membersPrefix, end: prefixEnd(membersPrefix) },
          { type: 'range', key: `${prefix}/`, end: prefixEnd(`${prefix}/`), limit: 1 },
        ],
      }),
    );
    const [records = [], heads = [], journals = [], members = [], all = []] = results.map((each) =>
      each.type === 'range' ? each.entries : [],
    );
    const revisionOf = (entry: (typeof heads)[number] | undefined, key: string): number =>
      entry === undefined ? 0 : decodeRevision(entry.value, key);
    return {
      record: records[0] === undefined ? null : decodeAuthority(records[0].value),
      head: revisionOf(heads[0], head),
      headPutAt: heads[0]?.modRevision ?? 0,
      journal: revisionOf(journals[0], journal),
      members: members
        .filter(({ key }) => key !== leader)
        .map(({ key }) => Number(key.slice(membersPrefix.length)))
        .sort((a, b) => a - b),
      empty: all.length === 0,
    };
  }

  /**
   * Makes it the cluster's to be: nobody follows it yet, and nobody else makes it theirs. Whoever comes second goes on with what the
   * first has begun.
   * @param over the record of an authority that ended here for good, whose keys go.
   * @returns the incarnation that the bucket is to name.
   */
  async prepare(clusterId: string, over: AuthorityRecord | null): Promise<string> {
    const { random } = this.#options;
    const { layout } = this;
    const incarnation = Buffer.from(random.bytes(new Uint8Array(nonceBytes))).toString('hex');
    const value = encodeAuthority({ state: 'preparing', incarnation, clusterId, to: '' });
    const key = layout.authority;
    await this.#answered((kv) =>
      kv.txn(
        over === null
          ? {
              compare: [{ key, target: 'create', is: '=', value: 0 }],
              success: [{ type: 'put', key, value }],
            }
          : {
              compare: [{ key, target: 'value', is: '=', value: encodeAuthority(over) }],
              success: [
                { type: 'put', key, value },
                ...[layout.head, layout.journal].map((gone) => ({ type: 'delete', key: gone }) as const),
                ...[layout.logPrefix, layout.chunkPrefix].map(
                  (prefix) => ({ type: 'delete', key: prefix, end: prefixEnd(prefix) }) as const,
                ),
              ],
            },
      ),
    );
    const { record } = await this.look();
    if (record?.state === 'preparing' && record.clusterId === clusterId) return record.incarnation;
    throw refusedPlace(`${this.location} was taken meanwhile`);
  }

  /** Lets brokers commit on top of what the bucket holds, which names the incarnation that is being prepared. */
  async activate(image: ClusterImage): Promise<void> {
    await this.#answered((kv) => activate(kv, this.layout, image));
    const { record } = await this.look();
    if (record?.state === 'active' && record.incarnation === image.authority.incarnation) return;
    throw new MillraceError(
      'unavailable',
      'METADATA_UNSETTLED',
      `${this.location} does not keep what is put there`,
    );
  }

  /**
   * Ends the authority for good, if nothing was committed since `seen`, and no commit on its way comes behind that. Says whether
   * it is ended.
   */
  async end(seen: PlaceState, to: string): Promise<boolean> {
    const { authority, head } = this.layout;
    const record = seen.record!;
    const moved = encodeAuthority({ ...record, state: 'moved', to });
    await this.#answered((kv) =>
      kv.txn({
        compare: [
          { key: authority, target: 'value', is: '=', value: encodeAuthority(record) },
          { key: head, target: 'mod', is: '=', value: seen.headPutAt },
        ],
        success: [
          { type: 'put', key: authority, value: moved },
          // An append compares when head was put: one that is on its way finds it changed.
          { type: 'put', key: head, value: encodeRevision(seen.head) },
        ],
      }),
    );
    const now = await this.look();
    return now.record?.state === 'moved' && now.record.incarnation === record.incarnation;
  }

  /** What is asked may be asked again: each transaction compares what it changes. */
  async #answered<T>(ask: (kv: EtcdKv) => Promise<T>): Promise<T> {
    const { kv, clock, random } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await ask(kv);
      } catch (error) {
        if (!isUnanswered(error) || attempt === attemptsMax) throw error;
        await sleep(clock, pauseMs(attempt, random));
      }
    }
  }
}

/** If the place is still being prepared for what the image names; else nothing is done. */
export async function activate(kv: EtcdKv, layout: EtcdLayout, image: ClusterImage): Promise<void> {
  const { authority, clusterId, revision } = image;
  const { incarnation } = authority;
  const active = encodeAuthority({ state: 'active', incarnation, clusterId, to: '' });
  const value = encodeRevision(revision);
  // At its birth a cluster has no id yet.
  for (const preparedFor of ['', clusterId]) {
    const preparing = encodeAuthority({ state: 'preparing', incarnation, clusterId: preparedFor, to: '' });
    const { succeeded } = await kv.txn({
      compare: [{ key: layout.authority, target: 'value', is: '=', value: preparing }],
      success: [
        { type: 'put', key: layout.authority, value: active },
        { type: 'put', key: layout.head, value },
        { type: 'put', key: layout.journal, value },
      ],
    });
    if (succeeded) return;
  }
}

export function refusedPlace(what: string): MillraceError {
  return new MillraceError('invalid', 'METADATA_PRESENT', what);
}
