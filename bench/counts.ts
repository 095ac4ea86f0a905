/** What is counted or timed without systems under load, as scenarios of the one schema with tables of their own. */
import type { Environment, ScenarioResult } from './harness/schema.ts';
import { schemaVersion } from './harness/schema.ts';
import { runStorageCosts, storageCostTable } from './storage-costs.ts';
import { runStoragePaths, storagePathsTable } from './storage-paths.ts';

export interface Count {
  readonly title: string;
  run(where: Environment, say: (line: string) => void): Promise<{ result: ScenarioResult; page: string }>;
}

function resultOf(
  scenario: string,
  title: string,
  what: string,
  environment: Environment,
  data: unknown,
): ScenarioResult {
  return {
    schema: schemaVersion,
    scenario,
    title,
    what,
    environment,
    calibration: { missing: [], device: [], sustainedMbPerSecond: 0, memory: [], loopback: null },
    options: {
      quick: false,
      runs: 1,
      seconds: 0,
      threads: 0,
      places: { log: 'disk', store: 'disk' },
      memoryFilledGb: 0,
    },
    noiseBound: 0,
    stealBound: 0,
    busyBound: 0,
    facts: {},
    warmUps: [],
    variants: [],
    skipped: [],
    data,
    counted: scenario === 'storage-costs',
  };
}

interface Described {
  readonly title: string;
  readonly what: string;
  verdict(where: Environment): string;
}

const described = {
  'storage-costs': {
    title: 'Requests and bytes that storage costs',
    what: 'The upload planner, uploads, metadata, merging and sweeps of a broker over a store that counts, on a virtual clock: requests and bytes by partitions and traffic. Counts, not times: the same on every machine.',
    verdict: () => 'Counted, not measured.',
  },
  'storage-paths': {
    title: 'Processor time of bytes to and from S3',
    what: 'One thread that sends to and reads from an S3 server beside, in several ways, each in turn.',
    verdict: ({ loadBefore }) =>
      loadBefore > 0.5
        ? `**Doubtful:** the machine was busy before (load ${loadBefore}).`
        : 'Medians, with least and most.',
  },
} as const satisfies Readonly<Record<string, Described>>;

/** A result and its page from data that were counted, or had been. */
export function countResult(
  name: keyof typeof described,
  where: Environment,
  data: unknown,
  table: string,
): { readonly result: ScenarioResult; readonly page: string } {
  const { title, what, verdict } = described[name];
  const { date, commit } = where;
  const page = `${verdict(where)}\n\n# ${title}\n\n${what}\n\n${date.slice(0, 10)}, commit ${commit}. Raw data: [raw.json](raw.json).\n\n${table.trimEnd()}\n`;
  return { result: resultOf(name, title, what, where, data), page };
}

export const counts: Readonly<Record<string, Count>> = {
  'storage-costs': {
    title: described['storage-costs'].title,
    async run(where, say) {
      const results = await runStorageCosts(say);
      return countResult('storage-costs', where, results, storageCostTable(results));
    },
  },
  'storage-paths': {
    title: described['storage-paths'].title,
    async run(where, say) {
      const found = await runStoragePaths(say);
      if (typeof found === 'string') throw new Error(`no S3 server: ${found}`);
      return countResult('storage-paths', where, found, storagePathsTable(found));
    },
  },
};
