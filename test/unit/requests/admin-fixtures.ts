/** What the tests of metadata and admin handlers share: a folded image, partitions that answer at once, one call. */

import {
  type OffsetAnswer,
  offsetQuery,
  type PartitionHandle,
  type ProducerDescription,
  type ProducersAnswer,
} from '../../../src/log/partition-handle.ts';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import type {
  ClusterImage,
  EpochStart,
  MetadataChange,
  TopicImage,
} from '../../../src/metadata/metadata-store.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { Reader } from '../../../src/protocol/reader.ts';
import { Writer } from '../../../src/protocol/writer.ts';
import {
  type ConfigCatalog,
  type ConfigDefinition,
  type ConfigScope,
  configType,
} from '../../../src/requests/support/config-catalog.ts';
import type {
  ConfigEdit,
  ControlPlane,
  ControlResult,
  PartitionMove,
  TopicGrowth,
  TopicSpec,
} from '../../../src/requests/support/control-plane.ts';
import type { RequestContext, RequestHandler } from '../../../src/requests/support/handler.ts';
import type { TopicDirectory } from '../../../src/requests/support/topic-directory.ts';

export const nodeId = 7;
export const endpoint = () => ({ nodeId, host: 'broker.example', port: 9092, rack: null });

export function topicId(n: number): string {
  const bytes = Buffer.alloc(16, 0x41);
  bytes.writeUInt32BE(n, 12);
  return bytes.toString('base64url');
}

/** A log that answers from a list of timestamps, one record per offset. */
export class FakePartition implements PartitionHandle {
  readonly topicId: string;
  readonly partition: number;
  readonly settings = {
    maxMessageBytes: 1_000_000,
    logAppendTime: false,
    compacted: false,
    trustCompressed: false,
    decompressedBytesMax: 1 << 20,
    timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
    timestampAfterMaxMs: Number.POSITIVE_INFINITY,
  };
  leaderEpoch = 3;
  highWatermark = 10;
  lastStableOffset = 8;
  startOffset = 2;
  live = true;
  epochs: EpochStart[] = [
    { epoch: 1, startOffset: 0 },
    { epoch: 3, startOffset: 6 },
  ];
  timestamps: number[] = Array.from({ length: 10 }, (_, i) => 1_000 + i * 10);
  /** While set, questions wait here instead of being answered. */
  held: (() => void)[] | null = null;
  producers: ProducerDescription[] = [];

  constructor(id: string, partition: number) {
    this.topicId = id;
    this.partition = partition;
  }

  describeProducers(answer: ProducersAnswer): void {
    answer(0, this.producers);
  }

  verify(): void {
    throw new Error('not used here');
  }

  query(kind: number, argument: number, answer: OffsetAnswer): void {
    const run = (): void => this.#answer(kind, argument, answer);
    if (this.held === null) run();
    else this.held.push(run);
  }

  #answer(kind: number, argument: number, answer: OffsetAnswer): void {
    if (kind === offsetQuery.epochEnd) {
      const unheard = argument > this.leaderEpoch;
      const at = this.epochs.findLastIndex(({ epoch }) => epoch <= argument);
      const end = this.epochs[at + 1]?.startOffset ?? this.highWatermark;
      answer(0, unheard ? -1 : end, -1, unheard ? -1 : (this.epochs[at]?.epoch ?? argument));
      return;
    }
    const time = kind === offsetQuery.maxTimestamp ? Math.max(...this.timestamps) : argument;
    const offset = this.timestamps.findIndex((each, i) => each >= time && i >= this.startOffset);
    if (offset < 0) answer(0, -1, -1, -1);
    else
      answer(
        0,
        offset,
        this.timestamps[offset]!,
        this.epochs.findLast((e) => e.startOffset <= offset)!.epoch,
      );
  }

  append(): void {
    throw new Error('not used here');
  }
  read(): void {
    throw new Error('not used here');
  }
  sent(): void {
    throw new Error('not used here');
  }
  watch(): void {}
  unwatch(): void {}
}

export class FakeTopics implements TopicDirectory {
  replica(): undefined {
    return undefined;
  }

  readonly builder = new ImageBuilder();
  readonly partitions = new Map<string, FakePartition>();
  readonly watchers = new Set<() => void>();
  #next = 1;

  constructor() {
    this.builder.apply([{ type: 'cluster', clusterId: 'abcdefghijklmnopqrstuv', createdMs: 0 }]);
  }

  get image(): ClusterImage {
    return this.builder.image;
  }

  topicByName(name: string): TopicImage | undefined {
    return this.image.topicsByName.get(name);
  }

  topicById(id: string): TopicImage | undefined {
    return this.image.topicsById.get(id);
  }

  partition(id: string, index: number): FakePartition | undefined {
    return this.partitions.get(`${id}/${index}`);
  }

  watch(listener: () => void): () => void {
    this.watchers.add(listener);
    return () => this.watchers.delete(listener);
  }

  /** Tells whoever waits for the image. */
  changed(): void {
    for (const watcher of [...this.watchers]) watcher();
  }

  /** Makes a topic whose partitions are open here; returns its id. */
  add(name: string, count = 1, configs: Record<string, string> = {}, internal = false): string {
    const id = topicId(this.#next++);
    const changes: MetadataChange[] = [
      { type: 'topic', name, topicId: id, partitions: count, configs, internal },
    ];
    for (let partition = 0; partition < count; partition++) {
      changes.push({
        type: 'open',
        topicId: id,
        partition,
        leaderEpoch: 3,
        startOffset: 0,
        node: nodeId,
        wal: 'w',
      });
      this.partitions.set(`${id}/${partition}`, new FakePartition(id, partition));
    }
    this.builder.apply(changes);
    for (let partition = 0; partition < count; partition++) {
      this.topicByName(name)!.partitions[partition]!.epochs = this.partition(id, partition)!.epochs;
    }
    return id;
  }
}

/** Notes every call and says yes, unless told what to answer. */
export class FakeControl implements ControlPlane {
  readonly created: TopicSpec[] = [];
  readonly deleted: string[] = [];
  readonly grown: TopicGrowth[] = [];
  readonly edits: ConfigEdit[] = [];
  readonly moves: { topicId: string; partition: number; startOffset: number }[] = [];
  readonly assigned: PartitionMove[] = [];
  readonly removed: number[] = [];
  idCalls = 0;
  nextId = 4_000;
  answer: ControlResult = { error: 0, message: null };
  /** While set, every call hangs on it. */
  gate: Promise<unknown> = Promise.resolve();

  async createTopics(topics: readonly TopicSpec[]) {
    this.created.push(...topics);
    await this.gate;
    return topics.map((_, i) => ({ ...this.answer, topicId: topicId(500 + i) }));
  }
  async deleteTopics(ids: readonly string[]) {
    this.deleted.push(...ids);
    await this.gate;
    return ids.map(() => this.answer);
  }
  async createPartitions(growth: readonly TopicGrowth[]) {
    this.grown.push(...growth);
    await this.gate;
    return growth.map(() => this.answer);
  }
  async alterConfigs(edits: readonly ConfigEdit[]) {
    this.edits.push(...edits);
    await this.gate;
    return edits.map(() => this.answer);
  }
  async moveLogStarts(moves: readonly { topicId: string; partition: number; startOffset: number }[]) {
    this.moves.push(...moves);
    await this.gate;
    return moves.map(() => this.answer);
  }
  async assign(moves: readonly PartitionMove[]) {
    this.assigned.push(...moves);
    await this.gate;
    return moves.map(() => this.answer);
  }
  async removeBroker(node: number) {
    this.removed.push(node);
    await this.gate;
    return this.answer;
  }
  async producerIds(count: number): Promise<number> {
    this.idCalls++;
    await this.gate;
    this.nextId += count;
    return this.nextId - count;
  }
}

const define = (name: string, type: number, defaultValue: string | null, more = {}): ConfigDefinition => ({
  name,
  type,
  defaultValue,
  readOnly: false,
  perBroker: false,
  sensitive: false,
  documentation: `What ${name} does.`,
  brokerName: null,
  internal: false,
  ...more,
});

const tables: Record<ConfigScope, readonly ConfigDefinition[]> = {
  topic: [
    define('cleanup.policy', configType.list, 'delete', { brokerName: 'log.cleanup.policy' }),
    define('retention.ms', configType.long, '604800000', { brokerName: 'log.retention.ms' }),
  ],
  broker: [
    define('log.cleanup.policy', configType.list, 'delete'),
    define('log.retention.ms', configType.long, '604800000'),
    define('node.id', configType.int, null, { readOnly: true }),
    define('secret', configType.password, null, { sensitive: true }),
  ],
  group: [define('consumer.session.timeout.ms', configType.int, '45000')],
  'client-metrics': [define('interval.ms', configType.int, '300000')],
};

export const catalog: ConfigCatalog & { readonly statics: Map<string, string> } = {
  statics: new Map([
    ['node.id', '7'],
    ['secret', 'hush'],
  ]),
  definitions: (scope) => tables[scope],
  definition: (scope, name) => tables[scope].find((each) => each.name === name),
  staticValue: (name) => catalog.statics.get(name),
  valueProblem: (scope, name, value) =>
    tables[scope].find((each) => each.name === name)?.type === configType.long && !/^-?\d+$/.test(value)
      ? `Invalid value ${value} for ${name}.`
      : null,
  relationProblem: (_scope, entries) =>
    entries['cleanup.policy'] === 'compact' && entries['retention.ms'] === '1'
      ? 'These two do not go together.'
      : null,
};

export const context = (apiVersion: number, listener = 'PLAINTEXT'): RequestContext => ({
  apiVersion,
  clientId: 'test',
  clientHost: '/127.0.0.1',
  connectionId: 1,
  listener,
  principal: 'User:ANONYMOUS',
  may: () => true,
  close() {},
  whileParked() {},
});

/** The parts of a generated codec that a client has. */
interface ClientCodec<Input, Response> {
  encodeRequest(writer: Writer, input: Input, version: number): void;
  decodeResponse(reader: Reader, version: number): Response;
}

/** Sends a request through the wire form both ways, as a client of that version would. */
export function call<Request, Input, ResponseInput, Response>(
  handler: RequestHandler<Request, ResponseInput>,
  codec: ClientCodec<Input, Response>,
  version: number,
  input: Input,
  listener?: string,
): Promise<Response> {
  const writer = new Writer();
  codec.encodeRequest(writer, input, version);
  const request = handler.codec.decodeRequest(new Reader(Buffer.from(writer.written)), version);
  return new Promise((resolve, reject) => {
    let answers = 0;
    handler.handle(context(version, listener), request, (response) => {
      answers++;
      if (response === null || answers > 1) {
        reject(new Error('exactly one answer is due'));
        return;
      }
      const out = new Writer();
      handler.codec.encodeResponse(out, response, version);
      const reader = new Reader(Buffer.from(out.written));
      const decoded = codec.decodeResponse(reader, version);
      if (reader.position === reader.end) resolve(decoded);
      else reject(new Error('bytes were left over'));
    });
  });
}

export { ErrorCode };
