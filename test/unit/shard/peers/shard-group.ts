/**
 * Several shards in one thread over local links, a memory WAL each, one heap arena and virtual time. Each shard is
 * woken by its doorbell in a later turn of the clock, unless the test holds it back; clients are connections without
 * sockets.
 */

import assert from 'node:assert/strict';
import { defaultGroupSettings } from '../../../../src/coordinator/group/group-settings.ts';
import { offsetsPlacement } from '../../../../src/coordinator/group/offsets-placement.ts';
import { defaultTransactionSettings } from '../../../../src/coordinator/transaction/transaction-settings.ts';
import { ImageBuilder } from '../../../../src/metadata/image-builder.ts';
import { encodeImage } from '../../../../src/metadata/image-codec.ts';
import type { MetadataChange } from '../../../../src/metadata/metadata-store.ts';
import type { Connection } from '../../../../src/net/connection.ts';
import { smallAnswerBytes } from '../../../../src/net/transport.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import type { AnyApiCodec, ApiCodec } from '../../../../src/protocol/codec.ts';
import { FetchCodec } from '../../../../src/protocol/generated/fetch.ts';
import { ProduceCodec } from '../../../../src/protocol/generated/produce.ts';
import { Reader } from '../../../../src/protocol/reader.ts';
import { buildBatch } from '../../../../src/protocol/records/batch-builder.ts';
import { javascriptCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import { Writer } from '../../../../src/protocol/writer.ts';
import type {
  ConfigEdit,
  ControlPlane,
  ControlResult,
} from '../../../../src/requests/support/control-plane.ts';
import { composeShard } from '../../../../src/shard/compose-shard.ts';
import { LinkPeers, peerSlots, peerSlotWords } from '../../../../src/shard/peers/peers.ts';
import { ownerShard } from '../../../../src/shard/placement.ts';
import type { Shard } from '../../../../src/shard/shard.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import { MemoryWal } from '../../../../src/stream/wal/memory-wal.ts';
import { threadNative } from '../../../../src/threads/adapters/thread-native.ts';
import { createLocalLink, type LinkEnd, LinkPump } from '../../../../src/threads/link.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { decodeResponseHeader, encodeRequestFrame } from '../../../support/request-headers.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

export const topicName = 'orders';
export const topicId = 'AAAAAAAAAAAAAAAAAAAAAQ';
const offsetsId = 'AAAAAAAAAAAAAAAAAAAAAg';
const groupPartitions = 4;

const noControl: ControlPlane = {
  createTopics: () => Promise.reject(new Error('no control plane here')),
  deleteTopics: () => Promise.reject(new Error('no control plane here')),
  createPartitions: () => Promise.reject(new Error('no control plane here')),
  alterConfigs: () => Promise.reject(new Error('no control plane here')),
  moveLogStarts: () => Promise.reject(new Error('no control plane here')),
  assign: () => Promise.reject(new Error('no control plane here')),
  removeBroker: () => Promise.reject(new Error('no control plane here')),
  producerIds: () => Promise.reject(new Error('no control plane here')),
};

export interface Node {
  readonly shard: Shard;
  readonly peers: LinkPeers;
  readonly pump: LinkPump;
  /** Does not turn while set. */
  held: boolean;
  rung: boolean;
}

export interface Pending<R> {
  response: R | null;
}

/** A connection whose other end is the test. */
export class TestClient {
  readonly connection: Connection;
  closed = false;
  private readonly waiting = new Map<number, (reader: Reader) => void>();
  private received = Buffer.alloc(0);
  private correlationId = 0;

  constructor(shard: Shard) {
    this.connection = shard.accept(
      { host: '/10.0.0.1', listener: 'PLAINTEXT', principal: 'User:ANONYMOUS' },
      {
        write: (chunks, bytes, sender) => {
          this.received = Buffer.concat([this.received, ...chunks]);
          sender.onTaken(bytes);
          this.take();
        },
        writeSmall: (answer, sender) => {
          this.received = Buffer.concat([this.received, smallAnswerBytes(answer)]);
          sender.onTaken(answer.bytes);
          this.take();
        },
        pause: () => {},
        resume: () => {},
        end: () => {
          this.closed = true;
        },
        destroy: () => {
          this.closed = true;
        },
        bytesSent: () => 0,
      },
    );
  }

  private take(): void {
    while (this.received.length >= 4) {
      const size = this.received.readInt32BE(0);
      if (this.received.length < 4 + size) return;
      const frame = Buffer.from(this.received.subarray(4, 4 + size));
      this.received = this.received.subarray(4 + size);
      const correlationId = frame.readInt32BE(0);
      const waiting = this.waiting.get(correlationId);
      assert(waiting !== undefined, `an answer to ${correlationId}, which was not asked`);
      this.waiting.delete(correlationId);
      waiting(new Reader(frame));
    }
  }

  send<Q, QI, R, RI>(codec: ApiCodec<Q, QI, R, RI>, apiVersion: number, input: QI): Pending<R> {
    const writer = new Writer();
    const correlationId = this.correlationId++;
    const { key } = codec.api;
    const header = { apiKey: key, apiVersion, correlationId, clientId: 'tester-ü' };
    encodeRequestFrame(writer, codec as unknown as AnyApiCodec, header, input as object);
    const pending: Pending<R> = { response: null };
    this.waiting.set(correlationId, (reader) => {
      decodeResponseHeader(reader, key, apiVersion);
      pending.response = codec.decodeResponse(reader, apiVersion);
    });
    this.connection.onData(Buffer.from(writer.written));
    return pending;
  }

  produce(partition: number, values: readonly string[]) {
    const records = values.map((value, i) => ({
      timestamp: 1_700_000_000_000 + i,
      key: null,
      value: Buffer.from(value),
      headers: [],
    }));
    const partitionData = [{ index: partition, records: buildBatch(records, {}, javascriptCrc32c) }];
    const topicData = [{ name: topicName, partitionData }];
    return this.send(ProduceCodec, 9, { acks: -1, timeoutMs: 30_000, topicData });
  }

  fetch(
    partitions: readonly { partition: number; offset: number }[],
    options: { maxWaitMs?: number; minBytes?: number; session?: { id: number; epoch: number } } = {},
  ) {
    return this.send(FetchCodec, 12, {
      replicaId: -1,
      maxWaitMs: options.maxWaitMs ?? 0,
      minBytes: options.minBytes ?? 1,
      maxBytes: 1 << 20,
      isolationLevel: 0,
      sessionId: options.session?.id ?? 0,
      sessionEpoch: options.session?.epoch ?? -1,
      topics: [
        {
          topic: topicName,
          partitions: partitions.map(({ partition, offset }) => ({
            partition,
            currentLeaderEpoch: -1,
            fetchOffset: offset,
            lastFetchedEpoch: -1,
            logStartOffset: -1,
            partitionMaxBytes: 1 << 16,
          })),
        },
      ],
      forgottenTopicsData: [],
      rackId: '',
    });
  }
}

export class ShardGroup {
  readonly clock = new VirtualClock();
  readonly arena: HeapArena;
  readonly nodes: Node[] = [];
  readonly partitions: number;

  /** Edits of configs that the shards asked for; they take effect in a later turn. */
  readonly edits: ConfigEdit[] = [];

  /** @param options.placed false: the offsets topic does not say that its groups are where they belong. */
  constructor(
    options: {
      shards?: number;
      partitions?: number;
      slots?: number;
      segments?: number;
      placed?: boolean;
    } = {},
  ) {
    const shards = options.shards ?? 2;
    this.partitions = options.partitions ?? 6;
    this.arena = new HeapArena({ segmentBytes: 64 * 1024, segmentCount: options.segments ?? 256 });
    const links: (LinkEnd | null)[][] = Array.from({ length: shards }, () =>
      new Array<LinkEnd | null>(shards).fill(null),
    );
    for (let a = 0; a < shards; a++) {
      for (let b = a + 1; b < shards; b++) {
        const bells = { a: { ring: () => this.ring(a) }, b: { ring: () => this.ring(b) } };
        const link = createLocalLink(options.slots ?? peerSlots, peerSlotWords, bells);
        links[a]![b] = link.a;
        links[b]![a] = link.b;
      }
    }
    const image = encodeImage(new ImageBuilder().image);
    for (let index = 0; index < shards; index++) {
      const pump = new LinkPump();
      const peers = new LinkPeers(index, links[index]!, pump, this.arena);
      const shard = this.compose(index, shards, image, peers);
      shard.beginServing();
      this.nodes.push({ shard, peers, pump, held: false, rung: false });
    }
    this.apply(this.creation(options.placed ?? true));
  }

  private compose(index: number, shards: number, image: Buffer, peers: LinkPeers): Shard {
    const { clock, arena } = this;
    return composeShard(
      {
        settings: {
          index,
          shards,
          nodeId: 0,
          clusterId: 'test',
          rack: null,
          journalCapacity: 4096,
          batchBytesMax: 1 << 20,
          logCacheBytes: 1 << 22,
          ringBytes: 1 << 22,
          receiveBytes: 1 << 22,
          fetchBytesMax: 1 << 24,
          sessionSlots: 100,
          producerExpirationMs: 86_400_000,
          connection: {
            frameBytesMax: 1 << 20,
            frameTimeoutMs: 60_000,
            sendTimeoutMs: 60_000,
            idleTimeoutMs: 600_000,
          },
          connectionsMax: 1000,
          transaction: defaultTransactionSettings,
          group: defaultGroupSettings,
          coordinatorPartitions: { group: groupPartitions, transaction: 2, share: 2 },
          endpoints: { PLAINTEXT: { host: 'here', port: 9092 } },
        },
        handlers: { autoCreateTopics: false, defaultPartitions: 1, deleteTopics: true, storeUrl: 'memory:' },
        image,
        nativeSockets: true,
        blockCacheBytes: 1 << 20,
        coldReads: { requestsPerSecond: 0, bytesPerSecond: 0 },
        staticConfigs: {},
      },
      {
        arena,
        wals: [new MemoryWal({ clock, logId: 'wal' })],
        alone: null,
        session: null,
        clock,
        random: new SeededRandom(7 + index),
        logger: silentLogger,
        native: threadNative(false),
        store: new MemoryStore(clock),
        control: { ...noControl, alterConfigs: (edits) => this.alter(edits) },
        peers,
        dial: null,
      },
    );
  }

  private creation(placed: boolean): MetadataChange[] {
    const changes: MetadataChange[] = [{ type: 'cluster', clusterId: 'test', createdMs: 1 }];
    const topics = [
      { name: topicName, id: topicId, partitions: this.partitions, internal: false },
      { name: '__consumer_offsets', id: offsetsId, partitions: groupPartitions, internal: true },
    ];
    for (const { name, id, partitions, internal } of topics) {
      const configs = internal && placed ? offsetsPlacement.config : {};
      changes.push({ type: 'topic', name, topicId: id, partitions, configs, internal });
      for (let partition = 0; partition < partitions; partition++) changes.push(opened(id, partition));
    }
    return changes;
  }

  private async alter(edits: readonly ConfigEdit[]): Promise<ControlResult[]> {
    this.edits.push(...edits);
    await new Promise<void>((resolve) => this.clock.soon(resolve));
    this.apply(edits.map((edit) => ({ type: 'config', ...edit })));
    return edits.map(() => ({ error: 0, message: null }));
  }

  apply(changes: readonly MetadataChange[]): void {
    for (const { shard } of this.nodes) shard.applyChanges(0, changes);
  }

  ownerOf(partition: number): number {
    return ownerShard(topicId, partition, this.nodes.length);
  }

  /** A partition that the shard owns. */
  ownedBy(shard: number): number {
    for (let partition = 0; partition < this.partitions; partition++) {
      if (this.ownerOf(partition) === shard) return partition;
    }
    throw new Error(`shard ${shard} owns no partition of the test's topic`);
  }

  client(shard: number): TestClient {
    return new TestClient(this.nodes[shard]!.shard);
  }

  private ring(index: number): void {
    const node = this.nodes[index];
    if (node === undefined || node.rung) return;
    node.rung = true;
    if (!node.held) this.clock.soon(() => this.turn(index));
  }

  /** One turn of a shard's waiter. */
  turn(index: number): void {
    const node = this.nodes[index]!;
    if (node.held) return;
    node.rung = false;
    const more = node.pump.turn();
    node.shard.flush();
    if (more || node.pump.pending()) this.ring(index);
  }

  hold(index: number): void {
    this.nodes[index]!.held = true;
  }

  /** One turn of a shard that is held otherwise. */
  turnHeld(index: number): void {
    const node = this.nodes[index]!;
    node.held = false;
    this.turn(index);
    node.held = true;
  }

  letGo(index: number): void {
    const node = this.nodes[index]!;
    node.held = false;
    node.rung = true;
    this.clock.soon(() => this.turn(index));
  }

  async settle(): Promise<void> {
    await this.clock.settle();
  }

  /** Uploads and evicts everything, closes the clients' sessions, and expects all memory to be back. */
  async expectAllMemoryBack(clients: readonly TestClient[]): Promise<void> {
    for (const client of clients) client.connection.close('the test is over');
    await this.settle();
    for (const { shard, peers } of this.nodes) {
      const { end } = shard.collect(0, Number.MAX_SAFE_INTEGER, []);
      shard.uploaded(0, end);
      shard.logs.reclaim(this.arena.segmentCount + 1);
      shard.pool.slab.close();
      for (let other = 0; other < this.nodes.length; other++) {
        if (this.nodes[other]!.shard === shard) continue;
        const { client, server, out } = peers.peer(other);
        assert.equal(client.calls.count, 0, 'calls left open');
        assert.equal(server.lentReads, 0, 'reads left lent');
        assert.equal(out.waiting, 0, 'messages left waiting');
      }
    }
    assert.equal(this.arena.freeSegments(), this.arena.segmentCount);
  }
}

export function opened(id: string, partition: number): MetadataChange {
  return { type: 'open', topicId: id, partition, leaderEpoch: 1, startOffset: 0, node: 0, wal: 'wal' };
}

/** The answer, which must be there. */
export function answerOf<R>(pending: Pending<R>): R {
  assert(pending.response !== null, 'the request was not answered');
  return pending.response;
}
