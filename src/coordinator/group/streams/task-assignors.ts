/** The assignors of tasks that a group may be given by `streams.assignor.name`; the first is the default. */
import { assignStickily } from './sticky-assignor.ts';
import type { TaskAssignor } from './task-assignor.ts';

export const taskAssignors: ReadonlyMap<string, TaskAssignor> = new Map([['sticky', assignStickily]]);
export const defaultTaskAssignor = 'sticky';
