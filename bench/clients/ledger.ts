/**
 * What a load has had acknowledged: the CRC of each batch by partition and number (offset ÷ records per batch). Written by
 * loads, read here to compare with what a broker says and gives back.
 *
 *   | partitions | count of partition 0 | its CRCs | count of partition 1 | …     32 bits each, in the machine's order
 */
import { readFileSync } from 'node:fs';

export interface Ledger {
  /** CRCs by partition; 0 = that batch was not acknowledged. */
  readonly crcs: readonly Uint32Array[];
}

export function parseLedger(bytes: Buffer): Ledger {
  const numbers = new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const crcs: Uint32Array[] = [];
  let at = 1;
  for (let partition = 0; partition < (numbers[0] ?? 0); partition++) {
    const count = numbers[at++];
    if (count === undefined || at + count > numbers.length) throw new Error('a ledger cut short');
    crcs.push(numbers.subarray(at, at + count));
    at += count;
  }
  return { crcs };
}

export function readLedger(path: string): Ledger {
  return parseLedger(readFileSync(path));
}

export function formatLedger(crcs: readonly Uint32Array[]): Buffer {
  const length = 1 + crcs.reduce((sum, each) => sum + 1 + each.length, 0);
  const numbers = new Uint32Array(length);
  numbers[0] = crcs.length;
  let at = 1;
  for (const each of crcs) {
    numbers[at++] = each.length;
    numbers.set(each, at);
    at += each.length;
  }
  return Buffer.from(numbers.buffer);
}

export function acknowledgedBatches({ crcs }: Ledger): number {
  let sum = 0;
  for (const each of crcs) for (const crc of each) if (crc !== 0) sum++;
  return sum;
}
