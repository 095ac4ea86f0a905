/** What a topic that a client describes will be, or why it will not; checked against the shard's image. */
import type { CreateTopicsRequestCreatableTopic } from '../../protocol/generated/create-topics.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { ConfigCatalog } from './config-catalog.ts';
import type { TopicSpec } from './control-plane.ts';
import { inPartitionOrder, ownersAssigned } from './manual-assignment.ts';
import { NameRules } from './topic-creation.ts';
import type { TopicDirectory } from './topic-directory.ts';
import { isInternalTopic } from './topic-names.ts';

export interface TopicPlanDeps {
  readonly topics: TopicDirectory;
  readonly catalog: ConfigCatalog;
  readonly nodeId: number;
  /** `num.partitions`. */
  readonly defaultPartitions: number;
  /** Operator's veto: a text refuses with POLICY_VIOLATION. */
  readonly createPolicy?: (spec: TopicSpec) => string | null;
}

export interface TopicRefusal {
  readonly error: number;
  readonly message: string;
}

type PlannedPartitions = Pick<TopicSpec, 'partitions' | 'assignments'>;

/** A topic's configs are held to no value of its broker. */
const noBrokerValue = (): null => null;

export class TopicPlans {
  readonly #deps: TopicPlanDeps;
  readonly #rules: NameRules;

  constructor(deps: TopicPlanDeps) {
    this.#deps = deps;
    this.#rules = new NameRules(deps.topics);
  }

  plan(wanted: CreateTopicsRequestCreatableTopic): TopicSpec | TopicRefusal {
    const { name } = wanted;
    const nameRefusal = this.#rules.refusal(name);
    if (nameRefusal !== null) return nameRefusal;
    const configs = this.#configsOf(wanted);
    if (typeof configs === 'string') return { error: ErrorCode.INVALID_CONFIG, message: configs };
    const planned = this.#partitionsOf(wanted);
    if ('error' in planned) return planned;
    const spec = { name, ...planned, configs, internal: isInternalTopic(name) };
    const veto = this.#deps.createPolicy?.(spec) ?? null;
    return veto === null ? spec : { error: ErrorCode.POLICY_VIOLATION, message: veto };
  }

  #partitionsOf(wanted: CreateTopicsRequestCreatableTopic): PlannedPartitions | TopicRefusal {
    const { nodeId, topics, defaultPartitions } = this.#deps;
    const { assignments, numPartitions, replicationFactor } = wanted;
    if (assignments.length > 0) {
      if (replicationFactor !== -1 || numPartitions !== -1) {
        const message = 'With a manual assignment, partition count and replication factor must be -1.';
        return { error: ErrorCode.INVALID_REQUEST, message };
      }
      const sorted = inPartitionOrder(assignments);
      const owners = typeof sorted === 'string' ? sorted : ownersAssigned(topics.image, nodeId, sorted);
      if (typeof owners === 'string') return { error: ErrorCode.INVALID_REPLICA_ASSIGNMENT, message: owners };
      return { partitions: owners.length, assignments: owners };
    }
    if (replicationFactor === 0 || replicationFactor < -1) {
      const message = 'Replication factor must be larger than 0, or -1 for the default.';
      return { error: ErrorCode.INVALID_REPLICATION_FACTOR, message };
    }
    if (numPartitions === 0 || numPartitions < -1) {
      const message = 'Number of partitions must be larger than 0, or -1 for the default.';
      return { error: ErrorCode.INVALID_PARTITIONS, message };
    }
    return { partitions: numPartitions === -1 ? defaultPartitions : numPartitions };
  }

  #configsOf(wanted: CreateTopicsRequestCreatableTopic): Record<string, string> | string {
    const { catalog } = this.#deps;
    const configs: Record<string, string> = {};
    for (const { name, value } of wanted.configs) {
      if (catalog.definition('topic', name) === undefined) return `Unknown topic config name: ${name}`;
      if (value === null) return `Null value not supported for topic configs: ${name}`;
      const problem = catalog.valueProblem('topic', name, value);
      if (problem !== null) return problem;
      configs[name] = value;
    }
    return catalog.relationProblem('topic', configs, noBrokerValue) ?? configs;
  }
}
