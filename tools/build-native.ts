/**
 * Builds the native addon with one compiler call, against the headers of the Node that runs this script.
 * Usage: node dist/tools/build-native.js [--out DIR]      (default: dist/native-bindings)
 *
 * Never fails a build for want of a toolchain: the broker runs without the addon, slower, and says so at start.
 * The finished file replaces the old one by rename, because a running process may have the old one mapped.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const COMPILERS = ['c++', 'g++', 'clang++'];
const FLAGS = [
  '-std=c++17',
  '-O3',
  '-fPIC',
  '-shared',
  '-fvisibility=hidden',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-math-errno',
  '-Wall',
  '-Wextra',
  '-DNAPI_VERSION=8',
  '-D_FILE_OFFSET_BITS=64',
  // The binary may move to a machine with an older C++ runtime.
  '-static-libstdc++',
  '-static-libgcc',
];

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** The folder above this script that holds the C++ sources. */
function findSources(): string | null {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'native-bindings');
    if (existsSync(join(candidate, 'addon.cc'))) return candidate;
    if (folder === dirname(folder)) break;
  }
  const fallback = resolve('native-bindings');
  return existsSync(join(fallback, 'addon.cc')) ? fallback : null;
}

/** Whether an include folder belongs to the major version of Node that runs now. */
function fits(folder: string): boolean {
  if (!existsSync(join(folder, 'node_api.h')) || !existsSync(join(folder, 'uv.h'))) return false;
  const version = join(folder, 'node_version.h');
  if (!existsSync(version)) return false;
  const major = /#define NODE_MAJOR_VERSION (\d+)/.exec(readFileSync(version, 'utf8'))?.[1];
  return major === process.versions.node.split('.')[0];
}

function findHeaders(): string | null {
  const nodedir = process.env.npm_config_nodedir;
  const candidates = [
    join(dirname(process.execPath), '..', 'include', 'node'),
    ...(nodedir === undefined ? [] : [join(nodedir, 'include', 'node'), nodedir]),
    '/usr/include/node',
    '/usr/local/include/node',
  ];
  return candidates.find(fits) ?? null;
}

function findCompiler(): string | null {
  const wanted = process.env.CXX;
  const candidates = wanted === undefined || wanted === '' ? COMPILERS : [wanted, ...COMPILERS];
  return candidates.find((name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0) ?? null;
}

function isFresh(output: string, inputs: readonly string[]): boolean {
  if (!existsSync(output)) return false;
  const built = statSync(output).mtimeMs;
  return inputs.every((input) => statSync(input).mtimeMs <= built);
}

function outputFolder(): string {
  const flag = process.argv.indexOf('--out');
  const folder = flag === -1 ? undefined : process.argv[flag + 1];
  if (flag !== -1 && folder === undefined) throw new Error('--out needs a folder');
  return folder === undefined
    ? fileURLToPath(new URL('../native-bindings', import.meta.url))
    : resolve(folder);
}

/** Builds what is out of date. Returns why there is no addon, or null when there is one. */
function build(): string | null {
  const output = join(outputFolder(), 'millrace.node');
  if (process.platform !== 'linux') return `not available on ${process.platform}`;
  const sources = findSources();
  if (sources === null) return 'its sources are not here';
  const files = readdirSync(sources).map((name) => join(sources, name));
  const units = files.filter((name) => name.endsWith('.cc')).sort();
  const inputs = [...units, ...files.filter((name) => name.endsWith('.h')), fileURLToPath(import.meta.url)];
  if (isFresh(output, inputs)) return null;

  const headers = findHeaders();
  if (headers === null) return `no headers of Node ${process.versions.node} found`;
  const compiler = findCompiler();
  if (compiler === null) return 'no C++ compiler found';

  mkdirSync(dirname(output), { recursive: true });
  const temporary = `${output}.${process.pid}`;
  const compilation = spawnSync(compiler, [...FLAGS, '-I', headers, '-o', temporary, ...units], {
    encoding: 'utf8',
  });
  if (compilation.status !== 0) {
    rmSync(temporary, { force: true });
    rmSync(output, { force: true }); // an older binary would not match the sources
    process.stderr.write(compilation.stderr);
    return `${compiler} failed`;
  }
  renameSync(temporary, output);
  say(`native addon: built ${output}`);
  return null;
}

const reason = build();
if (reason !== null) say(`native addon: ${reason}; the portable path will be used`);
