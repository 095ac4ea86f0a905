/**
 * Several brokers of a cluster in one thread: shards with a memory WAL each, one store, one virtual clock, and connections between
 * the brokers without sockets (memory-network.ts). The test is their metadata: it commits changes, which every broker takes, but
 * for those that it has fall behind.
 *
 *     move     closed at its end with all of it in objects ─► open on the other broker, epoch + 1
 *     depose   the owner does not hear of it, and its WAL takes nothing any more: what was durable is opened elsewhere
 */
import assert from 'node:assert/strict';
import { defaultGroupSettings } from '../../../../src/coordinator/group/group-settings.ts';
import { offsetsPlacement } from '../../../../src/coordinator/group/offsets-placement.ts';
import { defaultTransactionSettings } from '../../../../src/coordinator/transaction/transaction-settings.ts';
import { ImageBuilder } from '../../../../src/metadata/image-builder.ts';
import { encodeImage } from '../../../../src/metadata/image-codec.ts';
import type { MetadataChange } from '../../../../src/metadata/metadata-store.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import type { ControlPlane } from '../../../../src/requests/support/control-plane.ts';
import { composeShard } from '../../../../src/shard/compose-shard.ts';
import { LinkPeers, peerSlots, peerSlotWords } from '../../../../src/shard/peers/peers.ts';
import { ownerShard } from '../../../../src/shard/placement.ts';
import type { Shard } from '../../../../src/shard/shard.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import { StagingPool } from '../../../../src/stream/upload/staging-pool.ts';
import { uploadObject } from '../../../../src/stream/upload/upload-object.ts';
import { MemoryWal } from '../../../../src/stream/wal/memory-wal.ts';
import { threadNative } from '../../../../src/threads/adapters/thread-native.ts';
import { createLocalLink, type LinkEnd, LinkPump } from '../../../../src/threads/link.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { MemoryNetwork } from '../../../support/memory-network.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { crc32c, topicIdOf } from '../../../support/stream-deltas.ts';
import { planOf } from '../../../support/stream-objects.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';
import { TestClient } from '../peers/shard-group.ts';

export interface GroupTopic {
  readonly name: string;
  /** Broker of each partition at the start. */
  readonly nodes: readonly number[];
}

interface Broker {
  readonly node: number;
  readonly arena: HeapArena;
  readonly shards: readonly Shard[];
  readonly wals: readonly MemoryWal[];
  /** Changes that it has not been told; null: it is up to date. */
  behind: MetadataChange[] | null;
  connections: number;
}

const internalTopics = ['__consumer_offsets', '__transaction_state', '__share_group_state'];

export class BrokerGroup {
  readonly clock = new VirtualClock();
  readonly store = new MemoryStore(this.clock);
  readonly network = new MemoryNetwork((fn) => this.clock.soon(fn));
  readonly brokers: readonly Broker[];
  /** What the metadata say. */
  readonly metadata = new ImageBuilder();
  readonly #topics: readonly GroupTopic[];
  #objects = 0;
  #nextProducerId = 1_000;

  constructor(topics: readonly GroupTopic[], options: { brokers?: number; shards?: number } = {}) {
    const { brokers = 2, shards = 1 } = options;
    this.#topics = topics;
    const start: MetadataChange[] = [{ type: 'cluster', clusterId: 'the-cluster', createdMs: 1 }];
    for (let node = 0; node < brokers; node++) {
      start.push(this.registration(node, 1), {
        type: 'wal',
        wal: {
          logId: `wal-${node}`,
          kind: 'memory',
          location: 'memory:',
          node,
          epoch: 1,
          state: 'open',
          freed: { sequence: 0, position: 0, chainCrc: 0 },
          lastUploadMs: 0,
        },
      });
    }
    this.metadata.apply(start);
    const image = encodeImage(this.metadata.image);
    this.brokers = Array.from({ length: brokers }, (_, node) => this.#broker(node, shards, image));
    this.commit(this.#creation());
  }

  registration(node: number, epoch: number): MetadataChange {
    const endpoints = [{ listener: 'PLAINTEXT', tls: false, host: String(node), port: 1 }];
    return { type: 'broker', node, epoch, endpoints, rack: null };
  }

  #broker(node: number, shards: number, image: Buffer): Broker {
    const { clock } = this;
    const arena = new HeapArena({ segmentBytes: 64 * 1024, segmentCount: 256 });
    const pumps = Array.from({ length: shards }, () => new LinkPump());
    const made: Shard[] = [];
    const rung = new Array<boolean>(shards).fill(false);
    const ring = (index: number): void => {
      if (rung[index]) return;
      rung[index] = true;
      clock.soon(() => {
        rung[index] = false;
        const more = pumps[index]!.turn();
        made[index]!.flush();
        if (more || pumps[index]!.pending()) ring(index);
      });
    };
    const links = Array.from({ length: shards }, () => new Array<LinkEnd | null>(shards).fill(null));
    for (let a = 0; a < shards; a++)
      for (let b = a + 1; b < shards; b++) {
        const bells = { a: { ring: () => ring(a) }, b: { ring: () => ring(b) } };
        const link = createLocalLink(peerSlots, peerSlotWords, bells);
        links[a]![b] = link.a;
        links[b]![a] = link.b;
      }
    const wals: MemoryWal[] = [];
    for (let index = 0; index < shards; index++) {
      const wal = new MemoryWal({ clock, logId: `wal-${node}` });
      const peers = shards === 1 ? null : new LinkPeers(index, links[index]!, pumps[index]!, arena);
      wals.push(wal);
      made.push(this.#shard(node, index, shards, image, arena, wal, peers));
    }
    for (const shard of made) shard.beginServing();
    const broker: Broker = { node, arena, shards: made, wals, behind: null, connections: 0 };
    this.network.join(node, {
      accept: (peer, transport) => made[broker.connections++ % shards]!.accept(peer, transport),
    });
    return broker;
  }

  #shard(
    node: number,
    index: number,
    shards: number,
    image: Buffer,
    arena: HeapArena,
    wal: MemoryWal,
    peers: LinkPeers | null,
  ): Shard {
    const { clock, store } = this;
    const refused = () => Promise.reject(new Error('the test is the control plane'));
    const control: ControlPlane = {
      createTopics: refused,
      deleteTopics: refused,
      createPartitions: refused,
      alterConfigs: refused,
      moveLogStarts: (moves) => Promise.resolve(moves.map(() => ({ error: 0, message: null }))),
      assign: refused,
      removeBroker: refused,
      producerIds: async (count) => {
        this.#nextProducerId += count;
        return this.#nextProducerId - count;
      },
    };
    return composeShard(
      {
        settings: {
          index,
          shards,
          nodeId: node,
          clusterId: 'the-cluster',
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
          coordinatorPartitions: { group: 2, transaction: 2, share: 2 },
          endpoints: { PLAINTEXT: { host: String(node), port: 1 } },
        },
        handlers: { autoCreateTopics: false, defaultPartitions: 1, deleteTopics: true, storeUrl: 'memory:' },
        image,
        nativeSockets: false,
        blockCacheBytes: 1 << 21,
        coldReads: { requestsPerSecond: 0, bytesPerSecond: 0 },
        staticConfigs: {},
      },
      {
        arena,
        wals: [wal],
        alone: null,
        session: null,
        clock,
        random: new SeededRandom(7 + 10 * node + index),
        logger: silentLogger,
        native: threadNative(false),
        store,
        control,
        peers,
        dial: this.network.dial(node),
      },
    );
  }

  #creation(): MetadataChange[] {
    const changes: MetadataChange[] = [];
    for (const { name, nodes } of this.#topics) {
      const internal = internalTopics.includes(name);
      const configs = name === '__consumer_offsets' ? offsetsPlacement.config : {};
      const topicId = this.topicId(name);
      changes.push({ type: 'topic', name, topicId, partitions: nodes.length, configs, internal });
      for (const [partition, node] of nodes.entries())
        changes.push({
          type: 'open',
          topicId,
          partition,
          leaderEpoch: 1,
          startOffset: 0,
          node,
          wal: `wal-${node}`,
        });
    }
    return changes;
  }

  topicId(name: string): string {
    return topicIdOf(1 + this.#topics.findIndex((topic) => topic.name === name));
  }

  // ── Metadata ────────────────────────────────────────────────────────────────────────────────────────────────────

  commit(changes: readonly MetadataChange[]): void {
    this.metadata.apply(changes);
    for (const broker of this.brokers) {
      if (broker.behind !== null) broker.behind.push(...changes);
      else for (const shard of broker.shards) shard.applyChanges(0, changes);
    }
  }

  /** Commits do not reach it any more. */
  fallBehind(node: number): void {
    this.brokers[node]!.behind ??= [];
  }

  catchUp(node: number): void {
    const broker = this.brokers[node]!;
    const changes = broker.behind ?? [];
    broker.behind = null;
    for (const shard of broker.shards) shard.applyChanges(0, changes);
  }

  #partition(topic: string, partition: number) {
    return this.metadata.image.topicsByName.get(topic)!.partitions[partition]!;
  }

  nodeOf(topic: string, partition: number): number {
    return this.#partition(topic, partition).node;
  }

  // ── Partitions go elsewhere ─────────────────────────────────────────────────────────────────────────────────────

  async move(topic: string, partition: number, to: number, options: { gapMs?: number } = {}): Promise<void> {
    const { node } = this.#partition(topic, partition);
    const stream = { topicId: this.topicId(topic), partition };
    const closing = this.#owner(node, topic, partition).beginClose([stream]);
    await this.clock.advanceAsync(2);
    await closing;
    await this.#reopen(topic, partition, to, options.gapMs ?? 0);
  }

  /** Nothing becomes durable there any more: its WAL was taken from it. */
  async depose(node: number): Promise<void> {
    for (const wal of this.brokers[node]!.wals) await wal.close({ clean: false });
  }

  /** All connections of it and to it break, nothing becomes durable, and it hears of nothing. */
  async kill(node: number): Promise<void> {
    this.network.leave(node);
    await this.depose(node);
    this.fallBehind(node);
  }

  /** Partitions of a broker that is deposed go on elsewhere, with all that was durable. */
  async takeOver(topic: string, partition: number, to: number): Promise<void> {
    await this.#reopen(topic, partition, to, 0);
  }

  async #reopen(topic: string, partition: number, to: number, gapMs: number): Promise<void> {
    const { node, leaderEpoch, startOffset } = this.#partition(topic, partition);
    const topicId = this.topicId(topic);
    const name = { topicId, partition };
    const owner = this.#owner(node, topic, partition);
    const { streams, states, ends, end } = owner.collect(0, Number.MAX_SAFE_INTEGER, [name]);
    const changes: MetadataChange[] = [];
    if (streams.length > 0) {
      const arena = this.brokers[node]!.arena;
      const plan = planOf(++this.#objects, streams);
      const uploaded = await uploadObject(plan, arena, this.store, {
        crc32c,
        staging: new StagingPool({ bytesMax: 16 << 20 }),
      });
      const freed = { sequence: this.#objects, position: this.#objects, chainCrc: 0 };
      const { objectId, size, ranges } = uploaded;
      changes.push({
        type: 'upload',
        wal: `wal-${node}`,
        freed,
        timeMs: 1,
        objects: [{ objectId, size, ranges }],
      });
    }
    const endOffset = ends[0]!.heldEnd;
    changes.push({ type: 'close', topicId, partition, leaderEpoch, endOffset, stateObject: '' });
    this.commit(changes);
    owner.uploaded(0, end);
    owner.evictUploaded();
    if (gapMs > 0) await this.clock.advanceAsync(gapMs);
    const taker = this.#owner(to, topic, partition);
    taker.stagePartitions([
      {
        name: topic,
        topicId,
        partition,
        settings: taker.logSettings(this.metadata.image.topicsByName.get(topic)!),
        leaderEpoch: leaderEpoch + 1,
        epochs: this.#partition(topic, partition).epochs,
        startOffset,
        endOffset,
        volume: 0,
        producers: states[0]?.producers ?? [],
      },
    ]);
    this.commit([
      {
        type: 'open',
        topicId,
        partition,
        leaderEpoch: leaderEpoch + 1,
        startOffset: endOffset,
        node: to,
        wal: `wal-${to}`,
      },
    ]);
    await this.clock.settle();
  }

  #owner(node: number, topic: string, partition: number): Shard {
    const { shards } = this.brokers[node]!;
    return shards[ownerShard(this.topicId(topic), partition, shards.length)]!;
  }

  // ── Clients ─────────────────────────────────────────────────────────────────────────────────────────────────────

  client(node: number, shard = 0): TestClient {
    return new TestClient(this.brokers[node]!.shards[shard]!);
  }

  /** Last stable offset and high watermark of a partition where it is open. */
  ends(topic: string, partition: number): { lastStable: number; high: number } {
    const owner = this.#owner(this.nodeOf(topic, partition), topic, partition);
    const log = owner.logs.get(this.topicId(topic), partition);
    assert(log !== undefined, `${topic} ${partition} is not open`);
    return { lastStable: log.lastStableOffset, high: log.highWatermark };
  }
}
