/** Emits the encoding half of a message's codec. */

import { flexibleDeclaration, uses } from './emit-decoder.ts';
import {
  allowsNull,
  contextOf,
  defaultExpression,
  flexibleRange,
  hasLength,
  inputType,
  propertyName,
  structTypeName,
  variableName,
  versionTest,
  writeMethod,
} from './names.ts';
import {
  type FieldModel,
  intersect,
  isEmpty,
  isPrimitive,
  type MessageModel,
  type StructModel,
  type VersionRange,
} from './schema-model.ts';

/** `function writeX(writer, input, version)` for one struct. */
export function emitWriteFunction(message: MessageModel, struct: StructModel): string[] {
  const type = structTypeName(message, struct.name);
  const context = contextOf(message, struct);
  const body: string[] = [];
  for (const field of struct.fields) {
    if (field.tag === null) body.push(...writeField(message, struct, field, context));
  }
  body.push(...writeTags(message, struct, context));
  const version = uses(body, 'version') || uses(body, 'flexible') ? 'version' : '_version';
  const input = uses(body, 'input') ? 'input' : '_input';
  return [
    `function write${type}(writer: Writer, ${input}: ${type}Input, ${version}: number): void {`,
    ...flexibleDeclaration(message, context, body),
    ...body.map((line) => `  ${line}`),
    '}',
    '',
  ];
}

/** `function isDefaultX(input)`: whether every field has its default. */
export function emitIsDefaultFunction(message: MessageModel, struct: StructModel): string[] {
  const type = structTypeName(message, struct.name);
  const tests = struct.fields.map((field) => differsIfSet(message, field));
  return [
    `function isDefault${type}(input: ${type}Input): boolean {`,
    `  return !(${tests.map((test) => `(${test})`).join(' || ')});`,
    '}',
    '',
  ];
}

/** Structs whose default the encoder compares with. */
export function comparedStructs(message: MessageModel): Set<string> {
  const names = new Set<string>();
  const visit = (type: string): void => {
    if (names.has(type)) return;
    names.add(type);
    for (const field of message.structs.get(type)!.fields) if (comparesStruct(field)) visit(field.type);
  };
  for (const struct of [message.root, ...message.structs.values()]) {
    const context = contextOf(message, struct);
    for (const field of struct.fields) {
      const limited = versionTest(field.versions, context) !== null && !field.ignorable;
      if (comparesStruct(field) && (field.tag !== null || limited)) visit(field.type);
    }
  }
  return names;
}

/** Structs whose default value is built: by the decoder where they are absent. */
export function defaultedStructs(message: MessageModel): Set<string> {
  const names = new Set<string>();
  const visit = (type: string): void => {
    if (names.has(type)) return;
    names.add(type);
    for (const field of message.structs.get(type)!.fields) if (comparesStruct(field)) visit(field.type);
  };
  for (const struct of [message.root, ...message.structs.values()]) {
    const context = contextOf(message, struct);
    for (const field of struct.fields) {
      const absent = field.tag !== null || versionTest(field.versions, context) !== null;
      if (comparesStruct(field) && absent) visit(field.type);
    }
  }
  return names;
}

function comparesStruct(field: FieldModel): boolean {
  return !field.array && !isPrimitive(field.type) && field.defaultText !== null;
}

function path(message: MessageModel, struct: StructModel, field: FieldModel): string {
  const owner = struct === message.root ? message.name : `${message.name}.${struct.name}`;
  return `'${owner}.${field.name}'`;
}

function writeField(
  message: MessageModel,
  struct: StructModel,
  field: FieldModel,
  context: VersionRange,
): string[] {
  const test = versionTest(field.versions, context);
  const inner = intersect(field.versions, context);
  const refusal = `throw fieldNotInVersion(${path(message, struct, field)}, version);`;
  if (isEmpty(inner)) return field.ignorable ? [] : [`if (${differsIfSet(message, field)}) ${refusal}`];
  const write = writeValue(message, struct, field, inner, false);
  if (test === null) return write.length === 1 ? write : ['{', ...write.map((line) => `  ${line}`), '}'];
  const lines = [`if (${test}) {`, ...write.map((line) => `  ${line}`)];
  if (!field.ignorable) lines.push(`} else if (${differsIfSet(message, field)}) {`, `  ${refusal}`);
  lines.push('}');
  return lines;
}

/** Statements that write the field's value, given that the version has the field. */
function writeValue(
  message: MessageModel,
  struct: StructModel,
  field: FieldModel,
  inner: VersionRange,
  tagged: boolean,
): string[] {
  const access = `input.${propertyName(field.name)}`;
  const structType = isPrimitive(field.type) ? null : structTypeName(message, field.type);
  const fallback =
    structType !== null && !field.array && field.defaultText !== null
      ? '{}'
      : defaultExpression(message, field);
  const flexible = field.flexible ? 'flexible' : 'false';
  if (!allowsNull(field)) {
    const value = `${access} ?? ${fallback}`;
    if (field.array)
      return writeArray(message, field, [`const entries: ${inputType(message, field)} = ${value};`]);
    if (structType !== null) return [`write${structType}(writer, ${value}, version);`];
    const method = writeMethod(field.type as never);
    return [`writer.${method}(${value}${hasLength(field.type) ? `, ${flexible}` : ''});`];
  }
  const name = variableName(field);
  const lines = [
    `const ${name}: ${inputType(message, field)} = ${access} === undefined ? ${fallback} : ${access};`,
  ];
  const nullTest = field.nullable === null ? 'false' : versionTest(field.nullable, inner);
  if (nullTest !== null) {
    const never = nullTest === 'false' ? '' : ` && !(${nullTest})`;
    lines.push(
      `if (${name} === null${never}) throw nullNotInVersion(${path(message, struct, field)}, version);`,
    );
  }
  if (field.array) {
    const inside = writeArray(message, field, [`const entries = ${name};`]);
    lines.push(`if (${name} === null) {`, `  writer.nullArray(${flexible});`, '} else {');
    lines.push(...inside.map((line) => `  ${line}`), '}');
  } else if (structType !== null) {
    const marker = tagged ? 'taggedStructMarker' : 'structMarker';
    // where no null is allowed there is no marker either
    if (nullTest === 'false') lines.push(`write${structType}(writer, ${name}, version);`);
    else if (nullTest !== null)
      throw new Error(`${message.name}.${field.name}: struct nullable in some versions`);
    else {
      lines.push(`writer.${marker}(${name} !== null);`);
      lines.push(`if (${name} !== null) write${structType}(writer, ${name}, version);`);
    }
  } else {
    const method = writeMethod(field.type as never);
    lines.push(`writer.nullable${method.charAt(0).toUpperCase()}${method.slice(1)}(${name}, ${flexible});`);
  }
  return lines;
}

function writeArray(message: MessageModel, field: FieldModel, head: string[]): string[] {
  const entry = isPrimitive(field.type)
    ? `writer.${writeMethod(field.type)}(entries[i]!${hasLength(field.type) ? ', flexible' : ''})`
    : `write${structTypeName(message, field.type)}(writer, entries[i]!, version)`;
  return [
    ...head,
    `writer.arrayLength(entries.length, ${field.flexible ? 'flexible' : 'false'});`,
    `for (let i = 0; i < entries.length; i++) ${entry};`,
  ];
}

/** An expression that is true when the input holds something else than the default. */
function differsIfSet(message: MessageModel, field: FieldModel): string {
  const access = `input.${propertyName(field.name)}`;
  return `${access} !== undefined && ${differs(message, field, access)}`;
}

function differs(message: MessageModel, field: FieldModel, access: string): string {
  if (field.defaultText === null) return `${access} !== null`;
  const orNull = allowsNull(field) ? `${access} === null || ` : '';
  const wrap = (test: string): string => (orNull === '' ? test : `(${orNull}${test})`);
  if (field.array) return wrap(`${access}.length !== 0`);
  if (!isPrimitive(field.type)) return wrap(`!isDefault${structTypeName(message, field.type)}(${access})`);
  if (field.type === 'bytes' || field.type === 'recs') return wrap(`${access}.byteLength !== 0`);
  return `${access} !== ${defaultExpression(message, field)}`;
}

function writeTags(message: MessageModel, struct: StructModel, context: VersionRange): string[] {
  const tagged = struct.fields.filter((field) => field.tag !== null).sort((a, b) => a.tag! - b.tag!);
  const flexibleTest = versionTest(flexibleRange(message), context);
  const lines: string[] = [];
  for (const field of tagged) {
    if (field.type === 'recs') throw new Error(`${message.name}.${field.name}: records in a tagged field`);
    const test = versionTest(field.versions, context);
    const present = `${variableName(field)}Set`;
    lines.push(`const ${present} = ${differsIfSet(message, field)};`);
    if (test !== null && !field.ignorable) {
      const refusal = `throw fieldNotInVersion(${path(message, struct, field)}, version);`;
      lines.push(`if (${present} && !(${test})) ${refusal}`);
    }
  }
  if (flexibleTest === 'false') return lines;
  if (tagged.length === 0) return ['if (flexible) writer.uvarint(0);'];
  const flexibleContext = intersect(context, flexibleRange(message));
  const conditions = tagged.map((field) => {
    const test = versionTest(field.versions, flexibleContext);
    const present = `${variableName(field)}Set`;
    return test === null || !field.ignorable ? present : `${present} && ${test}`;
  });
  lines.push('if (flexible) {');
  lines.push(`  writer.uvarint(${conditions.map((condition) => `(${condition} ? 1 : 0)`).join(' + ')});`);
  for (const [index, field] of tagged.entries()) {
    const inner = intersect(field.versions, flexibleContext);
    lines.push(`  if (${conditions[index]}) {`, `    const start = writer.beginTag(${field.tag});`);
    lines.push(...writeValue(message, struct, field, inner, true).map((line) => `    ${line}`));
    lines.push('    writer.endTag(start);', '  }');
  }
  lines.push('}');
  return lines;
}
