/**
 * Settings as the rest of the code sees them: a plain record of every key in the table (it may cross threads), and the
 * way from text to it:   default < profile < file < environment < flag.
 */
import type { Machine, Profile } from './derive.ts';
import { relationProblems } from './relations.ts';
import { SettingError, type SettingProblem } from './setting-error.ts';
import { type SettingKey, type Settings, settingKeys, settingSpec } from './setting-keys.ts';
import type { AnySpec, DefaultContext } from './setting-spec.ts';
import { Expected, humanText, numberText, parseValue, type SettingValue } from './values.ts';

export function isSecret(spec: AnySpec): boolean {
  return spec.type === 'password';
}

/** One setting as given by somebody: text, or a value of the setting's type. */
export interface GivenSetting {
  readonly name: string;
  readonly value: SettingValue;
  /** For messages: `--set`, `line 3 of broker.properties`. */
  readonly origin: string;
}

export const sources = ['default', 'file', 'environment', 'flag'] as const;
export type Source = (typeof sources)[number];

export interface ResolveOptions {
  /** Profile where nobody names one. */
  readonly profile: Profile;
  readonly machine: Machine;
  /** Absolute directory that relative paths start from. */
  readonly directory: string;
  readonly file?: readonly GivenSetting[];
  /** As they are; only MILLRACE_* matter. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Later ones win. */
  readonly flags?: readonly GivenSetting[];
}

export interface ResolvedSettings {
  readonly settings: Settings;
  readonly sources: Readonly<Record<SettingKey, Source>>;
  /** Sentences for the log: environment variables that name no setting. */
  readonly warnings: readonly string[];
}

/** Key and unit factor of every accepted name. */
const names = new Map<string, { key: SettingKey; factor: number }>();
const environmentNames = new Map<string, string>();
for (const key of settingKeys) {
  const spec = settingSpec(key);
  names.set(key, { key, factor: 1 });
  if (spec.kafkaName !== undefined) names.set(spec.kafkaName, { key, factor: 1 });
  for (const [name, factor] of Object.entries(spec.names ?? {})) names.set(name, { key, factor });
}
for (const name of names.keys()) environmentNames.set(environmentName(name), name);

export function environmentName(key: string): string {
  return `MILLRACE_${key.replaceAll('.', '_').toUpperCase()}`;
}

/** Throws SettingError with every problem found. */
export function resolveSettings(options: ResolveOptions): ResolvedSettings {
  const problems: SettingProblem[] = [];
  const warnings: string[] = [];
  const given = new Map<SettingKey, { setting: GivenSetting; source: Source; factor: number }>();
  const layers: [Source, readonly GivenSetting[]][] = [
    ['file', options.file ?? []],
    ['environment', fromEnvironment(options.environment ?? {}, warnings)],
    ['flag', options.flags ?? []],
  ];
  for (const [source, layer] of layers) {
    const nameInLayer = new Map<SettingKey, string>();
    for (const setting of layer) {
      const found = names.get(setting.name);
      if (found === undefined) {
        problems.push(unknownSetting(setting));
        continue;
      }
      const other = nameInLayer.get(found.key);
      if (other !== undefined && other !== setting.name) {
        problems.push(problem(setting, setting.name, `only one of ${other} and ${setting.name}`));
      }
      nameInLayer.set(found.key, setting.name);
      given.set(found.key, { setting, source, factor: found.factor });
    }
  }
  const values = new Map<string, SettingValue>();
  const chosenSources: Partial<Record<SettingKey, Source>> = {};
  let profile = options.profile;
  for (const key of settingKeys) {
    const context: DefaultContext = {
      profile,
      machine: options.machine,
      directory: options.directory,
      get: (earlier) => {
        const value = values.get(earlier);
        if (value === undefined) throw new Error(`setting ${earlier} must stand above ${key} in the table`);
        return value;
      },
    };
    const choice = given.get(key);
    const spec = settingSpec(key);
    chosenSources[key] = choice?.source ?? 'default';
    let value = typeof spec.default === 'function' ? spec.default(context) : spec.default;
    if (choice !== undefined) {
      const read = readSetting(spec, choice.setting, choice.factor);
      if (read instanceof Expected) problems.push(problem(choice.setting, key, read.message));
      else value = read;
    }
    values.set(key, spec.settle === undefined ? value : spec.settle(value, context));
    if (key === 'profile') profile = value as Profile;
  }
  const settings = Object.freeze(Object.fromEntries(values)) as unknown as Settings;
  // Relations between wrong values say nothing new.
  if (problems.length === 0) {
    for (const relation of relationProblems(settings)) {
      problems.push({ ...relation, origin: given.get(relation.setting)?.setting.origin ?? 'default' });
    }
  }
  if (problems.length > 0) throw new SettingError(problems);
  return { settings, sources: chosenSources as Record<SettingKey, Source>, warnings };
}

/** Value of a setting, or what would be right. */
export function readSetting(
  spec: AnySpec,
  given: Pick<GivenSetting, 'value'>,
  factor = 1,
): SettingValue | Expected {
  try {
    let value = given.value;
    if (typeof value === 'string') value = parseValue(spec.type, value, spec.unit);
    else if (!fitsType(spec, value)) return new Expected(`a value of type ${spec.type}`);
    if (typeof value === 'number' && factor !== 1 && value > 0) value *= factor;
    const wrong = problemWith(spec, value);
    return wrong === null ? value : new Expected(wrong);
  } catch (error) {
    if (error instanceof Expected) return error;
    throw error;
  }
}

function fitsType(spec: AnySpec, value: SettingValue): boolean {
  if (Array.isArray(value)) return spec.type === 'list';
  if (typeof value === 'boolean') return spec.type === 'boolean';
  if (typeof value !== 'number' || Number.isNaN(value)) return false;
  return (
    spec.type === 'double' ||
    (Number.isInteger(value) && !['list', 'string', 'password', 'boolean'].includes(spec.type))
  );
}

function problemWith(spec: AnySpec, value: SettingValue): string | null {
  if (spec.oneOf !== undefined && !spec.oneOf.includes(value as string))
    return `one of ${spec.oneOf.join(', ')}`;
  if (typeof value === 'number' && value !== spec.also) {
    const { min, max } = spec;
    if ((min !== undefined && value < min) || (max !== undefined && value > max)) return rangeText(spec);
  }
  return spec.check?.(value) ?? null;
}

/** The valid range in words: "0 or 1 MiB to 1 TiB"; empty where everything goes. */
export function rangeText(spec: AnySpec): string {
  if (spec.oneOf !== undefined) return spec.oneOf.join(', ');
  if (spec.min === undefined || spec.max === undefined) return '';
  const show = (n: number): string => humanText(spec.type, n, spec.unit);
  const also = spec.also === undefined ? '' : `${numberText(spec.also)} or `;
  if (spec.max >= 2 ** 31 - 1 && spec.type !== 'bytes') return `${also}${show(spec.min)} or more`;
  return `${also}${show(spec.min)} to ${show(spec.max)}`;
}

function problem(given: GivenSetting, setting: string, expected: string): SettingProblem {
  const key = names.get(given.name)?.key;
  const secret = key !== undefined && isSecret(settingSpec(key));
  const value = secret ? '***' : String(given.value);
  return { setting, value, expected, origin: given.origin };
}

function unknownSetting(given: GivenSetting): SettingProblem {
  const near = nearestName(given.name, names.keys());
  // The value of an unknown name may be a secret.
  return {
    setting: given.name,
    value: '***',
    expected: `a known setting${near === null ? '' : `, perhaps ${near}`}; millrace --help lists them`,
    origin: given.origin,
  };
}

/**
 * Variables that begin with MILLRACE_ and name no setting are warned of, not refused: Kubernetes itself sets
 * MILLRACE_PORT and others when a service is called millrace.
 */
function fromEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  warnings: string[],
): GivenSetting[] {
  const given: GivenSetting[] = [];
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith('MILLRACE_') || value === undefined) continue;
    const name = environmentNames.get(variable);
    if (name === undefined) {
      const near = nearestName(variable, environmentNames.keys());
      warnings.push(
        `environment variable ${variable} names no setting${near === null ? '' : `, perhaps ${near} is meant`}`,
      );
    } else given.push({ name, value, origin: variable });
  }
  return given;
}

/** The nearest of the candidates by edits, if it is near enough to be a slip. */
export function nearestName(name: string, candidates: Iterable<string>): string | null {
  let best: string | null = null;
  let least = name.length <= 3 ? 2 : Math.floor(Math.min(name.length, 40) / 3) + 2;
  for (const candidate of candidates) {
    const distance = edits(name.toLowerCase().slice(0, 80), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** Levenshtein distance. */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
