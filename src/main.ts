#!/usr/bin/env node
/** Entry point of the command line. The broker's code is loaded only when it is started: --help answers at once. */
import { systemProcess } from './cli/process-port.ts';
import { runCommandLine } from './cli/run.ts';

const code = await runCommandLine(systemProcess(process.env), async (options) => {
  const { startBroker } = await import('./embedded/index.ts');
  return startBroker(options);
});
process.exit(code);
