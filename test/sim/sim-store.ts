/**
 * A simulated bucket, and the door through which one life reaches it. A request is sent, takes effect, and is answered, each
 * at its own time; what goes wrong in between is decided by the bucket's mood:
 *
 *   calm       answers in 5–40 ms
 *   slow       twenty times that
 *   throttled  most requests get 503 SlowDown and have no effect
 *   flaky      requests are lost, answers are lost, or the effect comes after the caller gave up, up to a minute later
 *   away       nothing gets through: every request times out
 *   stale      listings show the bucket as it was some seconds ago
 *
 * What was on its way when a process died may still land. Bodies must not change until they were taken, which is checked.
 */
import type {
  MultipartUpload,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  UnfinishedUpload,
} from '../../src/store/object-store.ts';
import { alreadyExists, checkKey, notFound, throttled, unavailable } from '../../src/store/store-errors.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { Life, SimWorld } from './world.ts';

export const moods = ['calm', 'slow', 'throttled', 'flaky', 'away', 'stale'] as const;
export type Mood = (typeof moods)[number];

export interface StoredObject {
  readonly data: Buffer;
  readonly modifiedMs: number;
}

interface Upload {
  readonly key: string;
  readonly startedMs: number;
  readonly parts: Map<number, Buffer>;
}

interface RecentChange {
  readonly time: number;
  readonly key: string;
  readonly before: StoredObject | undefined;
}

const stalenessMs = 5_000;
const timeoutMs = 5_000;

export class SimBucket {
  readonly world: SimWorld;
  readonly random: SeededRandom;
  readonly objects = new Map<string, StoredObject>();
  readonly uploads = new Map<string, Upload>();
  mood: Mood = 'calm';
  requests = 0;
  /** Told of what has just taken effect. */
  onPut: (key: string, data: Buffer) => void = () => {};
  /** Told of what is about to be deleted. */
  onDelete: (key: string) => void = () => {};
  #recent: RecentChange[] = [];
  #uploadNumber = 0;

  constructor(world: SimWorld, random: SeededRandom) {
    this.world = world;
    this.random = random;
  }

  set(key: string, data: Buffer): void {
    this.#note(key);
    this.objects.set(key, { data, modifiedMs: this.world.wall() });
    this.onPut(key, data);
  }

  remove(key: string): void {
    if (!this.objects.has(key)) return;
    this.onDelete(key);
    this.#note(key);
    this.objects.delete(key);
  }

  /** Turns over one bit of a WAL's entry that was stored so long ago; null when there is none. */
  flipOldWal(ageMs: number): { readonly place: string; restore(): void } | null {
    const isOld = ([key, { modifiedMs }]: [string, StoredObject]): boolean =>
      /^wal\/[^/]+\/\d+$/.test(key) && modifiedMs <= this.world.wall() - ageMs;
    const old = [...this.objects].filter(isOld);
    if (old.length === 0) return null;
    const [key, { data }] = this.random.pick(old);
    const position = this.random.below(data.length);
    const bit = 1 << this.random.below(8);
    data[position]! ^= bit;
    return {
      place: `${key} at ${position}`,
      restore: () => {
        data[position]! ^= bit;
      },
    };
  }

  /** The bucket of a WAL is gone, by no request of a broker. */
  loseWal(logId: string): void {
    for (const key of [...this.objects.keys()]) if (key.startsWith(`wal/${logId}/`)) this.objects.delete(key);
  }

  newUploadId(): string {
    return `upload-${++this.#uploadNumber}`;
  }

  #note(key: string): void {
    const { time } = this.world;
    this.#recent.push({ time, key, before: this.objects.get(key) });
    if (this.#recent.length > 200)
      this.#recent = this.#recent.filter((change) => change.time > time - stalenessMs);
  }

  /** The bucket's keys, as of now or of some time ago. */
  keys(agoMs: number): Map<string, StoredObject> {
    if (agoMs === 0) return this.objects;
    const view = new Map(this.objects);
    for (let i = this.#recent.length - 1; i >= 0 && this.#recent[i]!.time > this.world.time - agoMs; i--) {
      const { key, before } = this.#recent[i]!;
      if (before === undefined) view.delete(key);
      else view.set(key, before);
    }
    return view;
  }
}

/** Stored and deleted at once by a start that waits for the silence of a WAL's owner. */
function isQuestion(key: string): boolean {
  return /^wal\/[^/]+\/starter-/.test(key);
}

type Fate = 'answered' | 'lost' | 'answer lost' | 'late' | 'twice' | 'throttled';

export class SimStore implements ObjectStore {
  readonly url = 'memory:simulated';
  readonly bucket: SimBucket;
  readonly life: Life;
  /** For tests of the simulator itself and for reading without faults. */
  readonly perfect: boolean;
  /** The effect under way comes after its answer: the caller may have changed the body. */
  #answered = false;
  /** Nothing of this life gets through. */
  cut = false;
  /** Puts and deletes asked for; those by which a starter asks the store for its time do not count. */
  puts = 0;

  constructor(bucket: SimBucket, life: Life, perfect = false) {
    this.bucket = bucket;
    this.life = life;
    this.perfect = perfect;
  }

  put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    checkKey(key);
    if (!isQuestion(key)) this.puts++;
    const data = Buffer.concat(body);
    return this.#request(`put ${key}`, data.length, () => {
      if (!this.#answered) this.#unchanged(key, body, data);
      if (options?.ifAbsent === true && this.bucket.objects.has(key)) throw alreadyExists(key);
      this.bucket.set(key, data);
    });
  }

  async multipart(key: string): Promise<MultipartUpload> {
    checkKey(key);
    const { bucket } = this;
    const uploadId = await this.#request(`multipart ${key}`, 0, () => {
      const id = bucket.newUploadId();
      bucket.uploads.set(id, { key, startedMs: bucket.world.wall(), parts: new Map() });
      return id;
    });
    const open = (): Upload => {
      const upload = bucket.uploads.get(uploadId);
      if (upload === undefined) throw unavailable(`upload of ${key}`, 'NoSuchUpload');
      return upload;
    };
    return {
      uploadPart: (number, body) => {
        const data = Buffer.concat(body);
        return this.#request(`part ${number} of ${key}`, data.length, () => {
          if (!this.#answered) this.#unchanged(key, body, data);
          open().parts.set(number, data);
        });
      },
      copyPart: (number, sourceKey, start, end) =>
        this.#request(`copy part ${number} of ${key}`, 0, () => {
          const source = bucket.objects.get(sourceKey);
          if (source === undefined) throw notFound(sourceKey);
          open().parts.set(number, Buffer.from(source.data.subarray(start, end)));
        }),
      complete: () =>
        this.#request(`complete ${key}`, 0, () => {
          const { parts } = open();
          bucket.uploads.delete(uploadId);
          const numbers = [...parts.keys()].sort((a, b) => a - b);
          bucket.set(key, Buffer.concat(numbers.map((number) => parts.get(number)!)));
        }),
      abort: () => this.#request(`abort ${key}`, 0, () => void bucket.uploads.delete(uploadId)),
    };
  }

  get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    checkKey(key);
    return this.#request(`get ${key}`, 0, () => {
      const found = this.bucket.objects.get(key);
      if (found === undefined) throw notFound(key);
      return Buffer.from(range === undefined ? found.data : found.data.subarray(range.start, range.end));
    });
  }

  async getInto(key: string, start: number, into: Uint8Array): Promise<number> {
    const bytes = await this.get(key, { start, end: start + into.length });
    into.set(bytes);
    return bytes.length;
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.#request(`head ${key}`, 0, () => {
      const found = this.bucket.objects.get(key);
      return found === undefined ? null : { key, size: found.data.length, modifiedMs: found.modifiedMs };
    });
  }

  list(
    prefix: string,
    options: { readonly after?: string; readonly limit?: number } = {},
  ): Promise<ObjectInfo[]> {
    return this.#request(`list ${prefix}`, 0, () => {
      const stale = this.bucket.mood === 'stale' && !this.perfect;
      const view = this.bucket.keys(stale ? 1 + this.bucket.random.below(stalenessMs) : 0);
      const after = options.after ?? '';
      return [...view.keys()]
        .filter((key) => key.startsWith(prefix) && key > after)
        .sort()
        .slice(0, options.limit ?? 1000)
        .map((key) => ({ key, size: view.get(key)!.data.length, modifiedMs: view.get(key)!.modifiedMs }));
    });
  }

  delete(keys: readonly string[]): Promise<void> {
    const wanted = [...keys];
    if (!wanted.every(isQuestion)) this.puts++;
    return this.#request(`delete ${wanted.join(' ')}`, 0, () => {
      for (const key of wanted) this.bucket.remove(key);
    });
  }

  listUploads(
    prefix: string,
    options: { readonly after?: string; readonly limit?: number } = {},
  ): Promise<UnfinishedUpload[]> {
    return this.#request(`list uploads ${prefix}`, 0, () =>
      [...this.bucket.uploads]
        .map(([uploadId, { key, startedMs }]) => ({ key, uploadId, startedMs }))
        .filter((each) => each.key.startsWith(prefix) && each.key > (options.after ?? ''))
        .sort((a, b) => (a.key < b.key ? -1 : 1))
        .slice(0, options.limit ?? 1000),
    );
  }

  abortUpload(upload: UnfinishedUpload): Promise<void> {
    return this.#request(`abort ${upload.key}`, 0, () => void this.bucket.uploads.delete(upload.uploadId));
  }

  async close(): Promise<void> {}

  #unchanged(key: string, body: readonly Uint8Array[], data: Buffer): void {
    if (this.life.dead) return;
    let at = 0;
    for (const part of body) {
      if (data.compare(part, 0, part.length, at, at + part.length) !== 0) {
        this.bucket.world.fail(`the body of ${key} was changed while it was being sent`);
        return;
      }
      at += part.length;
    }
  }

  #fate(): Fate {
    const { mood, random } = this.bucket;
    if (this.perfect) return 'answered';
    if (this.cut) return 'lost';
    switch (mood) {
      case 'away':
        return 'lost';
      case 'throttled':
        return random.chance(0.8) ? 'throttled' : 'answered';
      case 'flaky':
        return random.chance(0.6)
          ? 'answered'
          : random.pick(['lost', 'answer lost', 'late', 'twice', 'throttled'] as const);
      default:
        return 'answered';
    }
  }

  #request<T>(what: string, bytes: number, effect: () => T): Promise<T> {
    const { bucket, life } = this;
    const { world, random, mood } = bucket;
    return new Promise((resolve, reject) => {
      if (!this.perfect && !life.boundary(`store ${what.slice(0, 3)}`)) return;
      const fate = this.#fate();
      bucket.requests++;
      const unit = this.perfect
        ? 0.01
        : (mood === 'slow' ? 20 : 1) * (2 + random.below(18) + bytes / 100_000);
      const landsAnyway = random.chance(0.5);
      const answer = (delay: number, act: () => void): void => {
        world.after(
          delay,
          () => {
            if (this.perfect || life.boundary('store answer')) act();
          },
          life,
        );
      };
      const act = (then: (outcome: { value: T } | { error: unknown }) => void, again = false): void => {
        if (life.dead && !landsAnyway) return;
        this.#answered = again;
        let outcome: { value: T } | { error: unknown };
        try {
          outcome = { value: effect() };
        } catch (error) {
          outcome = { error };
        }
        if (!this.perfect)
          world.trace(
            `${life.name} ${what}: ${fate}${'error' in outcome ? ` ${(outcome.error as Error).message}` : ''}`,
          );
        then(outcome);
      };
      const settle = (outcome: { value: T } | { error: unknown }): void => {
        if ('error' in outcome) reject(outcome.error);
        else resolve(outcome.value);
      };
      switch (fate) {
        case 'answered':
        case 'twice':
          world.after(unit, () => act((outcome) => answer(unit, () => settle(outcome))));
          if (fate === 'twice') world.after(unit + random.below(30_000), () => act(() => {}, true));
          return;
        case 'lost':
          world.trace(`${life.name} ${what}: lost`);
          answer(timeoutMs, () => reject(unavailable(what, 'simulated: timed out')));
          return;
        case 'throttled':
          answer(unit, () => reject(throttled(what, 'simulated: SlowDown')));
          return;
        case 'answer lost':
          world.after(unit, () => act(() => {}));
          answer(timeoutMs, () => reject(unavailable(what, 'simulated: answer lost')));
          return;
        case 'late':
          answer(timeoutMs, () => reject(unavailable(what, 'simulated: timed out')));
          // Reading late changes nothing.
          if (/^(put|part|complete|delete|multipart)/.test(what)) this.#late(what, effect, landsAnyway);
          return;
      }
    });
  }

  /** The network held the request back for longer than the caller waited. */
  #late<T>(what: string, effect: () => T, landsAnyway: boolean): void {
    const { bucket, life } = this;
    bucket.world.after(timeoutMs + bucket.random.below(60_000), () => {
      if (life.dead && !landsAnyway) return;
      this.#answered = true;
      try {
        effect();
        bucket.world.trace(`${life.name} ${what}: took effect late`);
      } catch {
        // Nobody waits for the answer.
      }
    });
  }
}
