/**
 * The operator's commands over a cluster's metadata, from settings to exit code: what was found or done goes to standard output, in
 * words or with --json as one object; what kept it from being done goes to standard error, with nothing written.
 */
import type { Settings } from '../config/setting-keys.ts';
import type {
  MetadataRequest,
  MetadataStatus,
  MigrateReport,
  RestoreReport,
} from '../embedded/metadata-tools.ts';
import type { Logger } from '../ports/logger.ts';
import type { MetadataCommand } from './arguments.ts';
import { type ExitCode, exitCodes, startExitCode } from './exit-codes.ts';
import { migrateText, restoreText, statusText } from './metadata-text.ts';
import type { ProcessPort } from './process-port.ts';

/** What the commands do, loaded when one is given. */
export type OpenMetadata = (request: MetadataRequest) => Promise<{
  show(): Promise<MetadataStatus>;
  restore(): Promise<RestoreReport>;
  migrate(to: string): Promise<MigrateReport>;
}>;

/** Standings that a broker can be started in. */
const sound: ReadonlySet<MetadataStatus['standing']> = new Set(['none', 'store', 'etcd']);

export async function runMetadata(
  host: ProcessPort,
  command: MetadataCommand,
  settings: Settings,
  logger: Logger,
  open: OpenMetadata,
): Promise<ExitCode> {
  const { action, dryRun, takeOver, to } = command;
  const print = <Report>(report: Report, text: (report: Report) => string): void =>
    host.out(command.json ? `${JSON.stringify(report, null, 2)}\n` : text(report));
  try {
    const tools = await open({ settings, logger, dryRun, takeOver });
    switch (action) {
      case 'show': {
        const status = await tools.show();
        print(status, statusText);
        return sound.has(status.standing) ? exitCodes.clean : exitCodes.problemsFound;
      }
      case 'restore':
        print(await tools.restore(), restoreText);
        return exitCodes.clean;
      case 'migrate':
        print(await tools.migrate(to), migrateText);
        return exitCodes.clean;
    }
  } catch (error) {
    host.err(`millrace: ${error instanceof Error ? error.message : String(error)}\n`);
    return startExitCode(error);
  }
}
