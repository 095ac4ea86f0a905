/** Systems of their own for each run: how long from nothing to the first acknowledgement, and how much memory it all takes. */

import { BatchPool } from '../../test/support/load/batches.ts';
import { shapeOf } from '../clients/batch-pool.ts';
import { startLoad } from '../clients/load-process.ts';
import { stockConsumer } from '../clients/plan.ts';
import { processCpuSeconds, residentBytes } from '../recorder/recorder.ts';
import type { SystemOptions } from '../systems/system.ts';
import { Bed } from './bed.ts';
import { makeTopics } from './measure-idle.ts';
import type { MeasureContext, Measured } from './measures.ts';
import type { MemoryVariant, StartVariant } from './scenario.ts';
import { nothingMeasured } from './schema.ts';
import { sleep, within } from './time-limits.ts';

const connectSecondsMax = 120;
/** A start is over, and what it leaves to do, when nothing asks anything for so long. */
const quietMs = 5_000;
const quickQuietMs = 500;

export function optionsOf(context: MeasureContext): SystemOptions {
  const { scenario, options } = context;
  return {
    places: scenario.places,
    settings: scenario.settings ?? {},
    tls: false,
    threads: options.threads,
  };
}

export async function measureStart(context: MeasureContext<StartVariant>): Promise<Measured> {
  const batch = new BatchPool(shapeOf(1024, 1), 1).take();
  const bed = await Bed.start(context.bed.name, optionsOf(context));
  const readyAt = performance.now();
  try {
    const topic = await bed.makeTopic(1);
    await bed.admin((connection) => connection.produce(topic, 0, batch));
    const firstAckMs = bed.system.readyMs + performance.now() - readyAt;
    return {
      ...nothingMeasured,
      figures: {
        readyMs: bed.system.readyMs,
        firstAckMs,
        startCpuSeconds: processCpuSeconds(bed.system.pid),
        rssMb: residentBytes(bed.system.pid) / 1e6,
      },
    };
  } finally {
    await bed.stop();
  }
}

export async function measureMemory(context: MeasureContext<MemoryVariant>): Promise<Measured> {
  const { variant } = context;
  const bed = await Bed.start(context.bed.name, optionsOf(context));
  const quiet = context.options.quick ? quickQuietMs : quietMs;
  try {
    if (variant.topics > 0) await makeTopics(bed, variant.topics, variant.partitionsEach);
    if (variant.connections === 0) {
      await sleep(quiet);
      return { ...nothingMeasured, figures: { rssMb: residentBytes(bed.system.pid) / 1e6 } };
    }
    const topic = await bed.makeTopic(1);
    const load = startLoad({
      ...stockConsumer,
      address: bed.system.address,
      ca: null,
      connections: variant.connections,
      topic,
      partitions: 1,
      split: true,
      fetchBytes: 1024 * 1024,
      recordsPerBatch: 1,
    });
    try {
      await within(connectSecondsMax, 'connecting', Promise.race([load.ready, load.failed]));
      load.go();
      await sleep(quiet);
      return { ...nothingMeasured, figures: { rssMb: residentBytes(bed.system.pid) / 1e6 } };
    } finally {
      await load.stop();
    }
  } finally {
    await bed.stop();
  }
}
