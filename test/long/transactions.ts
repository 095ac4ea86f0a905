/** Transactions of real clients, beyond what `npm test` does: long scripts with no, one and two shard threads, and copies under kills. */
import { createTopics } from '../compat/topics.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { openFamily } from '../support/clients/families.ts';
import type { Client } from '../support/clients/jobs.ts';
import {
  committedBy,
  done,
  endOf,
  scriptFor,
  transactors,
  valuesOf,
} from '../support/clients/transactions.ts';
import { exactlyOnceRun } from '../support/load/exactly-once.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const partitions = 5;
const rounds = 60;
const killsDefault = 50;

/** Mostly commits and aborts; fences and time-outs cost seconds each. */
function longScript(random: SeededRandom): string {
  const letters = `${'ccccaiiee'.repeat(8)}zt`;
  return Array.from({ length: rounds }, () => random.pick([...letters])).join('');
}

async function transactions({ option, say }: LongContext): Promise<LongOutcome> {
  const random = new SeededRandom(Number(option('seed') ?? 1));
  const faults: string[] = [];
  const summary: string[] = [];
  const clients = new Map<string, Client>();
  for (const { family } of transactors) {
    const client = await openFamily(family, { slow: true });
    if (typeof client === 'string') summary.push(`skipped: ${client}`);
    else clients.set(family, client);
  }
  let cells = 0;
  for (const threads of [0, 1, 2]) {
    const settings = { threads, 'transaction.abort.timed.out.transaction.cleanup.interval.ms': 500 };
    const broker = await BrokerProcess.start({ settings });
    try {
      for (const { family, letters } of transactors) {
        const client = clients.get(family);
        if (client === undefined) continue;
        const [topic, to, id] = [`by-${family}`, `copy-${family}`, `tx-${family}`];
        await createTopics(broker.bootstrap, [topic, to], partitions);
        const script = scriptFor(longScript(random), letters);
        const expected = committedBy(id, script, partitions);
        const count = expected.flat().length;
        try {
          await done(client, broker.bootstrap, { op: 'transact', topic, partitions, id, script });
          let end = 0;
          for (const [name, reader] of clients) {
            const job = {
              op: 'consume',
              topic,
              count,
              group: `${name}-${family}`,
              isolation: 'committed',
            } as const;
            const read = await done(reader, broker.bootstrap, job);
            end = endOf(read, partitions);
            if (JSON.stringify(valuesOf(read, partitions)) !== JSON.stringify(expected))
              faults.push(`${threads} threads: ${name} does not read what ${family} committed by ${script}`);
            cells++;
          }
          const copying = { op: 'copy', topic, to, group: `group-${family}`, id: `copy-${id}` } as const;
          await done(client, broker.bootstrap, { ...copying, count: end, drops: 3 });
          for (const [name, reader] of clients) {
            const job = {
              op: 'consume',
              topic: to,
              count,
              group: `${name}-${to}`,
              isolation: 'committed',
            } as const;
            const read = await done(reader, broker.bootstrap, job);
            if (JSON.stringify(valuesOf(read, partitions)) !== JSON.stringify(expected))
              faults.push(`${threads} threads: ${name} does not read what ${family} copied`);
            cells++;
          }
        } catch (error) {
          faults.push(`${threads} threads, ${family} by ${script}: ${(error as Error).message}`);
        }
        say(`${threads} threads: ${family} by ${script}: ${count} records, ${faults.length} faults`);
      }
    } finally {
      await broker.dispose();
    }
  }
  summary.push(`${cells} readings compared, ${rounds} transactions a script, threads 0, 1 and 2.`);
  return outcome(faults, summary, { cells });
}

async function exactlyOnce({ option, say }: LongContext): Promise<LongOutcome> {
  const { faults, missing, kills, records } = await exactlyOnceRun({
    families: ['java', 'python', 'franz-go'],
    kills: Number(option('kills') ?? killsDefault),
    seed: Number(option('seed') ?? 1),
    threads: 2,
    windowMs: 4_000,
    log: say,
  });
  const summary = [
    `${records} records copied by each of Java, librdkafka and franz-go under ${kills.broker} kills -9 of the broker and ${kills.clients} of clients.`,
    ...missing.map((reason) => `skipped: ${reason}`),
  ];
  return outcome(faults, summary, { records, kills });
}

export const transactionScripts: readonly LongScript[] = [
  {
    name: 'transactions',
    what: 'transactions of every client family by long scripts, each read and copied by every other, threads 0, 1 and 2',
    run: transactions,
  },
  {
    name: 'exactly-once',
    what: '50 kills -9 of broker and clients under transactional copies; readers of committed records see each record once',
    run: exactlyOnce,
  },
];
