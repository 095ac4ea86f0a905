/**
 * 200 connections of slow, half-open, malformed, oversized and random frames while good clients work: each bad one gets
 * an answer or is closed, memory stays bounded, good clients notice nothing (no reconnection, no violation, the log as
 * acknowledged).
 */

import net from 'node:net';
import { join } from 'node:path';
import { ApiVersionsCodec } from '../../src/protocol/generated/api-versions.ts';
import { Writer } from '../../src/protocol/writer.ts';
import { BrokerChild } from '../support/load/broker-child.ts';
import { FetchLoop } from '../support/load/fetch-loop.ts';
import { IdempotentProducer } from '../support/load/idempotent-producer.ts';
import { compareWithLog, Ledger } from '../support/load/ledger.ts';
import { type Address, produceEnvelope, RawConnection } from '../support/raw-client.ts';
import { encodeRequestFrame } from '../support/request-headers.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const connections = 200;
const rounds = 3;
const frameTimeoutMs = 3_000;
const topic = 'abused';
/** What 200 bad connections may add: their socket buffers and unfinished frames. */
const memoryBoundBytes = 256e6;

type End = 'answered' | 'closed' | 'nothing';

interface Abuser {
  readonly name: string;
  act(socket: net.Socket, random: SeededRandom, stop: AbortSignal): Promise<void>;
}

function frame(body: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length);
  return Buffer.concat([size, body]);
}

function header(key: number, version: number, correlationId: number): Buffer {
  const bytes = Buffer.alloc(11);
  bytes.writeInt16BE(key, 0);
  bytes.writeInt16BE(version, 2);
  bytes.writeInt32BE(correlationId, 4);
  bytes.writeInt16BE(1, 8);
  bytes.write('x', 10);
  return bytes;
}

function apiVersions(): Buffer {
  const writer = new Writer();
  encodeRequestFrame(
    writer,
    ApiVersionsCodec as never,
    { apiKey: 18, apiVersion: 3, correlationId: 1, clientId: 'slow' },
    { clientSoftwareName: 'slow', clientSoftwareVersion: '1' },
  );
  return Buffer.from(writer.written);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const abusers: readonly Abuser[] = [
  {
    // A byte now and then: the frame never arrives within its time.
    name: 'slow',
    act: async (socket, _random, stop) => {
      for (const byte of apiVersions()) {
        if (stop.aborted || socket.destroyed) return;
        socket.write(Buffer.of(byte));
        await pause(frameTimeoutMs / 8);
      }
    },
  },
  {
    name: 'half-open',
    act: async (socket, random) => {
      const { head } = produceEnvelope(topic, 0, 200_000);
      socket.write(head);
      socket.write(Buffer.from(random.bytes(new Uint8Array(random.below(50_000)))));
    },
  },
  {
    name: 'malformed body',
    act: async (socket, random) => {
      const key = random.pick([0, 1, 2, 3, 8, 9, 11, 12, 19, 22]);
      const body = Buffer.from(random.bytes(new Uint8Array(1 + random.below(200))));
      socket.write(frame(Buffer.concat([header(key, random.below(10), 7), body])));
    },
  },
  {
    name: 'counts beyond the frame',
    act: async (socket) => {
      const body = Buffer.alloc(12);
      body.writeInt32BE(0x7fffffff, 0);
      body.writeInt32BE(0x7fffffff, 4);
      socket.write(frame(Buffer.concat([header(3, 1, 7), body])));
    },
  },
  {
    name: 'oversized',
    act: async (socket, random) => {
      const size = Buffer.alloc(4);
      size.writeInt32BE(random.pick([0x7fffffff, 0x7fffffff - 3, 1_500_000_000]));
      socket.write(size);
      socket.write(Buffer.alloc(10_000, 1));
    },
  },
  {
    name: 'negative size',
    act: async (socket) => {
      const size = Buffer.alloc(4);
      size.writeInt32BE(-5);
      socket.write(size);
    },
  },
  {
    name: 'empty frames',
    act: async (socket) => {
      socket.write(Buffer.alloc(4));
    },
  },
  {
    name: 'unknown request',
    act: async (socket, random) => {
      socket.write(frame(header(random.pick([-1, 999, 500, 32_767]), 0, 7)));
    },
  },
  {
    name: 'unknown version',
    act: async (socket, random) => {
      socket.write(frame(Buffer.concat([header(random.pick([0, 1, 3, 18]), 99, 7), Buffer.alloc(20)])));
    },
  },
  {
    name: 'wrong batch',
    act: async (socket, random) => {
      const batch = Buffer.from(random.bytes(new Uint8Array(500)));
      const { head, tail } = produceEnvelope(topic, 0, batch.length);
      socket.write(Buffer.concat([head, batch, tail]));
    },
  },
  {
    name: 'random bytes',
    act: async (socket, random) => {
      for (let i = 0; i < 5 && !socket.destroyed; i++) {
        socket.write(Buffer.from(random.bytes(new Uint8Array(1 + random.below(2000)))));
        await pause(10);
      }
    },
  },
  {
    name: 'HTTP',
    act: async (socket) => {
      socket.write('GET / HTTP/1.1\r\nHost: broker\r\n\r\n');
    },
  },
];

/** Runs one abuser and tells how the broker ended it; it gets twice the frame's time. */
async function abuseOnce(address: Address, abuser: Abuser, random: SeededRandom): Promise<End> {
  const stop = new AbortController();
  const socket = net.connect(address);
  let answered = false;
  const over = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('data', () => {
    answered = true;
  });
  socket.on('error', () => {});
  await new Promise<void>((resolve) => {
    socket.once('connect', () => resolve());
    socket.once('close', () => resolve());
  });
  const acting = abuser.act(socket, random, stop.signal);
  const closed = await Promise.race([over.then(() => true), pause(3 * frameTimeoutMs).then(() => false)]);
  stop.abort();
  socket.destroy();
  await acting;
  if (closed) return 'closed';
  return answered ? 'answered' : 'nothing';
}

async function run(context: LongContext): Promise<LongOutcome> {
  const random = new SeededRandom(Number(context.option('seed') ?? 5));
  const broker = new BrokerChild({
    dataDir: join(context.directory, 'data'),
    settings: { 'frame.timeout.ms': frameTimeoutMs, 'arena.bytes': 256 * 1024 * 1024 },
  });
  const ledger = new Ledger();
  const producers: IdempotentProducer[] = [];
  let reader: FetchLoop | null = null;
  try {
    await broker.start();
    const admin = await RawConnection.connect(broker.address);
    await admin.createTopic(topic, 4);
    await admin.close();
    const value = Buffer.from(random.bytes(new Uint8Array(2000)));
    for (let i = 0; i < 4; i++) {
      const producer = new IdempotentProducer({
        address: () => broker.address,
        topic,
        partitions: [0, 1, 2, 3],
        ledger,
        nextValues: () => [value, value],
        pauseMs: 2,
      });
      await producer.start();
      producers.push(producer);
    }
    reader = await FetchLoop.start({
      address: broker.address,
      topic,
      partitions: new Map([0, 1, 2, 3].map((partition) => [partition, 0])),
    });
    let readerFault: Error | null = null;
    reader.done.catch((error: Error) => {
      readerFault = error;
    });
    await pause(2000);
    const rate = async (ms: number) => {
      const before = ledger.batches;
      await pause(ms);
      return ((ledger.batches - before) / ms) * 1000;
    };
    const quietRate = await rate(3000);
    const rssBefore = broker.rssBytes();
    let rssPeak = rssBefore;
    const sampler = setInterval(() => {
      rssPeak = Math.max(rssPeak, broker.rssBytes());
    }, 100);
    const ends = new Map<string, Record<End, number>>();
    const begunBatches = ledger.batches;
    const begun = performance.now();
    for (let round = 0; round < rounds; round++) {
      await Promise.all(
        Array.from({ length: connections }, async (_, i) => {
          const abuser = abusers[i % abusers.length]!;
          const end = await abuseOnce(broker.address, abuser, new SeededRandom(random.below(2 ** 31)));
          const counts = ends.get(abuser.name) ?? { answered: 0, closed: 0, nothing: 0 };
          counts[end]++;
          ends.set(abuser.name, counts);
        }),
      );
      context.say(
        `round ${round + 1}: ${[...ends].map(([name, counts]) => `${name} ${counts.closed} closed ${counts.answered} answered ${counts.nothing} neither`).join(', ')}`,
      );
    }
    const abusedRate = ((ledger.batches - begunBatches) / (performance.now() - begun)) * 1000;
    clearInterval(sampler);
    const faults: string[] = [];
    for (const [name, counts] of ends)
      if (counts.nothing > 0) faults.push(`${counts.nothing} × ${name}: neither answered nor closed`);
    for (const producer of producers) {
      if (producer.violation !== null) faults.push(producer.violation.message);
      else await producer.drain();
      if (producer.connections !== 1)
        faults.push(`a good producer had to connect ${producer.connections} times`);
    }
    if (readerFault !== null) faults.push(`the good consumer failed: ${(readerFault as Error).message}`);
    if (rssPeak - rssBefore > memoryBoundBytes)
      faults.push(`resident memory grew by ${((rssPeak - rssBefore) / 1e6).toFixed(0)} MB`);
    const readBack = await compareWithLog(broker.address, topic, ledger);
    faults.push(...readBack.faults);
    return outcome(
      faults,
      [
        `${rounds} rounds of ${connections} bad connections: ${[...ends].map(([name, { closed, answered }]) => `${name} ${closed} closed, ${answered} answered`).join('; ')}`,
        `good producers: ${quietRate.toFixed(0)} batches/s before, ${abusedRate.toFixed(0)} during, no reconnection; ${readBack.batches} batches as acknowledged; resident memory ${(rssBefore / 1e6).toFixed(0)} MB before, peak ${(rssPeak / 1e6).toFixed(0)} MB, allowed growth ${memoryBoundBytes / 1e6} MB`,
      ],
      {
        ends: Object.fromEntries(ends),
        quietRate,
        abusedRate,
        rssBefore,
        rssPeak,
        memoryBoundBytes,
        acknowledged: ledger.batches,
      },
    );
  } finally {
    await reader?.stop();
    for (const producer of producers) await producer.stop();
    await broker.stop();
  }
}

export const abuse: LongScript = {
  name: 'abuse',
  what: '200 slow, half-open, malformed, oversized and random connections while good clients work',
  run,
};
