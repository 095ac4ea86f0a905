/**
 * Questions to a share coordinator on another broker (KIP-932): Initialize-, Read-, Write-, DeleteShareGroupState and
 * ReadShareGroupStateSummary, a request for many partitions of one group. No two about one share partition are under way at a
 * time. Shard thread.
 */
import type { ShareKey, ShareStateAnswer, ShareStateWrite } from '../coordinator/share/share-state-api.ts';
import type { Clock } from '../ports/clock.ts';
import { DeleteShareGroupStateCodec } from '../protocol/generated/delete-share-group-state.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { InitializeShareGroupStateCodec } from '../protocol/generated/initialize-share-group-state.ts';
import { ReadShareGroupStateCodec } from '../protocol/generated/read-share-group-state.ts';
import { ReadShareGroupStateSummaryCodec } from '../protocol/generated/read-share-group-state-summary.ts';
import { WriteShareGroupStateCodec } from '../protocol/generated/write-share-group-state.ts';
import { Batches } from './batches.ts';
import type { BrokerPeers } from './broker-peers.ts';
import type { AskedCodec } from './peer-connection.ts';

export type StateQuestion =
  | {
      readonly do: 'initialize';
      readonly key: ShareKey;
      readonly stateEpoch: number;
      readonly startOffset: number;
    }
  | { readonly do: 'read'; readonly key: ShareKey; readonly leaderEpoch: number }
  | { readonly do: 'summary'; readonly key: ShareKey }
  | { readonly do: 'write'; readonly key: ShareKey; readonly write: ShareStateWrite }
  | { readonly do: 'delete'; readonly key: ShareKey };

export interface StateAnswer {
  readonly error: number;
  readonly state: ShareStateAnswer | null;
}

/** Each with 10,000 records of their own state: 7.4 MB (wire.ts). */
const partitionsMax = 32;

interface Item {
  readonly question: StateQuestion;
  readonly done: (answer: StateAnswer) => void;
}

interface Part {
  readonly partition: number;
}

interface Outcome extends Part {
  readonly errorCode: number;
}

interface Results {
  readonly results: readonly { readonly topicId: string; readonly partitions: readonly Outcome[] }[];
}

/** One kind of question on the wire. */
interface Kind {
  readonly codec: AskedCodec<
    {
      readonly groupId: string;
      readonly topics: readonly { readonly topicId: string; readonly partitions: readonly Part[] }[];
    },
    Results
  >;
  readonly minVersion: number;
  part(question: StateQuestion): Part;
  /** What an answer without an error says besides. */
  state(outcome: Outcome, question: StateQuestion): ShareStateAnswer | null;
}

/** From then on the count of finished records travels along (KIP-1226). */
const completeCountFrom = 1;

function kind<Q extends StateQuestion, P extends Outcome>(
  codec: AskedCodec<never, { results: { topicId: string; partitions: P[] }[] }>,
  minVersion: number,
  part: (question: Q) => object,
  state: (outcome: P, question: Q) => ShareStateAnswer | null,
): Kind {
  return {
    codec: codec as unknown as Kind['codec'],
    minVersion,
    part: (question) => ({ partition: question.key.partition, ...part(question as Q) }),
    state: (outcome, question) => state(outcome as P, question as Q),
  };
}

type Asked<Do extends StateQuestion['do']> = Extract<StateQuestion, { readonly do: Do }>;

const kinds: Readonly<Record<StateQuestion['do'], Kind>> = {
  initialize: kind(
    InitializeShareGroupStateCodec,
    0,
    ({ stateEpoch, startOffset }: Asked<'initialize'>) => ({ stateEpoch, startOffset }),
    () => null,
  ),
  read: kind(
    ReadShareGroupStateCodec,
    0,
    ({ leaderEpoch }: Asked<'read'>) => ({ leaderEpoch }),
    ({ stateEpoch, startOffset, stateBatches }, { leaderEpoch }: Asked<'read'>) => ({
      stateEpoch,
      leaderEpoch,
      startOffset,
      deliveryCompleteCount: -1,
      batches: stateBatches,
    }),
  ),
  summary: kind(
    ReadShareGroupStateSummaryCodec,
    completeCountFrom,
    (_question: Asked<'summary'>) => ({ leaderEpoch: 0 }),
    ({ stateEpoch, leaderEpoch, startOffset, deliveryCompleteCount }) => ({
      stateEpoch,
      leaderEpoch,
      startOffset,
      deliveryCompleteCount,
      batches: [],
    }),
  ),
  write: kind(
    WriteShareGroupStateCodec,
    completeCountFrom,
    ({ write: { batches, ...position } }: Asked<'write'>) => ({ ...position, stateBatches: batches }),
    () => null,
  ),
  delete: kind(
    DeleteShareGroupStateCodec,
    0,
    (_question: Asked<'delete'>) => ({}),
    () => null,
  ),
};

export class StateQuestions {
  readonly #peers: BrokerPeers;
  readonly #batches: Readonly<Record<StateQuestion['do'], Batches<Item>>>;

  constructor({ peers, clock }: { readonly peers: BrokerPeers; readonly clock: Clock }) {
    this.#peers = peers;
    const batches = (of: Kind): Batches<Item> =>
      new Batches({
        clock,
        keyOf: ({ question: { key } }) => `${key.partition} ${key.topicId} ${key.groupId}`,
        together: false,
        requestOf: ({ question }) => question.key.groupId,
        itemsMax: partitionsMax,
        request: (node, items, answered) => this.#request(of, node, items, answered),
      });
    this.#batches = {
      initialize: batches(kinds.initialize),
      read: batches(kinds.read),
      summary: batches(kinds.summary),
      write: batches(kinds.write),
      delete: batches(kinds.delete),
    };
  }

  /** `done` gets the coordinator's word; COORDINATOR_NOT_AVAILABLE where it could not be asked, or said nothing. */
  ask(node: number, question: StateQuestion, done: (answer: StateAnswer) => void): void {
    if (!this.#batches[question.do].add(node, { question, done })) done(nobody);
  }

  #request(of: Kind, node: number, items: readonly Item[], answered: () => void): void {
    const topics = new Map<string, Item[]>();
    for (const item of items) {
      const { topicId } = item.question.key;
      const those = topics.get(topicId);
      if (those === undefined) topics.set(topicId, [item]);
      else those.push(item);
    }
    this.#peers.send(node, 'states', {
      codec: of.codec,
      minVersion: of.minVersion,
      input: {
        groupId: items[0]!.question.key.groupId,
        topics: [...topics].map(([topicId, those]) => ({
          topicId,
          partitions: those.map(({ question }) => of.part(question)),
        })),
      },
      done: (response) => {
        for (const { question, done } of items) done(told(of, question, response));
        answered();
      },
    });
  }
}

const nobody: StateAnswer = { error: ErrorCode.COORDINATOR_NOT_AVAILABLE, state: null };

function told(of: Kind, question: StateQuestion, response: Results | null): StateAnswer {
  const { topicId, partition } = question.key;
  const found = response?.results
    .find((topic) => topic.topicId === topicId)
    ?.partitions.find((outcome) => outcome.partition === partition);
  if (found === undefined) return nobody;
  const { errorCode: error } = found;
  return { error, state: error === ErrorCode.NONE ? of.state(found, question) : null };
}
