/** Which fault met a broker in which state, over any number of runs. */
export const brokerStates = [
  'serving',
  'uploading',
  'closing',
  'recovering',
  'compacting',
  'retaining',
  'sweeping',
  'down',
] as const;

export class Coverage {
  readonly counts: Record<string, Record<string, number>> = {};

  note(fault: string, state: string): void {
    this.counts[fault] ??= {};
    const row = this.counts[fault];
    row[state] = (row[state] ?? 0) + 1;
  }

  add(other: Coverage['counts']): void {
    for (const [fault, row] of Object.entries(other)) {
      this.counts[fault] ??= {};
      const mine = this.counts[fault];
      for (const [state, count] of Object.entries(row)) mine[state] = (mine[state] ?? 0) + count;
    }
  }

  /** A line per fault, a column per state. */
  table(): string[] {
    const faults = Object.keys(this.counts).sort();
    const width = Math.max(10, ...faults.map((fault) => fault.length));
    const lines = [`${'fault'.padEnd(width)} ${brokerStates.map((state) => state.padStart(10)).join(' ')}`];
    for (const fault of faults) {
      const cells = brokerStates.map((state) => String(this.counts[fault]![state] ?? 0).padStart(10));
      lines.push(`${fault.padEnd(width)} ${cells.join(' ')}`);
    }
    return lines;
  }
}
