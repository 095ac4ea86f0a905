/**
 * Tombstones for the committed offsets of one partition's groups: those that a request or their age deletes, and those of topics
 * that are gone. A deletion may be more than one batch takes; each batch deletes its own offsets, and the last brings the answer.
 * Shard thread; owned by GroupPartition.
 */
import type { Clock } from '../../ports/clock.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { CoordinatorRecord } from '../runtime/coordinator-log.ts';
import type { AppendOutcome, PartitionContext } from '../runtime/coordinator-state.ts';
import type { Group } from './group.ts';
import type { OffsetEntry } from './group-offsets.ts';
import { offsetKey } from './group-records.ts';
import type { GroupSettings } from './group-settings.ts';
import { groupStates } from './group-state.ts';

export interface OffsetName {
  readonly topic: string;
  readonly partition: number;
}

interface DoomedOffset extends OffsetName {
  readonly group: Group;
}

export interface BurialHost {
  readonly context: PartitionContext;
  readonly clock: Clock;
  readonly settings: GroupSettings;
  readonly groups: ReadonlyMap<string, Group>;
  /** Whether the topic that the offset was committed for exists no more. */
  isGone(entry: Pick<OffsetEntry, 'topic' | 'topicId'>): boolean;
}

/** A look at a group costs a microsecond, a tombstone five. */
const groupsPerTurn = 1_000;
const tombstonesPerTurn = 500;

/** Bytes of a tombstone's record around its key, rounded up. */
const tombstoneOverheadBytes = 16;

export class OffsetBurial {
  readonly #host: BurialHost;
  /** Groups that are still to be looked at for offsets of topics that are gone. */
  #unseen: Group[] = [];
  #burying = false;

  constructor(host: BurialHost) {
    this.#host = host;
  }

  /**
   * Tombstones for offsets of a group. 0, or why the log refused; what it took before goes all the same.
   * @param last records that go with the last of them
   */
  deleteOffsets(
    group: Group,
    offsets: readonly OffsetName[],
    outcome: AppendOutcome,
    last: readonly CoordinatorRecord[] = [],
  ): number {
    const doomed = offsets.map(({ topic, partition }) => ({ group, topic, partition }));
    return this.#bury(doomed, last, outcome);
  }

  #bury(
    offsets: readonly DoomedOffset[],
    last: readonly CoordinatorRecord[],
    outcome: AppendOutcome,
  ): number {
    const { context, settings } = this.#host;
    let next = 0;
    do {
      const records: CoordinatorRecord[] = [];
      const named: DoomedOffset[] = [];
      let bytes = 0;
      while (next < offsets.length) {
        const doomed = offsets[next]!;
        const key = offsetKey(doomed.group.id, doomed.topic, doomed.partition);
        if (records.length > 0 && bytes + key.length + tombstoneOverheadBytes > settings.recordsBytesMax)
          break;
        bytes += key.length + tombstoneOverheadBytes;
        records.push({ key, value: null });
        named.push(doomed);
        next++;
      }
      const isLast = next === offsets.length;
      if (isLast) records.push(...last);
      const refused = context.append(records, {
        durable: (baseOffset) => {
          for (const { group, topic, partition } of named) {
            group.offsets.settlePending(topic, partition);
            group.offsets.delete(topic, partition);
          }
          if (isLast) outcome.durable(baseOffset);
        },
        lost: () => {
          if (isLast) outcome.lost();
        },
      });
      if (refused !== ErrorCode.NONE) return refused;
      for (const { group, topic, partition } of named) group.offsets.notePending(topic, partition);
    } while (next < offsets.length);
    return ErrorCode.NONE;
  }

  /**
   * Tombstones for the durable offsets of topics that are gone: by a deletion, while nobody was here to see it, or with
   * tombstones that were refused. Looks at some groups a turn; what the log refuses is found again with the next expiry.
   */
  buryGone(): void {
    this.#unseen = [...this.#host.groups.values()];
    if (this.#burying) return;
    this.#burying = true;
    this.#buryTurn();
  }

  #buryTurn(): void {
    const host = this.#host;
    if (host.context.closed) return;
    const doomed: DoomedOffset[] = [];
    for (let looks = 0; looks < groupsPerTurn && doomed.length < tombstonesPerTurn; looks++) {
      const group = this.#unseen.pop();
      if (group === undefined) break;
      if (group.state === groupStates.dead) continue;
      for (const entry of group.offsets.entries()) {
        const { topic, partition } = entry;
        if (host.isGone(entry) && !group.offsets.isPending(topic, partition))
          doomed.push({ group, topic, partition });
      }
    }
    if (doomed.length > 0 && this.#bury(doomed, [], ignored) !== ErrorCode.NONE) this.#unseen = [];
    this.#burying = this.#unseen.length > 0;
    if (this.#burying) host.clock.soon(() => this.#buryTurn());
  }
}

function ignore(): void {}
export const ignored: AppendOutcome = { durable: ignore, lost: ignore };
