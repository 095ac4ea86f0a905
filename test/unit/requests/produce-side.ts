/**
 * One broker's way of a Produce request, from a connection's bytes to a log and back, with or without the quick lane: two of them
 * that are given the same must do the same. Durability, time and topics are the test's to move.
 */
import { LogManager } from '../../../src/log/log-manager.ts';
import { appendGuard } from '../../../src/log/partition-handle.ts';
import type { PartitionLog } from '../../../src/log/partition-log.ts';
import type { RecordWork } from '../../../src/log/record-work.ts';
import type { TopicImage } from '../../../src/metadata/metadata-store.ts';
import { Connection } from '../../../src/net/connection.ts';
import { type ReceivePool, scratchBytes } from '../../../src/net/frame-receiver.ts';
import { Slab } from '../../../src/net/slab.ts';
import {
  type Sender,
  type SmallAnswer,
  smallAnswerBytes,
  type Transport,
} from '../../../src/net/transport.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { codecId } from '../../../src/protocol/compression/codec.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import { portableRecordWalk } from '../../../src/protocol/records/record-walk.ts';
import { Dispatcher } from '../../../src/requests/dispatcher.ts';
import { produceHandler } from '../../../src/requests/produce.ts';
import type { AnyRequestHandler } from '../../../src/requests/support/handler.ts';
import { withOutsideRecords } from '../../../src/requests/support/outside-records.ts';
import type { TopicDirectory } from '../../../src/requests/support/topic-directory.ts';
import type { TransactionGate } from '../../../src/requests/support/transaction-gate.ts';
import type { Wal } from '../../../src/stream/wal/wal.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { loopRecordWork } from '../../support/record-work.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

/** Partitions of the topic, each with a rule of its own. */
export const rules = {
  plain: 0,
  compacted: 1,
  appendTime: 2,
  trusting: 3,
  recoding: 4,
  strict: 5,
  tiny: 6,
} as const;
export const partitions = Object.keys(rules).length;
/** Batches of the tiny partition. */
export const tinyBytesMax = 150;
export const topicIds = ['AAAAAAAAAAAAAAAAAAAAAQ', 'AAAAAAAAAAAAAAAAAAAAAg'] as const;
const internalId = 'AAAAAAAAAAAAAAAAAAAABQ';

/** Stands for a fetch that finds nothing: it waits until something comes behind it. */
export const waitingKey = 1;
const waitingHandler: AnyRequestHandler = {
  codec: {
    api: { key: waitingKey, name: 'Waiting', minVersion: 0, maxVersion: 0, flexibleFrom: 1 },
    decodeRequest: () => null,
    encodeResponse: (writer) => writer.i32(7),
  },
  patient: true,
  handle: (context, _request, respond) => context.whileParked((gone) => gone || respond({})),
};

export class HandWal implements Wal {
  readonly volume = 0;
  readonly logId = 'hand';
  onDurable: Wal['onDurable'] = () => {};
  onFailed: Wal['onFailed'] = () => {};
  onReturned: Wal['onReturned'] = () => {};
  appended = 0;
  durable = 0;
  room = 1000;
  sequence = 0;
  /** Told of each batch that is handed to it. */
  taken: (position: number, length: number) => void = () => {};

  tryAppend(_stream: unknown, position: number, length: number): number {
    if (this.appended - this.durable >= this.room) return 0;
    this.taken(position, length);
    return ++this.appended;
  }
  flush(): void {}
  commit(count: number): void {
    if (count === 0) return;
    this.durable += count;
    this.onDurable(this.durable, ++this.sequence);
  }
}

class Wire implements Transport {
  readonly out: Buffer[] = [];
  paused = false;
  over = false;
  write(chunks: readonly Uint8Array[], bytes: number, sender: Sender): void {
    this.out.push(Buffer.concat(chunks));
    sender.onTaken(bytes);
  }
  writeSmall(answer: SmallAnswer, sender: Sender): void {
    this.write([smallAnswerBytes(answer)], answer.bytes, sender);
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  end(): void {
    this.over = true;
  }
  destroy(): void {
    this.over = true;
  }
  bytesSent(): number {
    return 0;
  }
}

export interface Client {
  readonly connection: Connection;
  readonly wire: Wire;
}

export class ProduceSide {
  readonly clock = new VirtualClock();
  readonly arena = new HeapArena({ segmentBytes: 64 * 1024, segmentCount: 64 });
  readonly wal = new HandWal();
  readonly logs: LogManager;
  /** Batches as they were handed to the WAL, and what became of connections. */
  readonly batches: Buffer[] = [];
  readonly closed: string[] = [];
  readonly counts = { requests: 0, answered: 0, produced: 0, records: 0, refused: 0, failures: 0 };
  /** Requests that the quick lane took. */
  quick = 0;
  readonly clients: Client[] = [];
  /** The topic's id, which is another one after it was made anew; null: it is deleted. */
  topicId: string | null = topicIds[0];
  breaks = false;
  readonly #leaving = new Set<number>();
  readonly #watchers = new Set<() => void>();
  #revision = 1;
  readonly #pool: ReceivePool;
  readonly #dispatcher: Dispatcher;

  constructor(quick: boolean) {
    const { arena, clock, counts } = this;
    this.logs = new LogManager({
      arena,
      wals: [this.wal],
      clock,
      logger: silentLogger,
      crc32c: (position, length) => javascriptCrc32c(arena.buffer, position, length),
      journalCapacity: 64,
      logCacheBytes: 16 * 1024,
      ringBytes: Number.POSITIVE_INFINITY,
      cold: { read() {}, lookup() {} },
    });
    this.logs.beginAppends();
    this.wal.taken = (position, length) => {
      if (this.breaks) throw new Error('broken on purpose');
      this.batches.push(Buffer.from(arena.buffer.subarray(position, position + length)));
    };
    const slab = new Slab(arena, (segments) => this.logs.reclaim(segments));
    this.#pool = {
      arena,
      slab,
      scratch: Buffer.alloc(scratchBytes),
      chunkBytes: 0,
      chunkBytesMax: 1 << 20,
      arenaFrameBytesMax: 1 << 20,
      outsideBytes: 0,
      outsideBytesMax: 1 << 20,
    };
    const topics = this.#directory();
    const allocate = (bytes: number): number => slab.allocate(bytes);
    const observe = {
      request: () => counts.requests++,
      answered: () => counts.answered++,
      produced: (_bytes: number, records: number) => {
        counts.produced++;
        counts.records += records;
      },
      refused: () => counts.refused++,
      failed: () => counts.failures++,
    };
    const work = loopRecordWork(arena, clock);
    const handler = withOutsideRecords(
      produceHandler({
        topics,
        arena,
        clock,
        crc32c: javascriptCrc32c,
        walk: portableRecordWalk,
        recordWork: {
          // Never at once, so that batches behind it wait in their lane.
          run: (task, done) => clock.soon(() => work.run(task, done)),
        } as RecordWork,
        allocate,
        appended: () => {},
        transactions: {
          append: ({ partition, position, length, waiter, index }) =>
            partition.append(position, length, waiter, index, appendGuard.trusted),
        } as TransactionGate,
        appendFailed: () => counts.failures++,
        congestion: () => this.logs.congestion(),
        batchBytesMax: 1 << 20,
        observe,
        endpoint: () => ({ nodeId: 0, host: 'h', port: 1, rack: null }),
      }),
      { topics, arena, allocate, batchBytesMax: 1 << 20, observe },
    );
    const takeFrame: NonNullable<typeof handler.takeFrame> = (connection, position, length) => {
      const taken = handler.takeFrame!(connection, position, length);
      if (taken) this.quick++;
      return taken;
    };
    const { takeFrame: _, ...general } = handler;
    this.#dispatcher = new Dispatcher({
      arena,
      logger: silentLogger,
      handlers: [quick ? { ...handler, takeFrame } : general, waitingHandler],
      router: null,
      authorizer: { may: () => true },
      monotonic: () => clock.monotonic(),
      observe,
    });
    this.#open();
  }

  #directory(): TopicDirectory {
    // As the image says, another broker leads: those that are closing here name it. Those that leave are on their way there.
    const there = { state: 'open', node: 6, target: -1, leaderEpoch: 4 };
    const leaving = { state: 'open', node: 0, target: 6, leaderEpoch: 3 };
    const image = (topicId: string, internal: boolean) =>
      ({
        name: internal ? '__inner' : 't',
        topicId,
        internal,
        partitions: Array.from({ length: 9 }, (_, i) => (this.#leaving.has(i) ? leaving : there)),
      }) as unknown as TopicImage;
    const endpoints = [{ listener: 'plain', tls: false, host: 'there', port: 9 }];
    const brokers = new Map([[6, { endpoints, rack: null, state: 'serving' }]]);
    const side = this;
    return {
      get image() {
        return { revision: side.#revision, brokers };
      },
      watch: (listener: () => void) => {
        this.#watchers.add(listener);
        return () => this.#watchers.delete(listener);
      },
      topicByName: (name: string) => {
        if (name === '__inner') return image(internalId, true);
        return name === 't' && this.topicId !== null ? image(this.topicId, false) : undefined;
      },
      topicById: (id: string) => {
        if (id === internalId) return image(internalId, true);
        return id === this.topicId ? image(id, false) : undefined;
      },
      partition: (topicId: string, partition: number) => this.logs.get(topicId, partition),
    } as unknown as TopicDirectory;
  }

  #open(): void {
    const base = {
      maxMessageBytes: 20_000,
      logAppendTime: false,
      compacted: false,
      trustCompressed: false,
      decompressedBytesMax: 1 << 20,
      timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
      timestampAfterMaxMs: Number.POSITIVE_INFINITY,
    };
    const own = {
      plain: {},
      compacted: { compacted: true },
      appendTime: { logAppendTime: true },
      trusting: { trustCompressed: true },
      recoding: { recode: { codec: codecId.gzip, level: null } },
      strict: { timestampBeforeMaxMs: 3_600_000, timestampAfterMaxMs: 3_600_000 },
      tiny: { maxMessageBytes: tinyBytesMax },
    };
    const open = (topicId: string, partition: number, settings: object): PartitionLog =>
      this.logs.open({
        name: 't',
        topicId,
        partition,
        settings: { ...base, ...settings },
        leaderEpoch: 3,
        epochs: [{ epoch: 3, startOffset: 0 }],
        startOffset: 0,
        endOffset: 0,
        volume: 0,
        producers: [],
      });
    for (const [name, partition] of Object.entries(rules)) {
      const log = open(this.topicId!, partition, own[name as keyof typeof rules]);
      // One whose offsets end soon.
      if (partition === rules.tiny) log.nextOffset = Number.MAX_SAFE_INTEGER - 40;
      if (partition === rules.tiny) log.highWatermark = log.nextOffset;
    }
    if (this.logs.get(internalId, 0) === undefined) open(internalId, 0, {});
  }

  /** Whether partitions take appends: those that are closing do not. */
  closing(partition: number, closing: boolean): void {
    const log = this.topicId === null ? undefined : this.logs.get(this.topicId, partition);
    if (log === undefined) return;
    if (closing) this.logs.beginClose(log);
    else this.logs.cancelClose(log);
  }

  /** The partition is on its way to another broker, which has it when it arrives. */
  leave(partition: number): void {
    this.#leaving.add(partition);
    this.closing(partition, true);
    this.#changed();
  }

  arrive(): void {
    this.#leaving.clear();
    this.#changed();
  }

  #changed(): void {
    this.#revision++;
    for (const watcher of [...this.#watchers]) watcher();
  }

  /** Requests whose answers wait to know who leads. */
  get held(): number {
    return this.#watchers.size;
  }

  deleteTopic(): void {
    for (let partition = 0; partition < partitions; partition++) this.logs.remove(this.topicId!, partition);
    this.topicId = null;
  }

  createTopic(): void {
    this.topicId = topicIds[1];
    this.#open();
  }

  connect(): Client {
    const wire = new Wire();
    const connection = new Connection(
      this.clients.length,
      { host: '/h', listener: 'plain', principal: 'User:ANONYMOUS' },
      wire,
      {
        pool: this.#pool,
        clock: this.clock,
        settings: {
          frameBytesMax: 1 << 20,
          frameTimeoutMs: 600_000,
          sendTimeoutMs: 600_000,
          idleTimeoutMs: 6_000_000,
        },
        handler: this.#dispatcher,
        onStarved() {},
        onDelivered() {},
        onClosed: (closed, reason) => this.closed.push(`${closed.id} ${reason}`),
      },
    );
    const client = { connection, wire };
    this.clients.push(client);
    return client;
  }

  /** Everything that must be the same on both sides. */
  state() {
    const logs = [...this.logs.all()].map((log) => [log.nextOffset, log.highWatermark, log.producers.size]);
    return {
      logs,
      batches: this.batches.length,
      closed: [...this.closed],
      counts: { ...this.counts },
      held: this.held,
      free: this.arena.freeSegments(),
      // Which of the answers that are ready leave before a close in the same turn is nobody's promise.
      answers: this.clients.map(({ connection, wire }) =>
        connection.closed ? 'closed' : wire.out.reduce((sum, { length }) => sum + length, 0),
      ),
      paused: this.clients.map(({ wire }) => wire.paused),
    };
  }

  failWal(): void {
    this.wal.onFailed(new Error('failed on purpose'), false);
  }
}
