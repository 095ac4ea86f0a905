/**
 * How the parts of one broker are spread over threads. The parts are the same each time:
 *
 *   threaded   main │ shard × N │ WAL × V (blocking) │ object pool       native addon, threads ≥ 1
 *   portable   main + shard     │ WAL × V (blocking) │ object pool       no addon: a descriptor cannot change hands
 *   inline     everything in the caller's thread                         threads = 0
 */

import { MillraceError } from '../ports/errors.ts';
import type { ThreadNative } from '../threads/adapters/thread-native.ts';
import type { SpawnedShard } from '../threads/shard/client.ts';
import type { BrokerConfig } from './broker-config.ts';
import type { Deployment, DeployParts } from './deployment.ts';

/** Refuses what no deployment can do, before anything is opened. */
export function checkDeployment(config: BrokerConfig): void {
  if (config.threads > 0 && config.wals.some((wal) => wal.location === 'memory:')) {
    throw new MillraceError(
      'invalid',
      'WAL_MEMORY_THREADS',
      'a memory WAL runs inline only: set threads to 0, or give --wal a path',
    );
  }
}

/** Begins what takes long and needs nothing of the store: threads that load their code. `deploy` takes them over. */
export async function spawn(config: BrokerConfig, native: ThreadNative): Promise<SpawnedShard[]> {
  return config.threads === 0 ? [] : (await import('./deploy-threads.ts')).spawnShards(config, native);
}

/** Loads what this deployment needs and no more: the main thread of a threaded broker runs no shard. */
export async function deploy(parts: DeployParts): Promise<Deployment> {
  if (parts.config.threads === 0) return (await import('./deploy-inline.ts')).deployInline(parts);
  return (await import('./deploy-threads.ts')).deployThreads(parts);
}
