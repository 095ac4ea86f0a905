/**
 * One broker per directory: the lock that native and portable brokers share.
 *
 *   <path>        the file a native broker holds flock on; never written, renamed or removed
 *   <path>.<n>    claims; the one with the highest number counts, and its text says who made it
 *
 * A claim is a finished temporary file given its name by link(2), which fails if the name exists: of all who try to
 * follow claim n, one gets n + 1. It holds while its process lives (same pid, same start time, same boot) and until it
 * is rewritten as released. A released claim stays: removing it would let numbers start again, and one who had seen it
 * could then win a number beside somebody else's. Whoever wins removes the lower ones, and looks again for a higher
 * one: its number may have been free only because that winner had just cleared it.
 *
 * flock comes first where there is native code, because the kernel drops it with the process. A claim made under flock
 * is void once flock is ours, whatever runs under its pid today (pids mean nothing across containers).
 * Limits: without native code on both sides, brokers in different pid namespaces or on different machines cannot see
 * each other alive. A lock so taken says that the end of its last holder is `unproven`: who guards a log with it then
 * leaves the log's file to whoever may still write there, and the log's fence page stops that one.
 */
import {
  closeSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { threadId } from 'node:worker_threads';
import type { NativeBindings } from '../contract.ts';

const FORMAT = 'millrace-lock';
const VERSION = 1;
/** Each round is lost to another broker's success, so more rounds mean something else is wrong. */
const ROUNDS_MAX = 100;

export type LockAttempt =
  | {
      readonly release: () => void;
      /** Whoever held it before may be alive where we cannot see it, or never claimed it. */
      readonly unproven?: boolean;
    }
  | { readonly heldBy: string };

interface Process {
  readonly pid: number;
  /** Clock ticks after boot (field 22 of /proc/<pid>/stat), or '' where there is no /proc. */
  readonly start: string;
  readonly boot: string;
  /** The pid namespace in which `pid` means something; '' where the system has none or does not tell. */
  readonly space: string;
}

interface Claim extends Process {
  readonly state: 'held' | 'released';
  readonly flock: boolean;
}

/** Start time of a process, '' if the system does not tell, undefined if there is no such process. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the command's name in brackets and may hold blanks and brackets itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended and holds nothing any more, unless a thread of it is still inside a system call: a write, say.
    const ended = fields[0] === 'X' || (fields[0] === 'Z' && Number(fields[17]) <= 1);
    return ended ? undefined : fields[19];
  } catch {
    try {
      process.kill(pid, 0);
      return '';
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EPERM' ? '' : undefined;
    }
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '';
  }
}

function pidSpace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}

function render(claim: Claim): string {
  const { state, pid, start, boot, space, flock } = claim;
  return `${FORMAT} ${VERSION}\nstate=${state}\npid=${pid}\nstart=${start}\nboot=${boot}\nspace=${space}\nflock=${flock ? 1 : 0}\n`;
}

/**
 * null for a file without our first line: claims appear whole, so this is one whose content a power failure took.
 * Another version throws: it may follow other rules.
 */
function parse(text: string, path: string): Claim | null {
  const [first = '', ...lines] = text.split('\n');
  if (!first.startsWith(`${FORMAT} `)) return null;
  if (first !== `${FORMAT} ${VERSION}`) {
    throw new Error(
      `${path} is of lock format ${first.slice(FORMAT.length + 1)}, this broker knows ${VERSION}`,
    );
  }
  const values = new Map(lines.map((line) => line.split('=', 2) as [string, string]));
  return {
    state: values.get('state') === 'released' ? 'released' : 'held',
    pid: Number(values.get('pid')),
    start: values.get('start') ?? '',
    boot: values.get('boot') ?? '',
    // Claims of earlier versions do not say: as good as in a space of its own.
    space: values.get('space') ?? 'unknown',
    flock: values.get('flock') === '1',
  };
}

function isAlive(claim: Process): boolean {
  if (claim.boot !== bootId()) return false;
  return startOf(claim.pid) === claim.start;
}

function claimNumbers(path: string): number[] {
  const prefix = `${basename(path)}.`;
  const numbers: number[] = [];
  for (const name of readdirSync(dirname(path))) {
    const tail = name.startsWith(prefix) ? name.slice(prefix.length) : '';
    if (/^[1-9]\d{0,14}$/.test(tail)) numbers.push(Number(tail));
  }
  return numbers.sort((a, b) => b - a);
}

function readClaim(path: string, number: number): Claim | null | undefined {
  try {
    return parse(readFileSync(`${path}.${number}`, 'latin1'), `${path}.${number}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Follows claim `before` with our own; false when somebody else was first. */
function follow(path: string, before: number, claim: Claim): boolean {
  const temporary = temporaryName(path);
  writeFileSync(temporary, render(claim), { mode: 0o640, flush: true });
  try {
    linkSync(temporary, `${path}.${before + 1}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
  const numbers = claimNumbers(path);
  if (numbers[0] !== before + 1) {
    rmSync(`${path}.${before + 1}`, { force: true });
    return false;
  }
  for (const lower of numbers.slice(1)) rmSync(`${path}.${lower}`, { force: true });
  return true;
}

function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}-${process.pid}-${threadId}`);
}

function release(path: string, number: number, claim: Claim): void {
  const temporary = temporaryName(path);
  writeFileSync(temporary, render({ ...claim, state: 'released' }), { mode: 0o640, flush: true });
  renameSync(temporary, `${path}.${number}`);
}

interface Claimed {
  readonly number: number;
  readonly unproven: boolean;
}

/** A holder that is not alive here has ended for certain: released, rebooted, or gone from where its pid can be seen. */
function isProven(claim: Claim | null, self: Claim): boolean {
  if (claim === null || claim.state === 'released' || claim.boot !== self.boot) return true;
  return claim.space === self.space || (claim.flock && self.flock);
}

function claimDirectory(path: string, self: Claim): Claimed | { heldBy: string } {
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const newest = claimNumbers(path)[0] ?? 0;
    const claim = newest === 0 ? null : readClaim(path, newest);
    if (claim === undefined) continue; // cleared while we looked
    const isVoid = claim === null || claim.state === 'released' || (claim.flock && self.flock);
    if (!isVoid && isAlive(claim)) return { heldBy: `process ${claim.pid}` };
    const unproven = newest === 0 || !isProven(claim, self);
    if (follow(path, newest, self)) return { number: newest + 1, unproven };
  }
  throw new Error(`cannot settle the lock ${path}: its claims keep changing`);
}

/**
 * Takes the lock, or says who holds it. The directory must exist. `release` is idempotent; a process that ends
 * without it leaves a claim that the next broker takes over.
 */
export function acquireLock(path: string, native: Pick<NativeBindings, 'flock'> | null): LockAttempt {
  let fd = -1;
  if (native !== null) {
    fd = openSync(path, 'a', 0o640);
    if (!native.flock(fd)) {
      closeSync(fd);
      const newest = claimNumbers(path)[0];
      const claim = newest === undefined ? undefined : readClaim(path, newest);
      return { heldBy: claim?.state === 'held' ? `process ${claim.pid}` : 'another process' };
    }
  }
  const self: Claim = {
    state: 'held',
    pid: process.pid,
    start: startOf(process.pid) ?? '',
    boot: bootId(),
    space: pidSpace(),
    flock: native !== null,
  };
  let claimed: Claimed | { heldBy: string } | undefined;
  try {
    claimed = claimDirectory(path, self);
  } finally {
    if ((claimed === undefined || 'heldBy' in claimed) && fd !== -1) closeSync(fd);
  }
  if ('heldBy' in claimed) return claimed;

  const { number, unproven } = claimed;
  let held = true;
  return {
    unproven,
    release: () => {
      if (!held) return;
      held = false;
      release(path, number, self);
      if (fd !== -1) closeSync(fd);
    },
  };
}
