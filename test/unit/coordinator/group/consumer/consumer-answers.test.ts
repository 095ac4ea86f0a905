/** Who may commit offsets to a group of consumers, or read them, and at which epoch. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  commitProblem,
  memberRefusal,
  readProblem,
} from '../../../../../src/coordinator/group/consumer/consumer-answers.ts';
import type { ConsumerGroup } from '../../../../../src/coordinator/group/consumer/consumer-group.ts';
import type { CommitQuery } from '../../../../../src/coordinator/group/group-api.ts';
import type { TopicNames } from '../../../../../src/coordinator/group/group-services.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';

const { NONE, UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, STALE_MEMBER_EPOCH, UNSUPPORTED_VERSION } = ErrorCode;
const topics = { idOf: (name: string) => (name === 't' ? 'T' : null) } as unknown as TopicNames;

/** A member at epoch 5 that has had partition 0 of t since epoch 3, and partition 1 since 5; and a classic one. */
const group = {
  members: new Map(
    (['m', 'classic'] as const).map((id) => [
      id,
      {
        id,
        subscription: { classic: id === 'classic' ? {} : null },
        progress: {
          epoch: 5,
          assigned: new Map([
            [
              'T',
              new Map([
                [0, 3],
                [1, 5],
              ]),
            ],
          ]),
        },
      },
    ]),
  ),
} as unknown as ConsumerGroup;
const nobody = { members: new Map() } as unknown as ConsumerGroup;

function commit(fields: Partial<CommitQuery>, partitions: readonly number[] = [0], of = group): number {
  const query = {
    memberId: 'm',
    instanceId: null,
    generation: 5,
    offsets: partitions.map((partition) => ({ topic: 't', topicId: null, partition })),
    ...fields,
  } as unknown as CommitQuery;
  return commitProblem(of, query, topics);
}

describe('a commit', () => {
  it('of nobody is taken while there are no members', () => {
    assert.equal(commit({ generation: -1, memberId: '' }, [0], nobody), NONE);
    assert.equal(commit({ generation: 0, memberId: '' }, [0], nobody), UNKNOWN_MEMBER_ID);
    assert.equal(commit({ generation: -1, memberId: '' }), UNKNOWN_MEMBER_ID);
    assert.equal(commit({ generation: -1 }), STALE_MEMBER_EPOCH);
  });

  it('in a transaction needs no member, unless it names one in any way', () => {
    const producer = { producerId: 1, producerEpoch: 0 } as never;
    assert.equal(commit({ producer, generation: -1, memberId: '' }), NONE);
    assert.equal(commit({ producer, generation: 0, memberId: '' }), UNKNOWN_MEMBER_ID);
    assert.equal(commit({ producer, generation: -1, memberId: 'x' }), UNKNOWN_MEMBER_ID);
    assert.equal(commit({ producer, generation: -1, memberId: '', instanceId: 'i' }), UNKNOWN_MEMBER_ID);
    assert.equal(commit({ producer, generationOnly: true }), NONE);
  });

  it('of a member needs its epoch, or one at which it had the partitions already', () => {
    assert.equal(commit({}), NONE);
    assert.equal(commit({ memberId: 'x' }), UNKNOWN_MEMBER_ID);
    assert.equal(commit({ generation: 4 }), NONE);
    assert.equal(commit({ generation: 3 }), NONE);
    assert.equal(commit({ generation: 2 }), STALE_MEMBER_EPOCH);
    assert.equal(commit({ generation: 4 }, [0, 1]), STALE_MEMBER_EPOCH);
    assert.equal(commit({ generation: 4 }, [7]), STALE_MEMBER_EPOCH);
    assert.equal(commit({ generation: 6 }), STALE_MEMBER_EPOCH);
    assert.equal(commit({ generation: 0 }), STALE_MEMBER_EPOCH);
    assert.equal(commit({ generation: 0 }, []), STALE_MEMBER_EPOCH);
    assert.equal(commit({ generation: 1 }, []), NONE, 'nothing is committed');
    assert.equal(commit({ generation: 2, staleEpochCode: ILLEGAL_GENERATION }), ILLEGAL_GENERATION);
  });

  it('names its topic by id, too, and of an unknown one it had nothing', () => {
    const offsets = (topic: string, topicId: string | null) =>
      ({ generation: 4, offsets: [{ topic, topicId, partition: 0 }] }) as unknown as Partial<CommitQuery>;
    assert.equal(commit(offsets('', 'T')), NONE);
    assert.equal(commit(offsets('t', 'U')), STALE_MEMBER_EPOCH);
    assert.equal(commit(offsets('u', null)), STALE_MEMBER_EPOCH);
  });

  it('of an old version is for classic members only, who need their generation', () => {
    assert.equal(commit({ generationOnly: true }), UNSUPPORTED_VERSION);
    assert.equal(commit({ generationOnly: true, memberId: 'classic' }), NONE);
    assert.equal(commit({ generation: 4, memberId: 'classic' }), ILLEGAL_GENERATION);
  });
});

describe('a reader of offsets', () => {
  it('is nobody, or a member at its epoch', () => {
    for (const [memberId, memberEpoch, error] of [
      [null, -1, NONE],
      ['', -1, NONE],
      [null, 0, UNKNOWN_MEMBER_ID],
      ['', 0, UNKNOWN_MEMBER_ID],
      ['x', -1, UNKNOWN_MEMBER_ID],
      ['m', 5, NONE],
      ['m', 4, STALE_MEMBER_EPOCH],
      ['m', 6, STALE_MEMBER_EPOCH],
      ['m', -1, STALE_MEMBER_EPOCH],
      ['classic', 4, ILLEGAL_GENERATION],
      ['classic', 5, NONE],
    ] as const)
      assert.equal(readProblem(group, { memberId, memberEpoch }), error, `${memberId} ${memberEpoch}`);
  });
});

it('a refusal says who is unknown, or whose the instance is', () => {
  const who = { memberId: 'm', instanceId: 'i', groupId: 'g' };
  assert.deepEqual(memberRefusal(ErrorCode.FENCED_INSTANCE_ID, who), {
    errorCode: ErrorCode.FENCED_INSTANCE_ID,
    errorMessage: 'Instance id i belongs to another member than m.',
  });
  assert.deepEqual(memberRefusal(UNKNOWN_MEMBER_ID, who), {
    errorCode: UNKNOWN_MEMBER_ID,
    errorMessage: 'Member m is not a member of group g.',
  });
});
