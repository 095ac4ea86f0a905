/**
 * What the client programs need that no machine has: installed or built once into ~/.cache/millrace-tests/clients, each
 * under a name that holds a hash of how it was made. Made in a directory aside and renamed, so that test files running at
 * once never see half of it; who comes second drops his own.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from './jobs.ts';

const cache = join(homedir(), '.cache', 'millrace-tests', 'clients');

/** Programs' sources, as they lie in the repository: tests run from its root. */
export const sources = join(process.cwd(), 'test', 'support', 'clients');

function placeOf(name: string, recipe: string): string {
  return join(cache, `${name}-${createHash('sha256').update(recipe).digest('hex').slice(0, 12)}`);
}

export function isInstalled(name: string, recipe: string): boolean {
  return existsSync(placeOf(name, recipe));
}

/** The directory, made by `make` unless it is there. `recipe` is everything the result depends on. */
export async function installed(
  name: string,
  recipe: string,
  make: (directory: string) => Promise<void>,
): Promise<string> {
  const place = placeOf(name, recipe);
  if (existsSync(place)) return place;
  mkdirSync(cache, { recursive: true });
  const aside = mkdtempSync(join(cache, `.${name}-`));
  try {
    await make(aside);
    try {
      renameSync(aside, place);
    } catch (error) {
      if (!existsSync(place)) throw error;
    }
    return place;
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

/** Runs an installer's command; throws with the end of what it said when it fails. */
export async function step(
  program: string,
  args: readonly string[],
  timeoutMs: number,
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const { code, out, err } = await runProgram(program, args, { timeoutMs, ...options });
  if (code === 0) return out;
  const said = `${out}\n${err}`.trim().split('\n').slice(-4).join(' | ').slice(-400);
  throw new Error(
    `${[program, ...args].join(' ').slice(0, 120)}: ${code === null ? 'not run' : `exit ${code}`}: ${said}`,
  );
}

/** Installs Debian packages where the machine lets us; throws where not. */
export async function debianPackages(names: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error(`not root, so apt-get cannot install ${names.join(' ')}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await step('apt-get', ['-q', 'update'], 120_000, { env });
  await step('apt-get', ['-q', '-y', '--no-install-recommends', 'install', ...names], 180_000, { env });
}
