/** Everything in the caller's thread: shard, WALs, uploads and compaction. */

import { socketDial } from '../net/outgoing-socket.ts';
import { createCodecs } from '../protocol/compression/codecs.ts';
import { composeShard } from '../shard/compose-shard.ts';
import { ShardHost } from '../shard/shard-host.ts';
import { runClean } from '../stream/clean/clean-log.ts';
import { runCompaction } from '../stream/compaction/compact-objects.ts';
import { CompactionPace } from '../stream/compaction/compaction-pace.ts';
import { compactionLimits } from '../stream/compaction/compaction-task.ts';
import { runUpload } from '../stream/upload/object-pool.ts';
import { StagingPool } from '../stream/upload/staging-pool.ts';
import { DelayedWalDevice } from '../stream/wal/delayed-wal-device.ts';
import { InlineWal } from '../stream/wal/inline-wal.ts';
import { MemoryWal } from '../stream/wal/memory-wal.ts';
import type { WalControl } from '../stream/wal/wal.ts';
import { histogramBuckets } from '../stream/wal/wal-stats.ts';
import { keyHash } from '../threads/adapters/key-hash.ts';
import type { SharedArena } from '../threads/memory/arena.ts';
import { isShared, volumePath } from '../volumes/shared-volume.ts';
import type { Volume } from '../volumes/volume.ts';
import { createArena, localDoor, objectSettings, seedOf, tlsListeners } from './deploy-parts.ts';
import type { Deployment, DeployParts, WalNumbers } from './deployment.ts';
import { LateWal } from './late-wal.ts';

export async function deployInline(parts: DeployParts): Promise<Deployment> {
  const { config, ports, native, store } = parts;
  const { clock } = ports;
  const arena = createArena(parts);
  const lazies = config.wals.map((_wal, volume) => new LateWal(volume, parts.logIds[volume]!, parts.onDeath));
  const shard = composeShard(seedOf(parts, 0, 1), {
    arena,
    wals: lazies,
    alone: parts.alone,
    session: parts.session,
    ...ports,
    native,
    store,
    control: parts.control,
    peers: null,
    dial: ports.dial ?? socketDial(parts.tls),
  });
  const host = new ShardHost(
    shard,
    parts.tls,
    tlsListeners(config),
    ports.logger,
    config.nativeSockets ? native.native : null,
    parts.addresses,
  );
  const controls: WalControl[] = [];
  const codecs = createCodecs();
  let compacting = true;
  const compactionPace = new CompactionPace(clock, config.compaction, () => !compacting);
  const usage: (() => WalNumbers)[] = [];
  const deps = {
    crc32c: native.crc32c,
    staging: new StagingPool({ bytesMax: 8 << 20 }),
    clock,
    flow: parts.board,
    ...(ports.storage?.upload === undefined ? {} : { settings: ports.storage.upload }),
  };
  return {
    arena,
    shards: [localDoor(host)],
    local: host,
    controls,
    async startWals(volumes, epochs) {
      for (const volume of volumes) {
        const wal = await inlineWal(volume, epochs[volume.index]!, parts, arena);
        lazies[volume.index]!.begin(wal);
        controls.push(wal);
        usage.push(
          wal instanceof InlineWal
            ? () => {
                const { usedBytes, capacityBytes, failed } = wal.writer.status;
                const { commits, batches, payloadBytes: bytes, commitMs } = wal.writer.stats;
                const ended = failed === null ? 0 : 1;
                return { usedBytes, capacityBytes, commits, batches, bytes, commitMs, failed: ended };
              }
            : () => ({
                usedBytes: wal.usedBytes,
                capacityBytes: volume.config.capacityBytes,
                failed: 0,
                commits: 0,
                batches: 0,
                bytes: 0,
                commitMs: 0,
              }),
        );
      }
    },
    stuck: () => false,
    usedBytes: (volume) => usage[volume]!().usedBytes,
    walMetrics: (volume) => usage[volume]!(),
    walWriteBuckets: (volume) => {
      const wal = controls[volume]!;
      return wal instanceof InlineWal ? wal.writer.stats.writeMicros : new Float64Array(histogramBuckets);
    },
    upload: (plan, share) => runUpload(plan, arena, store, deps, share),
    compact: (task) =>
      runCompaction(task, {
        store,
        crc32c: native.crc32c,
        pace: compactionPace.wait,
        limits: ports.storage?.compaction?.limits ?? compactionLimits,
      }),
    clean: (task) =>
      runClean(task, {
        store,
        crc32c: native.crc32c,
        codecs,
        hash: keyHash,
        pace: compactionPace.wait,
        clock,
      }),
    stopCompaction: () => {
      compacting = false;
    },
    async close(clean) {
      // A volume may be stuck: clients are told that it is over all the same.
      const closing = controls.map((control) => control.close({ clean }).catch(() => {}));
      await host.drain(0);
      await Promise.all(closing);
    },
  };
}

async function inlineWal(
  volume: Volume,
  epoch: number,
  parts: DeployParts,
  arena: SharedArena,
): Promise<InlineWal | MemoryWal> {
  const { clock } = parts.ports;
  if (volume.kind === 'memory')
    return new MemoryWal({
      clock,
      logId: volume.logId,
      volume: volume.index,
      capacityBytes: volume.config.capacityBytes,
    });
  if (volume.objects !== null) {
    return InlineWal.overObjects(
      {
        entries: volume.objects.entries,
        clock,
        logger: parts.ports.logger,
        arena,
        crc32c: parts.native.crc32c,
        volume: volume.index,
        settings: objectSettings(volume),
      },
      volume.objects.claimed!,
    );
  }
  const opened = await parts.files.openAsync(volumePath(volume));
  const file = parts.ports.storage?.walDevice?.(opened) ?? opened;
  const { extraWriteDelayMs, lingerMs, iops, bandwidth, writeTimeoutMs: ioTimeoutMs } = volume.config;
  const growth = parts.ports.storage?.walGrowth;
  const device =
    extraWriteDelayMs > 0
      ? new DelayedWalDevice(file, (then) => void clock.after(extraWriteDelayMs, then))
      : file;
  return InlineWal.resume(
    {
      device,
      clock,
      arena,
      crc32c: parts.native.crc32c,
      volume: volume.index,
      settings: {
        lingerMs,
        iops,
        bandwidth,
        ioTimeoutMs,
        ...(growth === undefined ? {} : { growChunkBytes: growth.chunk, growSliceBytes: growth.slice }),
      },
      fence: volume.fence ?? undefined,
      fenceCached: !isShared(volume),
    },
    volume.recovered!,
    epoch,
  );
}
