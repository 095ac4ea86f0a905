#!/usr/bin/env node
/** Entry point of the command line. The broker's code is loaded only when it is started: --help answers at once. */
import { systemProcess } from './cli/process-port.ts';
import { runCommandLine } from './cli/run.ts';
import { nameIoThreads } from './threads/adapters/thread-name.ts';

const code = await runCommandLine(systemProcess(process.env), async (options) => {
  const { startBroker } = await import('./embedded/index.ts');
  const broker = await startBroker(options);
  nameIoThreads('file i/o');
  return broker;
});
process.exit(code);
