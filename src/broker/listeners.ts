/**
 * The broker's listening sockets, on the main thread. With the addon a connection is accepted here and its descriptor given
 * to a shard in turn; without it main is the only shard and takes the sockets itself. Ports are bound early, so that one
 * in use is told before anything is touched. Bounds: backlog, and sockets that came before the broker serves.
 */
import net from 'node:net';
import type { Acceptor, NativeBindings } from '../../native-bindings/contract.ts';
import { addressText, reachableText } from '../config/addresses.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { ShardDoor } from '../shard/shard-api.ts';
import type { ShardHost } from '../shard/shard-host.ts';
import { type AddressLimits, uncounted } from './address-limits.ts';
import type { ListenerConfig } from './broker-config.ts';

interface BoundListener {
  readonly config: ListenerConfig;
  port: number;
  /** Listening descriptor of the addon, -1 where Node listens. */
  readonly fd: number;
  acceptor: Acceptor | null;
  server: net.Server | null;
  /** Sockets that came before the broker serves; null once it does. */
  early: net.Socket[] | null;
}

/** Who takes connections once the broker serves. */
export interface ConnectionTakers {
  readonly shards: readonly ShardDoor[];
  /** The shard in this thread, where there is one. */
  readonly local: ShardHost | null;
}

const backlog = 1024;
/** Sockets kept per listener until the broker serves: what the kernel's backlog would hold. */
const earlyConnectionsMax = 1024;
/** Pause after the process ran out of descriptors. */
const resumeMs = 1000;

/** What a broker asks of its listening sockets. */
export interface BrokerListeners {
  bind(configs: readonly ListenerConfig[], native: NativeBindings | null): Promise<void>;
  address(name: string): string | null;
  endpoints(): Readonly<Record<string, { readonly host: string; readonly port: number }>>;
  serve(takers: ConnectionTakers, limits: AddressLimits | null): void;
  close(): void;
}

export class Listeners implements BrokerListeners {
  private readonly bound: BoundListener[] = [];
  private readonly clock: Clock;
  private readonly logger: Logger;
  private takers: ConnectionTakers = { shards: [], local: null };
  private limits: AddressLimits | null = null;
  private native: NativeBindings | null = null;
  private nextShard = 0;
  private closed = false;

  constructor(clock: Clock, logger: Logger) {
    this.clock = clock;
    this.logger = logger;
  }

  /** Binds all; nothing is taken yet. `native` is null where Node listens. Throws LISTENER_ADDRESS. */
  async bind(configs: readonly ListenerConfig[], native: NativeBindings | null): Promise<void> {
    this.native = native;
    for (const config of configs) {
      const listener = native === null ? await this.bindServer(config) : bindNative(config, native);
      this.bound.push(listener);
    }
  }

  private async bindServer(config: ListenerConfig): Promise<BoundListener> {
    const server = net.createServer({ noDelay: true });
    const listener: BoundListener = { config, port: 0, fd: -1, acceptor: null, server, early: [] };
    // Clients may come before the broker serves, as they do after a restart: they wait, as in the kernel's backlog.
    server.on('connection', (socket) => {
      if (listener.early === null) this.take(socket, config.name);
      else if (listener.early.length < earlyConnectionsMax) listener.early.push(socket.on('error', () => {}));
      else socket.destroy();
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(refusedAddress(config, error)));
      server.listen(config.port, config.host, backlog, resolve);
    });
    listener.port = (server.address() as net.AddressInfo).port;
    return listener;
  }

  /** Address that a listener is bound to, as this machine reaches it, or null if there is none of this name. */
  address(name: string): string | null {
    const listener = this.bound.find(({ config }) => config.name === name);
    return listener === undefined ? null : reachableText({ host: listener.config.host, port: listener.port });
  }

  /** What clients are told, by listener name, the first listener first. */
  endpoints(): Readonly<Record<string, { readonly host: string; readonly port: number }>> {
    return Object.fromEntries(
      this.bound.map(({ config, port }) => [
        config.name,
        { host: config.advertisedHost, port: config.advertisedPort === 0 ? port : config.advertisedPort },
      ]),
    );
  }

  /** From now on connections are taken. */
  serve(takers: ConnectionTakers, limits: AddressLimits | null): void {
    this.takers = takers;
    this.limits = limits;
    for (const listener of this.bound) {
      if (listener.fd >= 0) {
        this.accept(listener, this.native!);
        continue;
      }
      const early = listener.early ?? [];
      listener.early = null;
      for (const socket of early) if (!socket.destroyed) this.take(socket, listener.config.name);
    }
  }

  private take(socket: net.Socket, listener: string): void {
    const slot = this.admit(socket.remoteAddress ?? '');
    if (slot === null) socket.destroy();
    else this.takers.local!.connectSocket(socket, listener, slot);
  }

  /** Where a connection is counted; null: it is refused. */
  private admit(address: string): number | null {
    if (this.limits === null) return uncounted;
    const slot = this.limits.admit(address);
    if (slot === null)
      this.logger.debug('a connection was refused: its address has as many as it may', { address });
    return slot;
  }

  private accept(listener: BoundListener, native: NativeBindings): void {
    const { shards } = this.takers;
    listener.acceptor = native.createAcceptor(
      listener.fd,
      (fd, remote) => {
        const slot = this.admit(remote);
        if (slot === null) {
          native.closeFd(fd);
          return;
        }
        const shard = shards[this.nextShard++ % shards.length]!;
        shard
          .connect({ fd, host: `/${remote}`, listener: listener.config.name, slot })
          .catch((error: Error) => this.logger.warn('a connection was lost', { error: error.message }));
      },
      (code, dropped) => {
        this.logger.warn('connections were turned away', { code, dropped });
        if (dropped === 0) this.clock.after(resumeMs, () => listener.acceptor?.resume());
      },
    );
  }

  close(): void {
    for (const listener of this.bound) {
      // An acceptor owns its descriptor; a start that failed before there was one still has it.
      if (listener.acceptor === null && listener.fd >= 0 && !this.closed) this.native?.closeFd(listener.fd);
      listener.acceptor?.close();
      listener.acceptor = null;
      listener.server?.close();
      for (const socket of listener.early ?? []) socket.destroy();
    }
    this.closed = true;
  }
}

function bindNative(config: ListenerConfig, native: NativeBindings): BoundListener {
  try {
    const { fd, port } = native.listenTcp(config.host, config.port, backlog);
    return { config, port, fd, acceptor: null, server: null, early: null };
  } catch (error) {
    throw refusedAddress(config, error as Error);
  }
}

function refusedAddress({ host, port }: ListenerConfig, error: Error): MillraceError {
  return new MillraceError(
    'invalid',
    'LISTENER_ADDRESS',
    `cannot listen on ${addressText({ host, port })}: ${error.message}`,
  );
}
