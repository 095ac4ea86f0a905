/**
 * What a scenario says: its variants, each a small description that a measure of its kind carries out (measures.ts). Nothing
 * here runs anything.
 */
import type { BatchShape } from '../clients/batch-pool.ts';
import type { Places, SystemName } from '../systems/system.ts';
import type { FigureName } from './figures.ts';
import type { Tracked } from './schema.ts';

/**
 * How often requests are sent. `share` = of what the slower system had at most in the variant of that name, so that all
 * systems get the same; `device` = of the device's own speed with writes of 1 MiB.
 */
export type Rate =
  | { readonly kind: 'max' }
  | { readonly kind: 'requests'; readonly perSecond: number }
  | { readonly kind: 'bytes'; readonly mbPerSecond: number }
  | { readonly kind: 'share'; readonly of: string; readonly share: number }
  | { readonly kind: 'device'; readonly share: number };

interface AnyVariant {
  readonly name: string;
  readonly title: string;
  readonly tracked: readonly Tracked[];
  /** Figures that the table shows, in their order. */
  readonly shows: readonly FigureName[];
  /** Measured only where --vs names nobody, or only for these. */
  readonly only?: readonly SystemName[];
  /** Left out of --quick runs, for what takes long by nature. */
  readonly long?: boolean;
  /** Another length of the window, in terms of the run's. */
  readonly secondsFactor?: number;
  /** On its topic. */
  readonly topicConfigs?: Readonly<Record<string, string>>;
}

export interface LoadVariant extends AnyVariant {
  readonly kind: 'load';
  readonly connections: number;
  /** Requests under way per connection. */
  readonly depth: number;
  readonly partitions: number;
  readonly batch: BatchShape;
  readonly rate: Rate;
  /** The window ends earlier with so many bytes; 0 = no bound. */
  readonly bytesMax?: number;
  readonly consumers?: {
    readonly connections: number;
    /** Each reads its share of the partitions; else each reads all. */
    readonly split: boolean;
  };
}

/** Clients that are connected and wait: processor time of nothing. */
export interface IdleVariant extends AnyVariant {
  readonly kind: 'idle';
  readonly consumers: number;
  readonly partitions: number;
}

/** Metadata requests for all topics. */
export interface MetadataVariant extends AnyVariant {
  readonly kind: 'metadata';
  readonly connections: number;
  readonly topics: number;
  readonly partitionsEach: number;
  readonly rate: Rate;
}

/** Readers from the beginning while a producer goes on at the end. */
export interface CatchUpVariant extends AnyVariant {
  readonly kind: 'catch-up';
  readonly readers: number;
  readonly partitions: number;
  /** What lies there before, in MB. */
  readonly backlogMb: number;
  readonly tailMbPerSecond: number;
}

/** Transactional producers, one transaction after the other. */
export interface TransactionVariant extends AnyVariant {
  readonly kind: 'transactions';
  readonly producers: number;
  readonly recordsPerTransaction: number;
  readonly valueBytes: number;
  readonly partitions: number;
}

/** From empty directories to the first acknowledgement. */
export interface StartVariant extends AnyVariant {
  readonly kind: 'start';
}

/** Resident memory with so much of everything and no load. */
export interface MemoryVariant extends AnyVariant {
  readonly kind: 'memory';
  readonly connections: number;
  readonly topics: number;
  readonly partitionsEach: number;
}

/** A client that people use, as a program. */
export interface ProgramVariant extends AnyVariant {
  readonly kind: 'program';
  readonly program: 'kafka-producer-perf' | 'kafka-consumer-perf' | 'kafkajs' | 'librdkafka';
  readonly recordBytes: number;
  /** Records a second; 0 = as many as it can. */
  readonly recordsPerSecond: number;
  readonly partitions: number;
}

export type Variant =
  | LoadVariant
  | IdleVariant
  | MetadataVariant
  | CatchUpVariant
  | TransactionVariant
  | StartVariant
  | MemoryVariant
  | ProgramVariant;
export type VariantKind = Variant['kind'];

/** Kinds whose runs start systems of their own: nothing is warmed for them. */
export const ownSystems: ReadonlySet<VariantKind> = new Set(['start', 'memory']);

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** A sentence or two: what is measured, and why. */
  readonly what: string;
  readonly places: Places;
  readonly tls?: boolean;
  readonly settings?: Readonly<Partial<Record<SystemName, Readonly<Record<string, string>>>>>;
  /** Of a window; --seconds says otherwise. */
  readonly seconds: number;
  readonly variants: readonly Variant[];
}
