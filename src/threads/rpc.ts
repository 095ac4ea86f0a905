/**
 * Calls between threads over a MessagePort, for lifecycle and control only (a structured clone and 35–170 µs are too
 * much per request). One closed set of message kinds; arguments and results must be structured-cloneable. When the other side
 * dies, every waiter fails at once.
 */
import type { MessagePort, Transferable } from 'node:worker_threads';
import { errorFromWire, errorToWire, MillraceError, type WireError } from '../ports/errors.ts';

type Message =
  | { readonly kind: 'call'; readonly id: number; readonly method: string; readonly args: readonly unknown[] }
  | { readonly kind: 'done'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly error: WireError };

/** What both MessagePort and Worker offer. */
export interface Port {
  postMessage(message: unknown, transfer?: readonly Transferable[]): void;
  on(event: 'message', listener: (message: unknown) => void): unknown;
}

/** Every method takes and gives cloneable values; void results are awaited too. */
export type RemoteApi<T> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;
};

export class PortRpc<Remote extends object> {
  private readonly port: Port;
  private readonly waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  private nextId = 1;
  private dead: Error | null = null;
  readonly remote: RemoteApi<Remote>;

  /** @param local methods that the other side may call; looked up by own or inherited name. */
  constructor(port: Port, local: object) {
    this.port = port;
    this.remote = new Proxy({} as RemoteApi<Remote>, {
      get: (_target, method) =>
        method === 'then' ? undefined : (...args: unknown[]) => this.call(String(method), args),
    });
    port.on('message', (message) =>
      this.onMessage(message as Message, local as Record<string, (...args: unknown[]) => unknown>),
    );
  }

  private call(method: string, args: readonly unknown[]): Promise<unknown> {
    if (this.dead !== null) return Promise.reject(this.dead);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.port.postMessage({ kind: 'call', id, method, args } satisfies Message);
    });
  }

  private onMessage(message: Message, local: Record<string, (...args: unknown[]) => unknown>): void {
    switch (message.kind) {
      case 'call':
        this.serve(message.id, message.method, message.args, local);
        return;
      case 'done': {
        const waiter = this.waiting.get(message.id);
        this.waiting.delete(message.id);
        waiter?.resolve(message.result);
        return;
      }
      case 'failed': {
        const waiter = this.waiting.get(message.id);
        this.waiting.delete(message.id);
        waiter?.reject(errorFromWire(message.error));
        return;
      }
    }
  }

  private serve(
    id: number,
    method: string,
    args: readonly unknown[],
    local: Record<string, (...args: unknown[]) => unknown>,
  ): void {
    const fn = local[method];
    const run = async (): Promise<unknown> => {
      if (typeof fn !== 'function')
        throw new MillraceError('internal', 'RPC_METHOD', `no method ${method} on this thread`);
      return fn.apply(local, args as unknown[]);
    };
    run().then(
      (result) => this.port.postMessage({ kind: 'done', id, result } satisfies Message),
      (error) => this.port.postMessage({ kind: 'failed', id, error: errorToWire(error) } satisfies Message),
    );
  }

  /** The other thread is gone: fails everything that waits, and all later calls. */
  fail(error: Error): void {
    this.dead = error;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}

export type { MessagePort };
