/**
 * What Apache Kafka answered to the cases, kept in the repository: every machine can hold Millrace's answers against it, also
 * one on which Kafka cannot be had. `npm run test:long -- differential --record` asks Kafka again.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { generatedCases, scriptedKinds } from './cases/all.ts';
import type { Case, Step } from './side.ts';

const folder = 'test/fixtures/kafka-answers';

/** The kinds that are recorded. */
export const recordedKinds: Readonly<Record<string, readonly Case[]>> = {
  ...scriptedKinds,
  generated: generatedCases(1, 60),
};

/** Of the topics and groups of a case: the same in every run of it. */
export function placeName({ name }: Case): string {
  return `case-${createHash('sha256').update(name).digest('hex').slice(0, 8)}`;
}

const fileOf = (kind: string): string => join(folder, `${kind}.json.gz`);

/** Transcripts by the name of their case; empty where nothing was recorded. */
export function recordedAnswers(kind: string): ReadonlyMap<string, readonly Step[]> {
  const file = fileOf(kind);
  if (!existsSync(file)) return new Map();
  return new Map(JSON.parse(gunzipSync(readFileSync(file)).toString()) as [string, readonly Step[]][]);
}

/** Cases that are not among them keep what was recorded. */
export function record(transcripts: ReadonlyMap<string, readonly Step[]>): void {
  mkdirSync(folder, { recursive: true });
  for (const [kind, cases] of Object.entries(recordedKinds)) {
    const before = recordedAnswers(kind);
    const some = cases.flatMap(({ name }) => {
      const steps = transcripts.get(name) ?? before.get(name);
      return steps === undefined ? [] : [[name, steps] as const];
    });
    writeFileSync(fileOf(kind), gzipSync(JSON.stringify(some), { level: 9 }));
  }
}
