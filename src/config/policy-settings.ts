/**
 * What operators decide about a cluster: a part of the one table, in its order. All but the hook's are read whenever the broker that
 * leads decides something, so a change of the default of all brokers (`kafka-configs --entity-type brokers --entity-default`) acts at
 * once, whoever leads. The hook names a program, and is each broker's own.
 */
import type { KafkaRule } from './kafka-value.ts';
import { bool, bytes, choice, double, duration, int, list, type SettingSpec, text } from './setting-spec.ts';
import { numberText, plainText, type SettingValue } from './values.ts';

const group = 'Cluster policy';
const day = 86_400_000;
const int32Max = 2 ** 31 - 1;

/** As the balancer has them, in its order. */
export const balanceGoals = ['racks', 'bytesIn', 'bytesOut', 'requests', 'streams', 'cpu'] as const;
export const weekDays = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

const dayText = `(?:${weekDays.join('|')})`;
const clockText = '(?:[01]\\d|2[0-3]):[0-5]\\d';
const window = new RegExp(`^(daily|${dayText}(?:-${dayText})?)@(${clockText})-(${clockText}|24:00)$`);
const windowShape = 'DAYS@HH:MM-HH:MM in UTC, DAYS as sun, mon-fri or daily';
const hook = /^(exec:\/.*|https?:\/\/[^\s]+)$/;

/** In UTC; minutes of the day. */
export interface WindowOfDays {
  /** 0 = Sunday. */
  readonly days: readonly number[];
  readonly from: number;
  readonly to: number;
}

/** `sat-sun@22:00-02:00`: an end before the beginning is on the next day. Null for what is none. */
export function parseWindow(value: string): WindowOfDays | null {
  const [, days, from, to] = window.exec(value.trim().toLowerCase()) ?? [];
  if (days === undefined) return null;
  const [hours = [], minutes = []] = [from!, to!].map((clock) => clock.split(':').map(Number));
  const at = ([hour = 0, minute = 0]: readonly number[]): number => hour * 60 + minute;
  return { days: daysOf(days), from: at(hours), to: at(minutes) };
}

function daysOf(value: string): number[] {
  if (value === 'daily') return weekDays.map((_name, number) => number);
  const names: readonly string[] = weekDays;
  const [first, last = first] = value.split('-').map((name) => names.indexOf(name));
  const days = [first!];
  while (days.at(-1) !== last) days.push((days.at(-1)! + 1) % weekDays.length);
  return days;
}

const nodeIds = (values: readonly string[]): string | null =>
  values.every((value) => /^\d{1,10}$/.test(value)) ? null : 'node ids';

export const policySettings = {
  'cluster.balance.enable': bool({
    group,
    default: true,
    kafka: 'boolean',
    doc: 'Whether partitions move for balance. Fail-over and drain do not depend on it.',
  }),
  'cluster.balance.dry.run': bool({
    group,
    default: false,
    kafka: 'boolean',
    doc: 'Moves for balance are planned, said in the log, and not made.',
  }),
  'cluster.balance.goals': list({
    group,
    default: balanceGoals,
    check: (values) =>
      values.every((value) => balanceGoals.some((goal) => goal === value))
        ? null
        : `of ${balanceGoals.join(', ')}`,
    kafka: 'list',
    doc: 'What brokers are balanced by. Their order is fixed: an earlier one is never given up for a later one.',
  }),
  'cluster.balance.trigger.ratio': double({
    group,
    default: 0.15,
    min: 0,
    max: 1,
    kafka: 'double',
    doc: 'Part of the mean by which a broker is above or below it before something moves.',
  }),
  'cluster.balance.target.ratio': double({
    group,
    default: 0.05,
    min: 0,
    max: 1,
    kafka: 'double',
    doc: 'Part of the mean within which moves bring brokers; at most cluster.balance.trigger.ratio. Between the two nothing moves (hysteresis).',
  }),
  'cluster.balance.moves.max': int({
    group,
    default: 256,
    min: 1,
    max: 1_000,
    kafka: 'int',
    doc: 'Partitions on their way at a time for balance.',
  }),
  'cluster.balance.cold.bytes.max': bytes({
    group,
    default: 2 ** 30,
    min: 0,
    max: 2 ** 40,
    kafka: 'long',
    doc: 'Bytes that readers of moved partitions would have to fetch from the store, by forecast, in one round of moves.',
  }),
  'cluster.balance.interval.ms': duration({
    group,
    default: 5_000,
    min: 100,
    max: day,
    kafka: 'long',
    doc: 'Between two looks at the balance.',
  }),
  'cluster.balance.round.ms': duration({
    group,
    default: 1_000,
    min: 100,
    max: day,
    kafka: 'long',
    doc: 'Between two rounds of moves, where one was not enough.',
  }),
  'cluster.balance.settle.ms': duration({
    group,
    default: 2_000,
    min: 0,
    max: day,
    kafka: 'long',
    doc: 'How long a broker is alive without a break before it is given partitions for balance.',
  }),
  'cluster.balance.exclude.topics': list({
    group,
    default: [],
    kafka: 'list',
    doc: 'Topics whose partitions do not move for balance.',
  }),
  'cluster.balance.exclude.brokers': list({
    group,
    default: [],
    check: nodeIds,
    kafka: 'list',
    doc: 'Node ids of brokers that neither give nor take for balance.',
  }),
  'cluster.move.timeout.ms': duration({
    group,
    default: 30_000,
    min: 1,
    max: day,
    kafka: 'long',
    doc: 'After how long a partition that does not open where it is to be is given to another broker.',
  }),
  'cluster.wal.unreachable': choice(['wait', 'abandon'], {
    group,
    default: 'wait',
    kafka: 'string',
    doc: 'What becomes of the write-ahead log of a lost broker that no other can read: it waits for that broker, or is given up, with what only it holds.',
  }),
  'cluster.wal.unreachable.wait.ms': duration({
    group,
    default: 600_000,
    min: 0,
    max: int32Max,
    kafka: 'long',
    doc: 'With cluster.wal.unreachable=abandon: how long the log is waited for before.',
  }),
  'cluster.scaling.enable': bool({
    group,
    default: false,
    kafka: 'boolean',
    doc: 'Whether brokers are asked for and drained. Without, the number of brokers is computed and shown only (a dry run).',
  }),
  'cluster.scaling.hook': text({
    group,
    default: '',
    check: (value) =>
      value === '' || hook.test(value) ? null : 'exec:/path/to/command, http:// or https://',
    doc: 'Who is asked for brokers: exec:/path/to/command, or an address that takes a POST of JSON. Empty = nobody; the metric says what is desired. Not to be changed while running.',
  }),
  'cluster.scaling.hook.timeout.ms': duration({
    group,
    default: 30_000,
    min: 100,
    max: 600_000,
    doc: 'How long one call of cluster.scaling.hook may take.',
  }),
  'cluster.scaling.brokers.min': int({
    group,
    default: 1,
    min: 1,
    max: 10_000,
    kafka: 'int',
    doc: 'The least brokers, whatever is carried and whatever the budget pays for.',
  }),
  'cluster.scaling.brokers.max': int({
    group,
    default: 16,
    min: 1,
    max: 10_000,
    kafka: 'int',
    doc: 'The most brokers.',
  }),
  'cluster.scaling.target.cpu': double({
    group,
    default: 0.6,
    min: 0,
    max: 1,
    kafka: 'double',
    doc: 'Part of its cores that one broker is to use; 0 = decides nothing.',
  }),
  'cluster.scaling.target.bytes.in': bytes({
    group,
    default: 0,
    min: 0,
    max: 2 ** 40,
    kafka: 'long',
    doc: 'Bytes a second that one broker is to take in; 0 = decides nothing.',
  }),
  'cluster.scaling.target.bytes.out': bytes({
    group,
    default: 0,
    min: 0,
    max: 2 ** 40,
    kafka: 'long',
    doc: 'Bytes a second that one broker is to send; 0 = decides nothing.',
  }),
  'cluster.scaling.target.requests': int({
    group,
    default: 0,
    min: 0,
    max: int32Max,
    kafka: 'int',
    doc: 'Appends and answers with records a second of one broker; 0 = decides nothing.',
  }),
  'cluster.scaling.target.partitions': int({
    group,
    default: 4_000,
    min: 0,
    max: int32Max,
    kafka: 'int',
    doc: 'Partitions that one broker is to have; 0 = decides nothing.',
  }),
  'cluster.scaling.in.below': double({
    group,
    default: 0.75,
    min: 0.01,
    max: 0.99,
    kafka: 'double',
    doc: 'A broker is taken away only if the others would carry less than this part of what they are to (hysteresis).',
  }),
  'cluster.scaling.step.out': int({
    group,
    default: 4,
    min: 1,
    max: 1_000,
    kafka: 'int',
    doc: 'Brokers that are asked for at a time.',
  }),
  'cluster.scaling.step.in': int({
    group,
    default: 1,
    min: 1,
    max: 1_000,
    kafka: 'int',
    doc: 'Brokers that are drained at a time.',
  }),
  'cluster.scaling.cooldown.out.ms': duration({
    group,
    default: 120_000,
    min: 0,
    max: day,
    kafka: 'long',
    doc: 'After brokers were asked for, until more are.',
  }),
  'cluster.scaling.cooldown.in.ms': duration({
    group,
    default: 900_000,
    min: 0,
    max: day,
    kafka: 'long',
    doc: 'After any change of their number, until a broker is taken away.',
  }),
  'cluster.scaling.maintenance.windows': list({
    group,
    default: [],
    check: (values) => (values.every((value) => parseWindow(value) !== null) ? null : windowShape),
    kafka: 'list',
    doc: `When the number of brokers does not change: ${windowShape}; an end before the beginning is on the next day.`,
  }),
  'cluster.scaling.budget.hour': double({
    group,
    default: 0,
    min: 0,
    max: 1e9,
    kafka: 'double',
    doc: 'What all brokers together may cost an hour, each of them cost.broker.hour; 0 = no ceiling.',
  }),
  'cluster.scaling.interval.ms': duration({
    group,
    default: 10_000,
    min: 100,
    max: day,
    kafka: 'long',
    doc: 'Between two looks at the number of brokers.',
  }),
} as const;

export type PolicySetting = keyof typeof policySettings;

/** What values at run time must match, as Kafka's tools send them. */
const patterns: Partial<Record<PolicySetting, NonNullable<KafkaRule['pattern']>>> = {
  'cluster.balance.exclude.brokers': {
    matches: /^(?:\d{1,10}(?:\s*,\s*\d{1,10})*)?$/,
    otherwise: 'Not node ids',
  },
  'cluster.scaling.maintenance.windows': {
    matches: new RegExp(`^(?:${window.source.slice(1, -1)}(?:\\s*,\\s*(?!$)|$))*$`, 'i'),
    otherwise: `Not ${windowShape}`,
  },
};

/** A policy that may be changed while brokers run, as a config of brokers. */
export interface PolicyConfig extends KafkaRule {
  readonly default: string;
}

/** By name. */
export function policyConfigs(): readonly PolicyConfig[] {
  const configs: PolicyConfig[] = [];
  for (const [name, spec] of Object.entries(policySettings)) {
    const {
      kafka,
      default: value,
      min,
      max,
      oneOf,
    } = spec as SettingSpec<SettingValue> & { oneOf?: readonly string[] };
    if (kafka === undefined) continue;
    const pattern = patterns[name as PolicySetting];
    configs.push({
      name,
      type: kafka,
      default: typeof value === 'number' ? numberText(value) : plainText(value as SettingValue),
      ...(min === undefined ? {} : { min }),
      ...(max === undefined ? {} : { max }),
      ...(oneOf === undefined ? {} : { oneOf }),
      ...(name === 'cluster.balance.goals' ? { oneOf: balanceGoals } : {}),
      ...(pattern === undefined ? {} : { pattern }),
    });
  }
  return configs;
}
