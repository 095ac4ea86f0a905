/** Share sessions and what ShareFetch and ShareAcknowledge refuse, over share partitions that only write down what they are asked. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SharePartitionsApi } from '../../../src/log/share/share-api.ts';
import { nothingAcquired } from '../../../src/log/share/share-partition.ts';
import { ErrorCode, errorName } from '../../../src/protocol/generated/errors.ts';
import {
  ShareAcknowledgeCodec,
  type ShareAcknowledgeRequestInput,
} from '../../../src/protocol/generated/share-acknowledge.ts';
import { ShareFetchCodec, type ShareFetchRequestInput } from '../../../src/protocol/generated/share-fetch.ts';
import { shareAcknowledgeHandler } from '../../../src/requests/share-acknowledge.ts';
import { shareFetchHandler } from '../../../src/requests/share-fetch.ts';
import { ClusterView } from '../../../src/requests/support/cluster-view.ts';
import { ShareSessions } from '../../../src/requests/support/share-session.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { call, FakeTopics } from './admin-fixtures.ts';
import { ownEndpoint as endpoint } from './cluster-fixtures.ts';

const [accept, renew] = [1, 4];

function world({ renewals = true, acknowledged = ErrorCode.NONE as number } = {}) {
  const released: string[] = [];
  const left: string[] = [];
  const api: SharePartitionsApi = {
    settings: () => ({
      lockMs: 30_000,
      deliveriesMax: 5,
      locksMax: 10,
      committed: false,
      reset: { at: 'latest' },
      renewals,
    }),
    acquire: (_group, _member, partitions, _limits, done) => done(partitions.map(() => nothingAcquired)),
    acknowledge: (_group, _member, partitions, done) => done(partitions.map(() => acknowledged)),
    giveBack() {},
    release(_group, member, _partitions, done) {
      released.push(member);
      done();
    },
    left: (groupId) => left.push(groupId),
    wait: (_group, _partitions, _waitMs, done) => done(),
  };
  const topics = new FakeTopics();
  const topicId = topics.add('t', 2);
  const sessions = new ShareSessions(api, 3);
  const cluster = new ClusterView({ topics, endpoint });
  const deps = { topics, shares: api, shareSessions: sessions, cluster };
  const clock = new VirtualClock();
  const fetching = shareFetchHandler({
    ...deps,
    arena: new HeapArena({ segmentBytes: 65_536, segmentCount: 2 }),
    clock,
    fetchBytesMax: 1_000,
    observe: { fetched() {} },
  });
  const acknowledging = shareAcknowledgeHandler(deps);
  const named = (types: readonly number[]) => [
    {
      topicId,
      partitions: [
        {
          partitionIndex: 0,
          acknowledgementBatches:
            types.length === 0 ? [] : [{ firstOffset: 0, lastOffset: 0, acknowledgeTypes: types }],
        },
        { partitionIndex: 1 },
      ],
    },
  ];
  return {
    released,
    left,
    sessions,
    fetch: (shareSessionEpoch: number, more: ShareFetchRequestInput = {}, types: readonly number[] = []) =>
      call(fetching, ShareFetchCodec, 2, {
        groupId: 'g',
        memberId: 'm',
        shareSessionEpoch,
        maxRecords: 10,
        topics: named(types),
        ...more,
      }),
    acknowledge: (
      shareSessionEpoch: number,
      types: readonly number[],
      more: ShareAcknowledgeRequestInput = {},
    ) =>
      call(acknowledging, ShareAcknowledgeCodec, 2, {
        groupId: 'g',
        memberId: 'm',
        shareSessionEpoch,
        topics: named(types),
        ...more,
      }),
  };
}

const partitionsOf = (answer: {
  responses: readonly { partitions: readonly { partitionIndex: number }[] }[];
}) => answer.responses.flatMap(({ partitions }) => partitions.map(({ partitionIndex }) => partitionIndex));

describe('share sessions', () => {
  it('name all their partitions as they begin, and later those with something', async () => {
    const { fetch } = world();
    assert.deepEqual(partitionsOf(await fetch(0)), [0, 1]);
    assert.deepEqual(partitionsOf(await fetch(1)), []);
  });

  it('begun anew leave the member what it holds; ended, and with their connection, they do not', async () => {
    const { fetch, released, left, sessions } = world();
    await fetch(0);
    await fetch(0);
    assert.deepEqual([released, left, sessions.size], [[], [], 1]);
    await fetch(1);
    await fetch(-1, { topics: [] });
    assert.deepEqual([released, left, sessions.size], [['m'], ['g'], 0]);
    await fetch(0);
    sessions.connectionClosed(1);
    assert.deepEqual([released.length, left.length, sessions.size], [2, 2, 0]);
  });

  it('are refused by the code that says why', async () => {
    const { fetch, acknowledge } = world();
    const code = async (answer: Promise<{ errorCode: number }>) => errorName((await answer).errorCode);
    assert.equal(await code(fetch(1)), 'SHARE_SESSION_NOT_FOUND');
    assert.equal(await code(acknowledge(1, [accept])), 'SHARE_SESSION_NOT_FOUND');
    assert.equal(await code(acknowledge(0, [accept])), 'INVALID_SHARE_SESSION_EPOCH');
    for (const memberId of [null, '', 'm'.repeat(37)]) {
      assert.equal(await code(fetch(0, { memberId })), 'INVALID_REQUEST');
      assert.equal(await code(acknowledge(0, [accept], { memberId })), 'INVALID_REQUEST');
    }
    assert.equal(await code(fetch(0, { groupId: null })), 'INVALID_REQUEST');
    assert.equal(await code(fetch(0, { groupId: '' })), 'INVALID_REQUEST');
    assert.equal(await code(fetch(0, {}, [accept])), 'INVALID_REQUEST');
    for (const shareAcquireMode of [-1, 2])
      assert.equal(await code(fetch(0, { shareAcquireMode })), 'INVALID_REQUEST');
    assert.equal(await code(fetch(0)), 'NONE');
    assert.equal(await code(fetch(7)), 'INVALID_SHARE_SESSION_EPOCH');
    for (const memberId of ['n', 'o']) assert.equal(await code(fetch(0, { memberId })), 'NONE');
    assert.equal(await code(fetch(0, { memberId: 'p' })), 'SHARE_SESSION_LIMIT_REACHED');
  });
});

describe('acknowledgements', () => {
  async function told(on: ReturnType<typeof world>, types: readonly number[], isRenewAck: boolean) {
    await on.fetch(0);
    const answer = await on.acknowledge(1, types, { isRenewAck });
    const { errorCode, errorMessage } = answer.responses[0]!.partitions[0]!;
    return [errorName(errorCode), errorMessage];
  }

  it('renew where it is said and allowed', async () => {
    assert.deepEqual(await told(world(), [renew], true), ['NONE', null]);
    assert.equal((await told(world(), [renew], false))[0], 'INVALID_REQUEST');
    assert.equal((await told(world({ renewals: false }), [renew], true))[0], 'INVALID_RECORD_STATE');
    assert.equal((await told(world({ renewals: false }), [renew], false))[0], 'INVALID_REQUEST');
  });

  it('say in words what was wrong', async () => {
    const wrong = world({ acknowledged: ErrorCode.INVALID_RECORD_STATE });
    assert.deepEqual(await told(wrong, [accept], false), ['INVALID_RECORD_STATE', 'INVALID_RECORD_STATE']);
    const { acknowledgeErrorCode, acknowledgeErrorMessage, errorMessage } = (
      await wrong.fetch(2, {}, [accept])
    ).responses[0]!.partitions[0]!;
    assert.deepEqual(
      [errorName(acknowledgeErrorCode), acknowledgeErrorMessage, errorMessage],
      ['INVALID_RECORD_STATE', 'INVALID_RECORD_STATE', null],
    );
  });
});
