/** Shape of one row of the settings table, and the little functions that make rows. */
import type { Machine, Profile } from './derive.ts';
import type { DurationUnit, SettingType, SettingValue } from './values.ts';

export const settingGroups = [
  'Place',
  'Cluster',
  'Cluster policy',
  'S3',
  'Write-ahead log',
  'Upload',
  'Memory and threads',
  'Network',
  'Topics',
  'Fetch and produce',
  'Consumer groups',
  'Transactions',
  'Share groups',
  'Operation',
] as const;
export type SettingGroup = (typeof settingGroups)[number];

/** Kafka's names for config types, as DescribeConfigs has them. */
export const kafkaTypes = {
  boolean: 1,
  string: 2,
  int: 3,
  short: 4,
  long: 5,
  double: 6,
  list: 7,
  class: 8,
  password: 9,
} as const;
export type KafkaType = keyof typeof kafkaTypes;

/** What a default may depend on: settings above it in the table, the profile and the machine. */
export interface DefaultContext {
  readonly profile: Profile;
  readonly machine: Machine;
  /** Absolute directory that relative paths start from. */
  readonly directory: string;
  /** Value in force of a setting further up in the table. */
  get(key: string): SettingValue;
}

export interface SettingSpec<T extends SettingValue> {
  readonly group: SettingGroup;
  readonly default: T | ((context: DefaultContext) => T);
  /** The default in words, where it depends on something. */
  readonly defaultText?: string;
  readonly min?: number;
  readonly max?: number;
  /** Allowed beside the range: -1 for "no limit". */
  readonly also?: number;
  /** What would be right, or null when the value is. */
  readonly check?: (value: T) => string | null;
  /** Brings the value into its one form (absolute paths). */
  readonly settle?: (value: T, context: DefaultContext) => T;
  readonly unit?: DurationUnit;
  /** One sentence without the default. */
  readonly doc: string;
  /** Its type in DescribeConfigs, where Kafka has this broker config. */
  readonly kafka?: KafkaType;
  /** Kafka's name, where it is not the key. */
  readonly kafkaName?: string;
  /** Further names accepted in files, environment and flags, with the factor of their unit. */
  readonly names?: Readonly<Record<string, number>>;
}

export type AnySpec = SettingSpec<SettingValue> & {
  readonly type: SettingType;
  readonly oneOf?: readonly string[];
};

type Row<Type extends SettingType, T extends SettingValue> = SettingSpec<T> & { readonly type: Type };

export const bool = (spec: SettingSpec<boolean>): Row<'boolean', boolean> => ({ type: 'boolean', ...spec });
export const int = (spec: SettingSpec<number>): Row<'int', number> => ({ type: 'int', ...spec });
export const long = (spec: SettingSpec<number>): Row<'long', number> => ({ type: 'long', ...spec });
export const bytes = (spec: SettingSpec<number>): Row<'bytes', number> => ({ type: 'bytes', ...spec });
export const duration = (spec: SettingSpec<number>): Row<'duration', number> => ({
  type: 'duration',
  ...spec,
});
export const text = (spec: SettingSpec<string>): Row<'string', string> => ({ type: 'string', ...spec });
/** Never printed. */
export const password = (spec: SettingSpec<string>): Row<'password', string> => ({
  type: 'password',
  ...spec,
});
export const list = (spec: SettingSpec<readonly string[]>): Row<'list', readonly string[]> => ({
  type: 'list',
  ...spec,
});
export const choice = <const C extends string>(
  oneOf: readonly C[],
  spec: SettingSpec<C>,
): Row<'string', C> & { readonly oneOf: readonly C[] } => ({ type: 'string', oneOf, ...spec });

/** One default per profile. */
export function perProfile<T extends SettingValue>(defaults: Readonly<Record<Profile, T>>) {
  return (context: DefaultContext): T => defaults[context.profile];
}

export const double = (spec: SettingSpec<number>): Row<'double', number> => ({ type: 'double', ...spec });
