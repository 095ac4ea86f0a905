/**
 * The share coordinator as every shard asks it: the one of this shard, that of the shard which owns the key's partition of
 * `__share_group_state`, or that of the broker which has it open. What another broker asks is served by links that lead to no
 * third (`others` null). The topic is made with the first question; until it is there the answer is
 * COORDINATOR_NOT_AVAILABLE, as when a question cannot be sent, and whoever asked tries again. Shard thread.
 *
 * Questions to other shards go as JSON: one for each batch of acknowledgements, not for each record.
 */
import { coordinatorTopics } from '../../coordinator/runtime/coordinator-place.ts';
import {
  type ShareKey,
  type ShareStateAnswer,
  type ShareStateCoordinator,
  type ShareStateWrite,
  shareKeyText,
} from '../../coordinator/share/share-state-api.ts';
import type { OtherBrokers } from '../../interbroker/other-brokers.ts';
import type { StateAnswer, StateQuestion } from '../../interbroker/state-questions.ts';
import type { SharePersister } from '../../log/share/share-api.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { CoordinatorPlaces, ShardLinks } from '../../requests/request-router.ts';
import type { ShardServicesTable } from '../../requests/routing.ts';
import type { TopicDirectory } from '../../requests/support/topic-directory.ts';

/** Number of the service in ShardServicesTable. */
export const shareStateService = 10;

export interface ShareStateLinksDeps {
  readonly self: number;
  /** Null where this shard is alone. */
  readonly links: ShardLinks | null;
  /** Null: what another broker coordinates is refused. */
  readonly others: Pick<OtherBrokers, 'states'> | null;
  /** The other broker that coordinates a key; −1 = this one, or nobody. */
  readonly coordinatorBroker: (topicName: string, key: string) => number;
  readonly topics: TopicDirectory;
  readonly places: CoordinatorPlaces;
  readonly coordinator: () => ShareStateCoordinator;
  /** Makes `__share_group_state`, some time. */
  readonly makeTopic: () => void;
}

type Done = (answer: StateAnswer) => void;

export class ShareStateLinks implements ShareStateCoordinator {
  readonly #deps: ShareStateLinksDeps;

  constructor(deps: ShareStateLinksDeps) {
    this.#deps = deps;
  }

  /** What other shards may ask of this one. */
  serve(services: ShardServicesTable): void {
    services.register(shareStateService, (bytes, answer) => {
      this.#here(JSON.parse(bytes.toString()) as StateQuestion, (said) =>
        answer(Buffer.from(JSON.stringify(said))),
      );
    });
  }

  #ask(question: StateQuestion, done: Done): void {
    const { self, links, topics, places, makeTopic, others, coordinatorBroker } = this.#deps;
    if (topics.topicByName(coordinatorTopics.share) === undefined) {
      makeTopic();
      done({ error: ErrorCode.COORDINATOR_NOT_AVAILABLE, state: null });
      return;
    }
    const key = shareKeyText(question.key);
    const broker = coordinatorBroker(coordinatorTopics.share, key);
    if (broker >= 0) {
      if (others === null) done({ error: ErrorCode.NOT_COORDINATOR, state: null });
      else others.states.ask(broker, question, done);
      return;
    }
    const owner = places.ownerOf(coordinatorTopics.share, key);
    if (owner === self || links === null) {
      this.#here(question, done);
      return;
    }
    links.ask(owner, shareStateService, Buffer.from(JSON.stringify(question)), (bytes) =>
      done(
        bytes === null
          ? { error: ErrorCode.COORDINATOR_NOT_AVAILABLE, state: null }
          : (JSON.parse(bytes.toString()) as StateAnswer),
      ),
    );
  }

  #here(question: StateQuestion, done: Done): void {
    const coordinator = this.#deps.coordinator();
    const { key } = question;
    const settled = (error: number): void => done({ error, state: null });
    const told = (error: number, state: ShareStateAnswer | null): void =>
      done({ error, state: plain(state) });
    switch (question.do) {
      case 'initialize':
        coordinator.initialize(key, question.stateEpoch, question.startOffset, settled);
        return;
      case 'read':
        coordinator.read(key, question.leaderEpoch, told);
        return;
      case 'summary':
        coordinator.summary(key, told);
        return;
      case 'write':
        coordinator.write(key, question.write, settled);
        return;
      case 'delete':
        coordinator.delete(key, settled);
    }
  }

  initialize(key: ShareKey, stateEpoch: number, startOffset: number, done: (error: number) => void): void {
    this.#ask({ do: 'initialize', key, stateEpoch, startOffset }, ({ error }) => done(error));
  }

  read(
    key: ShareKey,
    leaderEpoch: number,
    done: (error: number, state: ShareStateAnswer | null) => void,
  ): void {
    this.#ask({ do: 'read', key, leaderEpoch }, ({ error, state }) => done(error, state));
  }

  summary(key: ShareKey, done: (error: number, state: ShareStateAnswer | null) => void): void {
    this.#ask({ do: 'summary', key }, ({ error, state }) => done(error, state));
  }

  write(key: ShareKey, write: ShareStateWrite, done: (error: number) => void): void {
    this.#ask({ do: 'write', key, write }, ({ error }) => done(error));
  }

  delete(key: ShareKey, done: (error: number) => void): void {
    this.#ask({ do: 'delete', key }, ({ error }) => done(error));
  }

  /** The durable state of one share partition, as that partition knows it. */
  persister(key: ShareKey): SharePersister {
    return {
      read: (leaderEpoch, done) => this.read(key, leaderEpoch, done),
      write: (update, done) => this.write(key, update, done),
    };
  }
}

function plain(state: ShareStateAnswer | null): ShareStateAnswer | null {
  if (state === null) return null;
  const { stateEpoch, leaderEpoch, startOffset, deliveryCompleteCount, batches } = state;
  return { stateEpoch, leaderEpoch, startOffset, deliveryCompleteCount, batches };
}
