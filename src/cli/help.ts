/** Text of --help: the commands, the options, and every setting with its value on this machine. */
import { deriveLimits, type Machine, type Profile } from '../config/derive.ts';
import { settingsHelp } from '../config/help.ts';
import { resolveSettings } from '../config/settings.ts';
import { bytesText } from '../config/values.ts';
import { optionsHelp } from './arguments.ts';

export function helpText(profile: Profile, machine: Machine, directory: string): string {
  const { settings } = resolveSettings({ profile, machine, directory });
  const limits = deriveLimits(settings);
  const gib = (machine.memoryBytes / 2 ** 30).toFixed(1);
  const lines = [
    'Millrace: a Kafka-compatible broker whose durable data lives in object storage.',
    '',
    'Usage:',
    '  millrace start [options]    serve until SIGTERM or SIGINT; a second signal ends it at once',
    '  millrace doctor [STORE]     try out an object store: has it all that a broker relies on?',
    '  millrace inspect [STORE]    print what a store holds; --verify reads and checks all of it',
    '  millrace restore            make the metadata of a lost etcd anew from the store, in --metadata',
    '  millrace metadata show      where the metadata are kept, and how they stand',
    '  millrace metadata migrate   move them, with --to, while no broker runs',
    '  millrace cluster status|plan|moves|audit, drain, abandon   see millrace cluster --help',
    '  millrace cost [options]     what a month of a workload costs, by system; cost --help says more',
    '  millrace help               this text',
    '',
    'Options:',
    ...optionsHelp.map(([option, doc]) => `  ${option.padEnd(20)} ${doc}`),
    '',
    'A setting comes from the last of: default, profile, --config file, environment (data.dir is',
    'MILLRACE_DATA_DIR), option. Sizes: 512MB, 2GiB. Durations: 500ms, 60s, 7d.',
    '',
    `Settings, with the defaults of profile ${profile} on this machine (${gib} GiB of memory, cores: ${machine.cores}):`,
    ...settingsHelp(settings),
    '',
    'Following from these:',
    `  shards ${limits.shards}, arena of ${limits.segments} segments, of it to receive ${bytesText(limits.receiveBudgetBytes)}` +
      ` and to send ${bytesText(limits.sendBudgetBytes)}`,
    `  uploads start at ${bytesText(limits.uploadTriggerBytes)}, batches held per shard and volume: ${limits.journalEntries}`,
    '',
    'Exit codes: 0 clean, 1 inspect found problems, 64 wrong setting, 69 store unreachable or unfit',
    'or a volume without an answer at start, 70 internal error, 73 refused, 75 stopped before all was',
    'uploaded (it is in the WAL), 76 another broker took over, 77 the metadata are kept elsewhere.',
  ];
  return `${lines.join('\n')}\n`;
}
