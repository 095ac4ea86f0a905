/**
 * The simulated etcd as one life of a broker reaches it: a dead life hears nothing any more, and what it had asked for is done or
 * not; a paused one hears later, in order. Its machine may be slow to reach etcd.
 */
import type {
  EtcdKv,
  Lease,
  LeaseId,
  RangeRequest,
  RangeResult,
  TxnRequest,
  TxnResult,
  Watch,
  WatchListener,
  WatchRequest,
} from '../../src/metadata/etcd/kv.ts';
import type { SimEtcd, SimEtcdClient } from '../support/sim-etcd.ts';
import type { Life } from './world.ts';

/** What was sent before a process died has reached etcd by then. */
const landsMs = 3_000;

export class LifeEtcd implements EtcdKv {
  readonly client: SimEtcdClient;
  readonly #life: Life;
  /** Held by the lease of the newest session. */
  lease: LeaseId | null = null;

  constructor(etcd: SimEtcd, life: Life) {
    this.#life = life;
    this.client = etcd.client();
    void life.died.then(() => life.world.after(landsMs, () => void this.client.close()));
  }

  range(request: RangeRequest): Promise<RangeResult> {
    return this.#call('range', () => this.client.range(request));
  }

  txn(request: TxnRequest): Promise<TxnResult> {
    return this.#call('txn', () => this.client.txn(request));
  }

  watch(request: WatchRequest, listener: WatchListener): Watch {
    let over = false;
    const tell = (fn: () => void): void => {
      this.#life.world.after(
        0,
        () => {
          if (!over) fn();
        },
        this.#life,
      );
    };
    const watch = this.client.watch(request, {
      events: (events) => tell(() => listener.events(events)),
      ended: (error) => tell(() => listener.ended(error)),
    });
    return {
      cancel: () => {
        over = true;
        watch.cancel();
      },
    };
  }

  async grant(ttlSeconds: number): Promise<Lease> {
    const lease = await this.#call('grant', () => this.client.grant(ttlSeconds));
    this.lease = lease.id;
    return lease;
  }

  keepAlive(lease: LeaseId): Promise<number> {
    return this.#call('keep alive', () => this.client.keepAlive(lease));
  }

  revoke(lease: LeaseId): Promise<void> {
    return this.#call('revoke', () => this.client.revoke(lease));
  }

  compact(revision: number): Promise<void> {
    return this.#call('compact', () => this.client.compact(revision));
  }

  close(): Promise<void> {
    return this.client.close();
  }

  #call<T>(what: string, ask: () => Promise<T>): Promise<T> {
    const life = this.#life;
    const { world } = life;
    return new Promise((resolve, reject) => {
      if (!life.boundary(`etcd ${what}`)) return;
      const settle = (fn: () => void): void => {
        world.after(
          0,
          () => {
            if (life.boundary('etcd answer')) fn();
          },
          life,
        );
      };
      ask().then(
        (value) => settle(() => resolve(value)),
        (error: unknown) => settle(() => reject(error)),
      );
    });
  }
}
