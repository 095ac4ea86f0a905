/**
 * Records as people have them: the flights, weather and movies sets of the vega-datasets package, one row a record,
 * keyed, with headers; the neutral file that client programs read and write; and equality of what went in and came out.
 *
 * A line of the file, base64 throughout, "-" for null, partition and offset only where a consumer says them:
 *
 *   key TAB value TAB name=value,name=value TAB partition TAB offset
 *
 * Limit: records are held in memory; the sets here have at most some 25,000 rows.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface ClientRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[];
  readonly partition?: number;
  readonly offset?: number;
}

export const dataSets = ['flights', 'weather', 'movies'] as const;
export type DataSet = (typeof dataSets)[number];
type Row = Readonly<Record<string, string | number | null>>;

const dataDirectory = new URL('../data/', import.meta.resolve('vega-datasets'));

function text(file: string): string {
  return readFileSync(new URL(file, dataDirectory), 'utf8');
}

function csv(file: string): Row[] {
  const [head, ...lines] = text(file).trimEnd().split('\n');
  const names = head!.split(',');
  return lines.map((line) => Object.fromEntries(line.split(',').map((cell, at) => [names[at]!, cell])));
}

function record(set: DataSet, key: string, row: Row, at: number, more: [string, string][]): ClientRecord {
  const headers = [['set', set], ['row', String(at)], ...more].map(
    ([name, value]) => [name!, Buffer.from(value!)] as const,
  );
  return { key: Buffer.from(key), value: Buffer.from(JSON.stringify(row)), headers };
}

/** All rows of a set in the set's order. `rows` bounds their number. */
export function realRecords(set: DataSet, rows = Number.POSITIVE_INFINITY): ClientRecord[] {
  if (set === 'flights') {
    const flights = JSON.parse(text(rows > 2_000 ? 'flights-20k.json' : 'flights-2k.json')) as Row[];
    return flights
      .slice(0, rows)
      .map((row, at) => record(set, `${row.origin}-${row.destination}`, row, at, []));
  }
  if (set === 'weather') {
    return csv('weather.csv')
      .slice(0, rows)
      .map((row, at) => {
        const key = `${row.location} ${String(row.date).slice(0, 7)}`;
        return record(set, key, row, at, [['sky', String(row.weather)]]);
      });
  }
  const movies = JSON.parse(text('movies.json')) as Row[];
  return movies.slice(0, rows).map((row, at) => {
    const genre = row['Major Genre'];
    return record(
      set,
      `${row.Distributor ?? 'no distributor'}`,
      row,
      at,
      genre == null ? [] : [['genre', `${genre}`]],
    );
  });
}

function field(bytes: Buffer | null): string {
  return bytes === null ? '-' : bytes.toString('base64');
}

function bytes(text: string | undefined): Buffer | null {
  return text === undefined || text === '-' ? null : Buffer.from(text, 'base64');
}

export function formatRecords(records: readonly ClientRecord[]): string {
  const lines = records.map(({ key, value, headers }) => {
    const named = headers.map(([name, bytes]) => `${field(Buffer.from(name))}=${field(bytes)}`).join(',');
    return `${field(key)}\t${field(value)}\t${named}\n`;
  });
  return lines.join('');
}

export function parseRecords(text: string): ClientRecord[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [key, value, named, partition, offset] = line.split('\t');
      const headers = (named ?? '')
        .split(',')
        .filter((pair) => pair !== '')
        .map(headerOf);
      return {
        key: bytes(key),
        value: bytes(value),
        headers,
        ...(partition === undefined ? {} : { partition: Number(partition) }),
        ...(offset === undefined ? {} : { offset: Number(offset) }),
      };
    });
}

/** Name and value of `name=value`: the name's base64 is a multiple of 4 long, so its end is known. */
function headerOf(pair: string): readonly [string, Buffer | null] {
  for (let at = 4; at < pair.length; at += 4) {
    if (pair[at] === '=')
      return [Buffer.from(pair.slice(0, at), 'base64').toString(), bytes(pair.slice(at + 1))];
  }
  throw new Error(`a header is not name=value: ${pair}`);
}

function keyOf(record: ClientRecord): string {
  return record.key === null ? 'no key' : `key ${record.key.toString('latin1')}`;
}

/** One hash per key over values and headers in their order. */
function hashes(records: readonly ClientRecord[]): Map<string, string> {
  const open = new Map<string, ReturnType<typeof createHash>>();
  const part = (hash: ReturnType<typeof createHash>, bytes: Buffer | null): void => {
    hash.update(bytes === null ? 'null;' : `${bytes.length};`);
    if (bytes !== null) hash.update(bytes);
  };
  for (const record of records) {
    const key = keyOf(record);
    let hash = open.get(key);
    if (hash === undefined) {
      hash = createHash('sha256');
      open.set(key, hash);
    }
    part(hash, record.value);
    hash.update(`${record.headers.length};`);
    for (const [name, value] of record.headers) {
      part(hash, Buffer.from(name));
      part(hash, value);
    }
  }
  return new Map([...open].map(([key, hash]) => [key, hash.digest('hex')]));
}

/** Null when both hold the same records in the same order per key, else what differs first. */
export function difference(
  expected: readonly ClientRecord[],
  actual: readonly ClientRecord[],
): string | null {
  if (expected.length !== actual.length) return `${actual.length} records instead of ${expected.length}`;
  const wanted = hashes(expected);
  const got = hashes(actual);
  if (wanted.size !== got.size) return `${got.size} keys instead of ${wanted.size}`;
  for (const [key, hash] of wanted) {
    if (got.get(key) !== hash) return firstDifference(key, expected, actual);
  }
  return null;
}

function firstDifference(
  key: string,
  expected: readonly ClientRecord[],
  actual: readonly ClientRecord[],
): string {
  const of = (records: readonly ClientRecord[]): string[] =>
    records
      .filter((record) => keyOf(record) === key)
      .map(({ value, headers }) => {
        const named = headers.map(([name, bytes]) => `${name}=${bytes?.toString() ?? 'null'}`).join(',');
        return `${value?.toString() ?? 'null'} {${named}}`;
      });
  const wanted = of(expected);
  const got = of(actual);
  const at = wanted.findIndex((line, index) => got[index] !== line);
  return `${key}, its record ${at}: ${String(got[at]).slice(0, 200)} instead of ${String(wanted[at]).slice(0, 200)}`;
}

/** Null when offsets within each partition rise without gap or repetition, else the first that does not. */
export function offsetGap(records: readonly ClientRecord[]): string | null {
  const next = new Map<number, number>();
  for (const { partition, offset } of records) {
    if (partition === undefined || offset === undefined) return 'a record without its partition and offset';
    const wanted = next.get(partition);
    if (wanted !== undefined && offset !== wanted)
      return `partition ${partition}: offset ${offset} after ${wanted - 1}`;
    next.set(partition, offset + 1);
  }
  return null;
}
