/** Protocol codecs on the hot path: decoding a Produce request, encoding its answer, decoding and encoding Fetch. */
import { FetchCodec } from '../../src/protocol/generated/fetch.ts';
import { ProduceCodec } from '../../src/protocol/generated/produce.ts';
import { Reader } from '../../src/protocol/reader.ts';
import { Writer } from '../../src/protocol/writer.ts';
import { type MicroFigure, runTasks } from './tasks.ts';

const version = { produce: 9, fetch: 12 } as const;
const partitions = 16;

export async function run(): Promise<MicroFigure[]> {
  const records = Buffer.alloc(1024, 1);
  const encode = (write: (writer: Writer) => void): Buffer => {
    const writer = new Writer();
    write(writer);
    return Buffer.from(writer.written);
  };
  const range = Array.from({ length: partitions }, (_, index) => index);
  const produce = encode((writer) =>
    ProduceCodec.encodeRequest(
      writer,
      { acks: -1, timeoutMs: 1000, topicData: [{ name: 'topic', partitionData: [{ index: 0, records }] }] },
      version.produce,
    ),
  );
  const fetch = encode((writer) =>
    FetchCodec.encodeRequest(
      writer,
      {
        maxWaitMs: 500,
        minBytes: 1,
        maxBytes: 1 << 20,
        topics: [
          {
            topic: 'topic',
            partitions: range.map((partition) => ({
              partition,
              fetchOffset: 12_345,
              partitionMaxBytes: 1 << 20,
            })),
          },
        ],
      },
      version.fetch,
    ),
  );
  const produced = {
    responses: [
      {
        name: 'topic',
        partitionResponses: [{ index: 0, errorCode: 0, baseOffset: 12_345, logStartOffset: 0 }],
      },
    ],
  };
  const fetched = {
    responses: [
      {
        topic: 'topic',
        partitions: range.map((partitionIndex) => ({
          partitionIndex,
          errorCode: 0,
          highWatermark: 12_345,
          lastStableOffset: 12_345,
          records,
        })),
      },
    ],
  };
  const reader = new Reader(produce);
  const writer = new Writer();
  return runTasks([
    {
      name: 'decode Produce, 1 partition',
      bytesPerOp: 0,
      act: () => {
        reader.reset(produce);
        ProduceCodec.decodeRequest(reader, version.produce);
      },
    },
    {
      name: 'encode its answer',
      bytesPerOp: 0,
      act: () => {
        writer.reset();
        ProduceCodec.encodeResponse(writer, produced, version.produce);
      },
    },
    {
      name: `decode Fetch, ${partitions} partitions`,
      bytesPerOp: 0,
      act: () => {
        reader.reset(fetch);
        FetchCodec.decodeRequest(reader, version.fetch);
      },
    },
    {
      name: 'encode its answer with 1 KiB each',
      bytesPerOp: 0,
      act: () => {
        writer.reset();
        FetchCodec.encodeResponse(writer, fetched, version.fetch);
      },
    },
  ]);
}
