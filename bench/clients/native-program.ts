/** Compiles the bench's C programs with the compiler that is there; a machine without one learns it by name. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** dist/bench/clients is three below the repository. */
const sources = fileURLToPath(new URL('../../../bench/native', import.meta.url));
const output = fileURLToPath(new URL('../native', import.meta.url));
const compilers = ['cc', 'gcc', 'clang'];
const flags = ['-std=c11', '-O2', '-Wall', '-Wextra', '-pthread'];

export type NativeProgram = 'load' | 'calibrate';

/** The program's path, or why there is none. Compiled again when its sources have changed. */
export function nativeProgram(name: NativeProgram): { readonly path: string } | { readonly missing: string } {
  if (process.platform !== 'linux') return { missing: `no ${name} program on ${process.platform}` };
  const directory = join(sources, name);
  const files = readdirSync(directory)
    .sort()
    .map((file) => join(directory, file));
  const hash = createHash('sha256');
  for (const file of files) hash.update(readFileSync(file));
  const path = join(output, `${name}-${hash.digest('hex').slice(0, 12)}`);
  if (existsSync(path)) return { path };
  const compiler = compilers.find((each) => spawnSync(each, ['--version'], { stdio: 'ignore' }).status === 0);
  if (compiler === undefined)
    return { missing: `no C compiler (${compilers.join(', ')}) for the ${name} program` };
  mkdirSync(output, { recursive: true });
  const aside = `${path}.${process.pid}`;
  const units = files.filter((file) => file.endsWith('.c'));
  const { status, stderr } = spawnSync(compiler, [...flags, '-o', aside, ...units], { encoding: 'utf8' });
  if (status !== 0) {
    rmSync(aside, { force: true });
    return { missing: `${compiler} failed on the ${name} program: ${stderr.split('\n')[0]}` };
  }
  renameSync(aside, path);
  return { path };
}
