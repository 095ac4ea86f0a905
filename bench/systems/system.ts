/** CONTRACT of a system under test: started by the harness, on places it is told, measured from outside. */
import type { Address } from '../../test/support/raw-client.ts';
import type { Page } from '../recorder/metrics-page.ts';

/** kafka = as it comes, acknowledged from the page cache; kafka-flush = flushed before each acknowledgement. */
export const systemNames = ['millrace', 'kafka', 'kafka-flush'] as const;
export type SystemName = (typeof systemNames)[number];

export const systemTitles: Readonly<Record<SystemName, string>> = {
  millrace: 'Millrace',
  kafka: 'Apache Kafka',
  'kafka-flush': 'Apache Kafka, flushing',
};

/** Where logs and objects lie: on the disk, in memory, or in an S3 server of its own beside. */
export type Place = 'disk' | 'tmpfs';
export interface Places {
  readonly log: Place;
  /** Millrace's objects; s3 = a server on loopback, whose processor time is not the broker's. */
  readonly store: Place | 's3';
}

/** What a reader has to know before comparing: each a sentence or a value, the same names for all systems. */
export interface SystemFacts {
  readonly version: string;
  readonly runtime: string;
  readonly acknowledges: string;
  readonly flushes: string;
  readonly validates: string;
  readonly copies: string;
  readonly memory: string;
  /** Settings that differ from its defaults. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface SystemOptions {
  readonly places: Places;
  readonly settings: Readonly<Partial<Record<SystemName, Readonly<Record<string, string>>>>>;
  readonly tls: boolean;
  readonly threads: number;
}

export interface SystemUnderTest {
  readonly name: SystemName;
  readonly address: Address;
  /** The listener with TLS, where it was asked for, and the authority to trust there as PEM. */
  readonly secured: { readonly address: Address; readonly ca: string } | null;
  readonly pid: number;
  /** Processes beside, such as an S3 server. */
  readonly helpers: readonly number[];
  readonly readyMs: number;
  readonly facts: SystemFacts;
  /** What it fills; the first is where its log lies. */
  readonly directories: readonly string[];
  /** Of memory that its memory-backed caches want to have used once before they are warm. */
  readonly warmBytes: number;
  /** Null where it has none. */
  page(): Promise<Page | null>;
  threadNames(): Promise<ReadonlyMap<number, string>>;
  stop(): Promise<void>;
}
