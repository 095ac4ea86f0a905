/** Group services over one coordinator shard, and a way to send a request through its codec in any version. */
import type { CoordinatorPlace, GroupServices } from '../../../../src/coordinator/group/group-services.ts';
import type { ApiCodec } from '../../../../src/protocol/codec.ts';
import { Reader } from '../../../../src/protocol/reader.ts';
import { Writer } from '../../../../src/protocol/writer.ts';
import type { RequestContext, RequestHandler } from '../../../../src/requests/support/handler.ts';
import { Answer, type Rig, topicIds } from './fixtures.ts';

export const here: CoordinatorPlace = { errorCode: 0, nodeId: 1, host: 'broker', port: 9092 };

export function fakeServices(on: Rig, place: CoordinatorPlace = here): GroupServices {
  return {
    topics: {
      idOf: (name) => topicIds[name] ?? null,
      nameOf: (id) => Object.keys(topicIds).find((name) => topicIds[name] === id) ?? null,
      partitionsOf: (name) => (name in topicIds ? 10 : 0),
    },
    coordinator: on.shard,
    findCoordinator: (_kind, _key, _listener, done) => done(place),
  };
}

/** Sends the request as bytes in the given version and reads the answer from bytes. */
export function send<Req, ReqInput, Res, ResInput>(
  codec: ApiCodec<Req, ReqInput, Res, ResInput>,
  handler: RequestHandler<Req, ResInput>,
  version: number,
  input: ReqInput,
): Answer<Res> {
  const writer = new Writer();
  codec.encodeRequest(writer, input, version);
  const request = codec.decodeRequest(new Reader(Buffer.from(writer.written)), version);
  const context: RequestContext = {
    apiVersion: version,
    clientId: 'client',
    clientHost: '/127.0.0.1',
    connectionId: 1,
    listener: 'plain',
    principal: 'User:ANONYMOUS',
    may: () => true,
    close() {},
    whileParked() {},
  };
  const answer = new Answer<Res>();
  handler.handle(context, request, (response) => {
    if (response === null) throw new Error('no group request goes unanswered');
    const out = new Writer();
    codec.encodeResponse(out, response, version);
    answer.done(codec.decodeResponse(new Reader(Buffer.from(out.written)), version));
  });
  return answer;
}
