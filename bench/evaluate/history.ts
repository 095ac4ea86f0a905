/**
 * Whether the logs hold what producers were told: nothing acknowledged lost, nothing there twice, in order, whole, at its offset.
 * Since a partition has one producer with one batch under way, its log is its sequences from 0 on, one after the other.
 */
import {
  baseOffsetOf,
  baseSequenceOf,
  batchBytesOf,
  producerIdOf,
} from '../../src/protocol/records/batch-header.ts';
import { crcMatches } from '../../test/support/load/batches.ts';
import { errorName } from '../../test/support/load/error-name.ts';
import { eventually, RawConnection } from '../../test/support/raw-client.ts';
import type { Writers } from './writers.ts';

const faultsMax = 20;
const emptyMax = 100;
const fetchBytes = 4 * 1024 * 1024;
const batchHeaderBytes = 61;

export interface History {
  readonly records: number;
  readonly faults: readonly string[];
}

/** Reads every partition from its beginning, wherever it is led by then. The writers have been drained, and still follow leaders. */
export async function checkHistory(writers: Writers): Promise<History> {
  const faults: string[] = [...writers.violations];
  const reader = new LogReader(writers);
  let records = 0;
  try {
    for (let partition = 0; partition < writers.partitions && faults.length < faultsMax; partition++) {
      const found = await eventually(() => reader.read(partition)).catch((error: Error) => error.message);
      if (typeof found === 'string') faults.push(`${writers.topic}-${partition}: ${found}`);
      else records += found;
    }
  } finally {
    await reader.close();
  }
  return { records, faults: faults.slice(0, faultsMax) };
}

class LogReader {
  readonly #writers: Writers;
  readonly #connections = new Map<number, RawConnection>();

  constructor(writers: Writers) {
    this.#writers = writers;
  }

  async close(): Promise<void> {
    for (const connection of this.#connections.values()) await connection.close();
  }

  /** The partition's records, or what is wrong with them. Rejects where it cannot be read now. */
  async read(partition: number): Promise<number | string> {
    return readPartition(await this.#leaderOf(partition), this.#writers, partition);
  }

  async #leaderOf(partition: number): Promise<RawConnection> {
    const leader = this.#writers.leaders()[partition]!;
    const known = this.#connections.get(leader);
    if (known !== undefined && !known.socket.destroyed) return known;
    const address = this.#writers.addressOf(leader);
    if (address === undefined) throw new Error('nobody leads it');
    const connection = await RawConnection.connect(address, 'evaluate', 1 << 20);
    this.#connections.set(leader, connection);
    return connection;
  }
}

async function readPartition(
  connection: RawConnection,
  writers: Writers,
  partition: number,
): Promise<number | string> {
  const told = writers.offsets(partition);
  const end = await connection.listOffset(writers.topic, partition, -1);
  let offset = 0;
  let empty = 0;
  while (offset < end) {
    const answer = await connection.fetch(writers.topic, partition, offset, { maxBytes: fetchBytes });
    const data = answer.records as Buffer | null;
    if (answer.errorCode !== 0) throw new Error(`reading offset ${offset}: ${errorName(answer.errorCode)}`);
    if (data === null || data.length === 0) {
      if (++empty > emptyMax) return `nothing at offset ${offset}, although the end is ${end}`;
      continue;
    }
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    let at = 0;
    while (at + batchHeaderBytes <= data.length && at + batchBytesOf(view, at) <= data.length) {
      const bytes = batchBytesOf(view, at);
      const fault = faultOf(data.subarray(at, at + bytes), view, at, writers, told, offset);
      if (fault !== null) return fault;
      offset++;
      at += bytes;
    }
    if (at === 0) return `not one whole batch at offset ${offset}`;
  }
  return told.length === end ? end : `${told.length} records were acknowledged, ${end} are there`;
}

function faultOf(
  batch: Buffer,
  view: DataView,
  at: number,
  writers: Writers,
  told: readonly number[],
  due: number,
): string | null {
  const base = baseOffsetOf(view, at);
  const sequence = baseSequenceOf(view, at);
  if (base !== due) return `a batch at offset ${base} where ${due} was due`;
  if (!crcMatches(batch)) return `the batch at offset ${base} is torn`;
  if (producerIdOf(view, at) !== writers.producerId) return `a stranger's batch at offset ${base}`;
  if (sequence !== due) return `sequence ${sequence} at offset ${base}`;
  const toldOffset = told[sequence];
  if (toldOffset === undefined) return `sequence ${sequence} is there, and was never acknowledged`;
  return toldOffset >= 0 && toldOffset !== base
    ? `sequence ${sequence} is at offset ${base}, acknowledged at ${toldOffset}`
    : null;
}
