/**
 * Rules for topic names, shared by every request that takes one. Kafka forms metric names from topic names with '.'
 * replaced by '_', so two topics may not differ in these characters alone: they *collide*.
 */
const nameLengthMax = 249;
const legalName = /^[a-zA-Z0-9._-]+$/;

/** What is wrong with the name, or null. */
export function topicNameProblem(name: string): string | null {
  if (name === '') return 'Topic name is empty.';
  if (name === '.' || name === '..') return `Topic name "${name}" is not allowed.`;
  if (name.length > nameLengthMax) {
    return `Topic name has ${name.length} characters, at most ${nameLengthMax} are allowed.`;
  }
  if (!legalName.test(name)) {
    return 'Topic name may only hold ASCII letters, digits, ".", "_" and "-".';
  }
  return null;
}

/** Names with the same key collide. */
export function collisionKey(name: string): string {
  return name.includes('.') ? name.replaceAll('.', '_') : name;
}

/** Only names with one of the two characters can collide with another name. */
export function mayCollide(name: string): boolean {
  return name.includes('.') || name.includes('_');
}

/** Topics that the broker itself writes. */
const internalTopics: ReadonlySet<string> = new Set([
  '__consumer_offsets',
  '__transaction_state',
  '__share_group_state',
]);

export function isInternalTopic(name: string): boolean {
  return internalTopics.has(name);
}
