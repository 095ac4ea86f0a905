/**
 * IncrementalAlterConfigs (key 44), versions 0–1; checked on the connection's shard, made by the control plane.
 *
 * SET, DELETE, and for lists APPEND and SUBTRACT, which start from the resource's own entry or else the built-in
 * default. A key or resource twice, an operation without value, an unknown operation or a config that cannot be changed
 * while running, or only on a single broker, and wrong values of brokers: INVALID_REQUEST. An unknown config, other wrong
 * values, APPEND to what is no list: INVALID_CONFIG; a broker config that nobody knows is kept. Policy: POLICY_VIOLATION. Resources are altered one by one, each entirely or not at all.
 * Limit: two APPENDs to the same key at the same moment may keep only the later one.
 */
import {
  IncrementalAlterConfigsCodec,
  type IncrementalAlterConfigsRequest,
  type IncrementalAlterConfigsResponseInput,
} from '../protocol/generated/incremental-alter-configs.ts';
import { configType } from './support/config-catalog.ts';
import {
  type AlterConfigsDeps,
  alterable,
  alterConfigs,
  type EntriesOf,
  invalidConfig,
  invalidRequest,
} from './support/config-edits.ts';
import type { RequestHandler } from './support/handler.ts';

const operation = { set: 0, delete: 1, append: 2, subtract: 3 } as const;
const operationNames = ['SET', 'DELETE', 'APPEND', 'SUBTRACT'] as const;

export function incrementalAlterConfigsHandler(
  deps: AlterConfigsDeps,
): RequestHandler<IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponseInput> {
  const entriesOf: EntriesOf<IncrementalAlterConfigsRequest['resources'][number]> = (resource, resolved) => {
    const entries: Record<string, string | null> = {};
    for (const { name, configOperation, value } of resource.configs) {
      const operationName = operationNames[configOperation];
      if (operationName === undefined) {
        return invalidRequest(`Unknown operation ${configOperation} for config ${name}.`);
      }
      const definition = alterable(deps.catalog, resolved, name, configOperation === operation.delete);
      if ('error' in definition) return definition;
      if (configOperation === operation.delete) {
        entries[name] = null;
        continue;
      }
      if (value === null) return invalidRequest(`Null value not supported for : ${name}`);
      if (configOperation === operation.set) {
        entries[name] = value;
        continue;
      }
      if (definition.type !== configType.list) {
        return invalidConfig(`Can't ${operationName} to key ${name} because its type is not LIST.`);
      }
      const list = parts(resolved.own[name] ?? definition.defaultValue ?? '');
      const given = parts(value);
      const changed =
        configOperation === operation.append
          ? [...new Set([...list, ...given])]
          : list.filter((part) => !given.includes(part));
      entries[name] = changed.join(',');
    }
    return entries;
  };

  return {
    codec: IncrementalAlterConfigsCodec,
    handle(_context, request, respond) {
      alterConfigs(deps, request.resources, request.validateOnly, entriesOf, (responses) =>
        respond({ responses }),
      );
    },
  };
}

function parts(list: string): string[] {
  return list
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}
