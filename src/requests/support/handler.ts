/**
 * CONTRACT of a request handler. One file per Kafka request; a handler knows nothing of sockets, threads or stores,
 * only of its decoded request and the services it was built with. Handlers run on the shard that owns the connection,
 * except those with a `route` (routing.ts), which run where their key is coordinated.
 */
import type { Connection } from '../../net/connection.ts';
import type { ApiDescription } from '../../protocol/codec.ts';
import type { Reader } from '../../protocol/reader.ts';
import type { Writer } from '../../protocol/writer.ts';
import type { Route } from '../routing.ts';
import type { AclOperation, Caller, Resource } from './authorizer.ts';

/** What travels with a request to another shard. */
export interface CallerContext extends Caller {
  readonly apiVersion: number;
  readonly clientId: string | null;
  /** Unique over the broker's life. */
  readonly connectionId: number;
  /** Listener the request came in on; Metadata answers with this listener's advertised address. */
  readonly listener: string;
}

/** Everything a handler may know of the caller. */
export interface RequestContext extends CallerContext {
  /** Whether the caller may do this; what depends on it is never kept for others. */
  may(operation: AclOperation, resource: Resource): boolean;
  /** Ends the connection, for requests that failed and have no answer to say so. */
  close(reason: string): void;
  /**
   * For a request whose answer may wait long (a parked fetch): `over` runs at most once, while it is not answered, when
   * a request behind it on the connection waits for its answer (`gone` false: answer now with what there is), or when
   * the connection has closed (`gone` true: let go of everything, nobody reads an answer).
   */
  whileParked(over: (gone: boolean) => void): void;
}

/** The part of a generated codec that serving needs; a generated `XCodec` fits. With a route it must be the whole one. */
export interface ServedCodec<Request, ResponseInput> {
  readonly api: ApiDescription;
  decodeRequest(reader: Reader, version: number): Request;
  encodeResponse(writer: Writer, input: ResponseInput, version: number): void;
}

export interface RequestHandler<Request, ResponseInput> {
  readonly codec: ServedCodec<Request, ResponseInput>;
  /** Versions served and advertised, where narrower than the codec's. */
  readonly minVersion?: number;
  readonly maxVersion?: number;
  /** Lowest version advertised where that is below what is served (Produce advertises 0 as Kafka does). */
  readonly advertisedMin?: number;
  /** Its requests wait for each other's parked answers; those of all other kinds end the waiting of parked ones. */
  readonly patient?: boolean;
  /**
   * Serves a request in its frame, which lies in the arena, by a reply that it queues itself. False: nothing was done, and the
   * request is decoded and handled.
   */
  takeFrame?(connection: Connection, position: number, length: number): boolean;
  /** Where requests are served that a coordinator answers; absent: here. */
  readonly route?: Route<Request, ResponseInput>;
  /**
   * Serves one request and calls `respond` exactly once, now or later; null sends no answer (Produce with acks=0).
   * Bytes fields of the request are views into the frame: they stay valid as long as they are referenced, except in
   * Produce, whose frame lies in the arena only while `handle` runs. A handler that throws costs the connection.
   */
  handle(context: RequestContext, request: Request, respond: (response: ResponseInput | null) => void): void;
}

/** A handler whose types are known only to itself, as the dispatch table holds it. */
// biome-ignore lint/suspicious/noExplicitAny: the table pairs each handler with its own codec
export type AnyRequestHandler = RequestHandler<any, any>;
