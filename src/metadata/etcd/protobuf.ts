/**
 * The part of the protocol buffers encoding that etcd's messages need: fields of varints (int64 as numbers, or as bigints
 * where they exceed 2^53), bytes and messages. Unknown fields are passed over, as newer etcds add some.
 */
import { MillraceError } from '../../ports/errors.ts';

const varintType = 0;
const lengthType = 2;

export class ProtoWriter {
  readonly #parts: Buffer[] = [];
  #length = 0;

  /** Zero, false and empty are the defaults, which are not written. */
  int(field: number, value: number | bigint): this {
    if (value === 0 || value === 0n) return this;
    this.#varint(BigInt((field << 3) | varintType));
    this.#varint(BigInt.asUintN(64, BigInt(value)));
    return this;
  }

  flag(field: number, value: boolean): this {
    return this.int(field, value ? 1 : 0);
  }

  bytes(field: number, value: Uint8Array): this {
    if (value.length === 0) return this;
    return this.present(field, value);
  }

  string(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value));
  }

  /** Written also when it is empty: a member of a oneof. */
  present(field: number, value: Uint8Array): this {
    this.#varint(BigInt((field << 3) | lengthType));
    this.#varint(BigInt(value.length));
    this.#parts.push(Buffer.from(value.buffer, value.byteOffset, value.length));
    this.#length += value.length;
    return this;
  }

  message(field: number, value: ProtoWriter): this {
    return this.present(field, value.finish());
  }

  /** A number that is written also when it is zero: a member of a oneof. */
  presentInt(field: number, value: number | bigint): this {
    this.#varint(BigInt((field << 3) | varintType));
    this.#varint(BigInt.asUintN(64, BigInt(value)));
    return this;
  }

  finish(): Buffer {
    return this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts, this.#length);
  }

  #varint(value: bigint): void {
    const bytes: number[] = [];
    let rest = value;
    while (rest > 0x7fn) {
      bytes.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    bytes.push(Number(rest));
    this.#parts.push(Buffer.from(bytes));
    this.#length += bytes.length;
  }
}

/** One field of a message: a varint, or bytes; exactly one of the two is meant, by the field's type. */
export interface ProtoField {
  readonly field: number;
  readonly value: bigint;
  readonly bytes: Buffer;
}

const none = Buffer.alloc(0);

/** Fields in the order in which they lie there; throws ETCD_FAILED on bytes that are no message. */
export function* protoFields(message: Buffer): Generator<ProtoField> {
  let position = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[position++];
      if (byte === undefined) throw malformed();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw malformed();
  };
  const take = (length: number): Buffer => {
    const start = position;
    position += length;
    if (position > message.length) throw malformed();
    return message.subarray(start, position);
  };
  while (position < message.length) {
    const tag = Number(varint());
    const field = tag >>> 3;
    const type = tag & 7;
    if (type === varintType) yield { field, value: varint(), bytes: none };
    else if (type === lengthType) yield { field, value: 0n, bytes: take(Number(varint())) };
    else if (type === 1) take(8);
    else if (type === 5) take(4);
    else throw malformed();
  }
}

/** An int64 that stays below 2^53 in what etcd counts. */
export function safeNumber(value: bigint): number {
  const number = Number(BigInt.asIntN(64, value));
  if (!Number.isSafeInteger(number)) throw malformed();
  return number;
}

function malformed(): MillraceError {
  return new MillraceError('internal', 'ETCD_FAILED', 'etcd sent what is no message of its interface');
}
