/**
 * A simulated disk with the files of WAL volumes. It tells three states of a sector apart:
 *
 *   in flight   under an outstanding write: a crash leaves any subset of its sectors, as they were or as garbage
 *   volatile    visible but in a cache only, left by a process that died under its write: a power failure may take it
 *               back until somebody flushes
 *   durable     reported written, or flushed
 *
 * Writes are those of O_DIRECT | O_DSYNC: durable when reported. Memory must not change under them, which is checked.
 * `attached` is the machine that may do I/O; a detached disk answers its old machine with errors (fencing by the platform).
 */

import type { LockAttempt } from '../../native-bindings/portable/lock-file.ts';
import { MillraceError } from '../../src/ports/errors.ts';
import { fencePosition } from '../../src/stream/wal/fence-page.ts';
import type { WalDevice, WritePlan } from '../../src/stream/wal/wal-device.ts';
import type { VolumeFiles } from '../../src/volumes/volume-files.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { Life, SimWorld } from './world.ts';

const sectorBytes = 512;
const pageBytes = 4096;

interface InFlight {
  readonly life: Life;
  readonly position: number;
  readonly bytes: Buffer;
}

export class SimFile {
  bytes = Buffer.alloc(0);
  size = 0;
  /** What a volatile sector held before. */
  readonly volatile = new Map<number, Buffer>();
  /** Whose write left volatile sectors last. */
  volatileBy: Life | null = null;
  /** By machine: one does not see another's locks. */
  readonly locks = new Map<string, Life>();
  inFlight: InFlight[] = [];
  /** When each page was last written, ms. */
  readonly writtenAt = new Map<number, number>();

  reserve(end: number): void {
    if (end > this.bytes.length) {
      const larger = Buffer.alloc(Math.max(end, 2 * this.bytes.length, 1 << 20));
      this.bytes.copy(larger, 0, 0, this.size);
      this.bytes = larger;
    }
    if (end > this.size) this.size = end;
  }

  /** Durable at once. */
  store(position: number, bytes: Buffer): void {
    this.reserve(position + bytes.length);
    bytes.copy(this.bytes, position);
    for (let s = position / sectorBytes; s < (position + bytes.length) / sectorBytes; s++)
      this.volatile.delete(s);
  }

  storeVolatile(life: Life, position: number, bytes: Buffer, keep: (sector: number) => boolean): void {
    this.volatileBy = life;
    this.reserve(position + bytes.length);
    for (let at = 0; at < bytes.length; at += sectorBytes) {
      const sector = (position + at) / sectorBytes;
      if (!keep(at / sectorBytes)) continue;
      const place = sector * sectorBytes;
      if (!this.volatile.has(sector))
        this.volatile.set(sector, Buffer.from(this.bytes.subarray(place, place + sectorBytes)));
      bytes.copy(this.bytes, place, at, at + sectorBytes);
    }
  }
}

export interface DiskFaults {
  /** Every access takes so many times longer. */
  slow: number;
  /** Writes that fail before one succeeds again. */
  failing: number;
  /** Writes that take this long, ms; the next one only. */
  hangMs: number;
  /** Files may not become longer. */
  full: boolean;
}

export class SimDisk {
  readonly world: SimWorld;
  readonly random: SeededRandom;
  readonly files = new Map<string, SimFile>();
  readonly faults: DiskFaults = { slow: 1, failing: 0, hangMs: 0, full: false };
  attached: string;
  /** Reached by all machines, as over NFS. */
  readonly shared: boolean;
  writes = 0;
  syncs = 0;
  /** Told of every write before it begins. */
  onWrite: (path: string, position: number, bytes: Buffer) => void = () => {};
  /** Told of every file before it goes. */
  onRemove: (path: string) => void = () => {};

  constructor(world: SimWorld, random: SeededRandom, machine: string, shared = false) {
    this.world = world;
    this.random = random;
    this.attached = machine;
    this.shared = shared;
  }

  latency(bytes: number): number {
    return (0.05 + this.random.below(400) / 1000 + bytes / 1_000_000) * this.faults.slow;
  }

  /** Turns over one bit of a page that was written so long ago and holds more than zeros; null when there is none. */
  flipOld(ageMs: number): { readonly place: string; restore(): void } | null {
    const old: { file: SimFile; page: number }[] = [];
    for (const file of this.files.values()) {
      for (const [page, time] of file.writtenAt) {
        if (page < 3 || time > this.world.time - ageMs) continue;
        if (file.bytes.subarray(page * pageBytes, (page + 1) * pageBytes).some((byte) => byte !== 0))
          old.push({ file, page });
      }
    }
    if (old.length === 0) return null;
    const { file, page } = this.random.pick(old);
    const position = page * pageBytes + this.random.below(pageBytes);
    const bit = 1 << this.random.below(8);
    file.bytes[position]! ^= bit;
    return {
      place: `${position}`,
      restore: () => {
        file.bytes[position]! ^= bit;
      },
    };
  }

  /** The process is gone; the machine runs on. What was under way may land, durable or only in a cache. */
  processDied(life: Life): void {
    for (const file of this.files.values()) {
      for (const write of file.inFlight.filter((each) => each.life === life)) {
        const fate = this.random.below(4);
        if (fate === 1) file.store(write.position, write.bytes);
        else if (fate === 2) file.storeVolatile(life, write.position, write.bytes, () => true);
        else if (fate === 3)
          file.storeVolatile(life, write.position, write.bytes, this.tear(write.bytes.length / sectorBytes));
      }
      file.inFlight = file.inFlight.filter((each) => each.life !== life);
      for (const [machine, holder] of file.locks) if (holder === life) file.locks.delete(machine);
    }
  }

  /** A machine stands still; what it has sent to a shared disk may land all the same, at its own time. */
  stalled(life: Life): void {
    for (const file of this.files.values())
      for (const write of file.inFlight.filter((each) => each.life === life))
        if (this.random.chance(0.5))
          this.world.after(this.random.below(5_000), () => {
            if (file.inFlight.includes(write)) file.store(write.position, write.bytes);
          });
  }

  /** Everything in caches is at risk, and so is what was under way. */
  powerFailed(): void {
    for (const file of this.files.values()) {
      for (const write of file.inFlight) {
        const fate = this.random.below(5);
        if (fate === 1) file.store(write.position, write.bytes);
        else if (fate >= 2) {
          const keep = this.tear(write.bytes.length / sectorBytes);
          const torn = Buffer.from(write.bytes);
          for (let s = 0; s < torn.length / sectorBytes; s++) {
            const at = s * sectorBytes;
            const before = file.bytes.subarray(write.position + at, write.position + at + sectorBytes);
            if (!keep(s)) {
              if (before.length === sectorBytes) before.copy(torn, at);
              else torn.fill(0, at, at + sectorBytes);
            } else if (fate === 4 && this.random.chance(0.05))
              torn[at + this.random.below(sectorBytes)]! ^= 1 << this.random.below(8);
          }
          if (!this.faults.full || write.position + torn.length <= file.size)
            file.store(write.position, torn);
        }
      }
      file.inFlight = [];
      file.locks.clear();
      for (const [sector, old] of file.volatile) {
        if (this.random.chance(0.5)) old.copy(file.bytes, sector * sectorBytes);
      }
      file.volatile.clear();
    }
  }

  /** Which sectors of a write are there: a prefix, a suffix, all but one, or any. */
  tear(sectors: number): (sector: number) => boolean {
    const cut = this.random.below(sectors + 1);
    switch (this.random.below(4)) {
      case 0:
        return (sector) => sector < cut;
      case 1:
        return (sector) => sector >= cut;
      case 2:
        return (sector) => sector !== cut;
      default:
        return () => this.random.chance(0.5);
    }
  }
}

function failed(path: string, why: string): MillraceError {
  return new MillraceError('unavailable', 'WAL_WRITE_FAILED', `write to ${path} failed: ${why}`);
}

class SimWalDevice implements WalDevice {
  readonly direct = true;
  readonly #life: Life;
  readonly #disk: SimDisk;
  readonly #machine: string;
  readonly #path: string;
  readonly #file: SimFile;

  constructor(life: Life, disk: SimDisk, machine: string, path: string, file: SimFile) {
    this.#life = life;
    this.#disk = disk;
    this.#machine = machine;
    this.#path = path;
    this.#file = file;
  }

  size(): number {
    return this.#file.size;
  }

  get #gone(): boolean {
    return !this.#disk.shared && this.#disk.attached !== this.#machine;
  }

  write(plan: WritePlan, done: (error: Error | null) => void): void {
    const disk = this.#disk;
    const { world, faults } = disk;
    if (!this.#life.boundary('disk write')) return;
    const sources: Buffer[] = [];
    for (let i = 0; i < plan.count; i++) sources.push(plan.vector(i));
    const bytes = Buffer.concat(sources);
    const position = plan.filePosition;
    disk.writes++;
    // What a dead process left in a cache may have been read, and built on; zeros are a new log's, and a fence is not part
    // of a log. Who has lost the disk writes nothing.
    const { volatile, volatileBy } = this.#file;
    const isLog = position !== fencePosition && bytes.readUInt32LE(0) !== 0;
    if (!this.#gone && volatile.size > 0 && volatileBy !== this.#life && isLog)
      world.fail(`${this.#life.name} writes to a WAL whose newest sectors were never flushed`);
    disk.onWrite(this.#path, position, bytes);
    let delay = disk.latency(bytes.length);
    let failure: Error | null = null;
    if (this.#gone) failure = failed(this.#path, 'ENODEV');
    else if (faults.failing > 0) {
      faults.failing--;
      failure = failed(this.#path, 'EIO');
    } else if (faults.full && position + bytes.length > this.#file.size)
      failure = failed(this.#path, 'ENOSPC');
    else if (faults.hangMs > 0) {
      delay += faults.hangMs;
      faults.hangMs = 0;
    }
    const flight: InFlight = { life: this.#life, position, bytes };
    if (failure === null || !/ENODEV|ENOSPC/.test(failure.message)) this.#file.inFlight.push(flight);
    world.trace(
      `${this.#life.name} write ${position}+${bytes.length}${failure === null ? '' : ` ${failure.message}`}`,
    );
    world.after(
      delay,
      () => {
        const at = this.#file.inFlight.indexOf(flight);
        if (at >= 0) {
          this.#file.inFlight.splice(at, 1);
          if (failure === null && !this.#gone) {
            this.#file.store(position, bytes);
            for (let page = position / pageBytes; page < (position + bytes.length) / pageBytes; page++)
              this.#file.writtenAt.set(page, world.time);
          } else if (!this.#gone && disk.random.chance(0.5))
            this.#file.storeVolatile(this.#life, position, bytes, disk.tear(bytes.length / sectorBytes));
        }
        if (this.#gone) failure ??= failed(this.#path, 'ENODEV');
        let offset = 0;
        if (failure === null) {
          for (const source of sources) {
            if (source.compare(bytes, offset, offset + source.length) !== 0)
              world.fail('memory was changed under an outstanding WAL write');
            offset += source.length;
          }
        }
        if (this.#life.boundary('disk written')) done(failure);
      },
      this.#life,
    );
  }

  read(into: Buffer, position: number): Promise<number> {
    return this.#later('disk read', into.length / 64, () => {
      if (this.#gone) throw failed(this.#path, 'ENODEV');
      const end = Math.min(position + into.length, this.#file.size);
      return end <= position ? 0 : this.#file.bytes.copy(into, 0, position, end);
    });
  }

  reread(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    this.read(into, position).then(
      (bytes) => done(null, bytes),
      (error: Error) => done(error, 0),
    );
  }

  sync(done: (error: Error | null) => void): void {
    this.#later('disk flush', 0, () => {
      this.#disk.syncs++;
      this.#file.volatile.clear();
    }).then(
      () => done(this.#gone ? failed(this.#path, 'ENODEV') : null),
      (error: Error) => done(error),
    );
  }

  async close(): Promise<void> {}

  #later<T>(what: string, bytes: number, act: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#life.boundary(what)) return;
      this.#disk.world.after(
        this.#disk.latency(bytes),
        () => {
          if (!this.#life.boundary(what)) return;
          try {
            resolve(act());
          } catch (error) {
            reject(error);
          }
        },
        this.#life,
      );
    });
  }
}

/** The files of one machine's disk as one life sees them. */
export class SimVolumeFiles implements VolumeFiles {
  readonly #life: Life;
  readonly #disk: SimDisk;
  readonly #machine: string;

  constructor(life: Life, disk: SimDisk, machine: string) {
    this.#life = life;
    this.#disk = disk;
    this.#machine = machine;
  }

  async exists(path: string): Promise<boolean> {
    return this.#disk.files.has(path);
  }

  async isDirectory(path: string): Promise<boolean> {
    return !this.#disk.files.has(path);
  }

  async list(directory: string): Promise<string[]> {
    return [...this.#disk.files.keys()]
      .filter((path) => path.startsWith(`${directory}/`))
      .map((path) => path.slice(directory.length + 1));
  }

  async makeDirectory(): Promise<void> {}

  /** Whoever has it open goes on with it. */
  async remove(path: string): Promise<void> {
    if (this.#disk.files.has(path)) this.#disk.onRemove(path);
    this.#disk.files.delete(path);
  }

  async lock(path: string): Promise<LockAttempt> {
    const file = this.#disk.files.get(path);
    if (file === undefined) return { release() {} };
    const { locks } = file;
    const holder = locks.get(this.#machine);
    if (holder !== undefined && holder !== this.#life) return { heldBy: holder.name };
    locks.set(this.#machine, this.#life);
    return {
      release: () => {
        if (locks.get(this.#machine) === this.#life && !this.#life.dead) locks.delete(this.#machine);
      },
    };
  }

  async open(path: string, { create }: { readonly create: boolean }): Promise<WalDevice> {
    let file = this.#disk.files.get(path);
    if (file === undefined) {
      if (!create) throw failed(path, 'ENOENT');
      file = new SimFile();
      file.locks.set(this.#machine, this.#life);
      this.#disk.files.set(path, file);
    }
    return new SimWalDevice(this.#life, this.#disk, this.#machine, path, file);
  }

  openAsync(path: string): Promise<WalDevice> {
    return this.open(path, { create: false });
  }
}
