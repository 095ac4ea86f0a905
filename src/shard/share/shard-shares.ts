/**
 * Share groups of one shard, put together (KIP-932): the share coordinator over `__share_group_state`, the share partitions of
 * the shard's own partitions, ways to those of other shards, and the sessions of the shard's connections. Shard thread.
 */
import type { ShareGroupPorts } from '../../coordinator/group/share/share-group-api.ts';
import type { CoordinatorLog } from '../../coordinator/runtime/coordinator-log.ts';
import {
  defaultShareStateSettings,
  ShareStateCoordinatorShard,
} from '../../coordinator/share/share-state-coordinator.ts';
import type { OtherBrokers } from '../../interbroker/other-brokers.ts';
import type { PartitionHandle } from '../../log/partition-handle.ts';
import type { TopicImage } from '../../metadata/metadata-store.ts';
import type { Arena } from '../../ports/arena.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import type { CoordinatorPlaces, ShardLinks } from '../../requests/request-router.ts';
import type { ShardServicesTable } from '../../requests/routing.ts';
import { ShareSessions } from '../../requests/support/share-session.ts';
import type { TopicDirectory } from '../../requests/support/topic-directory.ts';
import { LocalSharePartitions } from './local-share-partitions.ts';
import { ShareLinks } from './share-links.ts';
import { type ShareConfigs, shareGroupSettings, shareSettings } from './share-settings.ts';
import { ShareStateLinks } from './share-state-links.ts';

export interface ShardSharesDeps {
  readonly self: number;
  readonly shards: number;
  readonly arena: Arena;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly topics: TopicDirectory;
  readonly local: (topicId: string, partition: number) => PartitionHandle | undefined;
  readonly ownerOf: (topic: TopicImage, partition: number) => number;
  /** Null where this shard is alone. */
  readonly links: ShardLinks | null;
  /** Null where no other broker can be reached. */
  readonly others: Pick<OtherBrokers, 'states' | 'ends'> | null;
  /** The other broker that has a partition open; −1 = this one, or nobody. */
  readonly brokerOf: (topic: TopicImage, partition: number) => number;
  readonly coordinatorBroker: (topicName: string, key: string) => number;
  readonly places: CoordinatorPlaces;
  readonly services: ShardServicesTable;
  readonly configs: ShareConfigs;
  /** Of `__share_group_state`. */
  readonly log: CoordinatorLog;
  readonly partitions: () => number;
  readonly makeTopic: () => void;
}

export class ShardShares {
  /** The share coordinator of this shard. */
  readonly coordinator: ShareStateCoordinatorShard;
  /** The share coordinator on whatever shard and broker, and those of this broker alone, for what other brokers ask. */
  readonly states: ShareStateLinks;
  readonly statesHere: ShareStateLinks;
  /** The share partitions on whatever shard of this broker. */
  readonly partitions: ShareLinks;
  readonly sessions: ShareSessions;
  readonly groupPorts: ShareGroupPorts;
  readonly #local: LocalSharePartitions;
  readonly #deps: ShardSharesDeps;

  constructor(deps: ShardSharesDeps) {
    this.#deps = deps;
    const { configs, topics } = deps;
    const number = (name: string): number => Number(configs.broker(name));
    this.coordinator = new ShareStateCoordinatorShard({
      ...deps,
      settings: {
        ...defaultShareStateSettings,
        updatesPerSnapshot: number('share.coordinator.snapshot.update.records.per.snapshot'),
      },
    });
    const stateLinks = { ...deps, coordinator: () => this.coordinator };
    this.states = new ShareStateLinks(stateLinks);
    this.statesHere = new ShareStateLinks({ ...stateLinks, others: null });
    this.states.serve(deps.services);
    const settings = (groupId: string) => shareSettings(configs, groupId);
    this.#local = new LocalSharePartitions({
      ...deps,
      persister: (key) => this.states.persister(key),
      settings,
      writeTimeoutMs: number('share.coordinator.write.timeout.ms'),
    });
    this.partitions = new ShareLinks({ ...deps, local: this.#local, settings });
    this.partitions.serve(deps.services);
    this.sessions = new ShareSessions(this.partitions, number('group.share.max.share.sessions'));
    this.groupPorts = {
      settings: (groupId) => shareGroupSettings(configs, groupId),
      topic: (name) => {
        const topic = topics.topicByName(name);
        return topic === undefined ? null : { topicId: topic.topicId, partitions: topic.partitions.length };
      },
      initialize: (key, stateEpoch, startOffset, done) =>
        this.states.initialize(key, stateEpoch, startOffset, done),
      delete: (key, done) => this.states.delete(key, done),
      forget: (groupId) => this.partitions.forget(groupId),
    };
  }

  /** High watermark of a partition, on whatever shard and broker; `done` gets −1 where nobody can say. */
  endOf(topicId: string, partition: number, done: (end: number) => void): void {
    const { topics, others, brokerOf } = this.#deps;
    const topic = topics.topicById(topicId);
    const broker = topic === undefined ? -1 : brokerOf(topic, partition);
    if (topic !== undefined && broker >= 0) {
      if (others === null) done(-1);
      else others.ends.ask(broker, topic.name, partition, done);
      return;
    }
    const handle = topics.partition(topicId, partition);
    const answer = (): void => done(handle?.highWatermark ?? -1);
    if (handle?.refresh === undefined) answer();
    else handle.refresh(answer);
  }

  close(): void {
    this.#local.close();
  }
}
