/**
 * Client metrics (KIP-714): which subscriptions a client has, and how often it may call. What is asked of a client
 * follows from the metadata and the client alone, so any shard and any life of the broker gives it the same subscription
 * id; what a shard remembers of a client only paces it. Owned by the shard.
 *
 * Bound: `instancesMax` clients; beyond it the one that has not called for longest is forgotten, and may call at once.
 */
import { parseSelector, selectedCharsMax } from '../../config/group-configs.ts';
import type { ClusterImage } from '../../metadata/metadata-store.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';

export interface TelemetryClient {
  readonly instanceId: string;
  readonly clientId: string;
  readonly softwareName: string;
  readonly softwareVersion: string;
  /** Without Kafka's leading slash. */
  readonly address: string;
}

export interface Subscription {
  readonly id: number;
  readonly pushIntervalMs: number;
  /** Prefixes of metrics; '' = all, none = nothing to push. */
  readonly metrics: readonly string[];
}

export interface ClientInstance {
  lastGetMs: number;
  lastPushMs: number;
  /** Has sent its last metrics. */
  terminated: boolean;
  /** Was told that its subscription is out of date, and may ask at once. */
  outdated: boolean;
}

const instancesMax = 4_096;
const intervalMsDefault = 300_000;
const prefix = 'client-metrics:';

const list = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '');

export class ClientTelemetry {
  readonly #clock: Clock;
  readonly #crc32c: Crc32c;
  /** The one that called longest ago first. */
  readonly #instances = new Map<string, ClientInstance>();

  constructor(clock: Clock, crc32c: Crc32c) {
    this.#clock = clock;
    this.#crc32c = crc32c;
  }

  now(): number {
    return this.#clock.monotonic();
  }

  /** What this shard remembers of a client; it counts as having called now. */
  instance(id: string): ClientInstance {
    const never = Number.NEGATIVE_INFINITY;
    const instance = this.#instances.get(id) ?? {
      lastGetMs: never,
      lastPushMs: never,
      terminated: false,
      outdated: false,
    };
    this.#instances.delete(id);
    this.#instances.set(id, instance);
    if (this.#instances.size > instancesMax) this.#instances.delete(this.#instances.keys().next().value!);
    return instance;
  }

  /** All subscriptions that select the client, as one: every metric asked for, the shortest interval. */
  subscriptionOf(client: TelemetryClient, image: ClusterImage): Subscription {
    const metrics = new Set<string>();
    let pushIntervalMs = intervalMsDefault;
    for (const [key, configs] of image.configs) {
      if (!key.startsWith(prefix) || !this.#selects(list(configs.match), client)) continue;
      for (const metric of list(configs.metrics)) metrics.add(metric === '*' ? '' : metric);
      pushIntervalMs = Math.min(pushIntervalMs, Number(configs['interval.ms'] ?? intervalMsDefault));
    }
    // All metrics: the other prefixes say nothing more.
    const asked = metrics.has('') ? [''] : [...metrics].sort();
    const text = Buffer.from(`${client.instanceId} ${pushIntervalMs} ${asked.join(',')}`);
    return { id: this.#crc32c(text, 0, text.length) | 0, pushIntervalMs, metrics: asked };
  }

  #selects(selectors: readonly string[], client: TelemetryClient): boolean {
    const properties: Readonly<Record<string, string>> = {
      client_instance_id: client.instanceId,
      client_id: client.clientId,
      client_software_name: client.softwareName,
      client_software_version: client.softwareVersion,
      client_source_address: client.address,
    };
    return selectors.every((selector) => {
      const parsed = parseSelector(selector);
      const text = parsed === null ? undefined : properties[parsed.property];
      return text !== undefined && text.length <= selectedCharsMax && parsed!.matches.test(text);
    });
  }
}

/** What clients said of themselves when they connected; the oldest entry gives way, its client is then nameless. */
export class ClientSoftware {
  readonly #max: number;
  readonly #byConnection = new Map<number, { readonly name: string; readonly version: string }>();

  constructor(max: number) {
    this.#max = max;
  }

  note(connectionId: number, name: string, version: string): void {
    this.#byConnection.set(connectionId, { name, version });
    if (this.#byConnection.size > this.#max)
      this.#byConnection.delete(this.#byConnection.keys().next().value!);
  }

  of(connectionId: number): { readonly name: string; readonly version: string } {
    return this.#byConnection.get(connectionId) ?? { name: '', version: '' };
  }
}
