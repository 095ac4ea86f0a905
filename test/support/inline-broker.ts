/**
 * A broker that a test starts, crashes and starts again in its own thread, over a WAL in a temporary directory and a
 * store that outlives it. Everything between the broker and its storage goes through gates of that one life:
 *
 *   broker ── StoreGate ── store (memory or file)          cut:    nothing reaches the storage any more
 *          └─ DeviceGate ── WAL file                       outage: the store refuses puts
 *                                                          failing: the next WAL write fails
 * `events` lists, in order, what reached the storage: 'object', 'metadata', 'trim N', 'clean'.
 * A crash cuts both gates first, so that nothing of the broker's orderly end gets through.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { RunningBroker } from '../../src/broker/broker.ts';
import type { BrokerConfig } from '../../src/broker/broker-config.ts';
import type { BrokerPorts, StorageLayers } from '../../src/broker/broker-ports.ts';
import { embeddedSettings } from '../../src/embedded/index.ts';
import { brokerConfig } from '../../src/embedded/settings-to-config.ts';
import type { Clock, Timer } from '../../src/ports/clock.ts';
import { MillraceError } from '../../src/ports/errors.ts';
import type { LogFields, Logger, LogLevel } from '../../src/ports/logger.ts';
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import { batchBytesOf } from '../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../src/protocol/records/batch-reader.ts';
import type { MultipartUpload, ObjectStore, PutOptions } from '../../src/store/object-store.ts';
import { openStore } from '../../src/store/open-store.ts';
import { unavailable } from '../../src/store/store-errors.ts';
import type { WalDevice, WritePlan } from '../../src/stream/wal/wal-device.ts';
import { decodeSuperblock } from '../../src/stream/wal/wal-format.ts';
import { ringStartBytes } from '../../src/stream/wal/wal-limits.ts';
import { SystemClock } from '../../src/threads/adapters/system-clock.ts';
import { SystemRandom } from '../../src/threads/adapters/system-random.ts';
import { PassingStore } from './fault-store.ts';
import { crc32c } from './load/batches.ts';
import { patienceMs } from './patience.ts';
import { type Address, RawConnection } from './raw-client.ts';

const codecs = createCodecs();
let stores = 0;

/** The system's time, which a test may let jump ahead: what has come due then fires at once. */
export class JumpClock implements Clock {
  readonly #system = new SystemClock();
  #ahead = 0;
  readonly #pending = new Set<{ readonly due: number; readonly fire: () => void }>();

  now(): number {
    return this.#system.now() + this.#ahead;
  }

  monotonic(): number {
    return this.#system.monotonic() + this.#ahead;
  }

  boottime(): number {
    return this.#system.boottime() + this.#ahead;
  }

  after(delayMs: number, fn: () => void): Timer {
    const entry = {
      due: this.monotonic() + delayMs,
      fire: () => {
        if (!this.#pending.delete(entry)) return;
        timer.cancel();
        fn();
      },
    };
    const timer = this.#system.after(delayMs, entry.fire);
    this.#pending.add(entry);
    return {
      cancel: () => {
        this.#pending.delete(entry);
        timer.cancel();
      },
    };
  }

  soon(fn: () => void): void {
    this.#system.soon(fn);
  }

  jump(ms: number): void {
    this.#ahead += ms;
    const due = [...this.#pending].filter((entry) => entry.due <= this.monotonic());
    for (const entry of due.sort((a, b) => a.due - b.due)) entry.fire();
  }
}

export class StoreGate extends PassingStore {
  readonly events: string[];
  cut = false;
  outage = false;
  /** Keys of all puts asked for, refused ones included. */
  readonly puts: string[] = [];
  /** Runs before a put; throwing refuses it, and it may wait. */
  beforePut: (key: string) => Promise<void> | void = () => {};
  /** Runs after a put that took effect; throwing loses its answer. */
  afterPut: (key: string) => Promise<void> | void = () => {};

  constructor(inner: ObjectStore, events: string[]) {
    super(inner);
    this.events = events;
  }

  #check(what: string): void {
    if (this.cut) throw unavailable(what, 'the broker is gone');
  }

  override async put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    this.puts.push(key);
    this.#check(key);
    if (this.outage) throw unavailable(`put ${key}`, 'outage');
    await this.beforePut(key);
    this.#check(key);
    await this.inner.put(key, body, options);
    this.events.push(key.startsWith('data/') ? 'object' : key.startsWith('meta/log/') ? 'metadata' : key);
    await this.afterPut(key);
    this.#check(key);
  }

  override async multipart(key: string): Promise<MultipartUpload> {
    this.#check(key);
    if (this.outage) throw unavailable(`multipart ${key}`, 'outage');
    return this.inner.multipart(key);
  }

  override async get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    this.#check(key);
    return this.inner.get(key, range);
  }

  override async delete(keys: readonly string[]): Promise<void> {
    this.#check('delete');
    return this.inner.delete(keys);
  }

  override async close(): Promise<void> {}
}

export class DeviceGate implements WalDevice {
  readonly #inner: WalDevice;
  readonly #events: string[];
  readonly direct: boolean;
  cut = false;
  failing: Error | null = null;
  /** What fails is on the volume all the same. */
  landing = false;
  /** Writes wait here while set. */
  held: (() => void)[] | null = null;
  /** Writes under way. */
  writing = 0;
  #trimmed = -1;

  constructor(inner: WalDevice, events: string[]) {
    this.#inner = inner;
    this.#events = events;
    this.direct = inner.direct;
  }

  size(): number {
    return this.#inner.size();
  }

  write(plan: WritePlan, done: (error: Error | null) => void): void {
    if (this.held !== null) {
      this.held.push(() => this.write(plan, done));
      return;
    }
    const refusal = this.cut
      ? new MillraceError('unavailable', 'WAL_WRITE_FAILED', 'the broker is gone')
      : this.failing;
    if (refusal !== null) {
      if (this.landing && !this.cut) this.#inner.write(plan, () => done(refusal));
      else setImmediate(() => done(refusal));
      return;
    }
    if (plan.filePosition < ringStartBytes) {
      const superblock = decodeSuperblock(Buffer.from(plan.vector(0)), 0, crc32c);
      if (superblock !== null && superblock.trimSequence !== this.#trimmed) {
        if (this.#trimmed >= 0) this.#events.push(`trim ${superblock.trimSequence}`);
        this.#trimmed = superblock.trimSequence;
      }
      if (superblock?.clean) this.#events.push('clean');
    }
    this.writing++;
    this.#inner.write(plan, (error) => {
      this.writing--;
      done(this.cut ? new Error('the broker is gone') : error);
    });
  }

  release(): void {
    const held = this.held ?? [];
    this.held = null;
    for (const write of held) write();
  }

  read(into: Buffer, position: number): Promise<number> {
    return this.#inner.read(into, position);
  }

  reread(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    this.#inner.reread!(into, position, done);
  }

  peek(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    this.#inner.peek!(into, position, done);
  }

  sync(done: (error: Error | null) => void): void {
    this.#inner.sync(done);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

export interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

export interface BedOptions {
  /** Default: a store in memory that lives as long as this process. */
  readonly store?: 'memory' | 'file';
  readonly settings?: Readonly<Record<string, string | number | boolean | readonly string[]>>;
  /** Changes to what the settings gave. */
  readonly config?: Partial<BrokerConfig>;
  /** Below the bed's own gates. */
  readonly layers?: StorageLayers;
  /** Where brokers of a cluster come together, and the store that they share. */
  readonly cluster?: NonNullable<BrokerPorts['cluster']>;
  readonly storeUrl?: string;
  readonly scalingHook?: NonNullable<BrokerPorts['scalingHook']>;
}

/** One data directory, one store, and the lives of a broker over them. */
export class BrokerBed {
  /** Has `data` in it, and `store` where the store is of files. */
  readonly dir = mkdtempSync(join(tmpdir(), 'millrace-bed-'));
  readonly storeUrl: string;
  readonly events: string[] = [];
  readonly lines: LogLine[] = [];
  readonly options: BedOptions;
  clock = new JumpClock();
  broker!: RunningBroker;
  store!: StoreGate;
  devices: DeviceGate[] = [];
  #connections: RawConnection[] = [];
  #running = false;

  constructor(options: BedOptions = {}) {
    this.options = options;
    this.storeUrl =
      options.storeUrl ??
      (options.store === 'file'
        ? pathToFileURL(join(this.dir, 'store')).href
        : `memory:bed-${process.pid}-${++stores}`);
  }

  get dataDir(): string {
    return join(this.dir, 'data');
  }

  config(changes: Partial<BrokerConfig> = {}): BrokerConfig {
    const settings = embeddedSettings({
      'data.dir': this.dataDir,
      'store.url': this.storeUrl,
      'wal.url': pathToFileURL(join(this.dataDir, 'wal')).href,
      'wal.capacity': '32MiB',
      'offsets.topic.num.partitions': 2,
      'upload.age.ms': 86_400_000,
      ...this.options.settings,
    });
    return {
      ...brokerConfig(settings, { hostname: 'localhost', cores: 2 }, { abandonWals: [] }),
      ...this.options.config,
      ...changes,
    };
  }

  /** The store without any gate. */
  openStore(): Promise<ObjectStore> {
    return openStore(this.storeUrl, { clock: this.clock, random: new SystemRandom(), crc32c });
  }

  logger(): Logger {
    const line =
      (level: LogLevel) =>
      (message: string, fields: LogFields = {}): void => {
        this.lines.push({ level, message, fields });
      };
    return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
  }

  async start(changes: Partial<BrokerConfig> = {}): Promise<RunningBroker> {
    this.devices = [];
    this.broker = await RunningBroker.start(this.config(changes), {
      clock: this.clock,
      random: new SystemRandom(),
      logger: this.logger(),
      ...(this.options.cluster === undefined ? {} : { cluster: this.options.cluster }),
      ...(this.options.scalingHook === undefined ? {} : { scalingHook: this.options.scalingHook }),
      storage: {
        ...this.options.layers,
        store: (opened) => {
          const before = this.store;
          this.store = new StoreGate(this.options.layers?.store?.(opened) ?? opened, this.events);
          // What a test arranged before the start holds for it.
          if (before !== undefined && !before.cut) {
            this.store.beforePut = before.beforePut;
            this.store.afterPut = before.afterPut;
          }
          return this.store;
        },
        walDevice: (device) => {
          const gate = new DeviceGate(this.options.layers?.walDevice?.(device) ?? device, this.events);
          this.devices.push(gate);
          return gate;
        },
      },
    });
    this.#running = true;
    return this.broker;
  }

  get address(): Address {
    const [host, port] = this.broker.address('plain')!.split(':');
    return { host: host!, port: Number(port) };
  }

  async connect(): Promise<RawConnection> {
    const connection = await RawConnection.connect(this.address);
    this.#connections.push(connection);
    return connection;
  }

  /** Uploads all that is durable now, and trims the log. */
  async upload(volume = 0): Promise<void> {
    await this.broker['uploads'].upload(volume);
    await this.broker['uploads'].settled(volume);
  }

  /** Starts an upload that its broker will not live to finish; resolves when a gate was cut. */
  async uploadUntilCut(): Promise<void> {
    this.upload().catch(() => {});
    await until(() => this.store.cut || this.devices.some((device) => device.cut));
  }

  /** Moves time on between two WAL writes, since one under way would count as stuck. */
  async jump(ms: number): Promise<void> {
    await until(() => this.devices.every((device) => device.writing === 0));
    this.clock.jump(ms);
  }

  /** Power off: not a byte more reaches WAL or store. */
  async crash(): Promise<void> {
    this.store.cut = true;
    for (const device of this.devices) {
      device.cut = true;
      device.release();
    }
    await this.#disconnect();
    await this.broker.abort();
    this.#running = false;
  }

  async stop(): Promise<'clean' | 'unfinished'> {
    await this.#disconnect();
    this.#running = false;
    return this.broker.stop();
  }

  async #disconnect(): Promise<void> {
    for (const connection of this.#connections.splice(0)) await connection.close();
  }

  async dispose(): Promise<void> {
    if (this.#running) await this.crash();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Looks again every few milliseconds. */
export async function until(holds: () => boolean, timeoutMs = patienceMs): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not so after ${timeoutMs} ms: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export interface ReadRecord {
  readonly offset: number;
  readonly value: string;
}

/** All records of a partition from `from` to its high watermark. */
export async function readAll(
  connection: RawConnection,
  topic: string,
  partition = 0,
  from?: number,
): Promise<ReadRecord[]> {
  const records: ReadRecord[] = [];
  const cursor = new RecordCursor();
  let offset = from ?? (await connection.listOffset(topic, partition, -2));
  const end = await connection.listOffset(topic, partition, -1);
  while (offset < end) {
    const answer = await connection.fetch(topic, partition, offset, { maxWaitMs: 5_000 });
    if (answer.errorCode !== 0)
      throw new Error(`fetch of ${topic}-${partition} at ${offset}: error ${answer.errorCode}`);
    const bytes = answer.records;
    if (bytes === null || bytes.byteLength === 0)
      throw new Error(`${topic}-${partition}: nothing at ${offset}, the log ends at ${end}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.byteLength; at += batchBytesOf(view, at)) {
      const length = batchBytesOf(view, at);
      if (at + length > bytes.byteLength) break;
      cursor.open(bytes as Uint8Array, at, length, codecs, 1 << 24);
      while (cursor.next()) {
        if (cursor.offset < offset) continue;
        records.push({ offset: cursor.offset, value: cursor.value()!.toString() });
        offset = cursor.offset + 1;
      }
    }
  }
  return records;
}
