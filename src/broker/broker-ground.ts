/**
 * What a broker stands on from its first moment, before anything is opened: configuration and ports, native functions, the board
 * of the store's numbers, listeners, and the word that it has failed. Main thread.
 */
import { hostname } from 'node:os';
import { type ThreadNative, threadNative } from '../threads/adapters/thread-native.ts';
import { storeBoardFor } from '../threads/adapters/thread-store.ts';
import { StoreBoard, type StoreBoardMemory } from '../threads/memory/store-board.ts';
import { StartWatch } from '../volumes/start-watch.ts';
import { SystemVolumeFiles, type VolumeFiles } from '../volumes/volume-files.ts';
import { answerMs, WatchedVolumeFiles } from '../volumes/watched-files.ts';
import type { BrokerConfig } from './broker-config.ts';
import type { BrokerPorts } from './broker-ports.ts';
import { poolThreads } from './deployment.ts';
import { type BrokerListeners, Listeners } from './listeners.ts';
import { StoreHealth } from './store-health.ts';

export class BrokerGround {
  readonly config: BrokerConfig;
  readonly ports: BrokerPorts;
  readonly native: ThreadNative;
  /** Main's place on the board, and the board for the other threads. */
  readonly board: StoreBoard;
  readonly storeBoard: StoreBoardMemory;
  readonly health: StoreHealth;
  readonly listeners: BrokerListeners;
  readonly watch: StartWatch;
  readonly files: VolumeFiles;
  /** Who writes, for people: node and host. */
  readonly writer: string;
  /** Rejects never; resolves with the reason when the broker failed and must be stopped. */
  readonly failed: Promise<Error>;
  readonly fail: (error: Error) => void;

  constructor(config: BrokerConfig, ports: BrokerPorts) {
    const { clock, logger, storage } = ports;
    this.config = config;
    this.ports = ports;
    this.native = threadNative(config.native);
    this.storeBoard = storeBoardFor(config, poolThreads);
    this.board = StoreBoard.claim(this.storeBoard);
    this.health = new StoreHealth(clock, logger);
    this.listeners = ports.listeners ?? new Listeners(clock, logger);
    this.watch = new StartWatch(clock, logger);
    const files = storage?.volumeFiles ?? new SystemVolumeFiles(this.native.files, this.native.native);
    this.files = new WatchedVolumeFiles(files, this.watch, answerMs(config.wals));
    this.writer = `node ${config.nodeId} on ${storage?.host ?? hostname()}`;
    let fail: (error: Error) => void = () => {};
    this.failed = new Promise((resolve) => {
      fail = resolve;
    });
    this.fail = fail;
  }
}
