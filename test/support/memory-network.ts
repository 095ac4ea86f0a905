/**
 * Connections between brokers of one process without sockets: what a broker dials is accepted by a shard of the other one, bytes
 * arrive in a later turn of the clock, in order. A test may look at each request and answer, and lose or hold it.
 *
 *     from ── request ── verdict ──► shard of `to`           deliver   as it is
 *      ▲                               │                     lose      the connection breaks before it arrives
 *      └────────── verdict ── answer ──┘                     hold      it waits, and what is behind it, until `release`
 *
 * A request that is held when its sender gives up is late: `arriveLate` has it arrive after all, long after its time.
 */
import type { Connection, Peer } from '../../src/net/connection.ts';
import type { Dial, OutgoingEvents } from '../../src/net/outgoing-socket.ts';
import { type Sender, type SmallAnswer, smallAnswerBytes, type Transport } from '../../src/net/transport.ts';

export type Verdict = 'deliver' | 'lose' | 'hold';

/** A broker of the network, by the host that it is registered under. */
export interface NetworkBroker {
  accept(peer: Peer, transport: Transport): Connection;
}

export class MemoryNetwork {
  /** Asked for each request with its API key, introductions included. */
  onRequest: (from: number, to: number, apiKey: number) => Verdict = () => 'deliver';
  /** The same for each answer, by whose request it is. */
  onAnswer: (from: number, to: number, apiKey: number) => Verdict = () => 'deliver';
  /** Requests delivered, by API key. */
  readonly delivered = new Map<number, number>();
  readonly #soon: (fn: () => void) => void;
  readonly #brokers = new Map<number, NetworkBroker>();
  readonly #links = new Set<MemoryLink>();
  #late: (() => void)[] = [];

  constructor(soon: (fn: () => void) => void) {
    this.#soon = soon;
  }

  join(node: number, broker: NetworkBroker): void {
    this.#brokers.set(node, broker);
  }

  /** Its connections break, and nobody reaches it any more. */
  leave(node: number): void {
    this.#brokers.delete(node);
    for (const link of [...this.#links])
      if (link.from === node || link.to === node) link.break('the broker is gone');
  }

  /** What is held goes on its way. */
  release(): void {
    for (const link of [...this.#links]) link.release();
  }

  /** What was held when its sender gave up arrives now, to whoever is there still. */
  arriveLate(): number {
    const late = this.#late;
    this.#late = [];
    for (const arrive of late) arrive();
    return late.length;
  }

  isLate(arrive: () => void): void {
    this.#late.push(arrive);
  }

  count(apiKey: number): number {
    return this.delivered.get(apiKey) ?? 0;
  }

  /** For the broker `from`; hosts are node ids. */
  dial(from: number): Dial {
    return ({ host }, events) => {
      const to = Number(host);
      const link = new MemoryLink(this, this.#soon, from, to, events, () => this.#links.delete(link));
      this.#links.add(link);
      this.#soon(() => link.open(this.#brokers.get(to)));
      return { write: (bytes) => link.request(Buffer.from(bytes)), destroy: () => link.destroyed() };
    };
  }
}

class MemoryLink implements Transport {
  readonly from: number;
  readonly to: number;
  readonly #network: MemoryNetwork;
  readonly #soon: (fn: () => void) => void;
  readonly #events: OutgoingEvents;
  readonly #over: () => void;
  #connection: Connection | null = null;
  /** The dialling side, or the accepting side, has let go of it. */
  #dead = false;
  #held: { readonly requests: Buffer[]; readonly answers: Buffer[] } = { requests: [], answers: [] };
  /** API keys of the requests without an answer. */
  readonly #asked: number[] = [];
  #paused = false;
  #unread: Buffer[] = [];
  #sent = 0;

  constructor(
    network: MemoryNetwork,
    soon: (fn: () => void) => void,
    from: number,
    to: number,
    events: OutgoingEvents,
    over: () => void,
  ) {
    this.#network = network;
    this.#soon = soon;
    this.from = from;
    this.to = to;
    this.#events = events;
    this.#over = over;
  }

  open(broker: NetworkBroker | undefined): void {
    if (this.#dead) return;
    if (broker === undefined) {
      this.break('nobody listens');
      return;
    }
    const peer = { host: `/${this.from}`, listener: 'PLAINTEXT', principal: 'User:ANONYMOUS' };
    this.#connection = broker.accept(peer, this);
    this.#events.onOpen();
  }

  // ── The side that dialled ───────────────────────────────────────────────────────────────────────────────────────

  /** One frame, as the client writes them. */
  request(frame: Buffer): void {
    if (this.#dead) return;
    this.#soon(() => this.#passRequest(frame));
  }

  #passRequest(frame: Buffer): void {
    if (this.#dead) return;
    const apiKey = frame.readInt16BE(4);
    const verdict =
      this.#held.requests.length > 0 ? 'hold' : this.#network.onRequest(this.from, this.to, apiKey);
    if (verdict === 'lose') this.break('lost');
    else if (verdict === 'hold') this.#held.requests.push(frame);
    else this.#deliver(frame);
  }

  #deliver(frame: Buffer): void {
    const apiKey = frame.readInt16BE(4);
    this.#network.delivered.set(apiKey, this.#network.count(apiKey) + 1);
    this.#asked.push(apiKey);
    if (this.#paused) this.#unread.push(frame);
    else this.#connection!.onData(frame);
  }

  /** The dialling side is gone; what it sent before may arrive all the same. */
  destroyed(): void {
    if (this.#dead) return;
    const { requests } = this.#held;
    this.#held = { requests: [], answers: [] };
    this.#dead = true;
    this.#over();
    const connection = this.#connection;
    const end = (): void => connection?.onEnd();
    if (requests.length === 0) this.#soon(end);
    else
      this.#network.isLate(() => {
        for (const frame of requests) this.#deliver(frame);
        this.#soon(end);
      });
  }

  // ── The side that accepted ──────────────────────────────────────────────────────────────────────────────────────

  writeSmall(answer: SmallAnswer, sender: Sender): void {
    this.write([smallAnswerBytes(answer)], answer.bytes, sender);
  }

  write(chunks: readonly Uint8Array[], length: number, sender: Sender): void {
    const bytes = Buffer.concat(chunks);
    this.#sent += length;
    this.#soon(() => {
      sender.onTaken(length);
      if (this.#dead) return;
      const apiKey = this.#asked[0] ?? -1;
      for (let at = 0; at < bytes.length; at += 4 + bytes.readInt32BE(at)) this.#asked.shift();
      const isBehind = this.#held.answers.length > 0;
      const verdict = isBehind ? 'hold' : this.#network.onAnswer(this.from, this.to, apiKey);
      if (verdict === 'lose') this.break('lost');
      else if (verdict === 'hold') this.#held.answers.push(bytes);
      else this.#events.onData(bytes);
    });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#soon(() => {
      for (const frame of this.#unread.splice(0)) this.#deliver(frame);
    });
  }

  end(): void {
    this.destroy();
  }

  destroy(): void {
    if (!this.#dead) this.#soon(() => this.break('closed by the peer'));
  }

  bytesSent(): number {
    return this.#sent;
  }

  // ── Faults ──────────────────────────────────────────────────────────────────────────────────────────────────────

  break(reason: string): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#over();
    const connection = this.#connection;
    this.#soon(() => connection?.onEnd());
    this.#events.onClosed(reason);
  }

  release(): void {
    const { requests, answers } = this.#held;
    this.#held = { requests: [], answers: [] };
    for (const frame of requests) if (!this.#dead) this.#deliver(frame);
    for (const bytes of answers) if (!this.#dead) this.#events.onData(bytes);
  }
}
