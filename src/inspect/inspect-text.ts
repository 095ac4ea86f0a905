/** An inspection in words, for a terminal: sections in the order in which one asks. */
import type { BucketReport, PartitionReport, Problem, Sum, TopicReport } from './inspect-report.ts';

const problemsShown = 100;

export function inspectText(report: BucketReport): string {
  const lines = [`Store ${report.store}`];
  const { cluster, journal } = report;
  if (cluster === null && journal.entries === 0)
    lines.push('  no cluster: there is no journal below meta/log/');
  else lines.push(...clusterLines(report));
  for (const topic of report.topics) lines.push('', ...topicLines(topic));
  lines.push('', ...objectLines(report));
  if (report.verified !== null) {
    const { objects, batches, bytes } = report.verified;
    lines.push('', `Verified: ${objects} objects, ${batches} batches, ${size(bytes)} of records`);
  }
  lines.push('', ...problemLines(report));
  return `${lines.join('\n')}\n`;
}

function clusterLines({ cluster, journal, wals }: BucketReport): string[] {
  const lines: string[] = [];
  lines.push(
    cluster === null ? '  cluster unknown' : `  cluster ${cluster.clusterId}, revision ${cluster.revision}`,
  );
  for (const { node, epoch, address } of cluster?.brokers ?? [])
    lines.push(`  broker ${node} at ${address}, epoch ${epoch}`);
  lines.push(
    '',
    `Journal: ${journal.entries} entries, ${journal.first} to ${journal.last}, ${size(journal.bytes)}`,
  );
  lines.push(`  last written by ${journal.lastWriter} at ${time(journal.lastWrittenMs)}`);
  lines.push(`  snapshots at ${journal.snapshots.join(', ') || 'no entry yet'}`);
  lines.push(`  ${journal.sealCount} takeovers`);
  for (const { number, epoch, writer } of journal.seals)
    lines.push(`    ${number}: epoch ${epoch}, ${writer}`);
  lines.push('', `Write-ahead logs: ${wals.length}`);
  for (const { logId, kind, state, node, location, freed, lastUploadMs } of wals) {
    const upload = lastUploadMs === 0 ? 'nothing uploaded yet' : `last upload ${time(lastUploadMs)}`;
    lines.push(
      `  ${logId}  ${state}, ${kind}, node ${node}, ${location}, uploaded to commit ${freed.sequence}, ${upload}`,
    );
  }
  return lines;
}

function topicLines({ name, topicId, internal, configs, partitions }: TopicReport): string[] {
  const set = Object.entries(configs).map(([key, value]) => `${key}=${value}`);
  const lines = [
    `Topic ${name}  ${topicId}${internal ? ', internal' : ''}${set.length === 0 ? '' : `, ${set.join(' ')}`}`,
  ];
  lines.push(`  ${row(['partition', 'state', 'epoch', 'start', 'end', 'objects', 'bytes', 'manifest'])}`);
  for (const partition of partitions) lines.push(`  ${row(partitionCells(partition))}`);
  return lines;
}

function partitionCells(partition: PartitionReport): string[] {
  const { startOffset, endOffset, objects, bytes, manifestVersion } = partition;
  return [
    String(partition.partition),
    partition.state,
    String(partition.leaderEpoch),
    String(startOffset),
    String(endOffset),
    String(objects),
    size(bytes),
    manifestVersion === 0 ? '-' : String(manifestVersion),
  ];
}

function row(cells: readonly string[]): string {
  return cells.map((cell, i) => (i === 1 ? cell.padEnd(7) : cell.padStart(9))).join(' ');
}

function objectLines(report: BucketReport): string[] {
  const { objects, manifests, walObjects, unfinishedUploads, foreign } = report;
  const lines = [
    'Objects',
    `  several streams each       ${sum(objects.streamSet)}`,
    `  one stream each            ${sum(objects.stream)}`,
    `  named by manifests         ${sum(objects.manifest)}`,
    `  kept for producers, too    ${sum(objects.leftovers)}`,
    `  on the way out             ${sum(objects.dropped)}, of which ${objects.due} are due`,
    `  named by nothing           ${sum(objects.orphans)}`,
    ...objects.orphanKeys.map((key) => `    ${key}`),
    `  manifests                  ${sum(manifests.current)}; others ${sum(manifests.other)}`,
    `  unfinished uploads         ${unfinishedUploads}`,
  ];
  for (const { logId, state, entries, seals } of walObjects)
    lines.push(`  WAL ${logId}, ${state}: ${sum(entries)}, ${seals} seals`);
  if (foreign.count > 0) lines.push(`  not Millrace's             ${sum(foreign)}`);
  return lines;
}

function problemLines({ problems, problemCount, verified }: BucketReport): string[] {
  if (problemCount === 0)
    return [verified === null ? 'No contradictions; --verify also reads every object.' : 'No problems.'];
  const lines = [`${problemCount} ${problemCount === 1 ? 'problem' : 'problems'}:`];
  for (const problem of problems.slice(0, problemsShown)) lines.push(`  ${problemText(problem)}`);
  if (problemCount > problemsShown) lines.push(`  … and ${problemCount - problemsShown} more`);
  return lines;
}

function problemText({ where, position, concerns, what }: Problem): string {
  const place = position === null ? where : `${where} at byte ${position}`;
  return `${place}: ${what}${concerns === '' ? '' : ` (${concerns})`}`;
}

function sum({ count, bytes }: Sum): string {
  return `${count}, ${size(bytes)}`;
}

/** Powers of ten, as storage is billed. */
function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

function time(ms: number): string {
  return ms === 0 ? 'an unknown time' : new Date(ms).toISOString();
}
