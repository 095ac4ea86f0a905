/** Where Millrace's answers may differ from Apache Kafka's, each with the reason. */
export interface Allowance {
  /** On `case / step: path of the field`. */
  readonly place: RegExp;
  /** Values as JSON, when only these may differ. */
  readonly kafka?: string;
  readonly millrace?: string;
  /** What follows in the case follows from it, and is not compared. */
  readonly ends?: true;
  readonly reason: string;
}

export const allowances: readonly Allowance[] = [
  {
    place: /Share(Fetch|Acknowledge) v\d+ .* currentLeader (leaderId|leaderEpoch)$/,
    millrace: '-1',
    reason:
      'Kafka leaves zeros where it says nothing of a leader; 0 may be the name of a broker, −1 is nobody',
  },
  {
    place: /^streams group joined with a negative epoch of its topology.* errorCode$/,
    kafka: '-1',
    millrace: '42',
    reason:
      'Kafka fails inside (UNKNOWN_SERVER_ERROR) where a topology has a negative epoch: the request is invalid',
  },
  {
    place: /^streams group joined with offsets told, .* taskOffsets/,
    reason: 'Kafka forgets what the first member of a new streams group tells of offsets',
  },
  {
    place: /^streams group with endpoints \/ .* endpointInformationEpoch$/,
    reason:
      'Kafka forgets the first endpoint epoch of a new streams group; members compare epochs for equality only',
  },
  {
    place: /^share .*DescribeShareGroupOffsets v\d+ .* (startOffset|lag)$/,
    kafka: '-1',
    reason:
      'Kafka stores where a share partition begins with its first acknowledgement, Millrace before it delivers',
  },
  {
    place: /^share .*DescribeShareGroupOffsets v\d+ .* startOffset$/,
    reason:
      'where a share partition begins moves in Kafka with the write after the one that finished records; the lag counts them',
  },
  {
    place:
      /^share fetch of (one|four|six) records?( in batches of 2)?(, strictly)?, given back .* (records|acquiredRecords)/,
    ends: true,
    reason:
      'what a soft limit of records adds depends in Kafka on how records were first delivered; Millrace ends with the batch of the log',
  },
  {
    place: /^share fetch of (batches of \d, given back|four records.* strictly) .* acquiredRecords/,
    reason: 'Kafka cuts ranges of records where it keeps them in pieces; clients read them alike',
  },
  {
    place: /^share acknowledgements of two partitions .* partitions\[1\] errorCode$/,
    kafka: '3',
    millrace: '42',
    reason: 'Kafka does not know share partitions that were never fetched; nobody holds anything of them',
  },
  {
    place: /^share group offsets, version 1 \/ a partition that is not there: .* answer$/,
    kafka: '"no answer"',
    reason: 'Kafka never answers where one of the partitions is not there',
  },
  {
    place: /^share group offsets, version \d \/ no partitions: .* errorCode$/,
    kafka: '-1',
    reason: 'Kafka fails inside where of a topic no partition is asked',
  },
  {
    place: /^share records of transactions.* (records|acquiredRecords)/,
    ends: true,
    reason:
      'Kafka delivers control batches too, whose offsets clients acknowledge as gaps; the broker archives them here',
  },
  {
    place: /^share session begun with no bytes .* errorCode$/,
    kafka: 'absent',
    millrace: '0',
    reason: 'a partition that nothing is read of is named as a session begins',
  },
  {
    place: /^share records from a time that is over .* errorCode$/,
    kafka: '78',
    millrace: '0',
    ends: true,
    reason:
      'where no record is young enough Kafka fails until one comes (OFFSET_NOT_AVAILABLE); Millrace begins at the end',
  },
  {
    place: /^share records that are deleted .* errorCode$/,
    kafka: 'absent',
    millrace: '0',
    ends: true,
    reason: 'Kafka notices with this request that its log begins later, and delivers with the next',
  },
  {
    place: /^share records compressed \/ the rest: .* (records|acquiredRecords)/,
    ends: true,
    reason:
      'how much a soft limit of records lets through depends in Kafka on how records were first delivered',
  },
  {
    place: /^share group offsets of nobody \/ moved: .* errorCode$/,
    ends: true,
    reason: 'Kafka makes a group whose offsets are moved; Millrace has groups that somebody was in',
  },
  {
    place: /^share group offsets moved to -[12] .* errorCode$/,
    kafka: '0',
    millrace: '42',
    ends: true,
    reason:
      'Kafka takes an offset below 0 and begins anew by share.auto.offset.reset, or there; Millrace refuses it',
  },
  {
    place: /^share group offsets moved of a negative partition .* errorCode$/,
    ends: true,
    reason:
      'Kafka fails inside (UNKNOWN_SERVER_ERROR) where a partition is negative; it is one that is not there',
  },
  {
    place: /^share group offsets moved, and read again .* (firstOffset|deliveryCount)$/,
    ends: true,
    reason:
      'Kafka goes on with what it has in memory until its next write is refused; Millrace reads the state that was set',
  },
  {
    place: /^share (session begun|fetch later) with an empty group .* errorCode$/,
    ends: true,
    reason: 'Kafka fails inside on a group without a name; the request is invalid',
  },
  {
    place: /^share session begun with (no|a negative) wait .*/,
    ends: true,
    reason: 'Kafka answers without a wait before it has read; what is there is delivered',
  },
  {
    place: /^share session begun with negative (bytes|records) .*/,
    ends: true,
    reason:
      'Kafka fails inside, or answers an empty partition, where a limit is negative; nothing is asked for',
  },
  {
    place: /^share session begun with a batch size of (0|-1) .* acquiredRecords/,
    ends: true,
    reason: 'Kafka acquires a range that ends before it begins; Millrace reads a batch size below 1 as 1',
  },
  {
    place: /^share session begun with an acquire mode of .* errorCode$/,
    kafka: '-1',
    millrace: '42',
    reason: 'Kafka fails inside on an acquire mode that nobody knows; the request is invalid',
  },
  {
    place: /^share session of a member that has not joined .* errorCode$/,
    kafka: '-1',
    millrace: '6',
    ends: true,
    reason: 'a group without a state: Kafka fails inside, Millrace has the client ask again',
  },
  {
    place: /^share session of a topic that is deleted .* errorCode$/,
    kafka: '3',
    millrace: '100',
    reason:
      'the id of a topic that was deleted is unknown: Kafka says so of its name, which the request does not have',
  },
  {
    place: /^share group offsets moved beyond the end .* lag$/,
    kafka: '-990',
    millrace: '0',
    reason: 'nothing is left to read behind the end: Kafka counts below zero',
  },
  {
    place: / (e|acknowledgeE)rrorMessage$/,
    kafka: 'null',
    millrace: '"words"',
    reason: 'Millrace says what is wrong where Kafka answers a bare code',
  },
  {
    place: /Produce v\d+ .* logStartOffset$/,
    millrace: '-1',
    reason: 'a refused batch carries no log start: clients read it with success only',
  },
  {
    place: /Produce v\d+ .* logAppendTimeMs$/,
    kafka: '"a time"',
    millrace: '-1',
    reason: "Kafka tells the time of a duplicate's original also where the topic keeps the producer's times",
  },
  {
    place: /^produce a batch and (a part of the next|one byte) .* errorCode$/,
    kafka: '0',
    millrace: '87',
    ends: true,
    reason:
      'Kafka drops what is cut behind a whole batch and says success; Millrace acknowledges only what it has stored',
  },
  {
    place: /^produce (magic (3|-1)|a length that is wrong by -\d+|a negative length) .* errorCode$/,
    kafka: '2',
    millrace: '87',
    reason: 'bytes that are no batch are an invalid record: they were not damaged on the way',
  },
  {
    place: /^produce no records at all /,
    kafka: '"no answer"',
    reason: 'Kafka fails inside and never answers',
  },
  {
    place: /^fetch (of -1 bytes|with isolation 2)/,
    reason:
      'Kafka fails inside (UNKNOWN_SERVER_ERROR); Millrace reads a negative size as none and an unknown isolation as the plain one',
  },
  {
    place: /^fetch by a follower /,
    reason: 'there are no followers: whoever calls himself one reads as a consumer',
  },
  {
    place: /Fetch v\d+ .* abortedTransactions$/,
    kafka: '[]',
    millrace: 'null',
    reason: 'of a partition that is not read nothing is aborted: empty and null say the same',
  },
  {
    place: /Fetch v\d+ .* abortedTransactions$/,
    kafka: 'null',
    millrace: '[]',
    reason: 'of a partition that is not read nothing is aborted: empty and null say the same',
  },
  {
    place: /^create a topic with factor 3 .* errorCode$/,
    kafka: '38',
    millrace: '0',
    reason: 'the object store replicates: every factor is taken, and one is told',
  },
  {
    place: /FindCoordinator v\d+ .* errorMessage$/,
    kafka: '"words"',
    millrace: 'null',
    reason: 'a kind of coordinator that nobody knows is refused by its code alone',
  },
  {
    place: /^configs altered \/ retention\.ms 9 .* errorCode$/,
    kafka: '-1',
    millrace: '42',
    reason: 'Kafka fails inside on an operation that nobody knows; Millrace calls the request invalid',
  },
  {
    place: /configs records\.validation /,
    reason: 'a setting that only Millrace has',
  },
  {
    place: /configs retention\.ms synonyms\[1\] (name|value|source)$/,
    kafka: 'absent',
    reason:
      "Kafka's broker has its default in hours, under another name that it does not tell; Millrace has log.retention.ms",
  },
  {
    place: /configs min\.insync\.replicas (configSource|synonyms)/,
    reason: 'Kafka sets it for the whole cluster when it formats its storage; Millrace has it as a default',
  },
  {
    place: /^produce the type of append time .* recordErrors/,
    reason: 'the mark stands in the header once: Kafka blames each record for it',
  },
  {
    place:
      /^(generated, .* its largest time, all deleted|list offsets of the largest time where its record is deleted \/ from [145]): /,
    reason:
      'Kafka names a record below the log start, which nobody can read; Millrace the largest that is left, if any',
  },
  {
    place: /^transaction .*Produce v\d+ .* errorMessage$/,
    kafka: '"words"',
    millrace: 'null',
    reason: 'what the coordinator refuses is told by its code',
  },
  {
    place: /^transaction add offsets .* no group: .* errorCode$/,
    kafka: '0',
    millrace: '24',
    reason:
      'a group cannot have this name: Kafka says so when the offsets come, Millrace before they are added',
  },
  {
    place: /^transaction of offsets, (commit|abort), version [345] \/ of a generation: .* errorCode$/,
    kafka: '25',
    millrace: '22',
    reason:
      'a group of which there is nothing but offsets of an open transaction: Kafka knows it already, Millrace with the commit',
  },
  {
    place: /^transaction init while one is open \/ fenced: .* producerEpoch$/,
    kafka: '1',
    millrace: '2',
    ends: true,
    reason:
      'a fence takes the epoch on by two: one more is what the end of the fenced producer would have come to',
  },
  {
    place: /^consumer group .* \/ empty: .* assignmentEpoch$/,
    reason: 'without members there is nothing to assign: Kafka counts on all the same',
  },
  {
    place: /^transactions described \/ elsewhere: .* errorMessage$/,
    kafka: '"words"',
    millrace: 'null',
    reason: 'what does not exist is told by its code',
  },
  {
    place: /^transactions described \/ unknown: .* (transactionStartTimeMs|producerId|producerEpoch)$/,
    millrace: '-1',
    reason: 'what is not there has no epoch: Kafka fills in zeros beside the error',
  },
];
