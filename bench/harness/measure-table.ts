/** Which measure carries out which kind of variant. */
import { measureCatchUp } from './measure-catch-up.ts';
import { measureIdle, measureMetadata } from './measure-idle.ts';
import { measureLoad } from './measure-load.ts';
import { measureProgram } from './measure-program.ts';
import { measureMemory, measureStart } from './measure-start.ts';
import { measureTransactions } from './measure-transactions.ts';
import type { MeasureContext, Measured, Measures } from './measures.ts';

export const measures: Measures = {
  load: measureLoad,
  idle: measureIdle,
  metadata: measureMetadata,
  'catch-up': measureCatchUp,
  transactions: measureTransactions,
  start: measureStart,
  memory: measureMemory,
  program: measureProgram,
};

export function measure(context: MeasureContext): Promise<Measured> {
  const carryOut = measures[context.variant.kind] as (given: MeasureContext) => Promise<Measured>;
  return carryOut(context);
}
