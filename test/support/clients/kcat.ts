/**
 * kcat as a client. Text only, and one set of headers a run: of a record's headers it is sent the one that names its
 * set, with a run for each set in the records' order.
 */

import { debianPackages, step } from '../installed.ts';
import { patienceMs } from '../patience.ts';
import type { ClientRecord } from '../real-records.ts';
import { runProgram } from '../run-program.ts';
import { type Answer, type Client, codecs, type Job } from './jobs.ts';

const outputMax = 64 * 1024 * 1024;

/** MILLRACE_CLIENT_TLS names a directory of ca.pem, client.pem and client.key: connections are of TLS then. */
function connection(): string[] {
  const secured = process.env.MILLRACE_CLIENT_TLS;
  if (secured === undefined) return [];
  const files = { ca: 'ca.pem', certificate: 'client.pem', key: 'client.key' };
  return [
    'security.protocol=ssl',
    ...Object.entries(files).map(([what, file]) => `ssl.${what}.location=${secured}/${file}`),
  ].flatMap((setting) => ['-X', setting]);
}

interface KcatMessage {
  readonly partition: number;
  readonly offset: number;
  readonly key: string | null;
  readonly payload: string | null;
  readonly headers?: readonly string[];
}

export async function openKcat(): Promise<Client> {
  try {
    await step('kcat', ['-V']);
  } catch {
    await debianPackages(['kcat']);
    await step('kcat', ['-V']);
  }
  return {
    operations: ['produce', 'consume'],
    codecs,
    sendable: ({ key, value, headers }) => ({
      key,
      value,
      headers: headers.filter(([name]) => name === 'set'),
    }),
    async run(bootstrap, jobs) {
      const answers: Answer[] = [];
      for (const job of jobs) {
        if (job.op === 'produce')
          answers.push({ error: await produce(bootstrap, job), values: {}, records: [] });
        else if (job.op === 'consume') answers.push({ ...(await consume(bootstrap, job)), values: {} });
        else answers.push({ error: `kcat does not do ${job.op}`, values: {}, records: [] });
      }
      return answers;
    },
  };
}

async function produce(bootstrap: string, job: Job & { op: 'produce' }): Promise<string | null> {
  const runs = new Map<string, string[]>();
  for (const { key, value, headers } of job.records) {
    const set = headers.find(([name]) => name === 'set')?.[1]?.toString() ?? '';
    const lines = runs.get(set) ?? [];
    if (lines.length === 0) runs.set(set, lines);
    lines.push(`${key}\t${value}\n`);
  }
  for (const [set, lines] of runs) {
    const args = ['-P', '-b', bootstrap, '-t', job.topic, '-K', '\t', '-z', job.codec, '-H', `set=${set}`];
    args.push('-X', 'enable.idempotence=true', '-X', 'acks=all', '-X', 'message.timeout.ms=120000');
    const { code, err } = await runProgram('kcat', [...connection(), ...args], {
      input: lines.join(''),
      timeoutMs: patienceMs,
    });
    if (code !== 0 || err.includes('ERROR')) return `exit ${code}: ${err.trim().slice(-400)}`;
  }
  return null;
}

async function consume(
  bootstrap: string,
  job: Job & { op: 'consume' },
): Promise<{ error: string | null; records: ClientRecord[] }> {
  const args = [
    '-b',
    bootstrap,
    '-G',
    job.group,
    '-J',
    '-c',
    String(job.count),
    '-X',
    'auto.offset.reset=earliest',
    job.topic,
  ];
  const { code, out, err } = await runProgram('kcat', [...connection(), ...args], {
    timeoutMs: patienceMs,
    outputMax,
  });
  const lines = out.split('\n').filter((line) => line.startsWith('{'));
  const records = lines.map((line) => recordOf(JSON.parse(line) as KcatMessage));
  const enough = records.length === job.count;
  return {
    error:
      code === 0 && enough
        ? null
        : `exit ${code}: ${records.length} records instead of ${job.count}: ${err.trim().slice(-400)}`,
    records,
  };
}

function recordOf(message: KcatMessage): ClientRecord {
  const headers: [string, Buffer][] = [];
  const named = message.headers ?? [];
  for (let at = 0; at + 1 < named.length; at += 2) headers.push([named[at]!, Buffer.from(named[at + 1]!)]);
  return {
    key: message.key === null ? null : Buffer.from(message.key),
    value: message.payload === null ? null : Buffer.from(message.payload),
    headers,
    partition: message.partition,
    offset: message.offset,
  };
}
