/** Which member answers questions about the state of which input partitions (interactive queries). Pure. */
import type { GroupTopics } from '../group-services.ts';
import type { ConfiguredSubtopology } from './configured-topology.ts';
import type { StreamsGroup } from './streams-group.ts';
import type { EndpointPartitions, TopicPartitionsNamed } from './streams-group-api.ts';
import type { TaskEpochs } from './tasks.ts';

export function endpointsOf(group: StreamsGroup, topics: GroupTopics): EndpointPartitions[] {
  const subtopologies = group.configured?.subtopologies ?? [];
  if (subtopologies.length === 0) return [];
  const byId = new Map(subtopologies.map((subtopology) => [subtopology.id, subtopology]));
  const found: EndpointPartitions[] = [];
  for (const { metadata, progress } of group.members.values()) {
    if (metadata?.endpoint == null) continue;
    const { active, standby, warmup } = progress.assigned;
    found.push({
      endpoint: metadata.endpoint,
      active: inputsOf(active, byId, topics),
      standby: [...inputsOf(standby, byId, topics), ...inputsOf(warmup, byId, topics)],
    });
  }
  return found;
}

function inputsOf(
  held: TaskEpochs,
  byId: ReadonlyMap<string, ConfiguredSubtopology>,
  topics: GroupTopics,
): TopicPartitionsNamed[] {
  const found: TopicPartitionsNamed[] = [];
  for (const [id, epochs] of held) {
    for (const topic of byId.get(id)?.inputs ?? []) {
      const count = topics.partitionCount(topics.idOf(topic) ?? '');
      const partitions = [...epochs.keys()].filter((partition) => partition < count).sort((a, b) => a - b);
      if (partitions.length > 0) found.push({ topic, partitions });
    }
  }
  return found;
}
