/**
 * One connection to another broker, from dialling to its end: Kafka's frames, each request with a correlation id, answers in
 * order. ApiVersions comes first; it says which versions the peer knows, and that it is the broker that was meant (KIP-1242).
 * Who this broker is the peer knows from its TLS certificate; an exchange of SASL would come between the two.
 *
 *     dialled ─► open ─► ApiVersions answered ─► ready ─► closed      any fault, and any answer that is not the next one, closes
 *
 * Bounds: `inFlightMax` requests without an answer (whoever sends asks `hasRoom`), `requestBytesMax` each, answers of up to
 * `answerBytesMax`. Time is the caller's business, but for the opening. Shard thread.
 */
import type { Dial, OutgoingSocket } from '../net/outgoing-socket.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { ApiVersionsCodec } from '../protocol/generated/api-versions.ts';
import { ErrorCode, errorName } from '../protocol/generated/errors.ts';
import { Reader } from '../protocol/reader.ts';
import { Writer } from '../protocol/writer.ts';
import { AnswerFrames } from './answer-frames.ts';
import type { AskedCodec, PeerAddress } from './peer-connection.ts';

/** Half of what a connection of the peer takes up at a time (net/connection.ts). */
export const inFlightMax = 8;
/** The largest is a batch of delivery states (state-batches.ts): 32 of up to 10,000 records, each with 23 bytes of its own. */
export const requestBytesMax = 8 * 1024 * 1024;
/** The largest answers a batch of such. */
export const answerBytesMax = 8 * 1024 * 1024;

const identityVersion = 5;
const software = { clientSoftwareName: 'millrace', clientSoftwareVersion: '1' } as const;

/** What this broker says of itself, and of whom it means. */
export interface WireIdentity {
  readonly clientId: string;
  readonly clusterId: string;
}

export interface WireDeps {
  readonly dial: Dial;
  readonly clock: Clock;
  readonly address: PeerAddress;
  readonly identity: WireIdentity;
  readonly openTimeoutMs: number;
  readonly onReady: () => void;
  /** Once. `wasReady` false: it could not be opened. Whoever waits for an answer was told before. */
  readonly onClosed: (reason: string, wasReady: boolean) => void;
}

interface Sent {
  readonly correlationId: number;
  readonly flexible: boolean;
  readonly decode: (body: Reader) => unknown;
  readonly take: (response: unknown) => void;
}

interface Range {
  readonly minVersion: number;
  readonly maxVersion: number;
}

export class Wire {
  readonly #deps: WireDeps;
  readonly #socket: OutgoingSocket;
  readonly #frames = new AnswerFrames(answerBytesMax);
  readonly #writer = new Writer({ bytesMax: requestBytesMax });
  readonly #opening: Timer;
  /** In the order of their answers. */
  #sent: Sent[] = [];
  #nextCorrelationId = 0;
  #versions: ReadonlyMap<number, Range> | null = null;
  #closed = false;

  constructor(deps: WireDeps) {
    this.#deps = deps;
    this.#opening = deps.clock.after(deps.openTimeoutMs, () => this.close('it took too long to open'));
    this.#socket = deps.dial(deps.address, {
      onOpen: () => this.#introduce(),
      onData: (bytes) => this.#receive(bytes),
      onClosed: (reason) => this.close(reason),
    });
  }

  get ready(): boolean {
    return this.#versions !== null && !this.#closed;
  }

  get inFlight(): number {
    return this.#sent.length;
  }

  hasRoom(): boolean {
    return this.ready && this.#sent.length < inFlightMax;
  }

  /** The newest version that both sides know; −1 where that is below `minVersion`. */
  versionFor(codec: AskedCodec<never, unknown>, minVersion: number): number {
    const { api } = codec;
    const range = this.#versions?.get(api.key);
    if (range === undefined) return -1;
    const version = Math.min(api.maxVersion, range.maxVersion);
    return version >= Math.max(minVersion, api.minVersion, range.minVersion) ? version : -1;
  }

  /** `take` gets the decoded answer, or null when the connection ends before it. @throws ProtocolEncodeError: nothing was sent. */
  request<Input, Response>(
    codec: AskedCodec<Input, Response>,
    version: number,
    input: Input,
    take: (response: Response | null) => void,
  ): void {
    const flexible = version >= codec.api.flexibleFrom;
    const correlationId = this.#nextCorrelationId;
    const writer = this.#writer;
    writer.reset();
    const sizeAt = writer.reserveInt32();
    writer.i16(codec.api.key);
    writer.i16(version);
    writer.i32(correlationId);
    writer.nullableString(this.#deps.identity.clientId, false);
    if (flexible) writer.uvarint(0);
    codec.encodeRequest(writer, input, version);
    writer.patchFrameLength(sizeAt);
    this.#nextCorrelationId = (correlationId + 1) & 0x7fffffff;
    this.#sent.push({
      correlationId,
      // Answers to ApiVersions have the plain header, whatever their version.
      flexible: flexible && codec.api.key !== ApiVersionsCodec.api.key,
      decode: (body) => codec.decodeResponse(body, version),
      take: take as (response: unknown) => void,
    });
    this.#socket.write(Buffer.from(writer.written));
  }

  #introduce(): void {
    const { identity, address } = this.#deps;
    const input = { ...software, clusterId: identity.clusterId, nodeId: address.node };
    this.request(ApiVersionsCodec, identityVersion, input, (response) => {
      if (response === null) return;
      if (response.errorCode !== ErrorCode.NONE) {
        const why =
          response.errorCode === ErrorCode.REBOOTSTRAP_REQUIRED
            ? 'another broker, or one of another cluster, is at this address'
            : `the peer refused to be introduced: ${errorName(response.errorCode)}`;
        this.close(why);
        return;
      }
      this.#versions = new Map(response.apiKeys.map(({ apiKey, ...range }) => [apiKey, range]));
      this.#opening.cancel();
      this.#deps.onReady();
    });
  }

  #receive(bytes: Buffer): void {
    const fault = this.#frames.push(bytes, (frame) => {
      this.#answer(frame);
      return !this.#closed;
    });
    if (fault !== null) this.close(fault);
  }

  #answer(frame: Buffer): void {
    const reader = new Reader(frame);
    const correlationId = reader.i32();
    const sent = this.#sent[0];
    if (sent === undefined || correlationId !== sent.correlationId) {
      this.close(`answer ${correlationId} came where ${sent?.correlationId ?? 'none'} was due`);
      return;
    }
    let response: unknown;
    try {
      if (sent.flexible) reader.skipTags();
      response = sent.decode(reader);
    } catch (error) {
      this.close(`an answer cannot be read: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    this.#sent.shift();
    sent.take(response);
  }

  close(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#opening.cancel();
    this.#socket.destroy();
    const lost = this.#sent;
    this.#sent = [];
    for (const { take } of lost) take(null);
    this.#deps.onClosed(reason, this.#versions !== null);
  }
}
