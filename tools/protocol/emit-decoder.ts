/** Emits the decoding half of a message's codec. */

import { entryBytesMin } from './entry-size.ts';
import {
  allowsNull,
  contextOf,
  decodedType,
  defaultExpression,
  entryTypeName,
  flexibleRange,
  hasLength,
  propertyName,
  readMethod,
  structTypeName,
  variableName,
  versionTest,
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

/** `function readX(reader, version): X` for one struct. */
export function emitReadFunction(message: MessageModel, struct: StructModel): string[] {
  const type = structTypeName(message, struct.name);
  const context = contextOf(message, struct);
  const body: string[] = [];
  for (const field of struct.fields) {
    if (field.tag !== null)
      body.push(`let ${declaration(message, field)} = ${defaultExpression(message, field)};`);
    else body.push(...readField(message, struct, field, context));
  }
  body.push(...readTags(message, struct, context));
  body.push('return {');
  for (const field of struct.fields) {
    const name = propertyName(field.name);
    const variable = variableName(field);
    body.push(name === variable ? `  ${name},` : `  ${name}: ${variable},`);
  }
  body.push('};');
  return [
    `function read${type}(reader: Reader, ${uses(body, 'version') || uses(body, 'flexible') ? 'version' : '_version'}: number): ${type} {`,
    ...flexibleDeclaration(message, context, body),
    ...body.map((line) => `  ${line}`),
    '}',
    '',
  ];
}

/** `function defaultX(): X`, for structs that can be absent. */
export function emitDefaultFunction(message: MessageModel, struct: StructModel): string[] {
  const type = structTypeName(message, struct.name);
  return [
    `function default${type}(): ${type} {`,
    '  return {',
    ...struct.fields.map((field) => `    ${propertyName(field.name)}: ${defaultExpression(message, field)},`),
    '  };',
    '}',
    '',
  ];
}

/** A const that says whether this version is flexible, if the body asks. */
export function flexibleDeclaration(
  message: MessageModel,
  context: VersionRange,
  body: readonly string[],
): string[] {
  if (!uses(body, 'flexible')) return [];
  const test = versionTest(flexibleRange(message), context);
  return [`  const flexible: boolean = ${test ?? 'true'};`];
}

export function uses(body: readonly string[], word: string): boolean {
  const pattern = new RegExp(`(?<![.'\\w])${word}(?![\\w':])`);
  return body.some((line) => pattern.test(line));
}

function declaration(message: MessageModel, field: FieldModel): string {
  return `${variableName(field)}: ${decodedType(message, field)}`;
}

function readField(
  message: MessageModel,
  struct: StructModel,
  field: FieldModel,
  context: VersionRange,
): string[] {
  const test = versionTest(field.versions, context);
  const inner = intersect(field.versions, context);
  if (isEmpty(inner)) return [`const ${declaration(message, field)} = ${defaultExpression(message, field)};`];
  const name = variableName(field);
  if (field.array && !allowsNull(field)) {
    const guard = test === null ? '' : `if (${test}) `;
    return [
      `const ${declaration(message, field)} = [];`,
      `${guard}for (let left = ${arrayLength(message, struct, field, inner)}; left > 0; left--) ${name}.push(${readEntry(message, field)});`,
    ];
  }
  if (field.array) {
    const lines = [`let ${declaration(message, field)} = ${defaultExpression(message, field)};`];
    lines.push(test === null ? '{' : `if (${test}) {`);
    lines.push(...readNullableArray(message, struct, field, inner).map((line) => `  ${line}`), '}');
    return lines;
  }
  const value = readValue(message, field, inner, false);
  if (test === null) return [`const ${declaration(message, field)} = ${value};`];
  return [
    `const ${declaration(message, field)} = ${test} ? ${value} : ${defaultExpression(message, field)};`,
  ];
}

function readNullableArray(
  message: MessageModel,
  struct: StructModel,
  field: FieldModel,
  inner: VersionRange,
): string[] {
  const name = variableName(field);
  return [
    `const count = ${arrayLength(message, struct, field, inner)};`,
    `const entries: ${entryTypeName(message, field)}[] = [];`,
    `for (let left = count; left > 0; left--) entries.push(${readEntry(message, field)});`,
    `${name} = count < 0 ? null : entries;`,
  ];
}

function arrayLength(
  message: MessageModel,
  struct: StructModel,
  field: FieldModel,
  inner: VersionRange,
): string {
  const args = `(${flexibleArgument(field)}, ${entryBytesMin(message, struct, field)})`;
  return byNullability(field, inner, `reader.nullableArrayLength${args}`, `reader.arrayLength${args}`);
}

/** Chooses between the nullable and the plain form, at run time if the versions differ. */
function byNullability(field: FieldModel, inner: VersionRange, nullable: string, plain: string): string {
  if (field.nullable === null) return plain;
  const test = versionTest(field.nullable, inner);
  if (test === null) return nullable;
  if (test === 'false') return plain;
  return `(${test} ? ${nullable} : ${plain})`;
}

function flexibleArgument(field: FieldModel): string {
  return field.flexible ? 'flexible' : 'false';
}

function readEntry(message: MessageModel, field: FieldModel): string {
  if (!isPrimitive(field.type)) return `read${structTypeName(message, field.type)}(reader, version)`;
  return `reader.${readMethod(field.type)}(${hasLength(field.type) ? 'flexible' : ''})`;
}

function readValue(message: MessageModel, field: FieldModel, inner: VersionRange, tagged: boolean): string {
  if (!isPrimitive(field.type)) {
    const plain = readEntry(message, field);
    const present = tagged ? 'taggedStructPresent' : 'structPresent';
    return byNullability(field, inner, `(reader.${present}() ? ${plain} : null)`, plain);
  }
  const method = readMethod(field.type);
  if (!hasLength(field.type)) return `reader.${method}()`;
  const argument = `(${flexibleArgument(field)})`;
  const nullable = `reader.nullable${method.charAt(0).toUpperCase()}${method.slice(1)}${argument}`;
  return byNullability(field, inner, nullable, `reader.${method}${argument}`);
}

function readTags(message: MessageModel, struct: StructModel, context: VersionRange): string[] {
  if (versionTest(flexibleRange(message), context) === 'false') return [];
  const tagged = struct.fields.filter((field) => field.tag !== null);
  if (tagged.length === 0) return ['if (flexible) reader.skipTags();'];
  const lines = ['if (flexible) {', '  for (let left = reader.tagCount(); left > 0; left--) {'];
  lines.push('    const tag = reader.uvarint();');
  const flexibleContext = intersect(context, flexibleRange(message));
  for (const [index, field] of tagged.entries()) {
    const test = versionTest(field.versions, flexibleContext);
    lines.push(
      `    ${index === 0 ? '' : '} else '}if (tag === ${field.tag}${test === null ? '' : ` && ${test}`}) {`,
    );
    lines.push('      const outerEnd = reader.enterTag();');
    const inner = intersect(field.versions, flexibleContext);
    if (field.array) {
      lines.push(...readNullableArray(message, struct, field, inner).map((line) => `      ${line}`));
      if (!allowsNull(field)) lines[lines.length - 1] = `      ${variableName(field)} = entries;`;
    } else {
      lines.push(`      ${variableName(field)} = ${readValue(message, field, inner, true)};`);
    }
    lines.push('      reader.leaveTag(outerEnd);');
  }
  lines.push('    } else {', '      reader.skipTag();', '    }', '  }', '}');
  return lines;
}
