/**
 * Reads the table of Kafka's broker configs. Parsed when somebody first asks: a start needs a few of its rows, and a
 * broker that nobody describes needs none.
 *
 *   any   1..9   0..   -1|1..9 (a range, and one value beside it)   a|b   list:a|b   nocase:a|b
 */
import { kafkaBrokerTable } from './kafka-broker-table.ts';
import type { KafkaRule } from './kafka-value.ts';
import type { KafkaType } from './setting-spec.ts';

/** How a broker config can be changed: not while running, on a broker or the default of all, on a broker only. */
export type BrokerMode = 'ro' | 'cluster' | 'per-broker';

export interface KafkaBrokerConfig extends KafkaRule {
  readonly default: string | null;
  readonly mode: BrokerMode;
  /** The value is never told. */
  readonly secret: boolean;
}

let parsed: ReadonlyMap<string, KafkaBrokerConfig> | null = null;

/** By name, in the order of names. */
export function kafkaBrokerConfigs(): ReadonlyMap<string, KafkaBrokerConfig> {
  parsed ??= new Map(
    kafkaBrokerTable
      .trim()
      .split('\n')
      .map((line) => {
        const [name = '', type = '', value = '', valid = '', mode = '', secret] = line.split(' ');
        const config: KafkaBrokerConfig = {
          name,
          type: type as KafkaType,
          default: value === '-' ? null : value === '""' ? '' : value,
          mode: mode as BrokerMode,
          secret: secret === 'secret',
          ...validRule(valid),
        };
        return [name, config];
      }),
  );
  return parsed;
}

/** The rule that a cell of the column of valid values states. */
export function validRule(valid: string): Partial<KafkaRule> {
  if (valid === 'any' || valid === '') return {};
  const range = /^(?:(-?\d+)\|)?(-?\d+)\.\.(-?\d+)?$/.exec(valid);
  if (range !== null) {
    const [, also, min, max] = range;
    return {
      ...(also === undefined ? {} : { also: Number(also) }),
      min: Number(min),
      ...(max === undefined ? {} : { max: Number(max) }),
    };
  }
  const anyCase = valid.startsWith('nocase:');
  const oneOf = valid.replace(/^(list|nocase):/, '').split('|');
  return anyCase ? { oneOf, anyCase } : { oneOf };
}
