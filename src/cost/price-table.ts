/**
 * A dated table of prices and limits: text in, numbers with how sure each is out. Pure. Form, a line each:
 *
 *   key TAB value TAB unit TAB sure TAB source          # date TAB 2026-11-21      # other comments
 */
import { MillraceError } from '../ports/errors.ts';

export const certainties = ['sourced', 'known', 'derived', 'assumed'] as const;
/** sourced = read from the source named; known = commonly published, not read again; derived and assumed = as it says. */
export type Certainty = (typeof certainties)[number];

export interface Price {
  readonly key: string;
  readonly value: number;
  readonly unit: string;
  readonly certainty: Certainty;
  readonly source: string;
}

/** A table has a few hundred lines at most. */
export const priceTableCharsMax = 1024 * 1024;
const headings = ['date', 'region', 'currency'] as const;

export class PriceTable {
  readonly date: string;
  readonly region: string;
  readonly currency: string;
  readonly #prices: ReadonlyMap<string, Price>;

  constructor(head: Readonly<Record<(typeof headings)[number], string>>, prices: readonly Price[]) {
    this.date = head.date;
    this.region = head.region;
    this.currency = head.currency;
    this.#prices = new Map(prices.map((price) => [price.key, price]));
  }

  /** Null where the table does not say. */
  find(key: string): Price | null {
    return this.#prices.get(key) ?? null;
  }

  /** Throws PRICE_TABLE (invalid) where the table does not say. */
  get(key: string): Price {
    const price = this.find(key);
    if (price === null) throw wrong(`it does not say ${key}`);
    return price;
  }

  /** Of what has a price an hour: instance types by name, in the table's order. */
  get instanceTypes(): string[] {
    return [...this.#prices.keys()].flatMap((key) => /^instance\.(.+)\.price$/.exec(key)?.[1] ?? []);
  }
}

/** Throws PRICE_TABLE (invalid) with the line that cannot be read. */
export function parsePriceTable(text: string): PriceTable {
  const head: Partial<Record<string, string>> = {};
  const prices: Price[] = [];
  const seen = new Set<string>();
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.startsWith('#')) {
      const found = /^# (\w+)\t(.+)$/.exec(line);
      if (found !== null) head[found[1]!] = found[2]!.trim();
      continue;
    }
    if (line.trim() === '') continue;
    const [key = '', value = '', unit, certainty, source, ...rest] = line.split('\t');
    const number = value.trim() === '' ? Number.NaN : Number(value);
    if (source === undefined || rest.length > 0) throw wrong(`line ${i + 1} has not five fields`);
    if (!Number.isFinite(number) || number < 0) throw wrong(`line ${i + 1}: ${value} is no number from 0 on`);
    if (!(certainties as readonly string[]).includes(certainty!))
      throw wrong(`line ${i + 1}: ${certainty} is none of ${certainties.join(', ')}`);
    if (seen.has(key)) throw wrong(`line ${i + 1}: ${key} stands there twice`);
    seen.add(key);
    prices.push({ key, value: number, unit: unit!, certainty: certainty as Certainty, source });
  }
  for (const heading of headings)
    if (head[heading] === undefined) throw wrong(`it lacks the line "# ${heading}"`);
  return new PriceTable(head as Record<(typeof headings)[number], string>, prices);
}

function wrong(what: string): MillraceError {
  return new MillraceError('invalid', 'PRICE_TABLE', `price table: ${what}`);
}
