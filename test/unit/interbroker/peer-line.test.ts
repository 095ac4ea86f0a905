/** A connection to another broker against a scripted one: handshake, order, time, bounds, and every way to fail. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { defaultPeerTimes, PeerLine, waitingMax } from '../../../src/interbroker/peer-line.ts';
import { answerBytesMax, inFlightMax } from '../../../src/interbroker/wire.ts';
import { AddPartitionsToTxnCodec } from '../../../src/protocol/generated/add-partitions-to-txn.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { WriteTxnMarkersCodec } from '../../../src/protocol/generated/write-txn-markers.ts';
import { allApis, ScriptedPeer } from '../../support/scripted-peer.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const { openTimeoutMs, requestTimeoutMs, idleMs, pauseMsMin, pauseMsMax } = defaultPeerTimes;
const longestPauseMs = 1.5 * pauseMsMax;

let clock: VirtualClock;
let peer: ScriptedPeer;
let line: PeerLine;
let warnings: string[];
let connections: number;
let counts: { asked: number; answered: number; lost: number };

function lineWith(times: typeof defaultPeerTimes): PeerLine {
  return new PeerLine({
    address: { node: 3, host: 'there', port: 9093, tls: true },
    purpose: 'markers',
    identity: () => ({ clientId: 'broker-1', clusterId: 'the-cluster' }),
    dial: peer.dial,
    clock,
    random: new SeededRandom(1),
    logger: {
      debug() {},
      info() {},
      warn: (message) => void warnings.push(message),
      error: (message) => void warnings.push(message),
    },
    observe: {
      asked: () => void counts.asked++,
      answered: (_api, micros) => void (micros === null ? counts.lost++ : counts.answered++),
      connections: (change) => {
        connections += change;
      },
    },
    times,
  });
}

beforeEach(() => {
  clock = new VirtualClock();
  peer = new ScriptedPeer((fn) => clock.soon(fn));
  warnings = [];
  connections = 0;
  counts = { asked: 0, answered: 0, lost: 0 };
  line = lineWith(defaultPeerTimes);
});

/** Asks with a producer id by which the answer is known again; undefined while there is none. */
function ask(producerId: number): { answer: number | null | undefined } {
  const asked: { answer: number | null | undefined } = { answer: undefined };
  line.send({
    codec: WriteTxnMarkersCodec,
    minVersion: 2,
    input: { markers: [{ producerId, topics: [] }] },
    done: (response) => {
      assert.equal(asked.answer, undefined, 'told twice');
      asked.answer = response === null ? null : response.markers[0]!.producerId;
    },
  });
  return asked;
}

const echo: ScriptedPeer['onRequest'] = (request, connection) =>
  connection.answer(request, {
    markers: request.body.markers.map(({ producerId }: { producerId: number }) => ({
      producerId,
      topics: [],
    })),
  });

describe('a line to another broker', () => {
  it('introduces itself to the broker that it means, and asks in order over one connection', () => {
    peer.onRequest = echo;
    const asked = [ask(10), ask(11), ask(12)];
    clock.runSoon();
    assert.deepEqual(
      asked.map(({ answer }) => answer),
      [10, 11, 12],
    );
    assert.equal(peer.connections.length, 1);
    const [{ target, requests } = assert.fail()] = peer.connections;
    assert.deepEqual(target, { node: 3, host: 'there', port: 9093, tls: true });
    const [hello, ...others] = requests;
    assert.equal(hello!.apiKey, 18);
    assert.equal(hello!.apiVersion, 5);
    assert.equal(hello!.body.clusterId, 'the-cluster');
    assert.equal(hello!.body.nodeId, 3);
    assert.deepEqual(
      others.map(({ apiVersion, clientId }) => [apiVersion, clientId]),
      [
        [2, 'broker-1'],
        [2, 'broker-1'],
        [2, 'broker-1'],
      ],
    );
    assert.deepEqual(counts, { asked: 3, answered: 3, lost: 0 });
    assert.equal(connections, 1);
  });

  it('has so many requests in flight, sends the next with each answer, and refuses what it has no room for', () => {
    const asked = Array.from({ length: waitingMax }, (_, i) => ask(i));
    const tooMany = ask(999);
    assert.equal(tooMany.answer, null);
    clock.runSoon();
    const { requests } = peer.newest;
    assert.equal(requests.length, 1 + inFlightMax);
    echo(requests[1]!, peer.newest);
    assert.equal(asked[0]!.answer, 0);
    assert.equal(requests.length, 2 + inFlightMax);
    for (let i = 2; i < requests.length; i++) echo(requests[i]!, peer.newest);
    assert.deepEqual(
      asked.map(({ answer }) => answer),
      Array.from({ length: waitingMax }, (_, i) => i),
    );
  });

  it('reads answers that arrive byte by byte', () => {
    peer.onRequest = (request, connection) => {
      const frame = connection.frame(request, {
        markers: [{ producerId: request.body.markers[0].producerId, topics: [] }],
      });
      for (const byte of frame) connection.push(Buffer.from([byte]));
    };
    const asked = [ask(1), ask(2)];
    clock.runSoon();
    assert.deepEqual(
      asked.map(({ answer }) => answer),
      [1, 2],
    );
  });

  it('takes the newest version that both know, and asks nothing below what it needs', () => {
    peer.apis = allApis.map((api) => (api.apiKey === 27 ? { ...api, maxVersion: 1 } : api));
    const old = ask(1);
    clock.runSoon();
    assert.equal(old.answer, null);
    ask(2);
    clock.runSoon();
    assert.equal(warnings.length, 1, 'said once');
    let told: object | null | undefined;
    line.send({
      codec: AddPartitionsToTxnCodec,
      minVersion: 4,
      input: { transactions: [] },
      done: (response) => {
        told = response;
      },
    });
    clock.runSoon();
    const last = peer.newest.requests[peer.newest.requests.length - 1]!;
    assert.deepEqual([last.apiKey, last.apiVersion], [24, 5]);
    peer.newest.answer(last, { resultsByTransaction: [] });
    assert(told !== null && told !== undefined);
  });
});

describe('answers that are none', () => {
  const faults: Readonly<Record<string, (frame: Buffer) => Buffer>> = {
    'of another request': (frame) => {
      frame.writeInt32BE(frame.readInt32BE(4) + 1, 4);
      return frame;
    },
    'of an impossible size': (frame) => {
      frame.writeInt32BE(answerBytesMax + 1, 0);
      return frame;
    },
    'with a body that ends too early': (frame) => {
      frame.writeInt32BE(frame.length - 4 - 3, 0);
      return frame.subarray(0, -3);
    },
    'to nobody': (frame) => Buffer.concat([frame, frame]),
  };
  for (const [name, spoil] of Object.entries(faults))
    it(`${name} cost the connection; what waited goes over the next one`, () => {
      let spoilt = 0;
      peer.onRequest = (request, connection) => {
        if (spoilt++ > 0) return;
        clock.soon(() =>
          connection.push(spoil(connection.frame(request, { markers: [{ producerId: 0, topics: [] }] }))),
        );
      };
      const asked = Array.from({ length: inFlightMax + 2 }, (_, i) => ask(i));
      clock.runSoon();
      const first = name === 'to nobody' ? 0 : null;
      assert.equal(asked[0]!.answer, first);
      assert.equal(asked[1]!.answer, null);
      assert.equal(peer.connections[0]!.destroyed, true);
      // One more may have gone out with the first answer; the last had not.
      assert.equal(asked[inFlightMax + 1]!.answer, undefined);
      peer.onRequest = echo;
      clock.advance(longestPauseMs);
      assert.equal(peer.connections.length, 2);
      assert.equal(asked[inFlightMax + 1]!.answer, inFlightMax + 1);
      assert.equal(connections, 1);
    });
});

describe('time', () => {
  it('ends a request without an answer, with its connection and all that is in flight, never with one sent twice', () => {
    const first = ask(1);
    clock.runSoon();
    clock.advance(requestTimeoutMs / 2);
    const second = ask(2);
    clock.advance(requestTimeoutMs / 2 - 1);
    assert.equal(first.answer, undefined);
    clock.advance(1);
    assert.deepEqual([first.answer, second.answer], [null, null]);
    assert.equal(peer.newest.destroyed, true);
    peer.onRequest = echo;
    clock.advance(longestPauseMs);
    assert.equal(peer.connections.length, 1, 'nobody asks, nobody is dialled');
    const third = ask(3);
    clock.runSoon();
    assert.equal(third.answer, 3);
    assert.deepEqual(
      peer.newest.requests.slice(1).map(({ body }) => body.markers[0].producerId),
      [3],
    );
  });

  it('ends an opening that takes too long, whatever the peer does meanwhile, and all that waits for it', () => {
    peer.introduces = false;
    const asked = ask(1);
    clock.runSoon();
    const connection = peer.newest;
    // It drips bytes of an answer that never ends.
    for (const byte of [0, 0, 1, 0]) {
      clock.advance(openTimeoutMs / 5);
      connection.push(Buffer.from([byte]));
    }
    assert.equal(asked.answer, undefined);
    clock.advance(openTimeoutMs);
    assert.equal(asked.answer, null);
    assert.equal(connection.destroyed, true);
    assert.equal(warnings.length, 1);
  });

  it('ends a request that no connection could take in time', () => {
    for (let i = 0; i < inFlightMax; i++) ask(i);
    clock.runSoon();
    clock.advance(1_000);
    const waiting = ask(100);
    clock.advance(requestTimeoutMs - 1_000);
    assert.equal(peer.newest.destroyed, true, 'those in flight are late');
    assert.equal(waiting.answer, undefined, 'it waits for the next connection');
    peer.opens = false;
    clock.advance(999);
    assert.equal(waiting.answer, undefined);
    assert.equal(peer.connections.length, 2);
    clock.advance(1);
    assert.equal(waiting.answer, null);
  });

  it('closes a connection that nobody uses, and opens one when it is wanted again', () => {
    peer.onRequest = echo;
    ask(1);
    clock.runSoon();
    clock.advance(idleMs - 1);
    assert.equal(peer.newest.destroyed, false);
    ask(2);
    clock.advance(idleMs - 1);
    assert.equal(peer.newest.destroyed, false);
    clock.advance(1);
    assert.equal(peer.newest.destroyed, true);
    assert.equal(connections, 0);
    const third = ask(3);
    clock.runSoon();
    assert.equal(third.answer, 3, 'without a pause');
    assert.equal(peer.connections.length, 2);
    line.close('over');
    assert.equal(clock.timers, 0);
  });

  it('never closes one as idle that has a request in flight', () => {
    const slow = { ...defaultPeerTimes, requestTimeoutMs: 10 * idleMs };
    line = lineWith(slow);
    const asked = ask(1);
    clock.runSoon();
    clock.advance(5 * idleMs);
    assert.equal(peer.newest.destroyed, false);
    echo(peer.newest.requests[1]!, peer.newest);
    assert.equal(asked.answer, 1);
  });
});

describe('a peer that cannot be reached', () => {
  it('is dialled again after pauses that double, while somebody asks, and fails those who wait each time', () => {
    peer.opens = false;
    const dials: number[] = [];
    for (let i = 0; i < 12; i++) {
      const before = peer.connections.length;
      const asked = ask(i);
      while (peer.connections.length === before) clock.advance(1);
      dials.push(clock.monotonic());
      peer.newest.close('refused');
      assert.equal(asked.answer, null);
    }
    const pauses = dials.slice(1).map((at, i) => at - dials[i]!);
    for (const [i, pause] of pauses.entries()) {
      const nominal = Math.min(pauseMsMax, pauseMsMin * 2 ** i);
      assert(pause >= nominal / 2 && pause <= 1.5 * nominal + 2, `pause ${i} was ${pause} ms of ${nominal}`);
    }
    assert(new Set(pauses.slice(-6)).size > 1, 'no jitter');
    assert.equal(warnings.length, 1, 'said once in a row');
    peer.opens = true;
    peer.onRequest = echo;
    const last = ask(100);
    clock.advance(longestPauseMs);
    assert.equal(last.answer, 100);
    // An answer ends the row.
    peer.newest.close('reset');
    const again = ask(101);
    clock.advance(2 * pauseMsMin);
    assert.equal(again.answer, 101);
  });

  it('is not hammered when it accepts, introduces itself, and breaks at the first request', () => {
    peer.onRequest = (_request, connection) => connection.close('reset');
    for (let i = 0; i < 200; i++) {
      ask(i);
      clock.advance(50);
    }
    assert(peer.connections.length < 25, `${peer.connections.length} connections in 10 s`);
  });

  it('that is another broker, or one of another cluster, is told apart', () => {
    peer.introduces = false;
    const asked = ask(1);
    clock.runSoon();
    peer.newest.answer(peer.newest.requests[0]!, { errorCode: ErrorCode.REBOOTSTRAP_REQUIRED });
    assert.equal(asked.answer, null);
    assert.equal(peer.newest.destroyed, true);
    assert.equal(peer.newest.requests.length, 1);
  });

  it('leaves nothing behind when it is let go of in any state', () => {
    for (const state of ['opening', 'introducing', 'in flight', 'pausing', 'waiting'] as const) {
      peer.opens = state !== 'opening';
      peer.introduces = state !== 'introducing';
      const count = state === 'waiting' ? inFlightMax + 2 : 1;
      line = lineWith(defaultPeerTimes);
      const asked = Array.from({ length: count }, (_, i) => ask(i));
      clock.runSoon();
      if (state === 'pausing') {
        peer.newest.close('reset');
        asked.push(ask(5));
      }
      line.close('over');
      for (const { answer } of asked) assert.equal(answer, null, state);
      assert.equal(peer.newest.destroyed, true, state);
      assert.equal(ask(9).answer, null, state);
      assert.equal(clock.timers, 0, state);
    }
  });
});
