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
    place: /^streams group with endpoints \/ (joins|alive|has forgotten): .* endpointInformationEpoch$/,
    kafka: '0',
    millrace: '1',
    reason:
      'Kafka forgets the first endpoint epoch of a new streams group; members compare epochs for equality only',
  },
  {
    place: /^streams group with endpoints \/ (another|one without an) endpoint: .* endpointInformationEpoch$/,
    kafka: '1',
    millrace: '2',
    reason: 'Kafka forgot the one before; members compare epochs for equality only',
  },
  {
    place: / errorMessage$/,
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
