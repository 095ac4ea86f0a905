/** From frame to handler and back: who serves which version, what a handler is told, and what its failures cost. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RecordRanges } from '../../../src/log/partition-handle.ts';
import type { Connection } from '../../../src/net/connection.ts';
import type { Reply } from '../../../src/net/replies.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import type { AnyApiCodec } from '../../../src/protocol/codec.ts';
import { ApiVersionsCodec } from '../../../src/protocol/generated/api-versions.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { HeartbeatCodec } from '../../../src/protocol/generated/heartbeat.ts';
import { Reader } from '../../../src/protocol/reader.ts';
import { Writer } from '../../../src/protocol/writer.ts';
import { Dispatcher } from '../../../src/requests/dispatcher.ts';
import type { RequestRouter } from '../../../src/requests/request-router.ts';
import type { AnyRequestHandler, RequestContext } from '../../../src/requests/support/handler.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { decodeResponseHeader, encodeRequestFrame } from '../../support/request-headers.ts';

interface Told {
  sent: Buffer | null;
  skipped: boolean;
  failed: string | null;
  parked: ((gone: boolean) => void)[];
  after: (() => void) | null;
}

function frameOf(
  codec: AnyApiCodec,
  apiVersion: number,
  body: object,
  clientId: string | null = 'c',
): Buffer {
  const writer = new Writer();
  encodeRequestFrame(writer, codec, { apiKey: codec.api.key, apiVersion, correlationId: 77, clientId }, body);
  return Buffer.from(writer.written.subarray(4));
}

function rig(handlers: readonly AnyRequestHandler[], router: RequestRouter | null = null) {
  const arena = new HeapArena({ segmentBytes: 4_096, segmentCount: 2 });
  const seen: string[] = [];
  const errors: string[] = [];
  let now = 5;
  const dispatcher = new Dispatcher({
    arena,
    logger: { ...silentLogger, error: (text) => void errors.push(text) },
    handlers,
    router,
    authorizer: { may: ({ principal }, operation) => principal === 'User:a' && operation === 3 },
    monotonic: () => now,
    observe: {
      request: (key, version, bytes) => seen.push(`request ${key} ${version} ${bytes}`),
      answered: (key, micros) => seen.push(`answered ${key} ${micros}`),
      failed: (reason) => seen.push(`failed ${reason}`),
    },
  });
  let hurries = 0;
  const closed: string[] = [];
  const connection = {
    id: 9,
    peer: { host: '/h', listener: 'plain', principal: 'User:a' },
    hurry: () => void hurries++,
    close: (reason: string) => closed.push(reason),
  } as unknown as Connection;
  const serve = (frame: Buffer, before = 3): Told => {
    const told: Told = { sent: null, skipped: false, failed: null, parked: [], after: null };
    const reply: Reply = {
      send: (chunks, bytes, after) => {
        assert.equal(told.sent, null, 'once');
        told.sent = Buffer.concat(chunks);
        assert.equal(told.sent.length, bytes);
        told.after = after;
      },
      skip: () => {
        told.skipped = true;
      },
      fail: (reason) => {
        told.failed = reason;
      },
      whileParked: (over) => void told.parked.push(over),
    };
    // Frames lie anywhere in what was received.
    const buffer = Buffer.concat([Buffer.alloc(before, 0xee), frame, Buffer.alloc(3, 0xee)]);
    dispatcher.onFrame(connection, buffer, before, frame.length, false, reply);
    return told;
  };
  return {
    arena,
    dispatcher,
    serve,
    seen,
    errors,
    closed,
    hurries: () => hurries,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

function read(codec: AnyApiCodec, version: number, frame: Buffer): Record<string, unknown> {
  assert.equal(frame.readInt32BE(0), frame.length - 4);
  const reader = new Reader(frame, 4, frame.length);
  assert.equal(decodeResponseHeader(reader, codec.api.key, version), 77);
  const response = codec.decodeResponse(reader, version);
  assert.equal(reader.position, reader.end);
  return response as Record<string, unknown>;
}

/** An answer that fails as it is written. */
const unwritable = {
  get errorCode(): number {
    throw new Error('a bug');
  },
};
const beating = (handle: AnyRequestHandler['handle'], more: Partial<AnyRequestHandler> = {}) => ({
  codec: HeartbeatCodec,
  handle,
  ...more,
});
const beat = (version = 4): Buffer => frameOf(HeartbeatCodec, version, { groupId: 'g', memberId: 'm' });

describe('a request', () => {
  it('reaches its handler whole, in plain and in flexible versions, and its answer comes back', () => {
    for (const version of [0, 3, 4]) {
      const got: { context: RequestContext; request: { groupId: string } }[] = [];
      const on = rig([
        beating((context, request, respond) => {
          got.push({ context, request });
          respond({ errorCode: 27 });
        }),
      ]);
      const { sent } = on.serve(beat(version));
      assert.equal(read(HeartbeatCodec, version, sent!)['errorCode'], 27);
      const [{ context, request }] = got as [(typeof got)[0]];
      assert.equal(request.groupId, 'g');
      const { apiVersion, clientId, clientHost, connectionId, listener, principal } = context;
      assert.deepEqual(
        [apiVersion, clientId, clientHost, connectionId, listener, principal],
        [version, 'c', '/h', 9, 'plain', 'User:a'],
      );
      assert.equal(context.may(3, { type: 'topic', name: 't' }), true);
      assert.equal(context.may(4, { type: 'topic', name: 't' }), false);
      context.close('enough');
      assert.deepEqual(on.closed, ['enough']);
    }
  });

  it('is counted with its bytes, and answered in microseconds', () => {
    const pending: ((response: unknown) => void)[] = [];
    const on = rig([beating((_context, _request, respond) => void pending.push(respond))]);
    const frame = beat();
    const told = on.serve(frame);
    assert.deepEqual(on.seen, [`request 12 4 ${frame.length}`]);
    on.pass(2.5);
    pending[0]!({});
    assert.deepEqual(on.seen.slice(1), ['answered 12 2500']);
    assert.ok(told.sent !== null);
  });

  it('without an answer lets the next one pass', () => {
    const { skipped, sent } = rig([beating((_context, _request, respond) => respond(null))]).serve(beat());
    assert.deepEqual([skipped, sent], [true, null]);
  });

  it('ends the waiting of parked ones, unless its kind waits with them', () => {
    for (const patient of [undefined, false, true]) {
      const on = rig([
        beating((context) => context.whileParked(() => {}), patient === undefined ? {} : { patient }),
      ]);
      const { parked } = on.serve(beat());
      assert.deepEqual([on.hurries(), parked.length], [patient === true ? 0 : 1, 1]);
    }
  });

  it('of a key or version that is not served costs the connection', () => {
    const on = rig([beating((_context, _request, respond) => respond({}), { minVersion: 1, maxVersion: 3 })]);
    assert.equal(on.serve(beat(0)).failed, 'Heartbeat version 0 is not served');
    assert.equal(on.serve(beat(4)).failed, 'Heartbeat version 4 is not served');
    const unknown = beat(1);
    unknown.writeInt16BE(11, 0);
    assert.equal(on.serve(unknown).failed, 'API key 11 is not served');
    unknown.writeInt16BE(-1, 0);
    assert.equal(on.serve(unknown).failed, 'API key -1 is not served');
    assert.deepEqual(on.seen, []);
    for (const version of [1, 3]) assert.ok(on.serve(beat(version)).sent !== null);
  });

  it('that cannot be read costs the connection, and nobody serves it', () => {
    let served = 0;
    const on = rig([beating(() => void served++)]);
    const frame = beat();
    const told = on.serve(frame.subarray(0, frame.length - 4));
    assert.match(told.failed!, /^Heartbeat could not be decoded: /);
    assert.deepEqual([served, on.seen.at(-1), on.errors], [0, 'failed decode', []]);
  });

  it('whose handler throws costs the connection and is an error of the broker', () => {
    const on = rig([
      beating(() => {
        throw new Error('a bug');
      }),
    ]);
    assert.equal(on.serve(beat()).failed, 'Heartbeat failed inside the broker');
    assert.deepEqual([on.seen.at(-1), on.errors], ['failed internal', ['Heartbeat failed']]);
  });

  it('whose answer cannot be written does so, too, and once', () => {
    const on = rig([beating((_context, _request, respond) => respond(unwritable))]);
    const { failed, sent } = on.serve(beat());
    assert.deepEqual([failed, sent], ['Heartbeat failed inside the broker', null]);
    assert.deepEqual(on.errors, ['Heartbeat failed']);
  });

  it('of another shard goes by the router, where there is one and the kind has a route', () => {
    const routed: string[] = [];
    const router = {
      serve: (
        handler: AnyRequestHandler,
        _context: RequestContext,
        request: { groupId: string },
        frame: { buffer: Buffer; position: number; length: number },
        answer: { relay: (bytes: Buffer) => void },
      ) => {
        const key = frame.buffer.readInt16BE(frame.position);
        routed.push(`${handler.codec.api.name} ${request.groupId} ${key} ${frame.length}`);
        answer.relay(Buffer.from('there'));
      },
    } as unknown as RequestRouter;
    let here = 0;
    const handle: AnyRequestHandler['handle'] = (_context, _request, respond) => {
      here++;
      respond({});
    };
    const route = {} as NonNullable<AnyRequestHandler['route']>;
    const frame = beat();
    const on = rig([beating(handle, { route })], router);
    assert.equal(on.serve(frame).sent!.toString(), 'there');
    assert.deepEqual([routed, here], [[`Heartbeat g 12 ${frame.length}`], 0]);
    assert.equal(on.seen.at(-1), 'answered 12 0');
    rig([beating(handle)], router).serve(frame);
    rig([beating(handle, { route })], null).serve(frame);
    assert.deepEqual([routed.length, here], [1, 2]);
  });
});

describe('ApiVersions', () => {
  it('of an unknown version is answered in version 0, with its own range', () => {
    const on = rig([{ codec: ApiVersionsCodec, maxVersion: 3, handle: () => {} }]);
    const frame = frameOf(ApiVersionsCodec, 4, {});
    frame.writeInt16BE(99, 2);
    const { errorCode, apiKeys } = read(ApiVersionsCodec, 0, on.serve(frame).sent!);
    assert.equal(errorCode, ErrorCode.UNSUPPORTED_VERSION);
    const [range] = apiKeys as { apiKey: number; minVersion: number; maxVersion: number }[];
    assert.deepEqual([range!.apiKey, range!.minVersion, range!.maxVersion], [18, 0, 3]);
    assert.equal((apiKeys as unknown[]).length, 1);
  });

  it('keeps the plain header in every version', () => {
    const on = rig([
      { codec: ApiVersionsCodec, handle: (_context, _request, respond) => respond({ errorCode: 5 }) },
    ]);
    for (const version of [0, 3, 4])
      assert.equal(
        read(ApiVersionsCodec, version, on.serve(frameOf(ApiVersionsCodec, version, {})).sent!)['errorCode'],
        5,
      );
  });

  it('is told the ranges of all, by key', () => {
    const handle = (): void => {};
    assert.deepEqual(
      Dispatcher.ranges([
        { codec: ApiVersionsCodec, handle, minVersion: 1, advertisedMin: 0 },
        { codec: HeartbeatCodec, handle },
        { codec: FetchCodec, handle, minVersion: 5, maxVersion: 6 },
      ]),
      [
        { apiKey: 1, minVersion: 5, maxVersion: 6 },
        { apiKey: 12, minVersion: HeartbeatCodec.api.minVersion, maxVersion: HeartbeatCodec.api.maxVersion },
        { apiKey: 18, minVersion: 0, maxVersion: ApiVersionsCodec.api.maxVersion },
      ],
    );
  });
});

it('records of an answer are sent from where they lie, in their places, and let go when they have left', () => {
  let released = 0;
  const ranges: RecordRanges[] = [];
  const on = rig([
    {
      codec: FetchCodec,
      handle: (_context, _request, respond) => {
        const records = [null, 'aaa', 'bbbb', null].map((text, at) => {
          if (text === null) return Buffer.alloc(0);
          on.arena.buffer.write(text, at * 100);
          const range = new RecordRanges(on.arena, () => void released++);
          range.adopt(at * 100, text.length);
          ranges.push(range);
          return range;
        });
        const partitions = [...records, Buffer.from('cc')].map((each, partitionIndex) => ({
          partitionIndex,
          highWatermark: 1,
          records: each,
        }));
        respond({ responses: [{ topic: 't', partitions }] });
      },
    },
  ]);
  for (const version of [4, 12]) {
    released = 0;
    const told = on.serve(frameOf(FetchCodec, version, {}));
    const { responses } = read(FetchCodec, version, told.sent!) as {
      responses: { partitions: { records: Uint8Array | null }[] }[];
    };
    assert.deepEqual(
      responses[0]!.partitions.map(({ records }) => Buffer.from(records ?? []).toString()),
      ['', 'aaa', 'bbbb', '', 'cc'],
    );
    assert.equal(released, 0);
    told.after!();
    assert.equal(released, 2);
  }
});

it('a frame in the arena is taken by its handler, if that wants it', () => {
  const taken: number[] = [];
  const on = rig([
    beating(() => {}, {
      takeFrame: (_connection, position, length) => {
        taken.push(position, length);
        return length > 20;
      },
    }),
    { codec: FetchCodec, handle: () => {} },
  ]);
  const at = (key: number, length: number): boolean => {
    on.arena.buffer.writeInt16BE(key, 40);
    return on.dispatcher.takeFrame({} as Connection, 40, length);
  };
  assert.deepEqual([at(12, 21), at(12, 20), at(1, 30), at(99, 30)], [true, false, false, false]);
  assert.deepEqual(taken, [40, 21, 40, 20]);
});

describe('a request that another shard forwarded', () => {
  const caller = {
    principal: 'User:b',
    clientHost: '/x',
    apiVersion: 4,
    clientId: 'c',
    connectionId: 3,
    listener: 'l',
  };
  const forward = (handle: AnyRequestHandler['handle'], frame = beat()) => {
    const on = rig([beating(handle)]);
    const answers: (Buffer | null)[] = [];
    on.dispatcher.serveForwarded(caller, frame, (answer) => answers.push(answer));
    return { ...on, answers };
  };

  it('is answered with the whole frame', () => {
    let may = true;
    const { answers, seen } = forward((context, request, respond) => {
      assert.equal(request.groupId, 'g');
      context.close('nothing');
      context.whileParked(() => {});
      may = context.may(3, { type: 'topic', name: 't' });
      respond({ errorCode: 7 });
    });
    assert.equal(answers.length, 1);
    assert.equal(read(HeartbeatCodec, 4, answers[0]!)['errorCode'], 7);
    assert.equal(may, false, 'as the caller may');
    assert.deepEqual(seen, []);
  });

  it('is answered once, with nothing when it failed in any way', () => {
    const silent = forward((_context, _request, respond) => respond(null));
    assert.deepEqual([silent.answers, silent.errors], [[null], []]);
    const thrown = forward(() => {
      throw new Error('a bug');
    });
    assert.deepEqual([thrown.answers, thrown.errors], [[null], ['Heartbeat failed']]);
    const late = forward((_context, _request, respond) => {
      respond({});
      throw new Error('a bug behind the answer');
    });
    assert.deepEqual([late.answers.length, late.answers[0] !== null, late.errors.length], [1, true, 1]);
    const unwritten = forward((_context, _request, respond) => respond(unwritable));
    assert.deepEqual([unwritten.answers, unwritten.errors.length], [[null], 1]);
    const unreadable = forward(() => {}, beat().subarray(0, 12));
    assert.deepEqual([unreadable.answers, unreadable.seen], [[null], ['failed internal']]);
  });
});
