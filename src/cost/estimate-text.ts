/** An estimate in words, for a terminal: a table of all bills, then each line of one with its arithmetic. Pure. */
import { type Bill, type BillItem, billItems, money } from './bill.ts';
import type { Estimate } from './estimate.ts';
import { assumptions } from './workload.ts';

export function estimateText({ prices, workload: load, bills }: Estimate, details: boolean): string {
  const lines = [
    `A month of ${load.ingestMbPerSecond} MB/s in (peak ${load.peakToAverage}×), each byte read ${load.fanOut}×, kept ${hoursText(load.retentionHours)};`,
    `${load.partitions} partitions, messages of ${load.messageBytes} and requests of ${load.requestBytes} bytes, ${load.zones} zone${load.zones === 1 ? '' : 's'}, clients ${load.connectivity}, brokers ${load.scaling === 'fixed' ? 'for the peak' : 'that follow the load'}.`,
    `Prices of ${prices.date}, ${prices.region}, ${prices.currency}, list.`,
    '',
    ...summary(bills),
    '',
    'Planned for: ' +
      `${assumptions.networkTarget * 100} % of a network, ${assumptions.cpuTarget * 100} % of processors, ${assumptions.diskTarget * 100} % of EBS bandwidth at the peak.`,
    'Not in any bill: people, support, taxes, discounts, monitoring, free tiers, a spare broker for failures.',
  ];
  const unknown = new Map<string, string[]>();
  for (const { system, instance, unknown: each } of bills)
    for (const what of each)
      unknown.set(what, [
        ...(unknown.get(what) ?? []),
        instance === null ? system : `${system} (${instance})`,
      ]);
  if (unknown.size > 0) {
    lines.push('', 'What is not known:');
    for (const [what, systems] of unknown) lines.push(`  - ${what} [${systemsText(systems)}]`);
  }
  if (details) for (const bill of bills) lines.push('', ...billText(bill));
  else lines.push('', 'The arithmetic and the source of each number: --details, or --json.');
  return `${lines.join('\n')}\n`;
}

function systemsText(systems: readonly string[]): string {
  const names = [...new Set(systems.map((name) => name.replace(/ \(.*\)$/, '')))];
  return names.length > 4 ? `${names.slice(0, 3).join('; ')}; …` : names.join('; ');
}

function hoursText(hours: number): string {
  return hours % 24 === 0 && hours >= 48 ? `${hours / 24} d` : `${hours} h`;
}

function summary(bills: readonly Bill[]): string[] {
  const head = ['', 'instances', 'brokers', ...billItems, '$ a month', '$ a TB in'];
  const rows = bills.map((bill) => [
    bill.system,
    bill.instance ?? '',
    bill.brokers === null ? '' : String(bill.brokers),
    ...billItems.map((item) => (bill.dollarsPerMonth === null ? '' : itemText(bill, item))),
    bill.dollarsPerMonth === null ? 'not offered' : money(bill.dollarsPerMonth).slice(1),
    bill.dollarsPerMb === null ? '' : money(bill.dollarsPerMb * 1e6).slice(1),
  ]);
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)];
}

function itemText(bill: Bill, item: BillItem): string {
  const dollars = bill.lines
    .filter((each) => each.item === item)
    .reduce((sum, each) => sum + each.dollars, 0);
  return dollars === 0 ? '–' : money(dollars).slice(1);
}

function billText(bill: Bill): string[] {
  const lines = [`${bill.system}${bill.instance === null ? '' : `, ${bill.instance}`}`];
  for (const { item, dollars, how, from } of bill.lines) {
    lines.push(`  ${item.padEnd(13)} ${money(dollars).padStart(12)}  ${how}`);
    for (const source of from) lines.push(`${' '.repeat(30)}${source}`);
  }
  return lines;
}
