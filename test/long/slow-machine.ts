/**
 * `npm test` on a machine that is half as fast: as many busy loops beside it as there are processors, so that every test gets
 * half a processor. It must be green; how long it takes is told, not judged. `--only TEXT` runs the groups of these names,
 * separated by commas, and leaves no result.
 */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { endGroup, onLines } from '../runner/group-run.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const runner = fileURLToPath(new URL('../run.js', import.meta.url));

async function run({ option, say }: LongContext): Promise<LongOutcome> {
  const groups = option('only')?.split(',') ?? [];
  const loops = Array.from({ length: availableParallelism() }, () =>
    spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore', detached: true }),
  );
  const endLoops = (): void => {
    for (const loop of loops) endGroup(loop);
  };
  const onSignal = (): never => process.exit(130);
  process.once('exit', endLoops);
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
  const lines: string[] = [];
  try {
    const child = spawn(process.execPath, [runner, ...groups], { stdio: ['ignore', 'pipe', 'inherit'] });
    onLines(child.stdout, (line) => {
      lines.push(line);
      say(line);
    });
    const code = await new Promise<number | null>((done, fail) => {
      child.once('error', fail);
      child.once('close', done);
    });
    const ended = loops.filter((loop) => loop.exitCode !== null || loop.signalCode !== null).length;
    const summary = lines.slice(lines.findIndex((line) => line.startsWith('group ')));
    return outcome(
      [
        ...(code === 0 ? [] : [`npm test ended with ${code}: ${lines.at(-1) ?? ''}`]),
        ...(ended === 0 ? [] : [`${ended} of the busy loops had ended by themselves`]),
      ],
      [`beside ${loops.length} busy loops:`, ...summary],
      { loops: loops.length, code, summary },
    );
  } finally {
    process.off('exit', endLoops);
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
    endLoops();
  }
}

export const slowMachine: LongScript = {
  name: 'slow-machine',
  what: 'npm test beside as many busy loops as there are processors',
  run,
};
