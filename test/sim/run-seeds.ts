/**
 * Runs seeds and prints a line of JSON for each:
 *
 *     node run-seeds.js --from N --seeds N [--cluster] [--until-found] [--seconds N] [--trace] [--twice]
 *
 * A process of its own, so that mutated copies of the product can be run by it. Exit code 1 when anything was found wrong.
 */
import { parseArgs } from 'node:util';
import { simulateCluster } from './cluster-simulation.ts';
import { simulate } from './simulation.ts';

const { values } = parseArgs({
  options: {
    from: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '100000' },
    operations: { type: 'string', default: '2000' },
    'until-found': { type: 'boolean', default: false },
    cluster: { type: 'boolean', default: false },
    twice: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
  },
});
const from = Number(values.from);
const run = values.cluster ? simulateCluster : simulate;
const began = performance.now();
let found = 0;
for (let seed = from; seed < from + Number(values.seeds); seed++) {
  if ((performance.now() - began) / 1000 > Number(values.seconds)) break;
  const options = {
    seed,
    operations: Number(values.operations),
    ...(values.trace ? { onTrace: (line: string) => void process.stderr.write(`${line}\n`) } : {}),
  };
  const started = performance.now();
  const result = await run(options);
  let differs = false;
  if (values.twice) differs = (await run(options)).digest !== result.digest;
  const ms = Math.round(performance.now() - started);
  process.stdout.write(`${JSON.stringify({ ...result, ms, ...(differs ? { differs } : {}) })}\n`);
  if (result.violation !== null || differs) found++;
  if (found > 0 && values['until-found']) break;
}
// A broker that was killed while it stopped keeps its process alive: nothing more is waited for.
process.stdout.write('', () => process.exit(found > 0 ? 1 : 0));
