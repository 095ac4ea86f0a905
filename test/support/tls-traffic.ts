/**
 * Much data over TLS, both ways: several connections produce batches of random bytes, several others read them back, and
 * every batch is compared with what was sent by its CRC and its number.
 */
import type tls from 'node:tls';
import { batchBytesOf } from '../../src/protocol/records/batch-header.ts';
import { BatchPool, crcMatches } from './load/batches.ts';
import { type Address, RawConnection } from './raw-client.ts';

export interface TlsTraffic {
  readonly address: Address;
  readonly secured: tls.ConnectionOptions;
  readonly topic: string;
  /** A producing and a reading connection each. */
  readonly partitions: number;
  readonly bytes: number;
}

const valueBytes = 16 * 1024;
const recordsPerBatch = 16;
const inFlight = 4;

/** Bytes moved each way; throws for what is lost, changed or out of order. */
export async function moveOverTls(traffic: TlsTraffic): Promise<{ sent: number; read: number }> {
  const { address, secured, topic, partitions } = traffic;
  const connect = () => RawConnection.connect(address, 'tls', 1 << 20, secured);
  const admin = await connect();
  await admin.createTopic(topic, partitions);
  const perPartition = Math.ceil(traffic.bytes / partitions);
  const each = Array.from({ length: partitions }, async (_, partition) => {
    const producer = await connect();
    const reader = await connect();
    try {
      const crcs: number[] = [];
      const sending = send(producer, topic, partition, perPartition, crcs);
      const [sent, read] = await Promise.all([sending, receive(reader, topic, partition, crcs, sending)]);
      return { sent, read };
    } finally {
      await producer.close();
      await reader.close();
    }
  });
  const moved = await Promise.all(each);
  await admin.close();
  return {
    sent: moved.reduce((sum, { sent }) => sum + sent, 0),
    read: moved.reduce((sum, { read }) => sum + read, 0),
  };
}

async function send(
  producer: RawConnection,
  topic: string,
  partition: number,
  bytes: number,
  crcs: number[],
): Promise<number> {
  const pool = new BatchPool({ valueBytes, recordsPerBatch }, inFlight + 1);
  let sent = 0;
  let under: Promise<void>[] = [];
  while (sent < bytes) {
    const batch = pool.take();
    crcs.push(batch.readUInt32BE(17));
    sent += batch.length;
    under.push(
      producer.produce(topic, partition, batch).then(({ errorCode }) => {
        if (errorCode !== 0) throw new Error(`${topic}-${partition}: error ${errorCode}`);
      }),
    );
    if (under.length >= inFlight) {
      await under[0];
      under = under.slice(1);
    }
  }
  await Promise.all(under);
  return sent;
}

/** Reads beside the producer until it has read all that was acknowledged. */
async function receive(
  reader: RawConnection,
  topic: string,
  partition: number,
  crcs: readonly number[],
  sending: Promise<number>,
): Promise<number> {
  let total = Number.POSITIVE_INFINITY;
  sending.then(
    (sent) => {
      total = sent;
    },
    () => {
      total = 0;
    },
  );
  let read = 0;
  let batches = 0;
  while (read < total) {
    const { errorCode, records } = await reader.fetch(topic, partition, batches * recordsPerBatch);
    if (errorCode !== 0) throw new Error(`${topic}-${partition}: fetch error ${errorCode}`);
    const bytes = Buffer.from(records as Uint8Array);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at + 61 <= bytes.length; ) {
      const length = batchBytesOf(view, at);
      if (at + length > bytes.length) break;
      const batch = bytes.subarray(at, at + length);
      if (Number(batch.readBigInt64BE(0)) !== batches * recordsPerBatch || !crcMatches(batch))
        throw new Error(`${topic}-${partition}: batch ${batches} is damaged or out of order`);
      if (batch.readUInt32BE(17) !== crcs[batches])
        throw new Error(`${topic}-${partition}: batch ${batches} is not the one that was sent`);
      batches++;
      read += length;
      at += length;
    }
  }
  return read;
}
