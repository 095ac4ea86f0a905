/** What uploads go by of all shards together. Main thread. */

import type { ShardLoad } from '../ownership/upload-coordinator.ts';
import type { ShardNumbers } from '../shard/shard-api.ts';

type Measured = Pick<ShardNumbers, 'deltaBytes' | 'producedBytes' | 'congestion'>;

export async function shardLoad(shards: readonly { metrics(): Promise<Measured> }[]): Promise<ShardLoad> {
  const measured = await Promise.all(shards.map((shard) => shard.metrics()));
  const total = (name: keyof Measured): number => measured.reduce((sum, metrics) => sum + metrics[name], 0);
  return {
    deltaBytes: total('deltaBytes'),
    producedBytes: total('producedBytes'),
    congestion: Math.max(...measured.map((metrics) => metrics.congestion)),
  };
}
