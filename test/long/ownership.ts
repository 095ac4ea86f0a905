/**
 * Partitions closed and opened in random subsets, ten thousand times, while producers, a group and readers go on: inline, with shard
 * threads, and in the simulator, where everything else goes wrong too. Reports how long a producer was kept from its partition
 * (aim: 150 ms for 99 % on a local store; reported, not judged).
 */
import { loadNative } from '../../native-bindings/index.ts';
import { simulate } from '../sim/simulation.ts';
import { BrokerBed } from '../support/inline-broker.ts';
import { percentile, Turning } from '../support/load/turning.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const turnsDefault = 10_000;

async function run({ option, say }: LongContext): Promise<LongOutcome> {
  const turns = Number(option('turns') ?? turnsDefault);
  const seed = Number(option('seed') ?? 1);
  const faults: string[] = [];
  const summary: string[] = [];
  const data: Record<string, unknown> = {};
  for (const threads of [0, 2]) {
    const name = threads === 0 ? 'inline' : `${threads} shard threads`;
    if (threads > 0 && loadNative() === null) {
      summary.push(`${name}: not tried, since there is no native addon`);
      continue;
    }
    const bed = new BrokerBed({ store: 'file', settings: { threads } });
    try {
      await bed.start();
      const turning = new Turning(bed, new SeededRandom(seed + threads));
      const result = await turning.run(turns, (line) => say(`${name}: ${line}`));
      const pauses = [...result.pauses].sort((a, b) => a - b);
      const [half, most, longest] = [0.5, 0.99, 1].map((share) => Math.round(percentile(pauses, share)));
      faults.push(...result.faults.map((fault) => `${name}: ${fault}`));
      summary.push(
        `${name}: ${result.turns} partitions closed and opened, ${result.batches} batches and ${result.commits} commits acknowledged, ${result.refusals} refusals; ${pauses.length} pauses: half within ${half} ms, 99 % within ${most} ms, all within ${longest} ms.`,
      );
      data[name] = { ...result, pauses: { count: pauses.length, half, most, longest } };
    } finally {
      await bed.dispose();
    }
  }
  let simulated = 0;
  let seeds = 0;
  for (let at = seed; simulated < turns && faults.length === 0; at++) {
    const { violation, turns: turned } = await simulate({ seed: at });
    simulated += turned;
    if (violation !== null) faults.push(`seed ${at}: ${violation}`);
    if (++seeds % 50 === 0) say(`${seeds} seeds, ${simulated} partitions closed and opened`);
  }
  summary.push(`simulated: ${simulated} partitions closed and opened in ${seeds} seeds.`);
  data['simulated'] = { turns: simulated, seeds };
  return outcome(faults, summary, data);
}

export const ownershipScript: LongScript = {
  name: 'ownership',
  what: 'partitions closed and opened in random subsets under load, inline, threaded and simulated',
  run,
};
