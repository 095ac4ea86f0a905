/**
 * `millrace cost`: what a month of a workload costs, by system. Words to bills; the price table and the measured coefficients
 * come from the files that ship with the package, or from those that are given.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Expected, parseBytes, parseDuration, parseList } from '../config/values.ts';
import { coefficientsCharsMax, parseCoefficients } from '../cost/coefficients.ts';
import { type EstimateOptions, estimate, estimateDefaults } from '../cost/estimate.ts';
import { estimateText } from '../cost/estimate-text.ts';
import { parsePriceTable, priceTableCharsMax } from '../cost/price-table.ts';
import { connectivities, scalings, type Workload, workloadDefaults } from '../cost/workload.ts';
import { MillraceError } from '../ports/errors.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';
import type { ProcessPort } from './process-port.ts';

const defaults = workloadDefaults;

/** Option, its argument in the help, and what it says. */
const costOptions = {
  ingest: ['SIZE', `bytes a second that producers send, on average (${defaults.ingestMbPerSecond}MB)`],
  'fan-out': ['N', `how often each byte is read (${defaults.fanOut})`],
  cold: ['SHARE', `of what is read, the share that comes from the store, 0 to 1 (${defaults.coldShare})`],
  retention: ['TIME', `how long records are kept (${defaults.retentionHours}h)`],
  partitions: ['N', `partitions in all (${defaults.partitions})`],
  message: ['SIZE', `bytes of a message (${defaults.messageBytes})`],
  request: ['SIZE', `bytes of a produce request on average (${defaults.requestBytes / 1024}KiB)`],
  zones: ['N', `availability zones (${defaults.zones})`],
  connectivity: ['WHERE', `clients: ${connectivities.join(', ')} (${defaults.connectivity})`],
  peak: ['RATIO', `peak to average (${defaults.peakToAverage})`],
  scaling: ['HOW', `brokers: ${scalings.join(', ')} the load (${defaults.scaling})`],
  instances: ['TYPES', `of Millrace's brokers, with commas (${estimateDefaults.instances.join(',')})`],
  'kafka-instance': ['TYPE', 'of Kafka’s brokers (the cheapest that the table knows enough of)'],
  prices: ['FILE', 'another price table'],
  coefficients: ['FILE', 'other measured coefficients'],
} as const;

export const costHelp = [
  'Usage: millrace cost [options]',
  '',
  'A monthly bill of one workload for Millrace, Apache Kafka, Amazon MSK and AutoMQ, line by line.',
  '',
  ...Object.entries(costOptions).map(([name, [word, doc]]) => `  ${`--${name} ${word}`.padEnd(24)} ${doc}`),
  `  ${'--details'.padEnd(24)} the arithmetic of each line, and the source of each number`,
  `  ${'--json'.padEnd(24)} one JSON object instead of a table`,
  '',
].join('\n');

/** Never rejects. */
export function runCost(host: ProcessPort, args: readonly string[]): ExitCode {
  try {
    const { values } = parseArgs({
      args: [...args],
      strict: true,
      options: {
        ...(Object.fromEntries(Object.keys(costOptions).map((name) => [name, { type: 'string' }])) as Record<
          keyof typeof costOptions,
          { type: 'string' }
        >),
        details: { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) {
      host.out(costHelp);
      return exitCodes.clean;
    }
    const prices = parsePriceTable(read(host, values.prices, 'prices.tsv', priceTableCharsMax));
    const coefficients = parseCoefficients(
      read(host, values.coefficients, 'coefficients.json', coefficientsCharsMax),
    );
    const options: EstimateOptions = {
      instances: values.instances === undefined ? estimateDefaults.instances : parseList(values.instances),
      kafkaInstance: values['kafka-instance'] ?? null,
    };
    const result = estimate(workloadOf(values), prices, coefficients, options);
    host.out(
      values.json === true
        ? `${JSON.stringify(result, null, 2)}\n`
        : estimateText(result, values.details === true),
    );
    return exitCodes.clean;
  } catch (error) {
    host.err(
      `millrace: ${error instanceof Error ? error.message : String(error)}\nTry: millrace cost --help\n`,
    );
    return exitCodes.wrongSetting;
  }
}

function read(host: ProcessPort, given: string | undefined, shipped: string, charsMax: number): string {
  const path = given === undefined ? host.dataFile(shipped) : resolve(host.directory, given);
  return host.readText(path, charsMax);
}

type Given = Readonly<Partial<Record<keyof typeof costOptions, string>>>;

function workloadOf(given: Given): Workload {
  const size = (name: keyof Given, otherwise: number): number => parsed(given, name, parseBytes) ?? otherwise;
  const number = (name: keyof Given, otherwise: number): number =>
    parsed(given, name, (text) => {
      const value = text.trim() === '' ? Number.NaN : Number(text);
      if (!Number.isFinite(value)) throw new Expected('a number');
      return value;
    }) ?? otherwise;
  const one = <T extends string>(name: keyof Given, known: readonly T[], otherwise: T): T =>
    parsed(given, name, (text) => {
      const found = known.find((each) => each === text);
      if (found === undefined) throw new Expected(`one of ${known.join(', ')}`);
      return found;
    }) ?? otherwise;
  const messageBytes = size('message', defaults.messageBytes);
  return {
    ingestMbPerSecond: size('ingest', defaults.ingestMbPerSecond * 1e6) / 1e6,
    fanOut: number('fan-out', defaults.fanOut),
    coldShare: number('cold', defaults.coldShare),
    retentionHours:
      (parsed(given, 'retention', (text) => parseDuration(text, 'ms')) ?? defaults.retentionHours * 3.6e6) /
      3.6e6,
    partitions: number('partitions', defaults.partitions),
    messageBytes,
    requestBytes: size('request', Math.max(messageBytes, defaults.requestBytes)),
    zones: number('zones', defaults.zones),
    connectivity: one('connectivity', connectivities, defaults.connectivity),
    peakToAverage: number('peak', defaults.peakToAverage),
    scaling: one('scaling', scalings, defaults.scaling),
  };
}

function parsed<T>(given: Given, name: keyof Given, parse: (text: string) => T): T | null {
  const text = given[name];
  if (text === undefined) return null;
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof Expected)) throw error;
    throw new MillraceError('invalid', 'WORKLOAD', `--${name} ${text}: expected ${error.message}`);
  }
}
