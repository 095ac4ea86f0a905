/**
 * One life of a real broker (RunningBroker, inline deployment) in the simulated world: started, served, stopped, killed.
 * Production code and production order; only clock, randomness, bucket, disk and sockets are simulated.
 */
import { inspect } from 'node:util';
import { RunningBroker } from '../../src/broker/broker.ts';
import type { BrokerConfig } from '../../src/broker/broker-config.ts';
import { resolveSettings } from '../../src/config/settings.ts';
import { brokerConfig } from '../../src/embedded/settings-to-config.ts';
import type { EmbeddedMetadataOptions } from '../../src/metadata/embedded-metadata-store.ts';
import type { Authority } from '../../src/metadata/metadata-claim.ts';
import type { ClusterImage } from '../../src/metadata/metadata-store.ts';
import type { Dial } from '../../src/net/outgoing-socket.ts';
import { MillraceError } from '../../src/ports/errors.ts';
import type { LogFields, Logger } from '../../src/ports/logger.ts';
import { type CompactionPolicy, compactionDefaults } from '../../src/stream/compaction/compaction-policy.ts';
import type { CompactionLimits } from '../../src/stream/compaction/compaction-task.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { type SimDisk, SimVolumeFiles } from './sim-disk.ts';
import { SimListeners } from './sim-network.ts';
import { type SimBucket, SimStore } from './sim-store.ts';
import type { Life, SimWorld } from './world.ts';

export type WalShape =
  | { readonly kind: 'files' }
  | { readonly kind: 'shared' }
  | {
      readonly kind: 'objects';
      readonly batchBytes: number;
      readonly lingerMs: number;
      readonly inFlight: number;
    };

/** Sizes and rhythms of one seed. */
export interface Shape {
  /** Where the WAL is: files of the machine's disk, files that all machines reach, or objects in the bucket. */
  readonly wal: WalShape;
  readonly volumes: number;
  readonly walBytes: number;
  readonly walGrowth: { readonly initial: number; readonly chunk: number; readonly slice: number };
  readonly arenaSegments: number;
  readonly logCacheBytes: number;
  readonly blockCacheBytes: number;
  readonly uploadBytes: number;
  readonly uploadAgeMs: number;
  readonly lingerMs: number;
  readonly snapshotEntries: number;
  readonly putBytesMax: number;
  readonly partBytesMax: number;
  readonly ownObjectBytes: number;
  readonly compacts: boolean;
  readonly copyBytesMin: number;
  readonly fanIn: number;
  /** Records of the offsets log from which its coordinator may shorten it. */
  readonly offsetsSnapshotRecords: number;
}

const KiB = 1024;

/** A quarter has its WAL in the bucket, a sixth on a shared disk. Drawn apart: the other choices are the same for each kind. */
export function drawWal(random: SeededRandom): WalShape {
  const roll = random.below(100);
  if (roll >= 25) return { kind: roll < 42 ? 'shared' : 'files' };
  return {
    kind: 'objects',
    batchBytes: random.pick([32, 128, 4096]) * KiB,
    lingerMs: random.pick([0, 20, 250]),
    inFlight: random.pick([1, 4, 16]),
  };
}

export function drawShape(random: SeededRandom, wal: WalShape): Shape {
  const walBytes = random.pick([384, 512, 1024, 2048]) * KiB;
  const grows = random.chance(0.4);
  const initial = grows ? 192 * KiB : walBytes;
  const logCacheBytes = random.pick([256, 384, 768, 1536]) * KiB;
  return {
    wal,
    volumes: random.chance(0.25) ? 2 : 1,
    walBytes,
    walGrowth: { initial, chunk: 128 * KiB, slice: 32 * KiB },
    arenaSegments: 160,
    logCacheBytes,
    // A block of 1 MiB, the largest there is, must find a place.
    blockCacheBytes: random.pick([1280, 2048, 4096]) * KiB,
    uploadBytes: random.pick([32, 96, 192, 384]) * KiB,
    uploadAgeMs: random.pick([1_000, 3_000, 10_000]),
    lingerMs: random.pick([0, 0.5, 5]),
    snapshotEntries: random.pick([4, 15, 60, 1_000]),
    putBytesMax: random.pick([24, 96, 65_536]) * KiB,
    partBytesMax: 24 * KiB,
    ownObjectBytes: random.pick([16, 64, 65_536]) * KiB,
    compacts: random.chance(0.6),
    copyBytesMin: random.pick([16, 64]) * KiB,
    fanIn: random.pick([2, 3, 8]),
    offsetsSnapshotRecords: random.pick([30, 150, 10_000]),
  };
}

export const objectGraceMs = 20_000;

/** What a broker has besides because it is one of several. */
export interface SimMember {
  readonly node: number;
  readonly rack: string | null;
  /** Where the brokers come together, and how they ask each other, from this life on. */
  readonly authority: (options: EmbeddedMetadataOptions) => Promise<Authority>;
  readonly dial: Dial;
}

/** What an operator says at a start. */
export interface StartOptions {
  readonly abandonWals?: readonly string[];
  /** The last owner is dead, or shall be fenced. */
  readonly takeOver?: boolean;
}

/** Nothing here may depend on the machine that runs the simulation. */
export function configOf(
  shape: Shape,
  options: StartOptions = {},
  member: SimMember | null = null,
): BrokerConfig {
  const { abandonWals = [], takeOver = false } = options;
  const { wal } = shape;
  const { settings } = resolveSettings({
    profile: 'embedded',
    machine: { memoryBytes: 8 * 2 ** 30, cores: 2 },
    directory: '/',
    flags: [
      { name: 'store.url', value: 'memory:', origin: 'simulation' },
      { name: 'wal.url', value: ['memory:'], origin: 'simulation' },
      { name: 'offsets.topic.num.partitions', value: member === null ? 1 : 3, origin: 'simulation' },
      { name: 'transaction.state.log.num.partitions', value: 2, origin: 'simulation' },
    ],
  });
  const config = brokerConfig(settings, { hostname: 'simulated', cores: 2 }, { abandonWals, takeOver });
  const volume = member === null ? '/volumes/' : `/volumes/${member.node}-`;
  return {
    ...config,
    ...(member === null ? {} : { nodeId: member.node, rack: member.rack }),
    wals: Array.from({ length: shape.volumes }, (_, i) => ({
      ...config.wals[0]!,
      location: wal.kind === 'objects' ? 'store:' : `${wal.kind === 'shared' ? 'shared:' : ''}${volume}${i}`,
      capacityBytes: shape.walBytes,
      lingerMs: shape.lingerMs,
      ...(wal.kind === 'objects' ? { objects: wal } : {}),
    })),
    threads: 0,
    native: false,
    arena: { segmentBytes: 64 * KiB, segmentCount: shape.arenaSegments },
    logCacheBytes: shape.logCacheBytes,
    blockCacheBytes: shape.blockCacheBytes,
    receiveBytes: 2048 * KiB,
    journalEntries: 4096,
    uploadBytes: shape.uploadBytes,
    uploadAgeMs: shape.uploadAgeMs,
    autoCreateTopics: false,
    objectGraceMs,
    group: { ...config.group, snapshotRecordsMin: shape.offsetsSnapshotRecords },
    compaction: { ...config.compaction, enabled: shape.compacts, intervalMs: 4_000 },
    retentionCheckMs: 5_000,
    orphanSweep: { intervalMs: 15_000, graceMs: 40_000 },
    shutdownTimeoutMs: 30_000,
  };
}

/** The planner and the work it plans, at a thousandth of their size. */
function compactionOf(shape: Shape): {
  readonly policy: CompactionPolicy;
  readonly limits: CompactionLimits;
} {
  const { copyBytesMin, fanIn } = shape;
  return {
    policy: {
      ...compactionDefaults,
      copyBytesMin,
      runBytesMin: KiB,
      fanIn,
      smallFanIn: 2 * fanIn,
      goodRunBytes: 4 * KiB,
      streamObjectBytesMin: 4 * copyBytesMin,
      streamRunBytesMin: copyBytesMin,
      objectBytesMax: 1024 * KiB,
      bytesPerStreamMax: 256 * KiB,
      setBytesMax: 2048 * KiB,
    },
    limits: {
      copyBytesMin,
      copyPartBytesMax: 4 * copyBytesMin,
      runBytesMin: KiB,
      mergedRunBytesMin: KiB / 4,
      partBytes: 2 * copyBytesMin,
      windowBytes: 4 * 1024 * KiB,
    },
  };
}

export type Phase = 'starting' | 'serving' | 'stopping' | 'down';
export type Outcome = { readonly ok: true } | { readonly ok: false; readonly error: MillraceError | null };

const serviceStates: Readonly<Record<string, string>> = {
  Compaction: 'compacting',
  Retention: 'retaining',
  ObjectSweep: 'sweeping',
  OrphanSweep: 'sweeping',
};

/** Log lines that no fault excuses. */
const neverLogged = [/are missing between the objects and the write-ahead log/, /the upload loop failed/];

export class SimBroker {
  readonly world: SimWorld;
  readonly life: Life;
  readonly machine: string;
  readonly disk: SimDisk;
  readonly listeners: SimListeners;
  readonly member: SimMember | null;
  readonly bucket: SimBucket;
  phase: Phase = 'starting';
  broker: RunningBroker | null = null;
  failure: Error | null = null;
  /** Another broker was started to take over from it: that it is fenced is no surprise. */
  superseded = false;
  /** The model has been held against it once. */
  verified = false;
  /** Told of what it says that it gives up; `until` null = up to an end that nobody knows. */
  onGivingUp: (topic: string, partition: number, from: number, until: number | null) => void = () => {};
  readonly #store: SimStore;
  /** Told when the broker gives up by itself. */
  onFailed: () => void = () => {};

  constructor(
    life: Life,
    machine: string,
    disk: SimDisk,
    bucket: SimBucket,
    member: SimMember | null = null,
  ) {
    const { world } = life;
    this.world = world;
    this.life = life;
    this.member = member;
    this.listeners = new SimListeners(member === null ? 'simulated' : String(member.node));
    this.machine = machine;
    this.disk = disk;
    this.bucket = bucket;
    this.#store = new SimStore(bucket, this.life);
  }

  /** This broker alone does not reach the store. */
  set storeCut(cut: boolean) {
    this.#store.cut = cut;
  }

  /** Requests of this life that would change the bucket. */
  get puts(): number {
    return this.#store.puts;
  }

  /** Never rejects; `error` null says that the process was killed. */
  async start(shape: Shape, concern: number, options: StartOptions = {}): Promise<Outcome> {
    const { world, life } = this;
    const told = Object.keys(options).join(', ');
    world.trace(`${life.name} starts on ${this.machine}${told === '' ? '' : ` with ${told}`}`);
    const random = world.random(concern);
    const { member } = this;
    const started = RunningBroker.start(configOf(shape, options, member), {
      ...(member === null ? {} : { cluster: member.authority, dial: member.dial }),
      clock: world.clockOf(life),
      random,
      logger: this.#logger(),
      cpuMicros: () => 0,
      listeners: this.listeners,
      storage: {
        store: () => this.#store,
        host: this.machine,
        volumeFiles: new SimVolumeFiles(life, this.disk, this.machine),
        walGrowth: shape.walGrowth,
        snapshotEntries: shape.snapshotEntries,
        upload: { putBytesMax: shape.putBytesMax, partBytesMax: shape.partBytesMax, partsInFlight: 3 },
        compaction: compactionOf(shape),
        planLimits: { ownObjectBytes: shape.ownObjectBytes, sharedObjectBytesMax: 1 << 20 },
      },
    });
    const outcome = await Promise.race([
      started.then(
        (broker): { broker: RunningBroker } => ({ broker }),
        (error: unknown): { error: unknown } => ({ error }),
      ),
      life.died.then(() => null),
    ]);
    if (outcome === null) return { ok: false, error: null };
    if ('error' in outcome) {
      const { error } = outcome;
      world.trace(`${life.name} does not start: ${String(error)}`);
      this.end();
      if (!(error instanceof MillraceError)) {
        world.fail(
          `a start failed with ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        );
        return { ok: false, error: null };
      }
      return { ok: false, error };
    }
    this.broker = outcome.broker;
    this.phase = 'serving';
    world.trace(`${life.name} serves`);
    void this.broker.failed.then((error) => {
      this.failure = error;
      world.trace(`${life.name} failed: ${error.message}`);
      this.onFailed();
    });
    return { ok: true };
  }

  /** An orderly stop; the process ends with it. */
  async stop(): Promise<'clean' | 'unfinished' | 'killed'> {
    this.phase = 'stopping';
    this.world.trace(`${this.life.name} stops`);
    const outcome = await Promise.race([this.broker!.stop(), this.life.died.then(() => 'killed' as const)]);
    this.world.trace(`${this.life.name} stopped: ${outcome}`);
    this.end();
    return outcome;
  }

  /** The process is gone, whatever it was doing. */
  end(): void {
    if (this.phase === 'down') return;
    this.phase = 'down';
    this.life.kill();
    this.disk.processDied(this.life);
  }

  powerOff(): void {
    if (this.phase === 'down') return;
    this.phase = 'down';
    this.life.kill();
    // A shared disk stays up.
    if (this.disk.shared) this.disk.processDied(this.life);
    else this.disk.powerFailed();
  }

  get image(): ClusterImage | null {
    return this.broker === null ? null : this.broker['metadata'].image;
  }

  /** What the broker is at, for the coverage of faults. */
  state(): string {
    switch (this.phase) {
      case 'down':
        return 'down';
      case 'starting':
        return 'recovering';
      case 'stopping':
        return 'closing';
      case 'serving':
    }
    const { uploads } = this.broker as unknown as { uploads: { states: readonly { busy: unknown }[] } };
    if (uploads.states.some((state) => state.busy !== null)) return 'uploading';
    const { background } = this.broker as unknown as { background: readonly { running: unknown }[] };
    for (const service of background) {
      // A pass under way is a promise that has not settled; nothing else tells.
      if (inspect(service.running).includes('<pending>'))
        return serviceStates[service.constructor.name] ?? 'serving';
    }
    return 'serving';
  }

  #logger(): Logger {
    const line =
      (level: string) =>
      (message: string, fields: LogFields = {}): void => {
        if (this.life.dead) return;
        if (level !== 'debug')
          this.world.trace(`${this.life.name} ${level}: ${message} ${JSON.stringify(fields)}`);
        if (message === 'offsets given up') {
          const { topic, partition, from, until } = fields as Record<string, unknown>;
          const end = until === 'unknown' ? null : Number(until);
          this.onGivingUp(String(topic), Number(partition), Number(from), end);
        }
        if (neverLogged.some((pattern) => pattern.test(message)))
          this.world.fail(`the broker says: ${message} ${JSON.stringify(fields)}`);
      };
    return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
  }
}
