/**
 * Members of a share group that Apache Kafka's client makes up (ShareWorkers.java), in processes of their own. What was delivered (D)
 * and confirmed as accepted (A) they write into a log, a line each.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IncrementalAlterConfigsCodec } from '../../../../src/protocol/generated/incremental-alter-configs.ts';
import { installed, sources, step } from '../../installed.ts';
import type { RawConnection } from '../../raw-client.ts';
import { jars, javaFlags } from './java.ts';

export interface Said {
  readonly kind: string;
  /** partition/offset */
  readonly record: string;
  /** Of deliveries. */
  readonly count: number;
}

export class ShareWorkers {
  readonly #command: readonly string[];
  readonly #directory = mkdtempSync(join(tmpdir(), 'millrace-share-'));
  readonly #children: ChildProcess[] = [];
  readonly #logs: string[] = [];

  private constructor(command: readonly string[]) {
    this.#command = command;
  }

  static async open(bootstrap: string, topic: string, group: string): Promise<ShareWorkers> {
    const path = await jars('clients');
    const source = join(sources, 'java', 'ShareWorkers.java');
    const classes = await installed('java-share', readFileSync(source, 'utf8') + path, async (aside) => {
      cpSync(source, join(aside, 'ShareWorkers.java'));
      await step('javac', ['-cp', path, '-d', aside, join(aside, 'ShareWorkers.java')]);
    });
    return new ShareWorkers([
      ...javaFlags,
      '-cp',
      `${classes}:${path}`,
      'ShareWorkers',
      bootstrap,
      topic,
      group,
    ]);
  }

  /** A process with so many members. */
  start(members: number): ChildProcess {
    const log = join(this.#directory, String(this.#logs.length));
    this.#logs.push(log);
    const command = [...this.#command, String(members), log];
    const child = spawn('java', command, { stdio: ['pipe', 'ignore', 'ignore'] });
    this.#children.push(child);
    return child;
  }

  /** What all processes have said, one process after the other. */
  said(): Said[] {
    return this.#logs.flatMap(read);
  }

  accepted(): number {
    return this.said().filter(({ kind }) => kind === 'A').length;
  }

  dispose(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function read(log: string): Said[] {
  if (!existsSync(log)) return [];
  const lines = readFileSync(log, 'utf8').split('\n');
  // The last line may be cut off.
  return lines.slice(0, -1).map((line) => {
    const [kind, partition, offset, count] = line.split(' ');
    return { kind: kind!, record: `${partition}/${offset}`, count: Number(count) };
  });
}

/** The group reads from the start of logs, and its locks end as soon as they may. Returns the error. */
export async function configureShareGroup(connection: RawConnection, group: string): Promise<number> {
  const { responses } = await connection.request(IncrementalAlterConfigsCodec, 1, {
    resources: [
      {
        resourceType: 32,
        resourceName: group,
        configs: [
          { name: 'share.auto.offset.reset', value: 'earliest', configOperation: 0 },
          { name: 'share.record.lock.duration.ms', value: '15000', configOperation: 0 },
        ],
      },
    ],
  });
  return responses[0]!.errorCode;
}

/** Records delivered, and those that were delivered again although they had been confirmed, in the order said. */
export function judged(said: readonly Said[]): { readonly delivered: Set<string>; readonly wrong: string[] } {
  const confirmed = new Set<string>();
  const delivered = new Set<string>();
  const wrong: string[] = [];
  for (const { kind, record } of said) {
    if (kind === 'A') confirmed.add(record);
    if (kind !== 'D') continue;
    if (confirmed.has(record)) wrong.push(record);
    delivered.add(record);
  }
  return { delivered, wrong };
}
