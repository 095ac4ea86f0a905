/**
 * A partition that another shard of this broker owns, as requests on this shard see it. Reads, appends and questions
 * go to the owner; the offsets are a mirror, refreshed by every answer and, while somebody watches, by the owner's
 * changes. They only grow, and are −1 until the first of either. Owned by the shard of the connection.
 */

import type { AppendWaiter } from '../../log/append-journal.ts';
import type { LogSettings } from '../../log/log-settings.ts';
import {
  appendGuard,
  type OffsetAnswer,
  type PartitionHandle,
  type PartitionWatcher,
  type ProducersAnswer,
  type ReadSink,
  type VerifyAnswer,
} from '../../log/partition-handle.ts';
import type { PartitionImage, TopicImage } from '../../metadata/metadata-store.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { PeerHost } from './peer-host.ts';
import { numberAt, stateQuery } from './peer-messages.ts';
import { decodeProducerStates, encodePartitionName, producersService } from './producers-service.ts';

/** The asking half of the link to the partition's owner (peer-client.ts). */
export interface PartitionLink {
  append(
    remote: RemotePartition,
    position: number,
    length: number,
    waiter: AppendWaiter | null,
    index: number,
    guard: number,
  ): void;
  read(
    remote: RemotePartition,
    offset: number,
    maxBytes: number,
    atLeastOne: boolean,
    deadline: number,
    sink: ReadSink,
    index: number,
    committed: boolean,
  ): void;
  query(remote: RemotePartition, kind: number, argument: number, answer: OffsetAnswer): void;
  verify(
    remote: RemotePartition,
    producerId: number,
    epoch: number,
    sequence: number,
    bumps: boolean,
    answer: VerifyAnswer,
  ): void;
  ask(service: number, bytes: Buffer, done: (answer: Buffer | null) => void): void;
  watch(remote: RemotePartition): void;
  unwatchLater(remote: RemotePartition): void;
}

export class RemotePartition implements PartitionHandle {
  readonly topicId: string;
  readonly partition: number;
  /** Names the partition on the link. */
  readonly number: number;
  /** Calls that are not answered, or whose bytes are not released. */
  openCalls = 0;
  /** The owner has been asked for changes. */
  watching = false;
  /** Off the link for good: the topic is deleted. */
  retired = false;
  highWatermark = -1;
  lastStableOffset = -1;
  private readonly client: PartitionLink;
  private readonly host: PeerHost;
  private readonly watchers = new Set<PartitionWatcher>();
  private ownerStart = -1;
  private ownerEpoch = -1;
  private settingsRevision: number;
  private settingsNow: LogSettings;
  private trafficSlot: number;

  constructor(
    client: PartitionLink,
    number: number,
    topicId: string,
    partition: number,
    topic: TopicImage,
    host: PeerHost,
  ) {
    this.client = client;
    this.number = number;
    this.topicId = topicId;
    this.partition = partition;
    this.host = host;
    this.settingsRevision = host.image.revision;
    this.settingsNow = host.logSettings(topic);
    this.trafficSlot = host.logs.traffic.open(topicId, partition);
  }

  /** Follows the image, which every shard folds; looked up once per revision. */
  get settings(): LogSettings {
    const { image } = this.host;
    if (image.revision !== this.settingsRevision) {
      const topic = image.topicsById.get(this.topicId);
      if (topic !== undefined) this.settingsNow = this.host.logSettings(topic);
      this.settingsRevision = image.revision;
    }
    return this.settingsNow;
  }

  get leaderEpoch(): number {
    return Math.max(this.ownerEpoch, this.inImage()?.leaderEpoch ?? -1);
  }

  get startOffset(): number {
    return Math.max(this.ownerStart, this.inImage()?.startOffset ?? -1);
  }

  get live(): boolean {
    return !this.retired && this.inImage()?.state === 'open';
  }

  get watched(): boolean {
    return this.watchers.size > 0;
  }

  private inImage(): PartitionImage | undefined {
    return this.host.image.topicsById.get(this.topicId)?.partitions[this.partition];
  }

  append(
    position: number,
    length: number,
    waiter: AppendWaiter | null,
    index: number,
    guard: number = appendGuard.none,
  ): void {
    this.client.append(this, position, length, waiter, index, guard);
  }

  verify(producerId: number, epoch: number, sequence: number, bumps: boolean, answer: VerifyAnswer): void {
    this.client.verify(this, producerId, epoch, sequence, bumps, answer);
  }

  describeProducers(answer: ProducersAnswer): void {
    this.client.ask(producersService, encodePartitionName(this), (bytes) =>
      bytes === null ? answer(ErrorCode.NOT_LEADER_OR_FOLLOWER, []) : decodeProducerStates(bytes, answer),
    );
  }

  read(
    offset: number,
    maxBytes: number,
    atLeastOne: boolean,
    deadline: number,
    sink: ReadSink,
    index: number,
    committed = false,
  ): void {
    this.client.read(this, offset, maxBytes, atLeastOne, deadline, sink, index, committed);
  }

  query(kind: number, argument: number, answer: OffsetAnswer): void {
    this.client.query(this, kind, argument, answer);
  }

  sent(bytes: number, fromMemory: boolean): void {
    this.host.logs.traffic.sent(this.trafficSlot, bytes, fromMemory);
  }

  /** Off the link for good. */
  retire(): void {
    this.retired = true;
    this.trafficSlot = this.host.logs.traffic.close(this.trafficSlot);
  }

  refresh(done: (error: number) => void): void {
    this.client.query(this, stateQuery, 0, done);
  }

  /** Asks before any read that follows, so that what comes after that read is announced. */
  watch(watcher: PartitionWatcher): void {
    this.watchers.add(watcher);
    this.client.watch(this);
  }

  unwatch(watcher: PartitionWatcher): void {
    if (this.watchers.delete(watcher) && this.watchers.size === 0) this.client.unwatchLater(this);
  }

  /** Takes the state that an answer carries in its words 3 to 8. */
  mirror(words: Int32Array, at: number): void {
    const highWatermark = numberAt(words, at + 3);
    if (highWatermark < 0) return;
    this.highWatermark = Math.max(this.highWatermark, highWatermark);
    this.lastStableOffset = Math.max(this.lastStableOffset, numberAt(words, at + 5));
    this.ownerStart = Math.max(this.ownerStart, numberAt(words, at + 7));
  }

  changed(words: Int32Array, at: number): void {
    this.mirror(words, at);
    this.ownerEpoch = Math.max(this.ownerEpoch, words[at + 2]!);
    this.touch();
  }

  touch(): void {
    for (const watcher of this.watchers) watcher.onPartitionChanged(this);
  }
}
