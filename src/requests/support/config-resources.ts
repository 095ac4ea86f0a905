/**
 * Resources of DescribeConfigs, IncrementalAlterConfigs and AlterConfigs: type and name on the wire to the entries in
 * the cluster image, or the refusal that the answer carries. Served are topics, this broker and the cluster-wide broker
 * default (empty name); groups and client metrics subscriptions, which need not exist. Broker loggers are not.
 */
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { ConfigScope } from './config-catalog.ts';
import type { ConfigEdit } from './control-plane.ts';
import type { TopicDirectory } from './topic-directory.ts';
import { topicNameProblem } from './topic-names.ts';

/** Config resource types of the wire. */
export const resourceType = { topic: 2, broker: 4, brokerLogger: 8, clientMetrics: 16, group: 32 } as const;

export interface Refusal {
  readonly error: number;
  readonly message: string;
}

export interface ResolvedResource {
  readonly scope: ConfigScope;
  readonly edit: Pick<ConfigEdit, 'resource' | 'name'>;
  /** Entries set on the resource itself. */
  readonly own: Readonly<Record<string, string>>;
}

const nothing: Readonly<Record<string, string>> = {};

const refuse = (error: number, message: string): Refusal => ({ error, message });

export function resolveResource(
  topics: TopicDirectory,
  nodeId: number,
  type: number,
  name: string,
): ResolvedResource | Refusal {
  const { image } = topics;
  switch (type) {
    case resourceType.topic: {
      if (name === '') return refuse(ErrorCode.INVALID_REQUEST, 'Default topic resources are not allowed.');
      const problem = topicNameProblem(name);
      if (problem !== null) return refuse(ErrorCode.INVALID_TOPIC_EXCEPTION, problem);
      const topic = topics.topicByName(name);
      if (topic === undefined)
        return refuse(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `The topic '${name}' does not exist.`);
      return { scope: 'topic', edit: { resource: 'topic', name }, own: topic.configs };
    }
    case resourceType.broker: {
      if (name === '') {
        const own = image.configs.get('cluster:') ?? nothing;
        return { scope: 'broker', edit: { resource: 'cluster', name: '' }, own };
      }
      if (name !== String(nodeId)) {
        const message = /^\d+$/.test(name)
          ? `Unexpected broker id, expected ${nodeId} or empty string, but received ${name}`
          : `Broker id must be an integer, but it is: ${name}`;
        return refuse(ErrorCode.INVALID_REQUEST, message);
      }
      const own = image.configs.get(`broker:${name}`) ?? nothing;
      return { scope: 'broker', edit: { resource: 'broker', name }, own };
    }
    case resourceType.group: {
      if (name === '') return refuse(ErrorCode.INVALID_REQUEST, 'Default group resources are not allowed.');
      const own = image.configs.get(`group:${name}`) ?? nothing;
      return { scope: 'group', edit: { resource: 'group', name }, own };
    }
    case resourceType.clientMetrics: {
      if (name === '') return refuse(ErrorCode.INVALID_REQUEST, "Subscription name can't be empty");
      const own = image.configs.get(`client-metrics:${name}`) ?? nothing;
      return { scope: 'client-metrics', edit: { resource: 'client-metrics', name }, own };
    }
    default:
      return refuse(ErrorCode.INVALID_REQUEST, `Unknown resource type ${type}`);
  }
}

export function isRefusal(result: object): result is Refusal {
  return 'error' in result;
}
