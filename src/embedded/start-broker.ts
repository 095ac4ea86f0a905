/** From settings to a broker that serves, and its doors: for the package and for the command line. */
import { availableParallelism, hostname, totalmem } from 'node:os';
import { RunningBroker } from '../broker/broker.ts';
import type { Settings } from '../config/setting-keys.ts';
import { type GivenSetting, resolveSettings } from '../config/settings.ts';
import { silentLogger } from '../ports/logger.ts';
import { SystemClock } from '../threads/adapters/system-clock.ts';
import { SystemRandom } from '../threads/adapters/system-random.ts';
import { threadNative } from '../threads/adapters/thread-native.ts';
import { serveHttp } from './broker-http.ts';
import type { Broker, BrokerOptions } from './broker-types.ts';
import { brokerConfig } from './settings-to-config.ts';

/** Settings of the embedded profile, with these changed. Throws SettingError for a wrong name or value. */
export function embeddedSettings(
  changes: Readonly<Record<string, string | number | boolean | readonly string[]>> = {},
): Settings {
  const flags: GivenSetting[] = Object.entries(changes).map(([name, value]) => ({
    name,
    value,
    origin: 'settings',
  }));
  return resolveSettings({
    profile: 'embedded',
    machine: { memoryBytes: totalmem(), cores: availableParallelism() },
    directory: process.cwd(),
    flags,
  }).settings;
}

/**
 * Starts a broker and resolves when it serves. Without options: everything in memory and in this thread, on a free
 * loopback port, silent.
 */
export async function startBroker(options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const settings = options.settings ?? embeddedSettings();
  const logger = options.logger ?? silentLogger;
  const config = brokerConfig(
    settings,
    { hostname: hostname(), cores: availableParallelism() },
    {
      abandonWals: options.abandonWals ?? [],
      salvageWals: options.salvageWals ?? [],
      takeOver: options.takeOver ?? false,
    },
  );
  const clock = new SystemClock(threadNative(config.native).boottime);
  const ports = { clock, random: new SystemRandom(), logger };
  const running = await RunningBroker.start(config, ports, options.stopping);
  const http = await serveHttp(
    settings['http.address'],
    running,
    clock,
    logger,
    options.startedAtMs,
    settings['cost.broker.hour'],
    settings['http.changes'],
  ).catch(async (error: unknown) => {
    await running.abort();
    throw error;
  });
  if (http !== null) running.servesHttp(http.address);
  const bound = config.listeners.map(({ name, tls }) => ({ name, tls, address: running.address(name)! }));
  const plain = bound.find((listener) => !listener.tls);
  const tls = bound.find((listener) => listener.tls);
  return {
    clusterId: running.clusterId,
    addresses: {
      ...(plain === undefined ? {} : { plain: plain.address }),
      ...(tls === undefined ? {} : { tls: tls.address }),
      ...(http === null ? {} : { http: http.address }),
      listeners: Object.fromEntries(bound.map(({ name, address }) => [name, address])),
    },
    native: running.native,
    failed: running.failed,
    get stuck() {
      return running.stuck;
    },
    async stop() {
      http?.stopping();
      const outcome = await running.stop();
      await http?.close();
      return outcome;
    },
    async abort() {
      await http?.close();
      await running.abort();
    },
  };
}
