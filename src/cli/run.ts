/**
 * The command line from words to exit code. Standard output has what was asked for: the help, the version, or one line
 * when the broker is ready; all else goes to standard error.
 *
 *   starting ──ready──► serving ──signal──► stopping ──done──► exit 0 or 75
 *      │ signal: stop as soon as ready,       │ second signal: abort, exit 75
 *      │  or end a start that waits, exit 75  │
 *      └─ error: exit code of its kind        └─ failed: abort, exit code of its kind
 *
 * A notice of interruption (cli/notices.ts) is taken as the first signal, and the signal that the machine's end brings with it
 * as no second one.
 */
import { resolve } from 'node:path';
import { parseProperties, propertiesCharsMax } from '../config/properties-file.ts';
import { SettingError } from '../config/setting-error.ts';
import { type GivenSetting, type ResolvedSettings, resolveSettings } from '../config/settings.ts';
import type { Broker, BrokerOptions } from '../embedded/broker-types.ts';
import { createLogger } from '../observe/logger.ts';
import type { Logger } from '../ports/logger.ts';
import {
  type Command,
  type MetadataCommand,
  parseCommandLine,
  type StartCommand,
  type ToolCommand,
} from './arguments.ts';
import { type AskBroker, clusterArguments, runCluster } from './cluster-command.ts';
import { costArguments } from './cost-arguments.ts';
import { type ExitCode, exitCodes, failureExitCode, startExitCode } from './exit-codes.ts';
import { helpText } from './help.ts';
import { type OpenMetadata, runMetadata } from './metadata-command.ts';
import { watchNotices } from './notices.ts';
import type { ProcessPort } from './process-port.ts';
import { runTool, storeUrl, type Tools } from './tools.ts';

export type StartBroker = (options: BrokerOptions) => Promise<Broker>;

/** Resolves to the exit code when there is nothing left to do; never rejects. */
export async function runCommandLine(
  host: ProcessPort,
  startBroker: StartBroker,
  loadTools: () => Promise<Tools>,
  openMetadata: OpenMetadata,
  askBroker: AskBroker,
): Promise<ExitCode> {
  const cluster = clusterArguments(host.args);
  if (cluster !== null) return runCluster(host, cluster, askBroker);
  const cost = costArguments(host.args);
  if (cost !== null) return (await import('./cost.ts')).runCost(host, cost);
  let resolved: ResolvedSettings;
  let command: Command;
  try {
    command = parseCommandLine(host.args);
    if (command.kind === 'help') {
      host.out(helpText(command.profile, host.machine(), host.directory));
      return exitCodes.clean;
    }
    if (command.kind === 'version') {
      host.out(`${host.version}\n`);
      return exitCodes.clean;
    }
    resolved = readSettings(host, command);
  } catch (error) {
    host.err(`millrace: ${error instanceof Error ? error.message : String(error)}\n`);
    return exitCodes.wrongSetting;
  }
  if (command.kind === 'metadata')
    return runMetadata(host, command, resolved.settings, loggerOf(host, resolved), openMetadata);
  if (command.kind !== 'start') return runTool(host, command, resolved.settings, await loadTools());
  return serve(host, command, resolved, startBroker);
}

function readSettings(
  host: ProcessPort,
  command: StartCommand | ToolCommand | MetadataCommand,
): ResolvedSettings {
  const store =
    command.kind === 'start' || command.store === null
      ? []
      : [{ name: 'store.url', value: storeUrl(command.store, host.directory), origin: command.kind }];
  return resolveSettings({
    profile: 'start',
    machine: host.machine(),
    directory: host.directory,
    file: command.configFile === null ? [] : readSettingsFile(host, command.configFile),
    environment: host.environment,
    flags: [...command.flags, ...store],
  });
}

function readSettingsFile(host: ProcessPort, file: string): GivenSetting[] {
  let text: string;
  try {
    text = host.readText(resolve(host.directory, file), propertiesCharsMax);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SettingError([
      {
        setting: '--config',
        value: file,
        expected: `a file of settings that can be read (${reason})`,
        origin: '',
      },
    ]);
  }
  return parseProperties(text, file);
}

function loggerOf(host: ProcessPort, { settings }: ResolvedSettings): Logger {
  return createLogger({
    level: settings['log.level'],
    format: settings['log.format'],
    write: (line) => host.err(line),
    now: () => host.now(),
  });
}

async function serve(
  host: ProcessPort,
  command: StartCommand,
  resolved: ResolvedSettings,
  startBroker: StartBroker,
): Promise<ExitCode> {
  const { settings } = resolved;
  const logger = loggerOf(host, resolved);
  for (const warning of resolved.warnings) logger.warn(warning);
  const signals = new StopSignals(host, logger);
  const unwatch = await watchNotices(host, settings, logger, (source, notice) =>
    signals.notice(source, notice),
  );
  let broker: Broker;
  const starting = startBroker({
    settings,
    logger,
    startedAtMs: host.startedAtMs,
    abandonWals: command.abandonWals,
    salvageWals: command.salvageWals,
    takeOver: command.takeOver,
    stopping: signals.stoppingStart,
  });
  try {
    const first = await Promise.race([starting, signals.second]);
    if (first === 'second') {
      // Nobody will use what may still come of it.
      starting.then((late) => late.abort()).catch(() => undefined);
      return exitCodes.unfinished;
    }
    broker = first;
  } catch (error) {
    logger.error(`cannot start: ${messageOf(error)}`, fieldsOf(error));
    return signals.stopping && (error as { code?: unknown }).code === 'START_ENDED'
      ? exitCodes.unfinished
      : startExitCode(error);
  }
  if (!signals.stopping) host.out(readyLine(broker, host.now() - host.startedAtMs));
  const outcome = await Promise.race([signals.first, broker.failed]);
  unwatch();
  if (outcome !== 'first') return fail(broker, outcome, logger);
  return stop(broker, signals, logger);
}

async function stop(broker: Broker, signals: StopSignals, logger: Logger): Promise<ExitCode> {
  const stopping = broker.stop().catch((error: unknown) => new Error(messageOf(error), { cause: error }));
  const outcome = await Promise.race([stopping, signals.second, broker.failed]);
  if (outcome === 'clean') return exitCodes.clean;
  if (outcome === 'unfinished') {
    logger.warn(
      'stopped before everything was uploaded; the rest is in the WAL, and goes on at the next start',
    );
    return exitCodes.unfinished;
  }
  if (outcome === 'second') {
    logger.warn('second signal: ending at once; what was not uploaded is in the WAL');
    await abort(broker, logger);
    return exitCodes.unfinished;
  }
  return fail(broker, outcome.cause instanceof Error ? outcome.cause : outcome, logger);
}

async function fail(broker: Broker, error: Error, logger: Logger): Promise<ExitCode> {
  logger.error(`the broker failed: ${messageOf(error)}`, fieldsOf(error));
  await abort(broker, logger);
  return failureExitCode(error);
}

async function abort(broker: Broker, logger: Logger): Promise<void> {
  try {
    await broker.abort();
  } catch (error) {
    logger.error(`ending at once: ${messageOf(error)}`, fieldsOf(error));
  }
}

/**
 * npm and other wrappers pass a terminal's Ctrl-C on to a process that has had it already: what comes so soon after the
 * first signal is its echo.
 */
const signalEchoMs = 500;

/** First and second stop signal as promises. */
class StopSignals {
  readonly first: Promise<'first'>;
  readonly second: Promise<'second'>;
  stopping = false;
  /** What began the stop was no signal: the one that follows is not the second. */
  #noticed = false;
  readonly #logger: Logger;
  #onFirst = (): void => undefined;
  /** Of the first signal. */
  readonly #start = new AbortController();
  readonly stoppingStart = this.#start.signal;

  constructor(host: ProcessPort, logger: Logger) {
    this.#logger = logger;
    let onSecond = (): void => undefined;
    this.first = new Promise((resolve) => {
      this.#onFirst = () => resolve('first');
    });
    this.second = new Promise((resolve) => {
      onSecond = () => resolve('second');
    });
    let firstAt = 0;
    host.onSignal((signal) => {
      if (this.#noticed) {
        this.#noticed = false;
        firstAt = host.now();
        logger.info(`${signal}: this broker is leaving already; another signal ends at once`);
        return;
      }
      if (this.stopping) {
        if (host.now() - firstAt >= signalEchoMs) onSecond();
        return;
      }
      this.stopping = true;
      firstAt = host.now();
      logger.info(`${signal}: stopping; a second signal ends at once`);
      this.#onFirst();
      this.#start.abort();
    });
  }

  /** The machine is to be taken away: as the first signal, unless there was one. */
  notice(source: string, notice: string): void {
    if (this.stopping) return;
    this.stopping = true;
    this.#noticed = true;
    this.#logger.warn('this machine is to be taken away: leaving, as on SIGTERM', { source, notice });
    this.#onFirst();
    this.#start.abort();
  }
}

export function readyLine(broker: Broker, elapsedMs: number): string {
  const { listeners, http } = broker.addresses;
  const parts = [
    ...Object.entries(listeners).map(([name, address]) => `${name} ${address}`),
    ...(http === undefined ? [] : [`http ${http}`]),
    `cluster ${broker.clusterId}`,
    broker.native ? 'native' : 'portable',
    `${Math.max(0, Math.round(elapsedMs))} ms`,
  ];
  return `millrace ready: ${parts.join(', ')}\n`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function fieldsOf(error: unknown): Record<string, string> {
  if (!(error instanceof Error)) return {};
  const code = (error as { code?: unknown }).code;
  const named = typeof code === 'string' ? { code } : {};
  // Operators act on the sentence; the stack is for bugs.
  const isBug = !('kind' in error) || error.kind === 'internal';
  return isBug && error.stack !== undefined ? { ...named, stack: error.stack } : named;
}
