/** Entry of a worker (piscina) that unpacks batches for the shards: one context for its life, one function for its tasks. */
import { workerData } from 'node:worker_threads';
import { createCodecs } from '../../protocol/compression/codecs.ts';
import {
  type RecordTask,
  type RecordTaskResult,
  recordTaskContext,
  runRecordTask,
} from '../../protocol/records/record-tasks.ts';
import { nameThread } from '../adapters/thread-name.ts';
import { threadNative } from '../adapters/thread-native.ts';
import { SharedArena } from '../memory/arena.ts';
import type { RecordWorkerData } from './contract.ts';

// Piscina hands its own channel and ours over together.
const data = (Array.isArray(workerData) ? workerData[1] : workerData) as RecordWorkerData;
nameThread(data.name);
const context = recordTaskContext({
  arena: SharedArena.attach(data.arena),
  codecs: createCodecs(),
  walk: threadNative(data.native).walk,
});

export default function run(task: RecordTask): RecordTaskResult {
  return runRecordTask(task, context);
}
