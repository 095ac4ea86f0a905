/** What a report of load is made of, from all shards and the process. Main thread. */
import type { CountedStream, LoadSample } from '../cluster/load-meter.ts';
import type { LoadReport } from '../cluster/load-report.ts';
import { trafficColumns } from '../log/stream-traffic.ts';
import type { ShardTraffic } from '../shard/shard-api.ts';

export function processCpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** @param logIds by volume. */
export async function loadSample(
  shards: readonly { takeTraffic(): Promise<ShardTraffic> }[],
  logIds: readonly string[],
  cpuMicros: () => number,
): Promise<LoadSample & Pick<LoadReport, 'logs'>> {
  const taken = await Promise.all(shards.map((shard) => shard.takeTraffic()));
  const logs = logIds.map((logId, volume) => ({
    logId,
    bytes: taken.reduce((sum, { logBytes }) => sum + (logBytes[volume] ?? 0), 0),
  }));
  return { streams: taken.flatMap(countedStreams), cpuMicros: cpuMicros(), logs };
}

function countedStreams({ streams: { topicIds, partitions, counts } }: ShardTraffic): CountedStream[] {
  return topicIds.map((topicId, i) => {
    const [bytesIn, bytesOut, memoryBytes, requests] = counts.subarray(
      i * trafficColumns,
      (i + 1) * trafficColumns,
    ) as unknown as [number, number, number, number];
    return { topicId, partition: partitions[i]!, bytesIn, bytesOut, memoryBytes, requests };
  });
}
