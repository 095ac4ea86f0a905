/** What scenarios may do to a cluster, whoever made it: Millrace and Apache Kafka behind one interface. */
import type { Address } from '../../test/support/raw-client.ts';

export type ClusterSystem = 'millrace' | 'kafka';

export const clusterTitles: Readonly<Record<ClusterSystem, string>> = {
  millrace: 'Millrace',
  kafka: 'Apache Kafka',
};

/** One broker as a process on this machine. */
export interface NodeUnderTest {
  readonly id: number;
  readonly address: Address;
  readonly pid: number;
  readonly running: boolean;
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with its exit code, null after a signal, when it is gone. */
  stop(): Promise<number | null>;
  /** Again under its node id; resolves when it takes connections. */
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
  /** Resolves with its exit code when it ends by itself. */
  ended(): Promise<number | null>;
  /** The end of what it wrote to its standard error. */
  said(): string;
}

/** The metadata authority's own processes, where they can be taken away one by one. */
export interface AuthorityUnderTest {
  readonly members: number;
  readonly version: string;
  kill(member: number): Promise<void>;
  restart(member: number): Promise<void>;
  /** Deletes what a killed member has stored. */
  forget(member: number): void;
  /** Makes its contents anew from what the object store holds; all brokers have ended. Resolves with what was said about it. */
  restore(): Promise<string>;
}

/** An object store that can be told to answer late or not. */
export interface StoreUnderTest {
  /** Ms that each request waits, and the share of them, 0…1, that is refused with 503. */
  trouble(delayMs: number, refused: number): void;
  /** Requests since it was asked last. */
  requests(): number;
}

export interface ClusterUnderTest {
  readonly system: ClusterSystem;
  /** What stands in the report: versions, kinds of storage, settings that differ from the defaults. */
  readonly facts: Readonly<Record<string, string>>;
  readonly nodes: readonly NodeUnderTest[];
  /** Copies of each partition that a topic is given. */
  readonly replicas: number;
  readonly topicConfigs: Readonly<Record<string, string>>;
  readonly authority: AuthorityUnderTest | null;
  readonly store: StoreUnderTest | null;
  /** What brokers carry after `add` or before a removal is moved by the cluster itself; else by `spread`. */
  readonly balances: boolean;
  add(): Promise<NodeUnderTest>;
  /** Pages of metrics of all brokers that run, by node; empty where there are none. */
  pages(): Promise<ReadonlyMap<number, ReadonlyMap<string, number>>>;
  dispose(): Promise<void>;
}

export function runningNodes(cluster: ClusterUnderTest): NodeUnderTest[] {
  return cluster.nodes.filter(({ running }) => running);
}

export function nodeOf(cluster: ClusterUnderTest, id: number): NodeUnderTest {
  const found = cluster.nodes.find((node) => node.id === id);
  if (found === undefined) throw new Error(`no broker ${id}`);
  return found;
}
