import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codecId } from '../../../src/protocol/compression/codec.ts';
import { ErrorCode, errorName } from '../../../src/protocol/generated/errors.ts';
import { ProduceCodec, type ProduceRequestInput } from '../../../src/protocol/generated/produce.ts';
import { Reader } from '../../../src/protocol/reader.ts';
import { type BatchRecord, buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { crcStart, headerField, patchCrc } from '../../../src/protocol/records/batch-header.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import { Writer } from '../../../src/protocol/writer.ts';
import { decodeResponseHeader, encodeRequestFrame } from '../../support/request-headers.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { codecs } from './produce-rig.ts';
import { type Client, ProduceSide, partitions, topicIds, waitingKey } from './produce-side.ts';

const startMs = 1_700_000_000_000;

/** Ways to break a batch; those that keep its CRC right are behind `sealed`. */
const defects: readonly ((batch: Buffer, random: SeededRandom) => Buffer)[] = [
  (batch) => batch.subarray(0, batch.length - 3),
  (batch) => batch.subarray(0, 40),
  (batch) => Buffer.concat([batch, batch]),
  () => Buffer.alloc(0),
  (batch) => withByte(batch, headerField.magic, 1),
  (batch) => withByte(batch, headerField.magic, 3),
  (batch) => withByte(batch, headerField.baseOffset + 7, 5),
  (batch) => withByte(batch, headerField.crc, batch[headerField.crc]! ^ 1),
  (batch, random) => withByte(batch, random.below(batch.length), random.below(256)),
];
const sealed: readonly ((batch: Buffer, random: SeededRandom) => Buffer)[] = [
  (batch) => withByte(batch, headerField.attributes + 1, 7),
  (batch) => withByte(batch, headerField.attributes + 1, 0x20),
  (batch) => withByte(batch, headerField.attributes + 1, 0x08),
  (batch) => withByte(batch, headerField.attributes + 1, 0x10),
  (batch) => withByte(batch, headerField.lastOffsetDelta + 3, 9),
  (batch) => withByte(batch, headerField.recordCount + 3, 0),
  (batch) => withByte(batch, headerField.maxTimestamp + 7, 1),
  (batch) => withByte(batch, headerField.maxTimestamp, 0xff),
  (batch) => withByte(batch, headerField.producerId, 0),
  (batch) => withByte(batch, headerField.baseTimestamp + 3, 0xff),
  (batch, random) => withByte(batch, 61 + random.below(batch.length - 61), random.below(256)),
];

function withByte(batch: Buffer, at: number, byte: number): Buffer {
  const out = Buffer.from(batch);
  out[at] = byte;
  return out;
}

function seal(batch: Buffer): Buffer {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
  patchCrc(view, 0, javascriptCrc32c(batch, crcStart, batch.length - crcStart));
  return batch;
}

/** Producers of the run, by partition: so that most of their batches are the next ones, and some come again. */
class Producers {
  readonly #next = new Map<string, number>();

  fields(random: SeededRandom, partition: number, count: number) {
    const producerId = random.below(3);
    const key = `${producerId}/${partition}`;
    const next = this.#next.get(key) ?? 0;
    const baseSequence = random.chance(0.1)
      ? Math.max(0, next - count)
      : random.chance(0.05)
        ? next + 3
        : next;
    if (baseSequence === next) this.#next.set(key, next + count);
    return { producerId, producerEpoch: 0, baseSequence, transactional: random.chance(0.05) };
  }
}

function batchOf(random: SeededRandom, producers: Producers, partition: number): Buffer | null {
  if (random.chance(0.03)) return null;
  const count = random.chance(0.6) ? 1 : 1 + random.below(4);
  const time = random.chance(0.05) ? -1 : startMs + random.below(10_000) - (random.chance(0.05) ? 1e9 : 0);
  const records: BatchRecord[] = Array.from({ length: count }, (_, i) => ({
    key: random.chance(0.2) ? null : Buffer.from(`k${random.below(5)}`),
    value: Buffer.alloc(random.below(random.chance(0.05) ? 30_000 : 200), 7),
    timestamp: time + i * random.below(3),
  }));
  const codec = random.chance(0.9)
    ? codecId.none
    : random.pick([codecId.gzip, codecId.lz4, codecId.zstd, codecId.snappy]);
  const fields = random.chance(0.4) ? producers.fields(random, partition, count) : {};
  const batch = buildBatch(records, { codec, codecs, ...fields }, javascriptCrc32c);
  if (random.chance(0.05)) return random.pick(defects)(batch, random);
  if (random.chance(0.08)) return seal(random.pick(sealed)(Buffer.from(batch), random));
  return batch;
}

interface Sent {
  readonly version: number;
  readonly frame: Buffer;
}

function frameOf(random: SeededRandom, producers: Producers, correlationId: number): Sent {
  const version = 3 + random.below(11);
  const partitionOf = (): number => (random.chance(0.05) ? 50 : random.below(partitions));
  const part = () => {
    const index = partitionOf();
    return { index, records: batchOf(random, producers, index) };
  };
  const name = random.chance(0.04) ? random.pick(['nobody', '', '__inner', 'tt', 'x'.repeat(140)]) : 't';
  const topic = {
    name,
    topicId: random.chance(0.04)
      ? random.pick([topicIds[1], 'AAAAAAAAAAAAAAAAAAAABQ', 'AAAAAAAAAAAAAAAAAAAACQ'])
      : topicIds[0],
    partitionData: random.chance(0.93) ? [part()] : Array.from({ length: random.below(3) }, part),
  };
  const request: ProduceRequestInput = {
    transactionalId: random.chance(0.1) ? 'txn' : null,
    acks: random.chance(0.92) ? random.pick([1, -1]) : random.pick([0, 2]),
    timeoutMs: random.pick([0, 1500, 5000, 30_000]),
    topicData: random.chance(0.95) ? [topic] : random.pick([[], [topic, topic]]),
  };
  const clientId = random.pick([null, 'c', 'client', '', '__admin_client']);
  const writer = new Writer();
  const header = { apiKey: 0, apiVersion: version, correlationId, clientId };
  encodeRequestFrame(writer, ProduceCodec as never, header, request);
  let frame = Buffer.from(writer.written);
  // Bytes behind the request, and bytes that somebody changed.
  if (random.chance(0.02)) {
    frame = Buffer.concat([frame, Buffer.from([0])]);
    frame.writeInt32BE(frame.length - 4, 0);
  }
  if (random.chance(0.03)) {
    const head = Math.min(frame.length, random.chance(0.7) ? 60 : frame.length) - 12;
    frame[12 + random.below(head)]! ^= 1 << random.below(8);
  }
  if (random.chance(0.01)) frame.writeInt16BE(random.pick([0, 2, 14, -1]), 6);
  return { version, frame };
}

function waitingFrame(correlationId: number): Buffer {
  const frame = Buffer.alloc(4 + 10);
  frame.writeInt32BE(10, 0);
  frame.writeInt16BE(waitingKey, 4);
  frame.writeInt32BE(correlationId, 8);
  frame.writeInt16BE(-1, 12);
  return frame;
}

/** Error codes that one side has answered. */
function errorsOf(client: Client, versions: ReadonlyMap<number, number>): number[] {
  const errors: number[] = [];
  const all = Buffer.concat(client.wire.out);
  for (let at = 0; at < all.length; ) {
    const size = all.readInt32BE(at);
    const reader = new Reader(all.subarray(at + 4, at + 4 + size));
    const version = versions.get(all.readInt32BE(at + 4));
    at += 4 + size;
    // The answer of one that waited.
    if (version === undefined) continue;
    decodeResponseHeader(reader, 0, version);
    for (const topic of ProduceCodec.decodeResponse(reader, version).responses) {
      for (const { errorCode } of topic.partitionResponses) errors.push(errorCode);
    }
  }
  return errors;
}

const seen = new Set<number>();
let quick = 0;
let frames = 0;
let mostHeld = 0;

for (let seed = 1; seed <= 16; seed++) {
  test(`seed ${seed}: with and without the quick lane the same bytes are logged and answered`, async () => {
    const random = new SeededRandom(seed);
    const sides = [new ProduceSide(true), new ProduceSide(false)] as const;
    const producers = new Producers();
    const versions = new Map<number, number>();
    const both = (act: (side: ProduceSide) => void): void => {
      for (const side of sides) act(side);
    };
    const open: number[] = [];
    let correlation = 0;
    for (let step = 0; step < 500; step++) {
      if (open.length < 3) {
        open.push(sides[0].clients.length);
        both((side) => void side.connect());
      }
      const place = random.pick(open);
      switch (random.below(12)) {
        case 0: {
          const ms = random.pick([1, 400, 1200, 6000]);
          both((side) => side.clock.advance(ms));
          break;
        }
        case 1:
        case 2:
        case 3: {
          const count = random.below(sides[0].wal.appended - sides[0].wal.durable + 1);
          both((side) => side.wal.commit(count));
          break;
        }
        case 4:
          both((side) => side.clock.runSoon());
          break;
        case 5: {
          if (random.chance(0.3)) {
            const partition = random.below(partitions);
            const closing = random.chance(0.5);
            const leaves = random.chance(0.5);
            both((side) => (leaves ? side.leave(partition) : side.closing(partition, closing)));
          }
          if (random.chance(0.1)) both((side) => side.arrive());
          if (!random.chance(0.1)) break;
          const room = random.pick([0, 3, 1000]);
          both((side) => {
            side.wal.room = room;
          });
          break;
        }
        case 6: {
          if (!random.chance(0.05)) break;
          const broken = random.chance(0.3);
          both((side) => {
            side.breaks = broken;
          });
          break;
        }
        case 7: {
          // Makes room, as an upload does.
          both((side) => {
            const [journal] = side.logs.journals;
            side.logs.uploaded(0, journal!.durable);
          });
          break;
        }
        case 8:
          if (step > 350 && random.chance(0.1)) {
            both((side) => (side.topicId === null ? side.createTopic() : side.deleteTopic()));
          } else if (random.chance(0.05)) {
            both((side) => side.clients[place]!.connection.close('by the test'));
          }
          break;
        default: {
          const requests = Array.from({ length: random.chance(0.8) ? 1 : 2 + random.below(20) }, () => {
            correlation++;
            if (random.chance(0.05)) return waitingFrame(correlation);
            const sent = frameOf(random, producers, correlation);
            versions.set(correlation, sent.version);
            return sent.frame;
          });
          frames += requests.length;
          const bytes = Buffer.concat(requests);
          const cut = random.chance(0.2) ? random.below(bytes.length) : bytes.length;
          both((side) => {
            const { connection } = side.clients[place]!;
            connection.onData(Buffer.from(bytes.subarray(0, cut)));
            if (cut < bytes.length) connection.onData(Buffer.from(bytes.subarray(cut)));
          });
        }
      }
      mostHeld = Math.max(mostHeld, sides[0].held);
      assert.deepEqual(sides[0].state(), sides[1].state(), `step ${step}`);
      for (const gone of open.filter((at) => sides[0].clients[at]!.connection.closed))
        open.splice(open.indexOf(gone), 1);
    }
    both((side) => side.failWal());
    await Promise.all(sides.map((side) => side.clock.settle()));
    both((side) => side.clock.advance(40_000));
    assert.deepEqual(sides[0].state(), sides[1].state());
    assert.deepEqual(sides[0].batches, sides[1].batches);
    for (const [i, client] of sides[0].clients.entries()) {
      const answers = [client, sides[1].clients[i]!].map(({ wire }) => Buffer.concat(wire.out));
      const least = Math.min(...answers.map(({ length }) => length));
      if (!client.connection.closed) assert.equal(answers[0]!.length, answers[1]!.length);
      assert.deepEqual(answers[0]!.subarray(0, least), answers[1]!.subarray(0, least));
      for (const error of errorsOf(client, versions)) seen.add(error);
    }
    quick += sides[0].quick;
  });
}

test('the runs above went down both lanes and met every kind of answer', () => {
  assert.ok(quick > frames / 4, `${quick} of ${frames} were quick`);
  assert.ok(quick < frames, 'some are not for the quick lane');
  assert.ok(mostHeld > 3, `${mostHeld} answers waited for a leader at the same time`);
  for (const error of [
    ErrorCode.NONE,
    ErrorCode.CORRUPT_MESSAGE,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.MESSAGE_TOO_LARGE,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.INVALID_REQUIRED_ACKS,
    ErrorCode.INVALID_TIMESTAMP,
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode.KAFKA_STORAGE_ERROR,
    ErrorCode.INVALID_RECORD,
    ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.INVALID_TOPIC_EXCEPTION,
    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
  ]) {
    assert.ok(seen.has(error), `${errorName(error)} was never answered`);
  }
});

test('an answer of the quick lane waits for the leader, or for nobody once its connection has closed', async () => {
  const side = new ProduceSide(true);
  const frame = (correlationId: number): Buffer => {
    const records = buildBatch(
      [{ key: null, value: Buffer.from('v'), timestamp: startMs }],
      {},
      javascriptCrc32c,
    );
    const topicData = [{ name: 't', partitionData: [{ index: 0, records }] }];
    const writer = new Writer();
    const header = { apiKey: 0, apiVersion: 10, correlationId, clientId: 'c' };
    encodeRequestFrame(writer, ProduceCodec as never, header, { acks: -1, timeoutMs: 1500, topicData });
    return Buffer.from(writer.written);
  };
  const stays = side.connect();
  const goes = side.connect();
  // Known to the quick lane while it is served.
  stays.connection.onData(frame(1));
  side.wal.commit(1);
  side.leave(0);
  stays.connection.onData(frame(2));
  goes.connection.onData(frame(3));
  assert.deepEqual([side.held, stays.wire.out.length], [2, 1]);
  goes.connection.close('by the test');
  side.clock.advance(100);
  side.arrive();
  assert.deepEqual([side.held, stays.wire.out.length, goes.wire.out.length], [0, 2, 0]);
  const reader = new Reader(stays.wire.out[1]!.subarray(4));
  decodeResponseHeader(reader, 0, 10);
  const answer = ProduceCodec.decodeResponse(reader, 10);
  const [partition] = answer.responses[0]!.partitionResponses;
  assert.equal(partition!.errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER);
  assert.deepEqual(partition!.currentLeader, { leaderId: 6, leaderEpoch: 4 });
  assert.deepEqual(answer.nodeEndpoints, [{ nodeId: 6, host: 'there', port: 9, rack: null }]);
  // Tickets are used again, each by one request at a time.
  side.closing(0, false);
  stays.connection.onData(Buffer.concat([frame(4), frame(5), frame(6)]));
  side.wal.commit(3);
  const later = Buffer.concat(stays.wire.out.slice(2));
  const size = 4 + later.readInt32BE(0);
  assert.deepEqual(
    [0, 1, 2].map((i) => later.readInt32BE(i * size + 4)),
    [4, 5, 6],
  );
  assert.equal(side.quick, 6);
  // Nobody takes it: the answer does not wait for ever.
  side.leave(0);
  stays.connection.onData(frame(7));
  side.clock.advance(149);
  assert.equal(side.held, 1);
  side.clock.advance(1);
  assert.equal(side.held, 0);
  side.clock.advance(3_000);
});
