/** Several inline brokers over one store and one authority, each a bed of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { MetadataChange, PartitionImage } from '../../src/metadata/metadata-store.ts';
import type { ScalingHook } from '../../src/ports/scaling-hook.ts';
import { BrokerBed, until } from './inline-broker.ts';
import { MemoryAuthority } from './memory-authority.ts';
import { patienceMs } from './patience.ts';

export type ClusterWal = 'shared' | 'object' | 'local';

export class ClusterBed {
  readonly authority: MemoryAuthority;
  readonly dir = mkdtempSync(join(tmpdir(), 'millrace-cluster-'));
  readonly beds: BrokerBed[];

  constructor(
    brokers: number,
    wal: ClusterWal = 'shared',
    {
      settings = {},
      leads = true,
      racks = [],
      scalingHook,
    }: {
      readonly settings?: Readonly<Record<string, string | number | boolean | readonly string[]>>;
      /** Whether one of them is controller; else the test decides in its place. */
      readonly leads?: boolean;
      /** Of the brokers, in order. */
      readonly racks?: readonly string[];
      /** The platform, which all of them ask. */
      readonly scalingHook?: ScalingHook;
    } = {},
  ) {
    this.authority = new MemoryAuthority(leads);
    const storeUrl = pathToFileURL(join(this.dir, 'store')).href;
    this.beds = Array.from({ length: brokers }, (_, i) => {
      const node = i + 1;
      const walUrl = { shared: `shared:${join(this.dir, `wal-${node}`)}`, object: 'store:', local: null }[
        wal
      ];
      return new BrokerBed({
        storeUrl,
        cluster: () => this.authority.open(),
        ...(scalingHook === undefined ? {} : { scalingHook }),
        settings: {
          'node.id': node,
          'broker.rack': racks[i] ?? '',
          ...(walUrl === null ? {} : { 'wal.url': walUrl }),
          ...settings,
        },
      });
    });
  }

  bed(node: number): BrokerBed {
    return this.beds[node - 1]!;
  }

  async start(): Promise<void> {
    for (const bed of this.beds) await bed.start();
  }

  partition(topic: string, index = 0): PartitionImage {
    return this.authority.image.topicsByName.get(topic)!.partitions[index]!;
  }

  /** As a controller would. */
  async decide(...changes: MetadataChange[]): Promise<void> {
    await this.authority.commit(changes);
  }

  assign(topic: string, index: number, node: number): Promise<void> {
    const { topicId } = this.partition(topic, index);
    return this.decide({ type: 'assign', topicId, partition: index, node });
  }

  /** A broker is gone: fenced, its logs given to another. */
  async failOver(from: number, to: number): Promise<void> {
    const { brokers, wals } = this.authority.image;
    this.authority.lose(from);
    await this.decide({ type: 'brokerState', node: from, epoch: brokers.get(from)!.epoch, state: 'fenced' });
    for (const wal of wals.values())
      if (wal.node === from && wal.state === 'open')
        await this.decide({ type: 'wal', wal: { ...wal, node: to, epoch: wal.epoch + 1 } });
  }

  opened(topic: string, index: number, node: number): Promise<void> {
    return until(() => {
      const { state, node: on } = this.partition(topic, index);
      return state === 'open' && on === node;
    }, patienceMs);
  }

  async dispose(): Promise<void> {
    for (const bed of this.beds) await bed.dispose();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
