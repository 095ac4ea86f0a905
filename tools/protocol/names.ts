/** How schema names become TypeScript names, and what a field's type and default look like in TypeScript. */
import {
  type FieldModel,
  intersect,
  isPrimitive,
  type MessageModel,
  type PrimitiveType,
  type StructModel,
  type VersionRange,
} from './schema-model.ts';

/** Stands for "no flexible version" in the generated tables; above every int16 version. */
export const NEVER_FLEXIBLE = 0x7fff + 1;

/** Names that generated functions use themselves. */
const TAKEN = new Set([
  'reader',
  'writer',
  'input',
  'version',
  'flexible',
  'count',
  'entries',
  'left',
  'tag',
  'start',
]);

const READ_METHOD: Record<PrimitiveType, string> = {
  i8: 'i8',
  i16: 'i16',
  u16: 'u16',
  i32: 'i32',
  u32: 'u32',
  i64: 'i64',
  f64: 'f64',
  bool: 'bool',
  uuid: 'uuid',
  str: 'string',
  bytes: 'bytesField',
  recs: 'bytesField',
};

export function readMethod(type: PrimitiveType): string {
  return READ_METHOD[type];
}

export function writeMethod(type: PrimitiveType): string {
  return type === 'recs' ? 'records' : READ_METHOD[type];
}

/** True for the types whose encoding depends on flexibility. */
export function hasLength(type: string): boolean {
  return type === 'str' || type === 'bytes' || type === 'recs';
}

/** TopicId → topicId. */
export function propertyName(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}

export function variableName(field: FieldModel): string {
  const name = propertyName(field.name);
  return TAKEN.has(name) ? `${name}Value` : name;
}

/** Struct names are only unique within a message: they get its name in front unless they begin with the API's. */
export function structTypeName(message: MessageModel, struct: string): string {
  const base = message.name.replace(/(Request|Response|Key|Value)$/, '');
  return struct.startsWith(base) ? struct : `${message.name}${struct}`;
}

/** ListOffsets → list-offsets. */
export function fileName(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1-$2')
    .toLowerCase();
}

/** Type of one entry of the field; `input` asks for what the encoder takes. */
function entryType(message: MessageModel, field: FieldModel, input: boolean): string {
  if (!isPrimitive(field.type)) return structTypeName(message, field.type) + (input ? 'Input' : '');
  switch (field.type) {
    case 'bool':
      return 'boolean';
    case 'str':
    case 'uuid':
      return 'string';
    case 'bytes':
      return 'Uint8Array';
    case 'recs':
      return input ? 'RecordsSource' : 'Uint8Array';
    default:
      return 'number';
  }
}

export function decodedType(message: MessageModel, field: FieldModel): string {
  const entry = entryType(message, field, false);
  return (field.array ? `${entry}[]` : entry) + (allowsNull(field) ? ' | null' : '');
}

export function inputType(message: MessageModel, field: FieldModel): string {
  const entry = entryType(message, field, true);
  return (field.array ? `readonly ${entry}[]` : entry) + (allowsNull(field) ? ' | null' : '');
}

export function entryTypeName(message: MessageModel, field: FieldModel): string {
  return entryType(message, field, false);
}

export function allowsNull(field: FieldModel): boolean {
  return field.nullable !== null || (field.type === 'recs' && field.defaultText === null);
}

/** The default as an expression; a struct's default is built by a call. */
export function defaultExpression(message: MessageModel, field: FieldModel): string {
  if (field.defaultText === null) return 'null';
  if (field.array) return '[]';
  if (!isPrimitive(field.type)) return `default${structTypeName(message, field.type)}()`;
  switch (field.type) {
    case 'bool':
      return field.defaultText === 'true' ? 'true' : 'false';
    case 'str':
      return `'${field.defaultText ?? ''}'`;
    case 'uuid':
      return 'ZERO_UUID';
    case 'bytes':
    case 'recs':
      return 'NO_BYTES';
    default:
      return numberText(field.defaultText ?? '0');
  }
}

function numberText(text: string): string {
  const value = BigInt(text);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) return 'INT64_MAX';
  if (value < BigInt(Number.MIN_SAFE_INTEGER)) return 'INT64_MIN';
  return value.toString();
}

/** A test of `version` for a range inside the versions in question; null when it always holds. */
export function versionTest(range: VersionRange, context: VersionRange): string | null {
  const inside = intersect(range, context);
  if (inside.min > inside.max) return 'false';
  const above = range.min > context.min ? `version >= ${range.min}` : null;
  const below = range.max < context.max ? `version <= ${range.max}` : null;
  if (above !== null && below !== null) {
    return range.min === range.max ? `version === ${range.min}` : `${above} && ${below}`;
  }
  return above ?? below;
}

/** Versions in which the message uses the flexible encoding. */
export function flexibleRange(message: MessageModel): VersionRange {
  return { min: message.flexibleFrom, max: Infinity };
}

/** Versions that a struct of the message can occur in. */
export function contextOf(message: MessageModel, struct: StructModel): VersionRange {
  return intersect(struct.versions, message.versions);
}
