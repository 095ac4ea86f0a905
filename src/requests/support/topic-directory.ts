/**
 * Topics and partitions as handlers see them on one shard: the folded metadata image plus the partitions' handles.
 */
import type { PartitionHandle } from '../../log/partition-handle.ts';
import type { ClusterImage, TopicImage } from '../../metadata/metadata-store.ts';

export interface TopicDirectory {
  readonly image: ClusterImage;
  topicByName(name: string): TopicImage | undefined;
  topicById(topicId: string): TopicImage | undefined;
  /** Handle of a partition that this broker serves, on whatever shard; undefined when it is not (yet) open. */
  partition(topicId: string, partition: number): PartitionHandle | undefined;
  /**
   * A partition that another broker leads, as far as objects hold it, as of now; undefined where none does. Only for readers that
   * state the leader epoch.
   */
  replica(topicId: string, partition: number): PartitionHandle | undefined;
  /** Runs after each change of the image, until the function that it returns is called. */
  watch(listener: () => void): () => void;
}
