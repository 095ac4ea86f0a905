/** Which places of a file a run of tests came by, from the files that V8 writes for NODE_V8_COVERAGE, one a process. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

interface ScriptCoverage {
  readonly url: string;
  readonly functions: readonly { readonly ranges: readonly Range[] }[];
}

/**
 * @param directory where the processes wrote.
 * @param root directory of the files asked for.
 * @param places positions by file below `root`, ascending.
 * @returns by file, for each position whether any process ran it.
 */
export function placesRun(
  directory: string,
  root: string,
  places: ReadonlyMap<string, readonly number[]>,
): Map<string, boolean[]> {
  const run = new Map<string, boolean[]>();
  const base = `${pathToFileURL(root).href}/`;
  for (const name of readdirSync(directory)) {
    let scripts: readonly ScriptCoverage[];
    try {
      scripts = (JSON.parse(readFileSync(join(directory, name), 'utf8')) as { result: ScriptCoverage[] })
        .result;
    } catch {
      // A process that was killed while it wrote.
      continue;
    }
    for (const { url, functions } of scripts) {
      const file = url.startsWith(base) ? url.slice(base.length) : '';
      const positions = places.get(file);
      if (positions === undefined) continue;
      const seen = run.get(file) ?? positions.map(() => false);
      run.set(file, seen);
      mark(
        functions.flatMap(({ ranges }) => ranges),
        positions,
        seen,
      );
    }
  }
  return run;
}

/** Ranges are nested: the innermost around a position tells whether it ran. */
function mark(ranges: readonly Range[], positions: readonly number[], seen: boolean[]): void {
  const inner: Range[] = [];
  const sorted = [...ranges].sort((a, b) => a.startOffset - b.startOffset || b.endOffset - a.endOffset);
  let next = 0;
  for (const [at, position] of positions.entries()) {
    while (next < sorted.length && sorted[next]!.startOffset <= position) inner.push(sorted[next++]!);
    while (inner.length > 0 && inner.at(-1)!.endOffset <= position) inner.pop();
    if ((inner.at(-1)?.count ?? 0) > 0) seen[at] = true;
  }
}
