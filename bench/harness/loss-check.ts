/** Whether what was acknowledged is there: the ends of all partitions, and the last batches of each, read back and compared. */
import { acknowledgedBatches, readLedger } from '../clients/ledger.ts';
import { startLoad } from '../clients/load-process.ts';
import type { LoadPlan, ReadState } from '../clients/plan.ts';
import type { Bed } from './bed.ts';
import type { LossCheck } from './schema.ts';
import { within } from './time-limits.ts';

const readSecondsMax = 60;
/** Ends are asked for one partition at a time: of more, every so manieth. */
const endsMax = 500;

export async function checkLoss(
  bed: Bed,
  what: {
    readonly topic: string;
    readonly partitions: number;
    readonly ledger: string;
    readonly recordsPerBatch: number;
    readonly batchBytes: number;
    /** 0 = only the ends. */
    readonly readBytesMax: number;
  },
): Promise<LossCheck> {
  const ledger = readLedger(what.ledger);
  const acknowledged = acknowledgedBatches(ledger);
  let short = 0;
  const step = Math.ceil(what.partitions / endsMax);
  await bed.admin(async (connection) => {
    for (let partition = 0; partition < what.partitions; partition += step) {
      const end = await connection.listOffset(what.topic, partition, -1);
      if (end < (ledger.crcs[partition]?.length ?? 0) * what.recordsPerBatch) short++;
    }
  });
  const none = { acknowledgedBatches: acknowledged, shortPartitions: short };
  const lastBatches = Math.floor(what.readBytesMax / what.batchBytes / what.partitions);
  if (lastBatches < 1) return { ...none, comparedBatches: 0, unacknowledgedBatches: 0, error: null };
  const plan: LoadPlan = {
    kind: 'consume',
    address: bed.system.address,
    ca: null,
    connections: 1,
    topic: what.topic,
    partitions: what.partitions,
    split: false,
    maxWaitMs: 500,
    minBytes: 1,
    fetchBytes: 16 * 1024 * 1024,
    partitionBytes: 1024 * 1024,
    recordsPerBatch: what.recordsPerBatch,
    ledger: what.ledger,
    lastBatches,
    verify: true,
    endToEnd: false,
  };
  const load = startLoad(plan);
  try {
    const reading = async (): Promise<ReadState> => {
      await load.ready;
      load.go();
      return (await load.result) as ReadState;
    };
    const state = await within(readSecondsMax, 'reading back', Promise.race([reading(), load.failed]));
    return {
      ...none,
      comparedBatches: state.checked,
      unacknowledgedBatches: state.unacknowledged,
      error: null,
    };
  } catch (error) {
    return { ...none, comparedBatches: 0, unacknowledgedBatches: 0, error: (error as Error).message };
  } finally {
    await load.stop();
  }
}

/** Why a run must not be believed, or null. */
export function lossProblem(loss: LossCheck): string | null {
  if (loss.shortPartitions > 0)
    return `${loss.shortPartitions} partitions end before their last acknowledged batch`;
  return loss.error === null ? null : `what was acknowledged could not be read back: ${loss.error}`;
}
