/**
 * The two alter-configs requests after their own reading of a resource: both become one edit per resource, checked as
 * a whole, and go to the control plane together. A resource is altered entirely or not at all.
 */

import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import {
  brokerConfigValue,
  type ConfigCatalog,
  type ConfigDefinition,
  type ConfigScope,
  unknownBrokerConfig,
} from './config-catalog.ts';
import { isRefusal, type Refusal, type ResolvedResource, resolveResource } from './config-resources.ts';
import type { ConfigEdit, ControlPlane } from './control-plane.ts';
import { begunMsMin, withinLimit } from './time-limit.ts';
import type { TopicDirectory } from './topic-directory.ts';

export interface AlterConfigsDeps {
  readonly topics: TopicDirectory;
  readonly catalog: ConfigCatalog;
  readonly control: ControlPlane;
  readonly nodeId: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Operator's veto over a resource's explicit entries as they would be: a text refuses with POLICY_VIOLATION. */
  readonly alterPolicy?: (edit: ConfigEdit) => string | null;
}

export interface AlterRequestResource {
  readonly resourceType: number;
  readonly resourceName: string;
  readonly configs: readonly { readonly name: string; readonly value: string | null }[];
}

export interface AlterResult {
  errorCode: number;
  errorMessage: string | null;
  resourceType: number;
  resourceName: string;
}

/** New entries of a resource (null = removed) from its request, or why not. */
export type EntriesOf<R> = (
  resource: R,
  resolved: ResolvedResource,
) => Record<string, string | null> | Refusal;

export const invalidRequest = (message: string): Refusal => ({ error: ErrorCode.INVALID_REQUEST, message });
export const invalidConfig = (message: string): Refusal => ({ error: ErrorCode.INVALID_CONFIG, message });

/** Values of topics and groups are wrong configs; Kafka calls those of brokers, and a subscription's interval, bad requests. */
function badValue(scope: ConfigScope, message: string): Refusal {
  const interval = scope === 'client-metrics' && message.startsWith('Invalid value');
  return scope === 'broker' || interval ? invalidRequest(message) : invalidConfig(message);
}

/** Set on each listener only, with its prefix (KIP-226). */
const listenerConfigs =
  /^ssl\.(key(store\.(type|location|password|certificate\.chain|key)|\.password)|truststore\.(type|location|password|certificates))$/;
/** Broker configs nobody knows, on one resource: they are kept for others, and somebody might send millions. */
const unknownMax = 1_000;

/** The definition of a config that may be altered; `removes` leaves what is not known. */
export function alterable(
  catalog: ConfigCatalog,
  { scope, edit, own }: ResolvedResource,
  name: string,
  removes = false,
): ConfigDefinition | Refusal {
  const definition = catalog.definition(scope, name);
  if (definition === undefined) {
    if (removes) return unknownBrokerConfig(name);
    if (scope === 'client-metrics') return invalidRequest(`Unknown client metrics configuration: ${name}`);
    if (scope !== 'broker') return invalidConfig(`Unknown ${scope} config name: ${name}`);
    const fits = Object.hasOwn(own, name) || Object.keys(own).length < unknownMax;
    return fits
      ? unknownBrokerConfig(name)
      : invalidRequest(`Too many configs on ${edit.resource} ${edit.name}`);
  }
  if (definition.readOnly) return invalidRequest(`Cannot update these configs dynamically: [${name}]`);
  if (scope !== 'broker') return definition;
  if (listenerConfigs.test(name)) {
    return invalidRequest(
      `These security configs can be dynamically updated only per-listener using the listener prefix: [${name}]`,
    );
  }
  if (edit.resource === 'cluster' && definition.perBroker) {
    return invalidRequest(
      `Cannot update these configs at default cluster level, broker id must be specified: [${name}]`,
    );
  }
  return definition;
}

export function alterConfigs<R extends AlterRequestResource>(
  deps: AlterConfigsDeps,
  resources: readonly R[],
  validateOnly: boolean,
  entriesOf: EntriesOf<R>,
  respond: (results: AlterResult[]) => void,
): void {
  const { topics, catalog, nodeId } = deps;
  const seen = new Map<string, number>();
  for (const { resourceType, resourceName } of resources) {
    const key = `${resourceType}:${resourceName}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }

  function plan(resource: R): ConfigEdit | Refusal {
    const { resourceType, resourceName, configs } = resource;
    if (seen.get(`${resourceType}:${resourceName}`) !== 1) {
      return invalidRequest('Each resource must appear at most once.');
    }
    if (new Set(configs.map(({ name }) => name)).size !== configs.length) {
      return invalidRequest('Error due to duplicate config keys');
    }
    const resolved = resolveResource(topics, nodeId, resourceType, resourceName);
    if (isRefusal(resolved)) return resolved;
    const entries = entriesOf(resource, resolved);
    // Entries are texts, so a config called "error" cannot pass for a refusal.
    if (typeof entries.error === 'number') return entries as Refusal;
    const edit = { ...resolved.edit, entries: entries as Record<string, string | null> };
    const problem = wholeProblem(resolved, edit.entries);
    if (problem !== null) return badValue(resolved.scope, problem);
    const veto = deps.alterPolicy?.(edit) ?? null;
    return veto === null ? edit : { error: ErrorCode.POLICY_VIOLATION, message: veto };
  }

  function wholeProblem(
    { scope, own }: ResolvedResource,
    entries: Record<string, string | null>,
  ): string | null {
    const whole: Record<string, string> = { ...own };
    for (const [name, value] of Object.entries(entries)) {
      if (value === null) {
        delete whole[name];
        continue;
      }
      const known = catalog.definition(scope, name) !== undefined;
      const problem = known ? catalog.valueProblem(scope, name, value) : null;
      if (problem !== null) return problem;
      whole[name] = value;
    }
    return catalog.relationProblem(scope, whole, (name) =>
      brokerConfigValue(catalog, topics.image, nodeId, name),
    );
  }

  const results: AlterResult[] = [];
  const edits: ConfigEdit[] = [];
  const places: number[] = [];
  for (const resource of resources) {
    const { resourceType, resourceName } = resource;
    const planned = plan(resource);
    const refused = 'message' in planned ? planned : null;
    results.push({
      errorCode: refused?.error ?? ErrorCode.NONE,
      errorMessage: refused?.message ?? null,
      resourceType,
      resourceName,
    });
    if ('entries' in planned && Object.keys(planned.entries).length > 0) {
      edits.push(planned);
      places.push(results.length - 1);
    }
  }
  if (validateOnly || edits.length === 0) {
    respond(results);
    return;
  }
  withinLimit(deps, begunMsMin, deps.control.alterConfigs(edits), (outcomes, failure) => {
    for (const [i, place] of places.entries()) {
      results[place]!.errorCode = outcomes?.[i]?.error ?? failure;
      results[place]!.errorMessage = outcomes?.[i]?.message ?? null;
    }
    respond(results);
  });
}
