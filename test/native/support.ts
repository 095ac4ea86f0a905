/** What the tests of the addon share. The addon is required here: its tests mean nothing without it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { loadNative, type NativeBindings } from '../../native-bindings/index.ts';
import { SeededRandom } from '../support/seeded-random.ts';

export function requireNative(): NativeBindings {
  const native = loadNative();
  assert.ok(native, 'the addon is not built: node dist/tools/build-native.js');
  return native;
}

/** A folder below `parent` that goes when the test ends. */
export function temporaryFolder(t: TestContext, parent: string): string {
  const folder = mkdtempSync(join(parent, '.millrace-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Shared memory as the arena has it. */
export function sharedMemory(bytes: number): Buffer {
  const pages = Math.ceil(bytes / 65_536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  return Buffer.from(memory.buffer);
}

/** Runs a module text in a process of its own; `INDEX` in it stands for the loader's address. */
export function runModule(text: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  const index = new URL('../../native-bindings/index.js', import.meta.url).href;
  const source = text.replaceAll('INDEX', JSON.stringify(index));
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', source, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
  return { status: run.status, signal: run.signal, stdout: run.stdout, stderr: run.stderr };
}

/** Repeatable numbers below a bound (at most 2^31). */
export function numbers(seed: number): (bound: number) => number {
  const random = new SeededRandom(seed);
  return (bound) => random.below(bound);
}

declare const WebAssembly: {
  Memory: new (limits: {
    initial: number;
    maximum: number;
    shared: boolean;
  }) => {
    readonly buffer: SharedArrayBuffer;
  };
};
