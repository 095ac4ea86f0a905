/** Small numbers for bills that are worked out by hand. */
import { readFileSync } from 'node:fs';
import type { Coefficients } from '../../../src/cost/coefficients.ts';
import { type PriceTable, parsePriceTable } from '../../../src/cost/price-table.ts';
import { type Workload, workloadDefaults } from '../../../src/cost/workload.ts';

/** The table that ships. */
export const shipped: PriceTable = parsePriceTable(readFileSync('src/cost/data/prices.tsv', 'utf8'));

const coefficient = (value: number, unit: string) => ({
  value,
  unit,
  report: '2026-12-01-x',
  figure: 'f',
  doubt: null,
});

/** Round numbers: a byte in takes 2 s/GB, out 1 s/GB; Kafka's 6 and 3. */
export const coefficients: Coefficients = {
  values: {
    'millrace.cpu.in': coefficient(2, 's/GB'),
    'millrace.cpu.out': coefficient(1, 's/GB'),
    'millrace.cpu.request': coefficient(50, 'µs'),
    'millrace.wal.bytes': coefficient(1, 'bytes/byte'),
    'millrace.upload.bytes': coefficient(1, 'bytes/byte'),
    'millrace.cold.gets': coefficient(240, '/GB'),
    'kafka.cpu.in': coefficient(6, 's/GB'),
    'kafka.cpu.out': coefficient(3, 's/GB'),
    'kafka.cpu.request': coefficient(80, 'µs'),
  },
  requests: {
    report: '2026-12-01-storage-costs',
    doubt: null,
    byPartitions: [
      { partitions: 1, putsPerGb: 10, getsPerGb: 2 },
      { partitions: 100, putsPerGb: 20, getsPerGb: 4 },
    ],
    idlePutsPerHour: 120,
  },
};

export const nothingMeasured: Coefficients = { values: {}, requests: null };

/** 1 GiB a second. */
export const gibPerSecond = 1_073.741824;

export function workload(more: Partial<Workload> = {}): Workload {
  return { ...workloadDefaults, peakToAverage: 1, ...more };
}

/** A bill's dollars for one item. */
export function dollars(
  bill: { readonly lines: readonly { item: string; dollars: number }[] },
  item: string,
): number {
  return bill.lines.filter((line) => line.item === item).reduce((sum, line) => sum + line.dollars, 0);
}

export function near(actual: number, expected: number, within = 1e-6): boolean {
  return Math.abs(actual - expected) <= within * Math.max(1, Math.abs(expected));
}
