/**
 * The other end of connections that a broker dials, in the hands of a test: what came in as decoded requests, and what goes back
 * byte by byte. Introduces itself by itself unless told otherwise.
 */
import type { Dial, OutgoingEvents } from '../../src/net/outgoing-socket.ts';
import { API_TABLE } from '../../src/protocol/generated/api-keys.ts';
import { ApiVersionsCodec } from '../../src/protocol/generated/api-versions.ts';
import { Reader } from '../../src/protocol/reader.ts';
import { Writer } from '../../src/protocol/writer.ts';
import { apiCodec } from './api-codecs.ts';
import { decodeRequestHeader, encodeResponseFrame, type RequestHeader } from './request-headers.ts';

export interface ScriptedRequest extends RequestHeader {
  // biome-ignore lint/suspicious/noExplicitAny: of whatever API it is
  readonly body: any;
}

/** One connection, as the peer sees it. */
export class ScriptedConnection {
  readonly target: Parameters<Dial>[0];
  readonly requests: ScriptedRequest[] = [];
  /** Closed by the broker under test. */
  destroyed = false;
  readonly #events: OutgoingEvents;
  readonly #onRequest: (request: ScriptedRequest, connection: ScriptedConnection) => void;
  #received = Buffer.alloc(0);

  constructor(
    target: Parameters<Dial>[0],
    events: OutgoingEvents,
    onRequest: (request: ScriptedRequest, connection: ScriptedConnection) => void,
  ) {
    this.target = target;
    this.#events = events;
    this.#onRequest = onRequest;
  }

  open(): void {
    if (!this.destroyed) this.#events.onOpen();
  }

  take(bytes: Uint8Array): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    while (this.#received.length >= 4 && this.#received.length >= 4 + this.#received.readInt32BE(0)) {
      const size = this.#received.readInt32BE(0);
      const reader = new Reader(Buffer.from(this.#received.subarray(4, 4 + size)));
      this.#received = this.#received.subarray(4 + size);
      const header = decodeRequestHeader(reader);
      const body = apiCodec(header.apiKey)!.decodeRequest(reader, header.apiVersion);
      reader.expectEnd();
      const request = { ...header, body };
      this.requests.push(request);
      this.#onRequest(request, this);
    }
  }

  frame({ apiKey, apiVersion, correlationId }: RequestHeader, body: object): Buffer {
    const writer = new Writer();
    encodeResponseFrame(writer, apiCodec(apiKey)!, apiVersion, correlationId, body);
    return Buffer.from(writer.written);
  }

  answer(request: RequestHeader, body: object): void {
    this.push(this.frame(request, body));
  }

  push(bytes: Buffer): void {
    if (!this.destroyed) this.#events.onData(bytes);
  }

  close(reason = 'reset'): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.#events.onClosed(reason);
  }
}

/** All versions of all requests. */
export const allApis = API_TABLE.map(({ key, minVersion, maxVersion }) => ({
  apiKey: key,
  minVersion,
  maxVersion,
}));

export class ScriptedPeer {
  readonly connections: ScriptedConnection[] = [];
  /** What it says it knows. */
  apis: readonly { apiKey: number; minVersion: number; maxVersion: number }[] = allApis;
  /** False: connections stay closed until the test opens them. */
  opens = true;
  /** False: the test answers ApiVersions. */
  introduces = true;
  /** Asked for every request but ApiVersions. */
  onRequest: (request: ScriptedRequest, connection: ScriptedConnection) => void = () => {};
  readonly #soon: (fn: () => void) => void;

  constructor(soon: (fn: () => void) => void) {
    this.#soon = soon;
  }

  readonly dial: Dial = (target, events) => {
    const connection: ScriptedConnection = new ScriptedConnection(target, events, (request) => {
      if (request.apiKey !== ApiVersionsCodec.api.key) this.onRequest(request, connection);
      else if (this.introduces) this.#soon(() => connection.answer(request, { apiKeys: this.apis }));
    });
    this.connections.push(connection);
    if (this.opens) this.#soon(() => connection.open());
    return {
      write: (bytes) => {
        if (!connection.destroyed) connection.take(bytes);
      },
      destroy: () => {
        connection.destroyed = true;
      },
    };
  };

  get newest(): ScriptedConnection {
    return this.connections[this.connections.length - 1]!;
  }
}
