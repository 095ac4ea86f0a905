/** The least bytes that one array entry takes on the wire, over all versions: the decoder's check of counts. */

import { allowsNull, contextOf } from './names.ts';
import {
  contains,
  type FieldModel,
  intersect,
  isPrimitive,
  type MessageModel,
  type StructModel,
} from './schema-model.ts';

const FIXED: Record<string, number> = {
  i8: 1,
  bool: 1,
  i16: 2,
  u16: 2,
  i32: 4,
  u32: 4,
  i64: 8,
  f64: 8,
  uuid: 16,
};

/** For an array field of `struct`: least bytes of an entry in any version that has the field. */
export function entryBytesMin(message: MessageModel, struct: StructModel, field: FieldModel): number {
  const range = intersect(field.versions, contextOf(message, struct));
  let least = Infinity;
  for (let version = range.min; version <= range.max; version++) {
    least = Math.min(least, valueBytes(message, { ...field, array: false, nullable: null }, version));
  }
  if (!(least >= 1 && least < Infinity))
    throw new Error(`${message.name}.${field.name}: entry of ${least} bytes`);
  return least;
}

function valueBytes(message: MessageModel, field: FieldModel, version: number): number {
  const flexible = version >= message.flexibleFrom && field.flexible;
  if (field.array) return flexible ? 1 : 4;
  if (isPrimitive(field.type)) {
    const fixed = FIXED[field.type];
    if (fixed !== undefined) return fixed;
    if (flexible) return 1;
    return field.type === 'str' ? 2 : 4;
  }
  if (allowsNull(field)) return 1;
  const struct = message.structs.get(field.type)!;
  let sum = version >= message.flexibleFrom ? 1 : 0;
  for (const inner of struct.fields) {
    if (inner.tag === null && contains(inner.versions, version)) sum += valueBytes(message, inner, version);
  }
  return sum;
}
