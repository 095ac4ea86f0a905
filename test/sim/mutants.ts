/**
 * Bugs to plant, one at a time, in a copy of the compiled product: each is a change of text in one file. The text must be
 * there exactly once, or the suite fails: whoever changes the code that a mutant changes, adapts the mutant.
 */
import { cleanMutants } from './clean-mutants.ts';
import { clusterAnswerMutants } from './cluster-answer-mutants.ts';
import { clusterMutants } from './cluster-mutants.ts';
import { coordinatorMutants } from './coordinator-mutants.ts';
import { dataPathMutants } from './data-path-mutants.ts';
import { etcdMutants } from './etcd-mutants.ts';
import { failOverMutants } from './fail-over-mutants.ts';
import { groupMutants } from './group-mutants.ts';
import { handOverMutants } from './hand-over-mutants.ts';
import { interbrokerMutants } from './interbroker-mutants.ts';
import { recordMutants } from './record-mutants.ts';
import { requestMutants } from './request-mutants.ts';
import { shareMutants } from './share-mutants.ts';
import { storageMutants } from './storage-mutants.ts';
import { streamsMutants } from './streams-mutants.ts';
import { transactionCoordinatorMutants } from './transaction-coordinator-mutants.ts';
import { transactionMutants } from './transaction-mutants.ts';
import { walMutants } from './wal-mutants.ts';

export interface Mutant {
  readonly name: string;
  /** Below the compiled src/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** A test file that finds it in seconds, where a run of the whole broker meets the bug rarely. */
  readonly judge?: string;
  /** Seeds of clusters are asked, not those of one broker. */
  readonly cluster?: true;
}

export const mutants: readonly Mutant[] = [
  ...walMutants,
  ...storageMutants,
  ...coordinatorMutants,
  ...groupMutants,
  ...requestMutants,
  ...recordMutants,
  ...transactionMutants,
  ...shareMutants,
  ...streamsMutants,
  ...cleanMutants,
  ...dataPathMutants,
  ...transactionCoordinatorMutants,
  ...clusterMutants,
  ...clusterAnswerMutants,
  ...handOverMutants,
  ...failOverMutants,
  ...interbrokerMutants,
  ...etcdMutants,
];
