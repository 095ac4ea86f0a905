/**
 * From frame to handler and back: decodes the header, finds the handler of the API key, decodes the body, and encodes
 * the answer, whose record fields stay references into the arena. What is registered here is what ApiVersions
 * advertises, so claim and code cannot drift. Shard thread.
 */
import { RecordRanges } from '../log/partition-handle.ts';
import type { Connection, FrameHandler } from '../net/connection.ts';
import type { Reply } from '../net/replies.ts';
import type { Arena } from '../ports/arena.ts';
import type { Logger } from '../ports/logger.ts';
import { ProtocolDecodeError } from '../protocol/codec-errors.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { Reader } from '../protocol/reader.ts';
import { type RecordsHole, Writer } from '../protocol/writer.ts';
import type { RequestRouter } from './request-router.ts';
import { apiVersionsKey, writeAnswer } from './support/answer-frame.ts';
import type { Authorizer } from './support/authorizer.ts';
import type { AnyRequestHandler, CallerContext, RequestContext } from './support/handler.ts';

export interface ServedRange {
  readonly apiKey: number;
  readonly minVersion: number;
  readonly maxVersion: number;
}

export interface DispatcherDeps {
  readonly arena: Arena;
  readonly logger: Logger;
  readonly handlers: readonly AnyRequestHandler[];
  /** Null when this shard is alone. */
  readonly router: RequestRouter | null;
  readonly authorizer: Authorizer;
  readonly monotonic: () => number;
  readonly observe: {
    request(apiKey: number, version: number, bytes: number): void;
    /** Microseconds from frame to answer. */
    answered(apiKey: number, micros: number): void;
    failed(reason: string): void;
  };
}

export class Dispatcher implements FrameHandler {
  private readonly deps: DispatcherDeps;
  private readonly table: (AnyRequestHandler | undefined)[] = [];
  private readonly reader = new Reader(Buffer.alloc(0));
  private readonly writer = new Writer({ onRecords: (value) => value.byteLength });

  constructor(deps: DispatcherDeps) {
    this.deps = deps;
    for (const handler of deps.handlers) this.table[handler.codec.api.key] = handler;
  }

  /** What ApiVersions answers, by key. */
  static ranges(handlers: readonly AnyRequestHandler[]): ServedRange[] {
    return handlers
      .map((handler) => ({
        apiKey: handler.codec.api.key,
        minVersion: handler.advertisedMin ?? handler.minVersion ?? handler.codec.api.minVersion,
        maxVersion: handler.maxVersion ?? handler.codec.api.maxVersion,
      }))
      .sort((a, b) => a.apiKey - b.apiKey);
  }

  takeFrame(connection: Connection, position: number, length: number): boolean {
    const handler = this.table[this.deps.arena.view.getInt16(position)];
    return handler?.takeFrame?.(connection, position, length) === true;
  }

  onFrame(
    connection: Connection,
    buffer: Buffer,
    position: number,
    length: number,
    _inArena: boolean,
    reply: Reply,
  ): void {
    const apiKey = buffer.readInt16BE(position);
    const apiVersion = buffer.readInt16BE(position + 2);
    const correlationId = buffer.readInt32BE(position + 4);
    const handler = this.table[apiKey];
    if (handler === undefined) {
      reply.fail(`API key ${apiKey} is not served`);
      return;
    }
    const { api } = handler.codec;
    const min = handler.minVersion ?? api.minVersion;
    const max = handler.maxVersion ?? api.maxVersion;
    if (apiVersion < min || apiVersion > max) {
      if (apiKey === apiVersionsKey) this.refuseApiVersions(handler, correlationId, reply);
      else reply.fail(`${api.name} version ${apiVersion} is not served`);
      return;
    }
    const began = this.deps.monotonic();
    this.deps.observe.request(apiKey, apiVersion, length);
    try {
      const { reader } = this;
      reader.reset(buffer, position + 8, position + length);
      const flexible = apiVersion >= api.flexibleFrom;
      const clientId = reader.nullableString(false);
      if (flexible) reader.skipTags();
      const request = handler.codec.decodeRequest(reader, apiVersion);
      const { host: clientHost, listener, principal } = connection.peer;
      const { authorizer } = this.deps;
      const context: RequestContext = {
        apiVersion,
        clientId,
        clientHost,
        connectionId: connection.id,
        listener,
        principal,
        may: (operation, resource) => authorizer.may(context, operation, resource),
        close: (reason) => connection.close(reason),
        whileParked: (over) => reply.whileParked(over),
      };
      if (handler.patient !== true) connection.hurry();
      const answered = (): void => this.deps.observe.answered(apiKey, (this.deps.monotonic() - began) * 1000);
      const respond = (response: unknown): void => {
        answered();
        if (response === null) {
          reply.skip();
          return;
        }
        try {
          this.answer(handler, apiVersion, correlationId, response, reply);
        } catch (error) {
          this.fail(reply, api.name, error);
        }
      };
      const { router } = this.deps;
      if (handler.route === undefined || router === null) {
        handler.handle(context, request, respond);
        return;
      }
      const relay = (answer: Buffer): void => {
        answered();
        reply.send([answer], answer.length, null);
      };
      router.serve(handler, context, request, { buffer, position, length }, { respond, relay });
    } catch (error) {
      this.fail(reply, api.name, error);
    }
  }

  private fail(reply: Reply, name: string, error: unknown): void {
    if (error instanceof ProtocolDecodeError) {
      this.deps.observe.failed('decode');
      reply.fail(`${name} could not be decoded: ${error.message}`);
      return;
    }
    this.failedInside(name, error);
    reply.fail(`${name} failed inside the broker`);
  }

  private failedInside(name: string, error: unknown): void {
    this.deps.observe.failed('internal');
    this.deps.logger.error(`${name} failed`, {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }

  /** Serves a request that another shard forwarded; `done` gets the whole answer frame, or null when it failed. */
  serveForwarded(caller: CallerContext, frame: Buffer, done: (answer: Buffer | null) => void): void {
    // Only Produce with acks=0 closes its connection, and it is never forwarded as a frame.
    const context: RequestContext = {
      ...caller,
      may: (operation, resource) => this.deps.authorizer.may(caller, operation, resource),
      close() {},
      whileParked() {},
    };
    const handler = this.table[frame.readInt16BE(0)]!;
    const { api } = handler.codec;
    const correlationId = frame.readInt32BE(4);
    let open = true;
    const finish = (answer: Buffer | null): void => {
      if (!open) return;
      open = false;
      done(answer);
    };
    const failed = (error: unknown): void => {
      this.failedInside(api.name, error);
      finish(null);
    };
    try {
      const reader = new Reader(frame, 8, frame.length);
      reader.nullableString(false);
      if (context.apiVersion >= api.flexibleFrom) reader.skipTags();
      const request = handler.codec.decodeRequest(reader, context.apiVersion);
      handler.handle(context, request, (response) => {
        if (response === null) {
          finish(null);
          return;
        }
        try {
          finish(Buffer.from(this.encode(handler, context.apiVersion, correlationId, response)));
        } catch (error) {
          failed(error);
        }
      });
    } catch (error) {
      failed(error);
    }
  }

  /** Wire-notes §1: an unknown ApiVersions version gets a v0 body with the range of key 18 only. */
  private refuseApiVersions(handler: AnyRequestHandler, correlationId: number, reply: Reply): void {
    const { api } = handler.codec;
    const response = {
      errorCode: ErrorCode.UNSUPPORTED_VERSION,
      apiKeys: [
        {
          apiKey: apiVersionsKey,
          minVersion: handler.minVersion ?? api.minVersion,
          maxVersion: handler.maxVersion ?? api.maxVersion,
        },
      ],
    };
    this.answer(handler, 0, correlationId, response, reply);
  }

  private encode(
    handler: AnyRequestHandler,
    apiVersion: number,
    correlationId: number,
    response: unknown,
  ): Buffer {
    const { writer } = this;
    writeAnswer(writer, handler.codec, apiVersion, correlationId, response);
    return writer.written;
  }

  private answer(
    handler: AnyRequestHandler,
    apiVersion: number,
    correlationId: number,
    response: unknown,
    reply: Reply,
  ): void {
    const written = this.encode(handler, apiVersion, correlationId, response);
    const { holes } = this.writer;
    if (holes.length === 0) {
      const out = Buffer.from(written);
      reply.send([out], out.length, null);
      return;
    }
    this.sendScattered(Buffer.from(written), holes.slice(), reply);
  }

  private sendScattered(head: Buffer, holes: readonly RecordsHole[], reply: Reply): void {
    const chunks: Uint8Array[] = [];
    const ranges: RecordRanges[] = [];
    let from = 0;
    let bytes = head.length;
    for (const hole of holes) {
      if (hole.position > from) chunks.push(head.subarray(from, hole.position));
      from = hole.position;
      bytes += hole.length;
      if (hole.value instanceof RecordRanges) {
        ranges.push(hole.value);
        hole.value.chunks(chunks);
      } else if (hole.length > 0) {
        chunks.push(hole.value as Uint8Array);
      }
    }
    if (from < head.length) chunks.push(head.subarray(from));
    reply.send(chunks, bytes, () => {
      for (const range of ranges) range.release();
    });
  }
}
