/**
 * What one group was told about its committed offsets. Commits are numbered, the number is the offset that is committed,
 * and one client commits for a group: so an answer tells which commit it shows. An acknowledged commit, or one that was
 * seen, is there from then on, unless a later one is; a commit that was refused never shows.
 */
import type { TopicModel } from './model.ts';
import type { SimWorld } from './world.ts';

export class CommittedModel {
  readonly topic: TopicModel;
  readonly index: number;
  /** Newest commit that must be there; −1 = none. */
  known = -1;
  /** Later ones that were sent and may be there. */
  attempted: number[] = [];

  constructor(topic: TopicModel, index: number) {
    this.topic = topic;
    this.index = index;
  }

  get gone(): boolean {
    return this.topic.deleted || this.topic.doubtful;
  }
}

export class GroupModel {
  readonly id: string;
  readonly #world: SimWorld;
  /** How often the WAL was given up, and with it whatever of the group only it held. */
  losses = 0;
  /** Its offsets come with transactions: one that is told may show a little later, so only stable ones are looked at. */
  readonly transactional: boolean;
  #commits: CommittedModel[] = [];
  #number = 0;

  constructor(world: SimWorld, id: string, transactional = false) {
    this.#world = world;
    this.id = id;
    this.transactional = transactional;
  }

  /** Of topics that are there. */
  get commits(): readonly CommittedModel[] {
    this.#commits = this.#commits.filter(({ topic }) => !topic.deleted);
    return this.#commits.filter(({ gone }) => !gone);
  }

  at(topic: TopicModel, index: number): CommittedModel {
    let found = this.#commits.find((one) => one.topic === topic && one.index === index);
    if (found === undefined) {
      found = new CommittedModel(topic, index);
      this.#commits.push(found);
    }
    return found;
  }

  /** The number of a commit that is about to be sent. */
  next(): number {
    return ++this.#number;
  }

  acknowledge(commit: CommittedModel, number: number): void {
    commit.known = Math.max(commit.known, number);
    commit.attempted = commit.attempted.filter((one) => one > commit.known);
  }

  /** It was not taken, and must not show. */
  refuse(commit: CommittedModel, number: number): void {
    commit.attempted = commit.attempted.filter((one) => one !== number);
  }

  /** What the group's coordinator says is committed; −1 = nothing. */
  observe(commit: CommittedModel, offset: number, text: string): void {
    if (commit.gone) return;
    const name = `${this.id}: ${commit.topic.name}-${commit.index}`;
    if (offset !== commit.known && !commit.attempted.includes(offset)) {
      // An earlier topic of this name may have left an offset, until one is committed to this one.
      if (commit.known >= 0)
        this.#world.fail(`${name} is committed to ${offset}, ${commit.known} was acknowledged`);
      return;
    }
    if (offset < 0) return;
    if (text !== textOf(offset)) this.#world.fail(`${name} is committed to ${offset} with '${text}'`);
    this.acknowledge(commit, offset);
  }

  /** A log was given up: what was acknowledged may be lost. */
  giveUp(): void {
    this.losses++;
    this.#commits = [];
  }
}

/** The text that goes with a commit. */
export function textOf(number: number): string {
  return `commit ${number}`;
}
