/**
 * Incremental fetch sessions (KIP-227) of one shard: which partitions a consumer follows and from where, and which of
 * them may have something to say. A partition enters the ready list when it changes; a poll looks at ready ones only,
 * so it costs O(changed). Bound: `slots` sessions; at the bound a new one replaces the longest unused session idle for
 * `evictionMs`, else the fetch stays sessionless (id 0).
 */
import type { PartitionHandle, PartitionWatcher } from '../../log/partition-handle.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import { streamKey } from '../../ports/stream-id.ts';
import type { FetchRequest } from '../../protocol/generated/fetch.ts';
import { ZERO_UUID } from '../../protocol/primitives.ts';
import type { TopicDirectory } from './topic-directory.ts';

export class SessionPartition {
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  fetchOffset = 0;
  maxBytes = 0;
  currentLeaderEpoch = -1;
  lastFetchedEpoch = -1;
  handle: PartitionHandle | null = null;
  ready = false;
  /** What the client was told last; an answer repeats a partition only when these moved. */
  sentHighWatermark = -1;
  sentStartOffset = -1;

  constructor(topicId: string, topic: string, partition: number) {
    this.topicId = topicId;
    this.topic = topic;
    this.partition = partition;
  }
}

export class FetchSession implements PartitionWatcher {
  readonly id: number;
  /** Whether the client names topics by id (v13+); the two must not be mixed (FETCH_SESSION_TOPIC_ID_ERROR). */
  readonly usesIds: boolean;
  epoch = 1;
  lastUsed = 0;
  /** A fetch of this session is being served. */
  busy = false;
  /** Has that fetch answered without further waiting. */
  hurry: (() => void) | null = null;
  closed = false;
  readonly partitions = new Map<string, SessionPartition>();
  private readonly byHandle = new Map<PartitionHandle, SessionPartition>();
  private readyList: SessionPartition[] = [];
  onReady: ((partition: SessionPartition) => void) | null = null;

  constructor(id: number, usesIds: boolean) {
    this.id = id;
    this.usesIds = usesIds;
  }

  add(partition: SessionPartition): void {
    this.partitions.set(sessionKey(partition.topicId, partition.topic, partition.partition), partition);
  }

  bind(partition: SessionPartition, handle: PartitionHandle | null): void {
    if (partition.handle === handle) return;
    if (partition.handle !== null) {
      partition.handle.unwatch(this);
      this.byHandle.delete(partition.handle);
    }
    partition.handle = handle;
    if (handle !== null) {
      handle.watch(this);
      this.byHandle.set(handle, partition);
    }
  }

  remove(key: string): void {
    const partition = this.partitions.get(key);
    if (partition === undefined) return;
    this.bind(partition, null);
    this.partitions.delete(key);
    if (partition.ready) {
      partition.ready = false;
      this.readyList = this.readyList.filter((p) => p !== partition);
    }
  }

  markReady(partition: SessionPartition): void {
    if (partition.ready) return;
    partition.ready = true;
    this.readyList.push(partition);
  }

  /** Hands the ready list over; what still has something to say is marked again by the caller. */
  takeReady(): SessionPartition[] {
    const list = this.readyList;
    this.readyList = [];
    for (const partition of list) partition.ready = false;
    return list;
  }

  get readyCount(): number {
    return this.readyList.length;
  }

  onPartitionChanged(handle: PartitionHandle): void {
    const partition = this.byHandle.get(handle);
    if (partition === undefined) return;
    this.markReady(partition);
    this.onReady?.(partition);
  }

  close(): void {
    this.closed = true;
    for (const partition of this.partitions.values()) this.bind(partition, null);
    this.partitions.clear();
    this.readyList = [];
  }
}

export function sessionKey(topicId: string, topic: string, partition: number): string {
  return topic === '' ? streamKey(topicId, partition) : streamKey(topic, partition);
}

/** Takes the request's partitions into the session; those whose position moved are looked at. */
export function takeRequest(session: FetchSession, request: FetchRequest, topics: TopicDirectory): void {
  for (const topic of request.topics) {
    const topicId = session.usesIds ? topic.topicId : ZERO_UUID;
    const name = session.usesIds ? (topics.topicById(topic.topicId)?.name ?? '') : topic.topic;
    for (const wanted of topic.partitions) {
      const key = sessionKey(topicId, session.usesIds ? '' : name, wanted.partition);
      let partition = session.partitions.get(key);
      if (partition === undefined) {
        partition = new SessionPartition(topicId, session.usesIds ? '' : name, wanted.partition);
        session.add(partition);
      }
      partition.fetchOffset = wanted.fetchOffset;
      partition.maxBytes = wanted.partitionMaxBytes;
      partition.currentLeaderEpoch = wanted.currentLeaderEpoch;
      partition.lastFetchedEpoch = wanted.lastFetchedEpoch;
      session.markReady(partition);
    }
  }
  for (const topic of request.forgottenTopicsData) {
    for (const index of topic.partitions) {
      session.remove(
        session.usesIds ? sessionKey(topic.topicId, '', index) : sessionKey(ZERO_UUID, topic.topic, index),
      );
    }
  }
}

export class FetchSessionCache {
  private readonly slots: number;
  private readonly evictionMs: number;
  private readonly clock: Clock;
  private readonly random: Random;
  /** In order of use, oldest first. */
  private readonly sessions = new Map<number, FetchSession>();

  constructor(slots: number, evictionMs: number, clock: Clock, random: Random) {
    this.slots = slots;
    this.evictionMs = evictionMs;
    this.clock = clock;
    this.random = random;
  }

  get size(): number {
    return this.sessions.size;
  }

  /** A new session, or null when there is no slot. */
  create(usesIds: boolean): FetchSession | null {
    const now = this.clock.monotonic();
    if (this.sessions.size >= this.slots) {
      const oldest = this.sessions.values().next().value;
      if (oldest === undefined || oldest.busy || now - oldest.lastUsed < this.evictionMs) return null;
      this.close(oldest.id);
    }
    let id = 0;
    while (id === 0 || this.sessions.has(id)) id = 1 + this.random.below(0x7ffffffe);
    const session = new FetchSession(id, usesIds);
    session.lastUsed = now;
    this.sessions.set(id, session);
    return session;
  }

  use(id: number): FetchSession | undefined {
    const session = this.sessions.get(id);
    if (session !== undefined) {
      this.sessions.delete(id);
      this.sessions.set(id, session);
      session.lastUsed = this.clock.monotonic();
    }
    return session;
  }

  /** A fetch of it that is parked is answered first: a client that ends its session waits for both. */
  close(id: number): void {
    const session = this.sessions.get(id);
    session?.hurry?.();
    session?.close();
    this.sessions.delete(id);
  }
}
