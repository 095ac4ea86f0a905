/**
 * CONTRACT between request handlers and the broker's control plane (main thread). Every call is answered after its
 * change is committed and every shard has applied that revision. Errors are wire error codes with a text for people.
 */
export interface TopicSpec {
  readonly name: string;
  readonly partitions: number;
  /** Explicit topic configs, already validated. */
  readonly configs: Readonly<Record<string, string>>;
  readonly internal: boolean;
  /** The broker of each partition, where the client chose; each is registered and not fenced. */
  readonly assignments?: readonly number[];
}

/** A topic's new number of partitions. */
export interface TopicGrowth {
  readonly topicId: string;
  readonly partitions: number;
  /** The broker of each new partition, where the client chose. */
  readonly assignments?: readonly number[];
}

export interface PartitionMove {
  readonly topicId: string;
  readonly partition: number;
  readonly node: number;
}

export interface ControlResult {
  /** Wire error code, 0 = done. */
  readonly error: number;
  readonly message: string | null;
}

export interface TopicCreated extends ControlResult {
  readonly topicId: string;
}

export interface ConfigEdit {
  readonly resource: 'topic' | 'broker' | 'cluster' | 'group' | 'client-metrics' | 'feature';
  /** Topic name, node id or '' (cluster default), group id. */
  readonly name: string;
  /** Null removes the entry. */
  readonly entries: Readonly<Record<string, string | null>>;
}

export interface ControlPlane {
  createTopics(topics: readonly TopicSpec[]): Promise<TopicCreated[]>;
  deleteTopics(topicIds: readonly string[]): Promise<ControlResult[]>;
  /** Grows topics; the counts are totals. */
  createPartitions(growth: readonly TopicGrowth[]): Promise<ControlResult[]>;
  alterConfigs(edits: readonly ConfigEdit[]): Promise<ControlResult[]>;
  /** Moves log starts forward (DeleteRecords). */
  moveLogStarts(
    moves: readonly { readonly topicId: string; readonly partition: number; readonly startOffset: number }[],
  ): Promise<ControlResult[]>;
  /** Says which broker is to own each partition; that one opens it once the present owner has let go. */
  assign(moves: readonly PartitionMove[]): Promise<ControlResult[]>;
  /** Forgets a broker that is fenced and has nothing any more. */
  removeBroker(node: number): Promise<ControlResult>;
  /** Reserves `count` producer ids nobody had before; resolves to the first. */
  producerIds(count: number): Promise<number>;
}
