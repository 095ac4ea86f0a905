/** A monthly bill, line by line, each with its arithmetic in words and where its numbers come from. Pure. */
import type { Coefficient, CoefficientName, Coefficients } from './coefficients.ts';
import type { Price, PriceTable } from './price-table.ts';
import { measuredGb, type Workload } from './workload.ts';

export const billItems = [
  'compute',
  'storage',
  'requests',
  'WAL volumes',
  'cross-zone',
  'connectivity',
] as const;
export type BillItem = (typeof billItems)[number];

export interface BillLine {
  readonly item: BillItem;
  readonly dollars: number;
  /** The arithmetic: "3 × m6in.large for 730 h at $0.13923". */
  readonly how: string;
  /** Sources of its numbers, each once. */
  readonly from: readonly string[];
}

export interface Bill {
  readonly system: string;
  /** Instance type and how it is bought, where the system runs on instances. */
  readonly instance: string | null;
  readonly brokers: number | null;
  /** What decides on the number of brokers. */
  readonly limitedBy: string | null;
  readonly lines: readonly BillLine[];
  /** Null where it is not offered for this workload, for the reason in `unknown`. */
  readonly dollarsPerMonth: number | null;
  /** Of 10^6 bytes produced. */
  readonly dollarsPerMb: number | null;
  /** What is not known, not measured or left out, each a sentence. */
  readonly unknown: readonly string[];
}

/** Collects lines, and from where their numbers come. */
export class BillMaker {
  readonly prices: PriceTable;
  readonly coefficients: Coefficients;
  readonly #lines: BillLine[] = [];
  readonly #unknown = new Set<string>();
  #from = new Set<string>();

  constructor(prices: PriceTable, coefficients: Coefficients) {
    this.prices = prices;
    this.coefficients = coefficients;
  }

  /** Of the next line. */
  price(key: string): number {
    return this.#noted(this.prices.get(key)).value;
  }

  /** Null where the table does not say. */
  priceIfAny(key: string): number | null {
    const price = this.prices.find(key);
    return price === null ? null : this.#noted(price).value;
  }

  #noted(price: Price): Price {
    this.#from.add(`${price.key} = ${price.value} ${price.unit} (${price.certainty}: ${price.source})`);
    return price;
  }

  /** Null where it was not measured, which is then said. */
  measured(name: CoefficientName, what: string): number | null {
    const found = this.coefficients.values[name];
    if (found === undefined) {
      this.say(`${what} is not measured: no report has it`);
      return null;
    }
    this.note(coefficientSource(name, found));
    return found.value;
  }

  note(source: string): void {
    this.#from.add(source);
  }

  say(unknown: string): void {
    this.#unknown.add(unknown);
  }

  /** Closes a line with all that was asked for since the last. Lines of nothing are left out. */
  line(item: BillItem, dollars: number, how: string): void {
    if (dollars > 0) this.#lines.push({ item, dollars, how, from: [...this.#from] });
    this.#from = new Set();
  }

  finish(
    load: Workload,
    what: Pick<Bill, 'system' | 'instance' | 'brokers' | 'limitedBy'>,
    secondsPerMonth: number,
  ): Bill {
    const dollarsPerMonth = this.#lines.reduce((sum, { dollars }) => sum + dollars, 0);
    return {
      ...what,
      lines: this.#lines,
      dollarsPerMonth,
      dollarsPerMb: dollarsPerMonth / (load.ingestMbPerSecond * secondsPerMonth),
      unknown: [...this.#unknown],
    };
  }

  /** A bill of nothing: the system is not to be had for this workload. */
  refuse(system: string, reason: string): Bill {
    return {
      system,
      instance: null,
      brokers: null,
      limitedBy: null,
      lines: [],
      dollarsPerMonth: null,
      dollarsPerMb: null,
      unknown: [reason],
    };
  }
}

export function coefficientSource(name: string, { value, unit, report, figure, doubt }: Coefficient): string {
  return `${name} = ${Number(value.toPrecision(4))} ${unit} (${report}: ${figure}${doubt === null ? '' : `; doubtful: ${doubt}`})`;
}

/** Measured seconds a GB as cores at so many MB a second. */
export function coresAt(mbPerSecond: number, secondsPerGb: number): number {
  return ((mbPerSecond * 1e6) / measuredGb) * secondsPerGb;
}

export function money(dollars: number): string {
  const digits = Math.abs(dollars) >= 100 ? 0 : 2;
  return `$${dollars.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

export function amount(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: Math.abs(value) >= 100 ? 0 : 2 });
}
