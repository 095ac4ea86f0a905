/**
 * Transactions of real clients, and what a reader of committed records must find then: each family sends by a script of commits,
 * aborts, fenced and forgotten producers; families read each other; each copies between topics with its group's offsets in the
 * same transactions.
 */
import type { Family } from './families.ts';
import type { Answer, Client, Job } from './jobs.ts';

/** Families with transactions, and the letters that each of them can do (jobs.ts). */
export const transactors: readonly { readonly family: Family; readonly letters: string }[] = [
  { family: 'java', letters: 'caiezt' },
  { family: 'python', letters: 'caiezt' },
  { family: 'franz-go', letters: 'caiezt' },
  // Of version 1; it waits for each answer, and an abort of nothing is an error of its own.
  { family: 'kafkajs', letters: 'cazt' },
];

export function scriptFor(script: string, letters: string): string {
  return [...script].filter((letter) => letters.includes(letter)).join('');
}

/** Values of a script's committed transactions, by partition in their order. */
export function committedBy(id: string, script: string, partitions: number): string[][] {
  return Array.from({ length: partitions }, (_, partition) =>
    [...script].flatMap((letter, round) =>
      letter === 'c' ? [0, 1].map((number) => `${id} ${round} keep ${partition} ${number}`) : [],
    ),
  );
}

/** Values by partition, in the order of their offsets. */
export function valuesOf({ records }: Pick<Answer, 'records'>, partitions: number): string[][] {
  return Array.from({ length: partitions }, (_, partition) =>
    records
      .filter((record) => record.partition === partition)
      .sort((a, b) => a.offset! - b.offset!)
      .map(({ value }) => String(value)),
  );
}

/** Offsets behind the last record of each partition, in all. */
export function endOf({ records }: Pick<Answer, 'records'>, partitions: number): number {
  const ends = new Array<number>(partitions).fill(0);
  for (const { partition, offset } of records) ends[partition!] = Math.max(ends[partition!]!, offset! + 1);
  return ends.reduce((sum, end) => sum + end, 0);
}

export async function done(client: Client, bootstrap: string, job: Job): Promise<Answer> {
  const [answer] = await client.run(bootstrap, [job]);
  if (answer!.error !== null) throw new Error(`${job.op} ${job.topic}: ${answer!.error}`);
  return answer!;
}
