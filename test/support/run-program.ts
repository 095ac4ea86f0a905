/** Runs a program to its end and gives its exit code and what it said. */
import { spawn } from 'node:child_process';

const outputBytesMax = 64 * 1024;

/** Ends with the exit code; output beyond a bound is cut at its start. Killed after `timeoutMs`. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: {
    input?: string | Buffer;
    timeoutMs: number;
    env?: Record<string, string>;
    cwd?: string;
    outputMax?: number;
  },
): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const outputMax = options.outputMax ?? outputBytesMax;
    const parts: string[] = [];
    let size = 0;
    let err = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      size += text.length;
      if (size <= outputMax) parts.push(text);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err = (err + text).slice(-outputBytesMax);
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    const end = (code: number | null, more: string): void => {
      clearTimeout(timer);
      resolve({ code, out: parts.join(''), err: err + more });
    };
    child.once('error', (error) => end(null, error.message));
    child.once('close', (code, signal) => end(code, signal === null ? '' : ` ended by ${signal}`));
  });
}
