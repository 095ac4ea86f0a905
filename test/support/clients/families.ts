/** The client families that Millrace is held to, by name. Opening one installs what is missing; an Error says why not. */
import { openFranzGo } from './go/go.ts';
import { openConsole } from './java/console.ts';
import { openJava } from './java/java.ts';
import type { Client } from './jobs.ts';
import { openConfluentJs, openKafkaJs } from './js/js.ts';
import { openKcat } from './kcat.ts';
import { openPython } from './python/python.ts';

export const families = [
  'kcat',
  'python',
  'kafkajs',
  'confluent-js',
  'java',
  'java-console',
  'franz-go',
] as const;
export type Family = (typeof families)[number];

export interface OpenOptions {
  /** Also build what takes minutes. */
  readonly slow: boolean;
}

const open: Readonly<Record<Family, (options: OpenOptions) => Promise<Client>>> = {
  kcat: openKcat,
  python: openPython,
  kafkajs: openKafkaJs,
  'confluent-js': ({ slow }) => openConfluentJs(slow),
  java: openJava,
  'java-console': openConsole,
  'franz-go': openFranzGo,
};

/** The client, or the reason why this machine has none. */
export async function openFamily(family: Family, options: OpenOptions): Promise<Client | string> {
  try {
    return await open[family](options);
  } catch (error) {
    return `${family} cannot be had here: ${error instanceof Error ? error.message : String(error)}`;
  }
}
