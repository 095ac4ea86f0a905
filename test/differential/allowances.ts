/** Where Millrace's answers may differ from Apache Kafka's, each with the reason. */
export interface Allowance {
  /** On `case / step: path of the field`. */
  readonly place: RegExp;
  /** Values as JSON, when only these may differ. */
  readonly kafka?: string;
  readonly millrace?: string;
  readonly reason: string;
}

export const allowances: readonly Allowance[] = [
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
    place: /^produce (a batch and (a part of the next|one byte)) /,
    reason: 'Kafka drops what is cut behind a whole batch without a word; Millrace refuses it',
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
    place: /^create a topic with factor 3 /,
    reason: 'the object store replicates: every factor is taken, and one is told',
  },
  {
    place: /^produce the type of append time /,
    reason:
      "a producer that gives its own times the name of append times is refused: readers would take them for the broker's",
  },
  {
    place: /^produce a transactional batch of nobody .* errorCode$/,
    reason: 'transactions are not served yet',
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
    place: /(configs records\.validation |configs [a-z.]+ (configSource|synonyms))/,
    reason: 'settings that only Millrace has, and defaults that its broker sets',
  },
];
