#!/usr/bin/env node
/** Entry point of the command line. The broker's code is loaded only when it is started: --help answers at once. */
import { systemProcess } from './cli/process-port.ts';
import { runCommandLine } from './cli/run.ts';
import { type Broker, isStuck } from './embedded/broker-types.ts';
import { askBroker } from './threads/adapters/operator-client.ts';
import { outliveOutputReaders } from './threads/adapters/output-reader.ts';
import { endProcess } from './threads/adapters/process-end.ts';
import { SystemClock } from './threads/adapters/system-clock.ts';
import { SystemRandom } from './threads/adapters/system-random.ts';
import { nameIoThreads } from './threads/adapters/thread-name.ts';

outliveOutputReaders();
let started: Broker | null = null;
let startStuck = false;
const code = await runCommandLine(
  systemProcess(process.env),
  async (options) => {
    const { startBroker } = await import('./embedded/start-broker.ts');
    const broker = await startBroker(options).catch((error: unknown) => {
      startStuck = isStuck(error);
      throw error;
    });
    nameIoThreads('file i/o');
    started = broker;
    return broker;
  },
  async () => {
    const { operatorTools } = await import('./inspect/tools.ts');
    return operatorTools({ clock: new SystemClock(), random: new SystemRandom() });
  },
  async (request) => (await import('./embedded/metadata-tools.ts')).metadataTools(request),
  askBroker,
);
const broker = started as Broker | null;
const stuck = startStuck || (broker?.stuck ?? false);
const native =
  stuck && (broker?.native ?? true) ? (await import('../native-bindings/index.ts')).loadNative() : null;
endProcess(code, stuck, native);
