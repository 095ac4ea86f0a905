/** What a window cost by the price table: processor time at an instance's price a core, and the store's requests. */
import type { StoreTraffic } from '../recorder/metrics-page.ts';
import type { Usage } from '../recorder/usage.ts';

export function windowDollars(_usage: Usage, _store: StoreTraffic | null): number | null {
  return null;
}
