/**
 * What a broker acknowledged, and whether a full read agrees: nothing acknowledged is lost, nothing is there twice,
 * offsets and order are as acknowledged, and between the acknowledged batches there is nothing else.
 */
import { createHash } from 'node:crypto';
import {
  baseOffsetOf,
  baseSequenceOf,
  batchBytesOf,
  crcStart,
  producerIdOf,
  recordCountOf,
} from '../../../src/protocol/records/batch-header.ts';
import { type Address, RawConnection } from '../raw-client.ts';
import { crcMatches } from './batches.ts';
import { errorName } from './error-name.ts';

export interface Acknowledged {
  readonly partition: number;
  readonly baseOffset: number;
  readonly records: number;
  readonly producerId: number;
  readonly baseSequence: number;
  readonly hash: string;
}

/** Hash of what the batch's CRC covers: everything a broker must not change. */
export function contentHash(batch: Buffer): string {
  return createHash('sha256').update(batch.subarray(crcStart)).digest('base64url').slice(0, 22);
}

export class Ledger {
  readonly #partitions = new Map<number, Acknowledged[]>();
  batches = 0;
  records = 0;

  acknowledge(entry: Acknowledged): void {
    const entries = this.#partitions.get(entry.partition);
    if (entries === undefined) this.#partitions.set(entry.partition, [entry]);
    else entries.push(entry);
    this.batches++;
    this.records += entry.records;
  }

  partitions(): number[] {
    return [...this.#partitions.keys()].sort((a, b) => a - b);
  }

  /** By offset. Acknowledgements of one producer come in order, those of several interleave. */
  entries(partition: number): Acknowledged[] {
    return [...(this.#partitions.get(partition) ?? [])].sort((a, b) => a.baseOffset - b.baseOffset);
  }
}

export interface Comparison {
  readonly batches: number;
  readonly records: number;
  readonly bytes: number;
  /** At most 20 of each partition; empty when all agrees. */
  readonly faults: string[];
}

const faultsMax = 20;
/** Answers without data, of half a second each, for one partition: what is late from the store comes with a later one. */
const emptyMax = 60;

/** Reads every partition from offset 0 to its end and compares. All that was sent must have been acknowledged. */
export async function compareWithLog(address: Address, topic: string, ledger: Ledger): Promise<Comparison> {
  const connection = await RawConnection.connect(address, 'verify', 16 * 1024 * 1024);
  const faults: string[] = [];
  let batches = 0;
  let records = 0;
  let bytes = 0;
  for (const partition of ledger.partitions()) {
    const expected = ledger.entries(partition);
    const end = await connection.listOffset(topic, partition, -1);
    const fault = (text: string) => {
      if (faults.length < faultsMax * (partition + 1)) faults.push(`${topic}-${partition}: ${text}`);
    };
    let next = 0;
    let offset = 0;
    let empty = 0;
    while (offset < end) {
      const answer = await connection.fetch(topic, partition, offset);
      if (answer.errorCode !== 0) {
        fault(`reading offset ${offset}: ${errorName(answer.errorCode)}`);
        break;
      }
      const data = answer.records as Buffer | null;
      if ((data === null || data.length === 0) && ++empty < emptyMax) continue;
      if (data === null || data.length === 0) {
        fault(`reading offset ${offset}: no data, although the end is ${end}`);
        break;
      }
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      let at = 0;
      while (at + 61 <= data.length && at + batchBytesOf(view, at) <= data.length) {
        const batch = data.subarray(at, at + batchBytesOf(view, at));
        const base = baseOffsetOf(view, at);
        const count = recordCountOf(view, at);
        if (base !== offset) fault(`a batch at offset ${base}, ${offset} was due`);
        if (!crcMatches(batch)) fault(`the CRC of the batch at offset ${base} is wrong`);
        const entry = expected[next];
        if (entry === undefined) {
          fault(
            `a batch at offset ${base} nobody was acknowledged (producer ${producerIdOf(view, at)}, sequence ${baseSequenceOf(view, at)})`,
          );
        } else {
          const same =
            entry.baseOffset === base &&
            entry.records === count &&
            entry.producerId === producerIdOf(view, at) &&
            entry.baseSequence === baseSequenceOf(view, at) &&
            entry.hash === contentHash(batch);
          if (!same) {
            fault(
              `offset ${base} holds producer ${producerIdOf(view, at)} sequence ${baseSequenceOf(view, at)} × ${count}; acknowledged was offset ${entry.baseOffset} producer ${entry.producerId} sequence ${entry.baseSequence} × ${entry.records}`,
            );
          }
          next++;
        }
        offset = base + count;
        batches++;
        records += count;
        bytes += batch.length;
        at += batch.length;
      }
      if (at === 0) {
        fault(`reading offset ${offset}: not one whole batch in ${data.length} bytes`);
        break;
      }
    }
    if (next < expected.length)
      fault(
        `${expected.length - next} acknowledged batches are missing, the first at offset ${expected[next]!.baseOffset}; the end is ${end}`,
      );
    const sequences = new Map<number, number>();
    for (const entry of expected) {
      const due = sequences.get(entry.producerId) ?? 0;
      if (entry.baseSequence !== due)
        fault(
          `producer ${entry.producerId}: sequence ${entry.baseSequence} acknowledged where ${due} was due`,
        );
      sequences.set(entry.producerId, entry.baseSequence + entry.records);
    }
  }
  await connection.close();
  return { batches, records, bytes, faults };
}
