/**
 * AlterConfigs (key 33), versions 0–2: the older request that IncrementalAlterConfigs replaced.
 *
 * The entries given become all explicit entries of the resource; those not given are removed. A null value, a key or
 * resource twice and a config that cannot be changed while running are INVALID_REQUEST, an unknown config or wrong value
 * INVALID_CONFIG. Resources are altered one by one, each entirely or not at all.
 */
import {
  AlterConfigsCodec,
  type AlterConfigsRequest,
  type AlterConfigsResponseInput,
} from '../protocol/generated/alter-configs.ts';
import {
  type AlterConfigsDeps,
  alterable,
  alterConfigs,
  type EntriesOf,
  invalidRequest,
} from './support/config-edits.ts';
import type { RequestHandler } from './support/handler.ts';

export function alterConfigsHandler(
  deps: AlterConfigsDeps,
): RequestHandler<AlterConfigsRequest, AlterConfigsResponseInput> {
  const entriesOf: EntriesOf<AlterConfigsRequest['resources'][number]> = (resource, resolved) => {
    const entries: Record<string, string | null> = {};
    for (const name of Object.keys(resolved.own)) entries[name] = null;
    for (const { name, value } of resource.configs) {
      const definition = alterable(deps.catalog, resolved, name);
      if ('error' in definition) return definition;
      if (value === null) return invalidRequest(`Null value not supported for : ${name}`);
      entries[name] = value;
    }
    return entries;
  };

  return {
    codec: AlterConfigsCodec,
    handle(_context, request, respond) {
      alterConfigs(deps, request.resources, request.validateOnly, entriesOf, (responses) =>
        respond({ responses }),
      );
    },
  };
}
