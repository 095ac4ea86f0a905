/**
 * What a broker relies on in an object store, one probe each: what is tried, and what it means when it is not so. A probe
 * answers with what it saw; it throws, or answers with a verdict, when that is not what a store must do. Each writes below
 * the examination's own prefix only.
 */
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { hasCode } from '../store/store-errors.ts';

export interface ProbeContext {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  /** With '/' at its end. */
  readonly prefix: string;
  readonly partBytes: number;
}

export interface ProbeVerdict {
  readonly verdict: 'warning' | 'missing';
  readonly found: string;
  readonly means: string;
}

export interface Probe {
  readonly check: string;
  /** What a broker would suffer. */
  readonly missing: string;
  /** Without this one the others are not tried. */
  readonly needed?: boolean;
  run(context: ProbeContext): Promise<string | ProbeVerdict>;
}

const racers = 8;
const races = 3;
/** Twice what a broker asks of clocks at the most, and a third of where S3 refuses signatures. */
const skewMsMax = 5 * 60_000;
const skewMsWarning = 5_000;

function expect(condition: boolean, seen: string): asserts condition {
  if (!condition) throw new Error(seen);
}

async function outcomeOf(call: Promise<unknown>): Promise<'done' | 'exists' | unknown> {
  return call.then(
    () => 'done',
    (error: unknown) => (hasCode(error, 'STORE_EXISTS') ? 'exists' : error),
  );
}

async function is(store: ObjectStore, key: string, expected: Buffer, what: string): Promise<void> {
  const found = await store.get(key);
  expect(
    found.equals(expected),
    `${what}: ${found.length} bytes came back and differ from the ${expected.length} put`,
  );
}

export const probes: readonly Probe[] = [
  {
    check: 'reachable, credentials accepted, may list',
    missing: 'Nothing works without it.',
    needed: true,
    async run({ store, clock, prefix }) {
      const start = clock.monotonic();
      await store.list(prefix, { limit: 1 });
      return `answered in ${(clock.monotonic() - start).toFixed(1)} ms`;
    },
  },
  {
    check: 'writes, and reads what was written at once',
    missing: 'Consumers would miss or misread acknowledged records.',
    needed: true,
    async run({ store, random, prefix }) {
      const [key, body] = [`${prefix}write`, Buffer.from(random.bytes(new Uint8Array(100_000)))];
      // In pieces, as batches are sent; with S3 each carries a CRC-32C that the server has to accept.
      await store.put(key, [body.subarray(0, 70_000), body.subarray(70_000)]);
      await is(store, key, body, 'read after write');
      const info = await store.head(key);
      expect(info?.size === body.length, `head says ${info?.size ?? 'that it is not there'}`);
      const second = body.subarray(0, 10);
      await store.put(key, [second]);
      await is(store, key, second, 'read after overwrite');
      return 'also after an overwrite; checksums are accepted';
    },
  },
  {
    check: 'says that an object is not there',
    missing: 'A broker could not tell an empty store from a broken one.',
    async run({ store, prefix }) {
      const found = await outcomeOf(store.get(`${prefix}nothing`));
      expect(hasCode(found, 'STORE_NOT_FOUND'), `reading a missing key: ${String(found)}`);
      expect((await store.head(`${prefix}nothing`)) === null, 'head of a missing key finds something');
      return 'missing keys are told apart from errors';
    },
  },
  {
    check: 'creates only if absent',
    missing:
      'Two brokers could both own the cluster and acknowledge records that one of them loses: do not use this store.',
    async run({ store, prefix }) {
      const key = `${prefix}once`;
      await store.put(key, [Buffer.from('first')], { ifAbsent: true });
      const second = await outcomeOf(store.put(key, [Buffer.from('second')], { ifAbsent: true }));
      expect(
        second === 'exists',
        `a second creation of one key: ${second === 'done' ? 'accepted' : String(second)}`,
      );
      await is(store, key, Buffer.from('first'), 'after a refused creation');
      return 'a second creation is refused and changes nothing';
    },
  },
  {
    check: 'lets exactly one of several racing writers create',
    missing:
      'Two brokers could both own the cluster and acknowledge records that one of them loses: do not use this store.',
    async run({ store, prefix }) {
      for (let race = 0; race < races; race++) {
        const key = `${prefix}race-${race}`;
        const outcomes = await Promise.all(
          Array.from({ length: racers }, (_, i) =>
            outcomeOf(store.put(key, [Buffer.from(`writer ${i}`)], { ifAbsent: true })),
          ),
        );
        const winners = outcomes.flatMap((outcome, i) => (outcome === 'done' ? [i] : []));
        expect(winners.length === 1, `${winners.length} of ${racers} racing writers were told that they won`);
        await is(store, key, Buffer.from(`writer ${winners[0]}`), 'what the winner wrote');
      }
      return `${races} races of ${racers}: one winner each, whose bytes are there`;
    },
  },
  {
    check: 'lists what was written at once, in order, page by page',
    missing:
      'Recovery could overlook the newest entries, and the sweep could not see what it should clean up.',
    async run({ store, prefix }) {
      const keys = ['a-b', 'a.b', 'a/1', 'a/2', 'b'].map((name) => `${prefix}list/${name}`);
      for (const key of [...keys].reverse()) await store.put(key, [Buffer.from('x')]);
      const expected = [...keys].sort().join(' ');
      const listed = async (options?: { after?: string; limit?: number }): Promise<string[]> =>
        (await store.list(`${prefix}list/`, options)).map(({ key }) => key);
      const all = await listed();
      expect(
        all.join(' ') === expected,
        `${all.length} of ${keys.length} new keys are listed, or out of order`,
      );
      const first = await listed({ limit: 2 });
      const paged = [...first, ...(await listed({ after: first.at(-1) ?? '' }))];
      expect(paged.join(' ') === expected, 'pages leave keys out or repeat them');
      await store.delete([keys[0]!]);
      expect(!(await listed()).includes(keys[0]!), 'a deleted key is still listed');
      return `${keys.length} keys, at once and in two pages; gone from the list once deleted`;
    },
  },
  {
    check: 'reads ranges',
    missing: 'Consumers of older records would be given the wrong bytes.',
    async run({ store, random, prefix }) {
      const [key, body] = [`${prefix}ranged`, Buffer.from(random.bytes(new Uint8Array(300_000)))];
      await store.put(key, [body]);
      for (const [start, end] of [
        [0, 1],
        [100_000, 200_001],
        [299_000, 300_000],
        [299_999, 400_000],
      ] as const) {
        const range = await store.get(key, { start, end });
        expect(
          range.equals(body.subarray(start, end)),
          `bytes ${start}..${end}: ${range.length} came, or others`,
        );
      }
      const into = Buffer.alloc(1000);
      const length = await store.getInto(key, 5_000, into);
      expect(
        length === 1000 && into.equals(body.subarray(5_000, 6_000)),
        'a range into given memory differs',
      );
      return 'start, middle, end and beyond';
    },
  },
  {
    check: 'deletes many at once, and what was deleted is gone',
    missing: 'Storage would grow without end, or deleted records come back.',
    async run({ store, prefix }) {
      const keys = Array.from({ length: 20 }, (_, i) => `${prefix}gone/${i}`);
      await Promise.all(keys.map((key) => store.put(key, [Buffer.from('x')])));
      await store.delete([...keys, `${prefix}gone/never`]);
      for (const key of [keys[0]!, keys.at(-1)!])
        expect((await store.head(key)) === null, `${key} is still there after its deletion`);
      expect((await store.list(`${prefix}gone/`)).length === 0, 'deleted keys are still listed');
      await store.put(keys[0]!, [Buffer.from('again')], { ifAbsent: true });
      return '20 keys and one that was never there';
    },
  },
  {
    check: 'uploads in parts',
    missing: 'Objects above 64 MiB cannot be stored.',
    async run({ store, random, prefix, partBytes }) {
      const key = `${prefix}parts`;
      const parts = [partBytes, partBytes, 1000].map((size) =>
        Buffer.from(random.bytes(new Uint8Array(size))),
      );
      const upload = await store.multipart(key);
      await Promise.all(parts.map((part, i) => upload.uploadPart(i + 1, [part])));
      expect((await store.head(key)) === null, 'the object is there before it is complete');
      await upload.complete();
      await is(store, key, Buffer.concat(parts), 'an object of three parts');
      return 'three parts side by side; whole or not there';
    },
  },
  {
    check: 'takes parts of different sizes',
    missing: 'Compaction would fail, and the number of objects grow: set s3.parts=equal.',
    async run({ store, random, prefix, partBytes }) {
      if (store.partRule !== undefined && store.partRule !== 'any')
        return `not needed with s3.parts=${store.partRule}: all but the last have one size`;
      const key = `${prefix}unequal`;
      const parts = [partBytes, partBytes + 4_097, partBytes + 1, 1_000].map((size) =>
        Buffer.from(random.bytes(new Uint8Array(size))),
      );
      const upload = await store.multipart(key);
      for (const [i, part] of parts.entries()) await upload.uploadPart(i + 1, [part]);
      await upload.complete();
      await is(store, key, Buffer.concat(parts), 'an object of unequal parts');
      return 'four parts of four sizes';
    },
  },
  {
    check: 'copies a range inside the store',
    missing:
      'Compaction would fail, and the number of objects grow: set s3.parts=written, and expect it to download what it merges.',
    async run({ store, random, prefix, partBytes }) {
      if (store.partRule === 'written')
        return 'not needed with s3.parts=written: merged objects are written anew';
      const source = Buffer.from(random.bytes(new Uint8Array(partBytes + 5_000)));
      await store.put(`${prefix}copy-from`, [source]);
      const upload = await store.multipart(`${prefix}copied`);
      await upload.copyPart(1, `${prefix}copy-from`, 1_000, 1_000 + partBytes);
      await upload.uploadPart(2, [source.subarray(0, 10)]);
      await upload.complete();
      const expected = Buffer.concat([source.subarray(1_000, 1_000 + partBytes), source.subarray(0, 10)]);
      await is(store, `${prefix}copied`, expected, 'an object with a copied range');
      return 'a copied range followed by an uploaded one';
    },
  },
  {
    check: 'lists and ends unfinished uploads',
    missing:
      'Parts of uploads that a crash cut short stay, and cost, until a rule of the bucket removes them: set one.',
    async run({ store, prefix, partBytes }) {
      const key = `${prefix}unfinished`;
      const upload = await store.multipart(key);
      await upload.uploadPart(1, [Buffer.alloc(partBytes, 1)]);
      const ofKey = async (place: string) =>
        (await store.listUploads(place)).filter((found) => found.key === key);
      const byPrefix = await ofKey(prefix);
      const listed = byPrefix.length > 0 ? byPrefix : await ofKey(key);
      expect(listed.length > 0, 'an upload under way is not listed');
      for (const found of listed) await store.abortUpload(found);
      await upload.abort();
      expect((await ofKey(key)).length === 0, 'an ended upload is still listed');
      expect((await store.head(key)) === null, 'an ended upload left an object');
      if (byPrefix.length === 0) {
        const found = 'an upload under way is listed when its whole key is asked for, and not below a prefix';
        const means =
          'Uploads that a crash cut short are not found: set a rule of the bucket that ends them after a few days.';
        return { verdict: 'warning', found, means };
      }
      return 'listed while under way, gone once ended';
    },
  },
  {
    check: 'clocks agree',
    missing: 'Ages of objects cannot be told: nothing would be swept, or too early.',
    async run({ store, clock, prefix }) {
      const before = clock.now();
      await store.put(`${prefix}clock`, [Buffer.from('x')]);
      const after = clock.now();
      const stored = (await store.head(`${prefix}clock`))?.modifiedMs ?? Number.NaN;
      expect(stored > 0, 'the store tells no time of change');
      // Stores tell whole seconds; between the two looks here any time is right.
      const skewMs = stored < before ? Math.min(0, stored + 999 - before) : Math.max(0, stored - after);
      const found = `the store's clock is ${Math.abs(skewMs / 1000).toFixed(1)} s ${skewMs < 0 ? 'behind' : 'ahead of'} this one`;
      if (Math.abs(skewMs) > skewMsMax) {
        const means =
          'S3 refuses requests beyond 15 minutes, and ages of objects are misjudged: set the clock right.';
        return { verdict: 'missing', found, means };
      }
      if (Math.abs(skewMs) <= skewMsWarning) return skewMs === 0 ? 'no difference that can be told' : found;
      return { verdict: 'warning', found, means: 'Run a time service on this machine.' };
    },
  },
];
