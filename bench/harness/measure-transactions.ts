/** Transactions one after the other, by producers that current clients are like. */
import { fileURLToPath } from 'node:url';
import { startProgram } from '../clients/load-process.ts';
import type { TransactionPlan } from '../clients/transactions.process.ts';
import { loadRun } from './measure-load.ts';
import type { MeasureContext, Measured } from './measures.ts';
import type { TransactionVariant } from './scenario.ts';
import { measureWindow } from './window.ts';

const entry = fileURLToPath(new URL('../clients/transactions.process.js', import.meta.url));

export async function measureTransactions(context: MeasureContext<TransactionVariant>): Promise<Measured> {
  const { variant, bed, lengths } = context;
  const topic = await bed.makeTopic(variant.partitions);
  try {
    const plan: TransactionPlan = {
      address: bed.system.address,
      topic,
      partitions: variant.partitions,
      producers: variant.producers,
      recordsPerTransaction: variant.recordsPerTransaction,
      valueBytes: variant.valueBytes,
      leadSeconds: lengths.leadSeconds,
      seconds: context.seconds,
    };
    const load = startProgram(entry, plan);
    const window = await measureWindow(bed, {
      send: { load, leadSeconds: plan.leadSeconds, seconds: plan.seconds, bytesMax: 0 },
      consume: null,
      portable: false,
    });
    const { remarks, figures, ...rest } = loadRun(
      { ...window, send: { ...window.send, refused: 0 } },
      'transactions',
      0,
    );
    const retries = window.send.refused / Math.max(1, window.send.allRequests);
    return {
      ...rest,
      figures: {
        ...figures,
        transactionsPerSecond: figures['requestsPerSecond'] ?? 0,
        cpuUsPerTransaction: figures['cpuUsPerRequest'] ?? Number.NaN,
      },
      remarks: [...remarks, `${retries.toFixed(2)} answers to come again per transaction`],
    };
  } finally {
    await bed.dropTopics([topic]);
  }
}
