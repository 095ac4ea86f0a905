/** The keys of the settings table, and settings as a plain record of them, which may cross threads. */
import type { AnySpec } from './setting-spec.ts';
import { settingTable } from './setting-table.ts';

export type SettingKey = keyof typeof settingTable;
type ValueOf<Spec> = Spec extends { readonly oneOf: readonly (infer Choice)[] }
  ? Choice
  : Spec extends { readonly type: 'boolean' }
    ? boolean
    : Spec extends { readonly type: 'list' }
      ? readonly string[]
      : Spec extends { readonly type: 'string' | 'password' }
        ? string
        : number;
export type Settings = { readonly [Key in SettingKey]: ValueOf<(typeof settingTable)[Key]> };

export const settingKeys = Object.keys(settingTable) as SettingKey[];

export function settingSpec(key: SettingKey): AnySpec {
  return settingTable[key] as unknown as AnySpec;
}
