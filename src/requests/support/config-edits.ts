/**
 * The two alter-configs requests after their own reading of a resource: both become one edit per resource, checked as
 * a whole, and go to the control plane together. A resource is altered entirely or not at all.
 */

import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { ConfigCatalog, ConfigDefinition } from './config-catalog.ts';
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

/** The definition of a config that may be altered. */
export function alterable(
  catalog: ConfigCatalog,
  resolved: ResolvedResource,
  name: string,
): ConfigDefinition | Refusal {
  const definition = catalog.definition(resolved.scope, name);
  if (definition === undefined) return invalidConfig(`Unknown ${resolved.scope} config name: ${name}`);
  if (definition.readOnly) return invalidRequest(`Config ${name} cannot be changed while the broker runs.`);
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
      return invalidRequest('Each resource may appear only once in a request.');
    }
    if (new Set(configs.map(({ name }) => name)).size !== configs.length) {
      return invalidRequest('Each config may appear only once for a resource.');
    }
    const resolved = resolveResource(topics, nodeId, resourceType, resourceName);
    if (isRefusal(resolved)) return resolved;
    const entries = entriesOf(resource, resolved);
    // Entries are texts, so a config called "error" cannot pass for a refusal.
    if (typeof entries.error === 'number') return entries as Refusal;
    const edit = { ...resolved.edit, entries: entries as Record<string, string | null> };
    const problem = wholeProblem(resolved, edit.entries);
    if (problem !== null) return invalidConfig(problem);
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
      const problem = catalog.valueProblem(scope, name, value);
      if (problem !== null) return problem;
      whole[name] = value;
    }
    return catalog.relationProblem(scope, whole);
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
