/**
 * What every client program understands, so that all can be held to the same: a file of jobs, one a line, run in order,
 * and one line of answer each on standard output.
 *
 *   job:     op=consume TAB topic=... TAB count=... TAB group=... TAB output=/path
 *   answer:  ok TAB name=value TAB name=value      or      error TAB text
 *
 * | op        | takes                                   | does                                                        |
 * |-----------|-----------------------------------------|-------------------------------------------------------------|
 * | produce   | topic, codec, input                     | sends the file's records: idempotent, acks=all              |
 * | consume   | topic, count, group, output             | reads count records as a group's member, commits just those |
 * | rebalance | topic, partitions, count, group, output | a member alone, then two, then one again; all is read       |
 * | admin     | topic                                   | a topic's life through the admin client                     |
 * | transact  | topic, partitions, id, script           | transactions one after another, a letter each (see Job)     |
 * | copy      | topic, to, group, id, count, drops      | from topic to topic, offsets in the same transactions       |
 *
 * Records' form: ../real-records.ts. No value holds a tab or a line end.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endWithUs } from '../end-with-us.ts';
import { patienceMs } from '../patience.ts';
import { type ClientRecord, formatRecords, parseRecords } from '../real-records.ts';
import { runProgram } from '../run-program.ts';

export const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
export type CodecName = (typeof codecs)[number];

export type Job =
  | {
      readonly op: 'produce';
      readonly topic: string;
      readonly codec: CodecName;
      readonly records: readonly ClientRecord[];
    }
  | {
      readonly op: 'consume';
      readonly topic: string;
      readonly count: number;
      readonly group: string;
      readonly protocol?: 'consumer';
      /** Only what is committed is read; default: all. */
      readonly isolation?: 'committed';
    }
  | {
      readonly op: 'rebalance';
      readonly topic: string;
      readonly partitions: number;
      readonly count: number;
      readonly group: string;
      readonly protocol?: 'consumer';
    }
  | { readonly op: 'admin'; readonly topic: string }
  | {
      readonly op: 'transact';
      readonly topic: string;
      readonly partitions: number;
      /** Transactional id. */
      readonly id: string;
      /**
       * c commit; a abort when all is sent; i abort at once, while records are being sent; e abort of nothing; z a newer producer
       * begins meanwhile and the older one must be refused; t open until the broker has ended it, and then refused.
       * A value is `id round keep|drop partition number`, two for each partition in each transaction that sends at all.
       */
      readonly script: string;
    }
  | {
      readonly op: 'copy';
      readonly topic: string;
      readonly to: string;
      readonly group: string;
      readonly id: string;
      /** Ends when the group has committed so much in all. */
      readonly count: number;
      /** Every so manieth transaction is aborted; its records are those of value `dropped`. */
      readonly drops: number;
    };

/** `error` is null when the job was done; `records` are what a consumer read, also when it failed. */
export interface Answer {
  readonly error: string | null;
  readonly values: Readonly<Record<string, string>>;
  readonly records: ClientRecord[];
}

export interface Client {
  readonly operations: readonly Job['op'][];
  readonly codecs: readonly CodecName[];
  /** What of a record this client cannot send is left out; equality is against this. */
  sendable(record: ClientRecord): ClientRecord;
  /** Runs jobs one after another; an answer each, in order. Never rejects. */
  run(bootstrap: string, jobs: readonly Job[]): Promise<Answer[]>;
  /** Starts one job whose file lies in `directory`, for whoever ends it himself; what it says goes to `output`'s descriptor. */
  start?(bootstrap: string, job: Job, directory: string, output: number): ChildProcess;
}

/** A client whose program speaks the jobs' form itself. `command` gets bootstrap and the file of jobs appended. */
export function driverClient(
  command: readonly [string, ...string[]],
  able: Pick<Client, 'operations' | 'codecs'> & { readonly env?: Record<string, string> },
): Client {
  return {
    operations: able.operations,
    codecs: able.codecs,
    sendable: (record) => record,
    async run(bootstrap, jobs) {
      const directory = mkdtempSync(join(tmpdir(), 'millrace-client-'));
      try {
        const lines = jobs.map((job, at) => jobLine(job, directory, at));
        const file = join(directory, 'jobs');
        writeFileSync(file, lines.join(''));
        const { out, err } = await runProgram(command[0], [...command.slice(1), bootstrap, file], {
          timeoutMs: patienceMs * jobs.length,
          ...(able.env === undefined ? {} : { env: able.env }),
        });
        const answers = out.split('\n').filter((line) => /^(ok|error)(\t|$)/.test(line));
        return jobs.map((job, at) => answerOf(job, answers[at], err, join(directory, `${at}.out`)));
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    start(bootstrap, job, directory, output) {
      const file = join(directory, 'job');
      writeFileSync(file, jobLine(job, directory, 0));
      const child = spawn(command[0], [...command.slice(1), bootstrap, file], {
        stdio: ['ignore', output, output],
        env: { ...process.env, ...able.env },
      });
      endWithUs(child);
      return child;
    },
  };
}

function jobLine(job: Job, directory: string, at: number): string {
  const input = join(directory, `${at}.in`);
  const fields: Record<string, string | number> = { op: job.op, topic: job.topic };
  if (job.op === 'produce') {
    writeFileSync(input, formatRecords(job.records));
    Object.assign(fields, { codec: job.codec, input });
  } else if (job.op !== 'admin') {
    Object.assign(fields, job, { output: join(directory, `${at}.out`) });
  }
  return `${Object.entries(fields)
    .map(([name, value]) => `${name}=${value}`)
    .join('\t')}\n`;
}

function answerOf(job: Job, line: string | undefined, err: string, output: string): Answer {
  const [verdict, ...rest] = (line ?? 'error\tthe program ended without an answer').split('\t');
  let records: ClientRecord[] = [];
  let unread: string | null = null;
  if (job.op === 'consume' || job.op === 'rebalance') {
    try {
      records = parseRecords(readFileSync(output, 'latin1'));
    } catch (error) {
      unread = `no records: ${String(error)}`;
    }
  }
  if (verdict === 'error') {
    const said = err.trim().split('\n').slice(-3).join(' | ').slice(-600);
    return { error: said === '' ? rest.join(' ') : `${rest.join(' ')} [${said}]`, values: {}, records };
  }
  const values = Object.fromEntries(
    rest.filter((part) => part.includes('=')).map((part) => part.split(/=(.*)/s, 2)),
  );
  return { error: unread, values, records };
}
