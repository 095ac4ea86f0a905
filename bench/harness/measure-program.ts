/** A client that people use, from its start to its end; the broker's processor time is that of the whole run. */
import { shapeOf } from '../clients/batch-pool.ts';
import { runClientProgram } from '../clients/programs.ts';
import type { MeasureContext, Measured } from './measures.ts';
import { poolFor } from './pools.ts';
import type { ProgramVariant } from './scenario.ts';
import { measureTime, measureWindow } from './window.ts';

/** Of a program whose rate is its own affair, guessed so that a run lasts about as long as others. */
const recordsASecondGuess = 50_000;
const programSecondsSpare = 90;
const fillConnections = 4;

export async function measureProgram(context: MeasureContext<ProgramVariant>): Promise<Measured> {
  const { variant, bed } = context;
  const topic = await bed.makeTopic(variant.partitions);
  try {
    const perSecond = variant.recordsPerSecond === 0 ? recordsASecondGuess : variant.recordsPerSecond;
    const records = Math.round(perSecond * context.seconds);
    if (variant.program === 'kafka-consumer-perf') await fill(context, topic, records);
    let said: Awaited<ReturnType<typeof runClientProgram>> | null = null;
    const { usage, store, loop } = await measureTime(bed, async () => {
      said = await runClientProgram(variant.program, {
        address: bed.system.address,
        topic,
        records,
        recordBytes: variant.recordBytes,
        recordsPerSecond: variant.recordsPerSecond,
        secondsMax: context.seconds * 4 + programSecondsSpare,
      });
    });
    const result = said as unknown as Awaited<ReturnType<typeof runClientProgram>>;
    const gb = (result.records * variant.recordBytes) / 1e9;
    return {
      figures: {
        recordsPerSecond: result.recordsPerSecond,
        mbPerSecond: (result.recordsPerSecond * variant.recordBytes) / 1e6,
        cpuSecondsPerGb: usage.cpuSeconds / gb,
        ...(result.p50Ms === null ? {} : { p50Ms: result.p50Ms }),
        ...(result.p99Ms === null ? {} : { p99Ms: result.p99Ms }),
      },
      usage,
      latency: null,
      endToEnd: null,
      store,
      loop,
      load: null,
      loss: null,
      remarks: result.records < records ? [`${result.records} of ${records} records were sent or read`] : [],
    };
  } finally {
    await bed.dropTopics([topic]);
  }
}

/** As many records as the consumer wants to read, or some more. */
async function fill(context: MeasureContext<ProgramVariant>, topic: string, records: number): Promise<void> {
  const { variant, bed } = context;
  const shape = shapeOf(variant.recordBytes * 64, 64);
  const pool = poolFor(context.directory, shape, fillConnections * 2);
  await measureWindow(bed, {
    send: {
      kind: 'produce',
      address: bed.system.address,
      ca: null,
      connections: fillConnections,
      depth: 2,
      topic,
      partitions: variant.partitions,
      requestsPerSecond: 0,
      leadSeconds: 0,
      seconds: 120,
      bytesMax: Math.ceil(records / shape.recordsPerBatch + fillConnections * 2) * pool.batchBytes,
      pool: pool.path,
      recordsPerBatch: shape.recordsPerBatch,
      ledger: null,
    },
    consume: null,
    portable: false,
  });
}
