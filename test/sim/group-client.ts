/**
 * Commits offsets for a group of its own and reads them back: as a simple consumer (no membership), or as the one member
 * of a classic group that joins, stays over restarts of brokers, and leaves now and then.
 */

import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { FindCoordinatorCodec } from '../../src/protocol/generated/find-coordinator.ts';
import { HeartbeatCodec } from '../../src/protocol/generated/heartbeat.ts';
import { JoinGroupCodec } from '../../src/protocol/generated/join-group.ts';
import { LeaveGroupCodec } from '../../src/protocol/generated/leave-group.ts';
import { OffsetCommitCodec } from '../../src/protocol/generated/offset-commit.ts';
import { SyncGroupCodec } from '../../src/protocol/generated/sync-group.ts';
import { errorName } from '../support/load/error-name.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { Client } from './clients.ts';
import { coordinatorAway, readOffsets, type Served } from './cluster.ts';
import { type CommittedModel, type GroupModel, textOf } from './group-model.ts';
import type { Requests } from './sim-network.ts';

const versions = { find: 4, join: 7, sync: 5, heartbeat: 4, leave: 4, commit: 8 } as const;
/** Longer than any trouble of a run: a member is forgotten by itself only after this. */
const sessionTimeoutMs = 1_800_000;
const notMember: readonly number[] = [
  ErrorCode.UNKNOWN_MEMBER_ID,
  ErrorCode.ILLEGAL_GENERATION,
  ErrorCode.REBALANCE_IN_PROGRESS,
];

export class GroupClient extends Client {
  readonly group: GroupModel;
  readonly #joins: boolean;
  #memberId = '';
  /** −1 = no member of a generation. */
  #generation = -1;
  #placed = false;
  #losses = 0;

  constructor(cluster: Served, random: SeededRandom, group: GroupModel, joins: boolean) {
    super(cluster, random);
    this.group = group;
    this.#joins = joins;
  }

  protected override pauseMs(): number {
    return this.random.below(this.random.chance(0.5) ? 200 : 2_000);
  }

  protected override async step(): Promise<void> {
    const connection = this.connection();
    if (this.#losses !== this.group.losses) {
      this.#losses = this.group.losses;
      this.#generation = -1;
    }
    if (!this.#placed) {
      const answer = await connection.request(FindCoordinatorCodec, versions.find, {
        keyType: 0,
        coordinatorKeys: [this.group.id],
      });
      const { errorCode } = answer.coordinators[0]!;
      if (errorCode !== 0) return this.#away(errorCode, 'finds no coordinator');
      this.#placed = true;
    }
    if (this.#joins && this.#generation < 0 && !(await this.#join(connection))) return;
    if (this.random.chance(0.25)) return readOffsets(connection, this.group).then(() => {});
    if (this.#joins && this.random.chance(0.1)) return this.#heartbeat(connection);
    if (this.#joins && this.random.chance(0.02)) return this.#leave(connection);
    return this.#commit(connection);
  }

  async #away(errorCode: number, what: string): Promise<void> {
    const { world } = this.cluster;
    world.trace(`${this.group.id} ${what}: ${errorName(errorCode)}`);
    if (!coordinatorAway.includes(errorCode)) world.fail(`${this.group.id} ${what}: ${errorName(errorCode)}`);
    await world.sleep(100 + this.random.below(300));
  }

  async #join(connection: Requests): Promise<boolean> {
    const { id: groupId } = this.group;
    for (let attempt = 1; attempt <= 2; attempt++) {
      const joined = await connection.request(JoinGroupCodec, versions.join, {
        groupId,
        sessionTimeoutMs,
        rebalanceTimeoutMs: 2_000,
        memberId: this.#memberId,
        protocolType: 'consumer',
        protocols: [{ name: 'range', metadata: Buffer.from('metadata') }],
      });
      const { errorCode, generationId, memberId } = joined;
      if (errorCode === ErrorCode.MEMBER_ID_REQUIRED) {
        this.#memberId = memberId;
        continue;
      }
      if (errorCode === ErrorCode.UNKNOWN_MEMBER_ID) {
        this.#memberId = '';
        continue;
      }
      if (errorCode !== 0) {
        if (!notMember.includes(errorCode)) await this.#away(errorCode, 'does not join');
        return false;
      }
      this.#memberId = memberId;
      const leads = joined.leader === memberId;
      const synced = await connection.request(SyncGroupCodec, versions.sync, {
        groupId,
        generationId,
        memberId,
        protocolType: 'consumer',
        protocolName: 'range',
        assignments: leads ? [{ memberId, assignment: Buffer.from(`generation ${generationId}`) }] : [],
      });
      if (synced.errorCode !== 0) {
        if (!notMember.includes(synced.errorCode)) await this.#away(synced.errorCode, 'does not sync');
        return false;
      }
      this.#generation = generationId;
      this.cluster.world.trace(`${groupId} is in generation ${generationId}`);
      return true;
    }
    return false;
  }

  /** Nobody else joins and no session runs out: who has synced once stays a member over every restart. */
  #checkMember(errorCode: number): void {
    if (!notMember.includes(errorCode)) return;
    this.cluster.world.fail(
      `${this.group.id}: generation ${this.#generation} is forgotten: ${errorName(errorCode)}`,
    );
  }

  async #heartbeat(connection: Requests): Promise<void> {
    const { errorCode } = await connection.request(HeartbeatCodec, versions.heartbeat, {
      groupId: this.group.id,
      generationId: this.#generation,
      memberId: this.#memberId,
    });
    this.#checkMember(errorCode);
    if (errorCode !== 0) await this.#away(errorCode, 'has no heartbeat');
  }

  async #leave(connection: Requests): Promise<void> {
    const memberId = this.#memberId;
    this.#generation = -1;
    this.#memberId = '';
    await connection.request(LeaveGroupCodec, versions.leave, {
      groupId: this.group.id,
      members: [{ memberId }],
    });
  }

  async #commit(connection: Requests): Promise<void> {
    const place = this.pickPartition();
    if (place === null) return;
    const { topic } = place;
    const { group } = this;
    const number = group.next();
    const first = this.random.below(topic.partitions.length);
    const commits: CommittedModel[] = [];
    for (let i = 0; i < 1 + this.random.below(3) && first + i < topic.partitions.length; i++)
      commits.push(group.at(topic, first + i));
    for (const commit of commits) commit.attempted.push(number);
    // Of a generation that is not there: nothing of it may ever show.
    const stale = this.#joins && this.random.chance(0.1);
    const answer = await connection.request(OffsetCommitCodec, versions.commit, {
      groupId: group.id,
      generationIdOrMemberEpoch: this.#generation + (stale ? 1 : 0),
      memberId: this.#joins ? this.#memberId : '',
      topics: [
        {
          name: topic.name,
          partitions: commits.map(({ index }) => ({
            partitionIndex: index,
            committedOffset: number,
            committedMetadata: textOf(number),
          })),
        },
      ],
    });
    const { world } = this.cluster;
    if (topic.deleted || topic.doubtful || this.#losses !== group.losses) return;
    for (const [i, commit] of commits.entries()) {
      const { errorCode } = answer.topics[0]!.partitions[i]!;
      if (errorCode === 0) {
        if (stale) world.fail(`${group.id}: a commit of generation ${this.#generation + 1} was taken`);
        group.acknowledge(commit, number);
        continue;
      }
      // The coordinator's broker is told of a topic later than whoever made it.
      if (this.cluster.several && errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
        group.refuse(commit, number);
        continue;
      }
      // A coordinator that is away may have appended it.
      if (!coordinatorAway.includes(errorCode)) group.refuse(commit, number);
      if (stale && notMember.includes(errorCode)) continue;
      this.#checkMember(errorCode);
      await this.#away(errorCode, `cannot commit ${topic.name}-${commit.index}`);
    }
  }
}
