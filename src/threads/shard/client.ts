/** Main's handle on one shard thread: its door, and word of its death. Main thread. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { MillraceError } from '../../ports/errors.ts';
import type { ControlPlane } from '../../requests/support/control-plane.ts';
import type { ShardApi, ShardDoor } from '../../shard/shard-api.ts';
import { PortRpc } from '../rpc.ts';
import type { ShardHelpers, ShardWorkerData } from './contract.ts';

/** A shard thread that loads its code and waits to be told what it is: main reads the metadata meanwhile. */
export class SpawnedShard {
  readonly worker: Worker;
  readonly port: MessagePort;
  /** The first thing that went wrong with the thread, for whoever is late. */
  failure: Error | null = null;

  constructor(index: number) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    this.worker = new Worker(new URL('./shard.worker.js', import.meta.url), {
      workerData: { data: port2 },
      transferList: [port2],
      // Descriptors are opened natively and handed on by number: the worker has no say in them.
      trackUnmanagedFds: false,
      name: `shard-${index}`,
    });
    this.worker.once('error', (error) => {
      this.failure ??= error;
    });
  }

  async terminate(): Promise<void> {
    this.port.close();
    await this.worker.terminate();
  }
}

export class ShardThread {
  readonly door: ShardDoor;
  private readonly worker: Worker;
  private ending = false;

  /** @param helpers does what would hold the shard's loop. */
  constructor(
    spawned: SpawnedShard,
    data: ShardWorkerData,
    control: ControlPlane,
    helpers: ShardHelpers,
    onDeath: (error: Error) => void,
  ) {
    this.worker = spawned.worker;
    // One port for both; what is not listed here cannot be called.
    const served: ControlPlane & ShardHelpers = {
      createTopics: (topics) => control.createTopics(topics),
      deleteTopics: (topicIds) => control.deleteTopics(topicIds),
      createPartitions: (growth) => control.createPartitions(growth),
      alterConfigs: (edits) => control.alterConfigs(edits),
      moveLogStarts: (moves) => control.moveLogStarts(moves),
      assign: (moves) => control.assign(moves),
      removeBroker: (node) => control.removeBroker(node),
      producerIds: (count) => control.producerIds(count),
      readBlocks: (task) => helpers.readBlocks(task),
      recordTask: (task) => helpers.recordTask(task),
    };
    const rpc = new PortRpc<ShardApi>(this.worker, served);
    this.door = rpc.remote;
    let dead = false;
    const died = (error: Error): void => {
      if (dead) return;
      dead = true;
      rpc.fail(error);
      if (!this.ending) onDeath(error);
    };
    this.worker.on('error', died);
    if (spawned.failure !== null) died(spawned.failure);
    this.worker.on('exit', (code) =>
      died(
        new MillraceError(
          'internal',
          'THREAD_DEAD',
          `shard thread ${data.seed.settings.index} ended with code ${code}`,
        ),
      ),
    );
    spawned.port.postMessage(data);
    spawned.port.close();
  }

  /** Resolves when the thread has ended. */
  async terminate(): Promise<void> {
    this.ending = true;
    await this.worker.terminate();
  }
}
