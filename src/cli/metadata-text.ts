/** What the commands over a cluster's metadata found or did, in words for a terminal. */
import type { MetadataStatus, MigrateReport, RestoreReport } from '../embedded/metadata-tools.ts';

const namedMax = 20;

type Logs = RestoreReport['logs'];

const standings: Readonly<Record<MetadataStatus['standing'], string>> = {
  none: 'The store holds no metadata of a cluster: the first broker that starts makes one.',
  store: 'The store keeps its metadata itself: a broker is started without --metadata.',
  etcd: 'The metadata are kept in the etcd; the journal in the store follows it.',
  unseen: 'The metadata are kept in an etcd, which does not answer: nothing can be said of it.',
  unfinished:
    'A restore or a move has not come to its end, and no broker can be started: run that command again.',
  lost: 'The etcd has lost what was committed: millrace restore makes the metadata anew from the journal in the store.',
  elsewhere:
    'That etcd holds other metadata than the store names: it is another one, or an older life of this cluster.',
};

export function statusText({ standing, store, etcd }: MetadataStatus): string {
  const { clusterId, authority, revision, entries, restored, brokers, logs } = store;
  const lines = [standings[standing]];
  if (clusterId !== '') {
    lines.push('', `Store: cluster ${clusterId}`);
    lines.push(`  authority   ${authority.kind === 'etcd' ? authority.location : 'the store itself'}`);
    lines.push(`  journal     up to revision ${revision}, ${entries} entries`);
    if (restored !== null)
      lines.push(
        `  restored    at revision ${restored.revision}; nothing is known between ${restored.cut} and that`,
      );
    for (const { node, epoch, state } of brokers) lines.push(`  broker ${node}    epoch ${epoch}, ${state}`);
    lines.push(...logLines(logs));
  }
  if (etcd !== null) {
    lines.push('', `etcd: ${etcd.location}`);
    if ('error' in etcd) lines.push(`  ${etcd.error}`);
    else {
      const { record, members } = etcd;
      lines.push(
        `  authority   ${record === null ? 'nothing is recorded' : record.state}${record?.state === 'moved' ? ` to ${record.to}` : ''}`,
      );
      if (record?.state === 'active')
        lines.push(
          `  log         up to revision ${etcd.revision}; the store’s journal up to ${etcd.journal}`,
        );
      lines.push(`  brokers     ${members.length === 0 ? 'none alive' : `alive: ${members.join(', ')}`}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

export function restoreText(report: RestoreReport): string {
  const { outcome, clusterId, to, cut, above, brokers, logs, streams, behind } = report;
  const said = {
    planned: `The metadata of cluster ${clusterId} would be made anew in ${to}. Nothing was written.`,
    restored: `The metadata of cluster ${clusterId} were made anew in ${to}.`,
    already: `The metadata of cluster ${clusterId} were made anew in ${to} before; nothing was to be done.`,
  };
  const lines = [said[outcome], '', 'What was cut'];
  lines.push(
    `  The journal ends at revision ${cut.revision}, stored ${new Date(cut.timeMs).toISOString()}.`,
    '  Topics, settings, assignments and deletions that were committed behind it are lost. Acknowledged records are',
    '  not: they are in objects that the journal names, or in the logs below.',
  );
  lines.push('', 'What goes on above all that can have been given behind it');
  lines.push(
    `  revisions ${above.revision}, leader epochs ${above.leaderEpoch}, epochs of brokers ${above.brokerEpoch},`,
    `  producer ids ${above.producerId}, object ids ${above.objectId}`,
  );
  lines.push(
    '',
    `Brokers that were registered, each to register anew: ${brokers.map(({ node }) => node).join(', ') || 'none'}`,
  );
  lines.push(...logLines(logs));
  if (streams.length > 0) {
    lines.push('', `Partitions whose ends only their logs say: ${streams.length}`);
    for (const { topic, partition, log, committedEnd } of streams.slice(0, namedMax))
      lines.push(`  ${topic}-${partition}: objects up to offset ${committedEnd}, the rest in ${log}`);
    lines.push(...more(streams.length));
  }
  const { objects } = behind;
  if (objects.count > 0)
    lines.push(
      '',
      `Objects in the store that the journal does not name and that are not older than its end: ${objects.count}, ${objects.bytes} bytes.`,
      '  What they hold is in the logs too. They stay until each of those partitions has been closed at its end.',
    );
  if (behind.logs.length > 0)
    lines.push(
      '',
      `Logs in the store that are not on record, and in which nothing was acknowledged: ${behind.logs.join(', ')}`,
    );
  if (outcome !== 'planned') lines.push('', `Start the brokers with --metadata ${to}.`);
  return `${lines.join('\n')}\n`;
}

export function migrateText({ outcome, clusterId, from, to, revision, logs }: MigrateReport): string {
  const said = {
    planned: `The metadata of cluster ${clusterId} would move from ${from} to ${to}. Nothing was written.`,
    moved: `The metadata of cluster ${clusterId} moved from ${from} to ${to}, at revision ${revision}.`,
    already: `The metadata of cluster ${clusterId} are in ${to} already; nothing was to be done.`,
  };
  const lines = [said[outcome], ...logLines(logs)];
  if (outcome !== 'planned')
    lines.push(
      '',
      to.startsWith('etcd:')
        ? `Start brokers with --metadata ${to}.`
        : 'Start one broker, without --metadata.',
    );
  return `${lines.join('\n')}\n`;
}

function logLines(logs: Logs): string[] {
  if (logs.length === 0) return ['', 'Logs that are open: none; all records are in objects'];
  const lines = ['', 'Logs that are open, with records that may be nowhere else'];
  for (const { logId, kind, location, node, streams } of logs.slice(0, namedMax))
    lines.push(`  ${logId} of broker ${node}: ${kind}, ${location}, ${streams} partitions open`);
  return [...lines, ...more(logs.length)];
}

function more(count: number): string[] {
  return count > namedMax ? [`  and ${count - namedMax} more; --json names all`] : [];
}
