/**
 * What tests need that no machine has, installed or built once into one directory: MILLRACE_TEST_CACHE, else
 * ~/.cache/millrace-tests; an empty one will do. Each thing lies under a name that holds a hash of how it was made, and is
 * made in a directory aside and renamed, so that test files running at once never see half of it; who comes second drops
 * his own. What `npm test` has tried in vain before is not tried again by each test.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { runProgram } from './run-program.ts';

const cache = resolve(process.env['MILLRACE_TEST_CACHE'] ?? join(homedir(), '.cache', 'millrace-tests'));
/** A guard against an installer that hangs; slow networks and machines stay below it. */
const stepMsMax = 20 * 60_000;

/** Environment variable by which tests learn what was tried in vain: JSON, keys to reasons. */
export const missingVariable = 'MILLRACE_TEST_MISSING';
const triedInVain = JSON.parse(process.env[missingVariable] ?? '{}') as Readonly<Record<string, string>>;

/** What failed in this process, by the key under which others would try it again. */
export const failedSteps: Record<string, string> = {};

async function once<T>(key: string, make: () => Promise<T>): Promise<T> {
  const known = triedInVain[key] ?? failedSteps[key];
  if (known !== undefined) throw new Error(known);
  try {
    return await make();
  } catch (error) {
    failedSteps[key] = error instanceof Error ? error.message : String(error);
    throw error;
  }
}

/** Programs' sources, as they lie in the repository: tests run from its root. */
export const sources = join(process.cwd(), 'test', 'support', 'clients');

function placeOf(name: string, recipe: string): string {
  return join(cache, `${name}-${createHash('sha256').update(recipe).digest('hex').slice(0, 12)}`);
}

/** Throws unless it is there: for what takes minutes to make, which tests leave to the set-up of `npm test`. */
export function requireInstalled(name: string, recipe: string): void {
  if (!existsSync(placeOf(name, recipe)))
    throw new Error(
      triedInVain[name] ?? `not built yet; npm test builds it, and node dist/test/provide.js ${name}`,
    );
}

/** The directory, made by `make` unless it is there. `recipe` is everything the result depends on. */
export async function installed(
  name: string,
  recipe: string,
  make: (directory: string) => Promise<void>,
): Promise<string> {
  const place = placeOf(name, recipe);
  if (existsSync(place)) return place;
  return once(name, async () => {
    mkdirSync(cache, { recursive: true });
    removeAbandoned();
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
  });
}

/** What a process that was killed had begun, a day ago or earlier. */
function removeAbandoned(): void {
  for (const name of readdirSync(cache).filter((each) => each.startsWith('.'))) {
    const path = join(cache, name);
    const began = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY;
    if (Date.now() - began > 86_400_000) rmSync(path, { recursive: true, force: true });
  }
}

/** Runs an installer's command; throws with the end of what it said when it fails. */
export async function step(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const { code, out, err } = await runProgram(program, args, { timeoutMs: stepMsMax, ...options });
  if (code === 0) return out;
  const said = `${out}\n${err}`.trim().split('\n').slice(-4).join(' | ').slice(-400);
  throw new Error(
    `${[program, ...args].join(' ').slice(0, 120)}: ${code === null ? 'not run' : `exit ${code}`}: ${said}`,
  );
}

/** Installs Debian packages where the machine lets us; throws where not. Several may ask at once: apt-get locks. */
export async function debianPackages(names: readonly string[]): Promise<void> {
  const list = names.join(' ');
  await once(`Debian packages ${list}`, async () => {
    if (process.getuid?.() !== 0) throw new Error(`not root, so apt-get cannot install ${list}`);
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    const quiet = ['-q', '-y', '-o', 'DPkg::Lock::Timeout=600'];
    await step('apt-get', [...quiet, 'update'], { env });
    await step('apt-get', [...quiet, '--no-install-recommends', 'install', ...names], { env });
  });
}
