/** Text of docs/reference/configuration.md, from the tables; a test compares the page with it. */
import { brokerConfigs } from './broker-configs.ts';
import { type SettingKey, settingKeys, settingSpec } from './setting-keys.ts';
import { type AnySpec, settingGroups } from './setting-spec.ts';
import { environmentName, rangeText } from './settings.ts';
import { topicConfigs } from './topic-configs.ts';
import { humanText } from './values.ts';

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
  for (const config of topicConfigs) {
    lines.push(
      row([code(config.name), config.type, code(config.default), code(config.broker ?? ''), config.doc]),
    );
  }
  lines.push(
    '',
    '## Broker configs',
    '',
    'What DescribeConfigs tells of a broker, under the names of Apache Kafka.',
    '',
    '| name | type | default | at run time |',
    '|---|---|---|---|',
  );
  for (const config of brokerConfigs) {
    const value = config.default === null ? 'derived' : code(config.default);
    lines.push(row([code(config.name), config.type, value, config.readOnly ? 'fixed' : 'changeable']));
  }
  return `${lines.join('\n')}\n`;
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
