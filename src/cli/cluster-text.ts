/** What the commands to a cluster that runs found or did, in words for a terminal. */
import type {
  AuditReport,
  BrokerStanding,
  ClusterStatus,
  DrainReport,
  MovesReport,
  PlanReport,
  SizeReport,
  WaitingLog,
} from '../ports/cluster-reports.ts';

const namedMax = 20;

export function standingText(status: ClusterStatus): string {
  const { clusterId, revision, leader, node, brokers, partitions, waiting, size } = status;
  const lines = [
    `Cluster ${clusterId}, revision ${revision}, as broker ${node} sees it`,
    leader < 0 ? 'Nobody leads now.' : `Broker ${leader} leads.`,
    '',
    ...columns([
      ['broker', 'state', 'rack', 'partitions', 'in/s', 'out/s', 'cores', 'http'],
      ...brokers.map(brokerRow),
    ]),
    '',
    `Partitions: ${partitions.all}, ${partitions.open} open, ${partitions.moving} on their way`,
  ];
  if (size !== null) lines.push(...sizeLines(size));
  if (waiting.length > 0)
    lines.push(
      '',
      `Logs of lost brokers that nobody can read: ${waiting.length}; millrace abandon says what is in them`,
    );
  return `${lines.join('\n')}\n`;
}

function brokerRow({ node, state, alive, leads, rack, partitions, http, load }: BrokerStanding): string[] {
  const standing = state === 'fenced' ? 'gone' : alive ? state : `${state}, no sign of life`;
  return [
    `${node}${leads ? ' *' : ''}`,
    standing,
    rack === '' ? '-' : rack,
    String(partitions),
    load === null ? '-' : sizeText(load.bytesIn),
    load === null ? '-' : sizeText(load.bytesOut),
    load === null ? '-' : `${Math.round(load.cpu * 100)} %`,
    http === '' ? '-' : http,
  ];
}

export function movesText({ moving, moves }: MovesReport): string {
  const lines = moves
    .slice(0, namedMax)
    .map(({ topic, partition, from, to }) => `  ${topic}-${partition}  ${from} → ${to}`);
  return `${[`Partitions on their way: ${moving}`, ...lines, ...more(moving)].join('\n')}\n`;
}

export function planText({ balance, moves, rejected, scaling, size }: PlanReport): string {
  const lines = [
    `Balance (${balance}): ${moves.length === 0 ? 'nothing would move' : `${moves.length} partitions would move`}`,
  ];
  for (const { topic, partition, from, to, goal, reason } of moves.slice(0, namedMax))
    lines.push(`  ${topic}-${partition}  ${from} → ${to}  ${goal}: ${reason}`);
  lines.push(...more(moves.length));
  if (rejected.length > 0) lines.push('', 'Stays as it is, though it is out of balance');
  for (const { goal, stream, from, to, reason } of rejected.slice(0, namedMax))
    lines.push(`  ${stream === '' ? '' : `${stream}  `}${from} → ${to}  ${goal}: ${reason}`);
  lines.push(...more(rejected.length), '', `Number of brokers (scaling ${scaling})`);
  lines.push(...(size === null ? ['  not computed yet'] : sizeLines(size)));
  return `${lines.join('\n')}\n`;
}

function sizeLines({ current, desired, drain, reasons, held }: SizeReport): string[] {
  const lines = [
    `Brokers: ${current}, by policy ${desired}${drain.length === 0 ? '' : `, to be drained: ${drain.join(', ')}`}`,
  ];
  for (const reason of reasons) lines.push(`  because ${reason}`);
  for (const reason of held) lines.push(`  held back: ${reason}`);
  return lines;
}

/** For programs as much as for people: decisions differ too much for a table. */
export function auditText({ records }: AuditReport): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}

export function drainText({ node, state, partitions }: DrainReport): string {
  return state === 'draining'
    ? `Broker ${node} is draining: ${partitions} partitions go to other brokers. It may be stopped when millrace cluster status says 0.\n`
    : `Broker ${node} takes partitions again; it has ${partitions}.\n`;
}

export function waitingText(waiting: readonly WaitingLog[]): string {
  if (waiting.length === 0) return 'No partition waits for a write-ahead log that cannot be read.\n';
  return `${waiting.flatMap(lossLines).join('\n')}\n`;
}

export function abandonedText(log: WaitingLog): string {
  return `The log ${log.logId} is given up; its partitions are opened by other brokers.\n${lossLines(log).join('\n')}\n`;
}

function lossLines({ logId, location, node, lastUploadMs, bytesEstimate, streams }: WaitingLog): string[] {
  const bytes =
    bytesEstimate === null
      ? 'not known'
      : `${bytesEstimate} bytes (${sizeText(bytesEstimate)}), as broker ${node} last said`;
  return [
    `Log ${logId} of broker ${node}: ${location}`,
    `  last upload      ${lastUploadMs === 0 ? 'never' : new Date(lastUploadMs).toISOString()}; what was acknowledged before is in objects`,
    `  may be lost      ${bytes}`,
    `  partitions       ${streams.length}, each from this offset on`,
    ...streams
      .slice(0, namedMax)
      .map(({ topic, partition, from }) => `    ${topic}-${partition} from offset ${from}`),
    ...more(streams.length),
  ];
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_cell, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map(
    (row) =>
      `  ${row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd()}`,
  );
}

function sizeText(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1_000 && unit < units.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

function more(count: number): string[] {
  return count > namedMax ? [`  and ${count - namedMax} more; --json names them`] : [];
}
