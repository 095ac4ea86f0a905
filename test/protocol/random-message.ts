/**
 * Builds random messages from the schema: every field the version has, within what the wire can carry. Seeded, so a
 * failure can be repeated.
 */
import { readFileSync } from 'node:fs';
import { INT64_MAX, INT64_MIN, ZERO_UUID } from '../../src/protocol/primitives.ts';
import {
  contains,
  type FieldModel,
  isPrimitive,
  type MessageModel,
  type PrimitiveType,
  type StructModel,
} from '../../tools/protocol/schema-model.ts';
import { parseSchema } from '../../tools/protocol/schema-parser.ts';

/** Random numbers of 32 bits from a seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Messages of the schema by name, e.g. ProduceRequest. */
export function schemaMessages(): Map<string, MessageModel> {
  const read = (file: string): string => readFileSync(`src/protocol/schema/${file}`, 'utf8');
  const schema = parseSchema([read('messages.schema'), read('coordinator-records.schema')]);
  const messages = new Map<string, MessageModel>();
  for (const api of schema.apis) {
    messages.set(api.request.name, api.request);
    messages.set(api.response.name, api.response);
  }
  for (const { message } of schema.structures) messages.set(message.name, message);
  return messages;
}

export class MessageGenerator {
  readonly #message: MessageModel;
  readonly #next: () => number;

  constructor(message: MessageModel, seed: number) {
    this.#message = message;
    this.#next = seededRandom(seed);
  }

  /** A message with a value in each field of the version and defaults in the others. */
  build(version: number): Record<string, unknown> {
    return this.#struct(this.#message.root, version, 0);
  }

  #below(limit: number): number {
    return this.#next() % limit;
  }

  #struct(struct: StructModel, version: number, depth: number): Record<string, unknown> {
    const value: Record<string, unknown> = {};
    for (const field of struct.fields) {
      const name = field.name.charAt(0).toLowerCase() + field.name.slice(1);
      value[name] = contains(field.versions, version)
        ? this.#field(field, version, depth)
        : this.#default(field);
    }
    return value;
  }

  #field(field: FieldModel, version: number, depth: number): unknown {
    if (field.nullable !== null && contains(field.nullable, version) && this.#below(4) === 0) return null;
    if (!field.array) return this.#entry(field, version, depth);
    const count = this.#below(depth > 2 ? 2 : 4);
    return Array.from({ length: count }, () => this.#entry(field, version, depth));
  }

  #entry(field: FieldModel, version: number, depth: number): unknown {
    if (isPrimitive(field.type)) return this.#primitive(field.type);
    return this.#struct(this.#message.structs.get(field.type)!, version, depth + 1);
  }

  #default(field: FieldModel): unknown {
    if (field.defaultText === null) return null;
    if (field.array) return [];
    if (!isPrimitive(field.type)) {
      const struct = this.#message.structs.get(field.type)!;
      return Object.fromEntries(
        struct.fields.map((inner) => [
          inner.name.charAt(0).toLowerCase() + inner.name.slice(1),
          this.#default(inner),
        ]),
      );
    }
    switch (field.type) {
      case 'str':
        return field.defaultText ?? '';
      case 'uuid':
        return ZERO_UUID;
      case 'bool':
        return field.defaultText === 'true';
      case 'bytes':
      case 'recs':
        return Buffer.alloc(0);
      default:
        return Math.min(Number(field.defaultText ?? 0), INT64_MAX);
    }
  }

  #primitive(type: PrimitiveType): unknown {
    switch (type) {
      case 'i8':
        return (this.#next() << 24) >> 24;
      case 'i16':
        return (this.#next() << 16) >> 16;
      case 'u16':
        return this.#next() & 0xffff;
      case 'i32':
        return this.#next() | 0;
      case 'u32':
        return this.#next();
      case 'i64':
        return this.#int64();
      case 'f64':
        return (this.#next() - 2 ** 31) / 997;
      case 'bool':
        return (this.#next() & 1) === 1;
      case 'uuid':
        return this.#below(5) === 0 ? ZERO_UUID : this.#bytes(16).toString('base64url');
      case 'str':
        return this.#text();
      case 'bytes':
      case 'recs':
        return this.#bytes(this.#below(30) === 0 ? 150 : this.#below(12));
    }
  }

  #int64(): number {
    const pick = this.#below(8);
    if (pick === 0) return INT64_MAX;
    if (pick === 1) return INT64_MIN;
    if (pick < 4) return (this.#next() - 2 ** 31) * 2 ** 21 + this.#below(2 ** 21);
    return this.#below(2000) - 1;
  }

  #text(): string {
    const letters = ['a', 'Z', '7', '.', '_', '-', 'é', '漢', '🚀'];
    const length = this.#below(30) === 0 ? 140 : this.#below(7);
    let text = '';
    for (let i = 0; i < length; i++) text += letters[this.#below(letters.length)];
    return text;
  }

  #bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let i = 0; i < length; i++) bytes[i] = this.#next();
    return bytes;
  }
}
