/**
 * CreateTopics (key 19), versions 0–7; checked on the connection's shard, made by the control plane, answered when
 * every shard knows the topics. Topics are made one by one: one refusal does not touch the others.
 *
 *   REQUEST_TIMED_OUT a time-out of zero or less: nothing is looked at
 *   INVALID_REQUEST a name twice (answered once); manual assignments together with counts
 *   INVALID_TOPIC_EXCEPTION 17 illegal or colliding name     TOPIC_ALREADY_EXISTS 36
 *   INVALID_REPLICATION_FACTOR 38 zero or below −1           INVALID_PARTITIONS 37 zero or below −1
 *   INVALID_REPLICA_ASSIGNMENT 39 unknown brokers, gaps      INVALID_CONFIG 40
 *   POLICY_VIOLATION 44 the operator's policy, or more than `partitionsMax` partitions in one request
 *
 * Counts of −1 mean the broker's default in every version. Any positive replication factor is accepted and has no
 * effect, since durability is the storage's; of a manual assignment the first broker that is there becomes the owner
 * (support/manual-assignment.ts). The answer (v5+) says 1, with the topic's effective configs.
 * v1: validate only, v7: topic ids. Omitted: quotas (THROTTLING_QUOTA_EXCEEDED).
 */

import {
  CreateTopicsCodec,
  type CreateTopicsRequest,
  type CreateTopicsRequestCreatableTopic,
  type CreateTopicsResponseCreatableTopicConfigsInput,
  type CreateTopicsResponseCreatableTopicResultInput,
  type CreateTopicsResponseInput,
} from '../protocol/generated/create-topics.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { configLayers, configSource } from './support/config-catalog.ts';
import type { ControlPlane, TopicSpec } from './support/control-plane.ts';
import type { RequestHandler } from './support/handler.ts';
import { namedTwice, onceEach } from './support/named-twice.ts';
import { expired, type LimitDeps, withinLimit } from './support/time-limit.ts';
import { collisionMessage } from './support/topic-creation.ts';
import { collisionKey } from './support/topic-names.ts';
import { type TopicPlanDeps, TopicPlans, type TopicRefusal } from './support/topic-plan.ts';

export interface CreateTopicsDeps extends LimitDeps, TopicPlanDeps {
  readonly control: Pick<ControlPlane, 'createTopics'>;
}

/** New partitions of one request, as in Kafka: bounds the metadata entry and the opens that follow. */
export const partitionsMax = 10_000;

const configsVersion = 5;

export function createTopicsHandler(
  deps: CreateTopicsDeps,
): RequestHandler<CreateTopicsRequest, CreateTopicsResponseInput> {
  const { topics, catalog, nodeId } = deps;
  const plans = new TopicPlans(deps);

  /** Refusals that depend on the other topics of the request. */
  function planAll(
    request: CreateTopicsRequest,
    each: readonly CreateTopicsRequestCreatableTopic[],
  ): (TopicSpec | TopicRefusal)[] {
    const twice = namedTwice(request.topics.map(({ name }) => name));
    const byKey = new Map<string, string>();
    let partitions = 0;
    return each.map((wanted) => {
      const { name } = wanted;
      if (twice.has(name)) {
        return { error: ErrorCode.INVALID_REQUEST, message: 'A topic may appear only once in a request.' };
      }
      const planned = plans.plan(wanted);
      if ('error' in planned) return planned;
      const other = byKey.get(collisionKey(name));
      if (other !== undefined) {
        return { error: ErrorCode.INVALID_TOPIC_EXCEPTION, message: collisionMessage(name, other) };
      }
      if (partitions + planned.partitions > partitionsMax) {
        const message = `One request may create at most ${partitionsMax} partitions.`;
        return { error: ErrorCode.POLICY_VIOLATION, message };
      }
      partitions += planned.partitions;
      byKey.set(collisionKey(name), name);
      return planned;
    });
  }

  /** Effective configs of a topic without own entries; computed once per request, there may be a thousand topics. */
  function inheritedConfigs(): CreateTopicsResponseCreatableTopicConfigsInput[] {
    const place = { scope: 'topic', own: {}, nodeId, image: topics.image } as const;
    return catalog.definitions('topic').map((definition) => {
      const { value, source } = configLayers(catalog, definition, place)[0]!;
      const { name, readOnly, sensitive: isSensitive } = definition;
      return { name, value, readOnly, configSource: source, isSensitive };
    });
  }

  function effectiveConfigs(
    inherited: readonly CreateTopicsResponseCreatableTopicConfigsInput[],
    own: Readonly<Record<string, string>>,
  ): readonly CreateTopicsResponseCreatableTopicConfigsInput[] {
    if (Object.keys(own).length === 0) return inherited;
    return inherited.map((config) => {
      const value = own[config.name!];
      if (value === undefined) return config;
      return { ...config, value: config.isSensitive ? null : value, configSource: configSource.topic };
    });
  }

  const refused = (
    name: string,
    errorCode: number,
    errorMessage: string | null,
  ): CreateTopicsResponseCreatableTopicResultInput => ({ name, errorCode, errorMessage });

  return {
    codec: CreateTopicsCodec,
    handle(context, request, respond) {
      const wanted = onceEach(request.topics, ({ name }) => name);
      if (expired(request.timeoutMs)) {
        respond({ topics: wanted.map(({ name }) => refused(name, ErrorCode.REQUEST_TIMED_OUT, null)) });
        return;
      }
      const planned = planAll(request, wanted);
      let inherited: CreateTopicsResponseCreatableTopicConfigsInput[] | null = null;
      const configsTold = (spec: TopicSpec) => {
        if (context.apiVersion < configsVersion) return [];
        inherited ??= inheritedConfigs();
        return effectiveConfigs(inherited, spec.configs);
      };
      const made = (spec: TopicSpec, topicId?: string): CreateTopicsResponseCreatableTopicResultInput => ({
        name: spec.name,
        topicId,
        errorMessage: null,
        numPartitions: spec.partitions,
        replicationFactor: 1,
        configs: configsTold(spec),
      });
      const specs = planned.filter((each): each is TopicSpec => !('error' in each));
      const answer = (result: (spec: TopicSpec) => CreateTopicsResponseCreatableTopicResultInput): void =>
        respond({
          topics: planned.map((each, i) =>
            'error' in each ? refused(wanted[i]!.name, each.error, each.message) : result(each),
          ),
        });
      if (request.validateOnly || specs.length === 0) {
        answer((spec) => made(spec));
        return;
      }
      withinLimit(deps, request.timeoutMs, deps.control.createTopics(specs), (outcomes, failure) => {
        let next = 0;
        answer((spec) => {
          const outcome = outcomes?.[next++];
          if (outcome === undefined) return refused(spec.name, failure, null);
          const { error, message, topicId } = outcome;
          return error === ErrorCode.NONE ? made(spec, topicId) : refused(spec.name, error, message);
        });
      });
    },
  };
}
