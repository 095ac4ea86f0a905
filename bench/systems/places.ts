/** Directories for systems under test, on the disk and in memory; removed with the run. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Place } from './system.ts';

const memoryPlace = '/dev/shm';
/** Magic number of tmpfs, from statfs(2). */
const tmpfsType = 0x01021994;

/** Where directories of a kind are made; throws with a reason where this machine has no such place. */
export function baseOf(place: Place): string {
  const base = place === 'disk' ? tmpdir() : memoryPlace;
  const isMemory = statfsSync(base).type === tmpfsType;
  if (isMemory !== (place === 'tmpfs'))
    throw new Error(`${base} is ${isMemory ? 'in memory' : 'no tmpfs'}: TMPDIR names the place on the disk`);
  return base;
}

export interface MadePlace {
  readonly path: string;
  remove(): void;
}

/** Names say whose they are, so that what a killed run left is known by the next. */
const prefix = 'millrace-bench-';
const ownName = /^millrace-bench-(\d+)-/;
const made = new Set<string>();

export function makePlace(place: Place): MadePlace {
  return makeDirectory(baseOf(place));
}

/** For plans, ledgers and batches, wherever temporary files lie. */
export function makeScratch(): MadePlace {
  return makeDirectory(tmpdir());
}

function makeDirectory(base: string): MadePlace {
  const path = mkdtempSync(join(base, `${prefix}${process.pid}-`));
  made.add(path);
  return {
    path,
    remove() {
      made.delete(path);
      removeTree(path);
    },
  };
}

function removeTree(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 3 });
}

/** Whatever is left of this process, at its end. */
export function removePlaces(): void {
  for (const path of made) removeTree(path);
  made.clear();
}

/** What runs left that were killed. */
export function removeAbandoned(): void {
  for (const base of new Set([tmpdir(), memoryPlace])) {
    if (!existsSync(base)) continue;
    for (const name of readdirSync(base)) {
      const pid = Number(ownName.exec(name)?.[1] ?? 0);
      if (pid > 0 && !existsSync(`/proc/${pid}`)) removeTree(join(base, name));
    }
  }
}

export function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

/** Bytes that a directory takes. */
export function usedBytes(directory: string): number {
  try {
    return Number(execFileSync('du', ['-s', '-B1', directory], { encoding: 'utf8' }).split('\t')[0]);
  } catch {
    return 0;
  }
}

/** Words in front of a command that end it when this process ends, however it does. */
export function dyingWithUs(): readonly string[] {
  deathSignal ??= spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0;
  return deathSignal ? ['setpriv', '--pdeathsig', 'KILL'] : [];
}
let deathSignal: boolean | undefined;
