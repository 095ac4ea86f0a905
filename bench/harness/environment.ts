/** Where a measurement was made: without this its numbers cannot be compared with any other. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { loadNative } from '../../native-bindings/index.ts';
import type { Environment } from './schema.ts';

export function environment(directory: string): Environment {
  const df = run('df', ['--output=fstype,source', directory]).split('\n').at(-1)?.trim().split(/\s+/) ?? [];
  return {
    date: new Date().toISOString(),
    commit: run('git', ['rev-parse', '--short=12', 'HEAD']),
    modified: run('git', ['status', '--porcelain', '--untracked-files=no']) !== '',
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 1e8) / 10,
    kernel: release(),
    node: process.version,
    nativeAddon: loadNative() !== null,
    fileSystem: df[0] ?? 'unknown',
    device: df[1] ?? 'unknown',
    loadBefore: Number(readFileSync('/proc/loadavg', 'latin1').split(' ')[0]),
  };
}

function run(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}
