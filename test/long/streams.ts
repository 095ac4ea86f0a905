/**
 * Applications of Kafka Streams with exactly-once processing, word count and a windowed join over the real data sets, by both
 * protocols of their groups: undisturbed, and while their broker and they themselves are killed. Both must put out the same.
 */
import { type StreamsKill, type StreamsRunOptions, streamsRun } from '../support/load/streams-run.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome, skipped } from './outcome.ts';

const killsDefault = 10;
const apps: StreamsRunOptions['apps'] = [
  { topology: 'words', protocol: 'streams', mortal: true },
  { topology: 'words', protocol: 'classic', mortal: true },
  { topology: 'join', protocol: 'streams', mortal: true },
  { topology: 'join', protocol: 'classic', mortal: true },
];

async function run({ option, say }: LongContext): Promise<LongOutcome> {
  const seed = Number(option('seed') ?? 1);
  const random = new SeededRandom(seed);
  // After every kill of the broker, one in two times something happens to an application.
  const kills = Array.from({ length: Number(option('kills') ?? killsDefault) }, (): StreamsKill[] => {
    const dice = random.below(4);
    return dice < 2 ? ['broker'] : ['broker', dice === 2 ? 'app' : 'restart'];
  }).flat();
  const common = { apps, rows: 2_000, seed, threads: 2, windowMs: 3_000, log: say };
  const calm = await streamsRun({ ...common, kills: [] });
  if (calm.missing !== null) return skipped(calm.missing);
  const began = performance.now();
  const rough = await streamsRun({ ...common, kills });
  const seconds = (performance.now() - began) / 1_000;
  const faults = [...calm.faults.map((fault) => `undisturbed: ${fault}`), ...rough.faults];
  for (const [name, output] of Object.entries(calm.outputs))
    if (output.join('\n') !== rough.outputs[name]!.join('\n'))
      faults.push(`${name} has put out something else than undisturbed`);
  const counts = (kind: StreamsKill): number => kills.filter((each) => each === kind).length;
  return outcome(
    faults,
    [
      `${counts('broker')} kills of the broker, ${counts('app')} of an application's process, ${counts('restart')} restarts in order, in ${seconds.toFixed(0)} s.`,
      ...Object.entries(rough.records).map(
        ([name, records]) => `${name}: ${records} records, as undisturbed.`,
      ),
    ],
    { seed, kills, records: rough.records, seconds },
  );
}

export const streamsScript: LongScript = {
  name: 'streams',
  what: 'word count and a windowed join of Kafka Streams, exactly once, with broker and applications killed',
  run,
};
