/**
 * The broker configs that DescribeConfigs tells: all of Apache Kafka 4.4, under its names, and what topics inherit besides. Those that are settings here,
 * or that topics inherit, act and show what is in force. The others are accepted, checked and kept as in Kafka, and do
 * nothing; each says why. Policies of a cluster can be changed while it runs; what else is a setting here needs a restart, also where Kafka could change it while running: a
 * change that is accepted and does not act would be worse than a refusal.
 */
import { groupConfigs } from './group-configs.ts';
import { type BrokerMode, type KafkaBrokerConfig, kafkaBrokerConfigs } from './kafka-table.ts';
import type { KafkaRule } from './kafka-value.ts';
import { policyConfigs } from './policy-settings.ts';
import { type SettingKey, type Settings, settingKeys, settingSpec } from './setting-keys.ts';
import { topicConfigs } from './topic-configs.ts';
import { plainText } from './values.ts';

export interface BrokerConfigRow {
  readonly name: string;
  readonly rule: KafkaRule;
  /** Null = no value unless one is given at start. */
  readonly default: string | null;
  readonly mode: BrokerMode;
  readonly sensitive: boolean;
  readonly doc: string;
  /** Whether it does something here. */
  readonly acts: boolean;
}

const noReplicas = 'the object store replicates, brokers do not';

/** Values that are facts here, whatever Kafka's default is. */
const facts: Readonly<Record<string, { readonly value: string; readonly why: string }>> = {
  'default.replication.factor': { value: '1', why: noReplicas },
  'offsets.topic.replication.factor': { value: '1', why: noReplicas },
  'transaction.state.log.replication.factor': { value: '1', why: noReplicas },
  'transaction.state.log.min.isr': { value: '1', why: noReplicas },
  'share.coordinator.state.topic.replication.factor': { value: '1', why: noReplicas },
  'share.coordinator.state.topic.min.isr': { value: '1', why: noReplicas },
  'process.roles': { value: 'broker,controller', why: 'a broker keeps its metadata itself' },
};

/** Read whenever they are needed: a change acts at once. Those that are settings have their doc there. */
const whileRunning: Readonly<Record<string, string>> = {
  'group.consumer.assignment.interval.ms': '',
  'log.cleaner.backoff.ms': '',
  'log.cleaner.dedupe.buffer.size': '',
  'log.cleaner.io.buffer.load.factor': 'Share of the slots of the key map of log compaction that are filled.',
  'log.cleaner.io.max.bytes.per.second':
    'Bytes per second that log compaction reads and writes together, within what compaction.bandwidth leaves.',
};

/** Why configs that begin like this do nothing; the first that fits. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [/^(replica|follower|unclean|leader\.|min\.insync|auto\.leader|num\.replica|replication)/, noReplicas],
  [/^remote\./, 'everything is in the object store, there is no second tier'],
  [
    /^(controller|metadata\.|broker\.heartbeat|broker\.session|initial\.broker|process)/,
    'metadata are kept in the object store, without a quorum',
  ],
  [/^(sasl|delegation|connections\.max\.reauth|connection\.failed)/, 'SASL is not served yet'],
  [
    /^(authorizer|principal|ssl|security|super|early\.start)/,
    'TLS has settings of its own, and nothing is authorized yet',
  ],
  [/^(quota|client\.quota|alter\.log\.dirs|max\.connection)/, 'quotas are not served yet'],
  [
    /^(log\.cleaner|log\.segment|log\.roll|log\.index|log\.flush|log\.preallocate|log\.dir|log\.local|log\.remote|cordoned|num\.recovery)/,
    'partitions are objects in the store, not files',
  ],
  [/^(transaction|add\.partitions)/, 'the transaction coordinator has limits of its own'],
  [/^group\.consumer\.assignors/, 'the assignors are uniform and range'],
  [
    /^group\.coordinator\.rebalance/,
    'the feature group.version says whether the consumer protocol is served',
  ],
  [/^group\.streams\.assignors/, 'the assignor of tasks is sticky'],
  [/^group\.streams\.topology/, 'descriptions of topologies are not kept'],
  [/^(group|share|errors)/, 'what it is for is not served yet'],
  [
    /(threads|queued|purgatory|buffer\.bytes|backlog)/,
    'threads and memory follow the settings of this broker',
  ],
  [/(metric|telemetry)/, 'metrics are served over HTTP'],
  [/(class|policy|plugin|providers)/, 'there are no classes to load'],
];

/** Read by groups, beside what each group inherits; at their defaults, since they are no settings of Millrace. */
const groupDocs: Readonly<Record<string, string>> = {
  'group.share.max.size': 'How many members a share group may have.',
  'group.streams.max.size': 'How many members a streams group may have.',
  'group.share.max.share.sessions': 'How many share sessions a shard keeps.',
  'share.coordinator.snapshot.update.records.per.snapshot':
    'After so many updates the state of a share partition is written whole.',
  'share.coordinator.write.timeout.ms':
    'How long a write to the share coordinator is tried again before the share partition is read anew.',
};
const groupBound = /^group\.(share|streams)\.(min|max)\.(.*)$/;
const unservedGroupConfigs: readonly string[] = ['streams.assignor.name'];

/** What a broker config is for that share and streams groups read; null for all others. */
function groupDoc(name: string): string | null {
  const group = groupConfigs.find(({ broker }) => broker === name);
  const [, inheriting] = /^(share|streams)\./.exec(group?.name ?? '') ?? [];
  if (group !== undefined && inheriting !== undefined && !unservedGroupConfigs.includes(group.name))
    return `What ${inheriting} groups inherit as ${group.name}. ${group.doc}`;
  if (groupDocs[name] !== undefined) return groupDocs[name];
  const [, kind, which, what] = groupBound.exec(name) ?? [];
  if (what === undefined) return null;
  // Its bound leaves a part of the name out.
  const bounded = what === 'standby.replicas' ? `num.${what}` : what;
  return `The ${which === 'min' ? 'least' : 'most'} that a group may set as ${kind}.${bounded}.`;
}

let rows: ReadonlyMap<string, BrokerConfigRow> | null = null;

/** By name, in the order of names; made when first asked. */
export function brokerConfigs(): ReadonlyMap<string, BrokerConfigRow> {
  rows ??= buildRows();
  return rows;
}

function buildRows(): ReadonlyMap<string, BrokerConfigRow> {
  const settings = new Map<string, SettingKey>();
  for (const key of settingKeys) if (settingSpec(key).kafka !== undefined) settings.set(kafkaName(key), key);
  const inherited = new Map(topicConfigs.map((config) => [config.broker, config]));
  const policies = new Set(policyConfigs().map(({ name }) => name));
  const built = new Map<string, BrokerConfigRow>();
  const known = new Map([...kafkaBrokerConfigs(), ...ownConfigs()]);
  for (const [name, config] of [...known].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const topic = inherited.get(name);
    const key = settings.get(name);
    const base = idleRow(config);
    if (topic !== undefined) {
      const doc = `What topics inherit as ${topic.name}. ${topic.doc}`;
      built.set(name, { ...base, rule: { ...topic, name }, default: topic.default, doc, acts: true });
    } else if (name in whileRunning) built.set(name, { ...base, doc: whileRunning[name]!, acts: true });
    else {
      const doc = groupDoc(name);
      built.set(name, doc === null ? base : { ...base, doc, acts: true });
    }
    if (key === undefined) continue;
    const { default: value, doc } = settingSpec(key);
    built.set(name, {
      ...built.get(name)!,
      default: typeof value === 'function' ? null : plainText(value),
      mode: topic !== undefined || name in whileRunning || policies.has(name) ? config.mode : 'ro',
      doc,
      acts: true,
    });
  }
  return built;
}

/** Under names that Kafka does not have: what topics inherit, and policies of a cluster. */
function ownConfigs(): [string, KafkaBrokerConfig][] {
  const kafka = kafkaBrokerConfigs();
  const inherited = topicConfigs.flatMap((topic): [string, KafkaBrokerConfig][] =>
    topic.broker === null || kafka.has(topic.broker)
      ? []
      : [[topic.broker, { ...topic, name: topic.broker, mode: 'cluster', secret: false }]],
  );
  const policies = policyConfigs().map((config): [string, KafkaBrokerConfig] => [
    config.name,
    { ...config, mode: 'cluster', secret: false },
  ]);
  return [...inherited, ...policies];
}

function idleRow(config: KafkaBrokerConfig): BrokerConfigRow {
  const { name, default: byDefault, mode, secret } = config;
  const fact = facts[name];
  const why =
    fact?.why ?? reasons.find(([pattern]) => pattern.test(name))?.[1] ?? 'it has no counterpart here';
  return {
    name,
    rule: config,
    default: fact?.value ?? byDefault,
    mode,
    sensitive: secret,
    doc: `${fact === undefined ? 'No effect' : 'Fixed'}: ${why}.`,
    acts: false,
  };
}

function kafkaName(key: SettingKey): string {
  return settingSpec(key).kafkaName ?? key;
}

/** Values that differ from Kafka-wide defaults because of this start: what DescribeConfigs calls static. */
export function staticBrokerConfigs(settings: Settings): Record<string, string> {
  const values: Record<string, string> = {};
  for (const key of settingKeys) {
    const spec = settingSpec(key);
    if (spec.kafka === undefined) continue;
    const value = plainText(settings[key]);
    // Defaults that depend on machine or profile have no one value to compare with.
    const isDefault = typeof spec.default !== 'function' && value === plainText(spec.default);
    if (!isDefault && value !== '') values[kafkaName(key)] = value;
  }
  return values;
}
