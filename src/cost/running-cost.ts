/**
 * What a running broker costs, from counts it has anyway and the price table: requests since the start and by the hour, what lies in the
 * store, the machine. Only a store that bills is counted. Owned by who shows metrics; pure but for what it remembers.
 *
 *   looks   | older, dropped | at least a minute ago | … | now |        rate = now − the first that is kept
 */
import type { PriceTable } from './price-table.ts';
import { billedGb } from './workload.ts';

export interface RunningCounts {
  /** Since the start, as the store bills them. */
  readonly puts: number;
  readonly gets: number;
  /** In the store now. */
  readonly storedBytes: number;
}

export interface CostNow {
  /** Since the start. */
  readonly requestDollars: number;
  readonly perHour: { readonly requests: number; readonly storage: number; readonly compute: number };
}

const windowMs = 60_000;
const looksMax = 256;

export class RunningCost {
  readonly #put: number;
  readonly #get: number;
  readonly #storageHour: number;
  readonly #computeHour: number;
  readonly #looks: { readonly atMs: number; readonly dollars: number }[] = [];

  /** @param computeHour what the broker's machine costs an hour; 0 = nobody said. */
  constructor(prices: PriceTable, computeHour: number) {
    this.#put = prices.get('s3.put').value / 1_000;
    this.#get = prices.get('s3.get').value / 1_000;
    this.#storageHour = prices.get('s3.storage.first').value / prices.get('hours').value;
    this.#computeHour = computeHour;
  }

  /** @param nowMs monotonic. */
  look(nowMs: number, { puts, gets, storedBytes }: RunningCounts): CostNow {
    const dollars = puts * this.#put + gets * this.#get;
    const looks = this.#looks;
    looks.push({ atMs: nowMs, dollars });
    // The oldest that is kept is the youngest of those a window ago.
    while (looks.length > 2 && (looks[1]!.atMs <= nowMs - windowMs || looks.length > looksMax)) looks.shift();
    const first = looks[0]!;
    const hours = (nowMs - first.atMs) / 3_600_000;
    return {
      requestDollars: dollars,
      perHour: {
        requests: hours <= 0 ? 0 : (dollars - first.dollars) / hours,
        storage: (storedBytes / billedGb) * this.#storageHour,
        compute: this.#computeHour,
      },
    };
  }
}
