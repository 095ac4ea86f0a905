/** Share sessions of a shard (KIP-932): epochs, the bound, connections, and what is given back when they end. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SharePartitionName, SharePartitionsApi } from '../../../../src/log/share/share-api.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { ShareSession, ShareSessions } from '../../../../src/requests/support/share-session.ts';

function rig(sessionsMax = 10) {
  const calls: string[] = [];
  const shares = {
    release: (
      group: string,
      member: string,
      partitions: readonly SharePartitionName[],
      done: () => void,
    ): void => {
      calls.push(`release ${group} ${member} ${partitions.map(({ partition }) => partition).join()}`);
      done();
    },
    left: (group: string): void => void calls.push(`left ${group}`),
  } as unknown as SharePartitionsApi;
  const sessions = new ShareSessions(shares, sessionsMax);
  const open = (group: string, member: string, connection = 1): ShareSession => {
    const session = sessions.use(group, member, 0, connection, true);
    assert.ok(session instanceof ShareSession, `${session}`);
    return session;
  };
  return { sessions, calls, open };
}

describe('epochs of a share session', () => {
  it('are counted from 1; any other is refused and changes nothing', () => {
    const { sessions, open } = rig();
    const session = open('g', 'm');
    assert.equal(session.epoch, 1);
    for (const epoch of [1, 2, 3]) {
      for (const other of [epoch - 2, epoch + 1].filter((n) => n > 0))
        assert.equal(sessions.use('g', 'm', other, 1, true), ErrorCode.INVALID_SHARE_SESSION_EPOCH);
      assert.equal(sessions.use('g', 'm', epoch, 1, true), session);
    }
    assert.equal(session.epoch, 4);
  });

  it('go on with 1 after the largest', () => {
    const { sessions, open } = rig();
    const session = open('g', 'm');
    session.epoch = 0x7ffffffe;
    assert.equal(sessions.use('g', 'm', 0x7ffffffe, 1, true), session);
    assert.equal(session.epoch, 0x7fffffff);
    assert.equal(sessions.use('g', 'm', 0x7fffffff, 1, true), session);
    assert.equal(session.epoch, 1);
  });

  it('need a session, of that member in that group', () => {
    const { sessions, open } = rig();
    open('g', 'm');
    for (const [group, member] of [
      ['g', 'n'],
      ['h', 'm'],
      ['g","m', ''],
    ] as const)
      for (const epoch of [1, -1])
        assert.equal(sessions.use(group, member, epoch, 1, true), ErrorCode.SHARE_SESSION_NOT_FOUND);
  });

  it('of an acknowledgement cannot be the one that opens', () => {
    const { sessions, open } = rig();
    assert.equal(sessions.use('g', 'm', 0, 1, false), ErrorCode.INVALID_SHARE_SESSION_EPOCH);
    assert.equal(sessions.size, 0);
    const session = open('g', 'm');
    assert.equal(sessions.use('g', 'm', 0, 1, false), ErrorCode.INVALID_SHARE_SESSION_EPOCH);
    assert.ok(sessions.isOpen(session));
  });

  it('may say the end at any time', () => {
    const { sessions, open } = rig();
    const session = open('g', 'm');
    session.epoch = 77;
    assert.equal(sessions.use('g', 'm', -1, 1, false), session);
    assert.ok(sessions.isOpen(session), 'until it is ended');
  });
});

describe('the bound of share sessions', () => {
  it('refuses one more, but not one begun anew', () => {
    const { sessions, open } = rig(2);
    const old = open('g', 'm');
    open('g', 'n');
    assert.equal(sessions.use('h', 'm', 0, 1, true), ErrorCode.SHARE_SESSION_LIMIT_REACHED);
    const renewed = open('g', 'm', 2);
    assert.deepEqual([sessions.size, sessions.isOpen(old), sessions.isOpen(renewed)], [2, false, true]);
    sessions.end(renewed, () => {});
    open('h', 'm');
    assert.equal(sessions.size, 2);
  });
});

describe('a share session that ends', () => {
  it('gives back what its member holds, and the last of a group says so', () => {
    const { sessions, calls, open } = rig();
    const [one, other] = [open('g', 'm'), open('g', 'n')];
    one.add({ topicId: 't', partition: 3 });
    one.add({ topicId: 't', partition: 4 });
    let done = 0;
    sessions.end(one, () => done++);
    assert.deepEqual([calls.splice(0), done, sessions.size], [['release g m 3,4'], 1, 1]);
    sessions.end(other, () => done++);
    assert.deepEqual([calls.splice(0), done, sessions.size], [['release g n ', 'left g'], 2, 0]);
  });

  it('and was replaced meanwhile gives back, but ends no other', () => {
    const { sessions, calls, open } = rig();
    const old = open('g', 'm');
    const renewed = open('g', 'm');
    assert.deepEqual(calls, [], 'begun anew the member keeps what it has');
    sessions.end(old, () => {});
    assert.deepEqual(calls, ['release g m ']);
    assert.ok(sessions.isOpen(renewed));
    sessions.end(renewed, () => {});
    assert.deepEqual(calls.slice(1), ['release g m ', 'left g'], 'it was counted once');
  });

  it('ends with its connection: the one it was last used on, and none of another', () => {
    const { sessions, calls, open } = rig();
    open('g', 'a', 1);
    open('g', 'b', 1);
    open('g', 'c', 2);
    assert.ok(sessions.use('g', 'b', 1, 2, true) instanceof ShareSession);
    sessions.connectionClosed(3);
    assert.equal(sessions.size, 3);
    sessions.connectionClosed(1);
    assert.deepEqual(calls.splice(0), ['release g a ']);
    sessions.connectionClosed(1);
    assert.deepEqual(calls, []);
    sessions.connectionClosed(2);
    assert.deepEqual(calls, ['release g c ', 'release g b ', 'left g']);
    assert.equal(sessions.size, 0);
  });

  it('was taken over by another connection: the one before ends nothing', () => {
    const { sessions, open } = rig();
    const old = open('g', 'a', 1);
    const renewed = open('g', 'a', 2);
    sessions.connectionClosed(1);
    assert.deepEqual([sessions.isOpen(old), sessions.isOpen(renewed)], [false, true]);
  });
});

describe('partitions of a share session', () => {
  it('are kept once, in the order added; one that was served goes to the end', () => {
    const session = new ShareSession('g', 'm', 1);
    const order = (): string =>
      session.partitions.map(({ topicId, partition }) => topicId + partition).join(' ');
    for (const partition of [0, 1, 2, 0]) session.add({ topicId: 't', partition });
    session.add({ topicId: 'u', partition: 0 });
    assert.equal(order(), 't0 t1 t2 u0');
    session.served({ topicId: 't', partition: 0 });
    session.served({ topicId: 't', partition: 9 });
    assert.equal(order(), 't1 t2 u0 t0');
    session.remove('t', 2);
    session.remove('u', 7);
    assert.equal(order(), 't1 u0 t0');
  });
});
