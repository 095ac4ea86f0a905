/** What a cluster is balanced by, in the order in which it matters; goals.ts says what each of them measures. */

/** `racks` is of topics: whether each topic's streams are spread over racks by the number of brokers in them. */
export const goals = ['racks', 'bytesIn', 'bytesOut', 'requests', 'streams', 'cpu'] as const;
export type Goal = (typeof goals)[number];
