/**
 * What lies under `meta/`: entries, seals, snapshots; with verify each is read and its checksum compared. Trimmed numbers
 * leave holes below the older snapshot, where only seals and number 0 stay; above it every number must be there.
 */

import type { Crc32c } from '../protocol/records/crc32c.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { decodeSequenced, decodeSequencedHeader, sequencedHeaderBytes } from '../store/sequenced-object.ts';
import type { JournalReport, Problems } from './inspect-report.ts';
import { allKeys } from './read-only-store.ts';

const sealsShown = 20;

export async function inspectJournal(
  store: ObjectStore,
  crc32c: Crc32c,
  verify: boolean,
  problems: Problems,
): Promise<JournalReport> {
  const snapshots: number[] = [];
  for await (const { key } of allKeys(store, 'meta/snap/')) {
    const number = numberOf(key, 'meta/snap/');
    if (number === null) continue;
    snapshots.push(number);
    if (verify) await check(store, crc32c, key, number, problems);
  }
  // Two snapshots are kept; entries are trimmed up to the older one.
  const trimmedTo = snapshots.at(-2) ?? snapshots.at(-1) ?? -1;
  const seals: { number: number; epoch: number; writer: string }[] = [];
  let [entries, bytes, sealCount, lastWrittenMs] = [0, 0, 0, 0];
  let first: number | null = null;
  let last: number | null = null;
  for await (const { key, size, modifiedMs } of allKeys(store, 'meta/log/')) {
    const number = numberOf(key, 'meta/log/');
    if (number === null) continue;
    const expected = Math.max(last === null ? 0 : last + 1, trimmedTo + 1);
    if (number > expected) problems.add(key, `journal entries ${expected} to ${number - 1} are missing`);
    entries++;
    bytes += size;
    first ??= number;
    last = number;
    lastWrittenMs = modifiedMs;
    // Seals have no payload; so a listing tells them by size.
    if (size === sequencedHeaderBytes) {
      sealCount++;
      const seal = await headerOf(store, key, problems);
      if (seal !== null) seals.push({ number, epoch: seal.epoch, writer: seal.writer });
      if (seals.length > sealsShown) seals.shift();
    } else if (verify) await check(store, crc32c, key, number, problems);
  }
  const newest =
    last === null ? null : await headerOf(store, `meta/log/${String(last).padStart(20, '0')}`, problems);
  const lastWriter = newest?.writer ?? '';
  return { entries, first, last, snapshots, seals, sealCount, lastWriter, lastWrittenMs, bytes };
}

async function headerOf(
  store: ObjectStore,
  key: string,
  problems: Problems,
): Promise<ReturnType<typeof decodeSequencedHeader> | null> {
  try {
    return decodeSequencedHeader(key, await store.get(key, { start: 0, end: sequencedHeaderBytes }));
  } catch (error) {
    problems.add(key, (error as Error).message);
    return null;
  }
}

async function check(
  store: ObjectStore,
  crc32c: Crc32c,
  key: string,
  number: number,
  problems: Problems,
): Promise<void> {
  try {
    decodeSequenced(crc32c, key, number, await store.get(key));
  } catch (error) {
    problems.add(key, (error as Error).message);
  }
}

function numberOf(key: string, prefix: string): number | null {
  const rest = key.slice(prefix.length);
  return /^\d{20}$/.test(rest) ? Number(rest) : null;
}
