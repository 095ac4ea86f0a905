/**
 * strace of the broker, since kill -9 keeps the page cache and so cannot show a missing flush: the log is written with
 * O_DIRECT and O_DSYNC, and each acknowledgement is sent only after the write that holds its batch has returned.
 *
 * In the native case the file is opened with O_DSYNC and O_DIRECT is set with fcntl(F_SETFL). Each batch carries a
 * marker of its own and each request a correlation id of its own; both are looked for in the traced bytes.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildBatch } from '../../src/protocol/records/batch-builder.ts';
import { crc32c } from '../support/load/batches.ts';
import { BrokerChild } from '../support/load/broker-child.ts';
import { produceEnvelope, RawConnection } from '../support/raw-client.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome, skipped } from './outcome.ts';

const produces = 200;
const correlationBase = 0x4b000000;
const topic = 'traced';

interface Findings {
  readonly flags: string;
  readonly faults: string[];
  readonly matched: number;
}

async function trace(context: LongContext, name: string, native: boolean): Promise<Findings> {
  const log = join(context.directory, `${name}.strace`);
  const broker = new BrokerChild({
    dataDir: join(context.directory, name),
    settings: native ? {} : { native: 'off' },
    wrapper: [
      'strace',
      '-f',
      '-xx',
      '-s',
      '12000',
      '-e',
      'trace=openat,fcntl,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg',
      '-o',
      log,
    ],
  });
  try {
    await broker.start();
    const connection = await RawConnection.connect(broker.address, 'traced');
    await connection.createTopic(topic, 1);
    for (let i = 0; i < produces; i++) {
      const batch = buildBatch([{ key: null, value: marker(i), timestamp: 1_700_000_000_000 }], {}, crc32c);
      const { head, tail, correlationAt } = produceEnvelope(topic, 0, batch.length);
      head.writeInt32BE(correlationBase + i, correlationAt);
      await new Promise<void>((resolve, reject) => {
        connection.sendFrame(
          [Buffer.concat([head, batch, tail])],
          correlationBase + i,
          () => resolve(),
          reject,
        );
      });
    }
    await connection.close();
  } finally {
    await broker.stop();
  }
  return judge(readFileSync(log, 'latin1').split('\n'));
}

function marker(i: number): Buffer {
  return Buffer.from(`marker-${String(i).padStart(6, '0')}`);
}

const hex = (bytes: Uint8Array) =>
  Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');

/** Line numbers are the order of events: an unfinished call ends at its "resumed" line. */
function judge(lines: readonly string[]): Findings {
  const faults: string[] = [];
  const opened = openedLogs(lines);
  let fd = '';
  let flags = '';
  // The log is opened where it is found and again by the thread that writes it: the one that gets the batches counts.
  for (const [each, itsFlags] of opened) {
    if (!lines.some((line) => writeTo(each).test(line) && line.includes(hex(marker(0))))) continue;
    fd = each;
    flags = itsFlags;
  }
  if (fd === '')
    faults.push(
      `no batch was written to any of the logs opened: ${[...opened].map(([each, itsFlags]) => `${each} ${itsFlags}`).join()}`,
    );
  if (!flags.includes('O_DSYNC')) faults.push(`the log was opened without O_DSYNC: ${flags}`);
  if (!flags.includes('O_DIRECT')) faults.push(`the log was not written with O_DIRECT: ${flags}`);

  const writeCall = writeTo(fd);
  let matched = 0;
  const durableAt = new Map<number, number>();
  const ackAt = new Map<number, number>();
  for (let n = 0; n < lines.length; n++) {
    const line = lines[n]!;
    const call = writeCall.exec(line);
    if (call !== null) {
      for (let i = 0; i < produces; i++)
        if (line.includes(hex(marker(i)))) durableAt.set(i, returnedAt(lines, n, call[1]!));
    } else if (/^\d+\s+(write|writev|sendto|sendmsg)\(/.test(line)) {
      const ids = new RegExp(`${hex(Buffer.of(0x4b, 0, 0)).replaceAll('\\', '\\\\')}\\\\x([0-9a-f]{2})`, 'g');
      for (const found of line.matchAll(ids)) {
        const i = Number.parseInt(found[1]!, 16);
        if (!ackAt.has(i)) ackAt.set(i, n);
      }
    }
  }
  for (let i = 0; i < produces; i++) {
    const durable = durableAt.get(i);
    const ack = ackAt.get(i);
    if (durable === undefined) faults.push(`no write to the log holds batch ${i}`);
    else if (ack === undefined) faults.push(`the acknowledgement of batch ${i} is not in the trace`);
    else if (ack < durable) faults.push(`batch ${i} was acknowledged before its write returned`);
    else matched++;
  }
  return { flags, faults, matched };
}

function writeTo(fd: string): RegExp {
  return new RegExp(`^(\\d+)\\s+pwrite(?:v2?|64)\\(${fd}, `);
}

/** Descriptor and flags of each log opened for writing, with what fcntl set afterwards. */
function openedLogs(lines: readonly string[]): Map<string, string> {
  const walHex = hex(Buffer.from('.wal'));
  const opened = new Map<string, string>();
  for (let n = 0; n < lines.length; n++) {
    const line = lines[n]!;
    const open = /^(\d+)\s+openat\([^,]*, "([^"]*)", ([A-Z_|0-9]+)/.exec(line);
    if (open !== null && open[2]!.endsWith(walHex) && open[3]!.includes('O_RDWR')) {
      const end = lines[returnedAt(lines, n, open[1]!)] ?? '';
      const fd = /= (\d+)$/.exec(end);
      if (fd !== null) opened.set(fd[1]!, open[3]!);
    }
    const set = /fcntl\((\d+), F_SETFL, ([A-Z_|0-9]+)/.exec(line);
    const before = set === null ? undefined : opened.get(set[1]!);
    if (before !== undefined) opened.set(set![1]!, `${before} + fcntl(F_SETFL, ${set![2]})`);
  }
  return opened;
}

function returnedAt(lines: readonly string[], from: number, thread: string): number {
  if (!lines[from]!.includes('<unfinished ...>')) return from;
  for (let n = from + 1; n < lines.length; n++)
    if (lines[n]!.startsWith(`${thread} `) && lines[n]!.includes(' resumed>')) return n;
  return Number.POSITIVE_INFINITY;
}

async function run(context: LongContext): Promise<LongOutcome> {
  try {
    execFileSync('strace', ['-o', '/dev/null', 'true'], { stdio: 'ignore' });
  } catch {
    return skipped('strace is missing or not permitted here');
  }
  const native = await trace(context, 'native', true);
  const portable = await trace(context, 'portable', false);
  return outcome(
    [
      ...native.faults.map((fault) => `native: ${fault}`),
      ...portable.faults.map((fault) => `portable: ${fault}`),
    ],
    [
      `native: ${native.flags}; ${native.matched} of ${produces} acknowledgements after their write's return`,
      `portable: ${portable.flags}; ${portable.matched} of ${produces}`,
    ],
    { native, portable, produces },
  );
}

export const walTrace: LongScript = {
  name: 'wal-trace',
  what: 'strace: O_DIRECT and O_DSYNC, and each acknowledgement after the return of its write',
  run,
};
