/**
 * What lies between the brokers of a cluster, and between them and their clients: ways that can be cut, in one direction or both,
 * and connections from broker to broker, in order, each message with a delay of its own.
 *
 *   node ─► node       a cut way keeps what is sent; when it heals, all of it arrives in order, unless an end has given up
 *   clients ─► node    node 0 stands for all clients
 *
 * Connections break with the life of an end, or by a fault.
 */
import type { Connection } from '../../src/net/connection.ts';
import type { Dial, OutgoingEvents } from '../../src/net/outgoing-socket.ts';
import { type Sender, type SmallAnswer, smallAnswerBytes, type Transport } from '../../src/net/transport.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { Route, SimListeners } from './sim-network.ts';
import type { Life, SimWorld } from './world.ts';

/** Stands for all clients. */
export const clientsNode = 0;

/** A broker that can be dialled. */
export interface Listening {
  readonly life: Life;
  readonly listeners: SimListeners;
}

class Way implements Route {
  /** Faults that cut it at present. */
  cuts = 0;
  #stuck: (() => void)[] = [];

  pass(message: () => void): void {
    if (this.cuts > 0) this.#stuck.push(message);
    else message();
  }

  heal(): void {
    if (--this.cuts > 0) return;
    for (const message of this.#stuck.splice(0)) message();
  }
}

export class BrokerNetwork {
  readonly world: SimWorld;
  readonly random: SeededRandom;
  /** Every message takes so many times longer. */
  slow = 1;
  /** Messages of brokers to brokers that arrived. */
  messages = 0;
  readonly #ways = new Map<string, Way>();
  readonly #listening = new Map<number, Listening>();
  readonly #links = new Set<BrokerLink>();

  constructor(world: SimWorld, random: SeededRandom) {
    this.world = world;
    this.random = random;
  }

  /** The broker that has this node id now. */
  listen(node: number, broker: Listening): void {
    this.#listening.set(node, broker);
  }

  at(node: number): Listening | undefined {
    return this.#listening.get(node);
  }

  way(from: number, to: number): Way {
    const name = `${from}>${to}`;
    let way = this.#ways.get(name);
    if (way === undefined) {
      way = new Way();
      this.#ways.set(name, way);
    }
    return way;
  }

  clientRoute(node: number): Route {
    return this.way(clientsNode, node);
  }

  clientAnswers(node: number): Route {
    return this.way(node, clientsNode);
  }

  /** Connections between two brokers break; what is on its way is lost. */
  reset(): number {
    const links = [...this.#links].filter(() => this.random.chance(0.5));
    for (const link of links) link.break('reset');
    return links.length;
  }

  delay(): number {
    return (0.05 + this.random.below(100) / 100) * this.slow;
  }

  /** For one life of the broker `from`; hosts are node ids. */
  dial(from: number, life: Life): Dial {
    return ({ host }, events) => {
      const link = new BrokerLink(this, from, Number(host), life, events, () => this.#links.delete(link));
      this.#links.add(link);
      return { write: (bytes) => link.send(Buffer.from(bytes)), destroy: () => link.destroyed() };
    };
  }
}

class BrokerLink implements Transport {
  readonly #network: BrokerNetwork;
  readonly #from: number;
  readonly #to: number;
  readonly #dialler: Life;
  readonly #events: OutgoingEvents;
  readonly #over: () => void;
  #acceptor: Life | null = null;
  #connection: Connection | null = null;
  #dead = false;
  #paused = false;
  #unread: Buffer[] = [];
  #sent = 0;
  #arrivesAt = 0;
  #answersAt = 0;

  constructor(
    network: BrokerNetwork,
    from: number,
    to: number,
    dialler: Life,
    events: OutgoingEvents,
    over: () => void,
  ) {
    this.#network = network;
    this.#from = from;
    this.#to = to;
    this.#dialler = dialler;
    this.#events = events;
    this.#over = over;
    this.#there(() => this.#open());
    void dialler.died.then(() => this.#gone());
  }

  send(bytes: Buffer): void {
    if (this.#dead) return;
    this.#there(() => {
      if (this.#connection === null) return;
      this.#network.messages++;
      this.#unread.push(bytes);
      this.#atAcceptor(() => this.#deliver());
    });
  }

  /** The dialling side has let go; what it sent before may arrive all the same. */
  destroyed(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#over();
    this.#there(() => this.#atAcceptor(() => this.#connection?.onEnd()));
  }

  break(reason: string): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#over();
    this.#unread = [];
    this.#atAcceptor(() => this.#connection?.onEnd());
    this.#network.world.after(0, () => this.#events.onClosed(reason), this.#dialler);
  }

  // ── Transport: the side that accepted ───────────────────────────────────────────────────────────────────────────

  write(chunks: readonly Uint8Array[], length: number, sender: Sender): void {
    const bytes = Buffer.concat(chunks);
    this.#sent += length;
    this.#network.world.after(this.#network.delay() / 2, () => sender.onTaken(length), this.#acceptor);
    this.#back(() => this.#events.onData(bytes));
  }

  writeSmall(answer: SmallAnswer, sender: Sender): void {
    this.write([smallAnswerBytes(answer)], answer.bytes, sender);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#atAcceptor(() => this.#deliver());
  }

  end(): void {
    this.destroy();
  }

  destroy(): void {
    this.#back(() => this.break('closed by the peer'));
  }

  bytesSent(): number {
    return this.#sent;
  }

  // ── What lies between ───────────────────────────────────────────────────────────────────────────────────────────

  #open(): void {
    if (this.#dead) return;
    const broker = this.#network.at(this.#to);
    const { takers = null, closed = true } = broker?.listeners ?? {};
    if (broker === undefined || takers === null || closed || broker.life.dead) {
      this.#back(() => this.break('nobody listens'));
      return;
    }
    this.#acceptor = broker.life;
    void broker.life.died.then(() => this.#back(() => this.break('the peer died')));
    this.#atAcceptor(() => {
      if (this.#dead) return;
      const peer = { host: `/${this.#from}`, listener: 'plain', principal: 'User:ANONYMOUS' };
      this.#connection = takers.local!.shard.accept(peer, this);
      this.#back(() => this.#events.onOpen());
    });
  }

  #gone(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#over();
    this.#there(() => this.#atAcceptor(() => this.#connection?.onEnd()));
  }

  #deliver(): void {
    while (this.#unread.length > 0 && !this.#paused && this.#connection?.closed === false)
      this.#connection.onData(this.#unread.shift()!);
  }

  #atAcceptor(fn: () => void): void {
    this.#network.world.after(0, fn, this.#acceptor);
  }

  /** From the dialling side to the other one, in order. */
  #there(message: () => void): void {
    const { world } = this.#network;
    this.#arrivesAt = Math.max(this.#arrivesAt, world.time + this.#network.delay());
    world.after(this.#arrivesAt - world.time, () => this.#network.way(this.#from, this.#to).pass(message));
  }

  /** And back. */
  #back(message: () => void): void {
    const { world } = this.#network;
    this.#answersAt = Math.max(this.#answersAt, world.time + this.#network.delay());
    world.after(this.#answersAt - world.time, () =>
      this.#network.way(this.#to, this.#from).pass(() => {
        world.after(
          0,
          () => {
            if (!this.#dead) message();
          },
          this.#dialler,
        );
      }),
    );
  }
}
