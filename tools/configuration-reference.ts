/** Text of docs/reference/configuration.md, from the tables; a test compares the page with it. */
import { brokerConfigs } from '../src/config/broker-configs.ts';
import { clientMetricsConfigs, groupConfigs } from '../src/config/group-configs.ts';
import type { KafkaConfig } from '../src/config/kafka-value.ts';
import { type SettingKey, settingKeys, settingSpec } from '../src/config/setting-keys.ts';
import { type AnySpec, settingGroups } from '../src/config/setting-spec.ts';
import { environmentName, rangeText } from '../src/config/settings.ts';
import { topicConfigs } from '../src/config/topic-configs.ts';
import { humanText } from '../src/config/values.ts';

export function configurationReference(): string {
  const lines = [
    '# Configuration',
    '',
    'Generated from the tables in `src/config`; do not edit by hand.',
    '',
    'A setting is taken from the last of these places that names it: its default, the profile, the file of `--config`',
    '(Java properties), the environment (`wal.capacity` is `MILLRACE_WAL_CAPACITY`), `--set wal.capacity=1GiB`.',
    'Sizes are written `512MB` (10^6), `2GiB` (2^30) or `500_000_000`; durations `500ms`, `60s`, `1m`, `2h`, `7d`;',
    'lists with commas. An unknown setting is refused; an unknown `MILLRACE_*` variable is warned of. Relative paths start',
    'from the working directory. `millrace --help` shows the values in force on the machine at hand.',
    '',
  ];
  for (const group of settingGroups) {
    lines.push(`## ${group}`, '');
    for (const key of settingKeys) {
      const spec = settingSpec(key);
      if (spec.group === group) lines.push(...settingEntry(key, spec));
    }
  }
  lines.push(
    '## Topic configs',
    '',
    'All of Apache Kafka 4.4 are accepted, with its types, defaults and ranges. A topic inherits from the broker config',
    'named beside it, which can be changed at run time on the broker or on the cluster default.',
    '',
    '| name | type | default | inherited from | meaning |',
    '|---|---|---|---|---|',
  );
  for (const config of topicConfigs) lines.push(kafkaRow(config));
  lines.push(
    '',
    '## Group configs',
    '',
    'Set with IncrementalAlterConfigs on a group (`kafka-configs --entity-type groups`), which need not exist.',
    '',
    '| name | type | default | inherited from | meaning |',
    '|---|---|---|---|---|',
  );
  for (const config of groupConfigs) lines.push(kafkaRow(config));
  lines.push(
    '',
    '## Client metrics subscriptions',
    '',
    'What clients push (KIP-714); a selector of `match` has two quantifiers at most, and none behind a group.',
    '',
    '| name | type | default | inherited from | meaning |',
    '|---|---|---|---|---|',
  );
  for (const config of clientMetricsConfigs) lines.push(kafkaRow(config));
  lines.push(
    '',
    '## Broker configs',
    '',
    'All of Apache Kafka 4.4, as DescribeConfigs tells them. At run time: `cluster` on a broker and on the default of all,',
    '`broker` on a broker only. A name that Kafka does not know is kept as it is and its value never told, as in Kafka.',
    '',
    '| name | type | default | at run time | meaning |',
    '|---|---|---|---|---|',
  );
  for (const { name, rule, default: value, mode, doc, acts } of brokerConfigs().values()) {
    const told = value === null ? (acts ? 'derived' : '') : code(value);
    const when = mode === 'ro' ? 'fixed' : mode === 'cluster' ? 'cluster' : 'broker';
    lines.push(row([code(name), rule.type, told, when, doc]));
  }
  return `${lines.join('\n')}\n`;
}

function kafkaRow({ name, type, default: value, broker, doc }: KafkaConfig): string {
  return row([code(name), type, code(value ?? ''), code(broker ?? ''), doc]);
}

function settingEntry(key: SettingKey, spec: AnySpec): string[] {
  const type = spec.type === 'duration' ? `duration in ${spec.unit ?? 'ms'}` : spec.type;
  const facts = [`type ${type}`, `default ${defaultText(spec)}`];
  const range = rangeText(spec);
  if (range !== '') facts.push(`valid: ${range}`);
  const other = [...(spec.kafkaName === undefined ? [] : [spec.kafkaName]), ...Object.keys(spec.names ?? {})];
  if (other.length > 0) facts.push(`also read as ${other.map(code).join(', ')}`);
  return [`### \`${key}\``, '', spec.doc, '', `${facts.join(' · ')} · \`${environmentName(key)}\``, ''];
}

function defaultText(spec: AnySpec): string {
  if (spec.defaultText !== undefined) return spec.defaultText;
  const value = typeof spec.default === 'function' ? '' : humanText(spec.type, spec.default, spec.unit);
  return value === '' ? 'none' : code(value);
}

function code(text: string): string {
  return text === '' ? '' : `\`${text}\``;
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
