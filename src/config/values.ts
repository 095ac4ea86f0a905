/**
 * Text to values and back, per setting type. A parser returns the value or throws an `Expected` with what would be
 * right; numbers are plain doubles (Kafka's 9223372036854775807 = "no limit" becomes 2^63 and prints as itself).
 */
export const settingTypes = [
  'boolean',
  'int',
  'long',
  'double',
  'string',
  'list',
  'password',
  'bytes',
  'duration',
] as const;
export type SettingType = (typeof settingTypes)[number];
export type SettingValue = boolean | number | string | readonly string[];

/** The units of a duration setting; values are counted in it. */
export const durationUnits = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const;
export type DurationUnit = keyof typeof durationUnits;

/** Java's Long.MAX_VALUE as the nearest double, 2^63: what Kafka's tools write for "no limit". */
export const longMax = 2 ** 63;

/** Internal to src/config: the end of the sentence "expected …". */
export class Expected extends Error {}

const byteFactors: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};
const durationFactors: Readonly<Record<string, number>> = { ...durationUnits, m: 60_000 };
const quantity = /^(-?\d[\d_]*(?:\.\d+)?)\s*([a-zA-Z]*)$/;

export function parseValue(type: SettingType, text: string, unit: DurationUnit = 'ms'): SettingValue {
  switch (type) {
    case 'boolean':
      return parseBoolean(text);
    case 'int':
    case 'long':
      return parseWhole(text);
    case 'double':
      return parseDouble(text);
    case 'string':
    case 'password':
      return text;
    case 'list':
      return parseList(text);
    case 'bytes':
      return parseBytes(text);
    case 'duration':
      return parseDuration(text, unit);
  }
}

function parseBoolean(text: string): boolean {
  const lower = text.trim().toLowerCase();
  if (lower === 'true') return true;
  if (lower === 'false') return false;
  throw new Expected('true or false');
}

function parseWhole(text: string): number {
  const trimmed = text.trim();
  if (!/^[+-]?\d[\d_]*$/.test(trimmed)) throw new Expected('a whole number');
  return Number(trimmed.replaceAll('_', ''));
}

function parseDouble(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value)) throw new Expected('a number');
  return value;
}

/** Comma-separated; empty items are dropped. */
export function parseList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

export function parseBytes(text: string): number {
  const match = quantity.exec(text.trim());
  const factor = byteFactors[match?.[2]?.toLowerCase() ?? '?'];
  const bytes = match === null ? Number.NaN : Number(match[1]!.replaceAll('_', '')) * (factor ?? Number.NaN);
  if (!Number.isInteger(bytes)) throw new Expected('a size such as 500_000_000, 512MB (10^6) or 2GiB (2^30)');
  return bytes;
}

export function parseDuration(text: string, unit: DurationUnit): number {
  const match = quantity.exec(text.trim());
  const suffix = match?.[2] ?? '';
  const factor = suffix === '' ? durationUnits[unit] : durationFactors[suffix];
  const amount = match === null ? Number.NaN : Number(match[1]!.replaceAll('_', ''));
  const value = (amount * (factor ?? Number.NaN)) / durationUnits[unit];
  const whole = Math.round(value);
  if (!Number.isFinite(value) || Math.abs(value - whole) > 1e-9) {
    throw new Expected(
      `a duration such as 500ms, 60s, 1m, 2h or 7d (a bare number counts ${unit}), whole ${unit}`,
    );
  }
  return whole;
}

/** As Kafka's tools and DescribeConfigs write it: plain numbers, lists with commas. */
export function plainText(value: SettingValue): string {
  if (typeof value === 'number') return numberText(value);
  if (Array.isArray(value)) return value.join(',');
  return String(value);
}

export function numberText(value: number): string {
  return value >= longMax ? '9223372036854775807' : String(value);
}

/** As a person reads it: 2 GiB, 60 s; the plain text where no unit fits exactly. */
export function humanText(type: SettingType, value: SettingValue, unit: DurationUnit = 'ms'): string {
  if (type === 'password') return value === '' ? '' : '***';
  if (typeof value !== 'number') return plainText(value);
  if (value >= longMax) return 'no limit';
  if (type === 'bytes') return bytesText(value);
  if (type === 'duration') return durationText(value, unit);
  return numberText(value);
}

export function bytesText(bytes: number): string {
  for (const [factor, name] of [
    [2 ** 40, 'TiB'],
    [2 ** 30, 'GiB'],
    [2 ** 20, 'MiB'],
    [1e9, 'GB'],
    [1e6, 'MB'],
    [2 ** 10, 'KiB'],
  ] as const) {
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor} ${name}`;
  }
  return numberText(bytes);
}

export function durationText(value: number, unit: DurationUnit): string {
  if (value <= 0) return value === 0 ? `0 ${unit}` : numberText(value);
  const ms = value * durationUnits[unit];
  for (const name of ['d', 'h', 'min', 's'] as const) {
    if (ms % durationUnits[name] === 0) return `${ms / durationUnits[name]} ${name}`;
  }
  return `${value} ${unit}`;
}
