/**
 * Warm-ups: the way from what members run to their targets, for tasks whose state has to get there first. A stateful task that
 * is to move to another process stays active where it is until its state there lags by `acceptableLag` records at most; until
 * then whoever is to get it has it as warm-up, at most `warmupsMax` in a group at a time, or keeps the standby that it has of it.
 * Pure. Apache Kafka 4.4 has the place for this in its broker and leaves it empty: every task moves at once there.
 */
import type { SizedSubtopology } from './task-assignor.ts';
import { type HeldTasks, hasTask, noTasks, type TaskRole, type Tasks, taskKey } from './tasks.ts';

export interface WarmupMember {
  readonly id: string;
  readonly processId: string;
  readonly assigned: HeldTasks;
  /** Sums of offsets in a task's changelogs that its state has reached, and of their ends, by taskKey. */
  readonly offsets: ReadonlyMap<string, number>;
  readonly endOffsets: ReadonlyMap<string, number>;
}

export interface WarmupOptions {
  readonly warmupsMax: number;
  readonly acceptableLag: number;
}

/** What members are to have now: `targets` itself when no task has to wait. */
export function withWarmups(
  members: readonly WarmupMember[],
  targets: ReadonlyMap<string, Tasks>,
  subtopologies: readonly SizedSubtopology[],
  { warmupsMax, acceptableLag }: WarmupOptions,
): ReadonlyMap<string, Tasks> {
  if (warmupsMax === 0) return targets;
  const refined = new Refined(targets);
  const byId = new Map(members.map((member) => [member.id, member]));
  const ordered = [...members].sort((a, b) => (a.id < b.id ? -1 : 1));
  let warmups = 0;
  for (const { id, tasks, stateful } of subtopologies) {
    for (let partition = 0; stateful && partition < tasks; partition++) {
      const runner = ordered.find(({ assigned }) => hasTask(assigned.active, id, partition));
      const next = ordered.find((member) =>
        hasTask(targets.get(member.id)?.active ?? new Map(), id, partition),
      );
      if (runner === undefined || next === undefined || runner.processId === next.processId) continue;
      const there = ordered.filter(({ processId }) => processId === next.processId);
      if (there.some((member) => isCaughtUp(member, taskKey(id, partition), acceptableLag))) continue;
      refined.move(next.id, runner.id, 'active', id, partition);
      // One copy in a process: what the runner's was to keep of it, it runs.
      for (const [memberId, { processId }] of byId)
        if (processId === runner.processId) refined.take(memberId, 'standby', id, partition);
      if (hasTask(next.assigned.standby, id, partition)) refined.give(next.id, 'standby', id, partition);
      else if (warmups < warmupsMax) {
        warmups++;
        refined.give(next.id, 'warmup', id, partition);
      }
    }
  }
  return refined.targets;
}

function isCaughtUp({ offsets, endOffsets }: WarmupMember, key: string, acceptableLag: number): boolean {
  const offset = offsets.get(key);
  const end = endOffsets.get(key);
  return offset !== undefined && end !== undefined && end - offset <= acceptableLag;
}

class Refined {
  targets: ReadonlyMap<string, Tasks>;
  readonly #given: ReadonlyMap<string, Tasks>;

  constructor(targets: ReadonlyMap<string, Tasks>) {
    this.targets = targets;
    this.#given = targets;
  }

  move(from: string, to: string, role: TaskRole, subtopologyId: string, partition: number): void {
    this.take(from, role, subtopologyId, partition);
    this.give(to, role, subtopologyId, partition);
  }

  give(memberId: string, role: TaskRole, subtopologyId: string, partition: number): void {
    this.#change(memberId, role, subtopologyId, (partitions) =>
      [...partitions, partition].sort((a, b) => a - b),
    );
  }

  take(memberId: string, role: TaskRole, subtopologyId: string, partition: number): void {
    if (!hasTask((this.targets.get(memberId) ?? noTasks)[role], subtopologyId, partition)) return;
    this.#change(memberId, role, subtopologyId, (partitions) =>
      partitions.filter((each) => each !== partition),
    );
  }

  #change(
    memberId: string,
    role: TaskRole,
    subtopologyId: string,
    change: (partitions: readonly number[]) => readonly number[],
  ): void {
    if (this.targets === this.#given) this.targets = new Map(this.#given);
    const tasks = this.targets.get(memberId) ?? noTasks;
    const set = new Map(tasks[role]);
    const partitions = change(set.get(subtopologyId) ?? []);
    if (partitions.length === 0) set.delete(subtopologyId);
    else set.set(subtopologyId, partitions);
    (this.targets as Map<string, Tasks>).set(memberId, { ...tasks, [role]: set });
  }
}
