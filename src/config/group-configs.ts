/**
 * The configs of groups and of client metrics subscriptions in Apache Kafka 4.4, all of them. Groups need not exist to
 * be configured; they inherit from the broker config named beside each. Most of a group's numbers must lie between two
 * broker configs, which operators set so that no application can ask for more than they allow.
 */
import { validRule } from './kafka-table.ts';
import type { KafkaConfig } from './kafka-value.ts';
import type { KafkaType } from './setting-spec.ts';

function row(
  name: string,
  type: KafkaType,
  byDefault: string | null,
  valid: string,
  doc: string,
  broker: string | null = null,
): KafkaConfig {
  return { name, type, default: byDefault, broker, doc, ...validRule(valid) };
}

const resetText =
  "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.";
const resetPattern = {
  matches: /^(earliest|latest|by_duration:P(?=\d|T\d)(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d{1,9})?S)?)?)$/,
  otherwise: resetText,
};

const assignment = 'How often the target assignment of a group may change at most.';
const heartbeat = 'How often members are told to send heartbeats.';
const session = 'How long a member may be silent before it is dropped.';

export const groupConfigs: readonly KafkaConfig[] = [
  row(
    'consumer.assignment.interval.ms',
    'int',
    '1000',
    '0..',
    assignment,
    'group.consumer.assignment.interval.ms',
  ),
  row(
    'consumer.heartbeat.interval.ms',
    'int',
    '5000',
    '1..',
    heartbeat,
    'group.consumer.heartbeat.interval.ms',
  ),
  row('consumer.session.timeout.ms', 'int', '45000', '1..', session, 'group.consumer.session.timeout.ms'),
  row(
    'errors.deadletterqueue.copy.record.enable',
    'boolean',
    'false',
    'any',
    'No effect: dead letter queues of share groups are not served.',
  ),
  row(
    'errors.deadletterqueue.topic.name',
    'string',
    '',
    'any',
    'No effect: dead letter queues of share groups are not served.',
  ),
  row('share.assignment.interval.ms', 'int', '1000', '0..', assignment, 'group.share.assignment.interval.ms'),
  {
    ...row('share.auto.offset.reset', 'string', 'latest', 'any', 'Where a new share group begins to read.'),
    pattern: resetPattern,
  },
  row(
    'share.delivery.count.limit',
    'int',
    '5',
    '2..',
    'How often a record is delivered before it is given up.',
    'group.share.delivery.count.limit',
  ),
  row('share.heartbeat.interval.ms', 'int', '5000', '1..', heartbeat, 'group.share.heartbeat.interval.ms'),
  row(
    'share.isolation.level',
    'string',
    'read_uncommitted',
    'read_committed|read_uncommitted',
    'Whether a share group sees records of open and aborted transactions.',
  ),
  row(
    'share.partition.max.record.locks',
    'int',
    '2000',
    '100..',
    'How many records of a partition may be under delivery at once.',
    'group.share.partition.max.record.locks',
  ),
  row(
    'share.record.lock.duration.ms',
    'int',
    '30000',
    '1000..',
    'How long a delivered record waits for its acknowledgement.',
    'group.share.record.lock.duration.ms',
  ),
  row('share.renew.acknowledge.enable', 'boolean', 'true', 'any', 'Whether members may ask for more time.'),
  row('share.session.timeout.ms', 'int', '45000', '1..', session, 'group.share.session.timeout.ms'),
  {
    ...row(
      'streams.acceptable.recovery.lag',
      'long',
      '10000',
      '0..',
      'Records by which the state of a task may lag where the task becomes active, for groups with warm-ups.',
    ),
    internal: true,
  },
  row(
    'streams.assignment.interval.ms',
    'int',
    '1000',
    '0..',
    assignment,
    'group.streams.assignment.interval.ms',
  ),
  row('streams.assignor.name', 'string', 'sticky', 'any', 'Assignor of tasks.', 'group.streams.assignors'),
  row(
    'streams.heartbeat.interval.ms',
    'int',
    '5000',
    '1..',
    heartbeat,
    'group.streams.heartbeat.interval.ms',
  ),
  row(
    'streams.initial.rebalance.delay.ms',
    'int',
    '3000',
    '0..',
    'How long a new streams group waits for further members.',
    'group.streams.initial.rebalance.delay.ms',
  ),
  row(
    'streams.num.standby.replicas',
    'int',
    '0',
    '0..',
    'Standby copies of every stateful task.',
    'group.streams.num.standby.replicas',
  ),
  {
    ...row(
      'streams.num.warmup.replicas',
      'int',
      '0',
      '0..20',
      'Tasks of a group that may warm up at a time before they move; 0 = all tasks move at once, as in Apache Kafka 4.4.',
    ),
    internal: true,
  },
  row(
    'streams.rack.aware.assignment.tags',
    'list',
    '',
    'any',
    'Client tags over which standby tasks are spread.',
    'group.streams.rack.aware.assignment.tags',
  ),
  row('streams.session.timeout.ms', 'int', '45000', '1..', session, 'group.streams.session.timeout.ms'),
  {
    ...row(
      'streams.task.offset.interval.ms',
      'int',
      '60000',
      '15000..',
      'How often members tell how far the state of their tasks is.',
    ),
    internal: true,
  },
];

/** Client metrics subscriptions (KIP-714). */
export const clientMetricsConfigs: readonly KafkaConfig[] = [
  row('interval.ms', 'int', '300000', 'any', 'How often clients push their metrics.'),
  row('match', 'list', '', 'any', 'Which clients push: selectors such as client_id=a.*; all must match.'),
  row('metrics', 'list', '', 'any', 'Prefixes of the metrics that are pushed; * for all.'),
];

/** `consumer.session.timeout.ms` lies between `group.consumer.min.session.timeout.ms` and the same with max. */
const ranged =
  /^(consumer|share|streams)\.((?:assignment|heartbeat)\.interval\.ms|session\.timeout\.ms|delivery\.count\.limit|record\.lock\.duration\.ms|partition\.max\.record\.locks)$/;

/** What is wrong with a group's entries under the broker configs in force, or null. */
export function groupRangeProblem(
  entries: Readonly<Record<string, string>>,
  brokerValue: (name: string) => string | null,
): string | null {
  for (const [name, text] of Object.entries(entries)) {
    const value = Number(text);
    const [, kind, what] = ranged.exec(name) ?? [];
    if (kind !== undefined) {
      const bound = (which: 'min' | 'max'): number => Number(brokerValue(boundName(kind, which, what!)));
      const [min, max] = [bound('min'), bound('max')];
      if (value < min || value > max) return `${name} must be in the range ${min} to ${max} inclusive.`;
    }
    const most = Number(brokerValue('group.streams.max.standby.replicas'));
    if (name === 'streams.num.standby.replicas' && value > most) {
      return `${name} must be less than or equal to ${most}`;
    }
    const assignors = brokerValue('group.streams.assignors') ?? '';
    if (name === 'streams.assignor.name' && !assignors.split(',').includes(text)) {
      return `${name} '${text}' is not a registered task assignor. Registered assignors are: [${assignors}].`;
    }
  }
  return null;
}

function boundName(kind: string, which: 'min' | 'max', what: string): string {
  // The bound of a bound: group.share.max.partition.max.record.locks.
  return `group.${kind}.${which}.${what}`;
}

const intervalMs = { min: 100, max: 3_600_000 } as const;
const selectors = new Set([
  'client_instance_id',
  'client_id',
  'client_software_name',
  'client_software_version',
  'client_source_address',
]);

/** What is wrong with the value of a subscription's config beyond its type, and whose fault it is, or null. */
export function subscriptionProblem(name: string, value: string): string | null {
  if (name === 'interval.ms') {
    const { min, max } = intervalMs;
    const within = Number(value) >= min && Number(value) <= max;
    return within
      ? null
      : `Invalid value ${value} for interval.ms, interval must be between ${min} and ${max} (1 hour)`;
  }
  if (name !== 'match') return null;
  const wrong = value
    .split(',')
    .map((selector) => selector.trim())
    .find((selector) => selector !== '' && parseSelector(selector) === null);
  return wrong === undefined ? null : `Illegal client matching pattern: ${wrong}`;
}

/**
 * A selector of `match`: which property of a client must match what as a whole; null when it is none. Patterns are run on
 * every client's text, on a shard's loop: at most two quantifiers and none behind a group, so that a match takes time
 * quadratic in a text of `selectedCharsMax` at worst.
 */
export function parseSelector(
  selector: string,
): { readonly property: string; readonly matches: RegExp } | null {
  const at = selector.indexOf('=');
  const property = selector.slice(0, at).trim();
  const pattern = selector.slice(at + 1).trim();
  if (at < 0 || !selectors.has(property)) return null;
  const quantifiers = pattern.replace(/\\./g, '').match(/[*+?{]/g)?.length ?? 0;
  if (quantifiers > 2 || /\)[*+?{]|\\\d|\(\?/.test(pattern)) return null;
  try {
    return { property, matches: new RegExp(`^(?:${pattern})$`) };
  } catch {
    return null;
  }
}

/** Longer texts of clients match no selector. */
export const selectedCharsMax = 256;
