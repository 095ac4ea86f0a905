/** Settings of running a broker: stops, log lines, what it costs. Part of the table in setting-table.ts. */
import { choice, double, duration, perProfile } from './setting-spec.ts';

const int32Max = 2 ** 31 - 1;

export const operationSettings = {
  'shutdown.timeout.ms': duration({
    group: 'Operation',
    default: 30_000,
    min: 0,
    max: int32Max,
    doc: 'Time for the last upload at a stop; what is left stays in the WAL for the next start.',
  }),
  'log.level': choice(['debug', 'info', 'warn', 'error'], {
    group: 'Operation',
    default: perProfile({ start: 'info', dev: 'info', embedded: 'warn' }),
    defaultText: 'info; embedded warn',
    doc: "Least severe of the broker's own log lines that are written.",
  }),
  'log.format': choice(['text', 'json'], {
    group: 'Operation',
    default: 'text',
    doc: 'Log lines for people (text) or one JSON object a line.',
  }),
  'cost.broker.hour': double({
    group: 'Operation',
    default: 0,
    min: 0,
    max: 10_000,
    doc: "What this broker's machine and volumes cost an hour, in the currency of the price table: for the cost metrics only; 0 = not said.",
  }),
} as const;
