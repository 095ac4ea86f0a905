/** `node dist/src/main.js …`: one command to its end. */
import { fileURLToPath } from 'node:url';
import { patienceMs } from './patience.ts';
import { runProgram } from './run-program.ts';

const mainFile = fileURLToPath(new URL('../../src/main.js', import.meta.url));
const outputMax = 1024 * 1024;

/** Killed when it takes too long. */
export function operatorCommand(
  ...words: readonly string[]
): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  return runProgram(process.execPath, [mainFile, ...words], { timeoutMs: patienceMs, outputMax });
}
