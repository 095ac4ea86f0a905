/**
 * A PeerConnection over sockets that come and go: opened by the first request, again after it has broken, closed when nobody
 * asks any more. Shard thread.
 *
 *     waiting | oldest … newest | ──── the wire is ready and has room ────► in flight ──► answered
 *         ▲                                                                    │
 *     send┘   no answer: its time is over, the wire broke, or could not be opened (then all that waits: look who is there now)
 *
 * What was in flight when the wire broke may have been done: it is never sent twice from here. Pauses between attempts double
 * with jitter, until a request is answered. Bounds: `waitingMax` requests wait; a request has `requestTimeoutMs` from `send`
 * to its answer; a wire whose answer is overdue is closed, since what is behind it would wait as well.
 */
import type { Dial } from '../net/outgoing-socket.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { PeerAddress, PeerConnection, PeerPurpose, PeerRequest } from './peer-connection.ts';
import { Wire, type WireIdentity } from './wire.ts';

export interface PeerTimes {
  /** Until the peer has said who it is. */
  readonly openTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly idleMs: number;
  readonly pauseMsMin: number;
  readonly pauseMsMax: number;
}

/**
 * An answer takes as long as a write of the peer's WAL, a second or two where that is in a slow store; a peer that says nothing for
 * longer is better asked anew, once it has been replaced. Brokers close what is idle after minutes: this side comes first.
 */
export const defaultPeerTimes: PeerTimes = {
  openTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  idleMs: 60_000,
  pauseMsMin: 50,
  pauseMsMax: 1_000,
};

/** Whoever batches has four requests of a kind under way at most, and no purpose has more than five kinds. */
export const waitingMax = 32;

export interface PeerObserver {
  asked(api: string): void;
  /** Microseconds from `send` to the answer; null: there was none. */
  answered(api: string, micros: number | null): void;
  connections(change: 1 | -1): void;
}

export interface PeerLineDeps {
  readonly address: PeerAddress;
  readonly purpose: PeerPurpose;
  readonly identity: () => WireIdentity;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly observe: PeerObserver;
  readonly times: PeerTimes;
}

interface Asked {
  readonly request: PeerRequest<unknown, unknown>;
  readonly since: number;
  readonly deadline: Timer;
  sent: boolean;
  settled: boolean;
}

export class PeerLine implements PeerConnection {
  readonly #deps: PeerLineDeps;
  readonly #waiting: Asked[] = [];
  #wire: Wire | null = null;
  #idle: Timer | null = null;
  #pause: Timer | null = null;
  /** Wires in a row that brought no answer. */
  #failures = 0;
  /** Requests that the peer does not know, of which the log has been told. */
  readonly #unknown = new Set<number>();
  #closed = false;

  constructor(deps: PeerLineDeps) {
    this.#deps = deps;
  }

  send<Input, Response>(request: PeerRequest<Input, Response>): void {
    const { clock, observe, times } = this.#deps;
    const { name } = request.codec.api;
    observe.asked(name);
    if (this.#closed || this.#waiting.length >= waitingMax) {
      observe.answered(name, null);
      request.done(null);
      return;
    }
    const asked: Asked = {
      request: request as unknown as PeerRequest<unknown, unknown>,
      since: clock.monotonic(),
      deadline: clock.after(times.requestTimeoutMs, () => this.#overdue(asked)),
      sent: false,
      settled: false,
    };
    this.#waiting.push(asked);
    this.#pump();
  }

  /** Does what can be done now. */
  #pump(): void {
    if (this.#closed) return;
    if (this.#waiting.length === 0) {
      if (this.#wire?.inFlight === 0) this.#restIdle();
      return;
    }
    this.#idle?.cancel();
    this.#idle = null;
    const wire = this.#wire;
    if (wire === null) {
      if (this.#pause === null) this.#open();
      return;
    }
    while (this.#waiting.length > 0 && wire.hasRoom()) this.#put(wire, this.#waiting.shift()!);
  }

  #put(wire: Wire, asked: Asked): void {
    const { codec, minVersion, input } = asked.request;
    const version = wire.versionFor(codec, minVersion);
    if (version < 0) {
      if (!this.#unknown.has(codec.api.key))
        this.#warn('another broker does not know a request of this one', { request: codec.api.name });
      this.#unknown.add(codec.api.key);
      this.#settle(asked, null);
      return;
    }
    asked.sent = true;
    try {
      wire.request(codec, version, input, (response) => {
        if (response !== null) this.#failures = 0;
        this.#settle(asked, response);
        this.#pump();
      });
    } catch (error) {
      this.#warn('a request to another broker could not be written', {
        request: codec.api.name,
        error: String(error),
      });
      this.#settle(asked, null);
    }
  }

  #open(): void {
    const { dial, clock, address, times, identity, observe } = this.#deps;
    observe.connections(1);
    const wire: Wire = new Wire({
      dial,
      clock,
      address,
      identity: identity(),
      openTimeoutMs: times.openTimeoutMs,
      onReady: () => this.#pump(),
      onClosed: (reason, wasReady) => this.#broken(wire, reason, wasReady),
    });
    this.#wire = wire;
  }

  #broken(wire: Wire, reason: string, wasReady: boolean): void {
    this.#deps.observe.connections(-1);
    if (this.#wire !== wire) return;
    this.#wire = null;
    const { clock, random, times, address, purpose } = this.#deps;
    const about = { node: address.node, host: address.host, port: address.port, purpose, reason };
    if (this.#failures === 0 && !wasReady) this.#warn('another broker cannot be reached', about);
    else this.#deps.logger.info('a connection to another broker was closed', about);
    const pauseMs = Math.min(times.pauseMsMax, times.pauseMsMin * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    this.#pause = clock.after(pauseMs * (0.5 + random.below(1_000) / 1_000), () => {
      this.#pause = null;
      this.#pump();
    });
    if (wasReady) return;
    for (const asked of this.#waiting.splice(0)) this.#settle(asked, null);
  }

  #overdue(asked: Asked): void {
    if (asked.settled) return;
    if (asked.sent) {
      this.#wire?.close(`no answer to ${asked.request.codec.api.name} in time`);
      return;
    }
    const at = this.#waiting.indexOf(asked);
    if (at >= 0) this.#waiting.splice(at, 1);
    this.#settle(asked, null);
  }

  #settle(asked: Asked, response: unknown): void {
    if (asked.settled) return;
    asked.settled = true;
    asked.deadline.cancel();
    const { observe, clock } = this.#deps;
    const micros = response === null ? null : (clock.monotonic() - asked.since) * 1_000;
    observe.answered(asked.request.codec.api.name, micros);
    asked.request.done(response);
  }

  #restIdle(): void {
    const { clock, times } = this.#deps;
    this.#idle?.cancel();
    this.#idle = clock.after(times.idleMs, () => {
      this.#idle = null;
      this.#letGo('idle');
    });
  }

  /** Ends the wire without a pause before the next one. */
  #letGo(reason: string): void {
    const wire = this.#wire;
    this.#wire = null;
    wire?.close(reason);
  }

  #warn(message: string, about: Readonly<Record<string, string | number>>): void {
    this.#deps.logger.warn(message, { node: this.#deps.address.node, ...about });
  }

  close(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#idle?.cancel();
    this.#pause?.cancel();
    this.#letGo(reason);
    for (const asked of this.#waiting.splice(0)) this.#settle(asked, null);
  }
}
