/** Clients of a real etcd, and metadata stores over them. */
import { type EtcdKvOptions, GrpcEtcdKv } from '../../src/metadata/etcd/etcd-kv.ts';
import { EtcdMetadataStore } from '../../src/metadata/etcd/etcd-metadata-store.ts';
import type { EtcdKv } from '../../src/metadata/etcd/kv.ts';
import type { MillraceError } from '../../src/ports/errors.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { SystemClock } from '../../src/threads/adapters/system-clock.ts';
import { SystemRandom } from '../../src/threads/adapters/system-random.ts';
import { crc32cForTests } from './store-fixtures.ts';

export function etcdKvOn(endpoints: readonly string[], options: Partial<EtcdKvOptions> = {}): GrpcEtcdKv {
  return new GrpcEtcdKv({
    endpoints,
    tls: null,
    user: null,
    clock: new SystemClock(),
    random: new SystemRandom(),
    logger: silentLogger,
    ...options,
  });
}

export function openEtcdMetadata(
  kv: EtcdKv,
  prefix: string,
  store: ObjectStore,
  onFenced: (error: MillraceError) => void = () => {},
): Promise<EtcdMetadataStore> {
  return EtcdMetadataStore.open({
    store,
    kv,
    prefix,
    location: `etcd://test/${prefix}`,
    clock: new SystemClock(),
    random: new SystemRandom(),
    logger: silentLogger,
    crc32c: crc32cForTests,
    writer: 'a test',
    onFenced,
  });
}
