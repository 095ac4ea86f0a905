/** Emits the tables that are not codecs: error codes, API keys, the registry, and the reference page. */

import { flexibleFrom, GENERATED_NOTE, versionsText } from './emit-module.ts';
import { fileName } from './names.ts';
import type { ApiModel, SchemaModel } from './schema-model.ts';

interface ErrorRow {
  readonly code: number;
  readonly name: string;
  readonly retriable: boolean;
  readonly kind: string;
  readonly message: string;
}

/** What Apache Kafka advertises for one API; null bounds: not by default. */
export interface AdvertisedRow {
  readonly key: number;
  readonly name: string;
  readonly min: number | null;
  readonly max: number | null;
  readonly neededBy: string;
}

function rows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .slice(1)
    .map((line) => line.split('\t'));
}

export function parseErrors(text: string): ErrorRow[] {
  return rows(text).map((cells) => {
    if (cells.length !== 5) throw new Error(`errors.tsv: ${cells.join('|')}`);
    return {
      code: Number(cells[0]),
      name: cells[1]!,
      retriable: cells[2] === 'yes',
      kind: cells[3]!,
      message: cells[4]!,
    };
  });
}

export function parseAdvertised(text: string): AdvertisedRow[] {
  return rows(text).map((cells) => ({
    key: Number(cells[0]),
    name: cells[1]!,
    min: cells[2] === '-' ? null : Number(cells[2]),
    max: cells[3] === '-' ? null : Number(cells[3]),
    neededBy: cells[5] ?? '',
  }));
}

export function emitErrors(errors: readonly ErrorRow[]): string {
  const kinds = [...new Set(errors.map((error) => error.kind))].sort();
  const lines = [
    '/**',
    ' * The wire errors: the one table of codes, names and meanings. Errors are values, never thrown.',
    ` * ${GENERATED_NOTE}`,
    ' */',
    '',
    '/** Codes by Kafka name. */',
    'export const ErrorCode = {',
    ...errors.map((error) => `  /** ${error.message} */\n  ${error.name}: ${error.code},`),
    '} as const;',
    '',
    'export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];',
    'export type ErrorName = keyof typeof ErrorCode;',
    '',
    '/** What a client does about an error; `-` is none of the others. */',
    `export type ErrorKind = ${kinds.map((kind) => `'${kind}'`).join(' | ')};`,
    '',
    'export interface ErrorInfo {',
    '  readonly code: ErrorCode;',
    '  readonly name: ErrorName;',
    '  /** Whether clients try again by themselves. */',
    '  readonly retriable: boolean;',
    '  readonly kind: ErrorKind;',
    '  /** Meaning, fit for an ErrorMessage field. */',
    '  readonly message: string;',
    '}',
    '',
    'export const ERRORS: readonly ErrorInfo[] = [',
    ...errors.map(
      (error) =>
        `  { code: ${error.code}, name: '${error.name}', retriable: ${error.retriable}, kind: '${error.kind}', message: ${JSON.stringify(error.message)} },`,
    ),
    '];',
    '',
    'const BY_CODE: ReadonlyMap<number, ErrorInfo> = new Map(ERRORS.map((error) => [error.code, error]));',
    '',
    '/** The entry of a code; undefined for a code the table does not have. */',
    'export function errorInfo(code: number): ErrorInfo | undefined {',
    '  return BY_CODE.get(code);',
    '}',
    '',
    '/** The name of a code, or the number itself for a code the table does not have. */',
    'export function errorName(code: number): string {',
    '  return BY_CODE.get(code)?.name ?? String(code);',
    '}',
    '',
  ];
  return lines.join('\n');
}

export function emitApiKeys(schema: SchemaModel, advertised: readonly AdvertisedRow[]): string {
  const table = new Map(advertised.map((row) => [row.key, row]));
  const lines = [
    '/**',
    ' * API keys, the versions the codecs serve, and the versions Apache Kafka 4.4.0 advertises.',
    ` * ${GENERATED_NOTE}`,
    ' */',
    '',
    'export const ApiKey = {',
    ...schema.apis.map((api) => `  ${api.name}: ${api.key},`),
    '} as const;',
    '',
    'export type ApiKey = (typeof ApiKey)[keyof typeof ApiKey];',
    'export type ApiName = keyof typeof ApiKey;',
    '',
    'export interface ApiVersionsEntry {',
    '  readonly key: ApiKey;',
    '  readonly name: ApiName;',
    '  /** Versions the codec has. */',
    '  readonly minVersion: number;',
    '  readonly maxVersion: number;',
    '  /** First version with compact lengths and tag sections; above maxVersion if there is none. */',
    '  readonly flexibleFrom: number;',
    '  /** Newest version fit to be advertised: maxVersion unless that is unstable. */',
    '  readonly maxStableVersion: number;',
    '  /** Range of an Apache Kafka 4.4.0 broker; null: not advertised by default. */',
    '  readonly kafka: { readonly minVersion: number; readonly maxVersion: number } | null;',
    '}',
    '',
    'export const API_TABLE: readonly ApiVersionsEntry[] = [',
    ...schema.apis.map((api) => apiEntry(api, table.get(api.key))),
    '];',
    '',
  ];
  return lines.join('\n');
}

function apiEntry(api: ApiModel, row: AdvertisedRow | undefined): string {
  if (row === undefined || row.name !== api.name)
    throw new Error(`api-versions.tsv: no ${api.key} ${api.name}`);
  const { min, max } = api.request.versions;
  const kafka = row.min === null ? 'null' : `{ minVersion: ${row.min}, maxVersion: ${row.max} }`;
  const stable = api.unstable ? max - 1 : max;
  return `  { key: ${api.key}, name: '${api.name}', minVersion: ${min}, maxVersion: ${max}, flexibleFrom: ${flexibleFrom(api.request)}, maxStableVersion: ${stable}, kafka: ${kafka} },`;
}

/** Structures by file: data structures alone, coordinator records with key and value together. */
export function structureFiles(schema: SchemaModel): Map<string, SchemaModel['structures']> {
  const files = new Map<string, SchemaModel['structures'][number][]>();
  for (const structure of schema.structures) {
    const record = structure.kind.startsWith('coordinator-');
    const stem = record ? structure.message.name.replace(/(Key|Value)$/, '') : structure.message.name;
    const path = `${record ? 'coordinator' : 'data'}/${fileName(stem)}.ts`;
    const list = files.get(path);
    if (list === undefined) files.set(path, [structure]);
    else list.push(structure);
  }
  return files;
}

export function emitRegistry(schema: SchemaModel): string {
  const files = structureFiles(schema);
  const lines = [
    '/**',
    ' * Every codec: APIs by key, structures by name.',
    ` * ${GENERATED_NOTE}`,
    ' */',
    "import type { AnyApiCodec, AnyStructureCodec } from '../codec.ts';",
    ...schema.apis.map((api) => `import { ${api.name}Codec } from './${fileName(api.name)}.ts';`),
    ...[...files].map(
      ([path, list]) =>
        `import { ${list.map((structure) => `${structure.message.name}Codec`).join(', ')} } from './${path}';`,
    ),
    '',
    'export const API_CODECS: ReadonlyMap<number, AnyApiCodec> = new Map<number, AnyApiCodec>([',
    ...schema.apis.map((api) => `  [${api.key}, ${api.name}Codec],`),
    ']);',
    '',
    'export const STRUCTURE_CODECS: ReadonlyMap<string, AnyStructureCodec> = new Map<string, AnyStructureCodec>([',
    ...schema.structures.map(({ message }) => `  ['${message.name}', ${message.name}Codec],`),
    ']);',
    '',
  ];
  return lines.join('\n');
}

export function emitReference(schema: SchemaModel, advertised: readonly AdvertisedRow[]): string {
  const table = new Map(advertised.map((row) => [row.key, row]));
  const lines = [
    '# Protocol: messages and versions',
    '',
    `<!-- ${GENERATED_NOTE} -->`,
    '',
    'The versions for which Millrace has codecs. What a broker answers to ApiVersions is the part of it that is served;',
    'the last columns compare with Apache Kafka 4.4.0 and say who needs the API.',
    '',
    '| key | API | codec | flexible from | Kafka 4.4 | needed by |',
    '|---|---|---|---|---|---|',
  ];
  for (const api of schema.apis) {
    const row = table.get(api.key)!;
    const flexible = Number.isFinite(api.request.flexibleFrom) ? String(api.request.flexibleFrom) : '–';
    const kafka =
      row.min === null ? 'on demand' : row.min === row.max ? String(row.min) : `${row.min}-${row.max}`;
    const unstable = api.unstable ? ` (${api.request.versions.max} unstable)` : '';
    lines.push(
      `| ${api.key} | ${api.name} | ${versionsText(api.request)}${unstable} | ${flexible} | ${kafka} | ${row.neededBy} |`,
    );
  }
  lines.push('', '## Structures inside bytes fields and records', '');
  lines.push('| structure | kind | record type | versions | flexible from |', '|---|---|---|---|---|');
  for (const { kind, message, recordType, topic } of schema.structures) {
    const flexible = Number.isFinite(message.flexibleFrom) ? String(message.flexibleFrom) : '–';
    const place = topic === null ? kind : `${kind.replace('coordinator-', '')} in ${topic}`;
    lines.push(
      `| ${message.name} | ${place} | ${recordType ?? ''} | ${versionsText(message)} | ${flexible} |`,
    );
  }
  lines.push(
    '',
    "Below Kafka 4's minimum, layouts are those of Kafka 3.9 and are tested against the Java client 3.9.1.",
    '',
  );
  return lines.join('\n');
}
