/**
 * The sticky assignor of tasks. Active tasks: members hold numbers of stateful ones, and of all, that differ by one at most, and
 * keep what that allows; a task that moves goes to whoever has its state, the most advanced first. Standby tasks: each on a
 * process of its own, where the state is if the load allows, else where the load is least; with rack tags, first where those
 * differ most from the other copies.
 *
 * Time: tasks × processes × replicas, and as much for each standby that is moved to even out.
 */
import type { SizedSubtopology, TaskAssignorOptions, TaskMember } from './task-assignor.ts';
import { noTasks, type TaskSet, type Tasks, taskKey } from './tasks.ts';

interface Task {
  readonly subtopologyId: string;
  readonly partition: number;
  readonly key: string;
}

/** A member's share of the tasks. */
interface Share {
  readonly member: TaskMember;
  readonly process: Process;
  readonly active: Task[];
  readonly standby: Task[];
}

interface Process {
  readonly id: string;
  readonly shares: Share[];
  /** Tasks of which one of its members has a copy, in whatever role. */
  readonly copies: Set<string>;
  /** Tasks of all its members. */
  size: number;
  readonly tags: ReadonlyMap<string, string>;
}

/** Who has the state of a task. */
interface Keeper {
  readonly share: Share;
  /** A copy that is kept up to date, not only what lies on a disk. */
  readonly isLive: boolean;
  readonly offset: number;
}

export function assignStickily(
  members: readonly TaskMember[],
  subtopologies: readonly SizedSubtopology[],
  options: TaskAssignorOptions,
): Map<string, Tasks> {
  const assignment = new StickyAssignment(members, options);
  const of = (wanted: boolean): Task[] =>
    subtopologies.filter(({ stateful }) => stateful === wanted).flatMap(tasksOf);
  const stateful = of(true);
  // State is what makes a task heavy, so it is spread first; the others fill up what is left of the members' parts.
  assignment.assignActive(stateful);
  assignment.assignActive(of(false));
  assignment.assignStandby(stateful);
  return assignment.result();
}

function tasksOf({ id: subtopologyId, tasks }: SizedSubtopology): Task[] {
  return Array.from({ length: tasks }, (_, partition) => ({
    subtopologyId,
    partition,
    key: taskKey(subtopologyId, partition),
  }));
}

class StickyAssignment {
  readonly #options: TaskAssignorOptions;
  readonly #shares: readonly Share[];
  readonly #processes: readonly Process[];
  /** Who has each task active, or was to get it, and who has its state otherwise, the best first. */
  readonly #runners = new Map<string, Share>();
  readonly #keepers = new Map<string, Keeper[]>();
  /** Processes with a copy of a task so far. */
  readonly #copies = new Map<string, Process[]>();

  constructor(members: readonly TaskMember[], options: TaskAssignorOptions) {
    this.#options = options;
    const processes = new Map<string, Process>();
    this.#shares = [...members]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map((member) => {
        const { processId: id, clientTags: tags } = member;
        let process = processes.get(id);
        if (process === undefined) {
          process = { id, shares: [], copies: new Set(), size: 0, tags };
          processes.set(id, process);
        }
        const share: Share = { member, process, active: [], standby: [] };
        process.shares.push(share);
        return share;
      });
    this.#processes = [...processes.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const share of this.#shares)
      for (const key of keysOf(share.member.target.active)) this.#runners.set(key, share);
    // What somebody runs counts before what somebody was to run.
    for (const share of this.#shares)
      for (const key of keysOf(share.member.held.active)) this.#runners.set(key, share);
    for (const share of this.#shares) this.#rank(share);
    for (const keepers of this.#keepers.values())
      keepers.sort((a, b) => Number(b.isLive) - Number(a.isLive) || b.offset - a.offset);
  }

  /** Copies that are kept up to date rank before state that only lies on a disk; then how far they are. */
  #rank(share: Share): void {
    const { held, offsets } = share.member;
    const live = new Set([...keysOf(held.standby), ...keysOf(held.warmup)]);
    for (const key of new Set([...live, ...offsets.keys()])) {
      const keeper = { share, isLive: live.has(key), offset: offsets.get(key) ?? 0 };
      const keepers = this.#keepers.get(key);
      if (keepers === undefined) this.#keepers.set(key, [keeper]);
      else keepers.push(keeper);
    }
  }

  // ── Active tasks ────────────────────────────────────────────────────────────────────────────────────────────────

  assignActive(tasks: readonly Task[]): void {
    const shares = this.#shares;
    if (shares.length === 0) return;
    const placed = shares.reduce((sum, { active }) => sum + active.length, 0);
    const least = Math.floor((placed + tasks.length) / shares.length);
    let extras = (placed + tasks.length) % shares.length;
    for (const { active } of shares) if (active.length > least) extras--;
    const hasRoom = ({ active }: Share): boolean =>
      active.length < least || (active.length === least && extras > 0);
    const give = (share: Share, task: Task): void => {
      if (share.active.length === least) extras--;
      share.active.push(task);
      this.#copied(task, share.process);
    };
    const held = new Map<Share, Task[]>(shares.map((share) => [share, []]));
    for (const task of tasks) {
      const runner = this.#runners.get(task.key);
      if (runner !== undefined) held.get(runner)!.push(task);
    }
    const left = new Set(tasks);
    // Who has most keeps most: the ones beyond the even part stay with those that have them.
    for (const [share, own] of [...held].sort(([, a], [, b]) => b.length - a.length)) {
      for (const task of own) {
        if (!hasRoom(share)) break;
        give(share, task);
        left.delete(task);
      }
    }
    for (const task of left) {
      const keeper = this.#keepers.get(task.key)?.find(({ share }) => hasRoom(share));
      if (keeper === undefined) continue;
      give(keeper.share, task);
      left.delete(task);
    }
    for (const task of left) give(lightest(shares.filter(hasRoom)), task);
  }

  // ── Standby tasks ───────────────────────────────────────────────────────────────────────────────────────────────

  assignStandby(tasks: readonly Task[]): void {
    const replicas = Math.min(this.#options.standbyReplicas, this.#processes.length - 1);
    if (replicas <= 0) return;
    // By partition first, so that the subtopologies take turns.
    const inTurn = [...tasks].sort(
      (a, b) => a.partition - b.partition || (a.subtopologyId < b.subtopologyId ? -1 : 1),
    );
    const active = this.#shares.reduce((sum, share) => sum + share.active.length, 0);
    const quota = Math.ceil((active + tasks.length * replicas) / this.#shares.length);
    const left: Task[] = [];
    for (let i = 0; i < replicas; i++) {
      for (const task of inTurn) {
        const share = this.#holderFor(task, quota);
        if (share === null) left.push(task);
        else this.#place(share, task);
      }
    }
    for (const task of left)
      this.#place(lightest(this.#lightestWithout(task, this.#distanceWanted(task))!.shares), task);
    this.#evenOut();
  }

  /** Somebody who has the state: who ran it last if there is room, else who has a copy, else who has it on a disk and room. */
  #holderFor(task: Task, quota: number): Share | null {
    const runner = this.#runners.get(task.key);
    const keepers = this.#keepers.get(task.key) ?? [];
    const wanted = this.#distanceWanted(task);
    const fits = ({ process }: Share): boolean =>
      !process.copies.has(task.key) && this.#distanceOf(process, task) >= wanted;
    const hasRoom = (share: Share): boolean => sizeOf(share) < quota;
    if (runner !== undefined && fits(runner) && hasRoom(runner)) return runner;
    // Copies stay where they are; what is uneven then is moved afterwards.
    return keepers.find(({ share, isLive }) => fits(share) && (isLive || hasRoom(share)))?.share ?? null;
  }

  /** In how many rack tags a copy of the task can differ from all others at most; 0 without rack tags. */
  #distanceWanted(task: Task): number {
    if (this.#options.rackTags.length === 0) return 0;
    let most = 0;
    for (const process of this.#processes)
      if (!process.copies.has(task.key)) most = Math.max(most, this.#distanceOf(process, task));
    return most;
  }

  /** In how many rack tags the process differs from whoever with a copy of the task is most like it. */
  #distanceOf(process: Process, task: Task): number {
    const { rackTags } = this.#options;
    let least = rackTags.length;
    for (const holder of this.#copies.get(task.key) ?? []) {
      const differing = rackTags.filter((tag) => process.tags.get(tag) !== holder.tags.get(tag)).length;
      least = Math.min(least, differing);
    }
    return least;
  }

  /** The process with the least to do of those that have no copy of the task. */
  #lightestWithout(task: Task, distance: number): Process | null {
    let least: Process | null = null;
    for (const process of this.#processes) {
      if (least !== null && loadOf(process) >= loadOf(least)) continue;
      if (!process.copies.has(task.key) && this.#distanceOf(process, task) >= distance) least = process;
    }
    return least;
  }

  /** Moves standbys from heavier processes to lighter ones while that evens them out. Each move makes Σ size²⁄members smaller. */
  #evenOut(): void {
    if (this.#options.rackTags.length > 0) return;
    for (let moved = true; moved; ) {
      moved = false;
      for (const share of this.#shares) {
        for (let i = 0; i < share.standby.length; i++) {
          const task = share.standby[i]!;
          const to = this.#lightestWithout(task, 0);
          const from = share.process;
          if (to === null || loadOf(from, -1) < loadOf(to, 1)) continue;
          share.standby.splice(i--, 1);
          from.copies.delete(task.key);
          from.size--;
          this.#copies.set(
            task.key,
            this.#copies.get(task.key)!.filter((each) => each !== from),
          );
          this.#place(lightest(to.shares), task);
          moved = true;
        }
      }
    }
  }

  #place(share: Share, task: Task): void {
    share.standby.push(task);
    this.#copied(task, share.process);
  }

  #copied(task: Task, process: Process): void {
    process.copies.add(task.key);
    process.size++;
    const copies = this.#copies.get(task.key);
    if (copies === undefined) this.#copies.set(task.key, [process]);
    else copies.push(process);
  }

  result(): Map<string, Tasks> {
    return new Map(
      this.#shares.map(({ member, active, standby }) => [
        member.id,
        { ...noTasks, active: setOf(active), standby: setOf(standby) },
      ]),
    );
  }
}

function* keysOf(set: TaskSet): Generator<string> {
  for (const [subtopologyId, partitions] of set)
    for (const partition of partitions) yield taskKey(subtopologyId, partition);
}

function sizeOf({ active, standby }: Share): number {
  return active.length + standby.length;
}

/** Tasks of a process for each of its members, with some more or fewer. */
function loadOf({ shares, size }: Process, more = 0): number {
  return (size + more) / shares.length;
}

function lightest(shares: readonly Share[]): Share {
  let least = shares[0]!;
  for (const share of shares) {
    const difference = sizeOf(share) - sizeOf(least);
    if (difference < 0 || (difference === 0 && loadOf(share.process) < loadOf(least.process))) least = share;
  }
  return least;
}

function setOf(tasks: readonly Task[]): TaskSet {
  const set = new Map<string, number[]>();
  for (const { subtopologyId, partition } of tasks) {
    const partitions = set.get(subtopologyId);
    if (partitions === undefined) set.set(subtopologyId, [partition]);
    else partitions.push(partition);
  }
  for (const partitions of set.values()) partitions.sort((a, b) => a - b);
  return new Map([...set].sort(([a], [b]) => (a < b ? -1 : 1)));
}
