/**
 * Versions below Kafka 4's minimum that Millrace still reads and writes.
 *
 * Kafka 4.0 (KIP-896) dropped them; clients and tools older than 2.1 speak nothing else. Source of each layout: the
 * message definitions up to Kafka 3.9, where they were last valid; the golden tests compare them with the Java
 * client 3.9.1. Not here: Produce below 3 and Fetch below 4, which carry message formats below 2, and anything
 * whose layout is not certain.
 */

/** A field that Kafka 4 removed from the definition together with its versions. */
export interface OlderField {
  /** Struct the field belongs to; null for the message itself. */
  readonly struct: string | null;
  /** Name of the field before it. */
  readonly after: string;
  /** The field in the notation of messages.schema. */
  readonly field: string;
}

export interface OlderVersion {
  readonly key: number;
  /** Lowest version served. */
  readonly min: number;
  readonly request: readonly OlderField[];
  readonly response: readonly OlderField[];
}

function same(key: number, min = 0): OlderVersion {
  return { key, min, request: [], response: [] };
}

export const OLDER_VERSIONS: readonly OlderVersion[] = [
  {
    // ListOffsets 0 answers up to MaxNumOffsets segment starts instead of one timestamp and offset
    key: 2,
    min: 0,
    request: [{ struct: 'ListOffsetsPartition', after: 'Timestamp', field: 'MaxNumOffsets i32 0 =1' }],
    response: [
      { struct: 'ListOffsetsPartitionResponse', after: 'ErrorCode', field: 'OldStyleOffsets []i64~ 0' },
    ],
  },
  {
    // OffsetCommit 1 carries a time per partition
    key: 8,
    min: 0,
    request: [
      {
        struct: 'OffsetCommitRequestPartition',
        after: 'CommittedLeaderEpoch',
        field: 'CommitTimestamp i64 1 =-1',
      },
    ],
    response: [],
  },
  same(9), // OffsetFetch 0 has the layout of 1
  same(19), // CreateTopics
  same(20), // DeleteTopics
  same(23), // OffsetForLeaderEpoch
  same(27), // WriteTxnMarkers
  same(29), // DescribeAcls
  same(30), // CreateAcls
  same(31), // DeleteAcls
  {
    // DescribeConfigs 0 says only whether a value is the default
    key: 32,
    min: 0,
    request: [],
    response: [{ struct: 'DescribeConfigsResourceResult', after: 'ReadOnly', field: 'IsDefault bool 0' }],
  },
  same(34), // AlterReplicaLogDirs
  same(35), // DescribeLogDirs
  same(38), // CreateDelegationToken
  same(39), // RenewDelegationToken
  same(40), // ExpireDelegationToken
  same(41), // DescribeDelegationToken
];
