/**
 * What an operator changes of share groups that nobody is in: start offsets moved or forgotten, a group deleted. While a change is
 * under way the group takes no member. States of share partitions change first, then the group's records: what a crash cuts
 * off is asked again. Shard thread; owned by ShareGroups.
 */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { PartitionContext } from '../../runtime/coordinator-state.ts';
import type { ShareGroup } from './share-group.ts';
import type { ShareGroupPorts, ShareTopic } from './share-group-api.ts';
import { groupRecord, statePartitionsRecord, targetEpochRecord } from './share-group-records.ts';
import { allOf, merged } from './share-topics.ts';

interface Lock {
  readonly group: ShareGroup;
  readonly free: () => void;
}

export class ShareGroupAdmin {
  readonly #groups: ReadonlyMap<string, ShareGroup>;
  readonly #context: PartitionContext;
  readonly #ports: ShareGroupPorts;
  readonly #mayMake: () => boolean;

  /** @param mayMake there is room for one more group. */
  constructor(
    groups: ReadonlyMap<string, ShareGroup>,
    context: PartitionContext,
    ports: ShareGroupPorts,
    mayMake: () => boolean,
  ) {
    this.#groups = groups;
    this.#context = context;
    this.#ports = ports;
    this.#mayMake = mayMake;
  }

  /** The group if nobody is in it and nothing else changes it, else a wire error. `free` ends the change. */
  #lock(groupId: string): Lock | number {
    const group = this.#groups.get(groupId);
    if (group === undefined) return ErrorCode.GROUP_ID_NOT_FOUND;
    if (group.members.size > 0) return ErrorCode.NON_EMPTY_GROUP;
    if (group.locked || group.initializing) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    return this.#lockOf(group);
  }

  #lockOf(group: ShareGroup): Lock {
    group.locked = true;
    return {
      group,
      free: () => {
        group.locked = false;
        this.#ports.forget(group.id);
      },
    };
  }

  /**
   * Moves start offsets: each share partition begins anew under a higher state epoch. A group that is not there is made, as by
   * Kafka, unless nothing is moved. `done` gets an error per partition.
   */
  alter(
    groupId: string,
    topics: readonly { readonly topic: ShareTopic; readonly startOffsets: readonly number[] }[],
    done: (error: number, errors: readonly (readonly number[])[]) => void,
  ): void {
    const known = this.#groups.get(groupId);
    if (known === undefined && (topics.length === 0 || !this.#mayMake())) {
      done(topics.length === 0 ? ErrorCode.NONE : ErrorCode.COORDINATOR_NOT_AVAILABLE, []);
      return;
    }
    const held = known === undefined ? null : this.#lock(groupId);
    if (typeof held === 'number') {
      done(held, []);
      return;
    }
    let lock = held;
    const epoch = (known?.epoch ?? 0) + 1;
    const metadataHash = known?.metadataHash ?? 0;
    const finish = (error: number, errors: readonly (readonly number[])[] = []): void => {
      lock?.free();
      done(error, errors);
    };
    const errors = topics.map(() => [] as number[]);
    // Nobody is in it: its target is there with its epoch.
    const records = [
      groupRecord(groupId, { epoch, metadataHash }),
      targetEpochRecord(groupId, {
        assignmentEpoch: epoch,
        assignmentTimestamp: this.#context.clock.now(),
      }),
    ];
    this.#context.write(records, (refused) => {
      if (refused !== ErrorCode.NONE) {
        finish(refused);
        return;
      }
      const calls = topics.flatMap(({ topic, startOffsets }, t) =>
        topic.partitions.map((partition, p) => (answered: () => void) => {
          const key = { groupId, topicId: topic.topicId, partition };
          this.#ports.initialize(key, epoch, startOffsets[p]!, (error) => {
            errors[t]![p] = error;
            answered();
          });
        }),
      );
      allOf(calls, () => {
        const done = topics.map(({ topic }, t) => ({
          ...topic,
          partitions: topic.partitions.filter((_, p) => errors[t]![p] === ErrorCode.NONE),
        }));
        const all = [...merged(lock!.group.topics, done).values()].filter(
          ({ partitions }) => partitions.length > 0,
        );
        this.#context.write([statePartitionsRecord(groupId, lock!.group.topicsValue(all))], (error) =>
          finish(error, errors),
        );
      });
    });
    const made = this.#groups.get(groupId);
    if (lock === null && made !== undefined) lock = this.#lockOf(made);
  }

  /** Forgets the offsets of topics. `done` gets an error per topic. */
  deleteOffsets(
    groupId: string,
    topicIds: readonly string[],
    done: (error: number, errors: readonly number[]) => void,
  ): void {
    const lock = this.#lock(groupId);
    if (typeof lock === 'number') {
      done(lock, []);
      return;
    }
    const { group, free } = lock;
    const errors: number[] = topicIds.map((id) =>
      group.topics.has(id) ? ErrorCode.NONE : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    );
    this.#deleteStates(group, topicIds, errors, () => {
      const gone = new Set(topicIds.filter((_, i) => errors[i] === ErrorCode.NONE));
      const left = [...group.topics.values()].filter(({ topicId }) => !gone.has(topicId));
      this.#context.write([statePartitionsRecord(groupId, group.topicsValue(left))], (error) => {
        free();
        done(error, errors);
      });
    });
  }

  #deleteStates(group: ShareGroup, topicIds: readonly string[], errors: number[], done: () => void): void {
    const calls = topicIds.flatMap((topicId, i) =>
      (group.topics.get(topicId)?.partitions ?? []).map((partition) => (answered: () => void) => {
        this.#ports.delete({ groupId: group.id, topicId, partition }, (error) => {
          if (error !== ErrorCode.NONE) errors[i] = error;
          answered();
        });
      }),
    );
    allOf(calls, done);
  }

  /** The group and the states of its share partitions, those first: a crash in between leaves a group to delete again. */
  delete(groupId: string, done: (error: number) => void): void {
    const lock = this.#lock(groupId);
    if (typeof lock === 'number') {
      done(lock);
      return;
    }
    const { group, free } = lock;
    const topicIds = [...group.topics.keys()];
    const errors = topicIds.map(() => 0);
    this.#deleteStates(group, topicIds, errors, () => {
      const failed = errors.find((error) => error !== ErrorCode.NONE);
      if (failed !== undefined) {
        free();
        done(failed);
        return;
      }
      const records = [
        statePartitionsRecord(groupId, null),
        targetEpochRecord(groupId, null),
        groupRecord(groupId, null),
      ];
      this.#context.write(records, (error) => {
        free();
        done(error);
      });
    });
  }
}
