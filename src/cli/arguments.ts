/** The command line: words to a command with settings. Pure; a wrong one throws UsageError with a hint. */
import { parseArgs } from 'node:util';
import { type Profile, profiles } from '../config/derive.ts';
import { type GivenSetting, nearestName } from '../config/settings.ts';
import { MillraceError } from '../ports/errors.ts';

export class UsageError extends MillraceError {
  constructor(message: string) {
    super('invalid', 'SETTING', `${message}\nTry: millrace --help`);
    this.name = 'UsageError';
  }
}

export interface StartCommand {
  readonly kind: 'start';
  readonly configFile: string | null;
  /** In order; later ones win. */
  readonly flags: readonly GivenSetting[];
  readonly abandonWals: readonly string[];
  readonly salvageWals: readonly string[];
  readonly takeOver: boolean;
}
/** An operator's command: it looks at a store and ends. */
export interface ToolCommand {
  readonly kind: 'doctor' | 'inspect';
  readonly configFile: string | null;
  readonly flags: readonly GivenSetting[];
  /** As it was written; null = that of the settings. */
  readonly store: string | null;
  readonly json: boolean;
  readonly verify: boolean;
  readonly topic: string | null;
}
/** An operator's command over a cluster's metadata, while no broker runs. */
export interface MetadataCommand {
  readonly kind: 'metadata';
  readonly action: MetadataAction;
  readonly configFile: string | null;
  readonly flags: readonly GivenSetting[];
  /** As it was written; null = that of the settings. */
  readonly store: string | null;
  readonly json: boolean;
  readonly dryRun: boolean;
  readonly takeOver: boolean;
  /** An etcd's URL or `embedded`; '' unless it is a move. */
  readonly to: string;
}
export type MetadataAction = 'show' | 'migrate' | 'restore';
export type Command =
  | StartCommand
  | ToolCommand
  | MetadataCommand
  | { readonly kind: 'help'; readonly profile: Profile }
  | { readonly kind: 'version' };

/** Flags that are settings under a short name. */
const settingFlags = {
  data: 'data.dir',
  store: 'store.url',
  wal: 'wal.url',
  metadata: 'metadata.url',
  listen: 'listeners',
  http: 'http.address',
  threads: 'threads',
  profile: 'profile',
} as const;

const options = {
  data: { type: 'string' },
  store: { type: 'string' },
  wal: { type: 'string' },
  metadata: { type: 'string' },
  listen: { type: 'string' },
  http: { type: 'string' },
  threads: { type: 'string' },
  profile: { type: 'string' },
  config: { type: 'string' },
  set: { type: 'string' },
  'abandon-wal': { type: 'string' },
  'salvage-wal': { type: 'string' },
  'take-over': { type: 'boolean' },
  json: { type: 'boolean' },
  verify: { type: 'boolean' },
  topic: { type: 'string' },
  to: { type: 'string' },
  'dry-run': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const;
/** May be given several times. */
const repeatable: ReadonlySet<string> = new Set(['wal', 'listen', 'set', 'abandon-wal', 'salvage-wal']);
const commands = ['start', 'doctor', 'inspect', 'restore', 'metadata', 'help'] as const;
/** Options that not every command takes. */
const toolOptions: Readonly<Record<string, readonly string[]>> = {
  json: ['doctor', 'inspect', 'restore', 'metadata'],
  to: ['metadata'],
  'dry-run': ['restore', 'metadata'],
  data: ['start', 'restore', 'metadata'],
  metadata: ['start', 'restore', 'metadata'],
  'take-over': ['start', 'restore', 'metadata'],
  verify: ['inspect'],
  topic: ['inspect'],
};
const startOptions = ['wal', 'listen', 'http', 'threads', 'abandon-wal', 'salvage-wal'];
const argumentsMax = 1_000;

export const optionsHelp: readonly (readonly [string, string])[] = [
  ['--data DIR', 'data.dir: lock, WAL, file store'],
  ['--store URL', 'store.url: file:///dir, s3://bucket/prefix or memory:'],
  ['--wal URL', 'wal.url: file:///dir, shared:/dir, store:, s3://… or memory:; may be repeated'],
  ['--metadata URL', 'metadata.url: etcd://HOST:PORT,…/prefix makes this broker one of a cluster'],
  ['--listen HOST:PORT', 'listeners: plain TCP, or tls://HOST:PORT; may be repeated'],
  ['--http HOST:PORT', 'http.address: /healthz, /readyz, /metrics'],
  ['--threads N', 'threads that own partitions and connections'],
  ['--profile NAME', 'set of defaults: start, dev or embedded'],
  ['--config FILE', 'settings as Java properties, key=value a line'],
  ['--set KEY=VALUE', 'any setting below; may be repeated'],
  ['--salvage-wal ID', 'start with what is whole of a damaged WAL; may be repeated'],
  ['--abandon-wal ID', 'give up the records of a lost WAL (they are gone); may be repeated'],
  ['--take-over', 'take a shared or object WAL from a broker that may still live: it is fenced'],
  ['--to PLACE', 'metadata migrate: etcd://HOST:PORT,…/prefix, or embedded: the store itself'],
  ['--dry-run', 'restore, metadata migrate: say what would be done'],
  ['--json', 'doctor, inspect, restore, metadata: print one JSON object instead of words'],
  ['--verify', 'inspect: read every object and compare every checksum and range'],
  ['--topic NAME', 'inspect: only this topic'],
  ['-h, --help', 'this help, with the values in force on this machine'],
  ['-v, --version', 'print the version'],
];

export function parseCommandLine(args: readonly string[]): Command {
  if (args.length > argumentsMax) throw new UsageError(`more than ${argumentsMax} arguments`);
  const { tokens } = parseArgs({
    args: [...args],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const positionals: string[] = [];
  const given = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, rawName, value } = token;
    const option = (options as Readonly<Record<string, { readonly type: string } | undefined>>)[
      Object.hasOwn(options, name) ? name : ''
    ];
    if (option === undefined) throw unknown('option', rawName, name, Object.keys(options));
    if (option.type === 'boolean' && value !== undefined)
      throw new UsageError(`option ${rawName} takes no value`);
    // parseArgs takes the next word as the value even where that is the next option.
    if (option.type === 'string' && (value === undefined || (!token.inlineValue && value.startsWith('--')))) {
      throw new UsageError(`option ${rawName} needs a value`);
    }
    const values = given.get(name) ?? [];
    if (values.length > 0 && !repeatable.has(name)) throw new UsageError(`option ${rawName} is given twice`);
    values.push(value ?? '');
    given.set(name, values);
  }
  // `npm start -- doctor …` puts its own "start" in front.
  const afterStart = positionals[1];
  if (positionals[0] === 'start' && (isTool(afterStart) || isMetadata(afterStart))) positionals.shift();
  const [command, ...rest] = positionals;
  if (command !== undefined && !(commands as readonly string[]).includes(command))
    throw unknown('command', command, command, commands);
  const extra = isTool(command) || isMetadata(command) ? rest[1] : rest[0];
  if (extra !== undefined) throw new UsageError(`nothing can be made of "${extra}" after ${command}`);
  if (given.has('version')) return { kind: 'version' };
  if (given.has('help') || command === 'help')
    return { kind: 'help', profile: helpProfile(given.get('profile')?.[0]) };
  for (const name of given.keys()) {
    const mayTake = toolOptions[name] ?? (startOptions.includes(name) ? ['start'] : commands);
    if (command !== undefined && !(mayTake as readonly string[]).includes(command))
      throw new UsageError(`option --${name} is for ${mayTake.join(' and ')}`);
  }
  if (isTool(command)) return toolCommand(command, rest[0], given);
  if (isMetadata(command)) return metadataCommand(command, rest[0], given);
  if (command === undefined) throw new UsageError('what to do? millrace start begins to serve');
  return {
    kind: 'start',
    configFile: given.get('config')?.[0] ?? null,
    flags: settingsOf(given),
    abandonWals: given.get('abandon-wal') ?? [],
    salvageWals: given.get('salvage-wal') ?? [],
    takeOver: given.has('take-over'),
  };
}

function isTool(word: string | undefined): word is ToolCommand['kind'] {
  return word === 'doctor' || word === 'inspect';
}

function toolCommand(
  kind: ToolCommand['kind'],
  store: string | undefined,
  given: ReadonlyMap<string, readonly string[]>,
): ToolCommand {
  if (store !== undefined && given.has('store')) throw new UsageError('the store is given twice');
  return {
    kind,
    configFile: given.get('config')?.[0] ?? null,
    flags: settingsOf(new Map([...given].filter(([name]) => name !== 'store'))),
    store: store ?? given.get('store')?.[0] ?? null,
    json: given.has('json'),
    verify: given.has('verify'),
    topic: given.get('topic')?.[0] ?? null,
  };
}

function isMetadata(word: string | undefined): word is 'restore' | 'metadata' {
  return word === 'restore' || word === 'metadata';
}

const metadataActions = ['show', 'migrate'] as const;

function metadataCommand(
  command: 'restore' | 'metadata',
  word: string | undefined,
  given: ReadonlyMap<string, readonly string[]>,
): MetadataCommand {
  const action = command === 'restore' ? command : metadataActions.find((each) => each === word);
  if (action === undefined) {
    if (word === undefined) throw new UsageError('metadata show, or metadata migrate?');
    throw unknown('command metadata', word, word, metadataActions);
  }
  if (command === 'restore' && word !== undefined)
    throw new UsageError(`nothing can be made of "${word}" after restore`);
  const to = given.get('to')?.[0] ?? '';
  if (action === 'migrate' && to === '')
    throw new UsageError('metadata migrate needs --to etcd://HOST:PORT,… or --to embedded');
  for (const name of ['to', 'dry-run', 'take-over'])
    if (given.has(name) && (action === 'show' || (action === 'restore' && name === 'to')))
      throw new UsageError(`option --${name} is not for ${action}`);
  return {
    kind: 'metadata',
    action,
    configFile: given.get('config')?.[0] ?? null,
    flags: settingsOf(new Map([...given].filter(([name]) => name !== 'store'))),
    store: given.get('store')?.[0] ?? null,
    json: given.has('json'),
    dryRun: given.has('dry-run'),
    takeOver: given.has('take-over'),
    to,
  };
}

function settingsOf(given: ReadonlyMap<string, readonly string[]>): GivenSetting[] {
  const flags: GivenSetting[] = [];
  for (const [flag, name] of Object.entries(settingFlags)) {
    const values = given.get(flag);
    if (values === undefined) continue;
    const value = flag === 'listen' ? values.map(listenerOf) : values;
    flags.push({ name, value: value.join(','), origin: `--${flag}` });
  }
  for (const pair of given.get('set') ?? []) {
    const [, name, value] = /^\s*([^=\s]+)\s*=(.*)$/s.exec(pair) ?? [];
    // What stands there may be a secret: it is not repeated.
    if (name === undefined || value === undefined) throw new UsageError('option --set needs KEY=VALUE');
    flags.push({ name, value: value.trim(), origin: '--set' });
  }
  return flags;
}

/** HOST:PORT alone means plain TCP. */
function listenerOf(text: string): string {
  return text.includes('://') ? text : `plain://${text}`;
}

function helpProfile(name: string | undefined): Profile {
  const profile = profiles.find((known) => known === (name ?? 'start'));
  if (profile === undefined)
    throw new UsageError(`profile ${JSON.stringify(name)} is none of ${profiles.join(', ')}`);
  return profile;
}

/** `shown` is the word as given, `name` what is compared with the known ones. */
function unknown(what: string, shown: string, name: string, known: readonly string[]): UsageError {
  const near = nearestName(name, known);
  const prefix = shown.startsWith('-') ? '--' : '';
  return new UsageError(
    `unknown ${what} ${shown}${near === null ? '' : `, perhaps ${prefix}${near} is meant`}`,
  );
}
