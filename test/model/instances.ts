/** Instances of the fencing model that are searched: whole ones, and for each variant the smallest that shows it. */
import { type Bounds, fencingModel, type Variant, variants } from './fencing-model.ts';
import { type SearchResult, search } from './search.ts';

const bounds = (brokers: number, records: number, opens: number, etcdLost = false): Bounds => ({
  brokers,
  records,
  opens,
  etcdLost,
});
const small = bounds(2, 1, 1);

/** Seconds. */
export const quickInstance = small;
/** Minutes. */
export const largeInstances: readonly { readonly bounds: Bounds; readonly statesMax: number }[] = [
  { bounds: bounds(2, 1, 1, true), statesMax: 200_000 },
  { bounds: bounds(2, 2, 2), statesMax: 200_000 },
  { bounds: bounds(2, 1, 2, true), statesMax: 500_000 },
  { bounds: bounds(3, 1, 1), statesMax: 500_000 },
];

const shownBy: Partial<Record<Variant, Bounds>> = {
  'the lease is asked instead of the fence': bounds(2, 1, 1, true),
  'a partition is opened while another has it open': bounds(2, 1, 2),
  'an open keeps the leader epoch': bounds(2, 2, 2),
  'a log is trimmed before the journal holds the upload': bounds(2, 1, 1, true),
  'a partition is served before the journal holds its open': bounds(2, 1, 1, true),
};

/** Found in some thousand states each. */
const quick = variants.filter(
  (variant) => shownBy[variant]?.etcdLost !== true && shownBy[variant]?.records !== 2,
);

export function searchVariants(
  which: 'all' | 'quick',
): readonly { readonly variant: Variant; readonly result: SearchResult }[] {
  return (which === 'all' ? variants : quick).map((variant) => ({
    variant,
    result: search(fencingModel(shownBy[variant] ?? small, variant), 100_000),
  }));
}

export function describeBounds({ brokers, records, opens, etcdLost }: Bounds): string {
  return `${brokers} brokers, ${records} records, ${opens} opens${etcdLost ? ', etcd lost at any step' : ''}`;
}
