/**
 * The operator's commands from settings to exit code: what they found goes to standard output, in words or with --json as
 * one object; what kept them from looking goes to standard error.
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Settings } from '../config/setting-keys.ts';
import { storeUrlOf } from '../config/store-url.ts';
import type { DoctorReport } from '../inspect/doctor.ts';
import type { BucketReport, InspectOptions } from '../inspect/inspect.ts';
import type { ToolCommand } from './arguments.ts';
import { type ExitCode, exitCodes, startExitCode } from './exit-codes.ts';
import type { ProcessPort } from './process-port.ts';

/** What the commands do, loaded when one is given. */
export interface Tools {
  doctor(url: string): Promise<DoctorReport>;
  doctorText(report: DoctorReport): string;
  inspect(url: string, options: InspectOptions): Promise<BucketReport>;
  inspectText(report: BucketReport): string;
}

/** A store as an operator writes it: its URL, or the directory of a file store. */
export function storeUrl(text: string, directory: string): string {
  return /^[a-z0-9]{2,}:/i.test(text) ? text : pathToFileURL(resolve(directory, text)).href;
}

export async function runTool(
  host: ProcessPort,
  command: ToolCommand,
  settings: Settings,
  tools: Tools,
): Promise<ExitCode> {
  const url = storeUrlOf(settings);
  const print = <Report>(report: Report, text: (report: Report) => string): void =>
    host.out(command.json ? `${JSON.stringify(report, null, 2)}\n` : text(report));
  try {
    if (command.kind === 'doctor') {
      const report = await tools.doctor(url);
      print(report, tools.doctorText);
      return report.fit ? exitCodes.clean : exitCodes.storeUnreachable;
    }
    const report = await tools.inspect(url, { verify: command.verify, topic: command.topic });
    print(report, tools.inspectText);
    return report.problemCount === 0 ? exitCodes.clean : exitCodes.problemsFound;
  } catch (error) {
    host.err(`millrace: ${error instanceof Error ? error.message : String(error)}\n`);
    return startExitCode(error);
  }
}
