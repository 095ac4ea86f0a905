/**
 * Share partitions as requests of this shard ask for them, wherever they are: partitions of this shard directly, those of others
 * with one question per shard (requests/routing.ts). Questions and answers are JSON; records never travel in them: whoever has
 * acquired offsets reads the log's bytes itself, by reference. Shard thread.
 *
 * What cannot be sent is answered with NOT_LEADER_OR_FOLLOWER, which clients try again; locks that nobody could give back end
 * with their time. Bounds: calls under way per link (peers/peer-calls.ts); a wait that cannot be sent ends with its time.
 */
import { AcquireBudget } from '../../log/share/acquire-budget.ts';
import type {
  Acquired,
  AcquireLimits,
  PartitionAcknowledgement,
  PartitionGivenBack,
  SharePartitionName,
  SharePartitionSeen,
  SharePartitionsApi,
  ShareSettings,
} from '../../log/share/share-api.ts';
import { nothingAcquired } from '../../log/share/share-partition.ts';
import type { TopicImage } from '../../metadata/metadata-store.ts';
import type { Clock } from '../../ports/clock.ts';
import { onceWithin } from '../../ports/once-within.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { ShardLinks } from '../../requests/request-router.ts';
import type { ShardServicesTable } from '../../requests/routing.ts';
import type { TopicDirectory } from '../../requests/support/topic-directory.ts';
import type { LocalSharePartitions } from './local-share-partitions.ts';

/** Number of the service in ShardServicesTable. */
export const sharePartitionsService = 11;

export interface ShareLinksDeps {
  readonly self: number;
  readonly shards: number;
  readonly clock: Clock;
  /** Null where this shard is alone. */
  readonly links: ShardLinks | null;
  readonly topics: TopicDirectory;
  readonly ownerOf: (topic: TopicImage, partition: number) => number;
  readonly local: LocalSharePartitions;
  readonly settings: (groupId: string) => ShareSettings;
}

interface Whose {
  readonly groupId: string;
  readonly memberId: string;
}

type Question =
  | (Whose & {
      readonly do: 'acquire';
      readonly names: readonly SharePartitionName[];
      readonly limits: AcquireLimits;
    })
  | (Whose & { readonly do: 'acknowledge'; readonly partitions: readonly PartitionAcknowledgement[] })
  | (Whose & { readonly do: 'giveBack'; readonly partitions: readonly PartitionGivenBack[] })
  | (Whose & {
      readonly do: 'release';
      readonly names: readonly SharePartitionName[];
    })
  | {
      readonly do: 'wait';
      readonly groupId: string;
      readonly names: readonly SharePartitionSeen[];
      readonly waitMs: number;
    }
  | { readonly do: 'forget' | 'left'; readonly groupId: string };

/** A partition that no shard owns is asked for here, where it is refused. */
interface Part<T> {
  readonly owner: number;
  readonly indexes: readonly number[];
  readonly items: readonly T[];
}

export class ShareLinks implements SharePartitionsApi {
  readonly #deps: ShareLinksDeps;

  constructor(deps: ShareLinksDeps) {
    this.#deps = deps;
  }

  settings(groupId: string): ShareSettings {
    return this.#deps.settings(groupId);
  }

  /** What other shards may ask of this one. */
  serve(services: ShardServicesTable): void {
    services.register(sharePartitionsService, (bytes, answer) => {
      this.#here(JSON.parse(bytes.toString()) as Question, (said) =>
        answer(Buffer.from(JSON.stringify(said))),
      );
    });
  }

  #here(question: Question, answer: (said: unknown) => void): void {
    const { local } = this.#deps;
    const { groupId } = question;
    switch (question.do) {
      case 'acquire':
        local.acquire(groupId, question.memberId, question.names, question.limits, answer);
        return;
      case 'acknowledge':
        local.acknowledge(groupId, question.memberId, question.partitions, answer);
        return;
      case 'giveBack':
        local.giveBack(groupId, question.memberId, question.partitions);
        answer(true);
        return;
      case 'release':
        local.release(groupId, question.memberId, question.names, () => answer(true));
        return;
      case 'wait':
        local.wait(groupId, question.names, question.waitMs, () => answer(true));
        return;
      case 'forget':
        local.forget(groupId);
        answer(true);
        return;
      case 'left':
        local.left(groupId);
        answer(true);
    }
  }

  /** `answer` gets null when the question could not be sent. */
  #ask(owner: number, question: Question, answer: (said: unknown) => void): void {
    const { self, links } = this.#deps;
    if (owner === self || links === null) this.#here(question, answer);
    else
      links.ask(owner, sharePartitionsService, Buffer.from(JSON.stringify(question)), (bytes) =>
        answer(bytes === null ? null : JSON.parse(bytes.toString())),
      );
  }

  #parts<T extends SharePartitionName>(items: readonly T[]): Part<T>[] {
    const { topics, ownerOf, self } = this.#deps;
    const parts = new Map<number, { owner: number; indexes: number[]; items: T[] }>();
    for (const [index, item] of items.entries()) {
      const topic = topics.topicById(item.topicId);
      const owner = topic === undefined ? self : ownerOf(topic, item.partition);
      let part = parts.get(owner);
      if (part === undefined) {
        part = { owner, indexes: [], items: [] };
        parts.set(owner, part);
      }
      part.indexes.push(index);
      part.items.push(item);
    }
    return [...parts.values()];
  }

  /** Shard after shard, so that what one has brought is not asked of the next. */
  acquire(
    groupId: string,
    memberId: string,
    names: readonly SharePartitionName[],
    limits: AcquireLimits,
    done: (results: readonly Acquired[]) => void,
  ): void {
    const results: Acquired[] = names.map(() => nothingAcquired);
    const parts = this.#parts(names);
    const budget = new AcquireBudget(limits);
    const next = (at: number): void => {
      const part = parts[at];
      if (part === undefined || budget.spent) {
        done(results);
        return;
      }
      const { left } = budget;
      this.#ask(part.owner, { do: 'acquire', groupId, memberId, names: part.items, limits: left }, (said) => {
        const found = said as readonly Acquired[] | null;
        for (const [i, index] of part.indexes.entries()) {
          const acquired = found?.[i] ?? { ...nothingAcquired, error: ErrorCode.NOT_LEADER_OR_FOLLOWER };
          results[index] = acquired;
          budget.take(acquired);
        }
        next(at + 1);
      });
    };
    next(0);
  }

  acknowledge(
    groupId: string,
    memberId: string,
    partitions: readonly PartitionAcknowledgement[],
    done: (errors: readonly number[]) => void,
  ): void {
    const errors: number[] = [];
    const parts = this.#parts(partitions);
    let waiting = parts.length;
    if (waiting === 0) done(errors);
    for (const { owner, indexes, items } of parts) {
      this.#ask(owner, { do: 'acknowledge', groupId, memberId, partitions: items }, (said) => {
        const told = said as readonly number[] | null;
        for (const [i, index] of indexes.entries())
          errors[index] = told?.[i] ?? ErrorCode.NOT_LEADER_OR_FOLLOWER;
        waiting--;
        if (waiting === 0) done(errors);
      });
    }
  }

  giveBack(groupId: string, memberId: string, partitions: readonly PartitionGivenBack[]): void {
    for (const { owner, items } of this.#parts(partitions))
      this.#ask(owner, { do: 'giveBack', groupId, memberId, partitions: items }, ignore);
  }

  release(groupId: string, memberId: string, names: readonly SharePartitionName[], done: () => void): void {
    const parts = this.#parts(names);
    let waiting = parts.length;
    if (waiting === 0) done();
    for (const { owner, items } of parts) {
      this.#ask(owner, { do: 'release', groupId, memberId, names: items }, () => {
        waiting--;
        if (waiting === 0) done();
      });
    }
  }

  wait(groupId: string, names: readonly SharePartitionSeen[], waitMs: number, done: () => void): void {
    const finish = onceWithin(this.#deps.clock, waitMs, done);
    for (const { owner, items } of this.#parts(names))
      this.#ask(owner, { do: 'wait', groupId, names: items, waitMs }, (said) => {
        // A shard that could not be asked says nothing: the time decides.
        if (said !== null) finish();
      });
  }

  /** On every shard of this broker. */
  forget(groupId: string): void {
    for (let shard = 0; shard < this.#deps.shards; shard++)
      this.#ask(shard, { do: 'forget', groupId }, ignore);
  }

  /** The same. */
  left(groupId: string): void {
    for (let shard = 0; shard < this.#deps.shards; shard++) this.#ask(shard, { do: 'left', groupId }, ignore);
  }
}

function ignore(): void {}
