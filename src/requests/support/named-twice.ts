/**
 * Requests that name a topic or a partition more than once. What each request does with them is Kafka's way, with its
 * reasons in docs/reference/compatibility.md; these helpers serve those that answer such a name once.
 */

/** Names that come more than once. */
export function namedTwice(names: readonly string[]): ReadonlySet<string> {
  const seen = new Set<string>();
  return new Set(names.filter((name) => seen.size === seen.add(name).size));
}

/** The first item of each name, in the order given. */
export function onceEach<T>(items: readonly T[], nameOf: (item: T) => string): T[] {
  const seen = new Set<string>();
  return items.filter((item) => seen.size < seen.add(nameOf(item)).size);
}

export interface NamedPartitions<P> {
  readonly name: string;
  readonly partitions: readonly P[];
}

/** Every topic once, with every partition once, as it was named last; in the order of the first mention. */
export function lastOfEach<P extends { readonly partitionIndex: number }>(
  topics: readonly NamedPartitions<P>[],
): NamedPartitions<P>[] {
  const merged = new Map<string, Map<number, P>>();
  for (const { name, partitions } of topics) {
    const of = merged.get(name) ?? new Map<number, P>();
    for (const partition of partitions) of.set(partition.partitionIndex, partition);
    merged.set(name, of);
  }
  return Array.from(merged, ([name, partitions]) => ({ name, partitions: [...partitions.values()] }));
}
