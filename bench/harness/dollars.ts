/** What a window cost by the price table: processor time at an instance's price a core, and the store's requests. */
import { readFileSync } from 'node:fs';
import { type PriceTable, parsePriceTable } from '../../src/cost/price-table.ts';
import { billedRequests, type StoreTraffic } from '../recorder/metrics-page.ts';
import type { Usage } from '../recorder/usage.ts';

/** The instance whose processor time is counted; storage, volumes and idle time are the business of `millrace cost`. */
export const pricedInstance = 'm6in.large';
const file = 'src/cost/data/prices.tsv';
let table: PriceTable | null = null;

export function windowDollars(usage: Usage, store: StoreTraffic | null): number {
  table ??= parsePriceTable(readFileSync(file, 'utf8'));
  return dollarsOf(usage.cpuSeconds, store, table);
}

export function dollarsOf(cpuSeconds: number, store: StoreTraffic | null, prices: PriceTable): number {
  const hour = prices.get(`instance.${pricedInstance}.price`).value;
  const cores = prices.get(`instance.${pricedInstance}.vcpu`).value;
  const { puts, gets } = store === null ? { puts: 0, gets: 0 } : billedRequests(store);
  const requests = puts * prices.get('s3.put').value + gets * prices.get('s3.get').value;
  return (cpuSeconds * hour) / 3_600 / cores + requests / 1_000;
}
