/** Runs named functions under tinybench and answers rates; what all micro-benchmarks here share. */
import { Bench } from 'tinybench';

export interface MicroTask {
  readonly name: string;
  /** 0 where bytes are not the point. */
  readonly bytesPerOp: number;
  readonly act: () => void | Promise<void>;
  /** Operations one call stands for. */
  readonly opsPerCall?: number;
}

export interface MicroFigure {
  readonly name: string;
  readonly opsPerSecond: number;
  readonly bytesPerOp: number;
}

export async function runTasks(tasks: readonly MicroTask[], timeMs = 200): Promise<MicroFigure[]> {
  const bench = new Bench({ time: timeMs, warmupTime: timeMs / 4 });
  for (const { name, act } of tasks) bench.add(name, act);
  await bench.run();
  return bench.tasks.map((task, i) => {
    const { result } = task;
    if (!('throughput' in result)) throw new Error(`${task.name} did not finish: ${result.state}`);
    const { bytesPerOp, opsPerCall = 1 } = tasks[i]!;
    return { name: task.name, opsPerSecond: result.throughput.mean * opsPerCall, bytesPerOp };
  });
}
