/**
 * What a broker has taken so far and how it is let go of, whenever that is: of a start that fails half way as of a stop. Each
 * thing is noted as it is made. Main thread.
 *
 *   timers ─► threads without work ─► (not clean: store) ─► deployment ─► metadata, authority ─► (clean: store) ─► volumes, locks
 *
 * Volumes and locks stay while a thread is inside a write that does not return: it may still reach its volume.
 */
import type { ObjectStore } from '../store/object-store.ts';
import type { SpawnedShard } from '../threads/shard/client.ts';
import type { Volume } from '../volumes/volume.ts';
import type { BrokerGround } from './broker-ground.ts';
import type { Deployment } from './deployment.ts';
import { inTime } from './in-time.ts';

/** A device that answers nothing must not hold up an end. */
const closeTimeoutMs = 5_000;

interface EndingMetadata {
  endDistribution(): void;
  close(): Promise<void>;
}

export class BrokerEnds {
  readonly #ground: BrokerGround;
  readonly #stops: (() => void)[] = [];
  readonly #locks: (() => void)[] = [];
  readonly #volumes: Volume[] = [];
  #spawned: readonly SpawnedShard[] = [];
  #store: ObjectStore | null = null;
  #deployment: Deployment | null = null;
  #metadata: EndingMetadata | null = null;
  #authority: { release(): Promise<void> } | null = null;
  #released: Promise<void> | null = null;

  constructor(ground: BrokerGround) {
    this.#ground = ground;
  }

  /** A thread is inside a call of a volume that does not return. */
  get stuck(): boolean {
    return (this.#deployment?.stuck() ?? false) || this.#ground.watch.outstanding > 0;
  }

  stop(stop: () => void): void {
    this.#stops.push(stop);
  }

  /** Works by itself: what it has under way fails with the store below it, and nothing of it begins any more. */
  service(service: { stop(): Promise<void> }): void {
    this.#stops.push(() => void service.stop().catch(() => {}));
  }

  lock(release: () => void): void {
    this.#locks.push(release);
  }

  /** Threads that the deployment has not taken yet. */
  spawned(threads: readonly SpawnedShard[]): readonly SpawnedShard[] {
    this.#spawned = threads;
    return threads;
  }

  store(store: ObjectStore): ObjectStore {
    this.#store = store;
    return store;
  }

  volumes(volumes: readonly Volume[]): readonly Volume[] {
    this.#volumes.push(...volumes);
    return volumes;
  }

  metadata<T extends EndingMetadata>(metadata: T): T {
    this.#metadata = metadata;
    return metadata;
  }

  authority<T extends { release(): Promise<void> }>(authority: T): T {
    this.#authority = authority;
    return authority;
  }

  deployment(deployment: Deployment): Deployment {
    this.#deployment = deployment;
    this.#spawned = [];
    return deployment;
  }

  release(clean: boolean): Promise<void> {
    this.#released ??= this.#release(clean);
    return this.#released;
  }

  async #release(clean: boolean): Promise<void> {
    const { clock, logger } = this.#ground.ports;
    for (const stop of this.#stops) stop();
    this.#metadata?.endDistribution();
    await Promise.all(this.#spawned.map((shard) => shard.terminate()));
    // Not a clean end: what the store has not answered by now is not waited for.
    if (!clean) await this.#store?.close().catch(() => {});
    const closed = await inTime(clock, closeTimeoutMs, this.#deployment?.close(clean));
    await inTime(
      clock,
      closeTimeoutMs,
      this.#metadata?.close().catch(() => {}),
    );
    await inTime(
      clock,
      closeTimeoutMs,
      this.#authority?.release().catch(() => {}),
    );
    if (clean) await this.#store?.close().catch(() => {});
    if (closed && !this.stuck) {
      for (const volume of this.#volumes) volume.release();
      for (const release of this.#locks) release();
      this.#ground.native.release();
    } else {
      // A write that is stuck may still reach its volume.
      logger.warn('a write-ahead log did not close in time; its lock is kept until this process ends');
    }
  }
}
