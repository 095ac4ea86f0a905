/**
 * One group of test files under `node --test`, in a process group of its own. Time is reported and never judged: a machine
 * half as fast must come to the same result. Only silence ends a group: no test of it finished for `silenceMsMax`, and then
 * it is said by name what was still running.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { StringDecoder } from 'node:string_decoder';
import type { ReportLine } from './reporter.ts';

export interface GroupRunOptions {
  readonly name: string;
  /** Compiled test files. */
  readonly files: readonly string[];
  /** Files run at once. */
  readonly concurrency: number;
  readonly silenceMsMax: number;
  /** The repository's root: tests find fixtures from there. */
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  readonly onLine: (line: ReportLine) => void;
}

export function failure(group: string, text: string, name = group): ReportLine {
  return { kind: 'failed', file: group, name, text, ms: 0 };
}

/** Whole lines of a stream of bytes, as they come. */
export function onLines(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  stream.on('data', (bytes: Buffer) => {
    const parts = (rest + decoder.write(bytes)).split('\n');
    rest = parts.pop()!;
    for (const part of parts) if (part !== '') take(part);
  });
}

/** Ends a child that leads a process group, and all that it started. */
export function endGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    // Already gone.
  }
}

/** Runs the files to their end, or until they fall silent. Every result, and every failure of the run itself, is a line. */
export async function runGroup(options: GroupRunOptions): Promise<void> {
  const { name, files, concurrency, silenceMsMax, root, env, onLine } = options;
  let results = 0;
  let failures = 0;
  const give = (line: ReportLine): void => {
    if (line.kind === 'passed' || line.kind === 'failed') results++;
    if (line.kind === 'failed') failures++;
    onLine(line);
  };
  if (files.length === 0) return give(failure(name, 'the group has no test files'));
  const child = spawn(
    process.execPath,
    [
      '--test',
      `--test-concurrency=${concurrency}`,
      `--test-reporter=${new URL('./reporter.js', import.meta.url).href}`,
      '--test-reporter-destination=stdout',
      ...files,
    ],
    { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true, env },
  );
  const onSignal = (): never => {
    endGroup(child);
    process.exit(130);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const running = new Set<string>();
  let silent = false;
  const onSilence = (): void => {
    silent = true;
    endGroup(child);
  };
  let timer = setTimeout(onSilence, silenceMsMax);
  onLines(child.stdout, (text) => {
    const line = JSON.parse(text) as ReportLine;
    const key = line.name === line.file ? line.file : `${line.name} (${line.file})`;
    if (line.kind === 'begun') running.add(key);
    else if (line.kind === 'output') give(line);
    else {
      running.delete(key);
      clearTimeout(timer);
      timer = setTimeout(onSilence, silenceMsMax);
      if (line.kind !== 'ended') give(line);
    }
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4000);
  });
  const code = await new Promise<number | null>((done, fail) => {
    child.on('error', fail);
    child.on('close', done);
  });
  clearTimeout(timer);
  process.off('SIGINT', onSignal);
  process.off('SIGTERM', onSignal);
  endGroup(child);
  if (silent) give(failure(name, silenceText(silenceMsMax, running)));
  else if (code !== 0 && failures === 0) give(failure(name, `the runner ended with code ${code}\n${errors}`));
  else if (results === 0) give(failure(name, 'no test of the group ran'));
}

function silenceText(ms: number, running: ReadonlySet<string>): string {
  const names = [...running];
  // A file runs as long as a test of it, a suite as long as one inside it: only the innermost tell something.
  const isInner = (name: string): boolean => {
    const [title, file] = name.split(/ (?=\([^()]*\)$)/);
    const within = file === undefined ? ` (${title})` : file;
    return !names.some(
      (other) =>
        other !== name && other.endsWith(within) && (file === undefined || other.startsWith(`${title} > `)),
    );
  };
  const inner = names.filter(isInner);
  return `no test finished for ${ms / 1000} s; still running:\n${inner.map((name) => `  ${name}`).join('\n')}`;
}
