/** The threads that write the volumes: begun, looked at once a second, and closed. Main thread. */
import type { Timer } from '../ports/clock.ts';
import { attachDoorbell } from '../threads/memory/doorbell.ts';
import { WalThread } from '../threads/wal/client.ts';
import type { ObjectWalWorkerData, WalThreadData, WalWorkerData } from '../threads/wal/contract.ts';
import { isShared, volumePath } from '../volumes/shared-volume.ts';
import type { Volume } from '../volumes/volume.ts';
import { objectSettings } from './deploy-parts.ts';
import type { DeployParts } from './deployment.ts';
import { type ThreadMemory, volumeData } from './thread-memory.ts';

/** How often main looks whether a volume answers. */
const judgeMs = 1_000;

export class WalThreads {
  /** By volume, once they have begun. */
  readonly threads: WalThread[] = [];
  readonly #parts: DeployParts;
  readonly #memory: ThreadMemory;
  #judging: Timer | null = null;

  constructor(parts: DeployParts, memory: ThreadMemory) {
    this.#parts = parts;
    this.#memory = memory;
  }

  async start(volumes: readonly Volume[], epochs: readonly number[]): Promise<void> {
    const { native, onDeath } = this.#parts;
    for (const volume of volumes) {
      const common = volumeData(this.#parts, this.#memory, volume.index);
      const data = walThreadData(volume, epochs[volume.index]!, this.#parts, common);
      this.threads.push(new WalThread(data, attachDoorbell(common.bell, native.native), onDeath));
    }
    this.#judge();
    await Promise.all(this.threads.map((wal) => wal.status()));
  }

  /** A thread that is stuck in a write can say nothing: its epoch is ended for it. */
  #judge(): void {
    const { ports, native } = this.#parts;
    this.#judging = ports.clock.after(judgeMs, () => {
      for (const [volume, wal] of this.threads.entries()) {
        const reason = wal.judge(ports.clock.monotonic());
        if (reason === null) continue;
        ports.logger.error('a volume does not answer: its epoch is ended', { volume, error: reason.message });
        for (const bell of this.#memory.shardBells) attachDoorbell(bell, native.native).ring();
      }
      this.#judge();
    });
  }

  async close(clean: boolean): Promise<void> {
    const { logger } = this.#parts.ports;
    for (const wal of this.threads) {
      if (clean)
        await wal
          .close({ clean: true })
          .catch((error: Error) =>
            logger.warn('a write-ahead log was not closed cleanly', { error: error.message }),
          );
      // Objects: a last sign spares the next start its wait. A thread inside a write would not answer.
      else if (wal.objects) await wal.close({ clean: false }).catch(() => {});
      void wal.terminate();
    }
  }

  /** The threads are gone, or will never go. */
  ended(): void {
    this.#judging?.cancel();
  }
}

function walThreadData(
  volume: Volume,
  epoch: number,
  parts: DeployParts,
  common: WalThreadData,
): WalWorkerData | ObjectWalWorkerData {
  const { objects, config } = volume;
  if (objects !== null) {
    const { superblock, trim, next, first } = objects.claimed!;
    return {
      ...common,
      storeUrl: objects.storeUrl,
      storeBoard: parts.storeBoard,
      entryPrefix: objects.entries.prefix,
      writer: objects.entries.writer,
      resume: { superblock, trim, next, first },
      settings: objectSettings(volume),
      log: { level: parts.config.logLevel, format: parts.config.logFormat },
    };
  }
  const { state, superblock, trim, next } = volume.recovered!;
  return {
    ...common,
    path: volumePath(volume),
    resume: { state, superblock, trim, next },
    epoch,
    lingerMs: config.lingerMs,
    iops: config.iops,
    bandwidth: config.bandwidth,
    extraWriteDelayMs: config.extraWriteDelayMs,
    writeTimeoutMs: config.writeTimeoutMs,
    fence: volume.fence,
    fenceCached: !isShared(volume),
  };
}
