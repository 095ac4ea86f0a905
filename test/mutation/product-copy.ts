/**
 * A copy of the compiled product and its tests in which files may be changed, and tests run against it, each file in a
 * process of its own. Tests run from the repository's root, where their fixtures lie; what they leave goes with the copy.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endGroup, onLines } from '../runner/group-run.ts';

const built = resolve(fileURLToPath(new URL('../..', import.meta.url)));
const parts = [
  'src',
  'native-bindings',
  'tools',
  'test/sim',
  'test/storage',
  'test/support',
  'test/unit',
  'test/cluster',
  'test/native',
  'test/protocol',
];

export class ProductCopy {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
    const isCode = (path: string): boolean => !/\.(d\.ts|map)$/.test(path);
    for (const part of [...parts, 'test/runner'])
      if (existsSync(join(built, part)))
        cpSync(join(built, part), join(directory, part), { recursive: true, filter: isCode });
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
    symlinkSync(resolve('node_modules'), join(directory, 'node_modules'));
  }

  /** The compiled text of a file below src/, '' when it is not there. */
  text(file: string): string {
    const path = join(this.directory, 'src', file);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** Runs `act` while the file has another text. */
  async with<T>(file: string, text: string, act: () => Promise<T>): Promise<T> {
    const path = join(this.directory, 'src', file);
    const whole = readFileSync(path, 'utf8');
    writeFileSync(path, text);
    try {
      return await act();
    } finally {
      writeFileSync(path, whole);
    }
  }

  /**
   * The first test that fails in a file of tests, '' when none does. A file that does not load, or ends its process, tells
   * no test; one that does not end within `msMax` has failed, too.
   * @param source as it lies in the repository.
   * @param args for a program that judges by its exit code.
   * @param coverage directory for V8's coverage.
   */
  async failingIn(
    source: string,
    msMax: number,
    args: readonly string[] = [],
    coverage?: string,
  ): Promise<string> {
    const file = join(this.directory, source.replace(/\.ts$/, '.js'));
    if (!existsSync(file)) throw new Error(`${file} is not there to judge`);
    const temporary = join(this.directory, 'tmp');
    mkdirSync(temporary, { recursive: true });
    const child = spawn(
      process.execPath,
      ['--max-old-space-size=2048', '--test-reporter=tap', file, ...args],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
        detached: true,
        env: {
          ...process.env,
          TMPDIR: temporary,
          ...(coverage === undefined ? {} : { NODE_V8_COVERAGE: coverage }),
        },
      },
    );
    let failed = '';
    const end = (how: string): void => {
      failed ||= how;
      endGroup(child);
    };
    const timer = setTimeout(() => end(`${source} has not ended after ${msMax / 1_000} s`), msMax);
    onLines(child.stdout, (line) => {
      const found = /^\s*not ok \d+ - (.*)/.exec(line);
      if (found !== null) end(`${basename(source, '.test.ts')}: ${found[1]}`);
    });
    const code = await codeOf(child);
    clearTimeout(timer);
    endGroup(child);
    rmSync(temporary, { recursive: true, force: true, maxRetries: 3 });
    return failed === '' && code !== 0 ? `${source} ended with ${code}` : failed;
  }
}

export function codeOf(child: ChildProcess): Promise<number | null> {
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('close', done);
  });
}
