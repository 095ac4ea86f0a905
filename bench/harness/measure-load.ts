/** Producers, with consumers at the end or without, at a rate or as fast as answers come. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { loadKindFor } from '../clients/load-process.ts';
import { type ConsumePlan, type ProducePlan, stockConsumer } from '../clients/plan.ts';
import { windowDollars } from './dollars.ts';
import { windowFigures } from './figures.ts';
import { checkLoss, lossProblem } from './loss-check.ts';
import type { MeasureContext, Measured } from './measures.ts';
import { poolFor } from './pools.ts';
import type { LoadVariant } from './scenario.ts';
import { writeBack } from './settle.ts';
import { measureWindow, type WindowResult } from './window.ts';

/** A load that uses more of a core may be what was measured. */
const loadShareMax = 0.85;

export async function measureLoad(context: MeasureContext<LoadVariant>): Promise<Measured> {
  const { variant, bed, lengths } = context;
  const { partitions } = variant;
  const topic = await bed.makeTopic(partitions, variant.topicConfigs);
  const ledger = join(context.directory, `ledger-${topic}-${bed.name}`);
  const pool = poolFor(context.directory, variant.batch, variant.connections * variant.depth);
  try {
    const send = producePlan(context, topic, ledger);
    const window = await measureWindow(bed, {
      send,
      consume: consumePlan(context, topic),
      portable: context.options.portableLoad,
    });
    const loss =
      bed.system.secured !== null || context.scenario.tls === true
        ? null
        : await checkLoss(bed, {
            topic,
            partitions,
            ledger,
            recordsPerBatch: variant.batch.recordsPerBatch,
            batchBytes: pool.batchBytes,
            // What the broker compresses anew has other bytes, and another CRC.
            readBytesMax:
              context.verifies && variant.topicConfigs?.['compression.type'] === undefined
                ? lengths.verifyBytesMax
                : 0,
          });
    const written = await writeBack(bed, lengths.settleSecondsMax);
    const kind = loadKindFor(send, context.options.portableLoad ? 'portable' : 'native');
    const measured = loadRun(window, kind, send.requestsPerSecond);
    const problem = loss === null ? null : lossProblem(loss);
    return {
      ...measured,
      figures: { ...measured.figures, writeBackSeconds: written },
      loss,
      remarks: problem === null ? measured.remarks : [...measured.remarks, problem],
    };
  } finally {
    rmSync(ledger, { force: true });
    await bed.dropTopics([topic]);
  }
}

export function producePlan(
  context: MeasureContext<LoadVariant>,
  topic: string,
  ledger: string | null,
): ProducePlan {
  const { variant, bed } = context;
  const pool = poolFor(context.directory, variant.batch, variant.connections * variant.depth);
  const secured = context.scenario.tls === true ? bed.system.secured : null;
  return {
    kind: 'produce',
    address: secured?.address ?? bed.system.address,
    ca: secured?.ca ?? null,
    connections: variant.connections,
    depth: variant.depth,
    topic,
    partitions: variant.partitions,
    requestsPerSecond: context.rate(variant.rate, pool.batchBytes),
    leadSeconds: context.lengths.leadSeconds,
    seconds: context.seconds,
    bytesMax: variant.bytesMax ?? 0,
    pool: pool.path,
    recordsPerBatch: variant.batch.recordsPerBatch,
    ledger,
  };
}

function consumePlan(context: MeasureContext<LoadVariant>, topic: string): ConsumePlan | null {
  const { variant, bed } = context;
  if (variant.consumers === undefined) return null;
  const secured = context.scenario.tls === true ? bed.system.secured : null;
  return {
    ...stockConsumer,
    address: secured?.address ?? bed.system.address,
    ca: secured?.ca ?? null,
    connections: variant.consumers.connections,
    topic,
    partitions: variant.partitions,
    split: variant.consumers.split,
    recordsPerBatch: variant.batch.recordsPerBatch,
    endToEnd: variant.batch.codec === 'none',
  };
}

export function loadRun(window: WindowResult, kind: string, requestsPerSecond: number): Measured {
  const { send, usage, latency, endToEnd, store, loop } = window;
  const cpuShare = send.cpuSeconds / Math.max(1e-9, send.seconds);
  const remarks: string[] = [];
  if (send.unsent > 0 && requestsPerSecond > 0)
    remarks.push(`did not keep up: ${send.unsent} requests were due and could not be sent`);
  if (send.unanswered > 0) remarks.push(`${send.unanswered} requests without an answer after ten seconds`);
  if (send.refused > 0) remarks.push(`${send.refused} requests refused for want of room and sent again`);
  if (cpuShare > loadShareMax) remarks.push(`the load used ${Math.round(cpuShare * 100)} % of a core`);
  const figures = windowFigures({
    seconds: send.seconds,
    requests: send.requests,
    bytesIn: send.bytes,
    bytesOut: window.bytesOut,
    usage,
    latency,
    endToEnd,
    store,
    dollars: windowDollars(usage, store),
  });
  if (loop !== null) {
    figures['loopP99Ms'] = loop.p99Ms;
    figures['loopMaxMs'] = loop.maxMs;
  }
  return {
    figures,
    usage,
    latency,
    endToEnd,
    store,
    loop,
    load: { kind, cpuShare, slipMs: send.slipMs },
    loss: null,
    remarks,
  };
}
