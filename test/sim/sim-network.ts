/**
 * Connections without sockets: what a client sends reaches the shard's connection as bytes, and answers come back as bytes,
 * each after a delay of its own, in order. A life that dies or closes takes its connections with it.
 */

import type { ListenerConfig } from '../../src/broker/broker-config.ts';
import type { BrokerListeners, ConnectionTakers } from '../../src/broker/listeners.ts';
import type { Connection } from '../../src/net/connection.ts';
import { type Sender, type SmallAnswer, smallAnswerBytes, type Transport } from '../../src/net/transport.ts';
import type { AnyApiCodec, ApiCodec } from '../../src/protocol/codec.ts';
import { Reader } from '../../src/protocol/reader.ts';
import { Writer } from '../../src/protocol/writer.ts';
import { decodeResponseHeader, encodeRequestFrame } from '../support/request-headers.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { Life, SimWorld } from './world.ts';

/** Stands for the kernel's listening sockets of one life. */
export class SimListeners implements BrokerListeners {
  readonly host: string;
  takers: ConnectionTakers | null = null;
  closed = false;
  #configs: readonly ListenerConfig[] = [];

  constructor(host = 'simulated') {
    this.host = host;
  }

  async bind(configs: readonly ListenerConfig[]): Promise<void> {
    this.#configs = configs;
  }

  address(name: string): string | null {
    return this.#configs.some((config) => config.name === name) ? `${this.host}:9092` : null;
  }

  endpoints(): Readonly<Record<string, { readonly host: string; readonly port: number }>> {
    return Object.fromEntries(this.#configs.map(({ name }) => [name, { host: this.host, port: 9092 }]));
  }

  serve(takers: ConnectionTakers): void {
    this.takers = takers;
  }

  close(): void {
    this.closed = true;
  }
}

export class ConnectionLost extends Error {
  constructor(why: string) {
    super(`the connection was lost: ${why}`);
  }
}

/** What clients ask their questions over: one connection, or as many as a cluster's brokers call for. */
export interface Requests {
  /** Why nothing can be asked any more; null = it can. */
  readonly over: ConnectionLost | null;
  /** Rejects with ConnectionLost when no answer came: what was asked for may have been done. */
  request<Q, QI, R, RI>(codec: ApiCodec<Q, QI, R, RI>, version: number, input: QI): Promise<R>;
  close(): void;
}

/** What lies between two ends. */
export interface Route {
  /** Runs it now, or, while the way is cut, once it is not any more: messages keep their order. */
  pass(message: () => void): void;
}

const openRoute: Route = { pass: (message) => message() };

interface Waiting {
  readonly take: (frame: Buffer) => void;
  readonly lose: (error: Error) => void;
}

const answerTimeoutMs = 20_000;

export class SimConnection implements Transport, Requests {
  readonly world: SimWorld;
  readonly life: Life;
  over: ConnectionLost | null = null;
  readonly #random: SeededRandom;
  readonly #there: Route;
  readonly #back: Route;
  readonly #peer: Connection;
  readonly #waiting: Waiting[] = [];
  readonly #unread: Buffer[] = [];
  #paused = false;
  #sent = 0;
  #correlationId = 0;
  #received: Buffer = Buffer.alloc(0);
  #arrivesAt = 0;
  #answersAt = 0;
  #takenAt = 0;

  constructor(
    world: SimWorld,
    life: Life,
    listeners: SimListeners,
    random: SeededRandom,
    there: Route = openRoute,
    back: Route = openRoute,
  ) {
    this.world = world;
    this.#there = there;
    this.#back = back;
    this.life = life;
    this.#random = random;
    const { takers } = listeners;
    if (takers === null || listeners.closed || life.dead || life.paused)
      throw new ConnectionLost('nobody listens');
    this.#peer = takers.local!.shard.accept(
      { host: '/simulated', listener: 'plain', principal: 'User:ANONYMOUS' },
      this,
    );
    life.died.then(() => this.#lose('the broker died'));
  }

  // ── Transport: the broker's side ────────────────────────────────────────────────────────────────────────────────

  write(chunks: readonly Uint8Array[], _bytes: number, sender: Sender): void {
    const bytes = Buffer.concat(chunks);
    this.#sent += bytes.length;
    this.#answersAt = Math.max(this.#answersAt, this.world.time + this.#delay());
    this.world.after(this.#answersAt - this.world.time, () => this.#back.pass(() => this.#receive(bytes)));
    this.#takenAt = Math.max(this.#takenAt, this.world.time + this.#delay() / 2);
    this.world.after(this.#takenAt - this.world.time, () => sender.onTaken(bytes.length), this.life);
  }

  writeSmall(answer: SmallAnswer, sender: Sender): void {
    this.write([smallAnswerBytes(answer)], answer.bytes, sender);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.world.after(0, () => this.#deliver(), this.life);
  }

  end(): void {
    this.destroy();
  }

  destroy(): void {
    this.world.after(this.#delay() * 4, () => this.#lose('closed by the broker'));
  }

  bytesSent(): number {
    return this.#sent;
  }

  // ── The client's side ───────────────────────────────────────────────────────────────────────────────────────────

  request<Q, QI, R, RI>(codec: ApiCodec<Q, QI, R, RI>, version: number, input: QI): Promise<R> {
    if (this.over !== null) return Promise.reject(this.over);
    this.world.operations++;
    const writer = new Writer();
    const correlationId = ++this.#correlationId;
    const header = { apiKey: codec.api.key, apiVersion: version, correlationId, clientId: 'simulated' };
    encodeRequestFrame(writer, codec as unknown as AnyApiCodec, header, input as object);
    const frame = Buffer.from(writer.detach().buffer);
    this.#arrivesAt = Math.max(this.#arrivesAt, this.world.time + this.#delay());
    this.world.after(this.#arrivesAt - this.world.time, () =>
      this.#there.pass(() => {
        this.#unread.push(frame);
        this.world.after(0, () => this.#deliver(), this.life);
      }),
    );
    return new Promise((resolve, reject) => {
      const timer = this.world.after(answerTimeoutMs, () => this.#lose('no answer in time'));
      this.#waiting.push({
        take: (frame) => {
          timer.cancel();
          const reader = new Reader(frame);
          const got = decodeResponseHeader(reader, codec.api.key, version);
          if (got !== correlationId) this.world.fail(`answer ${got} came where ${correlationId} was due`);
          resolve(codec.decodeResponse(reader, version));
        },
        lose: (error) => {
          timer.cancel();
          reject(error);
        },
      });
    });
  }

  close(): void {
    if (this.over !== null) return;
    this.#lose('closed');
    this.world.after(this.#delay(), () => this.#peer.onEnd(), this.life);
  }

  #delay(): number {
    return 0.05 + this.#random.below(100) / 100;
  }

  #deliver(): void {
    while (this.#unread.length > 0 && !this.#paused && !this.#peer.closed)
      this.#peer.onData(this.#unread.shift()!);
  }

  #receive(bytes: Buffer): void {
    if (this.over !== null) return;
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    while (this.#received.length >= 4) {
      const length = this.#received.readInt32BE(0);
      if (this.#received.length < 4 + length) break;
      const frame = this.#received.subarray(4, 4 + length);
      this.#received = this.#received.subarray(4 + length);
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.world.fail('an answer came to which there is no request');
      else waiting.take(frame);
    }
  }

  #lose(why: string): void {
    if (this.over !== null) return;
    this.over = new ConnectionLost(why);
    for (const waiting of this.#waiting.splice(0)) waiting.lose(this.over);
  }
}
