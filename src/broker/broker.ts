/**
 * One broker that serves, until it is stopped or fails, on the main thread. Its start is broker-start.ts. A stop goes the other way:
 * give what others will take → answer → wait for the WALs → upload all and close every partition → clean.
 */

import type { Ownership } from '../ownership/ownership.ts';
import type { UploadCoordinator } from '../ownership/upload-coordinator.ts';
import type { OperatorAnswer } from '../ports/cluster-reports.ts';
import { MillraceError } from '../ports/errors.ts';
import { keepAlive } from '../threads/adapters/keep-alive.ts';
import { storeStats } from '../threads/adapters/thread-store.ts';
import type { BackgroundService } from '../upkeep/background-service.ts';
import { Compaction } from '../upkeep/compaction.ts';
import { LogCleaner } from '../upkeep/log-cleaner.ts';
import { OrphanSweep } from '../upkeep/orphan-sweep.ts';
import type { Volume } from '../volumes/volume.ts';
import { housekeepingNumbers } from './background.ts';
import type { BrokerConfig } from './broker-config.ts';
import { BrokerEnds } from './broker-ends.ts';
import { BrokerGround } from './broker-ground.ts';
import type { BrokerNumbers } from './broker-numbers.ts';
import type { BrokerPorts } from './broker-ports.ts';
import { type BrokerParts, startBroker } from './broker-start.ts';
import type { ClusterRole } from './cluster-role.ts';
import type { Deployment } from './deployment.ts';
import { inTime } from './in-time.ts';
import type { MetadataDistributor } from './metadata-distributor.ts';
import { StopProgress } from './stop-progress.ts';
import { storedBytes } from './stored-bytes.ts';

/** The longest that requests under way are waited for. */
const drainMsMax = 5_000;
const closeRetryMs = 500;

export class RunningBroker {
  readonly config: BrokerConfig;
  readonly native: boolean;
  /** Rejects never; resolves with the reason when the broker failed and must be stopped. */
  readonly failed: Promise<Error>;
  private readonly ground: BrokerGround;
  private readonly ends: BrokerEnds;
  private readonly metadata: MetadataDistributor;
  private readonly volumes: readonly Volume[];
  private readonly deployment: Deployment;
  private readonly uploads: UploadCoordinator;
  private readonly ownership: Ownership;
  private readonly background: readonly BackgroundService[];
  private readonly cluster: ClusterRole | null;
  private readonly uploadTimes: Set<(ms: number) => void>;
  private stopping: Promise<'clean' | 'unfinished'> | null = null;
  private aborted = false;

  private constructor(
    ground: BrokerGround,
    ends: BrokerEnds,
    parts: BrokerParts,
    uploadTimes: Set<(ms: number) => void>,
  ) {
    this.config = ground.config;
    this.native = ground.native.native !== null;
    this.failed = ground.failed;
    this.ground = ground;
    this.ends = ends;
    this.metadata = parts.metadata;
    this.volumes = parts.volumes;
    this.deployment = parts.deployment;
    this.uploads = parts.uploads;
    this.ownership = parts.ownership;
    this.background = parts.background;
    this.cluster = parts.cluster;
    this.uploadTimes = uploadTimes;
  }

  /**
   * @param stopping ends a start that waits for what does not answer. A start that ends while a call of a volume is out
   * rejects with an error that is `stuck`.
   */
  static async start(
    config: BrokerConfig,
    ports: BrokerPorts,
    stopping?: AbortSignal,
  ): Promise<RunningBroker> {
    const ground = new BrokerGround(config, ports);
    const ends = new BrokerEnds(ground);
    const uploadTimes = new Set<(ms: number) => void>();
    const stop = (): void => ground.watch.stop();
    // Timers keep no process alive, and while it waits for a silent owner or for its store there may be nothing else.
    const letGo = keepAlive();
    stopping?.addEventListener('abort', stop);
    if (stopping?.aborted) stop();
    try {
      const parts = await startBroker(ground, ends, (ms) => {
        for (const told of uploadTimes) told(ms);
      });
      return new RunningBroker(ground, ends, parts, uploadTimes);
    } catch (error) {
      ground.listeners.close();
      await ends.release(false);
      throw ends.stuck && error instanceof Error ? Object.assign(error, { stuck: true }) : error;
    } finally {
      stopping?.removeEventListener('abort', stop);
      letGo();
    }
  }

  get clusterId(): string {
    return this.metadata.image.clusterId;
  }

  address(listener: string): string | null {
    return this.ground.listeners.address(listener);
  }

  /** A thread is inside a call of a volume that does not return: its lock is kept, and process.exit waits for it. */
  get stuck(): boolean {
    return this.ends.stuck;
  }

  /** Operators reach it there: told to the other brokers. */
  servesHttp(address: string): void {
    this.cluster?.servesHttp(address);
  }

  /** What an operator asks of the cluster; never rejects. */
  operate(method: string, path: string, query: URLSearchParams): Promise<OperatorAnswer> {
    if (this.cluster !== null) return this.cluster.desk.answer(method, path, query);
    const message = 'this broker has its store to itself: it is not one of a cluster';
    return Promise.resolve({ status: 409, body: { code: 'NO_CLUSTER', message } });
  }

  /** Has each upload's time told, for the metrics. */
  watchUploads(told: (ms: number) => void): void {
    this.uploadTimes.add(told);
  }

  /** Everything uploaded and recorded: the data directory is not needed any more. */
  stop(): Promise<'clean' | 'unfinished'> {
    this.stopping ??= this.close();
    return this.stopping;
  }

  private async close(): Promise<'clean' | 'unfinished'> {
    const { clock, logger } = this.ground.ports;
    const letGo = keepAlive();
    const { shutdownTimeoutMs } = this.config;
    this.uploads.hurry();
    await this.cluster?.leave(shutdownTimeoutMs / 2);
    this.ground.listeners.close();
    this.uploads.resetProgress();
    const progress = new StopProgress(clock, logger, shutdownTimeoutMs, () => this.uploads.progress);
    let clean = true;
    try {
      // A store that does not answer keeps a metadata commit trying for ever: the time given ends that, too.
      if (!(await inTime(clock, shutdownTimeoutMs, this.uploadAndClose(progress)))) {
        throw new MillraceError('unavailable', 'STOP_TIMEOUT', `not done within ${shutdownTimeoutMs} ms`);
      }
    } catch (error) {
      clean = false;
      this.aborted = true;
      logger.error('not everything could be uploaded; the write-ahead log stays open', {
        error: (error as Error).message,
      });
    }
    progress.end(clean);
    await this.ends.release(clean);
    letGo();
    return clean ? 'clean' : 'unfinished';
  }

  private async uploadAndClose(progress: StopProgress): Promise<void> {
    const { clock } = this.ground.ports;
    progress.phase = 'answering what is under way';
    await Promise.all(
      this.deployment.shards.map((shard) =>
        shard.drain(Math.min(drainMsMax, this.config.shutdownTimeoutMs / 4)),
      ),
    );
    progress.phase = 'waiting for the write-ahead log';
    await Promise.all(this.deployment.shards.map((shard) => shard.quiesce()));
    progress.phase = 'uploading';
    await this.cluster?.stop();
    await this.ownership.stop();
    await this.uploads.stop();
    await Promise.all(this.background.map((service) => service.stop()));
    for (;;) {
      try {
        await this.ownership.closeAll();
        // The data directory is not needed once the bucket alone says so.
        await this.metadata.persisted(this.metadata.image.revision);
        return await this.cluster?.gone();
      } catch (error) {
        if (this.aborted) throw error;
        await new Promise<void>((resolve) => clock.after(closeRetryMs, resolve));
      }
    }
  }

  /** Stops at once: nothing is uploaded, the WALs stay recorded as open. */
  async abort(): Promise<void> {
    this.aborted = true;
    const letGo = keepAlive();
    this.ground.listeners.close();
    await this.ends.release(false);
    letGo();
  }

  /** Numbers of all threads for the metrics page. */
  async metrics(): Promise<BrokerNumbers> {
    return {
      shards: await Promise.all(this.deployment.shards.map((shard) => shard.metrics())),
      wals: this.volumes.map((_volume, i) => this.deployment.walMetrics(i)),
      snapshots: await Promise.all(this.deployment.shards.map((shard) => shard.snapshot())),
      walWriteBuckets: this.volumes.map((_volume, i) => this.deployment.walWriteBuckets(i)),
      uploads: {
        uploads: this.uploads.uploads,
        uploadedBytes: this.uploads.uploadedBytes,
        uploadedObjects: this.uploads.uploadedObjects,
        failures: this.uploads.failures,
      },
      compaction: this.background.find((service) => service instanceof Compaction)?.numbers ?? null,
      cleaner: this.background.find((service) => service instanceof LogCleaner)?.numbers ?? null,
      orphans: this.background.find((service) => service instanceof OrphanSweep)!,
      housekeeping: housekeepingNumbers(this.background),
      cluster: this.cluster?.numbers ?? null,
      arena: {
        bytes: this.deployment.arena.segmentBytes * this.deployment.arena.segmentCount,
        freeBytes: this.deployment.arena.segmentBytes * this.deployment.arena.freeSegments(),
      },
      store: {
        stats: storeStats(this.ground.board),
        available: this.ground.health.available,
        uploadRate: this.ground.board.uploadRate,
        storedBytes: storedBytes(this.metadata.image),
        billed: this.config.storeUrl.startsWith('s3:'),
      },
    };
  }
}

export { storeOperations } from '../store/store-decorators.ts';
export { billingClasses, storeErrorCodes, storePurposes } from '../store/store-stats.ts';
