/**
 * Reads the schema files. Their notation is explained in the head of messages.schema.
 *
 * Used by the generator and by tests, never by the broker. Every line must be understood: anything else is an error
 * that names the line.
 */

import { OLDER_VERSIONS, type OlderVersion } from './older-versions.ts';
import {
  type ApiModel,
  type FieldModel,
  intersect,
  isPrimitive,
  type MessageModel,
  parseRange,
  type SchemaModel,
  type StructModel,
  type StructureModel,
  type VersionRange,
} from './schema-model.ts';

const ALWAYS: VersionRange = { min: 0, max: Infinity };
const PRIMITIVES = new Set('i8 i16 u16 i32 u32 i64 f64 bool uuid str bytes recs'.split(' '));

interface Line {
  readonly number: number;
  readonly depth: number;
  readonly text: string;
}

interface Opening {
  readonly name: string;
  readonly versions: VersionRange;
  readonly flexibleFrom: number;
}

/** Parses one or more schema files, given as text. `older` lowers minimum versions; pass [] to leave them. */
export function parseSchema(
  texts: readonly string[],
  older: readonly OlderVersion[] = OLDER_VERSIONS,
): SchemaModel {
  const apis: ApiModel[] = [];
  const structures: StructureModel[] = [];
  for (const text of texts) parseFile(text, apis, structures, older);
  return { apis, structures };
}

function parseFile(
  text: string,
  apis: ApiModel[],
  structures: StructureModel[],
  older: readonly OlderVersion[],
): void {
  let topic: string | null = null;
  let block: Line[] = [];
  const flush = (): void => {
    const head = block[0]?.text;
    if (head?.startsWith('== ')) apis.push(parseApi(block, older));
    else if (head?.startsWith('-- ')) structures.push(parseStructure(block, topic));
    block = [];
  };
  const rows = text.split('\n');
  for (const [index, raw] of rows.entries()) {
    const line = { number: index + 1, depth: raw.length - raw.trimStart().length, text: raw.trim() };
    if (line.text.startsWith('## topic ')) {
      flush();
      topic = line.text.slice('## topic '.length);
    } else if (line.text === '' || line.text.startsWith('#')) {
      // a comment
    } else if (line.text.startsWith('== ') || line.text.startsWith('-- ')) {
      flush();
      block.push(line);
    } else {
      block.push(line);
    }
  }
  flush();
}

function parseApi(block: readonly Line[], olderVersions: readonly OlderVersion[]): ApiModel {
  const words = block[0]!.text.split(' ').slice(1);
  const key = Number(words[0]);
  const older = olderVersions.find((entry) => entry.key === key);
  const opening = parseOpening(words.slice(1), older?.min);
  const requestAt = block.findIndex((line) => line.depth === 0 && /^>/.test(line.text));
  const responseAt = block.findIndex((line) => line.depth === 0 && /^</.test(line.text));
  const listeners = words.find((word) => /^(B|C|BC)$/.test(word));
  if (requestAt < 0 || responseAt < 0 || listeners === undefined) throw at(block[0]!, 'incomplete API');
  const errors = block.find((line) => line.text.startsWith('! '));
  const own = block[responseAt]!.text.split(' ').slice(1);
  const responseOpening = own.length === 0 ? opening : parseOpening(['', ...own], undefined);
  const bodyLines = (from: number, to: number): Line[] =>
    block.slice(from, to).filter((line) => !/^[|!] /.test(line.text));
  const request = parseMessage(
    { ...opening, name: `${opening.name}Request` },
    bodyLines(requestAt + 1, responseAt),
    older?.request ?? [],
  );
  const response = parseMessage(
    { ...responseOpening, name: `${opening.name}Response` },
    bodyLines(responseAt + 1, block.length),
    older?.response ?? [],
  );
  return {
    key,
    name: opening.name,
    listeners: listeners as ApiModel['listeners'],
    unstable: words.includes('unstable'),
    remarks: remarksOf(block),
    errorsNamed: errors === undefined ? null : errors.text.slice(2),
    request,
    response,
  };
}

function parseStructure(block: readonly Line[], topic: string | null): StructureModel {
  const words = block[0]!.text.split(' ').slice(1);
  const kind = words[0] as StructureModel['kind'];
  const numbered = kind.startsWith('coordinator-');
  const recordType = numbered ? Number(words[1]) : null;
  const opening = parseOpening(words.slice(numbered ? 2 : 1), undefined);
  const lines = block.slice(1).filter((line) => !line.text.startsWith('| '));
  return {
    kind,
    recordType,
    topic: numbered ? topic : null,
    remarks: remarksOf(block),
    message: parseMessage(opening, lines, []),
  };
}

function remarksOf(block: readonly Line[]): string[] {
  return block.filter((line) => line.text.startsWith('| ')).map((line) => line.text.slice(2));
}

/** Name VALID [fFLEX] … */
function parseOpening(words: readonly string[], olderMin: number | undefined): Opening {
  const valid = parseRange(words[1]!);
  const flex = words.find((word) => /^f\d+\+$/.test(word));
  return {
    name: words[0]!,
    versions: olderMin === undefined ? valid : { min: Math.min(olderMin, valid.min), max: valid.max },
    flexibleFrom: flex === undefined ? Infinity : parseRange(flex.slice(1)).min,
  };
}

/** A struct while its lines are read; versions widen with each use of a named struct. */
interface StructDraft {
  readonly name: string;
  versions: VersionRange;
  readonly fields: FieldModel[];
}

function parseMessage(
  opening: Opening,
  lines: readonly Line[],
  additions: OlderVersion['request'],
): MessageModel {
  const structs = new Map<string, StructDraft>();
  const root: StructDraft = { name: opening.name, versions: opening.versions, fields: [] };
  /** The struct whose fields stand at each depth. */
  const open: StructDraft[] = [root];
  for (const line of lines) {
    const blockHead = /^struct (\w+)(?: (\S+))?$/.exec(line.text);
    if (blockHead !== null) {
      const range = blockHead[2] === undefined ? ALWAYS : parseRange(blockHead[2]);
      open.length = line.depth;
      open.push(define(structs, line, blockHead[1]!, intersect(range, opening.versions)));
      continue;
    }
    if (line.depth > open.length) {
      const parent = open.at(-1)!;
      const holder = parent.fields.at(-1);
      if (holder === undefined || isPrimitive(holder.type) || line.depth !== open.length + 1) {
        throw at(line, 'deeper than the field above allows');
      }
      open.push(define(structs, line, holder.type, intersect(holder.versions, parent.versions)));
    } else {
      open.length = line.depth;
    }
    for (const text of splitSiblings(line.text)) open.at(-1)!.fields.push(parseField(line, text));
  }
  for (const addition of additions) addField(root, structs, addition);
  checkReferences(root, structs);
  return { ...opening, root, structs };
}

function define(
  structs: Map<string, StructDraft>,
  line: Line,
  name: string,
  versions: VersionRange,
): StructDraft {
  if (structs.has(name)) throw at(line, `struct ${name} defined twice`);
  const struct = { name, versions, fields: [] };
  structs.set(name, struct);
  return struct;
}

function splitSiblings(text: string): string[] {
  const parts: string[] = [];
  let quoted = false;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '"') quoted = !quoted;
    else if (text[i] === ';' && !quoted) {
      parts.push(text.slice(from, i).trim());
      from = i + 1;
    }
  }
  parts.push(text.slice(from).trim());
  return parts;
}

function parseField(line: Line, text: string): FieldModel {
  const quote = text.indexOf('"');
  const hint = quote < 0 ? null : text.slice(quote + 1, text.lastIndexOf('"'));
  const words = (quote < 0 ? text : text.slice(0, quote)).trim().split(/\s+/);
  const typeMatch = /^(\[\])?([A-Za-z]\w*)(\?(\d+(?:-\d+|\+)?)?)?(~)?(\*)?$/.exec(words[1] ?? '');
  if (typeMatch === null) throw at(line, `type of '${text}'`);
  const type = typeMatch[2]!;
  if (isPrimitive(type) && !PRIMITIVES.has(type)) throw at(line, `unknown type ${type}`);
  let versions = ALWAYS;
  let defaultText: string | null | undefined;
  let tag: number | null = null;
  let flexible = true;
  for (const word of words.slice(2)) {
    if (/^\d+(-\d+|\+)?$/.test(word)) versions = parseRange(word);
    else if (word.startsWith('=')) defaultText = word === '=null' ? null : word.slice(1);
    else if (/^t\d+$/.test(word)) tag = Number(word.slice(1));
    else if (word === 'flex:none') flexible = false;
    else if (!/^(@(topic|broker|group|pid|txn)|zc)$/.test(word)) throw at(line, `'${word}' in '${text}'`);
  }
  const nullable =
    typeMatch[3] === undefined ? null : typeMatch[4] === undefined ? versions : parseRange(typeMatch[4]);
  if (defaultText === undefined && type === 'recs') defaultText = null;
  if (defaultText === null && nullable === null && type !== 'recs') throw at(line, `null default: '${text}'`);
  return {
    name: words[0]!,
    type,
    array: typeMatch[1] !== undefined,
    versions,
    nullable,
    ignorable: typeMatch[5] !== undefined,
    mapKey: typeMatch[6] !== undefined,
    defaultText,
    tag,
    flexible,
    hint,
  };
}

function addField(
  root: StructDraft,
  structs: ReadonlyMap<string, StructDraft>,
  addition: OlderVersion['request'][number],
): void {
  const struct = addition.struct === null ? root : structs.get(addition.struct);
  const index = struct?.fields.findIndex((field) => field.name === addition.after) ?? -1;
  if (struct === undefined || index < 0)
    throw new Error(`older versions: no ${addition.struct}.${addition.after}`);
  const line = { number: 0, depth: 0, text: addition.field };
  struct.fields.splice(index + 1, 0, parseField(line, addition.field));
}

/** Every struct named exists, and none contains itself: decoding depth is bounded by the schema. */
function checkReferences(root: StructModel, structs: ReadonlyMap<string, StructModel>): void {
  const visit = (struct: StructModel, path: readonly string[]): void => {
    if (path.includes(struct.name)) throw new Error(`${root.name}: ${struct.name} contains itself`);
    for (const field of struct.fields) {
      if (isPrimitive(field.type)) continue;
      const inner = structs.get(field.type);
      if (inner === undefined) throw new Error(`${root.name}: no struct ${field.type}`);
      visit(inner, [...path, struct.name]);
    }
  };
  visit(root, []);
}

function at(line: Line, problem: string): Error {
  return new Error(`schema line ${line.number}: ${problem}: ${line.text}`);
}
