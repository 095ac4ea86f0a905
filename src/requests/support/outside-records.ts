/**
 * Produce requests whose frame lies outside of the arena, because it was too large for it (decision 0058): each batch is
 * copied into the arena by itself, so that the handler and the log find records where they always are. Shard thread.
 * A batch that its topic would refuse for its size is answered here and never copied; one that finds no memory is
 * refused as when the log is full: its producer comes again. Requests in the arena pass untouched.
 */
import type { Arena } from '../../ports/arena.ts';
import { ErrorCode, errorName } from '../../protocol/generated/errors.ts';
import type {
  ProduceRequest,
  ProduceRequestPartitionProduceData,
  ProduceRequestTopicProduceData,
  ProduceResponseInput,
  ProduceResponsePartitionProduceResponseInput,
} from '../../protocol/generated/produce.ts';
import { batchVerdict, type VerdictEntry, verdictTable } from '../../protocol/records/validate.ts';
import type { RequestHandler } from './handler.ts';
import type { TopicDirectory } from './topic-directory.ts';

export interface OutsideRecordsDeps {
  readonly topics: TopicDirectory;
  readonly arena: Arena;
  /** Arena memory with a reference of its own, or −1 while there is none. */
  readonly allocate: (bytes: number) => number;
  /** Largest batch that the WAL takes. */
  readonly batchBytesMax: number;
  readonly observe: { refused(error: number): void };
}

type Refusal = Pick<VerdictEntry, 'error' | 'message'>;

const tooLarge: Refusal = verdictTable[batchVerdict.tooLarge]!;
const noMemory: Refusal = {
  error: ErrorCode.NOT_ENOUGH_REPLICAS,
  message: 'The broker has no memory for this batch at the moment.',
};

type ProduceHandler = RequestHandler<ProduceRequest, ProduceResponseInput>;

export function withOutsideRecords(inner: ProduceHandler, deps: OutsideRecordsDeps): ProduceHandler {
  const { arena } = deps;
  const memory = arena.buffer.buffer;
  return {
    ...inner,
    handle(context, request, respond) {
      if (!liesOutside(request, memory)) {
        inner.handle(context, request, respond);
        return;
      }
      const batches = new PlacedBatches(deps, context.apiVersion);
      const kept = batches.place(request);
      try {
        inner.handle(context, kept, (response) => respond(response && batches.merge(response)));
      } finally {
        // What was appended has references of its own by now.
        batches.release();
      }
      if (request.acks === 0 && batches.refusedError !== 0) {
        context.close(`a produce request with acks=0 failed with ${errorName(batches.refusedError)}`);
      }
    },
  };
}

function liesOutside({ topicData }: ProduceRequest, memory: ArrayBufferLike): boolean {
  for (const { partitionData } of topicData)
    for (const { records } of partitionData) if (records !== null) return records.buffer !== memory;
  return false;
}

class PlacedBatches {
  readonly #deps: OutsideRecordsDeps;
  readonly #version: number;
  readonly #placed: { readonly position: number; readonly bytes: number }[] = [];
  /** By topic of the request, by partition in it: what was refused here, null for what the handler judges. */
  readonly #answers: (ProduceResponsePartitionProduceResponseInput | null)[][] = [];
  /** Of any batch refused here, else 0. */
  refusedError = 0;

  constructor(deps: OutsideRecordsDeps, version: number) {
    this.#deps = deps;
    this.#version = version;
  }

  /** The request with what the handler may see. */
  place(request: ProduceRequest): ProduceRequest {
    return {
      ...request,
      topicData: request.topicData.map((topic) => {
        const answers: (ProduceResponsePartitionProduceResponseInput | null)[] = [];
        this.#answers.push(answers);
        const partitionData: ProduceRequestPartitionProduceData[] = [];
        for (const data of topic.partitionData) {
          const records = this.#placeOne(topic, data);
          if (records === null || records instanceof Uint8Array) {
            partitionData.push({ ...data, records });
            answers.push(null);
            continue;
          }
          this.refusedError = records.error;
          this.#deps.observe.refused(records.error);
          answers.push({
            index: data.index,
            errorCode: records.error,
            baseOffset: -1,
            errorMessage: records.message,
          });
        }
        return { ...topic, partitionData };
      }),
    };
  }

  #placeOne(
    topic: ProduceRequestTopicProduceData,
    { index, records }: ProduceRequestPartitionProduceData,
  ): Uint8Array | null | Refusal {
    const { topics, arena, allocate, batchBytesMax } = this.#deps;
    const image = this.#version >= 13 ? topics.topicById(topic.topicId) : topics.topicByName(topic.name);
    const partition = image === undefined ? undefined : topics.partition(image.topicId, index);
    // The handler has an answer for partitions that are not here, whatever was sent to them.
    if (records === null || partition === undefined) return null;
    const bytes = records.byteLength;
    if (bytes > Math.min(partition.settings.maxMessageBytes, batchBytesMax)) return tooLarge;
    const position = allocate(bytes);
    if (position < 0) return noMemory;
    this.#placed.push({ position, bytes });
    const place = arena.buffer.subarray(position, position + bytes);
    place.set(records);
    return place;
  }

  release(): void {
    for (const { position, bytes } of this.#placed) this.#deps.arena.releaseRange(position, bytes);
    this.#placed.length = 0;
  }

  /** The handler's answer with what was refused here in its place. */
  merge(response: ProduceResponseInput): ProduceResponseInput {
    return {
      ...response,
      responses: response.responses!.map((topic, t) => {
        let next = 0;
        const handled = topic.partitionResponses!;
        return {
          ...topic,
          partitionResponses: this.#answers[t]!.map((refused) => refused ?? handled[next++]!),
        };
      }),
    };
  }
}
